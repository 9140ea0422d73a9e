package limit

import (
	"slices"
	"sync"
	"time"

	"github.com/matron-epr/matron/proxy"
)

const (
	// swept is how many people are looked at for whether they are idle, whenever one
	// comes and at every sweepEach-th count: no pause is ever longer than that.
	swept     = 2
	sweepEach = 8
	// compared is how many are compared when one more does not fit.
	compared = 8
	// maxBuckets bounds the sessions of one person that are remembered, times the
	// kinds of what they do.
	maxBuckets = 64
)

// who is whom a count is of: a person or machine, or an address without an issuer.
type who struct{ issuer, sub string }

// name is the keyed hash of a who, which stands for it.
type name uint64

// people is a table in parts, so that counts of different people seldom wait for
// each other.
type people struct {
	shards [64]shard
}

func (p *people) open(limit int, m *memory) {
	for i := range p.shards {
		p.shards[i] = shard{known: make(map[name]*person), over: make(map[*person]excess), limit: max(limit/len(p.shards), 1), memory: m}
	}
}

func (p *people) len() int {
	n := 0
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		n += len(s.list)
		s.mu.Unlock()
	}
	return n
}

// shard is one part of the table. All but mu, limit and memory is guarded by mu,
// and so is every person in it.
type shard struct {
	mu     sync.Mutex
	known  map[name]*person
	list   []*person          // the same, in no order
	next   int                // of list: whom the sweep looks at next
	counts uint64             // of this shard
	over   map[*person]excess // who was over a budget when last counted
	limit  int
	memory *memory
}

// moment is one time in both of the ways in which it is counted.
type moment struct {
	since time.Duration // the Limiter began
	tick  uint32
}

// person is what is known of one of them. It is guarded by its shard.
type person struct {
	who     name
	index   int           // in the shard's list
	used    time.Duration // when last counted
	buckets []bucket
	tallies [2]tally // opened, listed
}

// bucket is the rate of one session and kind, or of the person with the session "".
type bucket struct {
	session string
	kind    proxy.LimitKind
	rate    Rate
	full    time.Duration // since the Limiter began: when nothing is owed, and forgetting it changes nothing
}

// find returns the person, new if nobody knew them, and looks at a few others. The
// caller holds mu.
func (s *shard) find(w name, r *rules, now moment) *person {
	p := s.known[w]
	if s.counts++; p == nil || s.counts%sweepEach == 0 {
		s.sweep(r, now)
		p = s.known[w]
	}
	if p == nil {
		if len(s.list) >= s.limit {
			s.forget(s.longestIdle())
		}
		p = &person{who: w, index: len(s.list)}
		s.known[w], s.list = p, append(s.list, p)
	}
	p.used = max(p.used, now.since)
	return p
}

// sweep forgets whoever of the next few is idle.
func (s *shard) sweep(r *rules, now moment) {
	for range min(swept, len(s.list)) {
		if s.next >= len(s.list) {
			s.next = 0
		}
		if p := s.list[s.next]; s.idle(p, r, now) {
			s.forget(p) // another takes its place in the list
		} else {
			s.next++
		}
	}
}

// idle reports whether forgetting p changes no answer.
func (s *shard) idle(p *person, r *rules, now moment) bool {
	if now.since-p.used <= fresh {
		return false
	}
	left := 0
	for i := range p.tallies {
		p.tallies[i].advance(now.tick, r.windows, s.memory)
		left += p.tallies[i].count[shift]
	}
	return left == 0 && !slices.ContainsFunc(p.buckets, func(b bucket) bool { return b.full > now.since })
}

// fresh is for how long nobody is looked at after they were last counted.
const fresh = time.Minute

// longestIdle is who of the next few has been idle for the longest time.
func (s *shard) longestIdle() *person {
	var idle *person
	for range min(compared, len(s.list)) {
		if s.next >= len(s.list) {
			s.next = 0
		}
		if p := s.list[s.next]; idle == nil || p.used < idle.used {
			idle = p
		}
		s.next++
	}
	return idle
}

func (s *shard) forget(p *person) {
	last := s.list[len(s.list)-1]
	s.list[p.index], last.index = last, p.index
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	delete(s.known, p.who)
	delete(s.over, p)
	for i := range p.tallies {
		p.tallies[i].release(s.memory)
	}
}

// take is one question to the buckets.
type take struct {
	session string
	kind    proxy.LimitKind
	rate    Rate
	n       int
	since   time.Duration // the Limiter began
}

// take takes tokens of the person and of the session, or of neither where one of
// them would have to wait too long, and returns the wait.
func (p *person) take(t take, r *rules) time.Duration {
	most := r.maxWait
	if t.kind != proxy.Interactive {
		most = 0
	}
	n := bounded(t.n, t.rate.Burst)
	own := t
	own.session, own.rate = "", Rate{t.rate.PerSecond * r.factor, int(float64(t.rate.Burst) * r.factor)}
	whole := p.bucket(own)
	wait, full := whole.owing(n, t.since)
	if wait > most {
		return wait
	}
	whole.full = full
	if t.session == "" {
		return wait
	}
	part := p.bucket(t) // whole may lie elsewhere now
	longer, full := part.owing(n, t.since)
	if longer > most {
		p.bucket(own).giveBack(n)
		return longer
	}
	part.full = full
	return max(wait, longer)
}

// bounded is how many tokens n actions at once take: never more than there can be,
// since what is done as one could otherwise never be done.
func bounded(n, burst int) int { return min(max(n, 1), burst) }

// bucket returns the bucket of a session and kind, a full one if there is none. It
// is good until the next call.
func (p *person) bucket(t take) *bucket {
	for i := range p.buckets {
		if b := &p.buckets[i]; b.kind == t.kind && b.session == t.session {
			b.turnTo(t.rate, t.since)
			return b
		}
	}
	p.makeRoom(t.since)
	p.buckets = append(p.buckets, bucket{t.session, t.kind, t.rate, t.since})
	return &p.buckets[len(p.buckets)-1]
}

// owing is how long n tokens must be waited for, negative where more are there, and
// when the bucket is full again once they are taken.
func (b *bucket) owing(n int, since time.Duration) (wait, full time.Duration) {
	full = max(b.full, since) + b.rate.fills(float64(n))
	return full - since - b.rate.fills(float64(b.rate.Burst)), full
}

// giveBack puts n tokens back that were taken a moment ago.
func (b *bucket) giveBack(n int) { b.full -= b.rate.fills(float64(n)) }

// turnTo goes on at another rate with the tokens that are there.
func (b *bucket) turnTo(other Rate, since time.Duration) {
	if b.rate == other {
		return
	}
	owed := max(b.full-since, 0).Seconds() * b.rate.PerSecond
	there := min(float64(b.rate.Burst)-owed, float64(other.Burst))
	b.rate, b.full = other, since+other.fills(float64(other.Burst)-there)
}

// fills is how long n tokens take to come, a century at most.
func (r Rate) fills(n float64) time.Duration {
	const century = 100 * 365 * 24 * 3600
	return time.Duration(min(n/r.PerSecond, century) * float64(time.Second))
}

// makeRoom forgets the bucket that is full again soonest, if it is so now or there
// are too many.
func (p *person) makeRoom(since time.Duration) {
	if len(p.buckets) == 0 {
		return
	}
	first := 0
	for i := range p.buckets {
		if p.buckets[i].full < p.buckets[first].full {
			first = i
		}
	}
	if p.buckets[first].full > since && len(p.buckets) < maxBuckets {
		return
	}
	last := len(p.buckets) - 1
	p.buckets[first], p.buckets[last] = p.buckets[last], bucket{}
	p.buckets = p.buckets[:last]
}
