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
	// Weights lower what was seldom right: detector → role → weight up to 1. What is
	// said of the role AnyRole holds for roles that nothing is said of.
	Weights map[string]map[string]float64
	// Protected are detectors whose cases no weight lowers, in no part of them.
	Protected map[string]bool
}

// AnyRole stands for the roles that have no weight of their own.
const AnyRole = ""

// DefaultScoring is the scoring before anybody has reviewed anything. Relations
// between two people are facts of their own, and count from a lower rarity on.
func DefaultScoring() Scoring {
	s := Scoring{
		Version: 1, Base: 1.5, Bases: map[string]float64{"own-record": 0, "household": 0, "co-worker": .5, "neighbour": 1, "post-care": 1},
		Supporting: map[string]bool{}, Protected: map[string]bool{"own-record": true, "household": true, crowd: true},
	}
	for _, d := range detectors.Definitions() {
		s.Supporting[d.ID] = d.Supporting
	}
	return s
}

// Rarity is how far above its base a detector's value is, from 0.
func (s *Scoring) Rarity(detector string, p float64) float64 {
	base, ok := s.Bases[detector]
	if !ok {
		base = s.Base
	}
	return math.Max(-math.Log10(p)-base, 0)
}

func (s *Scoring) signal(role string, g Rarity) float64 {
	return s.weight(role, g.ID) * (s.Rarity(g.ID, g.P) + fine*math.Max(-math.Log10(g.P)-fineBase, 0))
}

func (s *Scoring) weight(role, detector string) float64 {
	of := s.Weights[detector]
	if w, ok := of[role]; ok {
		return w
	}
	if w, ok := of[AnyRole]; ok {
		return w
	}
	return 1
}

// unweighted is the scoring of cases that no weight lowers.
func (s *Scoring) unweighted() *Scoring {
	plain := *s
	plain.Weights = nil
	return &plain
}

func rarities(all []detectors.Signal) []Rarity {
	var out []Rarity
	for _, g := range all {
		out = append(out, Rarity{g.Detector, g.P})
	}
	return out
}

// protects says whether a protected detector points at anything of a day.
func (s *Scoring) protects(day detectors.Day) bool {
	named := func(g detectors.Signal) bool { return s.Protected[g.Detector] }
	return slices.ContainsFunc(day.Signals, named) || slices.ContainsFunc(day.Visits, func(v detectors.Visit) bool {
		return slices.ContainsFunc(v.Signals, named)
	})
}

// sum adds signals up. Supporting ones count for at most as much as the others.
func (s *Scoring) sum(role string, all []Rarity) (total float64, most string) {
	best, support := 0., 0.
	for _, g := range all {
		v := s.signal(role, g)
		if s.Supporting[g.ID] {
			support += v
			continue
		}
		if v > best {
			best, most = v, g.ID
		}
		total += v
	}
	return total + math.Min(support, math.Min(total, supportCap)), most
}

// look scores the looks at one patient by themselves.
func (s *Scoring) look(role string, l *Look) (score float64, most string) {
	score, most = s.sum(role, l.Signals)
	return score * l.Factor, most
}

// part scores one day: its looks, each next one counting less, and the day as a
// whole.
func (s *Scoring) part(p *Part) (score float64, most string) {
	var scores []float64
	best := 0.
	for i := range p.Looks {
		of, by := s.look(p.Role, &p.Looks[i])
		if of > 0 {
			scores = append(scores, of)
		}
		if of > best {
			best, most = of, by
		}
	}
	whole, by := s.sum(p.Role, p.Day)
	if whole > best {
		most = by
	}
	return falling(scores) + whole, most
}

// Score is what a case of one person scores in another scoring. One that no weight
// lowers, and one about a patient, keeps its score.
func (s *Scoring) Score(c *Case) float64 {
	if len(c.Parts) == 0 {
		return c.Score
	}
	var scores []float64
	for i := range c.Parts {
		score, _ := s.part(&c.Parts[i])
		scores = append(scores, score)
	}
	return falling(scores)
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
