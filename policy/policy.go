// Package policy holds the question that the gateway asks for every exchange
// and the answer it gets: pure values, no I/O and no clock.
//
// It never decides anything itself: policy/rego does, from rules. Values are
// safe for concurrent use as long as nobody changes them after handing them on.
package policy

import "time"

// Action is what somebody does to a record. The words are those of the
// accesses file format and map onto FHIR R4 interactions.
type Action string

// The actions a map may yield. The empty Action is unknown and never allowed.
const (
	Read   Action = "read"
	Search Action = "search"
	List   Action = "list"
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
	Print  Action = "print"
	Export Action = "export"
)

// Writes reports whether the action changes the record. A write is never
// retried and never answered with a redirect.
func (a Action) Writes() bool { return a == Create || a == Update || a == Delete }

// Area is the functional part of the record that an action touches.
type Area string

// The areas of the default policy. The empty Area is unknown and never allowed.
const (
	Demographics   Area = "demographics"
	Encounters     Area = "encounters"
	Notes          Area = "notes"
	Results        Area = "results"
	Prescribing    Area = "prescribing"
	Theatres       Area = "theatres"
	Documents      Area = "documents"
	Administration Area = "administration"
	// Home, Audit, Safety, Live and Rules are Matron's own pages. Home shows nobody
	// anything that the others would not.
	Home   Area = "home"
	Audit  Area = "audit"
	Safety Area = "safety"
	Live   Area = "live"
	Rules  Area = "rules"
)

// Subject is who asks: a person (or machine) whose identity has been proved.
// The zero Subject is nobody. Roles and activities are those in force when the
// session began; they are copied into every record because they change later.
type Subject struct {
	Issuer       string    // OpenID Connect iss, exactly as configured
	Sub          string    // OpenID Connect sub, unique within Issuer
	Person       string    // stable person id within the hospital
	Name         string    // display name
	Roles        []string  // role codes known to the policy, e.g. "nurse", "R8001"
	Activities   []string  // NHS activity codes, e.g. "B0360"
	Organisation string    // ODS code
	RoleID       string    // CIS2 person_roleid: this person in this role at this organisation
	ACR          string    // authentication context class, as asserted
	AMR          []string  // authentication methods, as asserted
	Assurance    int       // authentication assurance level 1 to 3; 0 unknown
	AuthTime     time.Time // when the identity was proved; zero if not asserted
	Session      string    // one-way hash of the session id, or "" for bearer tokens
	Token        string    // jti of a bearer token, or the first 32 hex digits of its SHA-256; "" for sessions
	Machine      bool      // an API client acting for itself, not a person
}

// ProbeIssuer is the issuer of the gateway's own probe of emergency access. No sign-in
// service can have it: it is no address.
const ProbeIssuer = "urn:matron:probe"

// Known reports whether the subject names somebody.
func (s Subject) Known() bool { return s.Sub != "" && s.Issuer != "" }

// Request is one question. Every field is sent to the rules, present even when
// empty, so that a rule never meets an undefined reference.
type Request struct {
	Subject   Subject
	Site      string   // ODS code of the organisation whose record this is
	App       string   // application name from the configuration
	Rule      string   // id of the map rule that classified the exchange
	Action    Action   // "" unknown
	Area      Area     // "" unknown
	Resource  string   // FHIR type, screen or form
	Patients  []string // patient ids the request names, as the application knows them, or NHS numbers where it names no id
	Certainty string   // audit.Certainty of the attribution
	Held      bool     // the answer is kept back until every patient it names is recorded
	Purpose   string   // HL7 v3 PurposeOfUse code, "" when not stated
	Grant     string   // id of the break-glass grant in force for this person and every patient named, "" for none
	Method    string   // HTTP method
	Time      time.Time
	Care      Care
	// Sensitivity is what is known of the patients' protection beyond the usual.
	Sensitivity Sensitivity
}

// Sensitivity is the protection that every patient of a question together calls
// for. The zero value means that nobody knows: the source failed to load. A site
// without a source knows that there are no classes.
type Sensitivity struct {
	Known   bool
	Classes []string // sorted, each once: words of the rules' tables, e.g. "staff", "vip", "sealed"
}

// Care is what is known of the care relationships between who asks and the
// patients of a request. The zero Care says that this application has no register
// of them: a fact of the configuration.
type Care struct {
	Feed  Feed
	Kinds []string   // kinds of relationship with every patient named, sorted, e.g. "ward-stay"
	Each  [][]string // where the patients differ: every set of kinds that one of them has, each sorted
	AsOf  time.Time  // when the register last heard of one of its sources; zero if never
}

// Feed is how far a register of care relationships can be relied on.
type Feed string

// The states of a feed.
const (
	NoFeed      Feed = ""        // no register is configured
	CurrentFeed Feed = "current" // what is not in the register is not so
	SilentFeed  Feed = "silent"  // a source has been silent for too long: what it would say may be missing
	LoadingFeed Feed = "loading" // the register is still being read
)

// Effect is the kind of answer.
type Effect uint8

// The effects. The zero value refuses.
const (
	Deny Effect = iota
	Challenge
	Allow
)

// String returns "deny", "challenge" or "allow"; anything else is "deny".
func (e Effect) String() string {
	switch e {
	case Allow:
		return "allow"
	case Challenge:
		return "challenge"
	case Deny:
	}
	return "deny"
}

// Offer is what would turn a refusal into a permission.
type Offer string

// The offers. The empty Offer is none. BreakGlass opens one patient's record to one
// person for a bounded time; StepUp is signing in again, more surely or more lately;
// Purpose is saying what the record is needed for.
const (
	BreakGlass Offer = "break-glass"
	StepUp     Offer = "step-up"
	Purpose    Offer = "purpose"
)

// Known reports whether o is one of the offers.
func (o Offer) Known() bool { return o == BreakGlass || o == StepUp || o == Purpose }

// Reason says in one sentence why a request was refused and what would make it
// right. Text and Remedy are shown to staff and hold no patient data.
type Reason struct {
	Code   string // stable, kebab-case, e.g. "role-not-permitted"
	Text   string // one sentence
	Remedy string // one sentence: what to do now
}

// Decision is the answer. The zero Decision refuses.
type Decision struct {
	Effect      Effect
	Offer       Offer    // what cures every reason of a Challenge; of a Deny only where the rules gave no answer
	Emergency   bool     // emergency access would cure it too, where Offer is something else
	Reasons     []Reason // empty when allowed
	Rules       []string // ids of the rules that decided, file:line where known
	Revision    string   // revision of the policy bundle
	Obligations []string // what the gateway must do besides, e.g. "notify"
}

// Allowed reports whether the request may go on.
func (d Decision) Allowed() bool { return d.Effect == Allow }

// Refuse builds a deny from one reason.
func Refuse(revision string, r Reason) Decision {
	return Decision{Effect: Deny, Reasons: []Reason{r}, Revision: revision}
}
