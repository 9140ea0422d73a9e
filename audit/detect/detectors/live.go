package detectors

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

const (
	// mostPatients bounds of how many patients a day of one person is followed, and
	// mostRows how many looks at one patient are kept as evidence. Who opens more is
	// asked about long before.
	mostPatients, mostRows = 2000, 100
	// mostAround bounds how many days of people are kept around one patient.
	mostAround = 200
	// mostSessions is how many sessions are told apart.
	mostSessions = 1 << 20
	// openFor is how long a day is open to what comes late, and keptFor how long it
	// counts: a crowd gathers within a week.
	openFor, keptFor = 36 * 3600 * micros, 8 * dayLong
	// ahead is how far the clock of another gateway may be ahead.
	ahead = 300 * micros
)

// Fate is what became of an access.
type Fate uint8

// The fates. Only what was Taken counts; the others but Passed are left out
// although they may matter, and are to be counted where somebody sees it.
const (
	Passed Fate = iota // by nobody who is looked at, or no look at a patient
	Taken
	OutOfTime // of the future, or of a day that is closed
	TooMany   // the person has opened more than is followed
)

// Live is what Run is for a table, for accesses as they come: the same definitions,
// those that are Streaming. It keeps what is not explained for a week, and of the
// rest what today is measured by; both are bounded. It is not safe for concurrent use.
type Live struct {
	w       *walker
	context feeds.Context
	days    map[of]*liveDay
	touched map[of]bool
	near    map[uint32]bool // patients around whom somebody new was seen
	around  map[uint32][]of // whose days hold a look at a patient that nothing explains
	last    map[uint32]int64
	since   int64 // from when on it is known who was seen
	closed  int64 // days that began before are closed
	swept   int64 // when that was found
	measure measure
	bursts  map[uint32]*handful
	fetches table.Fetches
	bounds  struct {
		from, to int64
		date     int32
	}
	tally tally
}

// of is one person's day.
type of struct {
	person uint32
	date   int32
}

type liveDay struct {
	today
	from   int64
	closed bool
	role   string

	// What it adds to the measure, under which role.
	said                                   []said
	counted                                string
	keptBefore, visitsBefore, activeBefore int
}

// handful is what a session opened within a second.
type handful struct {
	from     int64
	patients []uint32
}

// NewLive makes one that has seen nothing.
func NewLive(c feeds.Context, location *time.Location) *Live {
	l := &Live{
		days: map[of]*liveDay{}, touched: map[of]bool{}, near: map[uint32]bool{}, around: map[uint32][]of{}, last: map[uint32]int64{},
		measure: newMeasure(), bursts: map[uint32]*handful{}, tally: tally{words: map[uint32]int{}},
	}
	t := table.New()
	l.know(t, c)
	l.w = newWalker(newIndex(Input{Accesses: t, Context: c, Location: location}), nil)
	return l
}

// know gives numbers to whom the feeds name, so that the index has a place for them.
func (l *Live) know(t *table.Table, c feeds.Context) {
	l.context = c
	for i := range c.Staff {
		t.People.Number(c.Staff[i].Person)
	}
	for i := range c.Patients {
		t.Patients.Number(c.Patients[i].ID)
	}
	for _, f := range c.Care.All() {
		t.Patients.Number(f.Patient)
	}
	for i := range c.Devices {
		t.Devices.Number(c.Devices[i].Device)
	}
}

// Tell goes on with other feeds. What was seen stays.
func (l *Live) Tell(c feeds.Context) {
	t, before := l.w.t, l.w.index
	l.know(t, c)
	l.w.index = indexOver(Input{Accesses: t, Context: c, Location: before.location}, before.ids, before.wards)
	l.w.public = before.public
	copy(l.w.uses, before.uses)
}

// Seen says who was seen last when, before what is taken in, and from when on that
// is known.
func (l *Live) Seen(since time.Time, last map[string]time.Time) {
	l.since = since.UnixMicro()
	for person, at := range last {
		from, _, _ := l.w.bounds(at.UnixMicro())
		l.last[l.w.t.People.Number(person)] = from
	}
}

// Table holds what rows of days point at.
func (l *Live) Table() *table.Table { return l.w.t }

// Take takes one access in. explain says what explains it and is only asked when the
// access counts.
func (l *Live) Take(r *audit.Record, now time.Time, explain func() Strength) Fate {
	at := r.Time.UnixMicro()
	if at > now.UnixMicro()+ahead || at < now.UnixMicro()-keptFor {
		return OutOfTime
	}
	if who, known := l.w.t.People.Find(r.Person); known && int(who) < len(l.w.people) && l.w.people[who].machine {
		return Passed
	}
	if at < l.bounds.from || at >= l.bounds.to {
		l.bounds.from, l.bounds.to, l.bounds.date = l.w.bounds(at)
	}
	t, key := l.w.t, of{date: l.bounds.date}
	key.person = t.People.Number(r.Person)
	d := l.day(key)
	if d.closed {
		return OutOfTime
	}
	if _, known := t.Patients.Find(r.Patient); !known && len(d.seen) >= mostPatients {
		return TooMany
	}
	l.touched[key] = true
	row := uint32(t.Len()) //nolint:gosec // rows are numbered in 32 bits
	t.Witness(r)
	l.w.grow()
	l.w.seenAs(key.person)
	l.w.learnWords()
	fate := l.row(d, row, explain)
	if fate == Taken {
		l.w.used(row)
		l.w.leave(t.Device[row])
	}
	if !l.kept(d, row) {
		d.last.gone = d.last.gone || d.last.row == row
		t.Drop()
		l.w.explained = l.w.explained[:row]
	}
	return fate
}

// day is where an access of a person's day goes.
func (l *Live) day(key of) *liveDay {
	d := l.days[key]
	if d != nil {
		return d
	}
	d = &liveDay{today: *newToday(), from: l.bounds.from}
	d.begin(key.person, key.date)
	l.w.grow()
	last := l.last[key.person]
	if start := l.w.people[key.person].start; last == 0 && start != 0 && l.since != 0 {
		last = max(l.since, start)
	}
	if last <= d.from {
		l.w.rested(&d.day, d.from, last)
		l.last[key.person] = d.from
	}
	d.closed = d.from < l.closed
	l.days[key] = d
	return d
}

// row goes over one row and says whether it was taken.
func (l *Live) row(d *liveDay, row uint32, explain func() Strength) Fate {
	t := l.w.t
	l.settleFlags(row)
	l.w.explained = append(l.w.explained, Unexplained)
	if !t.Counts(int(row)) {
		l.w.take(&d.today, row, &l.tally)
		return Passed
	}
	n := l.w.canon[t.Patient[row]]
	if _, seen := d.at[n]; !seen && len(d.seen) >= mostPatients {
		return TooMany
	}
	l.w.explained[row] = explain()
	l.w.take(&d.today, row, &l.tally)
	if i, seen := d.at[n]; seen && l.w.actions[t.Word[row]] == writing {
		d.seen[i].explain()
	}
	return Taken
}

// explain takes back that a visit is not explained, since the person has written in
// the record by now.
func (s *seen) explain() {
	if s.relation&own == 0 {
		s.rows, s.screens, s.weak = nil, nil, 0
	}
}

// settleFlags is what Settle of a table is for one row.
func (l *Live) settleFlags(row uint32) {
	t := l.w.t
	if t.Sessions.Len() > mostSessions {
		t.Sessions = table.NewNames()
		clear(l.bursts)
	}
	if t.Flags[row]&(table.Deliberate|table.Incidental) != 0 || t.Patient[row] == 0 {
		return
	}
	if l.w.actions[t.Word[row]] == searching {
		t.Flags[row] |= table.Incidental
		return
	}
	if t.Session[row] == 0 {
		return
	}
	h := l.bursts[t.Session[row]]
	if h == nil {
		h = &handful{}
		l.bursts[t.Session[row]] = h
	}
	if t.At[row]-h.from > micros || t.At[row] < h.from {
		h.from, h.patients = t.At[row], h.patients[:0]
	}
	if !slices.Contains(h.patients, t.Patient[row]) && len(h.patients) <= table.Prefetch {
		h.patients = append(h.patients, t.Patient[row])
	}
	if len(h.patients) > table.Prefetch && !l.fetches.More(t.Session[row], t.Patient[row], t.At[row]) {
		t.Flags[row] |= table.Incidental
	}
}

// kept says whether a day points at a row, and lets it point at no more than it may.
func (l *Live) kept(d *liveDay, row uint32) bool {
	used := false
	if n := len(d.rows); n > 0 && d.rows[n-1] == row {
		if n > mostRows {
			d.rows = d.rows[:n-1]
		} else {
			used = true
		}
	}
	i, seen := d.at[l.w.canon[l.w.t.Patient[row]]]
	if !seen {
		return used
	}
	v := &d.seen[i]
	if n := len(v.rows); n > 0 && v.rows[n-1] == row {
		if n > mostRows {
			v.rows, v.screens = v.rows[:n-1], v.screens[:n-1]
		} else {
			used = true
		}
	}
	return used
}

// Fresh is what the detectors say of the days that hold something new.
type Fresh struct {
	Days         []Day
	Crowds       []Crowd
	NotEvaluated []Missing
}

// Crowd is who looked at one patient, who is seen around by somebody new.
type Crowd struct {
	Patient string
	Days    []Day // each with the visit of this patient alone
}

// Look measures what has come since the last look, up to now.
func (l *Live) Look(now time.Time) Fresh {
	var f Fresh
	keys := slices.SortedFunc(maps.Keys(l.touched), l.order)
	for _, k := range keys {
		l.settle(k, l.days[k])
	}
	crowds := slices.Sorted(maps.Keys(l.near))
	for _, patient := range crowds {
		l.gather(patient)
	}
	var evaluated []Definition
	for _, d := range Definitions() {
		if !d.Streaming {
			continue
		}
		if why := l.context.NotEvaluated(now, d.Needs...); why != "" {
			f.NotEvaluated = append(f.NotEvaluated, Missing{d.ID, d.Version, why})
			continue
		}
		evaluated = append(evaluated, d)
	}
	s := &scanned{index: l.w.index}
	for _, k := range keys {
		l.measure.count(s, l.days[k], evaluated)
	}
	for _, k := range keys {
		d := l.days[k]
		l.measure.signal(s, d, evaluated)
		if len(d.visits) > 0 || len(d.signals) > 0 {
			f.Days = append(f.Days, l.w.tell(&d.day, l.measure.usual(d.role)))
		}
	}
	for _, patient := range crowds {
		if c := l.crowd(s, patient, evaluated); len(c.Days) > 1 {
			f.Crowds = append(f.Crowds, c)
		}
	}
	clear(l.touched)
	clear(l.near)
	return f
}

// order is that of people and dates.
func (l *Live) order(a, b of) int {
	return cmp.Or(cmp.Compare(l.w.t.People.Text(a.person), l.w.t.People.Text(b.person)), cmp.Compare(a.date, b.date))
}

// settle finds out about a day what takes longer, and around whom it has to be seen.
func (l *Live) settle(k of, d *liveDay) {
	if d.closed {
		return
	}
	l.w.settle(&d.today)
	d.role = l.w.people[k.person].role
	for i := range d.visits {
		v := &d.visits[i]
		if !v.crowds() || slices.Contains(l.around[v.patient], k) || len(l.around[v.patient]) >= mostAround {
			continue
		}
		l.around[v.patient] = append(l.around[v.patient], k)
		l.near[v.patient] = true
	}
}

// visitOf finds the visit of a patient in a day.
func (d *liveDay) visitOf(patient uint32) *visit {
	for i := range d.visits {
		if d.visits[i].patient == patient {
			return &d.visits[i]
		}
	}
	return nil
}

// crowdAround lists the visits around a patient that count.
func (l *Live) crowdAround(patient uint32) []*visit {
	var out []*visit
	for _, k := range l.around[patient] {
		if v := l.days[k].visitOf(patient); v != nil && v.crowds() {
			out = append(out, v)
		}
	}
	return out
}

// gather measures the crowd around a patient again, for everybody in it.
func (l *Live) gather(patient uint32) {
	l.w.measureCrowd(l.crowdAround(patient))
	for _, k := range l.around[patient] {
		d := l.days[k]
		if i, seen := d.at[patient]; seen {
			if v := d.visitOf(patient); v != nil {
				d.seen[i].crowd = v.crowd // until it is measured again
			}
		}
	}
}

// crowd says who is around a patient.
func (l *Live) crowd(s *scanned, patient uint32, evaluated []Definition) Crowd {
	c := Crowd{Patient: l.w.ids.Text(patient)}
	for _, k := range slices.SortedFunc(slices.Values(l.around[patient]), l.order) {
		d := l.days[k]
		v := d.visitOf(patient)
		if v == nil || !v.crowds() {
			continue
		}
		l.measure.visit(s, d.role, v, evaluated)
		if !slices.ContainsFunc(v.signals, func(g Signal) bool { return g.Detector == crowdID }) {
			continue
		}
		one := d.day
		one.visits, one.signals, one.rows = []visit{*v}, nil, nil
		c.Days = append(c.Days, l.w.tell(&one, l.measure.usual(d.role)))
	}
	return c
}

// Forget closes days that nothing can be added to any more and lets go of those that
// count no more, as of now. It goes over everything once an hour.
func (l *Live) Forget(now time.Time) {
	at := now.UnixMicro()
	if at < l.swept+dayLong/24 {
		return
	}
	l.swept, l.closed = at, at-openFor
	for k, d := range l.days {
		switch {
		case d.from < at-keptFor:
			delete(l.days, k)
		case !d.closed && d.from < l.closed && !l.touched[k]:
			d.closed = true
			d.at, d.inRecent, d.recent, d.seen = nil, nil, nil, nil
		}
	}
	for patient, keys := range l.around {
		kept := slices.DeleteFunc(keys, func(k of) bool { return l.days[k] == nil })
		if len(kept) == 0 {
			delete(l.around, patient)
		} else {
			l.around[patient] = kept
		}
	}
	for session, h := range l.bursts {
		if h.from < at-dayLong/24 {
			delete(l.bursts, session)
		}
	}
	l.tally = tally{words: map[uint32]int{}}
}
