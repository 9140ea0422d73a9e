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

// fewest is how many units of everybody there are at least: on the first day of
// records nobody knows yet what is rare.
const fewest = 1000

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

// p is the share of a role's units with at least this value.
func (t *tail) p(role string, v float64) float64 {
	return share(atLeast(t.values[role], v), max(t.of[role], len(t.values[role])),
		atLeast(t.values[everybody], v), max(t.of[everybody], len(t.values[everybody])))
}

// share is how many of n units of a role, and of everybody's, have a value. Roles of
// few units lean on everybody, and a hospital of few on units at 0.
func share(mine, n, all, of int) float64 {
	everywhere := float64(1+all) / float64(max(of, fewest)+1)
	return math.Min(1, (float64(mine)+lean*everywhere)/(float64(n)+lean))
}

func atLeast(sorted []float64, v float64) int {
	i, _ := slices.BinarySearch(sorted, v)
	return len(sorted) - i
}
