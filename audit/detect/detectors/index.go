package detectors

import (
	"cmp"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

const (
	micros  = int64(time.Second / time.Microsecond)
	dayLong = 24 * 3600 * micros
)

// span is a stretch of work. Ends are microseconds since 1970.
type span struct {
	from, to int64
	ward     uint32
}

// person is what the feeds say of one number of the table's people.
type person struct {
	role       string
	profession string
	department string // team, else ward, else cost centre: whom they work with
	lines      []*feeds.Staff
	machine    bool
	start, end int64 // of employment; 0 is not known
	shifts     []span
}

// stay is one line of care.
type stay struct {
	from, to  int64 // to is from where it is a moment; a stay without end goes on
	ward      uint32
	inpatient bool
}

// patient is what the feeds say of one patient, under the number in use.
type patient struct {
	record *feeds.Patient
	staff  []*feeds.Staff // what the staff list says of the patient, if they work here
	group  int8           // sex and age, -1 when not known
	watch  bool           // vip, sealed or s-flag
	stays  []stay         // in the order of time
}

// index is the context, by the numbers of a table.
type index struct {
	t        *table.Table
	location *time.Location
	people   []person
	canon    []uint32 // number of a patient in the table → number in use
	ids      *table.Names
	patients []patient
	wards    *table.Names
	devices  []uint32 // ward of each device of the table; 0 is nowhere or not known
	fixed    []uint32 // the same of those that surely stay there
	uses     []use    // of workstations
	sites    []string // of each ward, "" when not known
	public   bool     // workstations of the hospital have addresses of the internet
	addresses,
	units map[feeds.Hash]int // patients at one address, in one postcode unit
	has map[feeds.Kind]bool
}

func newIndex(in Input) *index { return indexOver(in, table.NewNames(), table.NewNames()) }

// indexOver goes on with the numbers that patients and wards have already.
func indexOver(in Input, ids, wards *table.Names) *index {
	x := &index{
		t: in.Accesses, location: in.Location, ids: ids, wards: wards,
		addresses: map[feeds.Hash]int{}, units: map[feeds.Hash]int{}, has: map[feeds.Kind]bool{},
	}
	for _, k := range feeds.Kinds() {
		x.has[k] = in.Context.NotEvaluated(time.Time{}, k) == ""
	}
	x.addPeople(&in.Context)
	x.addPatients(&in.Context)
	x.addCare(&in.Context)
	x.addDevices(&in.Context)
	x.addSites(&in.Context)
	x.leaveShared()
	return x
}

// grow makes room for names that the table was given since; no feed has them.
func (x *index) grow() {
	for n := len(x.people); n < x.t.People.Len(); n++ {
		role := x.t.Role(uint32(n)) //nolint:gosec // people are numbered in 32 bits
		x.people = append(x.people, person{role: role, department: role})
	}
	for n := len(x.canon); n < x.t.Patients.Len(); n++ {
		x.canon = append(x.canon, x.ids.Number(x.t.Patients.Text(uint32(n)))) //nolint:gosec // patients are numbered in 32 bits
	}
	for len(x.patients) < x.ids.Len() {
		x.patients = append(x.patients, patient{group: -1})
	}
	for len(x.devices) < x.t.Devices.Len() {
		x.devices, x.fixed, x.uses = append(x.devices, 0), append(x.fixed, 0), append(x.uses, use{})
	}
}

// seenAs gives somebody whom no feed knows the role in which they were seen last.
func (x *index) seenAs(who uint32) {
	if p := &x.people[who]; len(p.lines) == 0 {
		p.role = x.t.Role(who)
		p.department = p.role
	}
}

func (x *index) addPeople(c *feeds.Context) {
	x.people = make([]person, x.t.People.Len())
	for n := range x.people {
		x.people[n].role = x.t.Role(uint32(n))
	}
	for i := range c.Staff {
		s := &c.Staff[i]
		n, ok := x.t.People.Find(s.Person)
		if !ok {
			continue
		}
		p := &x.people[n]
		p.lines = append(p.lines, s)
		p.profession = cmp.Or(s.Profession, p.profession)
		p.machine = p.machine || s.Kind == "machine"
		if len(s.Roles) > 0 {
			p.role = s.Roles[0]
		}
		first := ""
		if len(s.Wards) > 0 {
			first = s.Wards[0]
		}
		p.department = cmp.Or(s.Team, first, s.CostCentre, p.department)
		if !s.Start.IsZero() {
			p.start = dayStart(s.Start, x.location)
		}
		if !s.End.IsZero() {
			p.end = dayStart(s.End.AddDate(0, 0, 1), x.location)
		}
	}
	for n := range x.people {
		p := &x.people[n]
		p.department = cmp.Or(p.department, p.role)
	}
	for i := range c.Rota {
		r := &c.Rota[i]
		n, ok := x.t.People.Find(r.Person)
		if !ok || r.Kind == "leave" || r.Kind == "sick" {
			continue
		}
		x.people[n].shifts = append(x.people[n].shifts, span{r.Start.UnixMicro(), r.End.UnixMicro(), x.wards.Number(r.Ward)})
	}
	for n := range x.people {
		slices.SortFunc(x.people[n].shifts, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	}
}

// dayStart is the beginning of a day that was read without a zone.
func dayStart(day time.Time, location *time.Location) int64 {
	y, m, d := day.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, location).UnixMicro()
}

func (x *index) addPatients(c *feeds.Context) {
	into := map[string]string{}
	for i := range c.Patients {
		p := &c.Patients[i]
		if p.MergedInto != "" {
			into[p.ID] = p.MergedInto
		}
		x.addresses[p.Address]++
		x.units[p.Unit]++
	}
	x.canon = make([]uint32, x.t.Patients.Len())
	for n := 1; n < len(x.canon); n++ {
		id := x.t.Patients.Text(uint32(n))
		for range 10 { // a ring of merges must not hang us
			next, ok := into[id]
			if !ok {
				break
			}
			id = next
		}
		x.canon[n] = x.ids.Number(id)
	}
	x.patients = make([]patient, x.ids.Len())
	for n := range x.patients {
		x.patients[n].group = -1
	}
	staff := map[feeds.Hash][]*feeds.Staff{}
	for i := range c.Staff {
		if s := &c.Staff[i]; s.NHS != "" {
			staff[s.NHS] = append(staff[s.NHS], s)
		}
	}
	for i := range c.Patients {
		r := &c.Patients[i]
		n, ok := x.ids.Find(r.ID)
		if !ok {
			continue
		}
		p := &x.patients[n]
		p.record = r
		if r.NHS != "" {
			p.staff = staff[r.NHS]
		}
		p.group = x.group(r)
		p.watch = slices.ContainsFunc(r.Flags, func(f string) bool { return f == "vip" || f == "sealed" || f == "s-flag" })
	}
}

// groups is how many of sex and age there are.
const groups = 14

// group is sex and age on the day of the newest access, in bands that match what
// people were looked up for in known cases.
func (x *index) group(p *feeds.Patient) int8 {
	if p.Born.IsZero() || x.t.Len() == 0 {
		return -1
	}
	age := x.t.Time(x.t.Len()-1).Sub(p.Born).Hours() / 24 / 365.25
	band := 0
	for _, from := range []float64{2, 16, 20, 40, 60, 80} {
		if age >= from {
			band++
		}
	}
	if p.Sex == "female" {
		band += groups / 2
	}
	return int8(band)
}

// addCare gives each patient their lines of care, in the order of time.
func (x *index) addCare(c *feeds.Context) {
	of := make([]uint32, c.Care.Len()) // patient of each line, 0 is nobody who was looked at
	count := make([]int, len(x.patients))
	for i, f := range c.Care.All() {
		of[i] = x.patientOf(f.Patient)
		count[of[i]]++
	}
	total := 0
	for n := 1; n < len(count); n++ {
		total += count[n]
	}
	all := make([]stay, total)
	for n := 1; n < len(count); n++ {
		x.patients[n].stays, all = all[:0:count[n]], all[count[n]:]
	}
	for i, f := range c.Care.All() {
		if of[i] == 0 {
			continue
		}
		s := stay{from: f.Start.UnixMicro(), ward: x.wards.Number(f.Ward), inpatient: f.Kind == "inpatient"}
		switch {
		case !f.End.IsZero():
			s.to = f.End.UnixMicro()
		case s.inpatient || f.Kind == "emergency":
			s.to = 1 << 62
		default:
			s.to = s.from
		}
		p := &x.patients[of[i]]
		p.stays = append(p.stays, s)
	}
	for n := range x.patients {
		slices.SortFunc(x.patients[n].stays, func(a, b stay) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	}
}

// patientOf is the number in use of somebody whose record was looked at, 0 of
// anybody else.
func (x *index) patientOf(id string) uint32 {
	if raw, ok := x.t.Patients.Find(id); ok {
		return x.canon[raw]
	}
	n, _ := x.ids.Find(id)
	return n
}

// wardAt is where a patient lay, 0 when nowhere.
func (p *patient) wardAt(at int64) uint32 {
	for i := len(p.stays) - 1; i >= 0; i-- {
		if s := &p.stays[i]; s.inpatient && s.from <= at && at <= s.to {
			return s.ward
		}
	}
	return 0
}

// lastCare is the end of the newest care that began before a moment, the ward of
// it, and whether any begins or ends within a fortnight of it.
func (p *patient) lastCare(at int64) (end int64, ward uint32, around bool) {
	for i := range p.stays {
		s := &p.stays[i]
		if s.from > at {
			return end, ward, end > at-14*dayLong || s.from < at+14*dayLong
		}
		if until := min(s.to, at); until >= end {
			end = until
			if s.ward != 0 {
				ward = s.ward
			}
		}
	}
	return end, ward, end > at-14*dayLong
}

// works says whether somebody belonged to a ward by the staff list.
func (x *index) works(p *person, ward uint32, at int64) bool {
	name := x.wards.Text(ward)
	day := time.UnixMicro(at).In(x.location).Format(time.DateOnly)
	for _, s := range p.lines {
		if !s.From.IsZero() && day < s.From.Format(time.DateOnly) || !s.To.IsZero() && day > s.To.Format(time.DateOnly) {
			continue
		}
		if slices.Contains(s.Wards, name) {
			return true
		}
	}
	return false
}

// onDuty says whether the rota has somebody at work within two hours.
func (p *person) onDuty(at int64) bool {
	const grace = 2 * 3600 * micros
	i, _ := slices.BinarySearchFunc(p.shifts, at+grace, func(s span, t int64) int { return cmp.Compare(s.from, t) })
	for i--; i >= 0; i-- {
		if at <= p.shifts[i].to+grace {
			return true
		}
		if p.shifts[i].from < at-3*dayLong {
			return false
		}
	}
	return false
}
