package limit_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/limit"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newLimiter(t *testing.T, cfg limit.Config) (*limit.Limiter, *clock) {
	t.Helper()
	c := &clock{t: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)}
	cfg.Now = c.now
	l, err := limit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

func person(sub, session string) policy.Subject {
	return policy.Subject{Issuer: "https://id.test", Sub: sub, Session: session}
}

// rates are small, so that tests can count.
func rates() map[proxy.LimitKind]limit.Rate {
	return map[proxy.LimitKind]limit.Rate{
		proxy.Interactive:   {PerSecond: 1, Burst: 3},
		proxy.SearchKind:    {PerSecond: 1, Burst: 3},
		proxy.Bulk:          {PerSecond: 0.1, Burst: 1},
		proxy.MachineClient: {PerSecond: 1, Burst: 5},
		proxy.Anonymous:     {PerSecond: 1, Burst: 2},
	}
}

// takeUntilRefused returns how many actions go through without a wait.
func takeUntilRefused(l *limit.Limiter, s policy.Subject, kind proxy.LimitKind) int {
	for n := range 1000 {
		if wait, ok := l.Take(s, kind, 1); !ok || wait > 0 {
			return n
		}
	}
	return 1000
}

// hazard:GW-03 control:C-13
func TestInteractiveIsSlowedNeverRefused(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates(), MaxWait: 2 * time.Second}})
	s := person("ada", "tab")
	var longest time.Duration
	for i := range 500 {
		wait, ok := l.Take(s, proxy.Interactive, 1)
		if !ok {
			t.Fatalf("interactive action %d refused", i)
		}
		longest = max(longest, wait)
	}
	if longest != 2*time.Second {
		t.Errorf("longest wait %v, want exactly the bound of 2s", longest)
	}
}

func TestSlowingLeavesNoDebt(t *testing.T) {
	l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates(), MaxWait: 2 * time.Second}})
	s := person("ada", "tab")
	for range 500 {
		l.Take(s, proxy.Interactive, 1)
	}
	c.add(10 * time.Second)
	if wait, ok := l.Take(s, proxy.Interactive, 1); wait != 0 || !ok {
		t.Errorf("after a rest: wait %v, ok %v; want none", wait, ok)
	}
}

// hazard:GW-03 control:C-14
func TestSearchBulkAndMachinesAreRefusedWithWait(t *testing.T) {
	machine := person("lab", "")
	machine.Machine = true
	for _, row := range []struct {
		name    string
		subject policy.Subject
		kind    proxy.LimitKind
		allowed int
		wait    time.Duration
	}{
		{"search", person("ada", "tab"), proxy.SearchKind, 3, time.Second},
		{"bulk", person("ada", "tab"), proxy.Bulk, 1, 10 * time.Second},
		{"a machine is a machine whatever it does", machine, proxy.Interactive, 10, 500 * time.Millisecond},
		{"an unknown kind is the tightest", person("ada", "tab"), "novel", 1, 10 * time.Second},
		{"an address", policy.Subject{Sub: "10.0.0.1"}, proxy.Anonymous, 4, 500 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates()}})
			if n := takeUntilRefused(l, row.subject, row.kind); n != row.allowed {
				t.Fatalf("%d allowed, want %d", n, row.allowed)
			}
			wait, ok := l.Take(row.subject, row.kind, 1)
			if ok || wait != row.wait {
				t.Fatalf("wait %v, ok %v; want %v, false", wait, ok, row.wait)
			}
			c.add(wait)
			if _, ok := l.Take(row.subject, row.kind, 1); !ok {
				t.Error("refused after the wait it asked for")
			}
		})
	}
}

// hazard:GW-03 control:C-12
func TestPersonsAndKindsDoNotShare(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates()}})
	takeUntilRefused(l, person("ada", "tab"), proxy.SearchKind)
	if n := takeUntilRefused(l, person("bob", "tab2"), proxy.SearchKind); n != 3 {
		t.Errorf("another person: %d allowed, want 3", n)
	}
	other := person("ada", "tab")
	other.Issuer = "https://elsewhere.test"
	if n := takeUntilRefused(l, other, proxy.SearchKind); n != 3 {
		t.Errorf("the same sub of another issuer: %d allowed, want 3", n)
	}
	if n := takeUntilRefused(l, person("ada", "tab"), proxy.Interactive); n != 3 {
		t.Errorf("another kind: %d allowed, want 3", n)
	}
}

// hazard:GW-03 control:C-12
func TestSessionsShareThePersonsBucket(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates(), PersonFactor: 2}})
	total := 0
	for i := range 5 {
		total += takeUntilRefused(l, person("ada", fmt.Sprint("tab", i)), proxy.SearchKind)
	}
	if total != 6 {
		t.Errorf("%d allowed over five sessions, want 6", total)
	}
}

func TestIdlePeopleAreForgotten(t *testing.T) {
	l, c := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates()}})
	for i := range 5000 {
		l.Take(person(fmt.Sprint(i), ""), proxy.SearchKind, 1)
	}
	c.add(time.Hour)
	for i := range 5000 {
		l.Take(person(fmt.Sprint("later", i), ""), proxy.SearchKind, 1)
	}
	if n := l.Len(); n > 7500 {
		t.Errorf("%d remembered, of 5000 in use", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: rates()}, MaxPeople: 192})
	for i := range 10000 {
		l.Take(person(fmt.Sprint(i), "tab"), proxy.SearchKind, 1)
	}
	if n := l.Len(); n > 192 {
		t.Errorf("%d buckets remembered, want at most 192", n)
	}
}

func TestConcurrentTakesAreCountedOnce(t *testing.T) {
	l, _ := newLimiter(t, limit.Config{Rules: limit.Rules{Kinds: map[proxy.LimitKind]limit.Rate{proxy.SearchKind: {PerSecond: 0.001, Burst: 100}}}})
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		allowed int
	)
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if _, ok := l.Take(person("ada", "tab"), proxy.SearchKind, 1); ok {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if allowed != 100 {
		t.Errorf("%d allowed, want 100", allowed)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]limit.Config{
		"no clock":     {},
		"unknown kind": {Now: new(clock).now, Rules: limit.Rules{Kinds: map[proxy.LimitKind]limit.Rate{"novel": {PerSecond: 1, Burst: 1}}}},
		"zero rate":    {Now: new(clock).now, Rules: limit.Rules{Kinds: map[proxy.LimitKind]limit.Rate{proxy.Bulk: {Burst: 1}}}},
		"zero burst":   {Now: new(clock).now, Rules: limit.Rules{Kinds: map[proxy.LimitKind]limit.Rate{proxy.Bulk: {PerSecond: 1}}}},
	} {
		if _, err := limit.New(cfg); !errors.Is(err, limit.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}
