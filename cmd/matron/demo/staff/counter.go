package staff

import (
	"maps"
	"sync"
)

// Counts is what was sent and what came back. For each class the requests equal
// the responses of every status plus the failures.
type Counts struct {
	Requests  map[Class]uint64         `json:"requests"`
	Responses map[Class]map[int]uint64 `json:"responses"`
	// Failures got no response: whether they reached the gateway is not known.
	Failures map[Class]uint64 `json:"failures"`
	SignIns  uint64           `json:"sign_ins"` // sign-ins completed
	// Denials is how many application and dashboard requests were answered 403.
	Denials uint64 `json:"denials"`
	// Misuse counts the misuse that was acted out, by kind.
	Misuse map[string]uint64 `json:"misuse"`
}

// counter counts for everybody who works.
type counter struct {
	mu sync.Mutex // guards c
	c  Counts
}

func newCounter() *counter {
	return &counter{c: Counts{
		Requests: map[Class]uint64{}, Responses: map[Class]map[int]uint64{}, Failures: map[Class]uint64{}, Misuse: map[string]uint64{},
	}}
}

// exchange counts one request that the transport sent attempts times; status 0
// means that no response came. A transport repeats a request of its own accord
// when a kept connection turns out dead: the earlier attempts are failures.
func (c *counter) exchange(class Class, attempts uint64, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	attempts = max(attempts, 1)
	c.c.Requests[class] += attempts
	if status == 0 {
		c.c.Failures[class] += attempts
		return
	}
	if attempts > 1 {
		c.c.Failures[class] += attempts - 1
	}
	if c.c.Responses[class] == nil {
		c.c.Responses[class] = map[int]uint64{}
	}
	c.c.Responses[class][status]++
	if status == 403 && (class == Application || class == Dashboard) {
		c.c.Denials++
	}
}

func (c *counter) signedIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.SignIns++
}

func (c *counter) misuse(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Misuse[kind]++
}

func (c *counter) counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.c
	out.Requests, out.Failures, out.Misuse = maps.Clone(c.c.Requests), maps.Clone(c.c.Failures), maps.Clone(c.c.Misuse)
	out.Responses = map[Class]map[int]uint64{}
	for class, by := range c.c.Responses {
		out.Responses[class] = maps.Clone(by)
	}
	return out
}
