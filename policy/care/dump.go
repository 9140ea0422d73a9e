package care

import (
	"iter"
	"slices"
	"strings"
	"time"
)

// Dump yields messages that make an empty register equal to this one. Nothing may
// be applied or forgotten meanwhile, which the caller sees to; questions and new
// lists do not wait.
func (r *Register) Dump() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		r.mu.RLock()
		d := dump{r, r.names.text} // names are only ever added
		r.mu.RUnlock()
		_ = d.patients(yield) && d.ids(yield) && d.links(yield) && d.marked(yield) && d.events(yield)
	}
}

// dump reads a register of which only the lists may change.
type dump struct {
	r    *Register
	text []string
}

// What a dump says where the source no longer matters.
const dumped = "-"

// A patient's events are dumped in messages of at most so many.
const maxEvents = 1000

func (d *dump) id(k key) ID { return ID{d.text[k.authority], k.value} }

func (d *dump) self(p uint32) ID { return d.id(d.r.patients[p].id) }

// patients yields every patient by the number they are called by.
func (d *dump) patients(yield func(Message) bool) bool {
	for p := range d.r.patients {
		k := d.r.patients[p].id
		m := Message{{Kind: Identify, Patient: []ID{d.id(k)}, Source: dumped, Control: dumped, At: time.Unix(int64(max(d.r.ids[k].at, 1)), 0)}}
		if !yield(m) {
			return false
		}
	}
	return true
}

// ids yields the other numbers.
func (d *dump) ids(yield func(Message) bool) bool {
	for k, a := range d.r.ids {
		if k == d.r.patients[a.patient].id {
			continue
		}
		m := Message{{Kind: Identify, Patient: []ID{d.self(a.patient), d.id(k)}, Source: dumped, Control: dumped, At: time.Unix(int64(a.at), 0)}}
		if !yield(m) {
			return false
		}
	}
	return true
}

// links yields merges and moves.
func (d *dump) links(yield func(Message) bool) bool {
	for prior, l := range d.r.links {
		m := Message{{Kind: Merge, Patient: []ID{d.self(l.into)}, Prior: d.self(prior), Source: dumped, Control: dumped, At: time.UnixMilli(l.at)}}
		if !yield(m) {
			return false
		}
	}
	for from, to := range d.r.moves {
		m := Message{{
			Kind: Move, Patient: []ID{d.self(to.patient)}, Visit: to.visit, Prior: d.self(from.patient), PriorVisit: from.visit,
			Source: dumped, Control: dumped, At: time.Unix(1, 0),
		}}
		if !yield(m) {
			return false
		}
	}
	return true
}

// events yields what is known of each patient's visits.
func (d *dump) events(yield func(Message) bool) bool {
	for p := range d.r.patients {
		for events := range slices.Chunk(d.r.patients[p].events, maxEvents) {
			m := make(Message, len(events))
			for i := range events {
				m[i] = d.change(uint32(p), &events[i]) //nolint:gosec // as many as there are patients
			}
			if !yield(m) {
				return false
			}
		}
	}
	return true
}

func (d *dump) change(p uint32, e *event) Change {
	c := Change{
		Kind: e.kind, Patient: []ID{d.self(p)}, Source: d.text[e.source], Control: string(d.r.texts.bytes(e.control)),
		At: time.UnixMilli(e.at), Sent: instant(e.sent).Add(time.Duration(e.part) * time.Millisecond), Visit: string(d.r.texts.bytes(e.visit)), Class: e.class,
		Ward: d.text[e.ward], Team: d.text[e.team], Start: instant(e.start), End: instant(e.end), Clinic: e.clinic,
	}
	for _, n := range e.people {
		if n == 0 {
			break
		}
		authority, value, _ := strings.Cut(d.text[n>>1], "\x00")
		c.People = append(c.People, Clinician{ID{authority, value}, n&1 == 1})
	}
	return c
}

func instant(s uint32) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0)
}

// Forget drops visits of which nothing has been heard, and in which nothing is
// planned, since before. Numbers of patients and merges are kept for ever. It
// returns how many events went.
func (r *Register) Forget(before time.Time) int {
	gone := 0
	for first := 0; ; first += blockOfPatients {
		r.mu.Lock()
		last := min(first+blockOfPatients, len(r.patients))
		for p := first; p < last; p++ {
			gone += r.forget(p, before.UnixMilli())
		}
		r.mu.Unlock()
		if last <= first {
			return gone
		}
	}
}

// blockOfPatients is for how many patients nobody can ask while visits are dropped.
const blockOfPatients = 4096

// forget drops old visits of one patient and returns how many events went.
func (r *Register) forget(p int, before int64) int {
	gone := 0
	events := r.patients[p].events
	kept := events[:0:0]
	for len(events) > 0 {
		n, newest := 0, int64(0)
		for n < len(events) && events[n].visit == events[0].visit {
			newest = max(newest, events[n].at, int64(events[n].start)*1000, int64(events[n].end)*1000)
			n++
		}
		if newest >= before {
			kept = append(kept, events[:n]...)
		} else {
			gone += n
		}
		events = events[n:]
	}
	if gone > 0 {
		r.patients[p].events = kept
	}
	return gone
}
