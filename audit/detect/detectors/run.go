package detectors

import (
	"github.com/matron-epr/matron/audit/feeds"
)

// Missing is a detector that could not be evaluated, and why.
type Missing struct {
	Detector string
	Version  int
	Reason   string // e.g. "not evaluated: no staff feed"
}

// evaluate fills in what each detector says of each visit and day.
func (s *scanned) evaluate(c *feeds.Context) []Missing {
	var missing []Missing
	s.weeks()
	s.learnParts()
	until := s.t.Time(s.t.Len() - 1)
	unexplained := s.unexplained()
	for _, d := range Definitions() {
		if why := c.NotEvaluated(until, d.Needs...); why != "" {
			missing = append(missing, Missing{d.ID, d.Version, why})
			continue
		}
		switch {
		case d.visit != nil:
			s.signalVisits(&d, unexplained)
		case d.day != nil:
			s.signalDays(&d)
		default:
			for _, q := range d.silence(s, c) {
				q.Detector, q.Version = d.ID, d.Version
				s.silences = append(s.silences, q)
			}
		}
	}
	return missing
}

// unexplained counts the visits of each role that are kept.
func (s *scanned) unexplained() map[string]int {
	of := map[string]int{}
	for i := range s.days {
		n := len(s.days[i].visits)
		of[s.people[s.days[i].person].role] += n
		of[everybody] += n
	}
	return of
}

func (s *scanned) signalVisits(d *Definition, of map[string]int) {
	t := newTail(of)
	if d.ID == ownID {
		t = newTail(s.visits)
	}
	s.eachVisit(d, func(role string, of *visit, v float64) {
		if !d.ofUnexplained || !of.is(weakly) {
			t.add(role, v)
		}
	})
	t.sort()
	s.eachVisit(d, func(role string, to *visit, v float64) {
		to.signals = append(to.signals, Signal{d.ID, d.Version, v, t.p(role, v)})
	})
}

func (s *scanned) eachVisit(d *Definition, do func(string, *visit, float64)) {
	for i := range s.days {
		role := s.people[s.days[i].person].role
		for k := range s.days[i].visits {
			v := &s.days[i].visits[k]
			if value := d.visit(s, v); value > 0 {
				do(role, v, value)
			}
		}
	}
}

func (s *scanned) signalDays(d *Definition) {
	t := newTail(s.active)
	each := func(do func(string, *day, float64)) {
		for i := range s.days {
			if value := d.day(s, &s.days[i]); value > 0 {
				do(s.people[s.days[i].person].role, &s.days[i], value)
			}
		}
	}
	each(func(role string, _ *day, v float64) { t.add(role, v) })
	t.sort()
	each(func(role string, to *day, v float64) {
		to.signals = append(to.signals, Signal{d.ID, d.Version, v, t.p(role, v)})
	})
}
