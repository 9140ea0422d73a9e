// Package table holds accesses in memory by column, small enough that a hundred
// million of them fit in a few gigabytes: texts that come again are numbers.
//
// It never changes what it is told. It does no I/O. A Table may be read
// concurrently once nothing is added to it any more.
package table

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Names gives each text a number, in the order in which they come. Number 0 is
// the empty text.
type Names struct {
	numbers map[string]uint32
	texts   []string
}

// NewNames makes Names that know the empty text only.
func NewNames() *Names { return &Names{map[string]uint32{"": 0}, []string{""}} }

// Number returns the number of a text and gives it one when it is new.
func (n *Names) Number(text string) uint32 {
	i, ok := n.numbers[text]
	if !ok {
		text = strings.Clone(text)
		i = uint32(len(n.texts)) //nolint:gosec // no hospital has that many
		n.numbers[text] = i
		n.texts = append(n.texts, text)
	}
	return i
}

// Find returns the number of a text that is known.
func (n *Names) Find(text string) (uint32, bool) {
	i, ok := n.numbers[text]
	return i, ok
}

// Text is the text of a number.
func (n *Names) Text(i uint32) string { return n.texts[i] }

// Len is how many there are, the empty one included.
func (n *Names) Len() int { return len(n.texts) }

// Flag is something that an access was.
type Flag uint8

// The flags. Of Deliberate and Incidental neither is set when nobody knows.
const (
	Deliberate Flag = 1 << iota
	Incidental
	BreakGlass
	Refused  // denied or failed: nothing was seen
	Reasoned // the person gave a reason
	Outside  // from an address of the internet, not of a network within
)

// Table is accesses by column: row i of one column belongs to row i of the others.
// A list of patients is a row for each.
type Table struct {
	At      []int64  // microseconds since 1970
	Person  []uint32 // of People
	Patient []uint32 // of Patients; 0 is none
	Device  []uint32 // of Devices
	Session []uint32 // of Sessions; 0 is not known
	Word    []uint32 // of Words: action and part of the record
	Flags   []Flag

	People, Patients, Devices *Names
	Words                     *Names // "action screen", or "action area" where no screen is named
	Sessions                  *Names // nil once the table is settled
	Hours                     Hours
	roles                     map[uint32]string
	ids                       ids
	rows                      []uint32 // where each row's id is, once that is another row
	from                      int      // rows that were left out before the first one
}

// New makes an empty Table.
func New() *Table {
	return &Table{
		People: NewNames(), Patients: NewNames(), Devices: NewNames(), Sessions: NewNames(), Words: NewNames(),
		Hours: Hours{}, roles: map[uint32]string{},
	}
}

// Len is how many rows there are.
func (t *Table) Len() int { return len(t.At) }

// Add takes one access in.
func (t *Table) Add(r *audit.Imported) {
	person := t.People.Number(r.Person)
	t.At = append(t.At, r.Time.UnixMicro())
	t.Person = append(t.Person, person)
	t.Patient = append(t.Patient, t.Patients.Number(r.Patient))
	t.Device = append(t.Device, t.Devices.Number(r.Device))
	t.Session = append(t.Session, t.Sessions.Number(r.Session))
	t.Word = append(t.Word, t.Words.Number(r.Action+" "+cmp.Or(r.Screen, r.Area)))
	var f Flag
	switch r.Deliberate {
	case "true":
		f |= Deliberate
	case "false":
		f |= Incidental
	}
	if r.BreakGlass {
		f |= BreakGlass
	}
	if r.Reason != "" {
		f |= Reasoned
	}
	if r.Outcome == "denied" || r.Outcome == "failed" {
		f |= Refused
	}
	if outside(r.IP) {
		f |= Outside
	}
	t.Flags = append(t.Flags, f)
	t.Hours.add(System{r.Source, r.App}, r.Time)
	if r.Role != "" {
		t.roles[person] = r.Role
	}
	t.ids.add(r.ID)
	if t.rows != nil {
		t.rows = append(t.rows, uint32(t.ids.n-1)) //nolint:gosec // rows are numbered in 32 bits
	}
}

// outside says whether an address is of the internet. What is no address is not.
func outside(ip string) bool {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	a = a.Unmap()
	shared := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598: providers' own networks, some hospitals' too
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// Drop takes back the row that was added last. Names that came with it stay. The
// table was never sorted.
func (t *Table) Drop() {
	n := t.Len() - 1
	t.At, t.Person, t.Patient, t.Device = t.At[:n], t.Person[:n], t.Patient[:n], t.Device[:n]
	t.Session, t.Word, t.Flags = t.Session[:n], t.Word[:n], t.Flags[:n]
	t.ids.drop()
}

// Role is the role in which a person was seen last, "" when none was named.
func (t *Table) Role(person uint32) string { return t.roles[person] }

// ID is the id of the access of a row.
func (t *Table) ID(row int) string {
	if t.rows != nil {
		return t.ids.at(int(t.rows[row]))
	}
	return t.ids.at(row + t.from)
}

// Action is what was done in a row.
func (t *Table) Action(row int) string {
	action, _, _ := strings.Cut(t.Words.Text(t.Word[row]), " ")
	return action
}

// Screen is what part of a record a row was about: the screen, else the area.
func (t *Table) Screen(row int) string {
	_, screen, _ := strings.Cut(t.Words.Text(t.Word[row]), " ")
	return screen
}

// Time is when a row happened, UTC.
func (t *Table) Time(row int) time.Time { return time.UnixMicro(t.At[row]).UTC() }

// Writes says whether one of Words changes a record.
func Writes(word string) bool {
	action, _, _ := strings.Cut(word, " ")
	return action == "create" || action == "update" || action == "delete"
}

// Prefetch is how many patients a session may open within a second by hand; more
// are fetched by a program.
const Prefetch = 4

// Settle marks as incidental what nobody chose where that is not known: lists,
// searches, and what a session opens faster than a hand does, as long as a page may
// fetch as many. Rows are in the order of time, and none is added any more.
func (t *Table) Settle() {
	t.Sessions = nil // which one it was is of no use any more
	passive := make([]bool, t.Words.Len())
	for i := range passive {
		action, _, _ := strings.Cut(t.Words.Text(uint32(i)), " ")
		passive[i] = action == "list" || action == "search"
	}
	bursts, cleared := map[uint32]burst{}, int64(0)
	var fetches Fetches
	for row, f := range t.Flags {
		if f&(Deliberate|Incidental) != 0 || t.Patient[row] == 0 {
			continue
		}
		if passive[t.Word[row]] {
			t.Flags[row] |= Incidental
			continue
		}
		at := t.At[row]
		if at-cleared > 60*second {
			cleared = at
			maps.DeleteFunc(bursts, func(_ uint32, b burst) bool { return at-b.from > second })
		}
		b := bursts[t.Session[row]]
		if t.Session[row] == 0 || len(b.rows) > 0 && at-b.from > second {
			b = burst{}
		}
		if len(b.rows) == 0 {
			b.from = at
		}
		b.rows = append(b.rows, row)
		if b.add(t.Patient[row]) > Prefetch && !fetches.More(t.Session[row], t.Patient[row], at) {
			for _, r := range b.rows {
				t.Flags[r] |= Incidental
			}
		}
		bursts[t.Session[row]] = b
	}
}

// second is one in microseconds.
const second = int64(time.Second / time.Microsecond)

// burst is what a session opens within a second.
type burst struct {
	from     int64
	rows     []int
	patients []uint32
}

func (b *burst) add(patient uint32) int {
	if !slices.Contains(b.patients, patient) {
		b.patients = append(b.patients, patient)
	}
	return len(b.patients)
}

// Counts says whether a row is a look at a patient that somebody may have chosen:
// what was refused showed nothing, and being in a list is not being opened.
func (t *Table) Counts(row int) bool {
	return t.Patient[row] != 0 && t.Person[row] != 0 && t.Flags[row]&(Incidental|Refused) == 0
}

// Sort puts the rows into the order of time; those of one moment stay as they came.
func (t *Table) Sort() {
	if slices.IsSorted(t.At) {
		return
	}
	order := make([]uint32, t.Len())
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortStableFunc(order, func(a, b uint32) int {
		switch x, y := t.At[a], t.At[b]; {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	before := t.rows
	t.rows = make([]uint32, len(order))
	for i, o := range order {
		t.rows[i] = o
		if before != nil {
			t.rows[i] = before[o]
		}
	}
	t.At, t.Person, t.Patient, t.Device = sorted(t.At, order), sorted(t.Person, order), sorted(t.Patient, order), sorted(t.Device, order)
	t.Session, t.Word, t.Flags = sorted(t.Session, order), sorted(t.Word, order), sorted(t.Flags, order)
}

func sorted[T any](column []T, order []uint32) []T {
	out := make([]T, len(column))
	for i, o := range order {
		out[i] = column[o]
	}
	return out
}

// From is the first row at a time or after it. The rows are in the order of time.
func (t *Table) From(at time.Time) int {
	row, _ := slices.BinarySearch(t.At, at.UnixMicro())
	return row
}

// Keep leaves the rows outside [from, to) out; a zero time is no bound. The table is
// in the order of time, and no row is added any more.
func (t *Table) Keep(from, to time.Time) {
	lo, hi := 0, t.Len()
	if !from.IsZero() {
		lo, _ = slices.BinarySearch(t.At, from.UnixMicro())
	}
	if !to.IsZero() {
		hi, _ = slices.BinarySearch(t.At, to.UnixMicro())
	}
	hi = max(lo, hi)
	if t.rows != nil {
		t.rows = t.rows[lo:hi]
	} else {
		t.from += lo
	}
	t.At, t.Person, t.Patient, t.Device = t.At[lo:hi], t.Person[lo:hi], t.Patient[lo:hi], t.Device[lo:hi]
	t.Session, t.Word, t.Flags = t.Session[lo:hi], t.Word[lo:hi], t.Flags[lo:hi]
}
