package learn

import (
	"cmp"
	"slices"

	"github.com/matron-epr/matron/audit/detect/cases"
)

// Change is what other weights would do to a list of cases at one budget.
type Change struct {
	Budget int     `json:"budget"` // cases a day for 1,000 staff
	Shown  int     `json:"shown"`  // cases of it, those drawn by lot left out
	Enter  []Moved `json:"enter"`
	Leave  []Moved `json:"leave"`
}

// Moved is a case that other weights would bring in or put below the line.
type Moved struct {
	Case  string  `json:"case"`
	Score float64 `json:"score"`
	Then  float64 `json:"then"` // with the other weights
}

// Compare orders the cases of a list by their scores in two scorings and says which
// would enter and leave the first shown. Cases drawn by lot and those that must be
// reviewed are outside, and the caps and floors of the budget are not drawn up again.
func Compare(list []cases.Case, before, after cases.Scoring, budget, shown int) Change {
	type both struct {
		id        string
		was, then float64
	}
	var all []both
	for i := range list {
		if c := &list[i]; c.Lane == cases.Budget {
			all = append(all, both{c.ID, before.Score(c), after.Score(c)})
		}
	}
	shown = min(shown, len(all))
	first := func(score func(both) float64) map[string]bool {
		slices.SortFunc(all, func(a, b both) int { return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(a.id, b.id)) })
		in := map[string]bool{}
		for _, b := range all[:shown] {
			in[b.id] = true
		}
		return in
	}
	was := first(func(b both) float64 { return b.was })
	then := first(func(b both) float64 { return b.then })
	out := Change{Budget: budget, Shown: shown, Enter: []Moved{}, Leave: []Moved{}}
	for _, b := range all { // in the order of what would be
		switch m := (Moved{b.id, b.was, b.then}); {
		case then[b.id] && !was[b.id]:
			out.Enter = append(out.Enter, m)
		case was[b.id] && !then[b.id]:
			out.Leave = append(out.Leave, m)
		}
	}
	return out
}
