package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Source is where records come from: the journal. Implementations are safe for
// concurrent use.
type Source interface {
	// Source is the id that every record carries.
	Source() string
	// Committed is the seq of the last durable record, 0 when there is none.
	Committed() uint64
	// Walk hands up to limit durable records from seq from on to visit, in order
	// and each with its canonical bytes, until visit wants no more. Both are
	// visit's only until it returns. It fails where a record is damaged.
	Walk(from uint64, limit int, visit func(r *audit.Record, canonical []byte) (more bool)) error
	// Wait returns nil once Committed exceeds after, and fails when nothing
	// more will come.
	Wait(ctx context.Context, after uint64) error
	// Oldest is the number of the first record that was not disposed of. Rows
	// before it are not expected, and not asked about.
	Oldest() uint64
}

// ShipperConfig is what a shipper needs. Store, Source, Ledger and Log are
// required; Entries are what the ledger held when it was opened.
type ShipperConfig struct {
	Store   *Store
	Source  Source
	Ledger  Ledger
	Entries [][]byte
	Log     *slog.Logger
	Now     func() time.Time // default: the store's clock

	BlockRows     int           // at most this many rows a block; default 100,000
	MaxDelay      time.Duration // from a record to its insert; default 1 s
	VerifyEvery   time.Duration // count what was inserted since; default 30 s
	ReconcileEach time.Duration // count everything; default 6 h
	BackOff       time.Duration // after the first failure, doubled up to 64-fold; default 100 ms
	Timeout       time.Duration // of one insert or count; default 1 min
}

func (c ShipperConfig) withDefaults() (ShipperConfig, error) {
	if c.Store == nil || c.Source == nil || c.Ledger == nil || c.Log == nil {
		return c, fmt.Errorf("%w: shipper needs Store, Source, Ledger and Log", ErrConfig)
	}
	if c.Now == nil {
		c.Now = c.Store.cfg.Now
	}
	c.BlockRows = orDefault(c.BlockRows, 100_000)
	c.MaxDelay = orDefault(c.MaxDelay, time.Second)
	c.VerifyEvery = orDefault(c.VerifyEvery, 30*time.Second)
	c.ReconcileEach = orDefault(c.ReconcileEach, 6*time.Hour)
	c.BackOff = orDefault(c.BackOff, 100*time.Millisecond)
	c.Timeout = orDefault(c.Timeout, time.Minute)
	return c, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Shipper carries records from the journal into ClickHouse, each exactly once.
//
// A block is written to the ledger before it is first sent. After anything that
// leaves its fate open (an error, a restart of either side) its rows are counted
// before it is sent again. What was acknowledged counts as there only once it
// has been counted as well.
type Shipper struct {
	cfg ShipperConfig

	work sync.Mutex // held while talking to ClickHouse or the ledger; guards the next group
	book *book
	// sure is true while every block up to the last has been acknowledged or
	// counted during this life of the server, so that a new one may be sent
	// without counting first.
	sure     bool
	life     life
	replaced bool   // the table is another than it was, and not yet counted
	doubt    uint64 // rows up to here may be in ClickHouse although no ledger says so
	verifyAt time.Time
	fullAt   time.Time
	ahead    <-chan *packed // the block after the last, under way; only Run's

	mu     sync.Mutex // guards status and oldest
	status Status
	oldest time.Time // time of the first record not shipped; zero when not known
}

// NewShipper makes a shipper that goes on where the ledger ends.
func NewShipper(cfg ShipperConfig) (*Shipper, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	b, err := readBook(cfg.Source.Source(), cfg.Entries)
	if err != nil {
		return nil, err
	}
	if committed := cfg.Source.Committed(); b.cut > committed {
		return nil, fmt.Errorf("%w: it shipped %d, the journal ends at %d", ErrLedger, b.cut, committed)
	}
	s := &Shipper{cfg: cfg, book: b}
	s.status.Verified = b.verified
	s.status.Shipped = b.verified
	return s, nil
}

// Status says how far the shipper is, without asking ClickHouse.
func (s *Shipper) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Committed = s.cfg.Source.Committed()
	st.Lag = st.Committed - min(st.Shipped, st.Committed)
	if st.Lag > 0 && !s.oldest.IsZero() {
		st.LagAge = max(s.cfg.Now().Sub(s.oldest), 0)
	}
	return st
}

// Run ships until ctx ends (nil) or the source ends and all of it is shipped
// (the source's error). While ClickHouse is down it tries again, ever less
// often; nothing else waits for it.
func (s *Shipper) Run(ctx context.Context) error {
	defer s.takeAhead(0) // nothing reads the source after the end
	pause := s.cfg.BackOff
	for {
		err := s.step(ctx)
		var ended *sourceEnded
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &ended):
			return err
		case err == nil:
			pause = s.cfg.BackOff
			continue
		}
		s.failed(ctx, err, pause)
		if !sleep(ctx, pause) {
			return nil
		}
		pause = min(2*pause, 64*s.cfg.BackOff)
	}
}

func (s *Shipper) failed(ctx context.Context, err error, pause time.Duration) {
	s.work.Lock()
	s.sure = false
	s.work.Unlock()
	code := errorCode(err)
	s.mu.Lock()
	s.status.LastError = code
	shipped := s.status.Shipped
	s.mu.Unlock()
	_ = s.cfg.Source.Walk(shipped+1, 1, func(r *audit.Record, _ []byte) bool { // what cannot be read is told by the next block
		s.since(r.Time)
		return false
	})
	// The error's text may quote a row, so that only its code is logged.
	s.cfg.Log.WarnContext(ctx, "shipping to ClickHouse failed", slog.String("code", code), slog.Duration("again_in", pause))
}

// since notes how old the first record is that is not shipped.
func (s *Shipper) since(t time.Time) {
	s.mu.Lock()
	s.oldest = t
	s.mu.Unlock()
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sourceEnded says that the source will not bring anything more.
type sourceEnded struct{ err error }

func (e *sourceEnded) Error() string { return "ship: " + e.err.Error() }
func (e *sourceEnded) Unwrap() error { return e.err }

// step makes sure of what was sent, then waits for records and ships a block.
func (s *Shipper) step(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	p, err := s.next(ctx)
	if err != nil || p == nil {
		return err
	}
	return s.ship(ctx, p)
}

// next waits for records, gives them MaxDelay to become a full block, and packs
// them. It returns nil when it is time to count what was sent.
func (s *Shipper) next(ctx context.Context) (*packed, error) {
	cut := s.book.cut // only this goroutine moves it
	wait, cancel := context.WithTimeout(ctx, s.cfg.VerifyEvery)
	defer cancel()
	if err := s.cfg.Source.Wait(wait, cut); err != nil {
		if wait.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.finish(ctx, err)
	}
	if s.cfg.Source.Committed()-cut < uint64(s.cfg.BlockRows) { //nolint:gosec // not negative
		sleep(ctx, s.cfg.MaxDelay)
	}
	p := s.takeAhead(cut + 1)
	if p == nil {
		var err error
		if p, err = s.pack(cut+1, s.cfg.BlockRows); err != nil {
			return nil, err
		}
	}
	if p != nil {
		s.since(p.at)
	}
	return p, nil
}

func (s *Shipper) pack(from uint64, limit int) (*packed, error) {
	p, err := s.cfg.Store.pack(s.cfg.Source.Walk, from, limit)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return p, nil
}

// packAhead begins to pack the block that follows while the server is busy with
// the one before, where there are records enough for it.
func (s *Shipper) packAhead(from uint64) {
	if s.cfg.Source.Committed() < from+uint64(s.cfg.BlockRows)-1 { //nolint:gosec // not negative
		return
	}
	ahead := make(chan *packed, 1)
	s.ahead = ahead
	go func() {
		p, _ := s.pack(from, s.cfg.BlockRows) // whoever finds none meets the same damage
		ahead <- p
	}()
}

// takeAhead returns the block that was packed ahead when it begins at from, nil
// otherwise, and waits for it.
func (s *Shipper) takeAhead(from uint64) *packed {
	if s.ahead == nil {
		return nil
	}
	p := <-s.ahead
	s.ahead = nil
	if p == nil || p.first == from {
		return p
	}
	s.cfg.Store.free(p)
	return nil
}

// finish counts what was sent once more and ends the run.
func (s *Shipper) finish(ctx context.Context, cause error) error {
	s.work.Lock()
	defer s.work.Unlock()
	if err := s.verifyPending(ctx); err != nil {
		return err
	}
	return &sourceEnded{cause}
}

// ship writes a block down and sends it.
func (s *Shipper) ship(ctx context.Context, p *packed) error {
	defer s.cfg.Store.free(p)
	s.work.Lock()
	defer s.work.Unlock()
	b := p.block
	if err := s.note(entry{Kind: entryBlock, First: b.first, Last: b.last, Month: b.month, Hash: b.hash}); err != nil {
		return err
	}
	if !s.sure || b.first <= s.doubt {
		s.sure = false // settle counts before it sends
		return nil
	}
	s.sure = false
	s.packAhead(b.last + 1)
	if err := s.send(ctx, b.token(s.book.source), p); err != nil {
		return err
	}
	s.sure = true
	s.shipped(b.last)
	return nil
}

func (s *Shipper) send(ctx context.Context, token string, p *packed) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.cfg.Store.insert(ctx, s.cfg.Store.local(), token, p.columns); err != nil {
		return err
	}
	s.mu.Lock()
	s.status.Inserted += p.rows()
	s.mu.Unlock()
	return nil
}

func (s *Shipper) shipped(last uint64) {
	s.mu.Lock()
	s.status.Shipped = max(s.status.Shipped, last)
	s.status.LastError = ""
	s.oldest = time.Time{}
	s.mu.Unlock()
}

// note writes an entry to the ledger and only then believes it.
func (s *Shipper) note(e entry) error {
	e.Version, e.Source = 1, s.book.source
	payload, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLedger, err)
	}
	if err := s.cfg.Ledger.Append(payload); err != nil {
		return fmt.Errorf("%w: append: %w", ErrLedger, err)
	}
	if err := s.book.apply(e); err != nil {
		return fmt.Errorf("%w: %w", ErrLedger, err)
	}
	return nil
}
