package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/matron-epr/matron/audit"
)

// markEvery is how many records apart the places are that reader remembers.
const markEvery = 1024

// reader finds records in segments. It remembers where some of them are, so
// that reading on from where the last call ended costs no search.
type reader struct {
	mu       sync.Mutex
	segments []uint64          // first record of each, ascending
	marks    map[uint64][]mark // by segment, ascending
	segment  uint64            // where the last call ended
	cursor   mark
}

type mark struct {
	seq uint64
	off int64
}

// add makes a new segment known.
func (r *reader) add(first uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.segments = append(r.segments, first)
}

// find returns the segment that holds record seq, the place in it from which to
// look for it, and false when seq is older than the journal.
func (r *reader) find(seq uint64) (segment uint64, from mark, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, found := slices.BinarySearch(r.segments, seq)
	if !found {
		i--
	}
	if i < 0 {
		return 0, mark{}, false
	}
	segment = r.segments[i]
	from = mark{seq: segment, off: segmentHead}
	marks := r.marks[segment]
	if n, found := slices.BinarySearchFunc(marks, seq, bySeq); found {
		from = marks[n]
	} else if n > 0 {
		from = marks[n-1]
	}
	if r.segment == segment && r.cursor.seq <= seq && r.cursor.seq > from.seq {
		from = r.cursor
	}
	return segment, from, true
}

// note remembers a place.
func (r *reader) note(segment uint64, m mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	marks := r.marks[segment]
	if i, found := slices.BinarySearchFunc(marks, m.seq, bySeq); !found {
		r.marks[segment] = slices.Insert(marks, i, m)
	}
}

// rest remembers where a call ended.
func (r *reader) rest(segment uint64, m mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.segment, r.cursor = segment, m
}

func bySeq(m mark, seq uint64) int { return cmp.Compare(m.seq, seq) }

// Committed is the sequence number of the last record on stable storage, 0 when
// there is none.
func (j *Journal) Committed() uint64 { return j.position().seq }

func (j *Journal) position() position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// Read returns up to limit records from sequence number from on, in order,
// nothing that is not on stable storage, and none when from is not there yet.
// Where a record is damaged it returns those before, and next time the error.
func (j *Journal) Read(from uint64, limit int) ([]audit.Record, error) {
	from = max(from, 1)
	durable := j.position()
	if limit <= 0 || from > durable.seq {
		return nil, nil
	}
	whole := min(uint64(limit), durable.seq-from+1)
	records := make([]audit.Record, 0, whole) // at once: records are large
	for uint64(len(records)) < whole {
		var err error
		before := len(records)
		if records, err = j.readSegment(records, from, limit, durable); err != nil {
			if len(records) > 0 {
				return records, nil
			}
			return nil, fmt.Errorf("read record %d: %w", from, err)
		}
		from += uint64(len(records) - before) //nolint:gosec // it only grows
	}
	return records, nil
}

// readSegment appends the records from number from on that one segment holds,
// until there are limit. With an error it returns the records before the mistake.
func (j *Journal) readSegment(records []audit.Record, from uint64, limit int, durable position) (_ []audit.Record, err error) {
	segment, at, ok := j.reads.find(from)
	if !ok {
		return records, errors.New("older than the oldest segment")
	}
	f, end, err := j.dir.view(segmentName(segment))
	if err != nil {
		return records, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if segment == durable.segment {
		end = durable.end
	}
	in := readFrames(f, at.off, end)
	for seq := at.seq; len(records) < limit && seq <= durable.seq; seq++ {
		off := in.off
		fr, err := in.next()
		if errors.Is(err, io.EOF) && off == end && segment != durable.segment && seq > from {
			return records, nil // the next segment goes on
		}
		if err != nil {
			return records, &Damage{File: segmentName(segment), Offset: off, What: err.Error()}
		}
		if seq%markEvery == 0 {
			j.reads.note(segment, mark{seq: seq, off: off})
		}
		if seq < from {
			continue
		}
		r, err := decode(fr, seq)
		if err != nil {
			return records, &Damage{File: segmentName(segment), Offset: off, What: err.Error()}
		}
		records = append(records, r)
	}
	if n := len(records); n > 0 {
		j.reads.rest(segment, mark{seq: records[n-1].Seq + 1, off: in.off})
	}
	return records, nil
}

// decode reads the record in a frame, which must be number seq.
func decode(f frame, seq uint64) (audit.Record, error) {
	r, err := audit.UnmarshalCanonical(f.payload)
	if err != nil {
		return audit.Record{}, err
	}
	if r.Seq != seq {
		return audit.Record{}, fmt.Errorf("record %d stands where %d belongs", r.Seq, seq)
	}
	return r, nil
}

// Wait returns nil once Committed exceeds after. When the journal is closed or
// sealed it fails at once, as nothing more will come.
func (j *Journal) Wait(ctx context.Context, after uint64) error {
	for {
		j.mu.Lock()
		seq, moved, failed, closed := j.durable.seq, j.moved, j.failed, j.closed
		j.mu.Unlock()
		switch {
		case seq > after:
			return nil
		case failed != nil:
			return failed
		case closed:
			return ErrClosed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
