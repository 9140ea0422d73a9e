package simulate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// warm is how many days of care lie before the first day of accesses: nobody
// starts in an empty hospital.
const warm = 45

// device is a workstation.
type device struct {
	id   string
	ward int // -1: it stands nowhere
	kind string
}

// shift is one stretch of somebody's work.
type shift struct {
	person     int
	day        int
	start, end int64
	ward       int // where they really are
	planned    int // where the rota has them, -1 nowhere
	onCall     bool
	inRota     bool
	session    int
}

// absence is leave or sickness, as the rota has it.
type absence struct {
	person     int
	start, end int64
	kind       string
}

// world is the hospital and all that happens in it.
type world struct {
	cfg  Config
	rng  *rand.Rand
	make *hospital.Maker

	wards    []ward
	placed   int // devices that stand somewhere
	devices  []device
	people   []person
	patients []patient

	facts  []fact
	placeD [][][]int32          // facts by ward and day they touch; day 0 is warm days early
	teamD  map[string][][]int32 // facts by team and day of start
	ownD   []map[int][]int32    // facts that name a person, by person and day of start
	leftD  [][]int32            // stays that ended, by ward, in order

	shifts   []shift
	shiftD   [][]int // by day
	absences []absence

	deeds   [][]deed // by day
	labels  map[label]bool
	buffer  []access
	session int
	number  int // of visits to the hospital and of accesses
}

func newWorld(c Config) *world {
	w := &world{cfg: c, rng: rand.New(rand.NewPCG(c.Seed, 0x73696d)), make: hospital.NewMaker(c.Seed), labels: map[label]bool{}}
	w.buildWards()
	w.hire()
	w.register()
	w.plan()
	w.care()
	w.scheme()
	return w
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func one[T any](w *world, from []T) T { return from[w.rng.IntN(len(from))] }

// few draws a count with mean m, mostly small.
func (w *world) few(m float64) int {
	n, limit := 0, math.Exp(-m)
	for p := w.rng.Float64(); p > limit && n < 1000; p *= w.rng.Float64() {
		n++
	}
	return n
}

// at is the second of an hour of a day, which may lie before the first one.
func (w *world) at(day int, hour float64) int64 {
	return w.cfg.Start.AddDate(0, 0, day).Unix() + int64(hour*3600)
}

// dayOf is the day of a second. Days that the clocks change on are an hour
// shorter or longer: the estimate is put right by one day at most.
func (w *world) dayOf(t int64) int {
	d := int(math.Floor(float64(t-w.cfg.Start.Unix()) / 86400))
	if t >= w.at(d+1, 0) {
		return d + 1
	}
	if t < w.at(d, 0) {
		return d - 1
	}
	return d
}

func (w *world) weekend(day int) bool {
	switch w.cfg.Start.AddDate(0, 0, day).Weekday() {
	case 0, 6:
		return true
	default:
		return false
	}
}

// plan makes the rota: each person's weeks by their pattern, with leave,
// sickness, floating, swaps and gaps.
func (w *world) plan() {
	w.shiftD = make([][]int, w.cfg.Days)
	for i := range w.people {
		p := &w.people[i]
		if p.machine() {
			continue
		}
		away := w.leave(i)
		free := int64(math.MinInt64) // not again before this second
		nights := w.chance(.35)
		for d := p.from; d < min(p.until, w.cfg.Days); d++ {
			if d >= away[0] && d < away[1] {
				continue
			}
			if w.chance(.02) {
				w.absences = append(w.absences, absence{i, w.at(d, 9), w.at(d+1, 6), "sick"})
				continue
			}
			s, works := w.turn(p, d, nights)
			if !works || s.start < free {
				continue
			}
			s.person, s.day = i, d
			w.place(p, &s)
			free = s.end + 11*3600
			p.shifts = append(p.shifts, len(w.shifts))
			w.shiftD[d] = append(w.shiftD[d], len(w.shifts))
			w.shifts = append(w.shifts, s)
		}
	}
}

// leave takes a week or two off for most people.
func (w *world) leave(i int) [2]int {
	if w.chance(.3) {
		return [2]int{}
	}
	from := w.rng.IntN(w.cfg.Days)
	to := from + 7*(1+w.rng.IntN(2))
	w.absences = append(w.absences, absence{i, w.at(from, 9), w.at(to, 0), "leave"})
	return [2]int{from, to}
}

// turn says whether and when somebody works on a day.
func (w *world) turn(p *person, day int, nights bool) (shift, bool) {
	switch p.post.works {
	case weekdays:
		start := 8 + float64(w.rng.IntN(3))/2
		return shift{start: w.at(day, start), end: w.at(day, start+8.5)}, !w.weekend(day) && w.chance(.9)
	case medical:
		if w.chance(.1) {
			return shift{start: w.at(day, 20), end: w.at(day, 32.5), onCall: true}, true
		}
		return shift{start: w.at(day, 8), end: w.at(day, 18)}, !w.weekend(day) && w.chance(.92)
	case longDays:
		return shift{start: w.at(day, 7.5), end: w.at(day, 19.5)}, w.chance(.45)
	case rotating:
		if nights && w.chance(.5) {
			return shift{start: w.at(day, 19), end: w.at(day, 31.5)}, w.chance(.45)
		}
		return shift{start: w.at(day, 7), end: w.at(day, 19.5)}, w.chance(.46)
	}
	return shift{}, false
}

// place says where a shift is worked and what the rota says of it.
func (w *world) place(p *person, s *shift) {
	s.ward = p.wardOn(s.day)
	s.planned, s.inRota = s.ward, !w.chance(w.cfg.RotaLoss)
	if p.post.place != "inpatient" || p.post.role == "doctor" || p.post.role == "ward-clerk" {
		return
	}
	switch {
	case p.post.kind == "bank": // the bank sends them anywhere, and the rota says so
		s.ward = w.rng.IntN(len(w.placeOf("inpatient")))
		s.planned = s.ward
	case w.chance(.04): // floated at short notice, which the rota learns half of the time
		s.ward = one(w, w.wards[s.ward].partners)
		if w.chance(.5) {
			s.planned = s.ward
		}
	}
}

// live makes the accesses of one day and returns those whose time has come, in
// order. What a night shift does after midnight waits.
func (w *world) live(day int) []access {
	for _, i := range w.shiftD[day] {
		w.work(&w.shifts[i])
	}
	w.machines(day)
	for _, d := range w.deeds[day] {
		d.do()
	}
	slices.SortStableFunc(w.buffer, func(a, b access) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) })
	until := w.at(day+1, 0) * 1e6
	n, _ := slices.BinarySearchFunc(w.buffer, until, func(a access, t int64) int { return cmp.Compare(a.at, t) })
	due := slices.Clone(w.buffer[:n])
	w.buffer = append(w.buffer[:0], w.buffer[n:]...)
	return due
}
