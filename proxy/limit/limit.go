// Package limit counts what people do and whom they see: actions per person,
// session and kind with token buckets, and the different patients of each person
// within an hour and a shift against the budget of their role.
//
// It counts by person and session; by address only what nobody who is signed in
// does (proxy.Anonymous, proxy.SignInKind), with room for a whole hospital behind
// one (hazard GW-03). It never refuses interactive care: that is slowed, by a
// bounded time. It never learns who a patient is: it keeps keyed hashes, whose key
// is in memory alone.
//
// All of it is in the memory of one gateway: a restart begins anew, and gateways
// side by side count each for itself. Memory is bounded: whoever has been idle for
// so long that forgetting changes no answer is forgotten, a few at a time while
// others are counted, and at the bound the longest idle of a few sooner. A Limiter
// is safe for concurrent use and starts no goroutine.
package limit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// Rate is what one session may do of one kind: so many a second in the long run,
// and Burst at once.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Config is what a Limiter is made of. Now is required.
type Config struct {
	Rules
	// MaxPeople bounds how many people and machines are remembered, and how many
	// addresses besides; default 131,072.
	MaxPeople int
	// MaxMemory bounds in bytes what the patients of all of them take together;
	// default 256 MiB.
	MaxMemory int64
	// Lifted reports whether a major incident is on: people are then neither slowed
	// nor refused, and nobody's patients are counted. It is asked each time and must
	// answer from memory; nil means never.
	Lifted func() bool
	// Now is the clock. Its monotonic reading is what counts: steps of the wall
	// clock change nothing.
	Now func() time.Time
}

// Rules are the limits themselves: SetRules replaces them while a Limiter is used.
type Rules struct {
	// Kinds replaces the default rate of each kind it names.
	Kinds map[proxy.LimitKind]Rate
	// PersonFactor is how much more one person may do over all their sessions
	// than over one of them; default 2.
	PersonFactor float64
	// MaxWait bounds how long interactive care is slowed; default 2 s.
	MaxWait time.Duration
	// Budgets are by role, as Subject.Roles has it; of several the largest counts,
	// number by number. Budget is of everybody else.
	Budgets map[string]Budget
	Budget  Budget
	// Shift is how long the longer of the two windows is, in steps of five minutes;
	// default 12 h.
	Shift time.Duration
	// Pause is how long interactive care waits for each patient beyond the budget,
	// once; default 1 s, at most MaxWait.
	Pause time.Duration
	// Machines have limits of their own, by Subject.Sub.
	Machines map[string]Machine
}

// Budget is how many different patients somebody may meet within an hour and
// within a shift. Zero is no budget: nothing is counted against it.
type Budget struct {
	Opened Number // named by the request, or by the answer to something that is no list
	Listed Number // in answers to searches and lists
}

// Number is one budget for each window, at most MaxPatients.
type Number struct{ Hour, Shift int }

// Machine is what one registered machine client may do. A zero Rate is the one of
// all machines.
type Machine struct {
	Rate   Rate
	Budget Budget
}

// MaxPatients is how many different patients of one person are told apart. Beyond
// that there is no telling how many more there are, which is over every budget.
const MaxPatients = 10_000

// ErrConfig is what the errors of New and SetRules wrap.
var ErrConfig = errors.New("rate limit configuration")

// Limiter is the proxy.Limiter made of token buckets and sets of hashes.
type Limiter struct {
	rules     atomic.Pointer[rules]
	lifted    func() bool
	now       func() time.Time
	began     time.Time
	latest    atomic.Uint32 // tick
	seed      maphash.Seed
	memory    memory
	people    people
	addresses people // of nobody known: they never push out people
}

var _ proxy.Limiter = (*Limiter)(nil)

// rules are Rules made ready. They never change.
type rules struct {
	kinds    map[proxy.LimitKind]Rate
	factor   float64
	maxWait  time.Duration
	pause    time.Duration
	budgets  map[string]Budget
	budget   Budget
	windows  windows
	machines map[string]Machine
}

// DefaultRates returns the rates of a Limiter that is not told otherwise. They
// leave several times what a busy clinician does.
func DefaultRates() map[proxy.LimitKind]Rate {
	return map[proxy.LimitKind]Rate{
		proxy.Interactive:   {PerSecond: 20, Burst: 300},
		proxy.SearchKind:    {PerSecond: 2, Burst: 60},
		proxy.Bulk:          {PerSecond: 0.2, Burst: 10},
		proxy.MachineClient: {PerSecond: 50, Burst: 500},
		proxy.Anonymous:     {PerSecond: 20, Burst: 300},
		// A whole hospital may stand behind one address when a shift begins.
		proxy.SignInKind: {PerSecond: 5, Burst: 600},
	}
}

// New makes a Limiter.
func New(cfg Config) (*Limiter, error) {
	if cfg.Now == nil {
		return nil, fmt.Errorf("%w: no Now", ErrConfig)
	}
	l := &Limiter{lifted: cfg.Lifted, now: cfg.Now, began: cfg.Now(), seed: maphash.MakeSeed()}
	if err := l.SetRules(cfg.Rules); err != nil {
		return nil, err
	}
	if l.lifted == nil {
		l.lifted = func() bool { return false }
	}
	if cfg.MaxPeople <= 0 {
		cfg.MaxPeople = 1 << 17
	}
	if cfg.MaxMemory <= 0 {
		cfg.MaxMemory = 256 << 20
	}
	l.memory.left.Store(cfg.MaxMemory)
	l.people.open(cfg.MaxPeople, &l.memory)
	l.addresses.open(cfg.MaxPeople, &l.memory)
	return l, nil
}

// SetRules replaces the limits. What was counted stays counted.
func (l *Limiter) SetRules(r Rules) error {
	ready := &rules{
		kinds: DefaultRates(), factor: r.PersonFactor, maxWait: r.MaxWait, pause: r.Pause,
		budgets: r.Budgets, budget: r.Budget, machines: r.Machines,
	}
	for kind, rate := range r.Kinds {
		if _, ok := ready.kinds[kind]; !ok {
			return fmt.Errorf("%w: unknown kind %q", ErrConfig, kind)
		}
		if rate.PerSecond <= 0 || rate.Burst < 1 {
			return fmt.Errorf("%w: kind %q: rate and burst must be above zero", ErrConfig, kind)
		}
		ready.kinds[kind] = rate
	}
	if ready.factor < 1 {
		ready.factor = 2
	}
	if ready.maxWait <= 0 {
		ready.maxWait = 2 * time.Second
	}
	if ready.pause <= 0 {
		ready.pause = time.Second
	}
	ready.pause = min(ready.pause, ready.maxWait)
	if r.Shift == 0 {
		r.Shift = 12 * time.Hour
	}
	if r.Shift < time.Hour || r.Shift > 24*time.Hour || r.Shift%step != 0 {
		return fmt.Errorf("%w: a shift must be from 1h to 24h in steps of %s", ErrConfig, step)
	}
	ready.windows = windows{ticks(time.Hour), ticks(r.Shift)}
	if err := r.checkBudgets(); err != nil {
		return err
	}
	l.rules.Store(ready)
	return nil
}

func (r *Rules) checkBudgets() error {
	all := []Budget{r.Budget}
	for _, b := range r.Budgets {
		all = append(all, b)
	}
	for _, m := range r.Machines {
		all = append(all, m.Budget)
	}
	for _, b := range all {
		for _, n := range [...]int{b.Opened.Hour, b.Opened.Shift, b.Listed.Hour, b.Listed.Shift} {
			if n < 0 || n > MaxPatients {
				return fmt.Errorf("%w: a budget must be from 0 to %d", ErrConfig, MaxPatients)
			}
		}
	}
	return nil
}

// Take takes n actions of the person and of the session, as proxy.Limiter says. A
// machine counts as a machine whatever it does; a kind that nobody knows counts as
// the one with the tightest rate.
func (l *Limiter) Take(s policy.Subject, kind proxy.LimitKind, n int) (time.Duration, bool) {
	r := l.rules.Load()
	if s.Machine && kind != proxy.Anonymous {
		kind = proxy.MachineClient
	}
	if (kind == proxy.Interactive || kind == proxy.SearchKind) && l.lifted() {
		return 0, true
	}
	rate, ok := r.kinds[kind]
	if !ok {
		kind = proxy.Bulk
		rate = r.kinds[kind]
	}
	if own := r.machines[s.Sub].Rate; s.Machine && own.Burst > 0 {
		rate = own
	}
	now := l.now()
	p, home := l.person(&s, r, now)
	defer home.mu.Unlock()
	wait := p.take(take{session: s.Session, kind: kind, rate: rate, n: n, since: now.Sub(l.began)}, r)
	if wait <= r.maxWait && kind == proxy.Interactive || wait <= 0 {
		return max(wait, 0), true
	}
	if kind == proxy.Interactive { // never refused (GW-03)
		return r.maxWait, true
	}
	return wait, false
}

// person finds or makes what is known of s. Its shard is locked until the caller
// unlocks it.
func (l *Limiter) person(s *policy.Subject, r *rules, now time.Time) (*person, *shard) {
	all := &l.people
	if s.Issuer == "" {
		all = &l.addresses
	}
	w := name(maphash.Comparable(l.seed, who{s.Issuer, s.Sub}))
	home := &all.shards[w%name(len(all.shards))]
	home.mu.Lock()
	return home.find(w, r, moment{now.Sub(l.began), l.tick(now)}), home
}

// Len returns how many people and addresses are remembered.
func (l *Limiter) Len() int { return l.people.len() + l.addresses.len() }

// Uncounted returns how many patients were not counted since the start, for want
// of memory.
func (l *Limiter) Uncounted() uint64 { return l.memory.uncounted.Load() }
