package limit

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// patient is a patient as they are told apart: by site, and within it by the id
// that the application knows or, without one, the NHS number.
type patient struct{ site, id string }

// Meet counts patients whom s is about to see, as proxy.Limiter says.
func (l *Limiter) Meet(s policy.Subject, met proxy.Met) proxy.Standing {
	r := l.rules.Load()
	budget := r.budgetOf(&s)
	number := budget.Opened
	if met.Listed {
		number = budget.Listed
	}
	if number == (Number{}) || l.lifted() {
		return proxy.Standing{}
	}
	now := l.now()
	p, home := l.person(&s, r, now)
	defer home.mu.Unlock()
	which := opened
	if met.Listed {
		which = listed
	}
	t := &p.tallies[which]
	t.advance(l.tick(now), r.windows, &l.memory)
	limits := number.windows()
	beyond := 0
	for i := range met.Patients {
		fresh := t.meet(l.key(met.Site, &met.Patients[i]), r.windows, &l.memory)
		if fresh[hour] && t.over(hour, limits[hour]) || fresh[shift] && t.over(shift, limits[shift]) {
			beyond++
		}
	}
	standing := t.standing(limits, r.windows, len(met.Patients) == 0)
	standing.Wait = min(time.Duration(beyond)*r.pause, r.maxWait)
	if standing.Over != "" {
		home.over[p] = excess{s, budget}
	}
	return standing
}

// The tallies of a person.
const (
	opened = iota
	listed
)

// key is the keyed hash of a patient, never 0.
func (l *Limiter) key(site string, p *proxy.Patient) uint64 {
	return max(maphash.Comparable(l.seed, patient{site, cmp.Or(p.ID, p.NHSNumber)}), 1)
}

// budgetOf is the budget of somebody's role, number by number the largest of
// several.
func (r *rules) budgetOf(s *policy.Subject) Budget {
	if s.Machine {
		return r.machines[s.Sub].Budget
	}
	var b Budget
	known := false
	for _, role := range s.Roles {
		own, ok := r.budgets[role]
		if !ok {
			continue
		}
		if known {
			own = Budget{own.Opened.atLeast(b.Opened), own.Listed.atLeast(b.Listed)}
		}
		b, known = own, true
	}
	if !known {
		return r.budget
	}
	return b
}

// atLeast is the larger of both, window by window. None is larger than any.
func (n Number) atLeast(other Number) Number {
	return Number{larger(n.Hour, other.Hour), larger(n.Shift, other.Shift)}
}

func larger(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

func (n Number) windows() [2]int { return [2]int{hour: n.Hour, shift: n.Shift} }

// standing is how the tally stands against the budget of each window. The longer
// window is named where both are used up: it takes longer to become free. A look
// meets nobody: it is told when to come back, and nobody else is told anything.
func (t *tally) standing(limits [2]int, w windows, look bool) (s proxy.Standing) {
	for window := shift; window >= hour; window-- {
		if !t.over(window, limits[window]) {
			continue
		}
		if s.Over == "" {
			s.Over, s.Patients, s.Of = windowName(window), t.count[window], limits[window]
		}
		if look {
			s.Retry = max(s.Retry, time.Duration(t.until(window, limits[window], w))*step)
		} else {
			s.Tell = t.tell(window, w) || s.Tell
		}
	}
	return s
}

func windowName(window int) string {
	if window == hour {
		return "hour"
	}
	return "shift"
}

// excess is of a person who was over a budget when last counted.
type excess struct {
	subject policy.Subject
	budget  Budget
}

// Over is somebody who is over a budget now.
type Over struct {
	Subject  policy.Subject // as it was then
	Listed   bool
	Window   string // hour or shift
	Patients int
	Of       int
}

// Overs lists who is over a budget now, those who are furthest over it first.
func (l *Limiter) Overs() []Over {
	var list []Over
	r, now := l.rules.Load(), l.tick(l.now())
	for i := range l.people.shards {
		list = l.people.shards[i].overs(list, r, now, &l.memory)
	}
	slices.SortFunc(list, func(a, b Over) int {
		return cmp.Or(cmp.Compare(b.Patients*max(a.Of, 1), a.Patients*max(b.Of, 1)), strings.Compare(a.Subject.Sub, b.Subject.Sub))
	})
	return list
}

func (s *shard) overs(list []Over, r *rules, now uint32, m *memory) []Over {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, x := range s.over {
		before := len(list)
		for i, number := range [...]Number{opened: x.budget.Opened, listed: x.budget.Listed} {
			t := &p.tallies[i]
			t.advance(now, r.windows, m)
			if standing := t.standing(number.windows(), r.windows, true); standing.Over != "" {
				list = append(list, Over{x.subject, i == listed, standing.Over, standing.Patients, standing.Of})
			}
		}
		if len(list) == before {
			delete(s.over, p)
		}
	}
	return list
}
