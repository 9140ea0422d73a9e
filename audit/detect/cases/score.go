package cases

import (
	"math"
	"slices"

	"github.com/matron-epr/matron/audit/detect/detectors"
)

const (
	// weakFactor and workFactor lower a visit that has a weak explanation, or signs
	// that the person worked there.
	weakFactor, workFactor = .5, .4
	// fine is what the parts of a signal below its base still weigh: it ranks cases
	// that nothing rare speaks for.
	fine, fineBase = .1, .5
	// supportCap bounds what supporting detectors add.
	supportCap = 2.
)

// Scoring is how signals become a score: the sum of what each signal's -log10 p is
// above a base.
type Scoring struct {
	Version int
	Base    float64            // what is not rare does not add up
	Bases   map[string]float64 // of single detectors
	// Supporting says which detectors never raise a case by themselves.
	Supporting map[string]bool
	Weights    map[string]map[string]float64 // detector → role → weight; 1 where nothing is said
}

// DefaultScoring is the scoring before anybody has reviewed anything. Relations
// between two people are facts of their own, and count from a lower rarity on.
func DefaultScoring() Scoring {
	s := Scoring{
		Version: 1, Base: 1.5, Bases: map[string]float64{"own-record": 0, "household": 0, "co-worker": .5, "neighbour": 1, "post-care": 1},
		Supporting: map[string]bool{},
	}
	for _, d := range detectors.Definitions() {
		s.Supporting[d.ID] = d.Supporting
	}
	return s
}

func (s *Scoring) signal(role string, g detectors.Signal) float64 {
	w := 1.
	if v, ok := s.Weights[g.Detector][role]; ok {
		w = v
	}
	base, ok := s.Bases[g.Detector]
	if !ok {
		base = s.Base
	}
	rare := -math.Log10(g.P)
	return w * (math.Max(rare-base, 0) + fine*math.Max(rare-fineBase, 0))
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
	return total + math.Min(support, math.Min(total, supportCap)), most
}

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
