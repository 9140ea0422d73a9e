// Package evaluate says how good a list of cases is, where it is known what was
// misuse: how many of the cases that a reviewer has time for are right, how much
// of the misuse is among them, and who goes unseen.
//
// A case covers a label when the label's person is the case's person or among its
// people, its day among the days and, where the label names a patient, that
// patient among the patients. At a budget of B cases a day for a thousand staff
// the first B × days × staff / 1,000 cases by rank are shown. Precision is the
// share of the shown cases that cover a label, cases of the random lane left out;
// recall is the share of the labels that a shown case covers. It does no I/O and
// reads no clock. Values are not safe for concurrent use.
package evaluate

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/feeds"
)

// Case is what evaluation reads of a case.
type Case struct {
	ID       string   `json:"case"`
	Kind     string   `json:"kind"`
	Rank     int      `json:"rank"`
	Score    float64  `json:"score"`
	Lane     string   `json:"lane"`
	Person   string   `json:"person"`
	People   []string `json:"people"`
	Patients []string `json:"patients"`
	Days     []string `json:"days"`
}

// RandomLane holds cases drawn by lot, which precision leaves out.
const RandomLane = "random"

// mustReview is the lane that holds what is about no person, too.
const mustReview = "must-review"

// Budgets are in cases a day for a thousand staff.
func Budgets() []int { return []int{1, 5, 15, 20} }

// serialDays is on how many days somebody must have done the same for it to be
// serial.
const serialDays = 3

// Ratio is a share with what it is made of. It has no value when there is nothing
// to have a share of.
type Ratio struct{ Hits, Of int }

// Share is the value, NaN when there is none.
func (r Ratio) Share() float64 {
	if r.Of == 0 {
		return math.NaN()
	}
	return float64(r.Hits) / float64(r.Of)
}

// MarshalJSON writes the share, null when there is none, and its parts.
func (r Ratio) MarshalJSON() ([]byte, error) {
	var share *float64
	if s := r.Share(); !math.IsNaN(s) {
		share = &s
	}
	return json.Marshal(struct {
		Share *float64 `json:"share"`
		Hits  int      `json:"hits"`
		Of    int      `json:"of"`
	}{share, r.Hits, r.Of})
}

// Report is everything about one list of cases.
type Report struct {
	Staff  int        `json:"staff"`
	Days   int        `json:"days"`
	Labels int        `json:"labels"`
	Cases  int        `json:"cases"`
	At     []AtBudget `json:"at"`
	Kinds  []Kind     `json:"kinds"`      // of misuse
	Made   []CaseKind `json:"case_kinds"` // of cases
	Serial []Serial   `json:"serial"`
	Bands  []Band     `json:"bands"`
}

// AtBudget is how good the list is for one budget.
type AtBudget struct {
	Budget    int   `json:"budget"`
	Shown     int   `json:"shown"` // cases, those of the random lane too
	Precision Ratio `json:"precision"`
	Recall    Ratio `json:"recall"`
	// PerHit is how many cases are read for each that is right; 0 when none is.
	PerHit float64 `json:"cases_per_hit"`
	// Offenders are people with serial misuse who surface, and Wait is the median
	// of the days from their first misuse to the newest day of the case that
	// brings it up.
	Offenders Ratio `json:"serial_people"`
	Wait      int   `json:"median_days_to_surface"`
	Longest   int   `json:"longest_days_to_surface"`
}

// Kind is one kind of misuse: the recall at each of the budgets.
type Kind struct {
	Kind   string  `json:"kind"`
	People int     `json:"people"`
	Recall []Ratio `json:"recall"`
}

// CaseKind is one kind of case among those shown at the greatest budget.
type CaseKind struct {
	Kind      string `json:"kind"`
	Precision Ratio  `json:"precision"`
}

// Serial is one person with misuse of one kind on several days.
type Serial struct {
	Person string `json:"person"`
	Kind   string `json:"kind"`
	Days   int    `json:"days"`
	First  string `json:"first"`
	// Waits is how many days passed until it surfaced at each of the budgets, -1
	// when it did not.
	Waits []int `json:"days_to_surface"`
}

// Band is a fifth of the cases of the greatest budget: a good ranking has its
// right ones first.
type Band struct {
	From      int   `json:"from"` // ranks, counted from 1
	To        int   `json:"to"`
	Precision Ratio `json:"precision"`
}

// Evaluate compares a list of cases with the labels.
func Evaluate(labels []feeds.Label, cases []Case, staff, days int) Report {
	e := newRun(labels, cases)
	r := Report{Staff: staff, Days: days, Labels: len(e.labels), Cases: len(cases), At: []AtBudget{}, Kinds: e.kinds(), Serial: e.serials(), Made: []CaseKind{}, Bands: []Band{}}
	shown := 0
	for _, b := range Budgets() {
		shown = min(b*days*staff/1000, len(e.cases))
		at := AtBudget{Budget: b, Shown: shown, Precision: e.precision(0, shown), Recall: e.recall(shown, "")}
		if at.Precision.Hits > 0 {
			at.PerHit = float64(at.Precision.Of) / float64(at.Precision.Hits)
		}
		for i := range r.Kinds {
			r.Kinds[i].Recall = append(r.Kinds[i].Recall, e.recall(shown, r.Kinds[i].Kind))
		}
		var waits []int
		for i := range r.Serial {
			wait := e.wait(&r.Serial[i], shown)
			r.Serial[i].Waits = append(r.Serial[i].Waits, wait)
			if at.Offenders.Of++; wait >= 0 {
				at.Offenders.Hits++
				waits = append(waits, wait)
			}
		}
		if slices.Sort(waits); len(waits) > 0 {
			at.Wait, at.Longest = waits[len(waits)/2], waits[len(waits)-1]
		}
		r.At = append(r.At, at)
	}
	r.Made = e.made(shown)
	for i := range min(5, shown) {
		from, to := i*shown/min(5, shown), (i+1)*shown/min(5, shown)
		r.Bands = append(r.Bands, Band{from + 1, to, e.precision(from, to)})
	}
	return r
}

// run is one evaluation: the cases by rank, and which labels each covers.
type run struct {
	labels []feeds.Label
	cases  []Case
	covers [][]int
}

func newRun(labels []feeds.Label, cases []Case) *run {
	e := &run{labels: unique(labels), cases: slices.Clone(cases)}
	slices.SortStableFunc(e.cases, func(a, b Case) int { return cmp.Compare(a.Rank, b.Rank) })
	byPerson := map[string][]int{}
	for i, l := range e.labels {
		byPerson[l.Person] = append(byPerson[l.Person], i)
	}
	e.covers = make([][]int, len(e.cases))
	for i := range e.cases {
		c := &e.cases[i]
		people := slices.Clone(c.People)
		if !slices.Contains(people, c.Person) {
			people = append(people, c.Person)
		}
		days, patients := set(c.Days), set(c.Patients)
		slices.Sort(people)
		for _, p := range slices.Compact(people) {
			for _, l := range byPerson[p] {
				if days[e.labels[l].Day] && (e.labels[l].Patient == "" || patients[e.labels[l].Patient]) {
					e.covers[i] = append(e.covers[i], l)
				}
			}
		}
	}
	return e
}

func set(of []string) map[string]bool {
	out := make(map[string]bool, len(of))
	for _, s := range of {
		out[s] = true
	}
	return out
}

// unique takes each label once: a file may say the same twice.
func unique(labels []feeds.Label) []feeds.Label {
	seen := map[feeds.Label]bool{}
	var out []feeds.Label
	for _, l := range labels {
		if !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

func (e *run) precision(from, to int) Ratio {
	var r Ratio
	for i := from; i < to; i++ {
		if e.cases[i].Lane == RandomLane {
			continue
		}
		if r.Of++; len(e.covers[i]) > 0 {
			r.Hits++
		}
	}
	return r
}

// recall is that of the labels of a kind, of all for "".
func (e *run) recall(shown int, kind string) Ratio {
	covered := map[int]bool{}
	for i := range shown {
		for _, l := range e.covers[i] {
			covered[l] = true
		}
	}
	var r Ratio
	for i, l := range e.labels {
		if kind == "" || l.Kind == kind {
			if r.Of++; covered[i] {
				r.Hits++
			}
		}
	}
	return r
}

func (e *run) kinds() []Kind {
	people := map[string]map[string]bool{}
	for _, l := range e.labels {
		if people[l.Kind] == nil {
			people[l.Kind] = map[string]bool{}
		}
		people[l.Kind][l.Person] = true
	}
	out := make([]Kind, 0, len(people))
	for kind, who := range people {
		out = append(out, Kind{Kind: kind, People: len(who)})
	}
	slices.SortFunc(out, func(a, b Kind) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

func (e *run) made(shown int) []CaseKind {
	by := map[string]Ratio{}
	for i := range shown {
		if e.cases[i].Lane == RandomLane {
			continue
		}
		r := by[e.cases[i].Kind]
		if r.Of++; len(e.covers[i]) > 0 {
			r.Hits++
		}
		by[e.cases[i].Kind] = r
	}
	out := make([]CaseKind, 0, len(by))
	for kind, r := range by {
		out = append(out, CaseKind{kind, r})
	}
	slices.SortFunc(out, func(a, b CaseKind) int { return cmp.Compare(a.Kind, b.Kind) })
	return out
}

// serials finds who did the same on several days.
func (e *run) serials() []Serial {
	type key struct{ person, kind string }
	days := map[key]map[string]bool{}
	for _, l := range e.labels {
		k := key{l.Person, l.Kind}
		if days[k] == nil {
			days[k] = map[string]bool{}
		}
		days[k][l.Day] = true
	}
	out := []Serial{}
	for k, d := range days {
		if len(d) < serialDays {
			continue
		}
		s := Serial{Person: k.person, Kind: k.kind, Days: len(d)}
		for day := range d {
			if s.First == "" || day < s.First {
				s.First = day
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Serial) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Person, b.Person)) })
	return out
}

// wait is how many days passed from the first misuse to the newest day of the
// earliest shown case that covers any of it, -1 when none does.
func (e *run) wait(s *Serial, shown int) int {
	wait := -1
	for i := range shown {
		if !slices.ContainsFunc(e.covers[i], func(l int) bool { return e.labels[l].Person == s.Person && e.labels[l].Kind == s.Kind }) {
			continue
		}
		if d := between(s.First, slices.Max(e.cases[i].Days)); wait < 0 || d < wait {
			wait = d
		}
	}
	return wait
}

func between(from, to string) int {
	a, errA := time.Parse(time.DateOnly, from)
	b, errB := time.Parse(time.DateOnly, to)
	if errA != nil || errB != nil {
		return 0
	}
	return int(b.Sub(a).Hours() / 24)
}
