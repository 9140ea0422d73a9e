package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// label is one line of the labels file.
type label struct {
	Person  string `json:"person"`
	Day     string `json:"day"`
	Kind    string `json:"kind"`
	Patient string `json:"patient,omitempty"`
}

// deed is something that somebody does on a day where they have no business.
type deed struct{ do func() }

// scheme plans the misuse of the run. What each kind follows:
//
//   - own-record, household, acquaintance, co-worker: the commonest findings
//     everywhere (Boxwala 2011, table 3), one-off, mostly on duty.
//   - vip: crowds around one patient in the news (Nottingham, Southport 48 staff,
//     Haga 85), two in three without a flag.
//   - serial-co-worker: Colchester 29 people in 17 months, South Warwickshire 14
//     in 6, Lothian 150. ex-partner: the same person again and again.
//   - obsession: Medway, one record 279 times in three weeks.
//   - low-and-slow: Maidstone, 1,940 mostly young women in 14 months. cohort:
//     Ontario, newborns looked up for a private practice.
//   - off-ward, post-care: browsing. bulk, enumeration, exfiltration: harvesting.
//   - leaver, dormant, out-of-hours, shared-credentials, two-places, break-glass,
//     sensitive: what an account should not do.
func (w *world) scheme() {
	w.deeds = make([][]deed, w.cfg.Days)
	w.dormant()
	w.personal()
	w.colleagues()
	for range w.count(3) {
		w.crowd()
	}
	w.browsing()
	w.obsessions()
	w.harvests()
	w.accounts()
	w.apart(1, w.twoPlaces)
}

// apart draws from a stream of its own, so that what is added to a seed leaves the
// rest of it as it was.
func (w *world) apart(stream uint64, do func()) {
	before := w.rng
	w.rng = rand.New(rand.NewPCG(w.cfg.Seed, stream))
	do()
	w.rng = before
}

// count scales a number that is right for 1,200 staff and 60 days.
func (w *world) count(n float64) int {
	if w.cfg.Misuse == 0 {
		return 0
	}
	return max(1, int(math.Round(n*w.cfg.Misuse*float64(w.cfg.Staff*w.cfg.Days)/72000)))
}

func (w *world) plot(day int, do func()) { w.deeds[day] = append(w.deeds[day], deed{do}) }

// onDuty finds a shift of a day whose person suits, nil when nobody does.
func (w *world) onDuty(day int, suits func(*person, *shift) bool) *shift {
	all := w.shiftD[day]
	for range min(40*len(all), 4000) {
		s := &w.shifts[all[w.rng.IntN(len(all))]]
		if p := &w.people[s.person]; p.quiet == 0 && suits(p, s) {
			return s
		}
	}
	return nil
}

// oneOffs plots n deeds, each by somebody who suits on a day of their own.
func (w *world) oneOffs(n float64, suits func(*person, *shift) bool, act func(*person, *shift)) {
	for range w.count(n) {
		if s := w.onDuty(w.rng.IntN(w.cfg.Days), suits); s != nil {
			p := &w.people[s.person]
			w.plot(s.day, func() { act(p, s) })
		}
	}
}

// serial plots deeds on up to n shifts of one person who suits.
func (w *world) serial(n int, suits func(*person, *shift) bool, act func(*person, *shift)) {
	s := w.onDuty(w.rng.IntN(w.cfg.Days), func(p *person, s *shift) bool { return len(p.shifts) >= min(n, 4) && suits(p, s) })
	if s == nil {
		return
	}
	p := &w.people[s.person]
	from := w.rng.IntN(max(1, len(p.shifts)-n+1))
	for _, i := range p.shifts[from:min(from+n, len(p.shifts))] {
		shift := &w.shifts[i]
		if w.chance(.85) {
			w.plot(shift.day, func() { act(p, shift) })
		}
	}
}

func anyone(*person, *shift) bool { return true }

// pry opens a record without a reason, on duty, as people do: some with a search
// by name and a longer look, some quietly among their work.
func (w *world) pry(kind string, s *shift, patient int32, named bool) {
	w.pryAs(kind, w.sit(s, s.ward), s, patient, named, 0)
}

func (w *world) pryAs(kind string, d desk, s *shift, patient int32, named bool, more float64) {
	quiet := w.chance(w.cfg.Stealth)
	t := w.when(s)
	l := look{desk: d, patient: patient, opens: 1 + w.few(more), truth: misuse}
	if !quiet {
		l.opens += w.few(1.2)
		if w.chance(.25) { // before or after the shift
			t = []int64{s.start - 2400, s.end}[w.rng.IntN(2)] + int64(w.rng.IntN(2400))
		}
		if w.chance(.2) {
			l.device = w.virtual()
		}
		if w.chance(.7) {
			a := l.line(w.micro(t-10), search, -1, system)
			a.results = uint32(1 + w.few(4))
			w.add(a)
		}
	}
	w.caught(kind, named, func() { w.visit(l, t) })
}

// caught labels what is done: the person and day of every access, and the patient
// where the misuse is about that one.
func (w *world) caught(kind string, named bool, do func()) {
	from := len(w.buffer)
	do()
	for _, a := range w.buffer[from:] {
		if a.patient < 0 {
			continue
		}
		day := w.dayOf(a.at / 1e6)
		if day >= w.cfg.Days {
			continue // it is not in the files
		}
		l := label{Person: w.people[a.person].id, Day: w.cfg.Start.AddDate(0, 0, day).Format(time.DateOnly), Kind: kind}
		if named {
			l.Patient = w.patients[a.patient].id
		}
		w.labels[l] = true
	}
}

// remote is somebody at a virtual desktop, off duty.
func (w *world) remote(p int, from, until int64) desk {
	w.session++
	d := desk{person: p, session: w.session, device: w.virtual()}
	w.add(d.line(w.micro(from-60), signIn, -1, system))
	w.add(d.line(w.micro(until+60), signOut, -1, system))
	return d
}

// personal is curiosity about oneself, the family, an ex-partner and neighbours.
func (w *world) personal() {
	w.oneOffs(40, func(p *person, _ *shift) bool { return p.own >= 0 }, func(p *person, s *shift) {
		w.pry("own-record", s, int32(p.own), true)
	})
	w.oneOffs(56, func(p *person, _ *shift) bool { return len(p.kin) > 0 }, func(p *person, s *shift) {
		w.pry("household", s, int32(one(w, p.kin)), true)
	})
	near := map[string][]int32{}
	for i := range w.patients {
		code := w.patients[i].home.Postcode
		near[code] = append(near[code], int32(i))
	}
	w.oneOffs(22, func(p *person, _ *shift) bool { return len(near[p.home.Postcode]) > 2 }, func(p *person, s *shift) {
		w.pry("acquaintance", s, one(w, near[p.home.Postcode]), true)
	})
	for range w.count(2) {
		w.serial(24, func(p *person, _ *shift) bool { return p.ex >= 0 }, func(p *person, s *shift) {
			w.pry("ex-partner", s, int32(p.ex), true)
		})
	}
}

// colleagues are looked up by those who work with them.
func (w *world) colleagues() {
	var records []int // of staff
	for i := range w.people {
		if w.people[i].own >= 0 {
			records = append(records, i)
		}
	}
	mate := func(s *shift) int32 {
		of := slices.DeleteFunc(slices.Clone(records), func(i int) bool { return i == s.person })
		near := slices.DeleteFunc(slices.Clone(of), func(i int) bool { return w.people[i].ward != w.people[s.person].ward })
		if len(near) > 0 && w.chance(.6) {
			of = near
		}
		return int32(w.people[one(w, of)].own)
	}
	if len(records) < 2 {
		return
	}
	w.oneOffs(42, anyone, func(_ *person, s *shift) { w.pry("co-worker", s, mate(s), true) })
	for range w.count(2) {
		w.serial(14, anyone, func(_ *person, s *shift) {
			for range 1 + w.few(.8) {
				w.pry("serial-co-worker", s, mate(s), true)
			}
		})
	}
}

// crowd is a patient in the news: people of every department look within days.
func (w *world) crowd() {
	day := w.rng.IntN(max(1, w.cfg.Days-6))
	var admitted []int32
	for _, at := range w.placeOf("inpatient") {
		for _, n := range w.on(at, day) {
			if f := &w.facts[n]; f.start >= w.at(day, 0) && f.end > w.at(day+2, 0) && w.patients[f.patient].staff < 0 {
				admitted = append(admitted, f.patient)
			}
		}
	}
	if len(admitted) == 0 {
		return
	}
	patient := one(w, admitted)
	if w.chance(.34) {
		w.patients[patient].flags = append(slices.Clone(w.patients[patient].flags), "vip")
	}
	caring := map[int32]bool{} // wards where the patient is: who works there has a reason
	for i := range w.facts {
		if w.facts[i].patient == patient {
			caring[w.facts[i].ward] = true
		}
	}
	seen := map[int]bool{}
	for range min(10+w.rng.IntN(16), w.cfg.Staff/20) {
		on := min(day+int(w.rng.ExpFloat64()*1.5), w.cfg.Days-1)
		s := w.onDuty(on, func(_ *person, s *shift) bool { return !seen[s.person] && !caring[int32(s.ward)] })
		if s == nil {
			continue
		}
		seen[s.person] = true
		w.plot(on, func() { w.pry("vip", s, patient, true) })
	}
}

// browsing is reading about people whom one has no part in, or no longer.
func (w *world) browsing() {
	clinical := func(p *person, _ *shift) bool { return p.post.place == "inpatient" }
	w.oneOffs(28, clinical, func(_ *person, s *shift) {
		wards := w.placeOf("inpatient")
		at := one(w, wards)
		for len(wards) > 3 && (at == s.ward || slices.Contains(w.wards[s.ward].partners, at)) {
			at = one(w, wards)
		}
		for _, p := range some(w, w.patientsOf(at, s), 4+w.rng.IntN(6)) {
			w.pry("off-ward", s, p, false)
		}
	})
	w.oneOffs(24, clinical, func(_ *person, s *shift) {
		for _, p := range some(w, w.left(s.ward, s.day, 20, 44), 1) {
			w.pry("post-care", s, p, true)
		}
	})
	w.oneOffs(8, clinical, func(_ *person, s *shift) {
		for _, p := range some(w, w.patientsOf(one(w, w.placeOf("inpatient")), s), 1) {
			from := len(w.buffer)
			w.pry("sensitive", s, p, true)
			for i := range w.buffer[from:] {
				w.buffer[from+i].screen = one(w, sensitive())
			}
		}
	})
}

// obsessions go on for weeks.
func (w *world) obsessions() {
	for range w.count(1) {
		target := int32(w.rng.IntN(len(w.patients)))
		w.serial(14, anyone, func(_ *person, s *shift) {
			for range 3 + w.rng.IntN(6) {
				w.pryAs("obsession", w.sit(s, s.ward), s, target, true, 1.5)
			}
		})
	}
	group := func(suits func(*patient) bool) []int32 {
		var out []int32
		for i := range w.patients {
			if suits(&w.patients[i]) {
				out = append(out, int32(i))
			}
		}
		return out
	}
	for range w.count(1) {
		women := group(func(p *patient) bool { a := w.age(p.born); return p.sex == "female" && a >= 20 && a < 40 })
		w.serial(w.cfg.Days, func(p *person, _ *shift) bool { return p.post.role == "doctor" || p.post.role == "radiographer" }, func(_ *person, s *shift) {
			for range 1 + w.rng.IntN(4) {
				w.pry("low-and-slow", s, one(w, women), false)
			}
		})
	}
	for range w.count(1) {
		babies := group(func(p *patient) bool { return w.age(p.born) < 2 })
		w.serial(20, anyone, func(_ *person, s *shift) {
			for range 2 + w.rng.IntN(4) {
				w.pry("cohort", s, one(w, babies), false)
			}
		})
	}
}

// harvests take many records within an hour.
func (w *world) harvests() {
	w.oneOffs(3, anyone, func(_ *person, s *shift) {
		d, t := w.sit(s, s.ward), w.when(s)
		w.caught("bulk", false, func() {
			for range 50 + w.rng.IntN(80) {
				f := &w.facts[w.rng.IntN(len(w.facts))]
				w.visit(look{d, f.patient, 1, 0, misuse}, t)
				t += int64(8 + w.rng.IntN(30))
			}
		})
	})
	w.oneOffs(2, anyone, func(_ *person, s *shift) {
		from := w.at(s.day, 20+3*w.rng.Float64())
		n := 40 + w.rng.IntN(40)
		d := w.remote(s.person, from, from+int64(n*15))
		first := w.rng.IntN(len(w.patients) - n)
		w.caught("enumeration", false, func() {
			for i := range n {
				w.visit(look{d, int32(first + i), 1, 0, misuse}, from+int64(i*15+w.rng.IntN(5)))
			}
		})
	})
	w.oneOffs(3, func(p *person, _ *shift) bool { return p.post.place == "inpatient" }, func(_ *person, s *shift) {
		d, t := w.sit(s, s.ward), w.when(s)
		w.caught("exfiltration", false, func() {
			for _, p := range some(w, w.patientsOf(s.ward, s), 15+w.rng.IntN(25)) {
				a := d.line(w.micro(t), []action{printed, exported}[w.rng.IntN(2)], p, misuse)
				a.screen, a.bytes = "history", uint32(200_000+w.rng.IntN(2_000_000))
				w.add(a)
				t += int64(20 + w.rng.IntN(60))
			}
		})
	})
}

// accounts are used by whom or when they should not be.
func (w *world) accounts() {
	leavers, all := w.count(2), w.rng.Perm(w.cfg.Staff)
	for _, i := range all {
		if p := &w.people[i]; leavers > 0 && p.until < w.cfg.Days-3 {
			leavers--
			for range 1 + w.rng.IntN(3) {
				w.night("leaver", i, p.until+w.rng.IntN(min(14, w.cfg.Days-p.until)), 3+w.rng.IntN(6))
			}
		}
	}
	w.oneOffs(11, anyone, func(_ *person, s *shift) {
		from := w.at(s.day, 22.5)
		if s.end > from-7200 {
			from = s.end + 3*3600
		}
		d := w.remote(s.person, from, from+900)
		w.caught("out-of-hours", false, func() {
			for i := range 3 + w.rng.IntN(4) {
				f := &w.facts[w.rng.IntN(len(w.facts))]
				w.visit(look{d, f.patient, 1 + w.few(.8), 0, misuse}, from+int64(i*120))
			}
		})
	})
	w.borrowed()
	w.glass()
}

// night plots a night at a virtual desktop with records of all sorts of people.
func (w *world) night(kind string, p int, day, patients int) {
	w.plot(day, func() {
		from := w.at(day, 21+2*w.rng.Float64())
		d := w.remote(p, from, from+int64(patients*90))
		w.caught(kind, false, func() {
			for i := range patients {
				f := &w.facts[w.rng.IntN(len(w.facts))]
				w.visit(look{d, f.patient, 1 + w.few(.8), 0, misuse}, from+int64(i*90))
			}
		})
	})
}

// dormant accounts are of people who are long away. It comes before all other
// misuse: who is away does nothing else.
func (w *world) dormant() {
	for _, i := range w.rng.Perm(w.cfg.Staff)[:w.count(2)] {
		p := &w.people[i]
		p.quiet = w.cfg.Days
		for _, s := range p.shifts {
			w.shifts[s].inRota = false
		}
		if p.until == w.cfg.Days {
			w.night("dormant", i, w.cfg.Days*4/5+w.rng.IntN(max(1, w.cfg.Days/5)), 8+w.rng.IntN(8))
		}
	}
}

// borrowed is somebody's account used by a colleague elsewhere, while its owner
// works on.
func (w *world) borrowed() {
	for range w.count(3) {
		w.serial(3, func(p *person, _ *shift) bool { return p.post.place == "inpatient" }, func(_ *person, s *shift) {
			at := one(w, w.placeOf("inpatient"))
			if at == s.ward {
				at = one(w, w.wards[at].partners)
			}
			d, t := w.sit(s, s.ward), w.when(s)
			d.device = one(w, w.wards[at].devices)
			w.caught("shared-credentials", false, func() {
				for _, p := range some(w, w.patientsOf(at, s), 6+w.rng.IntN(6)) {
					t = w.visit(look{d, p, 1 + w.few(1), .2, misuse}, t) + int64(w.rng.IntN(300))
				}
			})
		})
	}
}

// twoPlaces is an account that two people use for an hour, each at a workstation of
// a ward of their own.
func (w *world) twoPlaces() {
	w.oneOffs(3, func(p *person, s *shift) bool { return p.post.place == "inpatient" && p.wardOn(s.day) == s.ward }, func(_ *person, s *shift) {
		w.apart(uint64(s.session), func() {
			wards := w.placeOf("inpatient")
			at := one(w, slices.DeleteFunc(slices.Clone(wards), func(i int) bool { return i == s.ward || len(wards) > 3 && slices.Contains(w.wards[s.ward].partners, i) }))
			begin := w.when(s)
			work := func(ward int, truth why) {
				d := w.sit(s, ward)
				d.device = w.wards[ward].devices[0]
				t := begin
				for _, p := range some(w, w.patientsOf(ward, s), 15) {
					t = w.visit(look{d, p, 2 + w.few(1), 0, truth}, t) + int64(w.rng.IntN(60))
				}
			}
			work(s.ward, known)
			w.caught("two-places", false, func() { work(at, misuse) })
		})
	})
}

// glass is the way through in an emergency, taken without one.
func (w *world) glass() {
	w.oneOffs(16, func(p *person, _ *shift) bool { return p.post.place == "inpatient" }, func(_ *person, s *shift) {
		f := &w.facts[w.rng.IntN(len(w.facts))]
		d, t := w.sit(s, s.ward), w.when(s)
		w.caught("break-glass", true, func() { w.emergency(look{d, f.patient, 2 + w.few(1), 0, misuse}, t, "clinical need") })
	})
}

// emergency breaks the glass and then looks.
func (w *world) emergency(l look, t int64, reason string) {
	from := len(w.buffer)
	a := l.line(w.micro(t), breakGlass, l.patient, l.truth)
	a.reason = reason
	w.add(a)
	w.visit(l, t+5)
	for i := range w.buffer[from:] {
		if b := &w.buffer[from+i]; b.patient >= 0 {
			b.glass = true
		}
	}
}

func reasons() []string {
	return []string{
		"cardiac arrest call", "transferred from other site, not yet on our list", "covering colleague on leave", "relative at desk, urgent medicines",
		"crash call", "ward moved this morning", "results phoned through by laboratory", "referral by telephone", "clinical need", "patient in resus",
	}
}
