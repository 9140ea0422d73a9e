package detectors

import (
	"math"
	"slices"
)

// everybody is the group that small groups are compared with.
const everybody = "\x00everybody"

// lean is how many units of everybody stand in for those that a small group does
// not have.
const lean = 300

// tail knows which share of a group has a value as high.
type tail struct {
	values map[string][]float64 // above 0, in order, of each role
	of     map[string]int       // units of each role, those at 0 too
}

func newTail(of map[string]int) *tail { return &tail{map[string][]float64{}, of} }

func (t *tail) add(role string, v float64) {
	t.values[role] = append(t.values[role], v)
	t.values[everybody] = append(t.values[everybody], v)
}

func (t *tail) sort() {
	for _, v := range t.values {
		slices.Sort(v)
	}
}

// p is the share of a role's units with at least this value. Roles of few units
// lean on everybody.
func (t *tail) p(role string, v float64) float64 {
	of := max(t.of[everybody], len(t.values[everybody]))
	all := float64(1+atLeast(t.values[everybody], v)) / float64(of+1)
	n := max(t.of[role], len(t.values[role]))
	return math.Min(1, (float64(atLeast(t.values[role], v))+lean*all)/(float64(n)+lean))
}

func atLeast(sorted []float64, v float64) int {
	i, _ := slices.BinarySearch(sorted, v)
	return len(sorted) - i
}
