package journal

import (
	"cmp"
	"context"
	"fmt"

	"github.com/matron-epr/matron/audit"
)

// markEvery is how many records apart the places are that shelf remembers.
const markEvery = 1024

type mark struct {
	seq uint64
	off int64
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
	return j.shelf.read(from, limit, j.position())
}

func (s *shelf) read(from uint64, limit int, durable position) ([]audit.Record, error) {
	from = max(from, 1)
	if limit <= 0 || from > durable.seq {
		return nil, nil
	}
	records := make([]audit.Record, 0, min(uint64(limit), durable.seq-from+1)) // at once: records are large
	err := s.visit(from, limit, durable, func(r *audit.Record, _ []byte) bool {
		records = append(records, *r)
		return true
	})
	if err != nil && len(records) == 0 {
		return nil, err
	}
	return records, nil
}

// Walk hands up to limit durable records from sequence number from on to visit,
// in order and each with its canonical bytes, until visit wants no more. Both
// are visit's only until it returns. Where a record is damaged it fails after
// those before.
func (j *Journal) Walk(from uint64, limit int, visit func(r *audit.Record, canonical []byte) (more bool)) error {
	return j.shelf.visit(from, limit, j.position(), visit)
}

func (s *shelf) visit(from uint64, limit int, durable position, visit func(*audit.Record, []byte) bool) error {
	from = max(from, 1)
	if limit <= 0 || from > durable.seq {
		return nil
	}
	var r audit.Record // one for all: records are large
	next, last := from, from+min(uint64(limit), durable.seq-from+1)-1
	err := s.walk(from, durable, func(seq uint64, f frame) error {
		var err error
		if r, err = decode(f, seq); err != nil {
			return err
		}
		next = seq + 1
		if !visit(&r, f.payload) || seq == last {
			return errEnough
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read record %d: %w", next, err)
	}
	return nil
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
// sealed it fails at once, as nothing more will come. While it waits for a place
// to prove itself again, so does Wait.
func (j *Journal) Wait(ctx context.Context, after uint64) error {
	for {
		j.mu.Lock()
		seq, moved, failed, closed := j.durable.seq, j.moved, j.failed, j.closed
		j.mu.Unlock()
		switch {
		case seq > after:
			return nil
		case failed != nil && !j.heals():
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
