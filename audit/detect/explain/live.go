package explain

import "github.com/matron-epr/matron/audit/detect/table"

// mostBonds bounds of how many people with a patient it is kept when they wrote or
// had a reason. A hospital of ten thousand staff has fewer in a week.
const mostBonds = 2_000_000

// Live explains accesses one by one, as they come, by what came before them. Rows
// knows what came after as well, so that it may explain more. What it keeps of the
// past is bounded. It is not safe for concurrent use.
type Live struct {
	*Engine
	people, patients *table.Names
	bonds            map[[2]uint32]bond // of person and patient
	seats            map[uint32]seat    // of each person
	teams            map[[2]uint32]pair // who of a department took part last: patient and department
	looks            map[[2]uint32]int  // explained ones: department and ward
	of               map[uint32]int     // the same by ward
	parts            map[[2]string]int  // of role and part of the record
	roles            map[string]int
	near             around
}

// bond is when somebody wrote in a record and had a strong reason for it last, 0
// for never.
type bond struct{ wrote, reason int64 }

// NewLive makes one that has seen nothing.
func NewLive(e *Engine) *Live {
	return &Live{
		Engine: e, people: table.NewNames(), patients: table.NewNames(), bonds: map[[2]uint32]bond{}, seats: map[uint32]seat{},
		parts: map[[2]string]int{}, roles: map[string]int{}, teams: map[[2]uint32]pair{}, looks: map[[2]uint32]int{}, of: map[uint32]int{},
	}
}

// Tell goes on with another engine. What was seen stays.
func (l *Live) Tell(e *Engine) {
	before := l.Engine
	l.Engine = e
	number := func(n uint32) uint32 { return e.words.Number(before.words.Text(n)) }
	seats, teams, looks, of := map[uint32]seat{}, map[[2]uint32]pair{}, map[[2]uint32]int{}, map[uint32]int{}
	for who, s := range l.seats {
		s.ward, s.other = number(s.ward), number(s.other)
		seats[who] = s
	}
	for k, p := range l.teams {
		teams[[2]uint32{k[0], number(k[1])}] = p
	}
	for k, n := range l.looks {
		looks[[2]uint32{number(k[0]), number(k[1])}] += n
	}
	for ward, n := range l.of {
		of[number(ward)] += n
	}
	l.seats, l.teams, l.looks, l.of = seats, teams, looks, of
}

// Look explains an access to a part of a record, "" for none, and takes it in. role
// is the one in which the person was seen; the staff list's comes first.
func (l *Live) Look(a Access, role, part string) Mask {
	at, patient := a.At.UnixMicro(), l.InUse(a.Patient)
	person, _ := l.persons.Find(a.Person)
	here := l.ward[a.Device]
	who := l.people.Number(a.Person)
	elsewhere := false
	if here != 0 {
		s := l.seats[who]
		elsewhere = s.took(here, at)
		l.seats[who] = s
	}
	key := [2]uint32{who, l.patients.Number(patient)}
	known, old := l.bonds[key]
	if a.Wrote {
		known.wrote = at
	}
	before, after := l.reach()
	l.near = around{rest: l.Engine.of(patient), now: l.near.now[:0]}
	near := l.near.at(at, before, after)
	p := l.place(person, at, here)
	m := l.match(person, &p, at, elsewhere, near, nil)
	if known.wrote != 0 && at-known.wrote <= chartedWithin && known.wrote-at <= chartedWithin {
		m |= bit(Charted) | strongBit
	}
	if a.BreakGlass || a.Reason != "" {
		m |= bit(Stated)
	}
	m |= l.others(key[1], who, known, &p, wardAt(near, at), at, m)
	if m.Strong() {
		known.reason = at
	}
	if known != (bond{}) && (old || len(l.bonds) < mostBonds) {
		l.bonds[key] = known
	}
	if l.rare(l.role(person, role), part) && m&personal == 0 {
		m &^= strongBit
	}
	return m
}

// role is that of the staff list, else the one given.
func (l *Live) role(person uint32, role string) string {
	if int(person) < len(l.posts) {
		for _, one := range l.posts[person] {
			if one.role != 0 {
				role = l.words.Text(one.role)
			}
		}
	}
	return role
}

// rare takes a look at a part of a record in and says whether the role hardly ever
// opens it, as rareParts does.
func (l *Live) rare(role, part string) bool {
	l.roles[role]++
	if part == "" {
		return false
	}
	key := [2]string{role, part}
	l.parts[key]++
	return float64(1+l.parts[key]) < rarely*float64(1+l.roles[role])
}

// others looks for what only other accesses tell, and notes what this one tells
// about others.
func (l *Live) others(patient, who uint32, known bond, p *place, ward uint32, at int64, m Mask) Mask {
	team := [2]uint32{patient, p.department}
	pair, took := l.teams[team]
	if m&takesPart != 0 && p.department != 0 && (took || len(l.teams) < mostBonds) {
		pair.add(who, at)
		l.teams[team] = pair
	}
	share := [2]uint32{p.department, ward}
	if m.Strong() {
		if ward != 0 && p.department != 0 {
			l.looks[share]++
			l.of[ward]++
		}
		return 0
	}
	var more Mask
	if known.reason != 0 && at-known.reason <= earlierWithin {
		more |= bit(Earlier)
	}
	if then := pair.than(who); took && p.department != 0 && then != 0 && at-then <= handoverWithin && then-at <= handoverWithin {
		more |= bit(Handover)
	}
	if n := l.looks[share]; ward != 0 && n >= departmentSupport && float64(n) >= departmentShare*float64(l.of[ward]) {
		more |= bit(Department)
	}
	return more
}
