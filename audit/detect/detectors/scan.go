package detectors

import (
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// fact is something that a visit was, besides its relation.
type fact uint16

const (
	searched fact = 1 << iota // the person had searched just before
	offDuty                   // every look outside the rota
	glass                     // through break-glass
	wrote                     // the person wrote in the record on that day
	covering                  // the person wrote for others of the patient's ward on that day
	noCare                    // the patient has no care around that day
	pastCare                  // the patient's care ended before that
	weakly                    // every look has a weak explanation
	ours                      // the last care of the patient was where the person works
)

// Visit is what one person did to one patient on one day and is not explained by
// strong evidence. Own records are visits whatever explains them.
type visit struct {
	person, patient uint32
	day             int32    // days since 1970 in the hospital's time zone
	rows            []uint32 // of the table: the looks that are not explained
	looks           int      // explained ones too
	ward            uint32   // where the patient lay
	relation        relation
	facts           fact
	screens         []uint32 // words of the rows
	again           int32    // days of the last thirty with a look at the same patient
	againLooks      int32
	mates           int32 // patients of the last 28 days who work here
	crowd           int32 // departments around the patient within a week
	signals         []Signal
}

func (v *visit) is(f fact) bool { return v.facts&f != 0 }

// day is what one person did on one day.
type day struct {
	person      uint32
	date        int32
	visits      []visit // of the day, those that are kept
	patients    int32   // distinct
	burst       int32   // most patients within ten minutes
	sequence    int32   // most patients whose numbers are neighbours
	taken       int32   // printed or exported
	denied      int32
	searches    int32
	offDuty     int32    // patients of visits outside the rota
	leaps       int32    // moves that one person cannot make, see travel
	pingPong    int32    // changes between workstations of two wards within ten minutes
	gap         int32    // days of silence before
	afterEnd    int32    // days since the employment ended; 0 when it has not
	unexplained int32    // patients of visits without a sign of work there
	mostOfWard  int32    // of them of one ward
	slow        int32    // patients without care of the last 28 days
	skew        float64  // minus the logarithm of the chance of their sex and age
	unlike      int32    // looks that are unlike the role, see mismatch
	rows        []uint32 // of everything that a volume is about
	signals     []Signal
}

// scanned is everything that one pass over the table found.
type scanned struct {
	*index
	days   []day          // in the order of person and date
	visits map[string]int // of everybody in a role, explained ones too
	active map[string]int // person-days of a role
	mix    map[string]*[groups]int
	habits map[string]*habit // of each role and profession, and of everybody

	parts   []uint32 // what part of a record each word is about
	partsOf map[string]usual

	silences []Silence
}

// scan goes over the accesses of each person in the order of time.
func scan(in Input) *scanned {
	x := newIndex(in)
	s := &scanned{index: x, visits: map[string]int{}, active: map[string]int{}, mix: map[string]*[groups]int{}, habits: map[string]*habit{}}
	order, starts := byPerson(x.t)
	n := len(x.people)
	found := make([][]day, n)
	counts := make([]tally, n)
	var group sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			w := newWalker(x, in.Explained)
			for p := range next {
				found[p], counts[p] = w.walk(uint32(p), order[starts[p]:starts[p+1]]) //nolint:gosec // people are numbered in 32 bits
			}
		})
	}
	for p := 1; p < n && in.Progress.Add(int(starts[p+1]-starts[p])); p++ {
		if !x.people[p].machine {
			next <- p
		}
	}
	close(next)
	group.Wait()
	days := 0
	for p := range found {
		days += len(found[p])
	}
	s.days = make([]day, 0, days)
	for p := range found {
		s.count(&x.people[p], len(found[p]), &counts[p])
	}
	for p := range found {
		s.mismatch(uint32(p), found[p], order[starts[p]:starts[p+1]], &counts[p])
		s.days = append(s.days, found[p]...)
		found[p] = nil // of many people it is much
	}
	return s
}

// tally is what the peers are measured by.
type tally struct {
	visits int
	groups [groups]int
	words  map[uint32]int
}

func (s *scanned) count(p *person, days int, t *tally) {
	if len(t.words) > 0 {
		for _, name := range []string{p.role, ofProfession + p.profession, everybody} {
			if s.habits[name] == nil {
				s.habits[name] = &habit{words: map[uint32]doing{}}
			}
			s.habits[name].add(t)
		}
	}
	for _, name := range []string{p.role, everybody} {
		s.visits[name] += t.visits
		s.active[name] += days
		mix := s.mix[name]
		if mix == nil {
			mix = new([groups]int)
			s.mix[name] = mix
		}
		for g, c := range t.groups {
			mix[g] += c
		}
	}
}

// byPerson sorts the rows by person, each in the order of time.
func byPerson(t *table.Table) (order, starts []uint32) {
	starts = make([]uint32, t.People.Len()+2)
	for _, p := range t.Person {
		starts[p+2]++
	}
	for i := 2; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	order = make([]uint32, t.Len())
	for row, p := range t.Person {
		order[starts[p+1]] = uint32(row)
		starts[p+1]++
	}
	return order, starts[:len(starts)-1]
}

// walker goes over one person's rows. It is used again for the next.
type walker struct {
	*index
	explained []Strength
	actions   []action
	wards     map[uint32]int // where the person wrote on the day that is settled
}

// today is one person's day as far as it has been gone over.
type today struct {
	day
	at       map[uint32]int // patient → place among seen
	seen     []seen
	recent   []recent // of the last ten minutes
	inRecent map[uint32]int
	search   searchMade
	desk     place
	last     spot
}

func newToday() *today { return &today{at: map[uint32]int{}, inRecent: map[uint32]int{}} }

// begin makes room for the next day.
func (d *today) begin(who uint32, date int32) {
	clear(d.at)
	clear(d.inRecent)
	d.day = day{person: who, date: date}
	d.recent, d.seen, d.search, d.desk, d.last = d.recent[:0], d.seen[:0], searchMade{}, place{}, spot{}
}

// seen is one patient on one day, explained or not.
type seen struct {
	visit
	weak int
	at   int64 // of the first look
}

type recent struct {
	at      int64
	patient uint32
}

// action is what a word of the table says was done.
type action uint8

const (
	looking action = iota
	searching
	writing
	taking
	coming
)

func newWalker(x *index, explained []Strength) *walker {
	w := &walker{index: x, explained: explained, wards: map[uint32]int{}}
	w.learnWords()
	return w
}

// learnWords finds out what the words say that the table has and the walker does
// not know yet.
func (w *walker) learnWords() {
	for i := len(w.actions); i < w.t.Words.Len(); i++ {
		what := looking
		verb, _, _ := strings.Cut(w.t.Words.Text(uint32(i)), " ") //nolint:gosec // words are few
		switch verb {
		case "search", "list":
			what = searching
		case "create", "update", "delete":
			what = writing
		case "print", "export":
			what = taking
		case "sign-in", "sign-out":
			what = coming
		}
		w.actions = append(w.actions, what)
	}
}

// walk finds the days of a person. rows are theirs.
func (w *walker) walk(who uint32, rows []uint32) ([]day, tally) {
	var out []day
	var t tally
	t.words = map[uint32]int{}
	last := w.silence(who)
	d := newToday()
	for len(rows) > 0 {
		from, to, date := w.bounds(w.t.At[rows[0]])
		n := 0
		for n < len(rows) && w.t.At[rows[n]] < to {
			n++
		}
		d.begin(who, date)
		for _, row := range rows[:n] {
			w.take(d, row, &t)
		}
		w.settle(d)
		t.visits += len(d.seen)
		w.rested(&d.day, from, last)
		last = from
		if d.patients > 0 {
			out = append(out, d.day)
		}
		rows = rows[n:]
	}
	return out, t
}

// silence is from when on somebody is silent before they are seen first: since the
// records begin or since they work here.
func (w *walker) silence(who uint32) int64 {
	if w.t.Len() == 0 {
		return 0
	}
	if p := &w.people[who]; p.start != 0 {
		from, _, _ := w.bounds(w.t.At[0])
		return max(from, p.start)
	}
	return 0
}

// bounds are the beginning and end of the day of a moment, and its number.
func (x *index) bounds(at int64) (from, to int64, date int32) {
	y, m, d := time.UnixMicro(at).In(x.location).Date()
	from = time.Date(y, m, d, 0, 0, 0, 0, x.location).UnixMicro()
	to = time.Date(y, m, d+1, 0, 0, 0, 0, x.location).UnixMicro()
	return from, to, int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400) //nolint:gosec // days
}

// rested says how long somebody was silent before a day that begins at from, and
// whether they still work here. last is the beginning of their day before, or 0.
func (w *walker) rested(d *day, from, last int64) {
	if last != 0 {
		d.gap = int32((from - last) / dayLong) //nolint:gosec // days
	}
	if end := w.people[d.person].end; end != 0 && from >= end {
		d.afterEnd = 1 + int32((from-end)/dayLong) //nolint:gosec // days
	}
}

// take takes the next row of a day in.
func (w *walker) take(d *today, row uint32, t *tally) {
	switch w.actions[w.t.Word[row]] {
	case searching:
		d.searches++
		d.search = searchMade{w.t.At[row], w.t.Session[row]}
	case coming:
		return
	default:
	}
	if w.t.Flags[row]&table.Refused != 0 {
		d.denied++
	}
	if !w.t.Counts(int(row)) || w.actions[w.t.Word[row]] == searching {
		return
	}
	w.look(d, row, t)
	w.travel(d, row)
	if w.explained[row] != Strong {
		w.move(d, row)
	} else {
		d.desk.own(w.index, row)
	}
}

type searchMade struct {
	at      int64
	session uint32
}

// look counts one look.
func (w *walker) look(d *today, row uint32, t *tally) {
	n := w.canon[w.t.Patient[row]]
	i, ok := d.at[n]
	if !ok {
		i = len(d.seen)
		d.at[n] = i
		d.seen = append(d.seen, seen{visit: visit{person: d.person, patient: n, day: d.date, facts: offDuty, relation: w.relate(d.person, n)}, at: w.t.At[row]})
		w.sequence(d)
		if g := w.patients[n].group; g >= 0 {
			t.groups[g]++
		}
		if at := w.t.At[row]; d.search.at != 0 && d.search.session == w.t.Session[row] && at-d.search.at < 90*micros {
			d.seen[i].facts |= searched
		}
	}
	v := &d.seen[i]
	v.looks++
	word := w.t.Word[row]
	t.words[word]++
	switch w.actions[word] {
	case writing:
		v.facts |= wrote
	case taking:
		d.taken++
		d.rows = append(d.rows, row)
	default:
	}
	if w.t.Flags[row]&table.BreakGlass != 0 {
		v.facts |= glass
	}
	if v.facts&offDuty != 0 && (!w.has[feeds.RotaFeed] || w.people[d.person].onDuty(w.t.At[row])) {
		v.facts &^= offDuty
	}
	w.crowd(d, w.t.At[row], n)
	if strength := w.explained[row]; strength != Strong || v.relation&own != 0 {
		v.rows = append(v.rows, row)
		v.screens = append(v.screens, word)
		if strength == Weak {
			v.weak++
		}
	}
}

// sequence follows patients whose numbers are neighbours.
func (w *walker) sequence(d *today) {
	if len(d.seen) < 2 {
		d.sequence = 1
		return
	}
	run := int32(1)
	for i := len(d.seen) - 1; i > 0; i-- {
		a, okA := number(w.ids.Text(d.seen[i].patient))
		b, okB := number(w.ids.Text(d.seen[i-1].patient))
		if !okA || !okB || a-b != 1 && b-a != 1 {
			break
		}
		run++
	}
	d.sequence = max(d.sequence, run)
}

// number is the number at the end of an id.
func number(id string) (n int64, ok bool) {
	end := len(id)
	from := end
	for from > 0 && id[from-1] >= '0' && id[from-1] <= '9' && end-from < 18 {
		from--
	}
	for _, c := range []byte(id[from:]) {
		n = 10*n + int64(c-'0')
	}
	return n, from < end
}

// crowd counts the patients of the last ten minutes.
func (*walker) crowd(d *today, at int64, n uint32) {
	d.recent = append(d.recent, recent{at, n})
	d.inRecent[n]++
	for d.recent[0].at < at-600*micros {
		if old := d.recent[0].patient; d.inRecent[old] == 1 {
			delete(d.inRecent, old)
		} else {
			d.inRecent[old]--
		}
		d.recent = d.recent[1:]
	}
	d.burst = max(d.burst, int32(len(d.inRecent))) //nolint:gosec // patients of ten minutes
}

// place is where somebody was seen last at work that is explained.
type place struct {
	ward uint32
	at   int64
}

func (p *place) own(x *index, row uint32) {
	if ward := x.devices[x.t.Device[row]]; ward != 0 {
		*p = place{ward, x.t.At[row]}
	}
}

// move counts a look at another ward's workstation within minutes of work here.
func (w *walker) move(d *today, row uint32) {
	ward := w.devices[w.t.Device[row]]
	if ward != 0 && d.desk.ward != 0 && ward != d.desk.ward && w.t.At[row]-d.desk.at < 600*micros {
		d.pingPong++
	}
}

// settle keeps what is not explained and finds out about it what takes longer. When
// more of the day has come it is settled again.
func (w *walker) settle(d *today) {
	p := &w.people[d.person]
	d.visits, d.unexplained, d.mostOfWard, d.offDuty = nil, 0, 0, 0
	d.patients = int32(len(d.seen)) //nolint:gosec // patients of one day
	clear(w.wards)
	for i := range d.seen {
		v := &d.seen[i].visit
		if v.is(wrote) {
			if ward := w.patients[v.patient].wardAt(d.seen[i].at); ward != 0 {
				w.wards[ward]++
			}
		}
	}
	ofWard := map[uint32]int32{}
	for i := range d.seen {
		v := &d.seen[i]
		if len(v.rows) == 0 {
			continue
		}
		w.about(p, v)
		if !v.is(wrote) && !v.is(covering) && !v.is(weakly) {
			d.unexplained++
			if v.ward != 0 {
				ofWard[v.ward]++
				d.mostOfWard = max(d.mostOfWard, ofWard[v.ward])
			}
			if v.is(offDuty) {
				d.offDuty++
			}
		}
		d.visits = append(d.visits, v.visit)
	}
}

// about finds out what a visit was.
func (w *walker) about(p *person, v *seen) {
	at := w.t.At[v.rows[0]]
	q := &w.patients[v.patient]
	v.ward = q.wardAt(at)
	if v.weak == len(v.rows) {
		v.facts |= weakly
	}
	if v.ward != 0 && w.wards[v.ward] >= 2 {
		v.facts |= covering
	}
	if w.has[feeds.CareFeed] {
		end, lastWard, around := q.lastCare(at)
		switch {
		case around:
		case end != 0 && at-end < 90*dayLong:
			v.facts |= pastCare
			if lastWard != 0 && w.works(p, lastWard, at) {
				v.facts |= ours
			}
		default:
			v.facts |= noCare
		}
	}
}
