package dashboards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/policy"
)

// KeyBytes is the least number of bytes that Config.Key must have.
const KeyBytes = 32

// AccessReader answers from the index of the record. Implementations are safe
// for concurrent use, and answer with an error rather than with part of the
// rows.
type AccessReader interface {
	// Accesses lists accesses, newest first.
	Accesses(ctx context.Context, q audit.Query) ([]audit.Access, error)
	// People lists the same accesses grouped by person, most accesses first.
	// q.Limit counts people.
	People(ctx context.Context, q audit.Query) ([]audit.PersonSummary, error)
	// Rates counts what happened in each step from from to to, oldest first,
	// steps without requests included.
	Rates(ctx context.Context, from, to time.Time, step time.Duration) ([]audit.Rate, error)
	// Waived counts what went on although it would have been refused.
	Waived(ctx context.Context, q audit.WaivedQuery) (audit.Waived, error)
}

// AlertReader knows what detection wants somebody to look at, and takes in what
// people make of it.
type AlertReader interface {
	// Alerts lists up to limit that were found live, newest first, and after them up
	// to limit of the cases of the last run over the record, by rank. What is part of
	// such a case is not listed once more.
	Alerts(ctx context.Context, limit int) ([]Alert, error)
	// Alert is one with the accesses that it rests on and what was made of it. Its
	// error wraps ErrNoAlert.
	Alert(ctx context.Context, id string) (Alert, error)
	// Judge notes what somebody made of one.
	Judge(ctx context.Context, who policy.Subject, id, verdict, note string) error
}

// Severity says how soon somebody should look.
type Severity string

// The severities. Any other word is shown as it is, without a colour.
const (
	High   Severity = "high"
	Medium Severity = "medium"
	Low    Severity = "low"
)

// Alert is one thing for a person to review. It states facts and never accuses.
type Alert struct {
	ID           string
	Time         time.Time
	Person       string // stable person id
	PersonName   string
	Roles        []string
	Patient      string // application's id, "" when the alert concerns many
	NHSNumber    string // ten digits, "" when not known
	Detector     string // id and version
	Severity     Severity
	Sentences    []string // why it was raised, in plain words
	Explanations []AlertReason
	Verdict      string // what was made of it last, "" for nothing yet

	People    []string // all of them, where Person is ""
	Patients  []string // application's ids
	Days      []string // YYYY-MM-DD
	Rank      int      // among the cases of the last run, from 1; 0 was found live
	Detectors []AlertDetector
	Reviews   []AlertReview  // of AlertReader.Alert alone, as are the next two
	Evidence  []audit.Access // accesses that it rests on, newest first
	Partial   string         // why those are not all
}

// Look is one look of a person at a patient's record.
type Look struct {
	Person, Patient, Device string
	At                      time.Time
	Wrote                   bool // it changed the record
}

// Ground is one thing that explains a look, in a sentence for a reviewer and in one
// for the patient, which names no member of staff.
type Ground struct{ Reviewer, Patient string }

// State is what is known about one part of the gateway. The zero State is
// unknown, which is never shown as well.
type State uint8

// The states.
const (
	StateUnknown State = iota
	StateOK
	StateFailed
)

// Health is how the gateway is now. The zero Health says that nothing is known.
type Health struct {
	Mode       string // observe, enforce, bypass; "" unknown
	ModeSince  time.Time
	Modes      []AppMode // of each application, as they are configured
	PolicyRev  string
	Journal    State
	JournalSeq uint64    // newest durable record
	JournalAt  time.Time // when it was written
	Index      State     // ClickHouse
	IndexedTo  time.Time // every record until then can be searched
	Waiting    uint64    // records that cannot be searched yet
	// Rules says why the configured or promoted rules are not in force, in sentences;
	// none when they are.
	Rules     []string
	ReloadAt  time.Time // last attempt to reload configuration or policy
	ReloadBad bool      // the last attempt was refused; the old one stays in force
	// ProtectionUnknown says that the list of protected records could not be read.
	ProtectionUnknown bool
	// SaysNotWhen is the sign-in service whose tokens do not say when people signed in,
	// "" while they do or none was seen.
	SaysNotWhen string
	DetectedAt  time.Time // when detection last finished
	// DetectEvery is how often it should; 0 when nobody knows.
	DetectEvery time.Duration
	// Unjudged are the detectors that are not evaluated now.
	Unjudged []Unjudged
	// DetectBehind is up to when it has looked at accesses while it is behind, else zero.
	DetectBehind time.Time
	// SecondSink says where records go while the journal's own disk takes none;
	// "" while it does.
	SecondSink string
	Disk       Disk
	// IndexCode is the code of what the searchable copy failed with, "" for none.
	IndexCode string
	Witness   Copy // signed checkpoints held by others
	LogServer Copy // records sent on to a log server
	Care      Care // who cares for whom
	Notices   Copy // messages about emergency access
	Probe     Probe
	// ClockAt is when the clock of this machine last stepped, zero if it has not
	// since the start, and ClockBy by how much.
	ClockAt time.Time
	ClockBy time.Duration
	Limits  Limits
}

// Unjudged is a detector that is not evaluated, for want of a feed or of a newer one.
type Unjudged struct {
	Detector string    // its id
	Reason   string    // for example "not evaluated: no rota feed"
	Since    time.Time // when the gateway found so
}

// Limits is how the limits of people and machines are.
type Limits struct {
	Lifted   []Lifting    // for a major incident; none while limits are in force
	Over     []OverBudget // whoever is over a budget of patients now, furthest first
	Expiring []Expiry     // registrations of machine clients that run out soon, or have
	// Uncounted is how many patients were not counted for want of memory.
	Uncounted uint64
}

// Lifting is a major incident that lifts limits.
type Lifting struct {
	Reason, By   string
	Since, Until time.Time
}

// OverBudget is somebody who has met more patients than the budget of their role.
type OverBudget struct {
	Name, Sub string
	Roles     []string
	Machine   bool
	Listed    bool // in lists, rather than opened
	Shift     bool // in a shift, rather than an hour
	Patients  int
	Of        int
}

// Expiry is the registration of a machine client, and the first moment after it.
type Expiry struct {
	Name string
	At   time.Time
}

// AppMode is what the gateway does with what the rules refuse in one application.
type AppMode struct {
	App  string
	Mode string // observe, enforce, bypass
	// The rest is of a bypass: since and until when, why, and who asked for it
	// and approved it.
	Since, Until            time.Time
	Reason                  string
	RequestedBy, ApprovedBy string
}

// Disk is how full the disk of the record is. The zero Disk is unknown.
type Disk struct {
	State     State
	Used      float64 // 0 to 1
	Free      uint64  // bytes
	ReadOnly  bool
	Emergency bool // records go to what is kept in reserve
	// Level is what is refused for want of room: 1 exports, 2 other searches as
	// well, 3 everything but care.
	Level int
	Since time.Time // when Level was reached
}

// Probe is what the gateway's trial of emergency access found. The zero Probe is not
// set up.
type Probe struct {
	Set    bool
	State  State
	At     time.Time // of the last trial
	Failed uint64    // trials in a row that failed
	Step   string    // in which the last one failed
}

// Copy is something that follows the record elsewhere. The zero Copy is not set
// up.
type Copy struct {
	Set     bool
	State   State
	Waiting uint64        // records or checkpoints that are not there yet
	Behind  time.Duration // how long the oldest of them has waited
}

// HazardReader reads the hazard log. It must be quick: pages ask for it whenever
// they are shown.
type HazardReader interface {
	// Hazards is the log as it stands now. A log without a standard is none.
	Hazards(ctx context.Context) (hazardlog.Log, error)
}

// Branding is how the hospital's name stands on the pages. No logo is shown.
type Branding struct {
	Organisation string // "" shows none
	Service      string // default "Matron"
}

// Config is what a Site needs. Readers, Record, May, Health, Now, Logger and
// Key are required; without Hazards no hazard log is shown.
type Config struct {
	Site     string // ODS code of the organisation whose record is shown
	Branding Branding
	// Key (KeyBytes or more) seals the identifiers that stand in addresses. It
	// must outlive restarts, or links that people kept stop working.
	Key      []byte
	Location *time.Location // of the times shown; default UTC

	Accesses AccessReader
	Alerts   AlertReader
	Hazards  HazardReader
	// Safety is what the pages of the hazard log need beyond it.
	Safety Safety
	// Emergencies are the emergency accesses to look at; nil shows no pages of them.
	Emergencies EmergencyReader
	// EmergencyUntil says until when somebody has emergency access, once for each; it
	// answers from memory. nil means that nobody has.
	EmergencyUntil func(policy.Subject) []time.Time
	// Explain says what explains a look at a patient's record, nothing for "not yet
	// explained". It answers from memory; nil means that nothing is compared.
	Explain func(Look) []Ground
	// Ward says where a member of staff works first of all, "" when it is not known;
	// nil knows none.
	Ward func(person string) string
	// Decisions explains single decisions; nil explains none.
	Decisions DecisionReader
	// Rules is where two people put rules in force; nil where that is not demanded.
	Rules RuleBook
	// HospitalNumber finds the application's number of the patient with an NHS
	// number, "" when it is not known; nil knows none.
	HospitalNumber func(nhsNumber string) string
	// Health must answer at once and from memory.
	Health func(ctx context.Context) Health
	// Record makes a record durable. A page that names patients is shown only
	// when it returned nil.
	Record func(ctx context.Context, r *audit.Record) error
	// May asks the policy whether the subject may open pages of an area.
	May    func(s policy.Subject, area policy.Area, action policy.Action) bool
	Now    func() time.Time
	Logger *slog.Logger
}

// errConfig is what New's error wraps when Config lacks something.
var errConfig = errors.New("dashboards configuration")

// check reports the first field that New cannot do without.
func (c Config) check() error {
	missing := ""
	switch {
	case c.Site == "":
		missing = "Site"
	case len(c.Key) < KeyBytes:
		missing = fmt.Sprintf("Key of %d bytes", KeyBytes)
	case c.Accesses == nil:
		missing = "Accesses"
	case c.Alerts == nil:
		missing = "Alerts"
	case c.Health == nil:
		missing = "Health"
	case c.Record == nil:
		missing = "Record"
	case c.May == nil:
		missing = "May"
	case c.Now == nil:
		missing = "Now"
	case c.Logger == nil:
		missing = "Logger"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s is missing", errConfig, missing)
}
