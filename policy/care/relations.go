package care

import (
	"slices"
	"time"
)

// Relation is a way in which somebody cares for a patient.
type Relation uint8

// The relations.
const (
	WardStay     Relation = iota + 1 // the patient is, was or will be in a ward where the person works
	NamedPerson                      // a message names the person as treating the patient
	ClinicList                       // the patient has an appointment in a clinic, or with the person
	Referred                         // the person refers the patient or is referred to
	TeamHandover                     // the person is of the team of somebody who is named, or of a team that is
	DeviceInWard                     // the device stands in the patient's ward
)

// String returns the relation's name as it stands in records.
func (r Relation) String() string {
	switch r {
	case WardStay:
		return "ward-stay"
	case NamedPerson:
		return "named-clinician"
	case ClinicList:
		return "clinic-list"
	case Referred:
		return "referral"
	case TeamHandover:
		return "team-handover"
	case DeviceInWard:
		return "device-in-ward"
	}
	return "none"
}

// Fact is one relationship with its evidence.
type Fact struct {
	Relation Relation
	Source   string    // who says so about the patient
	Control  string    // what it calls the message that says so
	Via      string    // what says so about the person: "staff list", "rota", "devices" or "" where the message does
	From     time.Time // when the care began, or begins
	To       time.Time // when it ended, zero if it has not; it may lie before the time that was asked for (see Windows)
}

// Relations returns the relationships of a person with a patient at a time, none
// if either is unknown: at most one of each kind for a visit, that of the newest
// message. The patient may be named by any of their numbers.
func (r *Register) Relations(person string, patient ID, at time.Time) []Fact {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.staff.member(person, at)
	if m == nil {
		return nil
	}
	q := question{r: r, at: at.UnixMilli(), m: m}
	return q.ask(patient)
}

// Since returns since when a person has had a relationship with a patient that holds
// at a time, that of the one which began first, and whether there is one.
func (r *Register) Since(person string, patient ID, at time.Time) (since time.Time, ok bool) {
	for _, f := range r.Relations(person, patient, at) {
		if !ok || f.From.Before(since) {
			since, ok = f.From, true
		}
	}
	return since, ok
}

// OnDevice returns the relationships that follow from where a device stands.
func (r *Register) OnDevice(device string, patient ID, at time.Time) []Fact {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ward := r.staff.wardOf(device, at)
	if ward == 0 {
		return nil
	}
	q := question{r: r, at: at.UnixMilli(), ward: ward}
	return q.ask(patient)
}

// Ward returns the ward where a patient is at a time, by the stay that began last, ""
// where no source says. The patient may be named by any of their numbers.
func (r *Register) Ward(patient ID, at time.Time) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p, ok := r.named(patient)
	if !ok {
		return ""
	}
	q := question{r: r, at: at.UnixMilli()}
	var room [16]span
	var ward uint32
	var began int64
	for visit, rest := firstVisit(r.events(p)); len(visit) > 0; visit, rest = firstVisit(rest) {
		states := spans(visit, room[:0])
		for i := range states {
			if s := &states[i]; s.stay() && s.from >= began && q.at >= s.from && q.at < s.to && q.holds(s, 0, 0) {
				ward, began = s.e.ward, s.from
			}
		}
	}
	return r.names.text[ward]
}

// question is one that is being answered.
type question struct {
	r     *Register
	at    int64
	m     *member // who asks, or nil
	ward  uint32  // where the device stands that asks, or 0
	visit int     // facts before it are of other visits
	facts []Fact
}

// ask goes through the visits of a patient under all their numbers.
func (q *question) ask(patient ID) []Fact {
	r := q.r
	p, ok := r.named(patient)
	if !ok {
		return nil
	}
	var room [16]span
	for visit, rest := firstVisit(r.events(p)); len(visit) > 0; visit, rest = firstVisit(rest) {
		q.visit = len(q.facts)
		states := spans(visit, room[:0])
		for i := len(states) - 1; i >= 0; i-- {
			if q.m != nil {
				q.person(q.m, &states[i])
			} else if states[i].stay() && states[i].e.ward == q.ward {
				q.found(DeviceInWard, "devices", &states[i], 0, 0)
			}
		}
	}
	return q.facts
}

// firstVisit splits events after those of the first visit.
func firstVisit(events []event) (visit, rest []event) {
	n := 0
	for n < len(events) && events[n].visit == events[0].visit {
		n++
	}
	return events[:n], events[n:]
}

// events returns the events of a patient under all their numbers, in order.
func (r *Register) events(p uint32) []event {
	if len(r.links) == 0 {
		return r.patients[p].events
	}
	p = r.survivor(p)
	if len(r.merged[p]) == 0 {
		return r.patients[p].events
	}
	var out []event
	r.gather(p, &out)
	slices.SortFunc(out, r.order)
	return out
}

// gather collects events of a patient and of those merged into them. A visit
// that has events under several numbers is one visit.
func (r *Register) gather(p uint32, out *[]event) {
	for _, e := range r.patients[p].events {
		number := string(r.texts.bytes(e.visit))
		same := func(o event) bool { return string(r.texts.bytes(o.visit)) == number }
		if i := slices.IndexFunc(*out, same); i >= 0 {
			e.visit = (*out)[i].visit
		}
		*out = append(*out, e)
	}
	for _, other := range r.merged[p] {
		r.gather(other, out)
	}
}

// person matches a span with a member of staff.
func (q *question) person(m *member, s *span) {
	w := &q.r.w
	inWard, via := m.inWard(s.e.ward, q.at, w.Shift)
	named, referring := m.named(s.e)
	team := q.r.staff.team(m, s.e)
	ward := w.Ward
	if m.long {
		ward = w.LongWard
	}
	switch {
	case s.stay():
		if inWard {
			q.found(WardStay, via, s, 0, ward)
		}
	case s.e.kind == Plan && s.e.clinic:
		if inWard {
			q.found(ClinicList, via, s, w.PlanBefore, w.PlanAfter)
		} else if named {
			q.found(ClinicList, "", s, w.PlanBefore, w.PlanAfter)
		}
		named = false
	case s.e.kind == Plan:
		if inWard {
			q.found(WardStay, via, s, w.PlanBefore, w.PlanAfter)
		}
	case s.e.kind == Referral && (named || referring):
		q.found(Referred, "", s, 0, w.Named)
		return
	}
	before := time.Duration(0)
	if s.e.kind == Plan {
		before = w.PlanBefore
	}
	if named {
		q.found(NamedPerson, "", s, before, w.Named)
	}
	if referring {
		q.found(Referred, "", s, before, w.Named)
	}
	if team {
		q.found(TeamHandover, "staff list", s, before, w.Named)
	}
}

// found adds a fact if the span holds at the time that was asked for, or lengthens
// the one of its kind that this visit has already.
func (q *question) found(kind Relation, via string, s *span, before, after time.Duration) {
	for i := q.visit; i < len(q.facts); i++ {
		f := &q.facts[i]
		if f.Relation != kind {
			continue
		}
		if !s.undone && s.to >= f.From.UnixMilli() { // the same, before a change that does not matter to it
			f.From = time.UnixMilli(min(s.from, f.From.UnixMilli())).UTC()
		}
		return
	}
	if !q.holds(s, before, after) {
		return
	}
	f := Fact{
		Relation: kind, Source: q.r.names.text[s.e.source], Control: string(q.r.texts.bytes(s.e.control)), Via: via,
		From: time.UnixMilli(s.from).UTC(),
	}
	if s.to != open {
		f.To = time.UnixMilli(s.to).UTC()
	}
	q.facts = append(q.facts, f)
}

// holds reports whether a relationship through s holds at the time asked for. What
// was an error holds until it was put right and not a moment longer.
func (q *question) holds(s *span, before, after time.Duration) bool {
	w := &q.r.w
	if q.at < s.from-max(before, w.Ahead).Milliseconds() {
		return false
	}
	switch {
	case s.undone:
		return q.at < s.to
	case s.to != open:
		return q.at <= s.to+after.Milliseconds()
	case s.e.kind == Referral:
		return q.at <= s.from+w.Referral.Milliseconds()
	}
	return q.at <= s.last+w.open(s.e.class).Milliseconds()
}
