package bypass

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

// Person is somebody who may ask for a bypass or approve one.
type Person struct {
	Name string
	Key  note.Verifier
}

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
	Version int    `json:"v"`
	Before  string `json:"before"` // hash of all entries before
	ID      string `json:"id"`

	Request *signature `json:"request,omitempty"`
	Approve *signature `json:"approve,omitempty"`
	Lease   *lease     `json:"lease,omitempty"`
	End     *End       `json:"end,omitempty"`
}

// signature is what one person has signed.
type signature struct {
	By   string `json:"by"`
	Note string `json:"note"`
}

// lease is time that the gateway grants itself, before it uses it.
type lease struct {
	Used time.Duration `json:"used_ns"` // in all, this lease included
}

// Ledger is the file, read into memory.
type Ledger struct {
	List []Bypass

	rules Rules
	sum   string
	file  *journal.Ledger // nil: for reading
}

// Rules say what is believed.
type Rules struct {
	Origin  string        // of the log, merkle.Origin: signatures for another gateway count nowhere
	People  []Person      // who may ask and approve
	Longest time.Duration // of one bypass
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

// read returns the entries of a file that is whole. A last entry that cannot be
// read may be the end of a bypass: it must not be taken for one that was never
// written (GW-19).
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
// makes it when it is not there: one that was lost held at most bypasses that are
// now off.
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
	for i, payload := range entries {
		if err := l.take(payload); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrFile, i+1, err)
		}
	}
	return l, nil
}

// take folds one entry. It judges form and order; whether signatures count is
// Check's to say, since people come and go.
func (l *Ledger) take(payload []byte) error {
	var e entry
	if err := json.Unmarshal(payload, &e); err != nil {
		return errors.New("it is not one in JSON")
	}
	if e.Version != 1 || e.Before != l.sum {
		return errors.New("it does not follow the one before it")
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
	sum := sha256.Sum256(payload)
	l.sum = hex.EncodeToString(sum[:])
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
	e.Version, e.Before = 1, l.sum
	payload, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write bypass: %w", err)
	}
	if err := l.file.Append(payload); err != nil {
		return fmt.Errorf("write bypass: %w", err)
	}
	return l.take(payload)
}

// Request asks for a bypass, signed by who asks, and returns it with its id.
func (l *Ledger) Request(b Bypass, signer note.Signer) (Bypass, error) {
	b.ID, b.RequestedAt = newID(), b.RequestedAt.UTC().Truncate(time.Microsecond)
	if err := checkRequest(b, l.rules); err != nil {
		return Bypass{}, err
	}
	if err := l.holder(b.RequestedBy, signer); err != nil {
		return Bypass{}, err
	}
	signed, err := sign(requestText(l.rules.Origin, b), signer)
	if err != nil {
		return Bypass{}, err
	}
	if err := l.append(entry{ID: b.ID, Request: &signature{By: b.RequestedBy, Note: signed}}); err != nil {
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
	if err := l.holder(by, signer); err != nil {
		return Bypass{}, err
	}
	signed, err := sign(approvalText(l.rules.Origin, b.request, now), signer)
	if err != nil {
		return Bypass{}, err
	}
	approved := *b
	approved.ApprovedBy, approved.ApprovedAt, approved.approval = by, now, signed
	if err := l.Check(approved, now); err != nil {
		return Bypass{}, err
	}
	if err := l.append(entry{ID: id, Approve: &signature{By: by, Note: signed}}); err != nil {
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
	if err := l.append(entry{ID: id, End: &e}); err != nil {
		return Bypass{}, err
	}
	return *l.Find(id), nil
}

// grant makes a lease durable: used is what the bypass has used in all.
func (l *Ledger) grant(id string, used time.Duration) error {
	return l.append(entry{ID: id, Lease: &lease{Used: used}})
}

// holder makes sure that a key is that of a person who may sign.
func (l *Ledger) holder(name string, signer note.Signer) error {
	i := slices.IndexFunc(l.rules.People, func(p Person) bool { return p.Name == name })
	switch {
	case i < 0:
		return refused("%s is not among bypass.people of the configuration", name)
	case l.rules.People[i].Key.KeyHash() != signer.KeyHash() || l.rules.People[i].Key.Name() != signer.Name():
		return refused("the key is not the one that bypass.people names for %s", name)
	}
	return nil
}

func newID() string {
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	return "B" + hex.EncodeToString(unique[:])
}

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
