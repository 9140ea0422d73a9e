package proxy

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// Map says what an exchange does to which patient in one application.
// Implementations are immutable and safe for concurrent use; a reload makes a
// new Map. proxy/appmap has the declarative one.
type Map interface {
	// Classify reads a request. body returns the request body, read whole and
	// bounded, and leaves it readable for the upstream; a map calls it only
	// where it needs to, since a body that is not asked for is streamed.
	// A request that no rule matches yields an Access with an empty Rule, never
	// an error; an error means that the request is malformed (400). Errors of
	// Classify are logged: they hold no patient data.
	Classify(r *http.Request, body func() ([]byte, error)) (Access, error)

	// Settle reads a response that was held back because Access.Hold said so
	// and names the patients in it. body is in memory or spooled: a map reads it
	// from end to end and keeps no more of it than it must. An error means that
	// the response cannot be understood: nothing of it may be released.
	Settle(a Access, res *http.Response, body Body) (Settlement, error)
}

// Spool keeps held responses that are too long for memory. It is safe for
// concurrent use. proxy/spool has the one in encrypted files.
type Spool interface {
	// Create begins a file that nobody but its exchange can read. Its error, and
	// those of the file, wrap ErrSpool or ErrSpoolFull.
	Create() (SpoolFile, error)
}

// SpoolFile is one held response. It is written to its end, then sealed, then
// read, by one goroutine. An error of ReadAt other than io.EOF means that it is not
// what was written. Nothing is left of it once it is closed, or the program ends.
type SpoolFile interface {
	io.Writer
	Seal() error
	io.ReaderAt
	io.Closer
}

// Follower is a Map of an application whose own sessions hold what its requests
// do not say: who works there, on which screen, with which patient. The sessions
// are followed from exchange to exchange. It is for applications with an
// Upstream.
type Follower interface {
	Map

	// Follow returns the Map of one exchange, after the exchanges of the same
	// session that came before have ended. who asks, and the context of r says when
	// nobody waits any more. It may change the
	// header of r: a session that was not given to this subject is taken off
	// (GW-07). A nil Turn means that the Map follows no sessions. An error means
	// that too many are waiting, or that r's context ended.
	Follow(who policy.Subject, r *http.Request) (Turn, error)

	// DenyForm is the form of a refusal of a request to path that was not
	// classified, DenyAuto when the path says nothing.
	DenyForm(path string) DenyForm

	// Inherit takes over the sessions of the Map that served the application
	// before a reload. An older Map of another kind changes nothing.
	Inherit(older Map)
}

// Turn is the Map of one exchange with an application whose sessions are
// followed. It is used by one goroutine at a time.
type Turn interface {
	Map

	// Received is shown every response before anything of it is sent on, held or
	// not. It may change the header where the application's session is concerned.
	Received(res *http.Response)

	// Leave returns a request that takes the application's session away from what
	// the last response showed and nobody may see, nil when there is nothing
	// (more) to try. The gateway sends it for the same subject, has Received and
	// Left look at the response and asks again until Left reports that it worked.
	Leave(ctx context.Context) *http.Request
	// Left reads the response to what Leave returned.
	Left(res *http.Response, body []byte) bool

	// End ends the turn; forwarded says whether the application may have acted on
	// the request. The gateway calls it once, whatever became of the exchange.
	End(forwarded bool)
}

// Access is what one exchange does, as far as the request shows. The zero value
// is an unmapped request.
type Access struct {
	Rule      string // id of the map rule; "" means that no rule matched
	Action    policy.Action
	Area      policy.Area
	Screen    string
	Resource  string
	ID        string // resource id
	Version   string // resource version
	Patients  []Patient
	Certainty audit.Certainty
	Source    audit.PatientSource
	Kind      LimitKind
	Actions   int  // how many it is for the limits; 0 means one
	Hold      bool // patients are named only in the response: hold it and Settle
	// Conditional says that nothing is made where something like it is there already,
	// and that the status is then 200 (FHIR R4, 3.1.0.8.1).
	Conditional bool
	Static      bool // scripts, styles, images: no patient data, still decided and recorded
	KeepAlive   bool // not activity of a person: does not extend the session
	// Vital marks a page of our own that says what is wrong with the gateway: it
	// is shown however full the disk of the record is.
	Vital bool
	// Deliberate is "true", "false" (worklists, prefetch) or "" when unknown.
	Deliberate string
	Deny       DenyForm
	// Block refuses whatever the policy says, for Because, or where that is nil
	// for a general reason.
	Block   bool
	Because *policy.Reason
	// Parts is set when one exchange does things that differ in action or area,
	// such as a FHIR transaction. Every part must be allowed on its own. Where
	// parts differ, Action or Area above is empty, so that nobody who overlooks
	// Parts allows the exchange.
	Parts []Part
	// Entries are the requests of a batch: each is decided on its own, what is
	// refused is cut out of the body, and the rest goes on. Parts are all that they
	// do together.
	Entries []Entry
	// Detail is what the record says besides, as name=value: for example under
	// which name the application knows who is working.
	Detail []string
	// Reason is why nobody can tell whom the request is about, or why the map takes
	// it for unmapped, in a few words for the record and for people who write maps.
	Reason string
	// Reply is what a refusal in the application's own protocol repeats of the
	// request: the number of a call, "" for none.
	Reply string
	// Redact names query parameters whose values are secret: the record has them
	// without the value.
	Redact []string
}

// Entry is one request of a batch.
type Entry struct {
	Span           // where it stands in the body
	Access  Access // what it does
	Method  string
	Address string // path and query below the application's base
}

// Span is a stretch of a body: body[From:To].
type Span struct{ From, To int64 }

// Part is one of several things that one exchange does.
type Part struct {
	Action   policy.Action
	Area     policy.Area
	Resource string
}

// Patient is one patient as the application knows them.
type Patient struct {
	ID        string
	NHSNumber string // ten digits, "" when not named
}

// Settlement is what the response of a held exchange shows.
type Settlement struct {
	Patients  []Patient
	Certainty audit.Certainty
	Results   uint64 // entries in a search result
	// Stranger says that the response shows somebody who cannot be named, whoever
	// the request or the rest of the response names.
	Stranger bool
	// Reason is why nobody can tell whom the response shows, in a few words for the
	// record.
	Reason string
	// Bare says that the body shows nothing of a record: it says at most whether what
	// was asked for worked.
	Bare bool
	// Parts are things that the response does besides what the request was decided
	// as, such as opening a screen of another area: they are decided before it is
	// released.
	Parts []Part
	// Links are addresses in the body, in the order in which they stand there, that
	// are to lead back through the gateway where they lead to the application.
	Links []Link
	// Bundle says where the entries of the answer stand, if it has any that can be
	// told apart: the answer of a batch has one for each Entry that was forwarded.
	Bundle *Bundle
}

// Bundle is where a list stands in a held answer whose entries can be left out one
// by one.
type Bundle struct {
	Span // braces included
	// Members are the name and value of what may be shown whatever is left out, in
	// the order in which they stand there. Nothing in them tells how many entries
	// there are.
	Members []Span
	// List is one of Members, the name of the list and its brackets; the zero Span
	// means that there is none.
	List    Span
	Name    string // of the list
	Entries []Shown
}

// Shown is one entry of a held answer.
type Shown struct {
	Span
	Settlement        // of this entry alone
	Status     int    // that the answer of a batch says
	Response   string // all that it says besides the resource, as it stands there
	// Included says that it was not asked for and stands here only for others,
	// which With lists: it is left out with the last of them.
	Included bool
	With     []int // indices of Entries
	Empty    bool  // it says only that something was deleted or happened
}

// DenyForm is the form of a refusal that the application's clients understand.
type DenyForm string

// The forms. The zero value lets the gateway choose: a page for browser
// navigation, application/problem+json for everything else.
const (
	DenyAuto             DenyForm = ""
	DenyProblem          DenyForm = "problem"
	DenyOperationOutcome DenyForm = "operation-outcome"
	// DenyMessages is the message of openMAXIMS, which its client shows in a box:
	// always status 200, since on any other the client fails.
	DenyMessages DenyForm = "openmaxims-messages"
	// DenySOAPFault is a SOAP 1.1 fault with status 500.
	DenySOAPFault DenyForm = "soap-fault"
	// DenyTryton is the error of Tryton's JSON-RPC that its clients show in a box,
	// with status 200.
	DenyTryton DenyForm = "tryton-error"
	// DenyOpenMRS is the error of OpenMRS' REST interface.
	DenyOpenMRS DenyForm = "openmrs-error"
	// DenyOpenEHR is the error of openEHR's REST interface.
	DenyOpenEHR DenyForm = "openehr-message"
)

// LimitKind is the kind of action that a rate limit counts.
type LimitKind string

// The kinds. Interactive care is slowed and never refused; the others are
// refused with 429 (hazard GW-03).
const (
	Interactive   LimitKind = "interactive"
	SearchKind    LimitKind = "search"
	Bulk          LimitKind = "bulk"
	MachineClient LimitKind = "machine"
	// Anonymous counts requests of nobody known, by address: such a subject has
	// a Sub (the address) and no Issuer. The count decides only how the refusals
	// are recorded, never what the client gets.
	Anonymous LimitKind = "anonymous"
	// SignInKind counts sign-ins begun, by address: each leaves something in the
	// store, so that a flood of them must not push out those of other people.
	SignInKind LimitKind = "sign-in"
	// LoginKind counts passwords that somebody who is signed in here tries in an
	// application's own sign-in.
	LoginKind LimitKind = "login"
)

// Identifier proves who sent a request. proxy/signin has the OpenID Connect one.
type Identifier interface {
	// Identify returns the subject of the session cookie or bearer token of r.
	// Its error wraps ErrNoSession, ErrSessionExpired, ErrToken or
	// ErrIdentityUnavailable. It does not count as activity.
	Identify(r *http.Request) (policy.Subject, error)
	// Touch counts the request as activity of the session, so that its idle
	// limit starts anew.
	Touch(ctx context.Context, s policy.Subject)
}

// Decider answers whether a request may go on. It never fails: an evaluation
// error is a deny with a reason. policy/rego has the one made of rules.
type Decider interface {
	Decide(ctx context.Context, q policy.Request) policy.Decision
}

// Limiter counts actions per person and kind, and the different patients whom each
// person meets. proxy/limit has the one made of token buckets and sets of hashes.
type Limiter interface {
	// Take takes n actions at once, at least one. ok false means refuse and say when
	// to come back (wait); ok true with wait above zero means slow the request down
	// by wait.
	Take(s policy.Subject, kind LimitKind, n int) (wait time.Duration, ok bool)
	// Meet counts patients whom s is about to see, each once however often they are
	// met within an hour or a shift, and says how s then stands against the budget.
	// Without patients it only says so.
	Meet(s policy.Subject, m Met) Standing
}

// Met are patients whom somebody is about to see.
type Met struct {
	Site     string // whose ids they have
	Listed   bool   // in a list, rather than opened one by one
	Patients []Patient
}

// Standing is how somebody stands against the budget of their role. The zero value
// is within it.
type Standing struct {
	Over     string // the window whose budget is used up, hour or shift; "" for neither
	Patients int    // how many different ones were met within it
	Of       int    // the budget
	// Wait slows interactive care down: it is above zero for patients beyond the
	// budget, and only the first time that each of them is met.
	Wait time.Duration
	// Retry is after how long somebody who only asked is within the budget again, if
	// nobody else is met.
	Retry time.Duration
	// Tell says that nobody was told yet within the window.
	Tell bool
}

// Voucher makes the short-lived signed token that tells the application who is
// asking (RFC 7519; at most 60 seconds).
type Voucher interface {
	// Vouch makes one for one request, r as the application will see it.
	Vouch(s policy.Subject, requestID string, r *http.Request) (string, error)
	// VouchReads gives one that is good for reading with that method. It may be given
	// to the same subject again.
	VouchReads(s policy.Subject, method string) (string, error)
}
