package limit

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// step is how finely time is told apart in the windows: a patient is within one as
// long as the step in which they were last met is among its last ones, the present
// one counted. A window of an hour is so the last 55 to 60 minutes.
const step = 5 * time.Minute

// ticks is how many steps a window has.
func ticks(d time.Duration) uint32 { return uint32(d / step) } //nolint:gosec // at most 24 h

// tick is the number of the step that now is in, from 1 on. It never goes back,
// whatever the clock does.
func (l *Limiter) tick(now time.Time) uint32 {
	tick := uint32(max(now.Sub(l.began), 0)/step) + 1 //nolint:gosec // 40,000 years of steps
	for {
		latest := l.latest.Load()
		if tick <= latest {
			return latest
		}
		if l.latest.CompareAndSwap(latest, tick) {
			return tick
		}
	}
}

// windows are the lengths of both windows in steps.
type windows [2]uint32

// The windows.
const (
	hour = iota
	shift
)

// memory is what the sets of all people may still take, in bytes.
type memory struct {
	left      atomic.Int64
	uncounted atomic.Uint64 // patients that did not fit
}

// slotBytes is what one patient takes in a set.
const slotBytes = 8 + 4

// tally is the set of the patients whom one person has met within a shift, with
// the step in which each was last met: an open-addressing hash table of keyed
// hashes. It is exact up to MaxPatients, as far as 64 bits of a keyed hash tell
// patients apart. It is guarded by the shard of its person.
type tally struct {
	keys  []uint64 // a power of two of them, 0 for none
	seen  []uint32 // tick of the last time, by place in keys
	tick  uint32   // that the counts are of
	count [2]int   // of different patients, by window
	more  bool     // there were more than can be told apart
	told  [2]uint32
}

// advance lets time go by: patients who have left the longer window are forgotten.
func (t *tally) advance(tick uint32, w windows, m *memory) {
	if tick <= t.tick {
		return
	}
	t.tick = tick
	if len(t.keys) == 0 {
		return
	}
	t.count = [2]int{}
	gone := false
	for i, key := range t.keys {
		if key == 0 {
			continue
		}
		switch age := tick - t.seen[i]; {
		case age >= w[shift]:
			gone = true
		case age < w[hour]:
			t.count[hour]++
			fallthrough
		default:
			t.count[shift]++
		}
	}
	if gone {
		t.more = false
		t.rebuild(t.count[shift], w, m)
	}
}

// rebuild makes the table anew, with room for n patients, out of those who are
// within the longer window. It reports whether there was memory for that.
func (t *tally) rebuild(n int, w windows, m *memory) bool {
	size := 0
	if n > 0 {
		size = max(8, 1<<bits.Len(uint(n+n/3)))
	}
	need := int64(size-len(t.keys)) * slotBytes
	if left := m.left.Add(-need); need > 0 && left < 0 {
		m.left.Add(need)
		return false
	}
	keys, seen := t.keys, t.seen
	t.keys, t.seen = nil, nil
	if size > 0 {
		t.keys, t.seen = make([]uint64, size), make([]uint32, size)
	}
	for i, key := range keys {
		if key != 0 && t.tick-seen[i] < w[shift] {
			j, _ := t.find(key)
			t.keys[j], t.seen[j] = key, seen[i]
		}
	}
	return true
}

// find returns where key is in the table, or would be. The table has room.
func (t *tally) find(key uint64) (at int, there bool) {
	mask := len(t.keys) - 1
	for at = int(key) & mask; ; at = (at + 1) & mask { //nolint:gosec // only the low bits count
		switch t.keys[at] {
		case key:
			return at, true
		case 0:
			return at, false
		}
	}
}

// meet notes that a patient was met at the tally's tick, and returns for which of
// the windows they are new.
func (t *tally) meet(key uint64, w windows, m *memory) (fresh [2]bool) {
	if len(t.keys) > 0 {
		if at, there := t.find(key); there {
			fresh[hour] = t.tick-t.seen[at] >= w[hour]
			if fresh[hour] {
				t.count[hour]++
			}
			t.seen[at] = t.tick
			return fresh
		}
	}
	if t.count[shift] >= MaxPatients {
		t.more = true
		return [2]bool{true, true}
	}
	if 4*(t.count[shift]+1) > 3*len(t.keys) && !t.rebuild(t.count[shift]+1, w, m) {
		m.uncounted.Add(1)
		return fresh
	}
	at, _ := t.find(key)
	t.keys[at], t.seen[at] = key, t.tick
	t.count[hour]++
	t.count[shift]++
	return [2]bool{true, true}
}

// over reports whether there are more patients in a window than the budget n.
func (t *tally) over(window, n int) bool {
	return n > 0 && (t.count[window] > n || t.more)
}

// tell reports whether that the budget of a window is used up is to be told now:
// once in the length of the window.
func (t *tally) tell(window int, w windows) bool {
	if t.told[window] != 0 && t.tick-t.told[window] < w[window] {
		return false
	}
	t.told[window] = t.tick
	return true
}

// until is after how many steps at the earliest no more than n patients are left in
// a window, if no other is met.
func (t *tally) until(window, n int, w windows) uint32 {
	var leaving [24*time.Hour/step + 1]int // by the step in which they leave
	for i, key := range t.keys {
		if age := t.tick - t.seen[i]; key != 0 && age < w[window] {
			leaving[w[window]-age]++
		}
	}
	left := t.count[window]
	for after, leave := range leaving[:w[window]+1] {
		if left -= leave; left <= n && after > 0 {
			return uint32(after)
		}
	}
	return w[window]
}

// release gives the memory of the set back.
func (t *tally) release(m *memory) {
	m.left.Add(int64(len(t.keys)) * slotBytes)
	t.keys, t.seen = nil, nil
}
