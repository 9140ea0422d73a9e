package retention

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
)

// Hold says which records must stay whatever their age. A record is held when it
// lies in the period and concerns anybody who is listed; empty lists mean
// everybody, and no period means any time.
type Hold struct {
	ID         string    `json:"id"`
	Inquiry    string    `json:"inquiry,omitempty"`
	Patients   []string  `json:"patients,omitempty"` // ids as the application knows them
	NHSNumbers []string  `json:"nhs_numbers,omitempty"`
	People     []string  `json:"people,omitempty"` // members of staff
	From       time.Time `json:"from,omitzero"`    // inclusive
	To         time.Time `json:"to,omitzero"`      // exclusive
	Reason     string    `json:"reason"`
	By         string    `json:"by"`
	At         time.Time `json:"at"`

	Released *Release `json:"released,omitempty"` // nil while it holds
}

// Release ends a hold.
type Release struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at"`
}

// holds reports whether r must stay because of h.
func (h Hold) holds(r *audit.Record) bool {
	if !h.From.IsZero() && r.Time.Before(h.From) || !h.To.IsZero() && !r.Time.Before(h.To) {
		return false
	}
	if len(h.Patients)+len(h.NHSNumbers)+len(h.People) == 0 {
		return true
	}
	return r.Patient != "" && slices.Contains(h.Patients, r.Patient) ||
		r.NHSNumber != "" && slices.Contains(h.NHSNumbers, r.NHSNumber) ||
		r.Person != "" && slices.Contains(h.People, r.Person)
}

func (h Hold) check() error {
	listed := slices.Concat(h.Patients, h.NHSNumbers, h.People)
	switch {
	case strings.TrimSpace(h.Reason) == "":
		return fmt.Errorf("%w: it has no reason", ErrHold)
	case h.By == "":
		return fmt.Errorf("%w: it does not say who placed it", ErrHold)
	case len(listed) == 0 && h.Inquiry == "":
		return fmt.Errorf("%w: it names no patient, no person and no inquiry", ErrHold)
	case len(listed) == 0 && h.From.IsZero() && h.To.IsZero():
		return fmt.Errorf("%w: an inquiry needs a period or people", ErrHold)
	case !h.From.IsZero() && !h.To.IsZero() && !h.From.Before(h.To):
		return fmt.Errorf("%w: its period ends before it begins", ErrHold)
	case slices.Contains(listed, ""):
		return fmt.Errorf("%w: an empty id", ErrHold)
	}
	for _, n := range h.NHSNumbers {
		if _, err := strconv.ParseUint(n, 10, 64); err != nil || len(n) != 10 {
			return fmt.Errorf("%w: an NHS number has ten digits", ErrHold)
		}
	}
	return nil
}

// Holds are the legal holds of a gateway, in a file to which entries are only
// added: each names the hash of the one before, so that none can be taken out.
type Holds struct {
	List []Hold
	// Entries is how many placings and releases there are, Sum the hash of all.
	Entries int
	Sum     string

	ledger *journal.Ledger // nil: for reading
	source string
}

// holdEntry is one entry of the file, as JSON.
type holdEntry struct {
	Version int      `json:"v"`
	Source  string   `json:"source"`
	Before  string   `json:"before"` // Sum before this entry
	Place   *Hold    `json:"place,omitempty"`
	Release *Release `json:"release,omitempty"`
	ID      string   `json:"id,omitempty"` // of the hold that is released
}

// CreateHolds makes the file at path. Where it is missing later, holds were lost:
// nothing makes it silently.
func CreateHolds(path string) error {
	l, _, err := journal.OpenLedger(path)
	if err != nil {
		return fmt.Errorf("make file of legal holds: %w", err)
	}
	return l.Close()
}

// ReadHolds reads the holds of source beside whoever changes them.
func ReadHolds(path, source string) (*Holds, error) {
	entries, err := journal.ReadLedger(path)
	return newHolds(path, source, entries, err)
}

// OpenHolds opens the holds of source so that nobody else can change them until
// Close.
func OpenHolds(path, source string) (*Holds, error) {
	if _, err := os.Stat(path); err != nil { // OpenLedger would make it
		return nil, fmt.Errorf("%w: %w; \"matron init\" makes it once, after that put it back from a backup", ErrHolds, err)
	}
	l, entries, err := journal.OpenLedger(path)
	if errors.Is(err, journal.ErrLocked) {
		return nil, fmt.Errorf("%w: a disposal or another change is under way: try again", err)
	}
	h, err := newHolds(path, source, entries, err)
	if err != nil {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
		return nil, err
	}
	h.ledger = l
	return h, nil
}

func newHolds(path, source string, entries [][]byte, err error) (*Holds, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w; \"matron init\" makes it once, after that put it back from a backup", ErrHolds, err)
	}
	h := &Holds{source: source}
	for i, payload := range entries {
		if err := h.take(payload); err != nil {
			return nil, fmt.Errorf("%w: %s, entry %d: %w", ErrHolds, path, i+1, err)
		}
	}
	return h, nil
}

// Close lets others change the holds.
func (h *Holds) Close() error {
	if h.ledger == nil {
		return nil
	}
	return h.ledger.Close()
}

// take folds one entry.
func (h *Holds) take(payload []byte) error {
	var e holdEntry
	if err := json.Unmarshal(payload, &e); err != nil {
		return err
	}
	if e.Version != 1 || e.Source != h.source || e.Before != h.Sum {
		return errors.New("it does not follow the one before it")
	}
	switch {
	case e.Place != nil && e.Release == nil:
		if h.find(e.Place.ID) != nil {
			return fmt.Errorf("hold %s is there twice", e.Place.ID)
		}
		h.List = append(h.List, *e.Place)
	case e.Release != nil && e.Place == nil:
		old := h.find(e.ID)
		if old == nil || old.Released != nil {
			return fmt.Errorf("hold %s is not there to be released", e.ID)
		}
		old.Released = e.Release
	default:
		return errors.New("it neither places nor releases a hold")
	}
	sum := sha256.Sum256(payload)
	h.Entries, h.Sum = h.Entries+1, hex.EncodeToString(sum[:])
	return nil
}

func (h *Holds) find(id string) *Hold {
	for i := range h.List {
		if h.List[i].ID == id {
			return &h.List[i]
		}
	}
	return nil
}

// Active are the holds that were not released.
func (h *Holds) Active() []Hold {
	return slices.DeleteFunc(slices.Clone(h.List), func(h Hold) bool { return h.Released != nil })
}

// Place adds a hold, durably, and returns it with its id.
func (h *Holds) Place(hold Hold) (Hold, error) {
	if err := hold.check(); err != nil {
		return Hold{}, err
	}
	var unique [4]byte
	_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
	hold.ID, hold.Released = "H"+hex.EncodeToString(unique[:]), nil
	return hold, h.append(holdEntry{Place: &hold})
}

// Release ends a hold, durably.
func (h *Holds) Release(id string, r Release) (Hold, error) {
	old := h.find(id)
	switch {
	case old == nil:
		return Hold{}, fmt.Errorf("%w: there is no hold %s", ErrHold, id)
	case old.Released != nil:
		return Hold{}, fmt.Errorf("%w: %s was released already, by %s", ErrHold, id, old.Released.By)
	case strings.TrimSpace(r.Reason) == "" || r.By == "":
		return Hold{}, fmt.Errorf("%w: a release needs a reason and who gives it", ErrHold)
	}
	if err := h.append(holdEntry{ID: id, Release: &r}); err != nil {
		return Hold{}, err
	}
	return *h.find(id), nil
}

func (h *Holds) append(e holdEntry) error {
	e.Version, e.Source, e.Before = 1, h.source, h.Sum
	payload, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write legal hold: %w", err)
	}
	if err := h.ledger.Append(payload); err != nil {
		return fmt.Errorf("write legal hold: %w", err)
	}
	return h.take(payload)
}

// Record is what the journal is told of a hold that was placed or released.
func (h Hold) Record() *audit.Record {
	r := &audit.Record{Kind: audit.KindHold, Time: h.At, Action: "place", UserIssuer: "os", UserSub: h.By, UserName: h.By}
	reason := h.Reason
	if h.Released != nil {
		r.Action, r.Time, r.UserSub, r.UserName, reason = "release", h.Released.At, h.Released.By, h.Released.By, h.Released.Reason
	}
	if len(h.Patients) == 1 {
		r.Patient = h.Patients[0]
	}
	if len(h.NHSNumbers) == 1 {
		r.NHSNumber = h.NHSNumbers[0]
	}
	r.Detail = []string{
		"hold=" + h.ID, "reason=" + reason,
		fmt.Sprintf("patients=%d", max(len(h.Patients), len(h.NHSNumbers))), fmt.Sprintf("people=%d", len(h.People)),
	}
	if h.Inquiry != "" {
		r.Detail = append(r.Detail, "inquiry="+h.Inquiry)
	}
	return r
}
