// Package protection keeps which patients are protected beyond the usual: staff who
// are patients, people in the public eye, sealed records and the like.
//
// It keeps no number of any patient in clear, only hashes under a key that is made
// when the list is, and never does I/O. A List never changes and is safe for
// concurrent use; a Builder is for one goroutine.
package protection

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Staff is the class of everybody whose NHS number is that of a member of staff.
const Staff = "staff"

// maxClasses is how many different classes a list can hold.
const maxClasses = 16

// Set is the classes of one patient or of several together. The zero Set is none.
type Set uint16

// List is who is protected. The zero List protects nobody.
type List struct {
	seed    maphash.Seed
	classes []string       // by their bit in a Set
	of      map[uint64]Set // by hash of a number
	lists   map[Set][]string
}

// Builder makes a List.
type Builder struct {
	list *List
	same [][2]uint64 // numbers of one patient
}

// New begins a list.
func New() *Builder {
	return &Builder{list: &List{seed: maphash.MakeSeed(), of: map[uint64]Set{}, lists: map[Set][]string{}}}
}

// AddStaff makes the record of a member of staff protected.
func (b *Builder) AddStaff(nhsNumber string) error {
	bit, err := b.bit(Staff)
	if err == nil && nhsNumber != "" {
		b.list.of[b.list.nhs(nhsNumber)] |= bit
	}
	return err
}

// Patient is what a list says of one patient.
type Patient struct {
	ID         string // as applications know the patient
	NHSNumber  string // ten digits, spaces allowed; "" not known
	MergedInto string // the id that took this one's place; "" for none
	Classes    []string
}

// AddPatient takes in one patient. All numbers of one patient are protected alike, so
// that nobody gets round a class by an older number.
func (b *Builder) AddPatient(p Patient) error {
	var set Set
	for _, class := range p.Classes {
		bit, err := b.bit(class)
		if err != nil {
			return err
		}
		set |= bit
	}
	id := b.list.id(p.ID)
	if set > 0 {
		b.list.of[id] |= set
	}
	if p.NHSNumber != "" {
		b.same = append(b.same, [2]uint64{id, b.list.nhs(p.NHSNumber)})
	}
	if p.MergedInto != "" {
		b.same = append(b.same, [2]uint64{id, b.list.id(p.MergedInto)})
	}
	return nil
}

func (b *Builder) bit(class string) (Set, error) {
	i := slices.Index(b.list.classes, class)
	if i < 0 {
		if class == "" || strings.ContainsAny(class, ", ") || len(b.list.classes) == maxClasses {
			return 0, fmt.Errorf("class %q: a class is one word, and there are at most %d", class, maxClasses)
		}
		i = len(b.list.classes)
		b.list.classes = append(b.list.classes, class)
	}
	return 1 << i, nil
}

// Build ends the list.
func (b *Builder) Build() *List {
	of := b.list.of
	for again := true; again; { // once more for each number that a patient went by before
		again = false
		for _, pair := range b.same {
			both := of[pair[0]] | of[pair[1]]
			if both != of[pair[0]] || both != of[pair[1]] {
				of[pair[0]], of[pair[1]], again = both, both, true
			}
		}
	}
	for _, set := range of {
		if _, known := b.list.lists[set]; !known {
			b.list.lists[set] = b.list.spell(set)
		}
	}
	b.same = nil
	return b.list
}

// Of is the protection of the patient with that id and NHS number; either may be "".
func (l *List) Of(id, nhsNumber string) Set {
	var set Set
	if id != "" {
		set = l.of[l.id(id)]
		if len(l.of) > 0 && tenDigits(id) { // where an application names no id, its number is one
			set |= l.of[l.nhs(id)]
		}
	}
	if nhsNumber != "" {
		set |= l.of[l.nhs(nhsNumber)]
	}
	return set
}

// Classes are the words of a set, sorted. Nobody may change what it returns.
func (l *List) Classes(s Set) []string {
	if s == 0 {
		return nil
	}
	if list, ok := l.lists[s]; ok {
		return list
	}
	return l.spell(s)
}

func (l *List) spell(s Set) []string {
	var list []string
	for i, class := range l.classes {
		if s&(1<<i) > 0 {
			list = append(list, class)
		}
	}
	slices.Sort(list)
	return slices.Clip(list)
}

// Len is how many numbers are protected.
func (l *List) Len() int { return len(l.of) }

// id and nhs hash a number; the two kinds never meet.
func (l *List) id(number string) uint64 { return maphash.String(l.seed, number) | 1 }

func (l *List) nhs(number string) uint64 {
	var digits [16]byte // an NHS number has ten
	n := 0
	for i := 0; i < len(number) && n < len(digits); i++ {
		if c := number[i]; c != ' ' && c != '-' {
			digits[n] = c
			n++
		}
	}
	return maphash.Bytes(l.seed, digits[:n]) &^ 1
}

func tenDigits(s string) bool {
	return len(s) == 10 && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}
