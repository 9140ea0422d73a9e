// Package limit counts actions per person, session and kind with token buckets.
//
// It counts by person and session; by address only what nobody who is signed in
// does (proxy.Anonymous, proxy.SignInKind), with room for a whole hospital behind
// one (hazard GW-03). It never refuses interactive care: that is slowed, by a
// bounded time. Memory is bounded: a bucket is forgotten once it is full again,
// which changes no answer, and at the bound sooner. A Limiter is safe for
// concurrent use and starts no goroutine.
package limit

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
	// Kinds replaces the default rate of each kind it names.
	Kinds map[proxy.LimitKind]Rate
	// PersonFactor is how much more one person may do over all their sessions
	// than over one of them; default 2.
	PersonFactor float64
	// MaxWait bounds how long interactive care is slowed; default 2 s.
	MaxWait time.Duration
	// MaxEntries bounds how many sessions and persons are remembered; default
	// 65,536.
	MaxEntries int
	Now        func() time.Time
}

// ErrConfig is what New's errors wrap.
var ErrConfig = errors.New("rate limit configuration")

// Limiter is the proxy.Limiter made of token buckets.
type Limiter struct {
	rates   map[proxy.LimitKind]Rate // never changes
	factor  float64
	maxWait time.Duration
	now     func() time.Time
	seed    maphash.Seed
	shards  [16]shard
}

var _ proxy.Limiter = (*Limiter)(nil)

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
	l := &Limiter{rates: DefaultRates(), factor: cfg.PersonFactor, maxWait: cfg.MaxWait, now: cfg.Now, seed: maphash.MakeSeed()}
	for kind, r := range cfg.Kinds {
		if _, ok := l.rates[kind]; !ok {
			return nil, fmt.Errorf("%w: unknown kind %q", ErrConfig, kind)
		}
		if r.PerSecond <= 0 || r.Burst < 1 {
			return nil, fmt.Errorf("%w: kind %q: rate and burst must be above zero", ErrConfig, kind)
		}
		l.rates[kind] = r
	}
	if l.factor < 1 {
		l.factor = 2
	}
	if l.maxWait <= 0 {
		l.maxWait = 2 * time.Second
	}
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = 1 << 16
	}
	for i := range l.shards {
		l.shards[i].limit = max(cfg.MaxEntries/len(l.shards), 1)
		l.shards[i].buckets = make(map[key]*bucket)
	}
	return l, nil
}

// Take takes one action of the person and of the session, as proxy.Limiter
// says. A machine counts as a machine whatever it does; a kind that nobody knows
// counts as the one with the tightest rate.
func (l *Limiter) Take(s policy.Subject, kind proxy.LimitKind) (time.Duration, bool) {
	if s.Machine && kind != proxy.Anonymous {
		kind = proxy.MachineClient
	}
	r, ok := l.rates[kind]
	if !ok {
		kind = proxy.Bulk
		r = l.rates[kind]
	}
	now := l.now()
	person := l.bucket(key{s.Issuer, s.Sub, "", kind}, Rate{r.PerSecond * l.factor, int(float64(r.Burst) * l.factor)}, now)
	taken := person.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	var also *rate.Reservation
	if s.Session != "" {
		also = l.bucket(key{s.Issuer, s.Sub, s.Session, kind}, r, now).ReserveN(now, 1)
		wait = max(wait, also.DelayFrom(now))
	}
	if wait <= 0 || kind == proxy.Interactive && wait <= l.maxWait {
		return max(wait, 0), true
	}
	taken.CancelAt(now)
	if also != nil {
		also.CancelAt(now)
	}
	return l.over(kind, wait)
}

// over answers for an action that the buckets do not hold. Interactive care goes
// on after the longest wait there is: it is never refused (GW-03).
func (l *Limiter) over(kind proxy.LimitKind, wait time.Duration) (time.Duration, bool) {
	if kind == proxy.Interactive {
		return l.maxWait, true
	}
	return wait, false
}

// key names one bucket: a person's, or with a session that session's.
type key struct {
	issuer, sub, session string
	kind                 proxy.LimitKind
}

type bucket struct {
	*rate.Limiter
	fullAt time.Time // from when on forgetting it changes nothing
	refill time.Duration
}

// shard is one part of the table of buckets.
type shard struct {
	mu      sync.Mutex
	buckets map[key]*bucket // guarded by mu, at most limit entries
	limit   int
	sweepAt int // guarded by mu: size at which full buckets are looked for
}

// bucket returns the bucket of k, a full one if there is none.
func (l *Limiter) bucket(k key, r Rate, now time.Time) *rate.Limiter {
	s := &l.shards[maphash.Comparable(l.seed, k)%uint64(len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[k]
	if b == nil {
		s.makeRoom(now)
		b = &bucket{
			Limiter: rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst),
			refill:  time.Duration(float64(r.Burst)/r.PerSecond*float64(time.Second)) + l.maxWait,
		}
		s.buckets[k] = b
	}
	b.fullAt = now.Add(b.refill)
	return b.Limiter
}

// makeRoom forgets buckets that are full again, and when the table is at its
// bound one more, whichever comes first. The caller holds mu.
func (s *shard) makeRoom(now time.Time) {
	if len(s.buckets) < min(s.sweepAt, s.limit) {
		return
	}
	for k, b := range s.buckets {
		if !b.fullAt.After(now) {
			delete(s.buckets, k)
		}
	}
	s.sweepAt = max(2*len(s.buckets), 64)
	for k := range s.buckets {
		if len(s.buckets) < s.limit {
			break
		}
		delete(s.buckets, k)
	}
}

// Len returns how many buckets are remembered.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.buckets)
		s.mu.Unlock()
	}
	return n
}
