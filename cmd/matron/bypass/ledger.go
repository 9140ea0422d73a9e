package bypass

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// Bypass is one request and what became of it.
type Bypass struct {
	ID     string        `json:"id"`
	App    string        `json:"app"`
	For    time.Duration `json:"for_ns"` // from the approval on
	Reason string        `json:"reason"`

	RequestedBy string    `json:"requested_by"`
	RequestedAt time.Time `json:"requested_at"`
	ApprovedBy  string    `json:"approved_by,omitempty"` // "" while nobody has
	ApprovedAt  time.Time `json:"approved_at,omitzero"`

	// Used is how much of For the gateway has granted itself, in nanoseconds.
	Used time.Duration `json:"used_ns"`
	// Ended says how it came to an end; nil while it has not.
	Ended *End `json:"ended,omitempty"`

	request, approval string // signed notes
}

// End is the end of a bypass, or of a request that nobody approves any more.
type End struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"` // an account, or "gateway"
	At     time.Time `json:"at"`
}

// Until is when the bypass ends by itself: zero while it is not approved.
func (b Bypass) Until() time.Time {
	if b.ApprovedBy == "" {
		return time.Time{}
	}
	return b.ApprovedAt.Add(b.For)
}

// entry is one entry of the file, as JSON. Exactly one of the pointers is set.
type entry struct {
	ledger.Link
	Request *ledger.Signature `json:"request,omitempty"`
	Approve *ledger.Signature `json:"approve,omitempty"`
	Lease   *lease            `json:"lease,omitempty"`
	End     *End              `json:"end,omitempty"`
}

// lease is time that the gateway grants itself, before it uses it.
type lease struct {
	Used time.Duration `json:"used_ns"` // in all, this lease included
}

// Ledger is the file, read into memory.
type Ledger struct {
	List []Bypass

	rules Rules
	file  *ledger.File // nil: for reading
}

// Rules say what is believed.
type Rules struct {
	Origin  string        // of the log, merkle.Origin: signatures for another gateway count nowhere
	People  ledger.People // who may ask and approve
	Longest time.Duration // of one bypass
}

// Read reads the file at path beside whoever changes it. One that is not there
// holds nothing.
func Read(path string, rules Rules) (*Ledger, error) {
	l := &Ledger{rules: rules}
	if err := ledger.Read(path, l.take); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return l, nil
}

// Open opens the file at path so that nobody else can change it until Close, and
// makes it when it is not there: one that was lost held at most bypasses that are
// now off.
func Open(path string, rules Rules) (*Ledger, error) {
	l := &Ledger{rules: rules}
	var err error
	if l.file, err = ledger.Open(path, l.take); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return l, nil
}

// Close lets others change the file.
func (l *Ledger) Close() error { return l.file.Close() }

// take folds one entry. It judges form and order; whether signatures count is
// Check's to say, since people come and go.
func (l *Ledger) take(payload []byte) error {
	var e entry
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("it is not one in JSON")
	}
	b := l.Find(e.ID)
	if (b == nil) != (e.Request != nil) {
		return fmt.Errorf("bypass %s is there twice, or was never asked for", e.ID)
	}
	switch {
	case e.Request != nil:
		asked, err := parseRequest(*e.Request)
		if err != nil || asked.ID != e.ID {
			return errors.New("its request cannot be read")
		}
		l.List = append(l.List, asked)
	case b.Ended != nil:
		return fmt.Errorf("bypass %s had ended before", e.ID)
	case e.Approve != nil && b.ApprovedBy == "":
		at, err := parseApproval(*e.Approve)
		if err != nil {
			return errors.New("its approval cannot be read")
		}
		b.ApprovedBy, b.ApprovedAt, b.approval = e.Approve.By, at, e.Approve.Note
	case e.Lease != nil && b.ApprovedBy != "" && e.Lease.Used > b.Used:
		b.Used = e.Lease.Used
	case e.End != nil:
		b.Ended = e.End
	default:
		return errors.New("it says nothing that can follow")
	}
	return nil
}

// Find returns the bypass with this id, or nil.
func (l *Ledger) Find(id string) *Bypass {
	for i := range l.List {
		if l.List[i].ID == id {
			return &l.List[i]
		}
	}
	return nil
}

func (l *Ledger) append(e entry) error {
	if err := l.file.Append(&e); err != nil {
		return fmt.Errorf("write bypass: %w", err)
	}
	return nil
}

// Request asks for a bypass, signed by who asks, and returns it with its id.
func (l *Ledger) Request(b Bypass, signer note.Signer) (Bypass, error) {
	b.ID, b.RequestedAt = ledger.NewID("B"), b.RequestedAt.UTC().Truncate(time.Microsecond)
	if err := checkRequest(b, l.rules); err != nil {
		return Bypass{}, err
	}
	if err := l.rules.People.Holds(b.RequestedBy, signer); err != nil {
		return Bypass{}, refused("%v", err)
	}
	signed, err := ledger.Sign(requestText(l.rules.Origin, b), signer)
	if err != nil {
		return Bypass{}, err
	}
	if err := l.append(entry{Link: ledger.Link{ID: b.ID}, Request: &ledger.Signature{By: b.RequestedBy, Note: signed}}); err != nil {
		return Bypass{}, err
	}
	return *l.Find(b.ID), nil
}

// Approve approves a bypass, signed by somebody else than who asked for it. It
// begins as soon as the gateway has read and recorded it.
func (l *Ledger) Approve(id, by string, signer note.Signer, now time.Time) (Bypass, error) {
	now = now.UTC().Truncate(time.Microsecond)
	b := l.Find(id)
	switch {
	case b == nil:
		return Bypass{}, refused("there is no bypass %s: \"matron bypass status\" lists them", id)
	case b.Ended != nil:
		return Bypass{}, refused("%s has ended", id)
	case b.ApprovedBy != "":
		return Bypass{}, refused("%s was approved by %s already", id, b.ApprovedBy)
	}
	for _, other := range l.List {
		if other.App == b.App && l.Check(other, now) == nil {
			return Bypass{}, refused("%s is bypassed already until %s, by %s: end that one first", b.App, other.Until().UTC().Format(time.TimeOnly), other.ID)
		}
	}
	if err := l.rules.People.Holds(by, signer); err != nil {
		return Bypass{}, refused("%v", err)
	}
	signed, err := ledger.Sign(approvalText(l.rules.Origin, b.request, now), signer)
	if err != nil {
		return Bypass{}, err
	}
	approved := *b
	approved.ApprovedBy, approved.ApprovedAt, approved.approval = by, now, signed
	if err := l.Check(approved, now); err != nil {
		return Bypass{}, err
	}
	if err := l.append(entry{Link: ledger.Link{ID: id}, Approve: &ledger.Signature{By: by, Note: signed}}); err != nil {
		return Bypass{}, err
	}
	return *l.Find(id), nil
}

// End ends a bypass, or takes a request back. Anybody may: it is the safe
// direction.
func (l *Ledger) End(id string, e End) (Bypass, error) {
	b := l.Find(id)
	switch {
	case b == nil:
		return Bypass{}, refused("there is no bypass %s: \"matron bypass status\" lists them", id)
	case b.Ended != nil:
		return Bypass{}, refused("%s ended at %s", id, b.Ended.At.UTC().Format(time.RFC3339))
	case strings.TrimSpace(e.Reason) == "" || e.By == "":
		return Bypass{}, refused("an end needs a reason and who gives it")
	}
	if err := l.append(entry{Link: ledger.Link{ID: id}, End: &e}); err != nil {
		return Bypass{}, err
	}
	return *l.Find(id), nil
}

// grant makes a lease durable: used is what the bypass has used in all.
func (l *Ledger) grant(id string, used time.Duration) error {
	return l.append(entry{Link: ledger.Link{ID: id}, Lease: &lease{Used: used}})
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
