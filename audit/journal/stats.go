package journal

import (
	"fmt"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Stats is what an operator wants to know. Counters run from Open.
type Stats struct {
	Committed uint64 // last record on stable storage
	Pending   uint64 // records that wait for a group commit

	Appended uint64        // records taken by Append
	Added    uint64        // records taken by Add
	Refused  uint64        // calls that failed or were not durable in time
	Syncs    uint64        // group commits
	LastSync time.Duration // how long the last one took, write and sync

	OldestSegment uint64 // its first record
	Segments      int
	Bytes         int64 // of all segments on disk
	Cut           int64 // bytes of an unfinished write that Open cut back

	Signed   uint64    // records that the last checkpoint covers
	SignedAt time.Time // when it was signed; zero for never
	Unsigned error     // why the last attempt failed; nil after a success

	Place     string // where records are written now
	Second    bool   // that is not the primary
	Emergency bool   // that is the emergency segment: the disk is full
	Reserve   bool   // the emergency segment is there and not used
	FailOvers uint64 // how often writing went on in another place after an error
	Unwell    []Unwell

	Sealed bool  // closed, or failed
	Failed error // why nothing can be written; nil while it can
}

// Unwell is a place that is not written to until it has proven itself again.
type Unwell struct {
	Place string
	Cause error
}

// Stats returns a snapshot.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Committed = j.durable.seq
	s.Pending = j.next - 1 - j.durable.seq
	s.Failed = j.failed
	s.Signed, s.SignedAt, s.Unsigned = j.signs.last.Size, j.signs.at, j.signs.err
	s.Sealed = j.closed || j.failed != nil
	s.Place, s.Second, s.Emergency = j.w.site.Name(), j.w.site != j.sites[0], j.w.spare
	s.Reserve = j.sites[0].reserve.ready()
	for _, p := range j.sites {
		if p.bad != nil {
			s.Unwell = append(s.Unwell, Unwell{Place: p.Name(), Cause: p.bad})
		}
	}
	return s
}

// Healthy returns nil while records can be made durable in time.
// On doubt: not ready (GW-12).
func (j *Journal) Healthy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.takes(j.pending); err != nil {
		return err
	}
	if j.began.IsZero() {
		return nil
	}
	if d := j.cfg.Now().Sub(j.began); d > j.cfg.AppendTimeout*time.Duration(len(j.sites)) {
		return fmt.Errorf("%w: the disk has not answered for %v", audit.ErrNotDurable, d.Round(time.Millisecond))
	}
	return nil
}
