package cases

import (
	"math"
	"slices"

	"github.com/matron-epr/matron/audit/detect/detectors"
)

// Scoring is how signals become a score.
type Scoring struct {
	Version int
	// Base is taken off each signal's -log10 p: what is not rare does not add up.
	Base  float64
	Bases map[string]float64
	// Supporting says which detectors never raise a case by themselves.
	Supporting map[string]bool
	Weights    map[string]map[string]float64 // detector → role → weight; 1 where nothing is said
}

func (s *Scoring) signal(role string, g detectors.Signal) float64 {
	w := 1.
	if of, ok := s.Weights[g.Detector]; ok {
		if v, ok := of[role]; ok {
			w = v
		}
	}
	return w * math.Max(-math.Log10(g.P)-s.base(g.Detector), 0)
}

func (s *Scoring) base(id string) float64 {
	if b, ok := s.Bases[id]; ok {
		return b
	}
	return s.Base
}

// sum adds signals up. Supporting ones count for at most as much as the others.
func (s *Scoring) sum(role string, all []detectors.Signal) (total float64, most string) {
	best, support := 0., 0.
	for _, g := range all {
		v := s.signal(role, g)
		if s.Supporting[g.Detector] {
			support += v
			continue
		}
		if v > best {
			best, most = v, g.Detector
		}
		total += v
	}
	return total + math.Min(support, math.Min(total, SupportCap)), most
}

// SupportCap bounds what supporting detectors add.
var SupportCap = 2.

// falling adds up scores, each next one counting less.
func falling(scores []float64) float64 {
	scores = slices.Clone(scores)
	slices.Sort(scores)
	slices.Reverse(scores)
	total := 0.
	for i, s := range scores {
		total += s / math.Pow(float64(i+1), 1.5)
	}
	return total
}
