// Package attack is a table of abuses of openMAXIMS, one or more for every weak
// spot that its published source shows, and the small client that they use.
//
// It exists to test: against the bare emulator every attack goes through,
// through a gateway none may. An attack aims at the Target that it is given and
// at nothing else. It is not for use against anything but the emulator. Attacks
// change the target: give each one a target of its own. A table may be shared; a
// Client belongs to one goroutine.
package attack

import (
	"context"
	"net/http"
)

// Target is what is attacked and what the attacker has.
type Target struct {
	Base string // address of the application with its context path
	// Browser makes a browser without cookies, apart from those that whatever
	// stands before the application gives to a user after they have proved who
	// they are there.
	Browser func(user string) *http.Client
	// User is an ordinary clinician, who may not administer anything; Victim is
	// somebody else. Both have the Password and a single role.
	User, Victim, Password string
	Patient                string // hospital number of somebody
	Surname                string // and their surname as the record has it
	PatientID              string // and the number inside the record
	// File is the address of a file on the server, for an external entity, and
	// Content what it holds.
	File, Content string
	// Inside is an address that only the server reaches, and Hidden what it says.
	Inside, Hidden string
	// ServerLog reads the application server's own log.
	ServerLog func() string
	// Workstations lists those that the record's own audit names.
	Workstations func() []string
}

// Result is how an attack ended.
type Result struct {
	Through  bool   // it did what an attacker wants
	Evidence string // what shows it, in a few words
}

// Attack is one abuse. Run fails only when it cannot tell: the target does not
// answer, or refuses what an ordinary user may do.
type Attack struct {
	ID       string
	Weakness string // S1 to S14 of the published source; "" for what has no number
	Title    string
	Run      func(context.Context, *Target) (Result, error)
}

// Table is every attack, in order of weakness.
func Table() []Attack {
	return []Attack{
		{"native-sql", "S1", "run SQL without signing in", nativeSQL},
		{"object-query", "S1", "run an object query without signing in", objectQuery},
		{"sql-update", "S1", "change a patient by SQL without signing in", sqlUpdate},
		{"schema-browser", "S1", "list the tables without signing in", schemaBrowser},
		{"report-store", "S1", "replace a report template without signing in", reportStore},
		{"report-builder", "S1", "build a report on any patient without signing in", reportBuilder},
		{"server-side-request", "S1", "make the server fetch an internal address", serverSideRequest},
		{"open-form", "S2", "open a form that the role's menu does not hold, and save in it", openForm},
		{"password-in-page", "S3", "read the system password from the page", passwordInPage},
		{"system-form", "S3", "open a system form without the system password", systemForm},
		{"clear-password", "S4", "sign in with the password in clear", clearPassword},
		{"unsalted-hash", "S4", "find a password from its unsalted hash", unsaltedHash},
		{"default-account", "S5", "sign in with an account that comes with the software", defaultAccount},
		{"guess", "S6", "guess passwords without end", guess},
		{"guess-fresh-cookie", "S6", "get round the lock-out with new cookies", guessFreshCookie},
		{"session-fixation", "S7", "make a victim sign in to a session that the attacker knows", sessionFixation},
		{"session-list", "S7", "list everybody's sessions by SOAP and take one over", sessionList},
		{"session-terminate", "S7", "end somebody else's session by SOAP", sessionTerminate},
		{"external-entity", "S8", "read a file of the server through an external entity", externalEntity},
		{"hidden-doctype", "S8", "hide the document type behind a character that is stripped", hiddenDoctype},
		{"upload-entity", "S8", "read a file of the server through an upload without signing in", uploadEntity},
		{"entity-expansion", "S8", "make a small request grow large", entityExpansion},
		{"upload-program", "S9", "put a program into the folder that is served, without signing in", uploadProgram},
		{"upload-traversal", "S9", "replace a page of the application by an upload", uploadTraversal},
		{"axis-stop", "S10", "stop the services without signing in", axisStop},
		{"axis-undeploy", "S10", "take a service away without signing in", axisUndeploy},
		{"save-flag", "S10", "change a configuration flag as an ordinary user", saveFlag},
		{"report-theft", "S11", "fetch somebody else's report", reportTheft},
		{"report-session", "S11", "take a session over from a report's address", reportSession},
		{"password-in-log", "S12", "get a password into the server's log", passwordInLog},
		{"log-switch", "S12", "have every request logged as an ordinary user, passwords and all", logSwitch},
		{"cross-site", "S13", "act for a user from another site", crossSite},
		{"no-headers", "S13", "show the application inside another site's page", noHeaders},
		{"exception-text", "S14", "read the server's inner workings from an error", exceptionText},
		{"workstation", "", "forge the workstation in the record's own audit", workstation},
		{"soap-roam", "", "read any patient by number through SOAP", soapRoam},
	}
}

// client is the attacker's, who is the ordinary user.
func (t *Target) client() *Client { return t.browser(t.User) }

func (t *Target) browser(user string) *Client { return &Client{HTTP: t.Browser(user), Base: t.Base} }

// signedIn is the ordinary user at work.
func (t *Target) signedIn(ctx context.Context) (*Client, error) {
	c := t.client()
	_, err := c.Login(ctx, t.User, t.Password, "")
	return c, err
}

// attempt turns the last step of an attack into its result.
func attempt(a Answer, err error, through func(Answer) bool, evidence string) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	if !through(a) {
		return Result{}, nil
	}
	return Result{Through: true, Evidence: evidence}, nil
}
