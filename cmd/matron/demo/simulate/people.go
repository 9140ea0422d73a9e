package simulate

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// ward is a place where patients are cared for, or an office.
type ward struct {
	id, specialty, kind string
	beds                int
	partners            []int // wards of the same specialty
	devices             []int
	doctors, staff      []int
}

// team is what the staff of a place are called in the care file.
func (p *ward) team() string {
	switch p.kind {
	case "inpatient", "emergency", "theatre", "outpatient":
		return "team-" + p.id
	}
	return p.id
}

// pattern is how somebody's weeks look.
type pattern int

const (
	rotating pattern = iota // days and nights of twelve and a half hours
	weekdays                // office hours
	medical                 // weekdays, and nights on call
	longDays                // days of twelve hours, seven days a week
)

// post is one kind of job.
type post struct {
	role, profession, grade string
	place                   string // kind of ward, or the name of an office
	share                   float64
	works                   pattern
	kind                    string // staff, bank, student
}

// posts are the jobs of a hospital and their shares of its staff.
func posts() []post {
	return []post{
		{"nurse", "registered nurse", "band 5", "inpatient", .33, rotating, "staff"},
		{"healthcare-assistant", "healthcare assistant", "band 3", "inpatient", .12, rotating, "staff"},
		{"doctor", "doctor", "registrar", "inpatient", .12, medical, "staff"},
		{"ward-clerk", "ward clerk", "band 2", "inpatient", .025, weekdays, "staff"},
		{"nurse", "registered nurse", "band 6", "emergency", .05, rotating, "staff"},
		{"doctor", "doctor", "registrar", "emergency", .025, rotating, "staff"},
		{"receptionist", "receptionist", "band 2", "emergency", .012, longDays, "staff"},
		{"nurse", "theatre nurse", "band 6", "theatre", .04, weekdays, "staff"},
		{"doctor", "anaesthetist", "consultant", "theatre", .012, weekdays, "staff"},
		{"doctor", "doctor", "consultant", "outpatient", .025, weekdays, "staff"},
		{"nurse", "clinic nurse", "band 5", "outpatient", .02, weekdays, "staff"},
		{"receptionist", "receptionist", "band 2", "outpatient", .025, weekdays, "staff"},
		{"medical-secretary", "medical secretary", "band 4", "outpatient", .03, weekdays, "staff"},
		{"pharmacist", "pharmacist", "band 7", "pharmacy", .025, weekdays, "staff"},
		{"allied-health-professional", "physiotherapist", "band 6", "therapies", .05, weekdays, "staff"},
		{"radiographer", "radiographer", "band 6", "radiology", .03, longDays, "staff"},
		{"phlebotomist", "phlebotomist", "band 3", "phlebotomy", .015, weekdays, "staff"},
		{"laboratory-scientist", "biomedical scientist", "band 6", "laboratory", .012, longDays, "staff"},
		{"clinical-coder", "clinical coder", "band 5", "coding", .010, weekdays, "staff"},
		{"bed-manager", "site manager", "band 7", "site-office", .006, rotating, "staff"},
		{"outreach-nurse", "critical care outreach", "band 7", "outreach", .007, rotating, "staff"},
		{"records-clerk", "health records clerk", "band 2", "records", .008, weekdays, "staff"},
		{"nurse", "bank nurse", "band 5", "inpatient", .05, rotating, "bank"},
		{"student-nurse", "student nurse", "", "inpatient", .035, longDays, "student"},
	}
}

// specialties are those of the wards, commonest first.
func specialties() []string {
	return []string{
		"general medicine", "older people", "general surgery", "trauma and orthopaedics", "cardiology", "respiratory", "gastroenterology",
		"stroke", "children", "maternity", "gynaecology", "urology", "critical care",
	}
}

// person is somebody on the staff list, or a machine.
type person struct {
	id    string
	post  post
	ward  int
	moved int // ward until movedOn, when that is set
	team  string
	boss  int

	name      hospital.Name
	sex, born string
	nhs       string
	home      hospital.Address

	from, until int // days of employment within the run
	movedOn     int // day; 0 is never
	quiet       int // makes no access before this day
	inHR        bool
	own         int   // own record, -1 for none
	kin         []int // patients of the household
	ex          int   // patient who was once close, -1 for none
	shifts      []int
}

func (p *person) machine() bool { return p.post.kind == "machine" }

// wardOn is where somebody belongs on a day.
func (p *person) wardOn(day int) int {
	if p.movedOn > 0 && day < p.movedOn {
		return p.moved
	}
	return p.ward
}

// patient is one patient.
type patient struct {
	id, old   string // old is a number that was merged away on day merged
	merged    int
	name      hospital.Name
	sex, born string
	nhs       string
	home      hospital.Address
	flags     []string
	kin       *hospital.Kin
	staff     int // the member of staff who this is, -1 for nobody
	inUntil   int64
}

// buildWards lays out the wards for the size of the staff.
func (w *world) buildWards() {
	add := func(id, specialty, kind string, beds int) {
		w.wards = append(w.wards, ward{id: id, specialty: specialty, kind: kind, beds: beds})
	}
	n := max(3, w.cfg.Staff/36)
	all := specialties()
	for i := range n {
		add(fmt.Sprintf("W%02d", i+1), all[i%len(all)], "inpatient", 24)
	}
	for i := range max(1, w.cfg.Staff/600) {
		add(fmt.Sprintf("AE%d", i+1), "emergency medicine", "emergency", 30)
		add(fmt.Sprintf("TH%d", i+1), "anaesthetics", "theatre", 12)
	}
	for i := range min(max(2, w.cfg.Staff/200), len(all)) {
		add(fmt.Sprintf("OPD%d", i+1), all[i], "outpatient", 0)
	}
	for _, p := range posts() {
		if w.placeOf(p.place) == nil {
			add(p.place, "", p.place, 0)
		}
	}
	for i := range w.wards {
		for j := range w.wards {
			a, b := &w.wards[i], &w.wards[j]
			if i != j && a.kind == "inpatient" && b.kind == "inpatient" && a.specialty == b.specialty {
				a.partners = append(a.partners, j)
			}
		}
		if a := &w.wards[i]; a.kind == "inpatient" && len(a.partners) == 0 {
			a.partners = []int{(i + 1) % n}
		}
		for k := range 6 {
			kind := "desk"
			if k >= 4 {
				kind = "trolley"
			}
			w.devices = append(w.devices, device{fmt.Sprintf("PC-%s-%d", w.wards[i].id, k+1), i, kind})
			w.wards[i].devices = append(w.wards[i].devices, len(w.devices)-1)
		}
	}
	w.placed = len(w.devices)
	for i := range max(4, w.cfg.Staff/40) { // virtual desktops stand nowhere
		w.devices = append(w.devices, device{fmt.Sprintf("VDI-%03d", i+1), -1, "virtual"})
	}
}

func (w *world) placeOf(kind string) []int {
	var out []int
	for i := range w.wards {
		if w.wards[i].kind == kind {
			out = append(out, i)
		}
	}
	return out
}

// hire fills the posts.
func (w *world) hire() {
	var total float64
	for _, p := range posts() {
		total += p.share
	}
	next := map[string]int{}
	for _, p := range posts() {
		count := int(math.Ceil(p.share / total * float64(w.cfg.Staff)))
		places := w.placeOf(p.place)
		for range count {
			if len(w.people) == w.cfg.Staff {
				break
			}
			key := p.role + p.place
			w.employ(p, places[next[key]%len(places)])
			next[key]++
		}
	}
	for len(w.people) < w.cfg.Staff {
		w.employ(posts()[0], w.rng.IntN(len(w.placeOf("inpatient"))))
	}
	for i := range w.people {
		p := &w.people[i]
		of := &w.wards[p.ward]
		of.staff = append(of.staff, i)
		if p.post.role == "doctor" {
			of.doctors = append(of.doctors, i)
		}
		p.boss = of.staff[0]
	}
	w.couples()
	for i, what := range []string{"results-interface", "clinic-prefetch", "transport-interface"} {
		w.people = append(w.people, person{
			id: fmt.Sprintf("M%03d", i+1), post: post{role: "api-client", profession: what, kind: "machine"},
			ward: w.placeOf("records")[0], until: w.cfg.Days, inHR: true, own: -1, ex: -1,
			name: hospital.Name{Family: "Interface", Given: what},
		})
	}
}

func (w *world) employ(p post, at int) {
	sex := w.make.Sex()
	e := person{
		id: fmt.Sprintf("S%05d", len(w.people)+1), post: p, ward: at, team: w.wards[at].team(),
		name: hospital.Name{Family: w.make.Surname(), Given: w.make.Given(sex)}, sex: sex, born: w.make.Birth(1961, 2004),
		nhs: w.make.NHSNumber(), home: w.make.Address(), until: w.cfg.Days, inHR: !w.chance(.004), own: -1, ex: -1,
	}
	switch x := w.rng.Float64(); {
	case x < .015: // leaves
		e.until = w.cfg.Days/4 + w.rng.IntN(max(1, w.cfg.Days/2))
	case x < .030: // joins
		e.from = 1 + w.rng.IntN(max(1, w.cfg.Days/2))
	case x < .045 && p.place == "inpatient": // moves
		e.moved, e.movedOn = w.rng.IntN(len(w.placeOf("inpatient"))), 1+w.rng.IntN(w.cfg.Days-1)
		if e.moved == e.ward {
			e.movedOn = 0
		}
	}
	w.people = append(w.people, e)
}

// couples gives some members of staff the home of another, some of them on the
// same ward.
func (w *world) couples() {
	n := len(w.people)
	for range n / 40 {
		a := w.rng.IntN(n)
		b := w.rng.IntN(n)
		if mates := w.wards[w.people[a].ward].staff; w.chance(.3) {
			b = mates[w.rng.IntN(len(mates))]
		}
		if a != b {
			w.people[b].home = w.people[a].home
			if w.chance(.7) {
				w.people[b].name.Family = w.people[a].name.Family
			}
		}
	}
}

// register makes the patients: staff, their households, people they once knew,
// and the town.
func (w *world) register() {
	count := 35 * w.cfg.Staff
	for i := range w.cfg.Staff {
		p := &w.people[i]
		if w.chance(.08) {
			p.own = w.enrol(patient{name: p.name, sex: p.sex, born: p.born, nhs: p.nhs, home: p.home, staff: i})
			w.patients[p.own].flags = []string{"staff"}
		}
		for range w.rng.IntN(9) / 6 { // one in three has somebody here
			w.relative(i)
		}
		if w.chance(.02) {
			p.ex = w.stranger()
		}
	}
	for len(w.patients) < count {
		w.stranger()
	}
	for range count / 700 {
		p := &w.patients[w.rng.IntN(count)]
		p.flags = append(slices.Clone(p.flags), []string{"vip", "sealed", "s-flag"}[w.rng.IntN(3)])
	}
	for range count / 300 { // numbers that were merged away
		p := &w.patients[w.rng.IntN(count)]
		if p.old == "" {
			p.old, p.merged = fmt.Sprintf("H9%06d", w.rng.IntN(1_000_000)), w.rng.IntN(w.cfg.Days)
		}
	}
}

func (w *world) enrol(p patient) int {
	p.id = fmt.Sprintf("H%07d", 1_000_001+len(w.patients))
	w.patients = append(w.patients, p)
	return len(w.patients) - 1
}

// relative enrols somebody of a household.
func (w *world) relative(i int) {
	p := &w.people[i]
	sex := w.make.Sex()
	r := patient{
		name: hospital.Name{Family: p.name.Family, Given: w.make.Given(sex)}, sex: sex, born: w.make.Birth(1945, 2023),
		nhs: w.make.NHSNumber(), home: p.home, staff: -1,
	}
	switch w.rng.IntN(10) {
	case 0: // another name
		r.name.Family = w.make.Surname()
	case 1, 2: // a parent who lives elsewhere and names them
		r.home = w.make.Address()
	}
	if w.chance(.6) || r.home != p.home {
		r.kin = &hospital.Kin{Name: p.name.Full(), Phone: w.make.Phone(), Relationship: []string{"spouse", "child", "parent", "sibling"}[w.rng.IntN(4)]}
	}
	p.kin = append(p.kin, w.enrol(r))
}

// stranger enrols somebody of the town; one in four lives with the one before.
func (w *world) stranger() int {
	sex := w.make.Sex()
	p := patient{
		name: hospital.Name{Family: w.make.Surname(), Given: w.make.Given(sex)}, sex: sex, born: w.make.Birth(1930, 2025),
		nhs: w.make.NHSNumber(), staff: -1,
	}
	if n := len(w.patients); n > 0 && w.chance(.25) {
		p.home, p.name.Family = w.patients[n-1].home, w.patients[n-1].name.Family
	} else {
		p.home = w.make.Address()
	}
	if w.chance(.3) {
		kin := w.make.Sex()
		p.kin = &hospital.Kin{
			Name:  hospital.Name{Family: p.name.Family, Given: w.make.Given(kin)}.Full(),
			Phone: w.make.Phone(), Relationship: []string{"spouse", "sibling", "child", "parent", "friend"}[w.rng.IntN(5)],
		}
	}
	return w.enrol(p)
}

// age is how old somebody is at the start of the run, in years.
func (w *world) age(born string) int {
	t, err := time.Parse(time.DateOnly, born)
	if err != nil {
		return 0
	}
	return int(w.cfg.Start.Sub(t).Hours() / 24 / 365.25)
}
