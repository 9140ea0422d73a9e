package clickhouse

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
)

// bucket is how many sequence numbers are counted together.
const bucket = 100_000

// Alarm codes of the ledger.
const (
	alarmMissing    = "rows-missing"
	alarmDuplicates = "rows-duplicated"
	alarmBeyond     = "rows-beyond-journal"
	alarmReplaced   = "table-replaced" // what is missing is so since another table took its place
)

// settle makes sure of everything that was sent: at once when something left it
// open, and from time to time when nothing did.
func (s *Shipper) settle(ctx context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	now := s.cfg.Now()
	switch {
	case !s.sure && s.life == life{}, !now.Before(s.fullAt):
		return s.reconcile(ctx)
	case !s.sure, !now.Before(s.verifyAt):
		return s.recheck(ctx)
	}
	return nil
}

// Reconcile counts every row of the source in ClickHouse and inserts what is
// missing. What is there more than once is reported and left alone.
func (s *Shipper) Reconcile(ctx context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	return s.reconcile(ctx)
}

// recheck counts what was sent since the last count, and everything when the
// server is not the one it was.
func (s *Shipper) recheck(ctx context.Context) error {
	now, err := s.currentLife(ctx)
	if err != nil {
		return err
	}
	if !now.sameAs(s.life) {
		s.replaced = now.table != s.life.table
		s.cfg.Log.InfoContext(ctx, "ClickHouse was restarted or its table rebuilt; counting all rows")
		return s.reconcile(ctx)
	}
	return s.verifyPending(ctx)
}

func (s *Shipper) currentLife(ctx context.Context) (life, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.cfg.Store.life(ctx)
}

func (s *Shipper) reconcile(ctx context.Context) error {
	now, err := s.currentLife(ctx)
	if err != nil {
		return err
	}
	if err := s.lookBeyond(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.status.Duplicates = 0
	s.mu.Unlock()
	if err := s.verifyRange(ctx, s.cfg.Source.Oldest(), s.book.verified); err != nil {
		return err
	}
	if err := s.verifyPending(ctx); err != nil {
		return err
	}
	s.life, s.replaced = now, false
	s.fullAt = s.cfg.Now().Add(s.cfg.ReconcileEach)
	s.mu.Lock()
	s.status.LastReconcile = s.cfg.Now()
	s.mu.Unlock()
	return nil
}

// lookBeyond finds rows that no ledger tells of. A ledger that was lost leaves
// such rows: until the ledger has caught up, blocks are counted before they are
// sent. A journal that was lost leaves them too: that is an alarm.
func (s *Shipper) lookBeyond(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	high, err := s.cfg.Store.highest(ctx, s.book.source)
	if err != nil {
		return err
	}
	s.doubt = max(s.doubt, high)
	var beyond uint64
	if committed := s.cfg.Source.Committed(); high > committed {
		beyond = high
		if err := s.alarm(ctx, alarmBeyond, committed+1, high, high-committed); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.status.Beyond = beyond
	s.mu.Unlock()
	return nil
}

// verifyPending makes sure of every block that was cut and not yet verified.
func (s *Shipper) verifyPending(ctx context.Context) error {
	whole, err := s.pendingWhole(ctx)
	if err != nil {
		return err
	}
	if !whole {
		for _, b := range s.book.pending {
			if err := s.secure(ctx, b); err != nil {
				return err
			}
		}
	}
	if s.book.cut > s.book.verified {
		if err := s.note(entry{Kind: entryVerified, Last: s.book.cut}); err != nil {
			return err
		}
	}
	s.sure = true
	s.verifyAt = s.cfg.Now().Add(s.cfg.VerifyEvery)
	s.shipped(s.book.cut)
	s.mu.Lock()
	s.status.Verified = s.book.verified
	s.mu.Unlock()
	return nil
}

// pendingWhole counts all pending blocks with one question, which is enough
// when nothing went wrong.
func (s *Shipper) pendingWhole(ctx context.Context) (bool, error) {
	if len(s.book.pending) == 0 {
		return true, nil
	}
	return s.whole(ctx, s.book.pending[0].first, s.book.cut)
}

// whole reports whether each number of first..last is there exactly once.
func (s *Shipper) whole(ctx context.Context, first, last uint64) (bool, error) {
	t, err := s.count(ctx, first, last)
	return t == wholeTally(first, last), err
}

func (s *Shipper) count(ctx context.Context, first, last uint64) (tally, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	found, err := s.cfg.Store.tallies(ctx, s.book.source, first, last, last-first+1)
	return found[0], err
}

// secure brings one block into ClickHouse whose fate is open. None of its rows
// there: it is sent under its own token, which also stops an earlier attempt
// that is still on its way from counting twice.
func (s *Shipper) secure(ctx context.Context, b block) error {
	t, err := s.count(ctx, b.first, b.last)
	if err != nil {
		return err
	}
	if t.count == 0 {
		if err := s.sendAgain(ctx, b); err != nil {
			return err
		}
	}
	return s.repairRange(ctx, b.first, b.last)
}

// sendAgain reads a block's records again and makes sure that they are still
// what the ledger says. On mismatch: nothing is inserted and shipping stops, for
// the journal was altered.
func (s *Shipper) sendAgain(ctx context.Context, b block) error {
	p, err := s.pack(b.first, int(b.rows())) //nolint:gosec // a block at most
	if err != nil {
		return err
	}
	defer s.cfg.Store.free(p)
	if p == nil || p.block != b {
		return fmt.Errorf("%w: block %d-%d", ErrContent, b.first, b.last)
	}
	return s.send(ctx, b.token(s.book.source), p)
}

// verifyRange counts first..last bucket by bucket and repairs what is not whole.
func (s *Shipper) verifyRange(ctx context.Context, first, last uint64) error {
	if last < first {
		return nil
	}
	counting, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	found, err := s.cfg.Store.tallies(counting, s.book.source, first, last, bucket)
	if err != nil {
		return err
	}
	for from := first; from <= last; from += bucket {
		to := min(from+bucket-1, last)
		if found[(from-first)/bucket] == wholeTally(from, to) {
			continue
		}
		if err := s.repairRange(ctx, from, to); err != nil {
			return err
		}
	}
	return nil
}

// repairRange inserts what is missing of first..last and raises the alarm about
// that and about what is there more than once.
func (s *Shipper) repairRange(ctx context.Context, first, last uint64) error {
	if whole, err := s.whole(ctx, first, last); err != nil || whole {
		return err
	}
	missing, surplus, err := s.census(ctx, first, last)
	if err != nil {
		return err
	}
	// Asked after the count: rows that a disposal took meanwhile are not missing.
	missing = since(missing, s.cfg.Source.Oldest())
	if surplus > 0 {
		s.mu.Lock()
		s.status.Duplicates += surplus
		s.mu.Unlock()
		if err := s.alarm(ctx, alarmDuplicates, first, last, surplus); err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	code := alarmMissing
	if s.replaced {
		code = alarmReplaced
	}
	if err := s.alarm(ctx, code, first, last, uint64(len(missing))); err != nil {
		return err
	}
	for _, run := range runs(missing, s.cfg.BlockRows) {
		if err := s.refill(ctx, run.first, run.last); err != nil {
			return err
		}
	}
	missing, _, err = s.census(ctx, first, last)
	if missing = since(missing, s.cfg.Source.Oldest()); err == nil && len(missing) > 0 {
		err = fmt.Errorf("%w: %d of %d-%d", ErrRowsMissing, len(missing), first, last)
	}
	return err
}

func (s *Shipper) census(ctx context.Context, first, last uint64) ([]uint64, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.cfg.Store.census(ctx, s.book.source, first, last)
}

// refill inserts rows that vanished. Their old token is spent: the server would
// take it and drop the rows. So each repair has a number of its own, written
// down first; one that was cut off is repeated under its number, in case it is
// still on its way.
func (s *Shipper) refill(ctx context.Context, first, last uint64) error {
	for first <= last {
		p, err := s.pack(first, int(last-first+1)) //nolint:gosec // a block at most
		if err == nil && (p == nil || p.first != first) {
			err = fmt.Errorf("%w: it lacks the record %d", ErrContent, first)
		}
		if err != nil {
			return err
		}
		first = p.last + 1
		if err := s.repair(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shipper) repair(ctx context.Context, p *packed) error {
	defer s.cfg.Store.free(p)
	b, e := p.block, s.book.open
	if e.First != b.first || e.Last != b.last || e.Hash != b.hash {
		e = entry{Kind: entryRepair, First: b.first, Last: b.last, Hash: b.hash, Number: s.book.repairs + 1}
		if err := s.note(e); err != nil {
			return err
		}
	}
	if err := s.send(ctx, fmt.Sprintf("%s/repair-%d", b.token(s.book.source), e.Number), p); err != nil {
		return err
	}
	s.book.open = entry{} // acknowledged: what is missing after this is another loss
	s.mu.Lock()
	s.status.Missing += b.rows()
	s.mu.Unlock()
	return nil
}

// alarm writes down and logs that ClickHouse does not hold what it should.
func (s *Shipper) alarm(ctx context.Context, code string, first, last, rows uint64) error {
	s.cfg.Log.ErrorContext(ctx, "ClickHouse does not hold what was shipped", slog.String("code", code),
		slog.Uint64("first", first), slog.Uint64("last", last), slog.Uint64("rows", rows))
	return s.note(entry{Kind: entryAlarm, Code: code, First: first, Last: last, Rows: rows})
}

// since leaves those of ascending numbers that are oldest or later.
func since(numbers []uint64, oldest uint64) []uint64 {
	n, _ := slices.BinarySearch(numbers, oldest)
	return numbers[n:]
}

// run is a gapless stretch of sequence numbers.
type run struct{ first, last uint64 }

// runs joins ascending numbers into stretches of at most size.
func runs(numbers []uint64, size int) []run {
	var list []run
	for _, n := range numbers {
		if k := len(list) - 1; k >= 0 && list[k].last+1 == n && n-list[k].first < uint64(size) { //nolint:gosec // not negative
			list[k].last = n
			continue
		}
		list = append(list, run{n, n})
	}
	return list
}
