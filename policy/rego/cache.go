package rego

import (
	"sync"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Bounds of the cache of decisions.
const (
	cacheEntries = 4096
	cacheFor     = 5 * time.Second
	cacheKey     = 4 << 10 // bytes: a question about many patients is not asked twice in a row
)

// cache remembers allowed decisions of one bundle by the whole question as far
// as the rules can read it. It forgets everything at once after cacheFor, and
// takes nothing more in when it is full.
type cache struct {
	mu      sync.Mutex
	entries map[string]policy.Decision // guarded by mu
	since   time.Time                  // guarded by mu
}

func newCache() *cache { return &cache{entries: map[string]policy.Decision{}} }

func (c *cache) get(key []byte, now time.Time) (policy.Decision, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stale(now) {
		return policy.Decision{}, false
	}
	d, ok := c.entries[string(key)]
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
	if c.stale(now) {
		clear(c.entries)
		c.since = now
	}
	if len(c.entries) < cacheEntries {
		c.entries[string(key)] = d
	}
}

// stale reports whether what is remembered is too old. A clock that went back
// counts as too old.
func (c *cache) stale(now time.Time) bool {
	age := now.Sub(c.since)
	return age < 0 || age >= cacheFor
}
