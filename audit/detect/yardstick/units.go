package yardstick

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// relation is how the lists relate a person to a patient.
type relation struct{ own, home, kin, name, mate, vip bool }

// weight orders the rules by how much they usually mean.
func (r relation) weight() float64 {
	switch {
	case r.own:
		return 5
	case r.home, r.kin:
		return 4
	case r.name:
		return 3
	case r.mate:
		return 2
	case r.vip:
		return 1
	}
	return 0
}

// visit is what one person did to one patient on one day.
type visit struct {
	opens     int
	explained bool
	relation  relation
}

// day is what one person did on one day.
type day struct {
	person   uint32
	date     int // days since 1970 in the hospital's time zone
	patients map[uint32]*visit
	opens    int
	searches int
	printed  int
	glass    int
	offRota  int
	burst    int // most patients within ten minutes
	run      int // most numbers in sequence

	recent []recent
	last   int // number of the patient before
	now    int // of the sequence that goes on
}

type recent struct {
	at      int64
	patient uint32
}

// signals are the figures of a day that the raw sum and the isolation forest use.
func (d *day) signals() []float64 {
	var own, home, name, mate, vip, unexplained, repeated float64
	for _, v := range d.patients {
		add := func(to *float64, yes bool) {
			if yes {
				*to++
			}
		}
		add(&own, v.relation.own)
		add(&home, v.relation.home || v.relation.kin)
		add(&name, v.relation.name)
		add(&mate, v.relation.mate)
		add(&vip, v.relation.vip)
		add(&unexplained, !v.explained)
		if !v.explained {
			repeated = max(repeated, float64(v.opens))
		}
	}
	return []float64{
		own, home, name, mate, vip, unexplained, repeated, float64(len(d.patients)), float64(d.burst), float64(d.run), float64(d.offRota),
		float64(d.searches), float64(d.printed), float64(d.glass),
	}
}

// units are the days of everybody.
type units struct {
	in    Input
	days  []*day
	staff map[string][]*feeds.Staff
	ill   map[string]*feeds.Patient
	mates map[feeds.Hash]bool // NHS numbers of staff
	rota  map[string][]*feeds.Shift
}

func collect(in Input) *units {
	u := &units{in: in, staff: map[string][]*feeds.Staff{}, ill: map[string]*feeds.Patient{}, mates: map[feeds.Hash]bool{}, rota: map[string][]*feeds.Shift{}}
	for i := range in.Context.Staff {
		s := &in.Context.Staff[i]
		u.staff[s.Person] = append(u.staff[s.Person], s)
		if s.NHS != "" {
			u.mates[s.NHS] = true
		}
	}
	for i := range in.Context.Patients {
		u.ill[in.Context.Patients[i].ID] = &in.Context.Patients[i]
	}
	for i := range in.Context.Rota {
		if s := &in.Context.Rota[i]; s.Kind != "leave" && s.Kind != "sick" {
			u.rota[s.Person] = append(u.rota[s.Person], s)
		}
	}
	type key struct {
		person uint32
		date   int
	}
	found := map[key]*day{}
	t := in.Accesses
	for i := range t.Len() {
		if in.Machines[t.Person[i]] || t.Person[i] == 0 {
			continue
		}
		k := key{t.Person[i], u.dateOf(t.Time(i))}
		d := found[k]
		if d == nil {
			d = &day{person: k.person, date: k.date, patients: map[uint32]*visit{}}
			found[k] = d
			u.days = append(u.days, d)
		}
		u.add(d, i)
	}
	u.days = slices.DeleteFunc(u.days, func(d *day) bool { return len(d.patients) == 0 })
	slices.SortFunc(u.days, func(a, b *day) int { return cmp.Or(cmp.Compare(a.date, b.date), cmp.Compare(a.person, b.person)) })
	return u
}

func (u *units) dateOf(t time.Time) int {
	y, m, d := t.In(u.in.Location).Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

func (u *units) date(n int) string {
	return time.Unix(int64(n)*86400, 0).UTC().Format(time.DateOnly)
}

// add counts one access.
func (u *units) add(d *day, row int) {
	t := u.in.Accesses
	switch t.Action(row) {
	case "search":
		d.searches++
	case "print", "export":
		d.printed++
	}
	if !t.Counts(row) {
		return
	}
	if t.Flags[row]&table.BreakGlass != 0 {
		d.glass++
	}
	d.opens++
	person := t.People.Text(d.person)
	at := t.Time(row)
	if u.in.Context.Rota != nil && !u.onDuty(person, at) {
		d.offRota++
	}
	patient := t.Patient[row]
	v := d.patients[patient]
	if v == nil {
		text := u.patient(patient)
		v = &visit{relation: u.relate(person, text), explained: u.in.Explained(row)}
		d.patients[patient] = v
		d.sequence(text)
	}
	v.opens++
	d.crowd(t.At[row], patient)
}

func (u *units) onDuty(person string, at time.Time) bool {
	const grace = 2 * time.Hour
	for _, s := range u.rota[person] {
		if at.After(s.Start.Add(-grace)) && at.Before(s.End.Add(grace)) {
			return true
		}
	}
	return false
}

// sequence follows patients whose numbers are neighbours.
func (d *day) sequence(patient string) {
	n, err := strconv.Atoi(strings.TrimLeft(patient, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
	if err != nil {
		return
	}
	if n == d.last+1 || n == d.last-1 {
		d.now++
	} else {
		d.now = 0
	}
	d.last = n
	d.run = max(d.run, d.now)
}

// crowd counts the patients of the last ten minutes.
func (d *day) crowd(at int64, patient uint32) {
	d.recent = append(d.recent, recent{at, patient})
	for d.recent[0].at < at-int64(10*time.Minute/time.Microsecond) {
		d.recent = d.recent[1:]
	}
	seen := map[uint32]bool{}
	for _, r := range d.recent {
		seen[r.patient] = true
	}
	d.burst = max(d.burst, len(seen))
}

func (u *units) relate(person, patient string) relation {
	var r relation
	p, ok := u.ill[patient]
	if !ok {
		return r
	}
	for _, s := range u.staff[person] {
		r.own = r.own || s.NHS.Same(p.NHS)
		r.home = r.home || s.Address.Same(p.Address)
		r.name = r.name || s.Family.Same(p.Family) && s.Unit.Same(p.Unit)
		for _, k := range p.Kin {
			r.kin = r.kin || s.Name.Same(k.Name)
		}
	}
	r.mate = !r.own && u.mates[p.NHS]
	r.vip = slices.ContainsFunc(p.Flags, func(f string) bool { return f == "vip" || f == "sealed" || f == "s-flag" })
	return r
}
