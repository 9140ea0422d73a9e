package proxy

import (
	"sync"
	"time"
)

// floods decides which limit events get a record of their own. Each event is
// either recorded or counted in the next record of the same person and kind, so
// that a flood can neither fill the disk nor go unseen. Safe for concurrent use.
type floods struct {
	mu   sync.Mutex
	seen map[floodKey]*flood // guarded by mu, at most floodKeys entries
}

type floodKey struct {
	issuer, sub string
	kind        LimitKind
	code        string // of refusals that are not of a rate; "" for those
}

type flood struct {
	window time.Time
	events int    // recorded within the window
	missed uint64 // counted, not recorded, since the last record
}

const (
	floodWindow = time.Second
	floodEvents = 10      // records per key and window
	floodKeys   = 1 << 14 // beyond this the oldest windows are forgotten once empty
)

// note counts one event. write says that it wants a record of its own, missed
// how many events before it have none.
func (f *floods) note(key floodKey, now time.Time) (write bool, missed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = make(map[floodKey]*flood)
	}
	e := f.seen[key]
	if e == nil {
		f.sweep(now)
		e = &flood{window: now}
		f.seen[key] = e
	}
	if now.Sub(e.window) >= floodWindow {
		e.window, e.events = now, 0
	}
	if e.events >= floodEvents {
		e.missed++
		return false, 0
	}
	e.events++
	missed, e.missed = e.missed, 0
	return true, missed
}

// drain returns the events that no record counts yet, and forgets them.
func (f *floods) drain() map[floodKey]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	owed := make(map[floodKey]uint64)
	for key, e := range f.seen {
		if e.missed > 0 {
			owed[key] = e.missed
			e.missed = 0
		}
	}
	return owed
}

// sweep forgets keys whose window is over and that owe no count.
func (f *floods) sweep(now time.Time) {
	if len(f.seen) < floodKeys {
		return
	}
	for key, e := range f.seen {
		if now.Sub(e.window) >= floodWindow && e.missed == 0 {
			delete(f.seen, key)
		}
	}
}
