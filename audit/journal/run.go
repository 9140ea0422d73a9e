package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/matron-epr/matron/audit"
)

// run is the single writer: it commits one batch after another until the
// journal is closed and empty, or a commit fails.
func (j *Journal) run() {
	defer close(j.exited)
	for {
		<-j.kick
		// Writers that the last commit released are about to come back: let
		// them run first, so that they share this commit.
		runtime.Gosched()
		b, last := j.take()
		if b != nil {
			if err := j.w.commit(b.buf, b.first); err != nil {
				j.fail(b, err)
				return
			}
			j.acknowledge(b)
		}
		if last {
			j.finish()
			return
		}
	}
}

// take hands the pending batch to run, nil when it is empty. last says that no
// other can follow.
func (j *Journal) take() (b *batch, last bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending.count == 0 {
		return nil, j.closed
	}
	b = j.pending
	j.pending, j.spare = newBatch(j.spare), nil
	j.began = j.cfg.Now()
	return b, j.closed
}

// acknowledge is the only place that calls a record durable. The commit that
// wrote the batch has been synced.
func (j *Journal) acknowledge(b *batch) {
	if j.tree != nil {
		j.tree.Add(b.leaves...)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.w.first != j.durable.segment {
		j.reads.add(j.w.first)
		j.stats.Segments++
		j.stats.Bytes += segmentHead
	}
	j.stats.Bytes += int64(len(b.buf))
	j.stats.Syncs++
	j.stats.LastSync = j.cfg.Now().Sub(j.began)
	j.durable = position{seq: b.first + b.count - 1, segment: j.w.first, end: j.w.off}
	j.began = time.Time{}
	if cap(b.buf) <= maxPayload {
		j.spare = b.buf
	}
	j.move()
	close(b.done)
}

// move tells everybody in Wait to look again.
func (j *Journal) move() {
	close(j.moved)
	j.moved = make(chan struct{})
}

// fail seals the journal. What the batch in hand left on disk is unknown, and a
// second sync could report success for pages the kernel has dropped: nothing is
// written again until the journal is opened anew.
// On error: refuse every record (GW-12).
func (j *Journal) fail(b *batch, cause error) {
	err := fmt.Errorf("%w: journal is sealed: %w", audit.ErrNotDurable, cause)
	j.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "journal: sealed after a failed write",
		slog.String("error", cause.Error()), slog.Uint64("first_seq_in_doubt", b.first))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = err
	j.ended = errors.Join(cause, j.w.f.Close())
	b.err = err
	close(b.done)
	j.pending.err = err
	close(j.pending.done)
	j.move()
}

// finish ends a journal that was closed in order.
func (j *Journal) finish() {
	err := j.w.seal()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = err
	j.move()
}
