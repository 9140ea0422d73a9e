package cases

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
)

// Question is a finding that may be put to a reviewer at once: one visit, one
// person's day as a whole, or the people around one patient.
type Question struct {
	ID    string // the same finding keeps it; a crowd has another one when it has doubled
	Date  int32  // days since 1970
	Score float64
	Most  string // detector that says most
	Must  bool   // is put whatever the budget

	draft draft
}

// Questions weighs fresh findings as those of a run are weighed.
func (s *Settings) Questions(f *detectors.Fresh) []Question {
	var out []Question
	ask := func(d draft, signals []detectors.Signal, must bool) {
		if d.score == 0 && !must {
			return
		}
		q := Question{ID: d.id(), Date: d.block, Score: d.score, Most: cmp.Or(d.most, rarest(signals)), Must: must, draft: d}
		out = append(out, q)
	}
	for i := range f.Days {
		day, scoring := &f.Days[i], &s.Scoring
		if scoring.protects(*day) {
			scoring = scoring.unweighted()
		}
		whole, single := *day, *day
		single.Signals, single.Rows = nil, nil
		d := draft{kind: OfIncident, person: day.Person, block: day.Date}
		p := part{day: &whole}
		for k := range day.Visits {
			v := &day.Visits[k]
			p.visits = append(p.visits, v)
			one := d
			one.patient = v.Patient
			l := lookOf(v)
			one.score, one.most = scoring.look(day.Role, &l)
			one.parts = []part{{day: &single, visits: []*detectors.Visit{v}, score: one.score, most: one.most}}
			ask(one, v.Signals, mustVisit(v))
		}
		d.score, d.most = scoring.sum(day.Role, rarities(day.Signals))
		d.patient, d.parts = "the day: "+d.most, []part{p}
		ask(d, day.Signals, mustDay(day))
	}
	for i := range f.Crowds {
		for _, d := range crowds(f.Crowds[i].Days, &s.Scoring) {
			newest := d.block
			for _, p := range d.parts {
				newest = max(newest, p.day.Date)
			}
			d.block /= block
			id := d
			id.person = strconv.Itoa(bits.Len(uint(len(d.parts))))
			out = append(out, Question{ID: id.id(), Date: newest, Score: d.score, Most: d.most, draft: d})
		}
	}
	slices.SortFunc(out, func(a, b Question) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID)) })
	return out
}

// rarest is the detector whose value is rarest.
func rarest(signals []detectors.Signal) string {
	if len(signals) == 0 {
		return ""
	}
	return slices.MinFunc(signals, func(a, b detectors.Signal) int {
		return cmp.Or(cmp.Compare(a.P, b.P), cmp.Compare(a.Detector, b.Detector))
	}).Detector
}

// Write writes a question as a case without a rank.
func (s *Settings) Write(q *Question, t *table.Table) Case {
	c := s.write(&q.draft, t)
	c.ID, c.Lane = q.ID, Budget
	if q.Must {
		c.Lane = MustReview
	}
	return c
}

const (
	// barDays is over how many days questions are compared with each other.
	barDays = 7
	// leastScore is what a question needs at least, whatever room there is.
	leastScore = .6
	// mostCompared bounds how many are compared.
	mostCompared = 20_000
)

// Ration hands out a daily budget to questions as they come: to those that would
// have been among the best of the last week, to no detector more than its share. It
// is not safe for concurrent use.
type Ration struct {
	perDay int
	asked  map[string]int32 // question → date
	scores map[string]rated
	given  map[string]int // of today by detector
	today  int32
	bar    float64
	stale  bool // the bar is to be found again
}

type rated struct {
	score float64
	date  int32
}

// NewRation makes one for so many questions a day.
func NewRation(perDay int) *Ration {
	return &Ration{perDay: perDay, asked: map[string]int32{}, scores: map[string]rated{}, given: map[string]int{}, bar: leastScore}
}

// Asked notes a question that was put on a day before now.
func (r *Ration) Asked(id, most string, lane Lane, date int32) {
	r.turn(date)
	r.asked[id] = date
	if lane == Budget && date == r.today {
		r.given[most]++
		r.given[""]++
	}
}

// Compare notes what questions a day had, for those of other days.
func (r *Ration) Compare(all []Question, date int32) {
	r.turn(date)
	for i := range all {
		q := &all[i]
		if before, known := r.scores[q.ID]; !q.Must && q.Score > before.score && q.Score >= leastScore && (known || len(r.scores) < mostCompared) {
			r.scores[q.ID], r.stale = rated{q.Score, date}, true
		}
	}
}

// Resize says that there is room for another number of questions a day.
func (r *Ration) Resize(perDay int) { r.perDay, r.stale = perDay, true }

// Choose picks those of the questions, best first, that are put today. held counts
// those that are good enough and for which there is no room.
func (r *Ration) Choose(all []Question, today int32) (chosen []Question, held int) {
	r.Compare(all, today)
	r.raise()
	for i := range all {
		q := &all[i]
		if _, done := r.asked[q.ID]; done {
			continue
		}
		switch full := r.given[""] >= r.perDay || float64(r.given[q.Most]) >= mostOfType*float64(r.perDay); {
		case q.Must:
		case q.Score < r.bar:
			continue
		case full:
			held++
			continue
		default:
			r.given[q.Most]++
			r.given[""]++
		}
		r.asked[q.ID] = today
		chosen = append(chosen, *q)
	}
	return chosen, held
}

// turn begins another day.
func (r *Ration) turn(today int32) {
	if today <= r.today {
		return
	}
	r.today, r.stale = today, true
	clear(r.given)
	for id, one := range r.scores {
		if one.date <= today-barDays {
			delete(r.scores, id)
		}
	}
	for id, date := range r.asked {
		if date < today-2*block {
			delete(r.asked, id)
		}
	}
}

// raise finds the score that as many questions reach as there is room for.
func (r *Ration) raise() {
	if !r.stale {
		return
	}
	r.stale, r.bar = false, leastScore
	days := map[int32]bool{r.today: true}
	all := make([]float64, 0, len(r.scores))
	for _, one := range r.scores {
		days[one.date] = true
		all = append(all, one.score)
	}
	slices.Sort(all)
	if room := r.perDay * len(days); len(all) > room {
		r.bar = all[len(all)-room]
	}
}
