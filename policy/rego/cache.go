package rego

import (
	"sync"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Bounds of the cache of decisions.
const (
	cacheEntries = 8192
	cacheFor     = 5 * time.Minute
	cacheKey     = 4 << 10 // bytes: a question about many patients is not asked twice in a row
)

// cache remembers allowed decisions of one bundle by the whole question as far as
// the rules can read it. An answer depends on nothing else, since a bundle never
// changes and its rules can reach neither a clock nor anything outside, so that a
// revocation, a grant or a step of time that matters makes it another question. It
// is forgotten within cacheFor all the same, and by half when too many are asked.
type cache struct {
	mu         sync.Mutex
	young, old map[string]policy.Decision // guarded by mu
	since      time.Time                  // guarded by mu; when young was begun
}

func newCache() *cache { return &cache{young: map[string]policy.Decision{}} }

func (c *cache) get(key []byte, now time.Time) (policy.Decision, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(now)
	if d, ok := c.young[string(key)]; ok {
		return d, true
	}
	d, ok := c.old[string(key)]
	return d, ok
}

// put remembers d if it allows. A refusal is worked out anew each time, so that
// a person who has just been given a role is not refused by memory (GW-01). Nor
// are long questions remembered, so that few of them cannot fill the memory (GW-02).
func (c *cache) put(key []byte, d policy.Decision, now time.Time) {
	if !d.Allowed() || len(key) > cacheKey {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(now)
	if len(c.young) >= cacheEntries/2 {
		c.young, c.old, c.since = map[string]policy.Decision{}, c.young, now
	}
	c.young[string(key)] = d
}

// age forgets what is too old. A clock that went back makes everything too old. c.mu
// is held.
func (c *cache) age(now time.Time) {
	switch age := now.Sub(c.since); {
	case age < 0 || age >= cacheFor:
		c.young, c.old, c.since = map[string]policy.Decision{}, nil, now
	case age >= cacheFor/2:
		c.young, c.old, c.since = map[string]policy.Decision{}, c.young, c.since.Add(cacheFor/2)
	}
}
