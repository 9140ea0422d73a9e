package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

// lookAhead is how far behind the range records are read that may name a patient
// of an exchange within it.
const lookAhead = time.Hour

// errEnough ends the reading of a journal.
var errEnough = errors.New("enough")

// total is what one segment holds.
type total struct {
	first, last    uint64
	oldest, newest time.Time
	kinds          map[audit.Kind]uint64
	months         map[string]uint64
	named          []uint64 // by hold
}

// survey reads segments from the oldest on, compares every record with its hash,
// and finds how many segments are old enough as a whole.
type survey struct {
	ctx      context.Context // a survey is one call
	log      Log
	holds    []Hold
	before   time.Time
	segments []journal.Segment

	whole     []total
	now       total
	next      uint64
	young     bool            // a record was not old enough
	exchanges map[uint64]bool // that stay; some may lie behind the range
	hashes    []merkle.Hash   // of the records from hashesAt on
	hashesAt  uint64
}

func (s *survey) run() error {
	if len(s.segments) == 0 {
		return nil
	}
	s.next = s.segments[0].First
	s.begin()
	err := s.log.read(s.ctx, s.visit)
	if err == nil && !s.ended() {
		err = fmt.Errorf("records %d and on cannot be read: run \"matron audit verify\"", s.next)
	}
	return err
}

func (s *survey) begin() {
	s.now = total{first: s.next, kinds: map[audit.Kind]uint64{}, months: map[string]uint64{}, named: make([]uint64, len(s.holds))}
}

// ended reports whether the range is known.
func (s *survey) ended() bool { return s.young || len(s.whole) == len(s.segments) }

func (s *survey) visit(seq uint64, canonical []byte, r *audit.Record) error {
	if s.ended() {
		return s.beyond(r)
	}
	if seq != s.next {
		return fmt.Errorf("record %d stands where %d belongs: run \"matron audit verify\"", seq, s.next)
	}
	s.next++
	if err := s.proved(seq, canonical); err != nil {
		return err
	}
	if !r.Time.Before(s.before) {
		s.young = true
		return s.beyond(r)
	}
	t := &s.now
	t.kinds[r.Kind]++
	t.months[r.Time.UTC().Format("2006-01")]++
	if t.oldest.IsZero() || r.Time.Before(t.oldest) {
		t.oldest = r.Time
	}
	if r.Time.After(t.newest) {
		t.newest = r.Time
	}
	for i, h := range s.holds {
		if h.holds(r) {
			t.named[i]++
			s.exchanges[exchange(r)] = true
		}
	}
	if t.last = seq; seq == s.segments[len(s.whole)].Last {
		s.whole = append(s.whole, *t)
		s.begin()
	}
	return nil
}

// beyond looks at a record behind the range: one that names the patient of an
// exchange within it makes that stay.
func (s *survey) beyond(r *audit.Record) error {
	if len(s.whole) == 0 || len(s.holds) == 0 || r.Time.Sub(s.whole[len(s.whole)-1].newest) > lookAhead {
		return errEnough
	}
	for _, h := range s.holds {
		if h.holds(r) {
			s.exchanges[exchange(r)] = true
		}
	}
	return nil
}

// proved compares a record with the hash that was made when it was written.
func (s *survey) proved(seq uint64, canonical []byte) error {
	if seq < s.hashesAt || seq >= s.hashesAt+uint64(len(s.hashes)) {
		const block = 8192
		var err error
		if s.hashes, err = s.log.Tree.Leaves(seq-1, min(seq-1+block, s.log.Tree.Size())); err != nil {
			return err
		}
		s.hashesAt = seq
	}
	if merkle.Hash(audit.Leaf(canonical)) != s.hashes[seq-s.hashesAt] {
		return fmt.Errorf("record %d is not what was written: run \"matron audit verify\"", seq)
	}
	return nil
}

// exchange is the number of the decision that a record belongs to; its own when
// it belongs to none.
func exchange(r *audit.Record) uint64 {
	if r.Decision != 0 {
		return r.Decision
	}
	return r.Seq
}

// kept hands the records of first..last to visit that belong to these exchanges.
func (l Log) kept(ctx context.Context, exchanges map[uint64]bool, first, last uint64, visit func(seq uint64, canonical []byte) error) error {
	return l.read(ctx, func(seq uint64, canonical []byte, r *audit.Record) error {
		switch {
		case seq > last:
			return errEnough
		case seq < first || !exchanges[exchange(r)]:
			return nil
		}
		return visit(seq, canonical)
	})
}

// read reads the journal from the oldest record on until visit returns errEnough.
func (l Log) read(ctx context.Context, visit func(uint64, []byte, *audit.Record) error) error {
	_, err := journal.Verify(journal.VerifyOptions{
		Dirs: l.Dirs, Progress: l.Progress,
		Visit: func(seq uint64, canonical []byte, r *audit.Record) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return visit(seq, canonical, r)
		},
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
