package hazardlog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Format is the version of the format of snapshots.
const Format = "matron-hazard-log/2"

// Officer is a clinical safety officer.
type Officer struct {
	Name    string `json:"name"`
	Body    string `json:"body"`    // professional body: GMC, NMC, GPhC …
	Number  string `json:"number"`  // of the registration
	Expires Day    `json:"expires"` // last day of the registration
}

// String names the officer with the registration.
func (o Officer) String() string {
	if o.Name == "" {
		return ""
	}
	return o.Name + " (" + o.Body + " " + o.Number + ")"
}

// Current reports whether the registration is in force on a day.
func (o Officer) Current(on Day) bool { return o.Expires.Valid() && on.Valid() && on <= o.Expires }

// Baseline is what runs: the version of the program and the hashes of its
// configuration and rules.
type Baseline struct {
	Program string `json:"program,omitempty"`
	Config  string `json:"config,omitempty"`
	Policy  string `json:"policy,omitempty"`
}

// Approval is the signature of a clinical safety officer under one version of
// the log.
type Approval struct {
	Version       string    `json:"version"`
	SHA256        string    `json:"sha256"`  // of the snapshot
	Through       uint64    `json:"through"` // the last event that the snapshot covers
	Officer       Officer   `json:"officer"`
	Statement     string    `json:"statement"`
	Confirmations []string  `json:"confirmations"`
	Baseline      Baseline  `json:"baseline,omitzero"`  // what ran when it was signed
	Evidence      *Frozen   `json:"evidence,omitempty"` // what was known of the controls then; nil: nothing
	At            time.Time `json:"at"`
}

// Frozen is what was known of the controls when a version was approved, so that what
// the officer saw can be seen later. Its hash is part of what is signed.
type Frozen struct {
	SHA256 string          `json:"sha256"` // of Report
	Report json.RawMessage `json:"report"` // see package evidence
}

func (f *Frozen) hash() string {
	if f == nil {
		return ""
	}
	return f.SHA256
}

// Freeze keeps a report of evidence, as JSON.
func Freeze(report any) (*Frozen, error) {
	raw, err := json.Marshal(report)
	if err != nil {
		return nil, fmt.Errorf("freeze evidence: %w", err)
	}
	return &Frozen{SHA256: Hash(raw), Report: raw}, nil
}

// Whole reports whether the report is the one that was frozen. No evidence is whole.
func (f *Frozen) Whole() bool { return f == nil || Hash(f.Report) == f.SHA256 }

// Confirmations are what an officer confirms, each for itself.
func Confirmations() []string {
	return []string{
		"I have reviewed every hazard, control and rating in this version, and the changes since the last one.",
		"I am the clinical safety officer for this log, and my professional registration is in force today.",
	}
}

// Authenticator lets an officer prove, now, who they are. A command line asks
// for the officer's key, a page for a fresh sign-in.
type Authenticator interface {
	// Confirm has the officer sign text. On error nothing is done.
	Confirm(ctx context.Context, o Officer, text string) (Proof, error)
}

// Prove makes an actor act as an officer: text is what the officer signs. The
// registration must be in force.
func (a Actor) Prove(ctx context.Context, o Officer, auth Authenticator, text string, now time.Time) (Actor, error) {
	if !o.Current(DayOf(now)) {
		return a, fmt.Errorf("%w: the registration of %s ended on %s: an officer needs one that is in force", ErrInvalid, o, o.Expires)
	}
	proof, err := auth.Confirm(ctx, o, text)
	if err != nil {
		return a, fmt.Errorf("%s has not proved who they are: %w", o, err)
	}
	a.Name, a.Officer, a.Proof = o.Name, o.String(), &proof
	return a, nil
}

// Text is what an officer signs to make changes of a log: it says which bytes are
// meant.
func Text(log string, changes []Change) (string, error) {
	text := "matron hazard log change v1\nlog " + log + "\n"
	for _, c := range changes {
		value, err := json.Marshal(c.Value)
		if err != nil {
			return "", fmt.Errorf("encode %s: %w", c.Value.Subject(), err)
		}
		text += fmt.Sprintf("%s %s revision %d sha256 %s\n", c.Act, c.Value.Subject(), c.Expect+1, Hash(value))
	}
	return text, nil
}

// snapshot is what a version of a log holds. Approvals are not part of it: they
// are about it.
type snapshot struct {
	Format string `json:"format"`
	Log    string `json:"log"`
	Head
	StandardSHA256 string     `json:"standard_sha256"`
	Hazards        []Hazard   `json:"hazards"`
	Controls       []Control  `json:"controls"`
	Incidents      []Incident `json:"incidents"`
	Decisions      []Decision `json:"decisions"`
	Transfers      []Transfer `json:"transfers"`
	Reviews        []Review   `json:"reviews"`
}

// Snapshot is what the log holds now as canonical bytes: equal logs have equal
// bytes, whatever events they came from. Its hash is what an officer signs.
func (l Log) Snapshot() ([]byte, error) {
	standard, err := json.Marshal(l.Standard)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	b, err := json.Marshal(snapshot{
		Format, l.ID, l.Head, Hash(standard), whole(l.Hazards), whole(l.Controls), whole(l.Incidents), whole(l.Decisions),
		whole(l.Transfers), whole(l.Reviews),
	})
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return append(b, '\n'), nil
}

// whole is a list that is written as [] when it is empty.
func whole[V any](list []V) []V {
	if list == nil {
		return []V{}
	}
	return list
}

// SignOff is what an officer wants to approve.
type SignOff struct {
	Version   string
	Officer   Officer
	Statement string
	Confirmed [2]bool // see Confirmations, each for itself
	Baseline  Baseline
	Evidence  *Frozen
	Facts     Facts
}

// Text is what the officer signs: it says which bytes are meant.
func (a Approval) Text(log string) string {
	text := fmt.Sprintf("matron hazard log approval v1\nlog %s\nversion %s\nsha256 %s\nthrough event %d\nofficer %s\nstatement %s\n",
		log, a.Version, a.SHA256, a.Through, a.Officer, strings.Join(strings.Fields(a.Statement), " "))
	if a.Evidence != nil {
		text += "evidence sha256 " + a.Evidence.SHA256 + "\n"
	}
	return text
}

// Approve makes the change that approves what the log holds now, after the
// officer has proved who they are. Errors that Lint finds forbid it. The change
// is for this very state of the log: it is refused after any other change.
func (l Log) Approve(ctx context.Context, by Actor, s SignOff, auth Authenticator, now time.Time) (Actor, Change, error) {
	content, err := l.Snapshot()
	if err != nil {
		return by, Change{}, err
	}
	a := Approval{
		Version: s.Version, SHA256: Hash(content), Through: l.Seq(), Officer: s.Officer, Statement: strings.TrimSpace(s.Statement),
		Baseline: s.Baseline, Evidence: s.Evidence, At: now.UTC().Truncate(time.Microsecond),
	}
	for i, text := range Confirmations() {
		if !s.Confirmed[i] {
			return by, Change{}, fmt.Errorf("%w: version %s: not confirmed: %s", ErrInvalid, s.Version, text)
		}
		a.Confirmations = append(a.Confirmations, text)
	}
	if errors := Errors(l.Lint(s.Facts)); len(errors) > 0 {
		return by, Change{}, fmt.Errorf("%w: version %s: %d error(s) stand in its way:\n%s", ErrInvalid, s.Version, len(errors), first(errors))
	}
	if by, err = by.Prove(ctx, s.Officer, auth, a.Text(l.ID), now); err != nil {
		return by, Change{}, err
	}
	return by, Change{Act: Approve, Value: a, Why: a.Statement}, nil
}

// first names the first findings, and how many more there are.
func first(findings []Finding) string {
	const most = 10
	var list []string
	for _, f := range findings[:min(len(findings), most)] {
		list = append(list, f.String())
	}
	if more := len(findings) - most; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, "\n")
}

// checkApproval refuses a signature under anything but what the log holds now.
func (l Log) checkApproval(found *mistakes, by Actor, a Approval) {
	found.need("statement", a.Statement)
	found.need("officer", a.Officer.Name)
	found.need("officer.body", a.Officer.Body)
	found.need("officer.number", a.Officer.Number)
	content, err := l.Snapshot()
	switch {
	case err != nil || a.SHA256 != Hash(content) || a.Through != l.Seq():
		found.add("sha256", "is not of what the log holds now: it has changed since it was shown; look at it again")
	case by.Officer == "" || by.Officer != a.Officer.String():
		found.add("officer", "has not just proved who they are")
	case !a.Officer.Current(DayOf(a.At)):
		found.add("officer", "has no registration in force: it ended on %s", a.Officer.Expires)
	case !a.Evidence.Whole():
		found.add("evidence", "is not what its hash says")
	case !slices.Equal(a.Confirmations, Confirmations()):
		found.add("confirmations", "are not both given")
	}
	if len(Errors(l.Lint(Facts{}))) > 0 {
		found.add("version", "cannot be approved while there are errors")
	}
	if n := len(l.Versions); n > 0 && !laterVersion(l.Versions[n-1].Version, a.Version) {
		found.add("version", "must come after %s", l.Versions[n-1].Version)
	}
}

func laterVersion(before, after string) bool {
	a, b := strings.Split(before, "."), strings.Split(after, ".")
	return slices.CompareFunc(a, b, func(x, y string) int {
		m, _ := strconv.Atoi(x) // digits, as validID has checked
		n, _ := strconv.Atoi(y)
		return m - n
	}) < 0
}

// Approved is the last approval, nil when there is none.
func (l Log) Approved() *Approval {
	if len(l.Versions) == 0 {
		return nil
	}
	return &l.Versions[len(l.Versions)-1]
}

// Version is the log as it was approved.
func (l Log) Version(version string) (Log, Approval, error) {
	a, ok := find(l.Versions, version)
	if !ok {
		return Log{}, Approval{}, fmt.Errorf("%w: there is no version %q", ErrInvalid, version)
	}
	return l.signed[version], a, nil
}

// Since lists what is other now than in the last approved version; without one,
// nothing can be compared and approved is nil. Anything that was changed after
// the signature shows here.
func (l Log) Since() (approved *Approval, changes []Difference) {
	a := l.Approved()
	if a == nil {
		return nil, nil
	}
	return a, Compare(l.signed[a.Version], l)
}

// State says in a line whether the log is approved as it stands.
func (l Log) State() string {
	a, changes := l.Since()
	switch {
	case a == nil:
		return "Draft: no version has been approved by a clinical safety officer."
	case len(changes) == 0:
		return fmt.Sprintf("Version %s, approved by %s on %s. Nothing has changed since.", a.Version, a.Officer, DayOf(a.At))
	case len(changes) == 1:
		return fmt.Sprintf("Draft: 1 change since version %s was approved by %s on %s.", a.Version, a.Officer, DayOf(a.At))
	}
	return fmt.Sprintf("Draft: %d changes since version %s was approved by %s on %s.", len(changes), a.Version, a.Officer, DayOf(a.At))
}
