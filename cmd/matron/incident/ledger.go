package incident

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// Rules say what is believed.
type Rules struct {
	Origin  string        // of the log, merkle.Origin: signatures for another gateway count nowhere
	People  ledger.People // who may declare
	Longest time.Duration // of one incident
}

// Incident is one that was declared and what became of it.
type Incident struct {
	ID         string        `json:"id"`
	For        time.Duration `json:"for_ns"`
	Reason     string        `json:"reason"`
	DeclaredBy string        `json:"declared_by"`
	DeclaredAt time.Time     `json:"declared_at"`
	// Begun says that its beginning is on record, Closed that its end is.
	Begun  bool `json:"begun"`
	Closed bool `json:"closed"`
	// Ended says who ended it before its time; nil for nobody.
	Ended *End `json:"ended,omitempty"`

	signed string // note
}

// End is the end of an incident.
type End struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"` // an account, or "gateway"
	At     time.Time `json:"at"`
}

// Until is when the incident ends by itself.
func (i Incident) Until() time.Time { return i.DeclaredAt.Add(i.For) }

// entry is one entry of the file, as JSON. Exactly one of the four is set.
type entry struct {
	ledger.Link
	Declare *ledger.Signature `json:"declare,omitempty"`
	End     *End              `json:"end,omitempty"`
	Begun   bool              `json:"begun,omitempty"`
	Closed  bool              `json:"closed,omitempty"`
}

// Ledger is the file, read into memory.
type Ledger struct {
	List []Incident

	rules Rules
	file  *ledger.File // nil: for reading
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
// makes it when it is not there.
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

// take folds one entry. It judges form and order; whether a signature counts is
// Check's to say, since people come and go.
func (l *Ledger) take(payload []byte) error {
	var e entry
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("it is not one in JSON")
	}
	i := l.Find(e.ID)
	if (i == nil) != (e.Declare != nil) {
		return fmt.Errorf("incident %s is there twice, or was never declared", e.ID)
	}
	switch {
	case e.Declare != nil:
		declared, err := parse(*e.Declare)
		if err != nil || declared.ID != e.ID {
			return errors.New("its declaration cannot be read")
		}
		l.List = append(l.List, declared)
	case i.Closed:
		return fmt.Errorf("incident %s was over before", e.ID)
	case e.End != nil && i.Ended == nil:
		i.Ended = e.End
	case e.Begun && !i.Begun:
		i.Begun = true
	case e.Closed:
		i.Closed = true
	default:
		return errors.New("it says nothing that can follow")
	}
	return nil
}

// Find returns the incident with this id, or nil.
func (l *Ledger) Find(id string) *Incident {
	for n := range l.List {
		if l.List[n].ID == id {
			return &l.List[n]
		}
	}
	return nil
}

func (l *Ledger) append(e entry) error {
	if err := l.file.Append(&e); err != nil {
		return fmt.Errorf("write incident: %w", err)
	}
	return nil
}

// Declare declares an incident, signed by whoever declares it, and returns it with
// its id. It begins as soon as the gateway has read and recorded it.
func (l *Ledger) Declare(i Incident, signer note.Signer) (Incident, error) {
	i.ID, i.DeclaredAt = ledger.NewID("I"), i.DeclaredAt.UTC().Truncate(time.Microsecond)
	if err := checkDeclared(i, l.rules); err != nil {
		return Incident{}, err
	}
	if err := l.rules.People.Holds(i.DeclaredBy, signer); err != nil {
		return Incident{}, refused("%v", err)
	}
	signed, err := ledger.Sign(text(l.rules.Origin, i), signer)
	if err != nil {
		return Incident{}, err
	}
	if err := l.append(entry{Link: ledger.Link{ID: i.ID}, Declare: &ledger.Signature{By: i.DeclaredBy, Note: signed}}); err != nil {
		return Incident{}, err
	}
	return *l.Find(i.ID), nil
}

// End ends an incident. Anybody may: limits are then in force again.
func (l *Ledger) End(id string, e End) (Incident, error) {
	i := l.Find(id)
	switch {
	case i == nil:
		return Incident{}, refused("there is no incident %s: \"matron limits incident status\" lists them", id)
	case i.Closed || i.Ended != nil:
		return Incident{}, refused("%s is over", id)
	case strings.TrimSpace(e.Reason) == "" || e.By == "":
		return Incident{}, refused("an end needs a reason and who gives it")
	}
	if err := l.append(entry{Link: ledger.Link{ID: id}, End: &e}); err != nil {
		return Incident{}, err
	}
	return *l.Find(id), nil
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
