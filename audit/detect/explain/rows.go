package explain

import (
	"runtime"
	"sync"

	"github.com/matron-epr/matron/audit/detect/table"
)

// Rows explains every row of a table, which is in the order of time: a column
// beside it. Rows that nobody looked at (incidental, refused, without a patient)
// have the zero Mask. progress may be nil.
func (e *Engine) Rows(t *table.Table, progress *table.Progress) []Mask {
	b := newBatch(e, t)
	b.elsewhere()
	ranges := make(chan [2]int)
	var group sync.WaitGroup
	found := make([]learned, runtime.GOMAXPROCS(0))
	for i := range found {
		group.Go(func() {
			w := newWalker(b)
			for r := range ranges {
				for n := r[0]; n < r[1]; n++ {
					w.patient(n)
				}
			}
			found[i] = w.learned
		})
	}
	b.split(ranges, progress)
	close(ranges)
	group.Wait()
	b.departments(found)
	b.rareParts()
	return b.masks
}

// batch is one table that is being explained.
type batch struct {
	*Engine
	t      *table.Table
	masks  []Mask
	person []uint32 // number of each person of the table in the engine, 0 is not known
	here   []uint32 // ward of each device of the table
	care   [][]care // of each patient, under the number in use
	order  []uint32 // rows by patient, each in the order of time
	starts []uint32
	writes []bool // of each word of the table
	before int64
	after  int64
}

func newBatch(e *Engine, t *table.Table) *batch {
	b := &batch{Engine: e, t: t, masks: make([]Mask, t.Len())}
	b.before, b.after = e.reach()
	b.person = make([]uint32, t.People.Len())
	for n := range b.person {
		b.person[n], _ = e.persons.Find(t.People.Text(uint32(n)))
	}
	b.here = make([]uint32, t.Devices.Len())
	for n := range b.here {
		b.here[n] = e.ward[t.Devices.Text(uint32(n))]
	}
	b.writes = make([]bool, t.Words.Len())
	for n := range b.writes {
		b.writes[n] = table.Writes(t.Words.Text(uint32(n)))
	}
	b.sort()
	return b
}

// sort orders the rows by the patient whose record was looked at, under the number
// that is in use now.
func (b *batch) sort() {
	ids := table.NewNames()
	canon := make([]uint32, b.t.Patients.Len())
	for n := 1; n < len(canon); n++ {
		canon[n] = ids.Number(b.InUse(b.t.Patients.Text(uint32(n))))
	}
	b.care = make([][]care, ids.Len())
	for n := 1; n < len(b.care); n++ {
		b.care[n] = b.of(ids.Text(uint32(n)))
	}
	b.starts = make([]uint32, ids.Len()+2)
	for row, p := range b.t.Patient {
		if b.t.Counts(row) {
			b.starts[canon[p]+2]++
		}
	}
	for i := 2; i < len(b.starts); i++ {
		b.starts[i] += b.starts[i-1]
	}
	b.order = make([]uint32, b.starts[len(b.starts)-1])
	for row, p := range b.t.Patient {
		if b.t.Counts(row) {
			b.order[b.starts[canon[p]+1]] = uint32(row)
			b.starts[canon[p]+1]++
		}
	}
	b.starts = b.starts[:len(b.starts)-1]
}

// split hands out patients in shares of about as many rows.
func (b *batch) split(to chan<- [2]int, progress *table.Progress) {
	const share = 1 << 15
	from := 0
	for n := range b.care {
		if rows := b.starts[n+1] - b.starts[from]; rows >= share {
			if !progress.Add(int(rows)) {
				return
			}
			to <- [2]int{from, n + 1}
			from = n + 1
		}
	}
	to <- [2]int{from, len(b.care)}
}

// seat is at which wards somebody was seen last.
type seat struct {
	ward, other     uint32
	at, otherWardAt int64
}

// took notes a row at a ward and says whether the person was at another one within
// a quarter of an hour.
func (s *seat) took(ward uint32, at int64) bool {
	if s.ward != 0 && s.ward != ward {
		s.other, s.otherWardAt = s.ward, s.at
	}
	s.ward, s.at = ward, at
	gap := at - s.otherWardAt
	return s.other != 0 && gap < elsewhere && gap > -elsewhere
}

// elsewhere marks the rows whose person was at another ward's workstation at about
// the same time: two people may be using one account, so where it was used tells
// nothing. Until the row is explained its shadow bit says so.
func (b *batch) elsewhere() {
	seats := make([]seat, len(b.person))
	mark := func(row int) {
		ward := b.here[b.t.Device[row]]
		if ward != 0 && seats[b.t.Person[row]].took(ward, b.t.At[row]) {
			b.masks[row] = shadowBit
		}
	}
	for row := range b.t.Len() {
		mark(row)
	}
	clear(seats)
	for row := b.t.Len() - 1; row >= 0; row-- {
		mark(row)
	}
}

// walker explains the rows of one patient after another.
type walker struct {
	*batch
	near    around
	wrote   map[uint32]int64 // of each person
	reason  map[uint32]int64 // when each person had a strong one
	teams   map[uint32]pair  // who of a department took part last
	open    []open
	learned learned
}

// pair is the two people who came last.
type pair struct {
	person, other uint32
	at, otherAt   int64
}

func (p *pair) add(person uint32, at int64) {
	if p.person != person {
		p.other, p.otherAt = p.person, p.at
	}
	p.person, p.at = person, at
}

// other than the person: when one of them came last, or 0.
func (p *pair) than(person uint32) int64 {
	if p.person == person {
		return p.otherAt
	}
	return p.at
}

// open is a row that has no strong explanation yet, and where it belongs.
type open struct{ row, department, ward uint32 }

// learned is which departments take part in the care of which wards.
type learned struct {
	looks map[[2]uint32]int // department and ward
	open  []open
}

func newWalker(b *batch) *walker {
	return &walker{batch: b, wrote: map[uint32]int64{}, reason: map[uint32]int64{}, teams: map[uint32]pair{}, learned: learned{looks: map[[2]uint32]int{}}}
}

// patient explains the rows of one patient. n 0 is rows without one.
func (w *walker) patient(n int) {
	rows := w.order[w.starts[n]:w.starts[n+1]]
	if len(rows) == 0 || n == 0 {
		return
	}
	w.charted(rows)
	clear(w.reason)
	clear(w.teams)
	w.open = w.open[:0]
	w.near = around{rest: w.care[n], now: w.near.now[:0]}
	for _, row := range rows {
		w.row(row)
	}
	w.handovers(rows)
	w.learned.open = append(w.learned.open, w.open...)
}

// charted marks what is within a day of an entry of the same person.
func (w *walker) charted(rows []uint32) {
	clear(w.wrote)
	mark := func(row uint32) {
		who, at := w.t.Person[row], w.t.At[row]
		if w.writes[w.t.Word[row]] {
			w.wrote[who] = at
		}
		if then, ok := w.wrote[who]; ok && at-then <= chartedWithin && then-at <= chartedWithin {
			w.masks[row] |= bit(Charted) | strongBit
		}
	}
	for _, row := range rows {
		mark(row)
	}
	if len(w.wrote) == 0 {
		return
	}
	clear(w.wrote)
	for i := len(rows) - 1; i >= 0; i-- {
		mark(rows[i])
	}
}

func (w *walker) row(row uint32) {
	at, who := w.t.At[row], w.t.Person[row]
	person, flags := w.person[who], w.t.Flags[row]
	here := w.here[w.t.Device[row]]
	near := w.near.at(at, w.before, w.after)
	p := w.place(person, at, here)
	elsewhere := w.masks[row]&shadowBit != 0
	m := w.masks[row]&^shadowBit | w.match(person, &p, at, elsewhere, near, nil)
	if flags&(table.BreakGlass|table.Reasoned) != 0 {
		m |= bit(Stated)
	}
	if then, ok := w.reason[who]; ok && !m.Strong() && at-then <= earlierWithin {
		m |= bit(Earlier)
	}
	w.masks[row] = m
	ward := wardAt(near, at)
	if !m.Strong() {
		w.open = append(w.open, open{row, p.department, ward})
		return
	}
	w.reason[who] = at
	if ward != 0 && p.department != 0 {
		w.learned.looks[[2]uint32{p.department, ward}]++
	}
}

// takesPart are the templates of people who take part in somebody's care.
const takesPart = Mask(1)<<OnList - 1 // T1 to T5

// handovers marks what is within three days of a colleague's part in the care.
func (w *walker) handovers(rows []uint32) {
	if len(w.open) == 0 {
		return
	}
	next := 0
	for _, row := range rows {
		w.handover(row, &next, 1)
	}
	clear(w.teams)
	next = len(w.open) - 1
	for i := len(rows) - 1; i >= 0; i-- {
		w.handover(rows[i], &next, -1)
	}
}

func (w *walker) handover(row uint32, next *int, step int) {
	who, at := w.t.Person[row], w.t.At[row]
	if *next >= 0 && *next < len(w.open) && w.open[*next].row == row {
		department := w.open[*next].department
		*next += step
		if p, ok := w.teams[department]; ok && department != 0 {
			if then := p.than(who); then != 0 && at-then <= handoverWithin && then-at <= handoverWithin {
				w.masks[row] |= bit(Handover)
			}
		}
		return
	}
	if w.masks[row]&takesPart == 0 {
		return
	}
	if department := w.department(w.person[who], at); department != 0 {
		p := w.teams[department]
		p.add(who, at)
		w.teams[department] = p
	}
}

// department is whom somebody worked with.
func (e *Engine) department(person uint32, at int64) uint32 {
	if int(person) < len(e.posts) {
		for _, one := range e.posts[person] {
			if at >= one.from && at < one.to {
				return one.department
			}
		}
	}
	return 0
}

// wardAt is where the patient lies.
func wardAt(near []*care, at int64) uint32 {
	ward := uint32(0)
	for _, c := range near {
		if c.kind == inpatient && at >= c.from && at <= c.last() {
			ward = c.ward
		}
	}
	return ward
}

// departments marks the looks of departments that usually take part in the care of
// the ward where the patient lay.
func (b *batch) departments(found []learned) {
	looks, of := map[[2]uint32]int{}, map[uint32]int{}
	for _, l := range found {
		for k, n := range l.looks {
			looks[k] += n
			of[k[1]] += n
		}
	}
	for _, l := range found {
		for _, o := range l.open {
			n := looks[[2]uint32{o.department, o.ward}]
			if o.ward != 0 && n >= departmentSupport && float64(n) >= departmentShare*float64(of[o.ward]) {
				b.masks[o.row] |= bit(Department)
			}
		}
	}
}
