package simulate

// fact is one stretch or event of care, as the care file has it, unless it is
// lost on the way.
type fact struct {
	patient    int32
	kind       kind
	ward       int32 // -1: none
	visit      int32
	start, end int64 // end 0: it goes on, or it is a moment
	team       string
	letter     bool // it waits for a secretary of the team
	people     []int32
	lost       bool
	late       int64 // seconds by which the feed has its start too late
}

type kind uint8

const (
	inpatient kind = iota
	emergency
	outpatient
	referral
	order
	result
	theatre
	document
	team
	task
)

func (k kind) String() string {
	return [...]string{"inpatient", "emergency", "outpatient", "referral", "order", "result", "theatre", "document", "team", "task"}[k]
}

// queue is the work list that a fact stands on.
func (f *fact) queue() string {
	if f.letter {
		return "letters of " + f.team
	}
	return f.team
}

// care makes everything that happens to patients, day by day.
func (w *world) care() {
	days := w.cfg.Days + warm
	w.placeD = make([][][]int32, len(w.wards))
	w.leftD = make([][]int32, len(w.wards))
	for i := range w.placeD {
		w.placeD[i] = make([][]int32, days+1)
	}
	w.teamD = map[string][][]int32{}
	w.ownD = make([]map[int][]int32, len(w.people))
	beds := make([][]int64, len(w.wards)) // when each bed is free again
	for d := -warm; d < w.cfg.Days; d++ {
		for i := range w.wards {
			switch w.wards[i].kind {
			case "inpatient":
				if beds[i] == nil {
					beds[i] = make([]int64, w.wards[i].beds)
				}
				w.admit(i, d, beds[i])
			case "emergency":
				w.attend(i, d)
			case "outpatient":
				if !w.weekend(d) {
					w.clinic(i, d)
				}
			}
		}
		w.requests(d)
		w.meetings(d)
	}
}

// record keeps a fact and returns its number.
func (w *world) record(f fact) int32 {
	n := int32(len(w.facts))
	f.lost = f.lost || w.chance(w.cfg.CareLoss)
	if f.kind == inpatient && w.chance(.05) {
		f.late = int64(w.rng.IntN(4 * 3600))
	}
	w.facts = append(w.facts, f)
	from := w.dayOf(f.start)
	if f.ward >= 0 {
		to := from
		if f.end > 0 {
			to = w.dayOf(f.end)
		}
		for d := from; d <= min(to, w.cfg.Days); d++ {
			w.placeD[f.ward][d+warm] = append(w.placeD[f.ward][d+warm], n)
		}
	}
	if queue := f.queue(); queue != "" {
		if w.teamD[queue] == nil {
			w.teamD[queue] = make([][]int32, w.cfg.Days+warm+30)
		}
		if d := from + warm; d < len(w.teamD[queue]) {
			w.teamD[queue][d] = append(w.teamD[queue][d], n)
		}
	}
	for _, p := range f.people {
		if w.ownD[p] == nil {
			w.ownD[p] = map[int][]int32{}
		}
		w.ownD[p][from] = append(w.ownD[p][from], n)
	}
	return n
}

// on lists the facts of a ward that touch a day, which may lie before the first.
func (w *world) on(place, day int) []int32 {
	if d := day + warm; d >= 0 && d < len(w.placeD[place]) {
		return w.placeD[place][d]
	}
	return nil
}

// due lists the facts of a team that begin on a day.
func (w *world) due(team string, day int) []int32 {
	if all := w.teamD[team]; day+warm >= 0 && day+warm < len(all) {
		return all[day+warm]
	}
	return nil
}

// someone draws a patient who is not in hospital: now and then a member of staff
// or of their household, as everybody else.
func (w *world) someone(specialty string, until int64, from int64) int32 {
	for {
		i := w.rng.IntN(len(w.patients))
		p := &w.patients[i]
		age := 40
		if specialty == "children" || specialty == "maternity" || specialty == "older people" {
			age = w.age(p.born)
		}
		switch {
		case p.inUntil > from, specialty == "children" && age > 16, specialty == "maternity" && (p.sex != "female" && age > 1 || age > 45 || age > 1 && age < 16),
			specialty == "older people" && age < 65:
			continue
		}
		p.inUntil = max(p.inUntil, until)
		return int32(i)
	}
}

func (w *world) doctors(place int, n int) []int32 {
	var out []int32
	all := w.wards[place].doctors
	for i := range min(n, len(all)) {
		out = append(out, int32(all[(i+w.rng.IntN(len(all)))%len(all)]))
	}
	return out
}

// admit fills the beds that are free on a day.
func (w *world) admit(place, day int, beds []int64) {
	for b := range beds {
		if beds[b] > w.at(day, 12) || !w.chance(.8) {
			continue
		}
		start := max(w.at(day, 8+14*w.rng.Float64()), beds[b]+1800)
		stay := int64((0.3 + w.rng.ExpFloat64()*4.2) * 86400)
		end := min(start+stay, start+40*86400)
		beds[b] = end
		p := w.someone(w.wards[place].specialty, end, start)
		w.stay(place, p, start, end)
	}
}

// stay is an admission with what hangs on it: arrival through the emergency
// department, a transfer, orders and results, referrals, coding.
func (w *world) stay(place int, p int32, start, end int64) {
	w.number++
	visit := int32(w.number)
	if emergencies := w.placeOf("emergency"); w.chance(.5) {
		at := one(w, emergencies)
		arrive := start - 3600*int64(2+w.rng.IntN(5))
		w.record(fact{patient: p, kind: emergency, ward: int32(at), visit: visit, start: arrive, end: start, people: w.doctors(at, 1)})
	}
	last := place
	leave := end
	if w.chance(.15) && end-start > 2*86400 {
		leave = start + (end-start)/2
		last = one(w, w.wards[place].partners)
	}
	n := w.record(fact{patient: p, kind: inpatient, ward: int32(place), visit: visit, start: start, end: leave, people: w.doctors(place, 2)})
	if last != place {
		w.leftD[place] = append(w.leftD[place], n)
		n = w.record(fact{patient: p, kind: inpatient, ward: int32(last), visit: visit, start: leave, end: end, people: w.doctors(last, 2)})
	}
	w.leftD[last] = append(w.leftD[last], n)
	for t := start; t < end; t += 86400 {
		for range w.few(1.2) {
			w.test(p, place, visit, t+int64(w.rng.IntN(30000)))
		}
	}
	for _, r := range []struct {
		team  string
		share float64
	}{{"therapies", .5}, {"pharmacy", .8}, {"outreach", .07}, {"site-office", .9}} {
		if w.chance(r.share) {
			k := referral
			if r.team == "pharmacy" || r.team == "site-office" {
				k = task
			}
			w.record(fact{patient: p, kind: k, ward: -1, visit: visit, start: start + int64(w.rng.IntN(40000)), team: r.team})
		}
	}
	if surgical := w.wards[place].specialty; (surgical == "general surgery" || surgical == "trauma and orthopaedics" || surgical == "urology" || surgical == "gynaecology") && w.chance(.6) {
		at := one(w, w.placeOf("theatre"))
		t := w.at(w.dayOf(start)+1, 8+8*w.rng.Float64())
		w.record(fact{patient: p, kind: theatre, ward: int32(at), visit: visit, start: t, end: t + 7200, people: append(w.doctors(at, 1), w.doctors(place, 1)...)})
	}
	w.record(fact{patient: p, kind: task, ward: -1, visit: visit, start: end + int64(w.rng.IntN(5*86400)), team: "coding"})
}

// test is an order and, later, its result for whoever asked.
func (w *world) test(p int32, place int, visit int32, t int64) {
	who := w.doctors(place, 1)
	room := []string{"radiology", "phlebotomy", "phlebotomy", "laboratory"}[w.rng.IntN(4)]
	w.record(fact{patient: p, kind: order, ward: -1, visit: visit, start: t, team: room, people: who})
	w.record(fact{patient: p, kind: result, ward: -1, visit: visit, start: t + 3600*int64(2+w.rng.IntN(20)), people: who})
}

// attend fills the emergency department for a day.
func (w *world) attend(place, day int) {
	for range w.few(float64(w.cfg.Staff) * .075 / float64(len(w.placeOf("emergency"))) * 2) {
		t := w.at(day, 24*w.rng.Float64())
		end := t + 3600*int64(1+w.rng.IntN(5))
		p := w.someone("", end, t)
		w.number++
		visit := int32(w.number)
		w.record(fact{patient: p, kind: emergency, ward: int32(place), visit: visit, start: t, end: end, people: w.doctors(place, 1)})
		if w.chance(.4) {
			w.test(p, place, visit, t+1800)
		}
	}
}

// clinic is the list of one clinic for a day, with letters and tests after it.
func (w *world) clinic(place, day int) {
	for range w.few(float64(w.cfg.Staff) * .55 / float64(len(w.placeOf("outpatient")))) {
		t := w.at(day, 9+float64(w.rng.IntN(30))/4)
		p := w.someone(w.wards[place].specialty, 0, t)
		w.number++
		visit := int32(w.number)
		who := w.doctors(place, 1)
		w.record(fact{patient: p, kind: outpatient, ward: int32(place), visit: visit, start: t, end: t + 1800, team: w.wards[place].team(), people: who})
		w.record(fact{patient: p, kind: document, ward: -1, visit: visit, start: t + 86400, team: w.wards[place].team(), letter: true, people: who})
		if w.chance(.3) {
			w.test(p, place, visit, t+3600)
		}
	}
}

// requests are tasks of offices that concern single patients.
func (w *world) requests(day int) {
	for range w.few(float64(w.cfg.Staff) * .02) {
		p := int32(w.rng.IntN(len(w.patients)))
		w.record(fact{patient: p, kind: task, ward: -1, start: w.at(day, 8), team: "records", lost: w.chance(.1)})
	}
	if w.chance(float64(w.cfg.Staff) / 6000) { // a clinical audit of old cases; one in four is not registered
		who := one(w, w.wards[one(w, w.placeOf("inpatient"))].doctors)
		lost := w.chance(.25)
		for range 40 + w.rng.IntN(40) {
			p := int32(w.rng.IntN(len(w.patients)))
			w.record(fact{patient: p, kind: task, ward: -1, start: w.at(day, 8), end: w.at(day+28, 0), team: "clinical-audit", people: []int32{int32(who)}, lost: lost})
		}
	}
}

// meetings are the weekly case conferences of a specialty: everybody opens the
// same dozen records. One in seven leaves no trace in the feed.
func (w *world) meetings(day int) {
	for i, s := range specialties() {
		if w.weekend(day) || int(w.cfg.Start.AddDate(0, 0, day).Weekday())-1 != i%5 {
			continue
		}
		var who []int32
		var patients []int32
		for j := range w.wards {
			if w.wards[j].specialty != s || w.wards[j].kind == "outpatient" {
				continue
			}
			for k, d := range w.wards[j].doctors {
				if k < 4 {
					who = append(who, int32(d))
				}
			}
			for k, f := range w.on(j, day) {
				if k < 6 {
					patients = append(patients, w.facts[f].patient)
				}
			}
		}
		lost := w.chance(.14)
		for _, p := range patients {
			w.record(fact{patient: p, kind: team, ward: -1, start: w.at(day, 12.5), end: w.at(day, 13.5), team: "mdt-" + s, people: who, lost: lost})
		}
	}
}
