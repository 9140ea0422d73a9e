package simulate

import "slices"

// action is what was done, as the accesses file names it.
type action uint8

const (
	read action = iota
	search
	list
	create
	update
	printed
	exported
	signIn
	signOut
	breakGlass
)

func (a action) String() string {
	return [...]string{"read", "search", "list", "create", "update", "print", "export", "sign-in", "sign-out", "break-glass"}[a]
}

// why is the truth about an access. It is written nowhere: tests count it.
type why uint8

const (
	system     why = iota // sign-in, search, a machine: no look at a patient
	incidental            // a list or a prefetch: nobody chose the patient
	known                 // a feed knows the reason
	charted               // no feed does, but the person wrote in the record
	unknown               // work, for a reason that no feed knows
	misuse
)

// access is one line of the accesses file.
type access struct {
	at         int64 // microseconds
	order      int
	person     int32
	patient    int32 // -1: none
	many       []int32
	action     action
	device     int32
	session    int32
	results    uint32
	bytes      uint32
	screen     string
	reason     string
	deliberate int8 // 1, 0, -1 unknown
	glass      bool
	why        why
}

// desk is where and as whom somebody sits.
type desk struct {
	person  int
	session int
	device  int
}

func (w *world) add(a access) {
	w.number++
	a.order = w.number
	w.buffer = append(w.buffer, a)
}

// sit finds a workstation of a ward, or a virtual one.
func (w *world) sit(s *shift, place int) desk {
	d := desk{person: s.person, session: s.session, device: one(w, w.wards[place].devices)}
	if w.chance(.06) {
		d.device = w.virtual()
	}
	return d
}

func (w *world) virtual() int { return w.placed + w.rng.IntN(len(w.devices)-w.placed) }

// line makes an access at a desk.
func (d desk) line(t int64, what action, p int32, truth why) access {
	return access{
		at: t, person: int32(d.person), session: int32(d.session), device: int32(d.device),
		action: what, patient: p, why: truth, deliberate: 1,
	}
}

func (w *world) micro(t int64) int64 { return t*1e6 + int64(w.rng.IntN(1e6)) }

func screens() []string {
	return []string{"summary", "results", "notes", "observations", "medicines", "letters", "orders", "history"}
}

// sensitive are the parts of a record that few have work in.
func sensitive() []string { return []string{"sexual-health", "psychiatry", "safeguarding"} }

// look is one visit to one record: it is opened and leafed through.
type look struct {
	desk
	patient int32
	opens   int
	writes  float64 // chance that something is written
	truth   why
}

// visit acts out a look and returns when it is over.
func (w *world) visit(l look, t int64) int64 {
	at := w.micro(t)
	write := w.chance(l.writes)
	if l.truth == unknown && write {
		l.truth = charted
	}
	if l.truth != misuse && w.chance(.12) {
		s := l.line(at, search, -1, system)
		s.results = uint32(1 + w.few(2))
		w.add(s)
		at += int64(3+w.rng.IntN(12)) * 1e6
	}
	for i := range l.opens {
		a := l.line(at, read, l.patient, l.truth)
		a.screen = "summary"
		if i > 0 {
			a.screen = one(w, screens())
			often := .0001
			if w.people[l.person].post.role == "doctor" {
				often = .01
			}
			if w.chance(often) {
				a.screen = one(w, sensitive())
			}
		}
		a.bytes = uint32(2000 + w.rng.IntN(60000))
		if l.truth != misuse && w.chance(.08) {
			a.deliberate = -1
		}
		if write && i == l.opens-1 {
			a.action = []action{create, update}[w.rng.IntN(2)]
			a.screen = []string{"notes", "observations", "medicines", "orders"}[w.rng.IntN(4)]
		}
		w.add(a)
		at += int64(8+w.rng.IntN(90)) * 1e6
	}
	return at/1e6 + 1
}

// when draws a moment of a shift.
func (w *world) when(s *shift) int64 {
	return s.start + 300 + int64(w.rng.Float64()*float64(s.end-s.start-1200))
}

// patientsOf are those whom facts of a ward place there during a shift.
func (w *world) patientsOf(place int, s *shift) []int32 {
	var out []int32
	seen := map[int32]bool{}
	for _, day := range []int{s.day, s.day + 1} {
		if day > s.day && s.end < w.at(day, 0) {
			continue
		}
		for _, n := range w.on(place, day) {
			f := &w.facts[n]
			if f.start < s.end && (f.end == 0 || f.end > s.start-7200) && !seen[f.patient] {
				seen[f.patient] = true
				out = append(out, f.patient)
			}
		}
	}
	return out
}

// some draws up to n of them, each once.
func some[T any](w *world, from []T, n int) []T {
	from = slices.Clone(from)
	w.rng.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	return from[:min(n, len(from))]
}

// dueFrom lists the patients of a team's facts that began on the last days.
func (w *world) dueFrom(team string, day, back int) []int32 {
	var out []int32
	for d := day - back; d <= day; d++ {
		for _, n := range w.due(team, d) {
			out = append(out, w.facts[n].patient)
		}
	}
	return out
}

// round is a number of visits to patients of one kind of work.
type round struct {
	patients []int32
	count    int // of them
	times    int // each
	opens    float64
	writes   float64
	place    int // where it is done
}

// work acts out a shift.
func (w *world) work(s *shift) {
	p := &w.people[s.person]
	if s.day < p.quiet {
		return
	}
	w.session++
	s.session = w.session
	d := w.sit(s, s.ward)
	w.add(d.line(w.micro(s.start-int64(w.rng.IntN(600))), signIn, -1, system))
	w.add(d.line(w.micro(s.end+int64(w.rng.IntN(900))), signOut, -1, system))
	for _, r := range w.rounds(p, s) {
		for _, patient := range some(w, r.patients, r.count) {
			for range r.times {
				l := look{w.sit(s, r.place), patient, 1 + w.few(r.opens), r.writes, known}
				if w.chance(.0012) {
					w.emergency(l, w.when(s), one(w, reasons()))
					continue
				}
				w.visit(l, w.when(s))
				if w.chance(w.cfg.Noise) {
					w.stray(s)
				}
			}
		}
	}
	if of := w.patientsOf(s.ward, s); len(of) > 0 && w.chance(.5) { // the board of the ward
		a := w.sit(s, s.ward).line(w.micro(s.start+600), list, -1, incidental)
		a.many, a.deliberate, a.screen = of, 0, "ward-board"
		w.add(a)
	}
	w.named(p, s)
	if p.post.role == "bed-manager" {
		w.browse(s)
	}
}

// rounds are the patients that a job brings.
func (w *world) rounds(p *person, s *shift) []round {
	here := func() []int32 { return w.patientsOf(s.ward, s) }
	switch p.post.place {
	case "inpatient":
		switch p.post.role {
		case "doctor":
			return w.medicalRounds(s)
		case "ward-clerk":
			return []round{{here(), 18, 2, 1, .2, s.ward}}
		case "healthcare-assistant":
			return []round{{here(), 8, 2, 1, .5, s.ward}}
		case "student-nurse":
			return []round{{here(), 6, 2, 1.2, .1, s.ward}}
		}
		return []round{{here(), 8, 3, 1.3, .4, s.ward}, {here(), 3, 1, .3, 0, s.ward}}
	case "emergency":
		if p.post.role == "receptionist" {
			return []round{{here(), 40, 1, .4, .3, s.ward}}
		}
		return []round{{here(), 14, 2, 1.4, .5, s.ward}}
	case "theatre":
		return []round{{here(), 7, 2, 1.5, .5, s.ward}}
	case "outpatient":
		return w.clinicRounds(p, s)
	case "pharmacy":
		return []round{{w.dueFrom("pharmacy", s.day, 1), 26, 1, 1.2, .3, s.ward}}
	case "therapies":
		return []round{{w.dueFrom("therapies", s.day, 5), 12, 1, 2, .7, s.ward}}
	case "radiology", "phlebotomy", "laboratory":
		return []round{{w.dueFrom(p.post.place, s.day, 0), 32, 1, .5, .6, s.ward}}
	case "coding":
		return []round{{w.dueFrom("coding", s.day, 3), 26, 1, 2.5, .5, s.ward}}
	case "site-office":
		return []round{{w.dueFrom("site-office", s.day, 0), 30, 1, .3, .1, s.ward}}
	case "outreach":
		return []round{{w.dueFrom("outreach", s.day, 3), 14, 1, 2, .8, s.ward}}
	case "records":
		return []round{{w.dueFrom("records", s.day, 2), 22, 1, 1, .1, s.ward}}
	}
	return nil
}

// medicalRounds are the ward, and by night its neighbours.
func (w *world) medicalRounds(s *shift) []round {
	out := []round{{w.patientsOf(s.ward, s), 15, 1, 1.6, .5, s.ward}}
	if s.onCall {
		n := len(w.placeOf("inpatient"))
		for i := 1; i <= 3; i++ {
			at := (s.ward + i) % n
			out = append(out, round{w.patientsOf(at, s), 4, 1, 1.5, .7, at})
		}
	}
	return append(out, round{w.left(s.ward, s.day, 0, 14), 2, 1, 1, .3, s.ward})
}

func (w *world) clinicRounds(p *person, s *shift) []round {
	today := w.patientsOf(s.ward, s)
	switch p.post.role {
	case "receptionist":
		return []round{{today, 30, 1, .4, .4, s.ward}, {w.dueFrom(w.wards[s.ward].team(), s.day+1, 0), 10, 1, .3, 0, s.ward}}
	case "medical-secretary":
		return []round{{w.dueFrom("letters of "+w.wards[s.ward].team(), s.day, 2), 22, 1, 1, .5, s.ward}}
	case "doctor":
		return nil // the list that names them, see named
	}
	return []round{{today, 18, 1, 1, .5, s.ward}}
}

// left lists who left a ward between so many days ago.
func (w *world) left(place, day, from, to int) []int32 {
	var out []int32
	after, before := w.at(day-to, 0), w.at(day-from+1, 0)
	for _, n := range w.leftD[place] {
		if f := &w.facts[n]; f.end >= after && f.end < before {
			out = append(out, f.patient)
		}
	}
	return out
}

// named are the patients whose papers name the person: the clinic list, results,
// letters, a case conference, a clinical audit.
func (w *world) named(p *person, s *shift) {
	results := 0
	for day := s.day - 1; day <= s.day; day++ {
		for _, n := range w.ownD[s.person][day] {
			f := &w.facts[n]
			t := max(f.start, s.start+300)
			if t >= s.end {
				continue
			}
			switch {
			case f.kind == outpatient && day == s.day, f.kind == theatre && day == s.day:
				w.visit(look{w.sit(s, s.ward), f.patient, 1 + w.few(2), .8, known}, t)
			case f.kind == result && results < 12 && w.chance(.7):
				results++
				w.visit(look{w.sit(s, s.ward), f.patient, 1 + w.few(.6), .15, known}, t+int64(w.rng.IntN(3600)))
			case f.kind == document && w.chance(.5):
				w.visit(look{w.sit(s, s.ward), f.patient, 1, .7, known}, w.when(s))
			case f.kind == team && day == s.day:
				w.visit(look{w.sit(s, s.ward), f.patient, 1 + w.few(.5), .05, w.truth(f)}, f.start+int64(w.rng.IntN(3000)))
			case f.kind == task && day == s.day:
				w.visit(look{w.sit(s, s.ward), f.patient, 1 + w.few(.3), 0, w.truth(f)}, s.start+3600+int64(w.rng.IntN(9000)))
			}
		}
	}
	if p.post.role == "doctor" && p.post.place == "inpatient" && w.chance(.25) { // a result that came long after discharge
		for _, patient := range some(w, w.left(s.ward, s.day, 15, 40), 1) {
			w.visit(look{w.sit(s, s.ward), patient, 2, .1, unknown}, w.when(s))
		}
	}
}

// truth is whether the feed has what brought somebody to a record.
func (w *world) truth(f *fact) why {
	if f.lost {
		return unknown
	}
	return known
}

// stray is work for which no feed has a reason.
func (w *world) stray(s *shift) {
	l := look{desk: w.sit(s, s.ward), opens: 1, truth: unknown}
	switch x := w.rng.Float64(); {
	case x < .3: // the wrong record: the next number, or somebody of the same name
		l.patient = int32(w.rng.IntN(len(w.patients)))
	case x < .6: // somebody telephones
		f := &w.facts[w.rng.IntN(len(w.facts))]
		l.patient, l.opens = f.patient, 1+w.few(.8)
	default: // an opinion on another ward, a bed for a guest
		at := s.ward
		if of := w.wards[at].partners; len(of) > 0 {
			at = one(w, of)
		} else {
			at = one(w, w.placeOf("inpatient"))
		}
		of := w.patientsOf(at, s)
		if len(of) == 0 {
			return
		}
		l.patient, l.opens, l.writes = one(w, of), 1+w.few(1.2), .3
	}
	w.visit(l, w.when(s))
}

// browse is a site manager who looks for beds in every ward.
func (w *world) browse(s *shift) {
	for _, at := range some(w, w.placeOf("inpatient"), 4) {
		of := w.patientsOf(at, s)
		if len(of) == 0 {
			continue
		}
		a := w.sit(s, at).line(w.micro(w.when(s)), list, -1, incidental)
		a.many, a.deliberate, a.screen = of, 0, "ward-board"
		w.add(a)
		w.visit(look{w.sit(s, s.ward), one(w, of), 1, 0, unknown}, w.when(s))
	}
}

// machines file results and fetch tomorrow's clinic lists.
func (w *world) machines(day int) {
	n := len(w.people)
	results, prefetch := desk{person: n - 3, device: w.placed}, desk{person: n - 2, device: w.placed}
	for _, room := range []string{"radiology", "phlebotomy", "laboratory"} {
		for _, f := range w.due(room, day) {
			a := results.line(w.micro(w.facts[f].start+7200), update, w.facts[f].patient, incidental)
			a.deliberate, a.screen = 0, "results"
			w.add(a)
		}
	}
	for _, at := range w.placeOf("outpatient") {
		for i, f := range w.due(w.wards[at].team(), day+1) {
			a := prefetch.line(w.micro(w.at(day, 3)+int64(i)), read, w.facts[f].patient, incidental)
			a.deliberate, a.screen = 0, "summary"
			w.add(a)
		}
	}
}
