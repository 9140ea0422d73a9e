package incident

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/journal"
)

// Person is somebody who may declare an incident.
type Person struct {
	Name string
	Key  note.Verifier
}

// Rules say what is believed.
type Rules struct {
	Origin  string        // of the log, merkle.Origin: signatures for another gateway count nowhere
	People  []Person      // who may declare
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
	Version int    `json:"v"`
	Before  string `json:"before"` // hash of the entry before
	ID      string `json:"id"`

	Declare *declaration `json:"declare,omitempty"`
	End     *End         `json:"end,omitempty"`
	Begun   bool         `json:"begun,omitempty"`
	Closed  bool         `json:"closed,omitempty"`
}

// declaration is what one person has signed.
type declaration struct {
	By   string `json:"by"`
	Note string `json:"note"`
}

// Ledger is the file, read into memory.
type Ledger struct {
	List []Incident

	rules Rules
	sum   string
	file  *journal.Ledger // nil: for reading
}

// Read reads the file at path beside whoever changes it. One that is not there
// holds nothing.
func Read(path string, rules Rules) (*Ledger, error) {
	entries, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Ledger{rules: rules}, nil
	}
	return fold(entries, err, rules)
}

const (
	// settling is how often and how long a reader waits for an entry that somebody
	// is writing.
	settling      = 5
	settlingPause = 20 * time.Millisecond
)

// read returns the entries of a file that is whole: a last entry that cannot be read
// may be an end.
func read(path string) (entries [][]byte, err error) {
	for range settling {
		if entries, err = journal.ReadWholeLedger(path); !errors.Is(err, journal.ErrCorrupt) {
			return entries, err
		}
		time.Sleep(settlingPause)
	}
	return nil, err
}

// Open opens the file at path so that nobody else can change it until Close, and
// makes it when it is not there.
func Open(path string, rules Rules) (*Ledger, error) {
	if _, err := read(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // OpenLedger would cut it back
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	file, entries, err := journal.OpenLedger(path)
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("%w: somebody else is changing it: try again", err)
	}
	l, err := fold(entries, err, rules)
	if err != nil {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
		return nil, err
	}
	l.file = file
	return l, nil
}

// Close lets others change the file.
func (l *Ledger) Close() error { return l.file.Close() }

func fold(entries [][]byte, err error, rules Rules) (*Ledger, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	l := &Ledger{rules: rules}
	for n, payload := range entries {
		if err := l.take(payload); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrFile, n+1, err)
		}
	}
	return l, nil
}

// take folds one entry. It judges form and order; whether a signature counts is
// Check's to say, since people come and go.
func (l *Ledger) take(payload []byte) error {
	var e entry
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("it is not one in JSON")
	}
	if e.Version != 1 || e.Before != l.sum {
		return errors.New("it does not follow the one before it")
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
	sum := sha256.Sum256(payload)
	l.sum = hex.EncodeToString(sum[:])
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
	e.Version, e.Before = 1, l.sum
	payload, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write incident: %w", err)
	}
	if err := l.file.Append(payload); err != nil {
		return fmt.Errorf("write incident: %w", err)
	}
	return l.take(payload)
}

// Declare declares an incident, signed by whoever declares it, and returns it with
// its id. It begins as soon as the gateway has read and recorded it.
func (l *Ledger) Declare(i Incident, signer note.Signer) (Incident, error) {
	i.ID, i.DeclaredAt = newID(), i.DeclaredAt.UTC().Truncate(time.Microsecond)
	if err := checkDeclared(i, l.rules); err != nil {
		return Incident{}, err
	}
	n := slices.IndexFunc(l.rules.People, func(p Person) bool { return p.Name == i.DeclaredBy })
	switch {
	case n < 0:
		return Incident{}, refused("%s is not among limits.incident.people of the configuration", i.DeclaredBy)
	case l.rules.People[n].Key.KeyHash() != signer.KeyHash() || l.rules.People[n].Key.Name() != signer.Name():
		return Incident{}, refused("the key is not the one that limits.incident.people names for %s", i.DeclaredBy)
	}
	signed, err := note.Sign(&note.Note{Text: text(l.rules.Origin, i)}, signer)
	if err != nil {
		return Incident{}, fmt.Errorf("sign: %w", err)
	}
	if err := l.append(entry{ID: i.ID, Declare: &declaration{By: i.DeclaredBy, Note: string(signed)}}); err != nil {
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
	if err := l.append(entry{ID: id, End: &e}); err != nil {
		return Incident{}, err
	}
	return *l.Find(id), nil
}

func newID() string {
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	return "I" + hex.EncodeToString(unique[:])
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
