package limit_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/limit"
)

func nurse(sub string) policy.Subject {
	s := person(sub, "tab")
	s.Roles = []string{"nurse"}
	return s
}

func patients(ids ...int) proxy.Met {
	m := proxy.Met{Site: "RZZ"}
	for _, id := range ids {
		m.Patients = append(m.Patients, proxy.Patient{ID: strconv.Itoa(id)})
	}
	return m
}

func upTo(n int) (ids []int) {
	for i := range n {
		ids = append(ids, i+1)
	}
	return ids
}

func opened(hour, shift int) limit.Budget {
	return limit.Budget{Opened: limit.Number{Hour: hour, Shift: shift}}
}

// naive is the exact model: every patient of one person, with when they were last
// met, counted anew each time.
type naive struct {
	tick, shift int
	last        map[int]int
	told        [2]int // tick, -1 for never
}

func (n *naive) within(last, window int) bool { return n.tick-last < [2]int{12, n.shift}[window] }

func (n *naive) count(window int) (c int) {
	for _, last := range n.last {
		if n.within(last, window) {
			c++
		}
	}
	return c
}

func (n *naive) meet(ids []int, budget [2]int) (s proxy.Standing, beyond int) {
	for _, id := range ids {
		last, known := n.last[id]
		before := [2]bool{known && n.within(last, 0), known && n.within(last, 1)}
		n.last[id] = n.tick
		for w := range 2 {
			if !before[w] && n.count(w) > budget[w] {
				beyond++
				break
			}
		}
	}
	for w := 1; w >= 0; w-- {
		c := n.count(w)
		if c <= budget[w] {
			continue
		}
		if s.Over == "" {
			s.Over, s.Patients, s.Of = [2]string{"hour", "shift"}[w], c, budget[w]
		}
		if n.told[w] < 0 || !n.within(n.told[w], w) {
			n.told[w], s.Tell = n.tick, true
		}
	}
	return s, beyond
}

// TestBudgetsEqualTheNaiveModel runs people through days in which the clock goes on,
// stands still, jumps and is put back, and compares every answer.
func TestBudgetsEqualTheNaiveModel(t *testing.T) {
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 7))
		shift := time.Duration(1+rng.IntN(24)) * time.Hour
		budget := [2]int{1 + rng.IntN(20), 1 + rng.IntN(40)}
		l, c := newLimiter(t, limit.Config{Rules: limit.Rules{
			Budgets: map[string]limit.Budget{"nurse": {Opened: limit.Number{Hour: budget[0], Shift: budget[1]}, Listed: limit.Number{Hour: budget[0], Shift: budget[1]}}},
			Shift:   shift, Pause: time.Second, MaxWait: 2 * time.Second,
		}})
		start := c.now()
		models := map[string]*naive{}
		latest := time.Duration(0)
		for op := range 1500 {
			switch rng.IntN(40) {
			case 0:
				c.add(-time.Duration(rng.Int64N(int64(2 * shift))))
			case 1:
				c.add(time.Duration(rng.Int64N(int64(2 * shift))))
			case 2, 3, 4: // to the very edge of a step, or one beyond
				edge := 5*time.Minute - c.now().Sub(start)%(5*time.Minute)
				c.add(edge - time.Duration(rng.IntN(2)))
			default:
				c.add(time.Duration(rng.Int64N(int64(3 * time.Minute))))
			}
			who, listed := fmt.Sprint("n", rng.IntN(3)), rng.IntN(3) == 0
			key := fmt.Sprint(who, listed)
			m := models[key]
			if m == nil {
				m = &naive{shift: int(shift / (5 * time.Minute)), last: map[int]int{}, told: [2]int{-1, -1}}
				models[key] = m
			}
			latest = max(latest, c.now().Sub(start)) // time never goes back
			m.tick = int(latest / (5 * time.Minute))
			var ids []int
			for range 1 + rng.IntN(3) {
				ids = append(ids, rng.IntN(60))
			}
			met := patients(ids...)
			met.Listed = listed
			got := l.Meet(nurse(who), met)
			want, beyond := m.meet(ids, budget)
			want.Wait = min(time.Duration(beyond)*time.Second, 2*time.Second)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d, op %d (-model +limiter):\n%s", seed, op, diff)
			}
			hour, whole := l.Counts(nurse(who), listed)
			if hour != m.count(0) || whole != m.count(1) {
				t.Fatalf("seed %d, op %d: %d in the hour and %d in the shift, want %d and %d", seed, op, hour, whole, m.count(0), m.count(1))
			}
			look := l.Meet(nurse(who), proxy.Met{Listed: listed})
			if look.Over != want.Over || look.Patients != want.Patients || look.Tell || look.Wait != 0 {
				t.Fatalf("seed %d, op %d: a look says %+v", seed, op, look)
			}
			if look.Over != "" && m.early(look.Retry, budget) {
				t.Fatalf("seed %d, op %d: told to come back after %s, which is not when the budget %v is free", seed, op, look.Retry, budget)
			}
		}
	}
}

// early reports whether after wait, with nobody else met, the budgets are not free,
// or were so a step before.
func (n *naive) early(wait time.Duration, budget [2]int) bool {
	free := func(steps int) bool {
		later := *n
		later.tick += steps
		return later.count(0) <= budget[0] && later.count(1) <= budget[1]
	}
	steps := int(wait / (5 * time.Minute))
	return !free(steps) || free(steps-1)
}

// TestTenThousandPatientsAreToldApart counts exactly to the bound, and beyond it
// says that there are more than any budget.
func TestTenThousandPatientsAreToldApart(t *testing.T) {
	l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Budget: opened(limit.MaxPatients, limit.MaxPatients)}})
	for i := range limit.MaxPatients {
		if s := l.Meet(nurse("n"), patients(i)); s.Over != "" {
			t.Fatalf("over the budget with %d patients: %+v", i+1, s)
		}
	}
	for i := range limit.MaxPatients { // each of them again
		if s := l.Meet(nurse("n"), patients(i)); s.Over != "" {
			t.Fatalf("over the budget with a patient met before: %+v", s)
		}
	}
	if hour, shift := l.Counts(nurse("n"), false); hour != limit.MaxPatients || shift != limit.MaxPatients {
		t.Errorf("%d and %d counted", hour, shift)
	}
	if s := l.Meet(nurse("n"), patients(-1)); s.Over != "shift" || !s.Tell || s.Wait == 0 {
		t.Errorf("one more: %+v", s)
	}
	c.add(12 * time.Hour)
	if s := l.Meet(nurse("n"), patients(1)); s.Over != "" {
		t.Errorf("in the next shift: %+v", s)
	}
}

// hazard:GW-03 control:C-15
func TestBudgetIsOfTheRole(t *testing.T) {
	rules := limit.Rules{Budget: opened(1, 0), Budgets: map[string]limit.Budget{"nurse": opened(2, 0), "doctor": opened(3, 0), "site-manager": {}}}
	for _, row := range []struct {
		roles []string
		most  int // 1000 for no budget
	}{
		{nil, 1}, {[]string{"porter"}, 1}, {[]string{"nurse"}, 2}, {[]string{"doctor", "nurse", "porter"}, 3}, {[]string{"nurse", "site-manager"}, 1000},
	} {
		l, _ := newLimiter(t, limit.Config{Rules: rules})
		s := person("ada", "tab")
		s.Roles = row.roles
		n := 0
		for ; n < 1000; n++ {
			if l.Meet(s, patients(n)).Over != "" {
				break
			}
		}
		if n != row.most {
			t.Errorf("%v: %d patients, want %d", row.roles, n, row.most)
		}
	}
}

// TestOnePatientIsOneHoweverNamed: not by application, but by site; by id, or by NHS
// number where there is none.
func TestOnePatientIsOneHoweverNamed(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Budget: opened(100, 100)}})
	s := nurse("n")
	for _, m := range []proxy.Met{
		{Site: "RZZ", Patients: []proxy.Patient{{ID: "7"}}},
		{Site: "RZZ", Patients: []proxy.Patient{{ID: "7", NHSNumber: "9990000018"}}},
		{Site: "RXX", Patients: []proxy.Patient{{ID: "7"}}},
		{Site: "RZZ", Patients: []proxy.Patient{{NHSNumber: "9990000018"}, {NHSNumber: "9990000018"}}},
	} {
		l.Meet(s, m)
	}
	if hour, _ := l.Counts(s, false); hour != 3 {
		t.Errorf("%d patients, want 3", hour)
	}
}

// TestMajorIncidentLiftsBudgetsAndDelays: for people, not for exports nor machines;
// and what was done in it is not held against anybody afterwards.
// hazard:GW-03 control:C-15
func TestMajorIncidentLiftsBudgetsAndDelays(t *testing.T) {
	on := true
	l, _ := newLimiter(t, limit.Config{Lifted: func() bool { return on }, Rules: limit.Rules{Kinds: rates(), Budget: opened(2, 2)}})
	s := nurse("n")
	for i := range 500 {
		for _, kind := range []proxy.LimitKind{proxy.Interactive, proxy.SearchKind} {
			if wait, ok := l.Take(s, kind, 1); wait != 0 || !ok {
				t.Fatalf("%s %d: wait %s, %t", kind, i, wait, ok)
			}
		}
		if standing := l.Meet(s, patients(i)); standing != (proxy.Standing{}) {
			t.Fatalf("patient %d: %+v", i, standing)
		}
	}
	if n := takeUntilRefused(l, s, proxy.Bulk); n != 1 {
		t.Errorf("%d exports, want 1", n)
	}
	machine := person("lab", "")
	machine.Machine = true
	if n := takeUntilRefused(l, machine, proxy.Interactive); n != 10 {
		t.Errorf("%d requests of a machine, want 10", n)
	}
	on = false
	if standing := l.Meet(s, patients(1, 2)); standing.Over != "" {
		t.Errorf("after the incident: %+v", standing)
	}
	if n := takeUntilRefused(l, s, proxy.Interactive); n != 3 {
		t.Errorf("after the incident %d without a wait, want 3", n)
	}
}

// hazard:GW-24 control:C-191
func TestMachinesHaveLimitsOfTheirOwn(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates(), Budget: opened(1, 1), Machines: map[string]limit.Machine{
		"board": {Rate: limit.Rate{PerSecond: 1, Burst: 20}, Budget: opened(0, 4)}, "lab": {},
	}}})
	machine := func(sub string) policy.Subject {
		s := person(sub, "")
		s.Machine = true
		return s
	}
	for sub, want := range map[string]int{"board": 40, "lab": 10} { // twice the burst without a session
		if n := takeUntilRefused(l, machine(sub), proxy.Interactive); n != want {
			t.Errorf("%s: %d, want %d", sub, n, want)
		}
	}
	if s := l.Meet(machine("lab"), patients(upTo(50)...)); s.Over != "" {
		t.Errorf("a machine without a budget: %+v", s)
	}
	if s := l.Meet(machine("board"), patients(upTo(5)...)); s.Over != "shift" || s.Of != 4 {
		t.Errorf("a machine with one: %+v", s)
	}
	mine := person("board", "tab") // somebody with the same name is not the machine
	if n := takeUntilRefused(l, mine, proxy.Interactive); n != 3 {
		t.Errorf("a person: %d, want 3", n)
	}
}

func TestRulesChangeWhileCountsStay(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates(), Budget: opened(5, 5)}})
	s := nurse("n")
	l.Meet(s, patients(1, 2, 3))
	takeUntilRefused(l, s, proxy.SearchKind)
	if err := l.SetRules(limit.Rules{Budget: opened(2, 2), Kinds: map[proxy.LimitKind]limit.Rate{proxy.SearchKind: {PerSecond: 100, Burst: 100}}}); err != nil {
		t.Fatal(err)
	}
	if n := takeUntilRefused(l, s, proxy.SearchKind); n != 0 {
		t.Errorf("another rate gave back %d actions that were taken", n)
	}
	if standing := l.Meet(s, proxy.Met{}); standing.Over != "shift" || standing.Patients != 3 {
		t.Errorf("a smaller budget: %+v", standing)
	}
	if err := l.SetRules(limit.Rules{Budget: opened(2, limit.MaxPatients+1)}); err == nil {
		t.Error("a budget beyond what can be told apart is taken")
	}
	for _, shift := range []time.Duration{time.Minute, 25 * time.Hour, time.Hour + time.Second} {
		if err := l.SetRules(limit.Rules{Shift: shift}); err == nil {
			t.Errorf("a shift of %s is taken", shift)
		}
	}
	if standing := l.Meet(s, proxy.Met{}); standing.Of != 2 {
		t.Errorf("after rules that are refused: %+v", standing)
	}
}

// TestManyActionsAtOnce cost what they are, and never more than there can be.
func TestManyActionsAtOnce(t *testing.T) {
	l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates()}})
	s := nurse("n")
	if wait, ok := l.Take(s, proxy.SearchKind, 2); !ok || wait != 0 {
		t.Errorf("two of three: %s, %t", wait, ok)
	}
	if _, ok := l.Take(s, proxy.SearchKind, 2); ok {
		t.Error("two more of one")
	}
	if _, ok := l.Take(s, proxy.SearchKind, 1); !ok {
		t.Error("what was refused was taken all the same")
	}
	c.add(time.Hour)
	if _, ok := l.Take(s, proxy.SearchKind, 500); !ok {
		t.Error("more than the burst can never be done")
	}
	if _, ok := l.Take(s, proxy.SearchKind, 1); ok {
		t.Error("500 cost less than all there is")
	}
}

func TestOversAreListedWhileTheyAre(t *testing.T) {
	l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Budget: opened(2, 0)}})
	l.Meet(nurse("within"), patients(1, 2))
	l.Meet(nurse("over"), patients(1, 2, 3))
	l.Meet(nurse("far"), patients(1, 2, 3, 4, 5))
	want := []limit.Over{
		{Subject: nurse("far"), Window: "hour", Patients: 5, Of: 2},
		{Subject: nurse("over"), Window: "hour", Patients: 3, Of: 2},
	}
	if diff := cmp.Diff(want, l.Overs()); diff != "" {
		t.Error(diff)
	}
	c.add(time.Hour)
	if got := l.Overs(); len(got) != 0 {
		t.Errorf("an hour later: %+v", got)
	}
}

// TestPatientsAreForgottenWithTheirPerson: no memory is kept for anybody who is
// gone, and beyond the bound nothing is counted and that is known.
func TestPatientsAreForgottenWithTheirPerson(t *testing.T) {
	l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Budget: opened(100, 100)}, MaxMemory: 1 << 16})
	whole := l.MemoryLeft()
	for i := range 1000 {
		l.Meet(nurse(fmt.Sprint(i)), patients(upTo(5)...))
	}
	if left := l.MemoryLeft(); left < 0 || l.Uncounted() == 0 {
		t.Errorf("%d bytes left, %d not counted", left, l.Uncounted())
	}
	if s := l.Meet(nurse("late"), patients(upTo(500)...)); s.Over != "" {
		t.Errorf("whom there is no memory for is over the budget: %+v", s)
	}
	c.add(13 * time.Hour)
	const late = 3000 // so many that each part of the table, by whatever hash, has its share of the counts
	for i := range 40 * late {
		l.Take(nurse(fmt.Sprint("late", i%late)), proxy.Interactive, 1)
	}
	if n, left := l.Len(), l.MemoryLeft(); n != late || left != whole {
		t.Errorf("%d people remembered, %d of %d bytes left", n, left, whole)
	}
}

// TestCountsAtOnce is for the race detector, and counts nobody twice.
func TestCountsAtOnce(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Budget: opened(1000, 1000)}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				l.Meet(nurse("n"), patients(i))
				l.Take(nurse(fmt.Sprint(i)), proxy.Interactive, 1)
				l.Overs()
			}
		})
	}
	wg.Wait()
	if hour, shift := l.Counts(nurse("n"), false); hour != 500 || shift != 500 {
		t.Errorf("%d and %d, want 500", hour, shift)
	}
}
