package care

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"time"
)

// Register holds what is known, in memory.
type Register struct {
	w Windows

	mu        sync.RWMutex
	names     names
	nhs       uint32 // number of the authority NHS
	texts     texts
	patients  []patient
	ids       map[key]alias
	links     map[uint32]link     // patients that were merged into others
	merged    map[uint32][]uint32 // the other way round
	moves     map[place]place
	heard     map[uint32]time.Time // source: when its newest message arrived
	conflicts int
	staff     *directory
}

// patient is everything about one number of a patient. Events are sorted by
// visit, then in the order in which they happened.
type patient struct {
	events []event
	id     key
	marks  marks
}

// event is a change about a visit. It holds no pointers: millions of them cost
// the collector of garbage nothing.
type event struct {
	at               int64 // milliseconds
	sent, start, end uint32
	visit, control   uint32 // places in texts
	source           uint32
	ward, team       uint32
	people           [MaxPeople]uint32 // number of the clinician times two, plus one who refers
	part             uint16            // milliseconds of sent
	kind             Kind
	class            Class
	clinic           bool
}

// New returns an empty register.
func New(w Windows) *Register {
	r := &Register{
		w: w.complete(), names: newNames(), ids: map[key]alias{}, links: map[uint32]link{}, merged: map[uint32][]uint32{},
		moves: map[place]place{}, heard: map[uint32]time.Time{}, staff: &directory{},
	}
	r.nhs = r.names.intern(NHS)
	return r
}

// Apply takes a message that passed Check. One that was taken before changes
// nothing.
func (r *Register) Apply(m Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var p uint32
	for i := range m {
		if i == 0 || !again(&m[i], &m[i-1]) {
			p = r.identify(m[i].Patient, m[i].At)
		}
		r.apply(p, &m[i])
	}
}

// again reports whether two changes name the patient by the same number of the
// hospital, and by nothing else that could be learned.
func again(a, b *Change) bool {
	return len(a.Patient) == 1 && len(b.Patient) == 1 && a.Patient[0] == b.Patient[0] && a.Patient[0].Authority != NHS
}

func (r *Register) apply(p uint32, c *Change) {
	switch c.Kind {
	case Identify:
	case Flag:
		r.mark(p, c)
	case Merge:
		r.merge(p, r.identify([]ID{c.Prior}, c.At), c.At)
	case Move:
		r.move(place{r.identify([]ID{c.Prior}, c.At), c.PriorVisit}, place{p, c.Visit})
	default:
		v := r.moved(place{p, c.Visit})
		r.insert(v.patient, r.event(c, r.visit(v)))
	}
}

func (r *Register) event(c *Change, visit uint32) event {
	e := event{
		at: c.At.UnixMilli(), sent: seconds(c.Sent), start: seconds(c.Start), end: seconds(c.End),
		visit: visit, control: r.texts.add(c.Control), source: r.names.intern(c.Source), ward: r.names.intern(c.Ward), team: r.names.intern(c.Team),
		part: uint16(c.Sent.Nanosecond() / int(time.Millisecond)), kind: c.Kind, class: c.Class, clinic: c.Clinic, //nolint:gosec // below 1000
	}
	for i, p := range c.People {
		e.people[i] = r.names.clinician(p.ID) << 1
		if p.Referring {
			e.people[i]++
		}
	}
	return e
}

// seconds is a time as an event keeps it, 0 for none.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(t.Unix()) //nolint:gosec // Check bounds it
}

// visit returns where the number of a visit is kept, once for each patient.
func (r *Register) visit(v place) uint32 {
	for i := range r.patients[v.patient].events {
		at := r.patients[v.patient].events[i].visit
		if string(r.texts.bytes(at)) == v.visit {
			return at
		}
	}
	return r.texts.add(v.visit)
}

// insert puts an event into its place, unless it is there.
func (r *Register) insert(p uint32, e event) {
	events := &r.patients[p].events
	if slices.ContainsFunc(*events, func(o event) bool { return o.replaces(&e) }) {
		r.texts.drop(e.control)
		return
	}
	if e.kind == Replace {
		*events = slices.DeleteFunc(*events, func(o event) bool { return e.replaces(&o) })
	}
	i, found := slices.BinarySearchFunc(*events, e, r.order)
	if found {
		r.texts.drop(e.control)
		return
	}
	*events = slices.Insert(*events, i, e)
}

// replaces reports whether o no longer holds because of e, whichever came first.
func (e *event) replaces(o *event) bool {
	return e.kind == Replace && e.visit == o.visit && e.source == o.source && compareSent(o, e) < 0
}

func compareSent(a, b *event) int {
	return cmp.Or(cmp.Compare(a.sent, b.sent), cmp.Compare(a.part, b.part))
}

// order is that of events: by visit, then by time; what has the same time by when
// it was sent; what was sent in the same millisecond so that what undoes comes after
// what it undoes.
func (r *Register) order(a, b event) int {
	return cmp.Or(
		cmp.Compare(a.visit, b.visit), cmp.Compare(a.at, b.at), compareSent(&a, &b), cmp.Compare(a.kind, b.kind),
		cmp.Compare(a.source, b.source), r.orderControl(a.control, b.control),
	)
}

// orderControl orders control ids as numbers where they are numbers.
func (r *Register) orderControl(a, b uint32) int {
	x, y := r.texts.bytes(a), r.texts.bytes(b)
	return cmp.Or(cmp.Compare(len(x), len(y)), bytes.Compare(x, y))
}

// Heard notes that a source sent something at time at, whatever it was.
func (r *Register) Heard(source string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.names.intern(source); at.After(r.heard[s]) {
		r.heard[s] = at
	}
}

// Feed is a source and when it was last heard of.
type Feed struct {
	Source string
	Last   time.Time
}

// Feeds returns every source ever heard of, by name.
func (r *Register) Feeds() []Feed {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]Feed, 0, len(r.heard))
	for s, last := range r.heard {
		out = append(out, Feed{r.names.text[s], last})
	}
	slices.SortFunc(out, func(a, b Feed) int { return cmp.Compare(a.Source, b.Source) })
	return out
}

// Counts says how much a register holds.
type Counts struct {
	Patients, Events, Identifiers, Merges int
	Conflicts                             int // identifiers of the hospital that came with somebody else's
}

// Counts counts.
func (r *Register) Counts() Counts {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := Counts{Patients: len(r.patients), Identifiers: len(r.ids), Merges: len(r.links), Conflicts: r.conflicts}
	for i := range r.patients {
		c.Events += len(r.patients[i].events)
	}
	return c
}
