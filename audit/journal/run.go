package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit"
)

// site is a place and what the journal thinks of it.
type site struct {
	Place
	reserve *reserve // of the primary; nil elsewhere

	// Guarded by Journal.mu.
	bad      error // why nothing is written there now; nil while it can be
	mending  bool  // a goroutine finds out when it can be used again
	relapses int   // how often it went bad
}

// fromReserve makes a segment of the emergency segment.
func (s *site) fromReserve(name string, head []byte, _ int64) (File, error) {
	return s.reserve.take(name, head)
}

// errSlow says that a place did not answer in time.
var errSlow = errors.New("no answer in time")

// run is the single writer: it commits one batch after another until the
// journal is closed and empty, nothing is left that could be written to, or
// another run has taken over.
func (j *Journal) run(w *writer) {
	for {
		<-j.kick
		j.yield()
		b, frames, last := j.take()
		if b != nil {
			if w = j.write(w, b, frames); w == nil {
				return
			}
		}
		if last {
			j.finish(w)
			return
		}
	}
}

// yield lets everybody run who can, before a commit, for as long as that brings
// records that somebody waits for: on a busy machine many share a commit, each of
// which costs a system call that takes its thread's processor away. On an idle one
// nobody else can run, and the commit begins at once.
func (j *Journal) yield() {
	for range yields {
		before := j.asked()
		runtime.Gosched()
		if j.asked() == before {
			return
		}
	}
}

// yields bounds how often everybody else runs before a commit begins.
const yields = 8

// asked is how many records anybody has ever waited for.
func (j *Journal) asked() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stats.Appended
}

// take hands the pending batch to run, nil when it is empty, and its frames as
// they are now: a run that takes over gives the batch others. last says that no
// other batch can follow.
func (j *Journal) take() (b *batch, frames []byte, last bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending.count == 0 {
		return nil, nil, j.closed
	}
	b = j.pending
	j.pending, j.spare = newBatch(j.spare), nil
	j.hand = b
	j.began = j.cfg.Now()
	j.watch(j.cfg.AppendTimeout)
	return b, b.buf, j.closed
}

// write makes a batch durable, in the segment of w or in as many others as it
// takes. It returns the writer to go on with, nil when this run must end.
func (j *Journal) write(w *writer, b *batch, frames []byte) *writer {
	for {
		err := error(nil)
		if w.full(len(frames)) || w.f != nil && j.homeward.Load() {
			if err = w.seal(); err == nil {
				if w = j.succeed(w, b); w == nil {
					return nil
				}
			}
		}
		if err == nil {
			err = w.commit(frames)
		}
		if err == nil && j.acknowledge(w, b) {
			return w
		}
		_ = w.drop() // what a close of a broken file says changes nothing
		if err == nil {
			return nil // it is on disk, too late: another run has taken over
		}
		if w, b, frames = j.failOver(w, err); w == nil {
			return nil
		}
	}
}

// acknowledge is the only place that calls a record durable. The commit that
// wrote the batch has been synced. It reports false, and does nothing, when the
// file was abandoned in the meantime: another run answers for the batch (GW-13).
func (j *Journal) acknowledge(w *writer, b *batch) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.w != w {
		return false
	}
	if j.tree != nil {
		j.tree.Add(b.leaves...)
	}
	j.unwatch()
	if w.header.id != j.holds {
		j.shelf.add(held{header: w.header, where: []location{{place: w.site.Place}}})
		j.holds = w.header.id
	}
	if w.header.id != j.durable.segment {
		j.stats.Segments++
		j.stats.Bytes += segmentHead
	}
	j.stats.Bytes += int64(len(b.buf))
	j.stats.Syncs++
	j.stats.LastSync = j.cfg.Now().Sub(j.began)
	j.durable = position{seq: b.first + b.count - 1, segment: w.header.id, end: w.off}
	j.began, j.hand = time.Time{}, nil
	if j.failed != nil {
		j.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: records are taken again", slog.String("place", w.site.Name()))
		j.failed = nil
	}
	if cap(b.buf) <= maxPayload {
		j.spare = b.buf
	}
	j.move()
	close(b.done)
	return true
}

// move tells everybody in Wait to look again.
func (j *Journal) move() {
	close(j.moved)
	j.moved = make(chan struct{})
}

// watch arms the timer that ends a commit which takes too long. Where there is
// but one place nothing could be done about it. j.mu is held.
func (j *Journal) watch(d time.Duration) {
	if len(j.sites) > 1 {
		j.late.Reset(d)
	}
}

// unwatch disarms it; a timer that has fired by now waits for j.mu and is told
// to leave. j.mu is held.
func (j *Journal) unwatch() {
	if len(j.sites) > 1 && !j.late.Stop() {
		j.missed++
	}
}

// overdue abandons a commit that has not finished in time and goes on in the
// next place with the same bytes, whatever the first may still come to hold: its
// result counts no more (GW-12). Where no other place is left it waits on, since
// late is better than never, and a file whose sync succeeds was never in doubt.
func (j *Journal) overdue() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.missed > 0 {
		j.missed--
		return
	}
	if j.hand == nil || j.stalled {
		return
	}
	old := j.w
	site, spare := j.choose(old.site)
	if site == nil {
		j.watch(j.cfg.AppendTimeout)
		return
	}
	old.abandoned.Store(true)
	j.hurt(old.site, errSlow)
	b := j.hand
	b.buf = reframed(b.buf)
	w := j.successor(site, spare, b, true)
	j.note(old, errSlow, w)
	j.watch(j.cfg.AppendTimeout)
	frames := b.buf
	go func() {
		if w := j.write(w, b, frames); w != nil {
			j.wake() // the other run may have taken the last call
			j.run(w)
		}
	}()
}

// choose returns the best place that can be written to, other than the one that
// is given up, and whether it must be the emergency segment: that is used when
// the primary has no room and nothing else is left (GW-12). j.mu is held.
func (j *Journal) choose(not *site) (s *site, spare bool) {
	for _, s := range j.sites {
		if s != not && s.bad == nil {
			return s, false
		}
	}
	primary := j.sites[0]
	if primary != not && noRoom(primary.bad) && primary.reserve.ready() {
		return primary, true
	}
	return nil, false
}

// noRoom reports whether an error says that a disk is full.
func noRoom(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// hurt notes that a place failed; nothing is written there until it has proven
// itself again. j.mu is held.
func (j *Journal) hurt(s *site, err error) {
	s.bad = err
	j.homeward.Store(false)
	j.tend(s)
}

// succeed follows a segment that was sealed in good order.
func (j *Journal) succeed(old *writer, b *batch) *writer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.w != old {
		return nil
	}
	site, spare := j.choose(nil)
	if site == nil {
		site = old.site // the emergency segment is full: there may be room by now
	}
	return j.successor(site, spare, b, false)
}

// successor is the writer of the next segment. It begins with the batch in hand,
// the first that is not acknowledged, and names the segment that holds the record
// before: so that whatever the abandoned ones hold beyond is superseded, and a
// missing segment is noticed (GW-13). j.mu is held.
func (j *Journal) successor(s *site, spare bool, b *batch, broken bool) *writer {
	id := segmentID{first: b.first}
	if last := j.w.header.id; last.first == id.first {
		id.attempt = last.attempt + 1
	}
	if j.w.header.id != j.holds { // it held nothing that was acknowledged
		broken = broken || j.w.header.broken
	}
	size := max(j.cfg.SegmentBytes, segmentHead+int64(len(b.buf)))
	if spare {
		size = max(j.cfg.Emergency, segmentHead+int64(len(b.buf)))
	}
	if s != j.sites[0] {
		j.helpers.Go(func() { _ = j.mark(s) }) // keep tries again
	}
	j.homeward.Store(false)
	j.w = &writer{
		site: s, spare: spare, size: size,
		header: header{source: j.cfg.Source, id: id, prev: j.holds, broken: broken && j.holds.first > 0},
	}
	return j.w
}

// failOver gives a file up after an error and goes on in the next place. A failed
// sync is never tried again on the same file: the kernel may have dropped the
// pages and report success (GW-13). When no place is left it refuses every record
// and waits until one has proven itself again.
func (j *Journal) failOver(w *writer, cause error) (*writer, *batch, []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.w != w {
		return nil, nil, nil
	}
	w.abandoned.Store(true)
	j.unwatch()
	j.hurt(w.site, cause)
	site, spare := j.choose(nil)
	if site == nil {
		if site, spare = j.stall(cause); site == nil {
			return nil, nil, nil
		}
	}
	b := j.hand
	b.buf = reframed(b.buf)
	next := j.successor(site, spare, b, true)
	j.note(w, cause, next)
	j.began = j.cfg.Now()
	j.watch(j.cfg.AppendTimeout)
	return next, b, b.buf
}

// note logs a change of place.
func (j *Journal) note(old *writer, cause error, next *writer) {
	j.stats.FailOvers++
	j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: going on in another place",
		slog.String("from", old.site.Name()), slog.String("error", cause.Error()), slog.String("to", next.site.Name()),
		slog.Bool("emergency", next.spare), slog.Uint64("first_seq", next.header.id.first))
}

// stall refuses every record, since there is nowhere to put it. On error: refuse,
// never allow and hope (GW-12). Who waits is told at once. The records that were
// taken keep their numbers and bytes, and are written first when a place has
// proven itself. It returns nil when the journal ends instead. j.mu is held, and
// given up while waiting.
func (j *Journal) stall(cause error) (*site, bool) {
	j.failed = fmt.Errorf("%w: journal is sealed: %w", audit.ErrNotDurable, cause)
	j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: sealed after a failed write",
		slog.String("error", cause.Error()), slog.Uint64("first_seq_in_doubt", j.hand.first))
	j.hand = j.hand.refused(j.failed)
	j.pending = j.pending.refused(j.failed)
	j.began = time.Time{}
	j.stalled = true
	j.move()
	for j.heals() && !j.closed {
		j.mu.Unlock()
		select {
		case <-j.mended:
		case <-j.closing:
		}
		j.mu.Lock()
		if s, spare := j.choose(nil); s != nil {
			j.stalled = false
			return s, spare
		}
	}
	j.ended = cause
	close(j.exited)
	return nil, false
}

// heals reports whether places that failed are tried again.
func (j *Journal) heals() bool { return j.cfg.ProbeEvery > 0 }

// refused tells everybody who waits for the batch and returns one with the same
// bytes that nobody waits for.
func (b *batch) refused(err error) *batch {
	b.err = err
	close(b.done)
	return &batch{buf: slices.Clone(b.buf), leaves: b.leaves, first: b.first, count: b.count, done: make(chan struct{})}
}

// finish ends a journal that was closed in order.
func (j *Journal) finish(w *writer) {
	err := w.seal()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = err
	j.move()
	close(j.exited)
}
