package explain

import (
	"cmp"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// post is where somebody worked for a while. Ends are microseconds since 1970.
type post struct {
	from, to               int64
	ward, team, department uint32
	role                   uint32
}

// shift is one planned stretch of work.
type shift struct {
	from, to int64
	ward     uint32
	onCall   bool
}

// care is one line of care with when it begins and ends.
type care struct {
	from, to   int64 // to is from where it is a moment, forever where it goes on
	ward, team uint32
	specialty  uint32
	people     uint32 // first of its people in the engine's list
	count      uint16
	kind       kind
	open       bool // no end was told
	row        uint32
}

// Engine explains accesses by what the hospital has told.
type Engine struct {
	location *time.Location
	context  feeds.Context
	site     []siteTemplate

	ids     *table.Names // of patients, under the numbers in use
	merged  map[string]string
	persons *table.Names
	words   *table.Names // wards, teams, specialties, roles

	posts  [][]post          // of each person
	shifts [][]shift         // of each person, in the order of time
	ward   map[string]uint32 // of each workstation

	care   []care   // by patient, each in the order of time
	starts []uint32 // where the care of each patient begins
	people []uint32 // whom lines of care name

	serving map[uint32]bool // teams with work items that are of no ward
}

// New indexes what the hospital has told. It keeps the context.
func New(cfg Config, c feeds.Context) *Engine {
	e := &Engine{
		location: cfg.Location, context: c, ids: table.NewNames(), merged: map[string]string{}, persons: table.NewNames(),
		words: table.NewNames(), ward: map[string]uint32{}, serving: map[uint32]bool{},
	}
	if e.location == nil {
		e.location = time.UTC
	}
	for i := range c.Patients {
		if p := &c.Patients[i]; p.MergedInto != "" {
			e.merged[p.ID] = p.MergedInto
		}
	}
	e.addStaff()
	e.addRota()
	e.addCare()
	for i := range c.Devices {
		if d := &c.Devices[i]; d.Ward != "" {
			e.ward[d.Device] = e.words.Number(d.Ward)
		}
	}
	for i := range cfg.Site {
		e.site = append(e.site, e.compile(&cfg.Site[i]))
	}
	return e
}

// InUse is the number of a patient that is in use: it follows merged ones.
func (e *Engine) InUse(patient string) string {
	for range 10 { // a ring of merges must not hang us
		next, ok := e.merged[patient]
		if !ok {
			break
		}
		patient = next
	}
	return patient
}

// dayStart is the beginning of a day that was read without a zone.
func (e *Engine) dayStart(day time.Time) int64 {
	y, m, d := day.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, e.location).UnixMicro()
}

// addStaff notes where people work and when. Somebody who has left works nowhere.
func (e *Engine) addStaff() {
	for i := range e.context.Staff {
		s := &e.context.Staff[i]
		n := int(e.persons.Number(s.Person))
		for len(e.posts) <= n {
			e.posts = append(e.posts, nil)
		}
		from, to := int64(-forever), forever
		for _, day := range []time.Time{s.Start, s.From} {
			if !day.IsZero() {
				from = max(from, e.dayStart(day))
			}
		}
		for _, day := range []time.Time{s.End, s.To} {
			if !day.IsZero() {
				to = min(to, e.dayStart(day.AddDate(0, 0, 1)))
			}
		}
		p := post{from: from, to: to, team: e.words.Number(s.Team)}
		if len(s.Roles) > 0 {
			p.role = e.words.Number(s.Roles[0])
		}
		first := ""
		if len(s.Wards) > 0 {
			first = s.Wards[0]
		}
		p.department = e.words.Number(cmp.Or(s.Team, first, s.CostCentre))
		if len(s.Wards) == 0 {
			e.posts[n] = append(e.posts[n], p)
		}
		for _, w := range s.Wards {
			p.ward = e.words.Number(w)
			e.posts[n] = append(e.posts[n], p)
		}
	}
}

func (e *Engine) addRota() {
	for i := range e.context.Rota {
		r := &e.context.Rota[i]
		if r.Kind == "leave" || r.Kind == "sick" {
			continue
		}
		n := int(e.persons.Number(r.Person))
		for len(e.shifts) <= n {
			e.shifts = append(e.shifts, nil)
		}
		e.shifts[n] = append(e.shifts[n], shift{r.Start.UnixMicro(), r.End.UnixMicro(), e.words.Number(r.Ward), r.Kind == "on-call"})
	}
	for _, of := range e.shifts {
		slices.SortFunc(of, func(a, b shift) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.ward, b.ward))
		})
	}
}

// addCare sorts the lines of care by patient and time.
func (e *Engine) addCare() {
	lines := e.context.Care
	of := make([]uint32, lines.Len())
	for i, f := range lines.All() {
		of[i] = e.ids.Number(e.InUse(f.Patient))
	}
	e.starts = make([]uint32, e.ids.Len()+1)
	for _, n := range of {
		e.starts[n+1]++
	}
	for i := 1; i < len(e.starts); i++ {
		e.starts[i] += e.starts[i-1]
	}
	e.care = make([]care, len(of))
	next := slices.Clone(e.starts)
	for i, f := range lines.All() {
		e.care[next[of[i]]] = e.line(i, f)
		next[of[i]]++
	}
	for n := range e.ids.Len() {
		slices.SortStableFunc(e.care[e.starts[n]:e.starts[n+1]], func(a, b care) int {
			return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.row, b.row))
		})
	}
}

func (e *Engine) line(i int, f *feeds.Care) care {
	c := care{
		from: f.Start.UnixMicro(), ward: e.words.Number(f.Ward), team: e.words.Number(f.Team), specialty: e.words.Number(f.Specialty),
		people: uint32(len(e.people)), count: uint16(min(len(f.People), 1<<16-1)), kind: kindOf(f.Kind), open: f.End.IsZero(), row: uint32(i), //nolint:gosec // lines are numbered in 32 bits
	}
	c.to = c.from
	if !c.open {
		c.to = max(c.from, f.End.UnixMicro())
	}
	if c.team != 0 && c.ward == 0 && (c.kind == order || c.kind == task) {
		e.serving[c.team] = true
	}
	for _, p := range f.People[:c.count] {
		e.people = append(e.people, e.persons.Number(p))
	}
	return c
}

// of lists the care of a patient under the number in use.
func (e *Engine) of(patient string) []care {
	n, ok := e.ids.Find(patient)
	if !ok || n == 0 {
		return nil
	}
	return e.care[e.starts[n]:e.starts[n+1]]
}

// last is when a line is over: a stay without an end goes on, an arrival in the
// emergency department for a day, a referral for three weeks; the rest are moments.
func (c *care) last() int64 {
	if !c.open {
		return c.to
	}
	switch c.kind {
	case inpatient:
		return forever
	case emergency:
		return c.from + day
	case referral:
		return c.from + 21*day
	default:
		return c.from
	}
}

func (c *care) within(w window, at int64) bool {
	return at >= c.from-w.before && at <= c.last()+w.after
}

func (c *care) names(e *Engine, person uint32) bool {
	return slices.Contains(e.people[c.people:c.people+uint32(c.count)], person)
}
