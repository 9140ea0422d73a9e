// Package audit defines the record of one event, its canonical bytes and the
// log it is written to.
//
// It never does I/O: audit/journal makes records durable and audit/clickhouse
// makes them searchable. Values are safe for concurrent use once written.
package audit

import "time"

// Kind says what sort of event a record describes.
type Kind string

// The kinds. Decision and Outcome come in pairs, one pair an exchange; Patient
// names one patient more that the exchange concerns (found in the request body
// or in the response), so that one record concerns at most one patient, as IHE
// BALP asks.
const (
	KindDecision        Kind = "decision"
	KindPatient         Kind = "patient"
	KindOutcome         Kind = "outcome"
	KindSignIn          Kind = "sign-in"
	KindSignOut         Kind = "sign-out"
	KindStepUp          Kind = "step-up"
	KindBreakGlassStart Kind = "break-glass-start"
	KindBreakGlassEnd   Kind = "break-glass-end"
	KindLimit           Kind = "limit"
	KindPolicyChange    Kind = "policy-change"
	KindConfigChange    Kind = "config-change"
	KindCheckpointGap   Kind = "checkpoint-gap"
	KindStart           Kind = "start"
	KindStop            Kind = "stop"
	KindHeartbeat       Kind = "heartbeat"
	KindAuditViewed     Kind = "audit-viewed"
	KindClock           Kind = "clock" // the wall clock was put forward or back
	KindImport          Kind = "import"
	KindHold            Kind = "hold"      // a legal hold was placed or released
	KindDisposal        Kind = "disposal"  // old records were disposed of
	KindFeed            Kind = "feed"      // a message about patients was refused, or where they come from fell silent or was heard again
	KindBypass          Kind = "bypass"    // decisions were put aside for a time, or enforced again
	KindHazard          Kind = "hazard"    // the clinical hazard log was changed, or a version of it approved
	KindDetection       Kind = "detection" // detection was begun or told something new: who ran what over whom
	KindIncident        Kind = "incident"  // limits were lifted for a major incident, or are in force again
)

// Certainty says how sure the gateway is which patient an exchange concerns.
// It never guesses: the zero value is unknown.
type Certainty string

// The certainties. None means that the exchange concerns no patient, which is
// not the same as unknown.
const (
	Unknown       Certainty = "unknown"
	Authoritative Certainty = "authoritative"
	Learned       Certainty = "learned"
	Several       Certainty = "several"
	None          Certainty = "none"
)

// Details of a decision that are no field of their own: what the rules were told
// beside them.
const (
	DetailPart    = "part="        // begins action, area and kind of entry of one part of an exchange
	DetailHeld    = "held=true"    // nobody could tell the patient, and the answer was kept back until every one it names was recorded
	DetailMachine = "machine=true" // a system asked for itself, not a person

	DetailSensitivity = "sensitivity=" // begins the patient's protection beyond the usual: classes, apart by commas
	DetailCare        = "care="        // begins the state of the register of care relationships, when it last heard anything, and the kinds there are, apart by commas
	DetailWard        = "ward="        // begins the ward where the patient was, as the register says
	DetailObligation  = "obligation="  // begins what the rules demanded besides

	SensitivityUnknown = "unknown" // in place of a class: nobody could tell which there are
)

// BasisBreakGlass begins the basis of an access by emergency access; its id follows.
const BasisBreakGlass = "break-glass:"

// PatientSource says where in the exchange the patient was named.
type PatientSource string

// The sources.
const (
	SourceURL      PatientSource = "url"
	SourceBody     PatientSource = "body"
	SourceResponse PatientSource = "response"
	SourceSession  PatientSource = "session"
	SourceNone     PatientSource = "none"
)

// Outcome is the FHIR R4 AuditEvent.outcome code.
type Outcome string

// The outcomes (FHIR R4 value set audit-event-outcome).
const (
	Success        Outcome = "0"
	MinorFailure   Outcome = "4"
	SeriousFailure Outcome = "8"
	MajorFailure   Outcome = "12"
)

// Record is one event. Field names follow the columns of the ClickHouse table,
// which convert to FHIR AuditEvent (IHE BALP) and DICOM audit messages. Empty
// means not known or not applicable. Tokens and passwords never appear.
//
// Site, Source, Seq and Nonce are set by the Log; the caller sets the rest.
type Record struct {
	Site   string    // ODS code of the organisation whose record this is
	Source string    // gateway id, one log per source
	Seq    uint64    // from 1, gap-free within Source
	Time   time.Time // UTC, whole microseconds
	Nonce  [16]byte  // random, so that leaf hashes reveal nothing
	Kind   Kind

	Request  string // id of the exchange, minted by the gateway, shared by its records
	Decision uint64 // for Patient, Outcome: Seq of the Decision record

	App             string
	Method          string // HTTP method
	Target          string // path as received, for forensics; may hold identifiers
	Query           string // raw query as received; may hold identifiers
	Route           string // id of the map rule
	Action          string
	Area            string
	Screen          string
	Resource        string // FHIR type or the like
	ResourceID      string
	ResourceVersion string
	Deliberate      string // "true", "false" or "" when not known

	Patient       string // id as the application knows it
	NHSNumber     string // ten digits, no spaces
	PatientSource PatientSource
	Certainty     Certainty

	UserIssuer string
	UserSub    string
	Person     string
	UserName   string
	Roles      []string
	Activities []string
	Org        string // ODS code of the user's organisation
	RoleID     string // CIS2 person_roleid
	ACR        string
	AMR        []string
	Assurance  uint64 // authentication assurance level, 0 unknown
	AuthTime   time.Time
	Session    string // hash, never the id
	Token      string // jti or hash, never the token
	Purpose    string // HL7 v3 PurposeOfUse
	Basis      string // why it was allowed, e.g. "ward:OBS1"

	ClientIP  string
	Device    string // workstation
	UserAgent string
	ClientCN  string // subject of a client certificate

	Effect    string   // allow, challenge, deny
	Reasons   []string // reason codes
	Rules     []string
	PolicyRev string
	Mode      string // observe, enforce, bypass
	WouldDeny bool   // observe mode: the rules said no

	Outcome    Outcome
	Status     uint64 // HTTP status sent to the client
	BytesIn    uint64
	BytesOut   uint64
	Duration   uint64 // microseconds, whole exchange
	Upstream   uint64 // microseconds until the application's response header
	Results    uint64 // entries in a search result
	Error      string // code of a sentinel error, never its text
	UpstreamTo string // address the exchange was forwarded to

	Detail []string // "key=value", for kinds that need more, e.g. configuration hashes
}

// Receipt proves that a record was made durable: where it stands and its leaf
// hash (RFC 6962: SHA-256 over 0x00 and the canonical bytes).
type Receipt struct {
	Source string
	Seq    uint64
	Leaf   [32]byte
}
