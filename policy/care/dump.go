package care

import (
	"iter"
	"strings"
	"time"
)

// Dump yields messages that make an empty register equal to this one. Changes
// wait until it is done; questions do not, as long as nothing else changes the
// register meanwhile: the caller sees to that.
func (r *Register) Dump() iter.Seq[Message] {
	return func(yield func(Message) bool) {
		r.mu.RLock()
		defer r.mu.RUnlock()
		_ = r.dumpPatients(yield) && r.dumpIDs(yield) && r.dumpLinks(yield) && r.dumpEvents(yield)
	}
}

// What a dump says where the source no longer matters.
const dumped = "-"

func (r *Register) id(k key) ID { return ID{r.names.text[k.authority], k.value} }

func (r *Register) self(p uint32) ID { return r.id(r.patients[p].id) }

// dumpPatients yields every patient by the number they are called by.
func (r *Register) dumpPatients(yield func(Message) bool) bool {
	for p := range r.patients {
		k := r.patients[p].id
		m := Message{{Kind: Identify, Patient: []ID{r.id(k)}, Source: dumped, Control: dumped, At: time.Unix(int64(max(r.ids[k].at, 1)), 0)}}
		if !yield(m) {
			return false
		}
	}
	return true
}

// dumpIDs yields the other numbers.
func (r *Register) dumpIDs(yield func(Message) bool) bool {
	for k, a := range r.ids {
		if k == r.patients[a.patient].id {
			continue
		}
		m := Message{{Kind: Identify, Patient: []ID{r.self(a.patient), r.id(k)}, Source: dumped, Control: dumped, At: time.Unix(int64(a.at), 0)}}
		if !yield(m) {
			return false
		}
	}
	return true
}

// dumpLinks yields merges and moves.
func (r *Register) dumpLinks(yield func(Message) bool) bool {
	for prior, l := range r.links {
		m := Message{{Kind: Merge, Patient: []ID{r.self(l.into)}, Prior: r.self(prior), Source: dumped, Control: dumped, At: time.UnixMilli(l.at)}}
		if !yield(m) {
			return false
		}
	}
	for from, to := range r.moves {
		m := Message{{
			Kind: Move, Patient: []ID{r.self(to.patient)}, Visit: to.visit, Prior: r.self(from.patient), PriorVisit: from.visit,
			Source: dumped, Control: dumped, At: time.Unix(1, 0),
		}}
		if !yield(m) {
			return false
		}
	}
	return true
}

// dumpEvents yields what is known of each patient's visits.
func (r *Register) dumpEvents(yield func(Message) bool) bool {
	for p := range r.patients {
		events := r.patients[p].events
		if len(events) == 0 {
			continue
		}
		m := make(Message, len(events))
		for i := range events {
			m[i] = r.change(uint32(p), &events[i])
		}
		if !yield(m) {
			return false
		}
	}
	return true
}

func (r *Register) change(p uint32, e *event) Change {
	c := Change{
		Kind: e.kind, Patient: []ID{r.self(p)}, Source: r.names.text[e.source], Control: string(r.texts.bytes(e.control)),
		At: time.UnixMilli(e.at), Sent: instant(e.sent), Visit: string(r.texts.bytes(e.visit)), Class: e.class,
		Ward: r.names.text[e.ward], Team: r.names.text[e.team], Start: instant(e.start), End: instant(e.end), Clinic: e.clinic,
	}
	for _, n := range e.people {
		if n == 0 {
			break
		}
		authority, value, _ := strings.Cut(r.names.text[n>>1], "\x00")
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
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := 0
	for p := range r.patients {
		events := r.patients[p].events
		kept := events[:0:0]
		for len(events) > 0 {
			n, newest := 0, int64(0)
			for n < len(events) && events[n].visit == events[0].visit {
				newest = max(newest, events[n].at, int64(events[n].start)*1000, int64(events[n].end)*1000)
				n++
			}
			if newest >= before.UnixMilli() {
				kept = append(kept, events[:n]...)
			} else {
				gone += n
			}
			events = events[n:]
		}
		if len(kept) < len(r.patients[p].events) {
			r.patients[p].events = kept
		}
	}
	return gone
}
