package promotion

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// Who did something: a person whom sign-in has proved, an account on this machine,
// or the gateway by itself.
type Who struct {
	Issuer  string   `json:"issuer,omitempty"`
	Sub     string   `json:"sub,omitempty"`
	Person  string   `json:"person,omitempty"`
	Name    string   `json:"name,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Account string   `json:"account,omitempty"` // on this machine
}

// Same reports whether two are, as far as anybody can tell, one person. Nobody is the
// same as everybody.
func (w Who) Same(other Who) bool {
	if w.Issuer == "" || w.Sub == "" || other.Issuer == "" || other.Sub == "" {
		return true
	}
	return w.Issuer == other.Issuer && w.Sub == other.Sub || w.Person != "" && strings.EqualFold(w.Person, other.Person)
}

// String is how pages and records name somebody.
func (w Who) String() string {
	switch {
	case w.Name != "":
		return w.Name
	case w.Person != "":
		return w.Person
	case w.Sub != "":
		return w.Sub
	case w.Account != "":
		return "account " + w.Account
	}
	return "the gateway"
}

// Act is what somebody did, when and why.
type Act struct {
	By     Who       `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Proposal is a candidate on its way.
type Proposal struct {
	ID       string  `json:"id"`
	Revision string  `json:"revision"`
	Verdict  Verdict `json:"verdict"`
	Staged   Act     `json:"staged"`
	Proposed *Act    `json:"proposed,omitempty"` // nil while nobody has
	Marked   *Act    `json:"marked,omitempty"`   // by a clinical safety officer
	Approved *Act    `json:"approved,omitempty"`
	Ended    *Act    `json:"ended,omitempty"` // taken back
}

// Open reports whether it still can be approved.
func (p Proposal) Open() bool { return p.Approved == nil && p.Ended == nil }

// How a bundle came in force.
const (
	adopt    = "adopt"    // the configured one, when the gateway first demanded promotion
	promote  = "promote"  // by two people
	rollback = "rollback" // back to the one before
)

// Missing says what an open proposal waits for.
func (p Proposal) Missing() []string {
	var missing []string
	if p.Proposed == nil {
		missing = append(missing, "somebody who proposes it")
	}
	if p.Marked == nil && p.Verdict.NeedsMark() {
		missing = append(missing, "the mark of a clinical safety officer")
	}
	return append(missing, "somebody else who approves it")
}

// Change is one time that a bundle came in force.
type Change struct {
	Revision string `json:"revision"`
	How      string `json:"how"` // adopt, promote or rollback
	Proposal string `json:"proposal,omitempty"`
	Act
}

// entry is one entry of the file, as JSON. Exactly one of the pointers is set.
type entry struct {
	ledger.Link
	Stage    *stage  `json:"stage,omitempty"`
	Propose  *Act    `json:"propose,omitempty"`
	Mark     *Act    `json:"mark,omitempty"`
	Approve  *Act    `json:"approve,omitempty"`
	End      *Act    `json:"end,omitempty"`
	Adopt    *change `json:"adopt,omitempty"`
	Rollback *change `json:"rollback,omitempty"`
}

type stage struct {
	Revision string  `json:"revision"`
	Verdict  Verdict `json:"verdict"`
	Act
}

type change struct {
	Revision string `json:"revision"`
	Act
}

// Ledger is the file, read into memory.
type Ledger struct {
	Proposals []Proposal
	Changes   []Change // the last is in force

	file *ledger.File // nil: for reading
}

// Active is the revision in force, "" before the first.
func (l *Ledger) Active() string { return l.back(0) }

// Previous is what a rollback leads to, "" for nothing: what was in force before the
// active one came. What a rollback has left is not gone back to.
func (l *Ledger) Previous() string { return l.back(1) }

// back is the revision n promotions below the active one.
func (l *Ledger) back(n int) string {
	var below []string
	for _, c := range l.Changes {
		if c.How == rollback {
			below = below[:len(below)-1]
			continue
		}
		below = append(below, c.Revision)
	}
	if n >= len(below) {
		return ""
	}
	return below[len(below)-1-n]
}

// Revisions are all that the file names: what was ever in force, and what is or was
// proposed.
func (l *Ledger) Revisions() []string {
	var list []string
	for _, c := range l.Changes {
		list = append(list, c.Revision)
	}
	for _, p := range l.Proposals {
		list = append(list, p.Revision)
	}
	return list
}

// Find returns the proposal with this id, or nil.
func (l *Ledger) Find(id string) *Proposal {
	for i := range l.Proposals {
		if l.Proposals[i].ID == id {
			return &l.Proposals[i]
		}
	}
	return nil
}

// Read reads the file at path beside whoever changes it. One that is not there holds
// nothing.
func Read(path string) (*Ledger, error) { return folded(path, ledger.Read) }

// ReadEarlier is Read for a start after a power cut: a last entry that cannot be read
// is left out. It never took effect where its write was interrupted; where it was
// damaged later, older rules are better than none (GW-02).
func ReadEarlier(path string) (*Ledger, error) { return folded(path, ledger.ReadEarlier) }

func folded(path string, read func(string, ledger.Take) error) (*Ledger, error) {
	l := &Ledger{}
	if err := read(path, l.take); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return l, nil
}

// Open opens the file at path so that nobody else can change it until Close, and
// makes it when it is not there.
func Open(path string) (*Ledger, error) {
	l := &Ledger{}
	var err error
	if l.file, err = ledger.Open(path, l.take); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return l, nil
}

// Close lets others change the file.
func (l *Ledger) Close() error { return l.file.Close() }

// take folds one entry.
func (l *Ledger) take(payload []byte) error {
	var e entry
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("it is not one in JSON")
	}
	return l.apply(e)
}

func (l *Ledger) apply(e entry) error {
	p := l.Find(e.ID)
	switch {
	case e.Adopt != nil:
		l.Changes = append(l.Changes, Change{Revision: e.Adopt.Revision, How: adopt, Act: e.Adopt.Act})
		return nil
	case e.Rollback != nil && e.Rollback.Revision == l.Previous() && l.Previous() != "":
		l.Changes = append(l.Changes, Change{Revision: e.Rollback.Revision, How: rollback, Act: e.Rollback.Act})
		return nil
	case e.Stage != nil && p == nil && e.ID != "":
		l.Proposals = append(l.Proposals, Proposal{ID: e.ID, Revision: e.Stage.Revision, Verdict: e.Stage.Verdict, Staged: e.Stage.Act})
		return nil
	case p == nil || !p.Open():
		return fmt.Errorf("proposal %s is not open", e.ID)
	case e.Propose != nil && p.Proposed == nil:
		p.Proposed = e.Propose
	case e.Mark != nil && p.Marked == nil:
		p.Marked = e.Mark
	case e.End != nil:
		p.Ended = e.End
	case e.Approve != nil && p.Proposed != nil:
		p.Approved = e.Approve
		l.Changes = append(l.Changes, Change{Revision: p.Revision, How: promote, Proposal: p.ID, Act: *e.Approve})
	default:
		return errors.New("it says nothing that can follow")
	}
	return nil
}

func (l *Ledger) append(e entry) error {
	if err := l.file.Append(&e); err != nil {
		return fmt.Errorf("write promotion: %w", err)
	}
	return nil
}
