package limit

import "github.com/matron-epr/matron/policy"

// Counts returns how many different patients of s are within the hour and the shift.
func (l *Limiter) Counts(s policy.Subject, listed bool) (hour, shift int) {
	p, home := l.person(&s, l.rules.Load(), l.now())
	defer home.mu.Unlock()
	t := &p.tallies[opened]
	if listed {
		t = &p.tallies[1]
	}
	t.advance(l.tick(l.now()), l.rules.Load().windows, &l.memory)
	return t.count[0], t.count[1]
}

// MemoryLeft returns how many bytes sets may still take.
func (l *Limiter) MemoryLeft() int64 { return l.memory.left.Load() }
