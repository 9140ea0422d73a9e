package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/merkle"
)

const (
	lockName = "lock"

	defaultSegmentBytes  = 128 << 20
	maxSegmentBytes      = 2 << 30
	defaultAppendTimeout = 250 * time.Millisecond

	// maxPending bounds the records that wait for a disk that does not answer.
	maxPending = 64 << 20
	// addDelay is how long records of Add wait for company in a group commit.
	addDelay = 2 * time.Millisecond
)

// Config says where the journal is and whose it is.
type Config struct {
	Dir    string           // the folder that holds the segments
	Source string           // gateway id: 1 to 64 letters, digits, dots, hyphens, underscores
	Site   string           // ODS code for records that name none
	Now    func() time.Time // the clock
	Log    *slog.Logger     // nil: no log

	SegmentBytes  int64         // size of a segment; 0 means 128 MiB
	AppendTimeout time.Duration // after which Append gives up; 0 means 250 ms

	// Signer signs the checkpoints; nil: none are made.
	Signer note.Signer
	// Verifier checks the last checkpoint at Open; required with Signer.
	Verifier        note.Verifier
	CheckpointEvery time.Duration // 0 means 1 s

	wrap func(name string, f file) file // tests inject faults here
}

func (c Config) checked() (Config, error) {
	switch {
	case c.Dir == "":
		return c, errors.New("journal: no folder given")
	case c.Now == nil:
		return c, errors.New("journal: no clock given")
	case !regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(c.Source):
		return c, fmt.Errorf("journal: source %q is not 1 to 64 letters, digits, dots, hyphens and underscores", c.Source)
	case c.SegmentBytes < 0 || c.SegmentBytes > maxSegmentBytes:
		return c, fmt.Errorf("journal: segment size %d is not between 0 and %d", c.SegmentBytes, int64(maxSegmentBytes))
	case c.AppendTimeout < 0:
		return c, fmt.Errorf("journal: append timeout %v is negative", c.AppendTimeout)
	case (c.Signer == nil) != (c.Verifier == nil):
		return c, errors.New("journal: a signer needs a verifier, and the other way round")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.AppendTimeout == 0 {
		c.AppendTimeout = defaultAppendTimeout
	}
	if c.CheckpointEvery <= 0 {
		c.CheckpointEvery = time.Second
	}
	return c, nil
}

// Create makes an empty journal. It fails with ErrExists where there is one.
func Create(cfg Config) error {
	cfg, err := cfg.checked()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	d, err := openFolder(cfg.Dir, cfg.wrap)
	if err != nil {
		return fmt.Errorf("create journal: %w", err)
	}
	if err := errors.Join(create(d, cfg), d.root.Close()); err != nil {
		return fmt.Errorf("create journal in %s: %w", cfg.Dir, err)
	}
	return nil
}

func create(d folder, cfg Config) error {
	lock, err := d.lock(lockName)
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // nothing was written to it
	firsts, err := d.segments()
	if err != nil {
		return err
	}
	if len(firsts) > 0 {
		return ErrExists
	}
	f, err := d.create(header{source: cfg.Source, first: 1}, segmentHead)
	if err != nil {
		return err
	}
	return f.Close()
}

// Journal is an open journal. It implements audit.Log.
type Journal struct {
	cfg  Config
	dir  folder
	lock *os.File
	w    *writer // owned by the goroutine of run, from Open until exited

	kick   chan struct{} // tells run that somebody waits; one is enough
	exited chan struct{} // closed when run has ended
	lazy   *time.Timer   // kicks for records that nobody waits for

	mu      sync.Mutex
	pending *batch        // what the next group commit writes
	spare   []byte        // a buffer that is not in use
	nonces  []byte        // random bytes not used yet
	next    uint64        // sequence number of the next record
	durable position      // what is on stable storage
	moved   chan struct{} // closed and replaced when durable moves, or the journal ends
	closed  bool          // takes no more records
	failed  error         // why the journal is sealed; nil while it works
	ended   error         // how writing ended; set before exited is closed
	began   time.Time     // when the group commit in hand began; zero when there is none
	stats   Stats         // counters only; the rest is filled in by Stats

	reads reader
	tree  *merkle.Tree // hashes of every durable record
	signs signing

	once     sync.Once // for Close
	closeErr error     // what Close returns, guarded by once
}

// position is how far the journal is on stable storage.
type position struct {
	seq     uint64 // last record; 0 for none
	segment uint64 // first record of the segment that holds it
	end     int64  // behind its frame
}

// batch is one group commit. Its fields are guarded by Journal.mu until run
// takes it; err is set before done is closed.
type batch struct {
	buf    []byte
	leaves []merkle.Hash // of its records
	first  uint64
	count  uint64
	done   chan struct{}
	err    error
}

// Open opens an existing journal and continues it. It fails with ErrMissing
// where there is none, ErrLocked while another process has it, ErrSource when it
// is another gateway's, and ErrCorrupt when records that were acknowledged
// cannot be read. A write that a crash interrupted is cut back.
func Open(cfg Config) (*Journal, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	d, err := openFolder(cfg.Dir, cfg.wrap)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open journal in %s: %w", cfg.Dir, ErrMissing)
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j, err := open(d, cfg)
	if err != nil {
		return nil, fmt.Errorf("open journal in %s: %w", cfg.Dir, errors.Join(err, d.root.Close()))
	}
	return j, nil
}

func open(d folder, cfg Config) (*Journal, error) {
	firsts, err := d.segments()
	if err != nil {
		return nil, err
	}
	if len(firsts) == 0 {
		return nil, ErrMissing
	}
	lock, err := d.lock(lockName)
	if err != nil {
		return nil, err
	}
	j, err := resume(d, cfg)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	j.lock = lock
	if err := j.openTree(); err != nil {
		return nil, errors.Join(err, j.w.f.Close(), lock.Close())
	}
	go j.run()
	go j.sign()
	return j, nil
}

// resume builds the journal from what is on disk. The lock is held.
func resume(d folder, cfg Config) (*Journal, error) {
	firsts, err := d.segments()
	if err != nil {
		return nil, err
	}
	size, err := d.chain(firsts, cfg.Source)
	if err != nil {
		return nil, err
	}
	if err := d.sync(); err != nil { // the last segment may have been named just before a crash
		return nil, err
	}
	w := &writer{folder: d, source: cfg.Source, limit: cfg.SegmentBytes}
	next, cut, err := w.resume(firsts[len(firsts)-1])
	if err != nil {
		return nil, err
	}
	if cut > 0 {
		cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "journal: cut back an unfinished write",
			slog.String("segment", segmentName(w.first)), slog.Int64("offset", w.off), slog.Int64("bytes", cut))
	}
	j := &Journal{
		cfg: cfg, dir: d, w: w,
		kick: make(chan struct{}, 1), exited: make(chan struct{}), moved: make(chan struct{}),
		pending: newBatch(nil),
		next:    next,
		durable: position{seq: next - 1, segment: w.first, end: w.off},
		stats:   Stats{Cut: cut, Bytes: size + w.off, Segments: len(firsts), OldestSegment: firsts[0]},
		reads:   reader{segments: firsts, marks: map[uint64][]mark{}},
		signs:   signing{done: make(chan struct{})},
	}
	j.lazy = time.AfterFunc(time.Hour, j.wake)
	return j, nil
}

func newBatch(buf []byte) *batch {
	return &batch{buf: buf[:0], done: make(chan struct{})}
}

// Append implements audit.Log.
func (j *Journal) Append(ctx context.Context, records ...*audit.Record) (audit.Receipt, error) {
	b, receipt, err := j.put(records, true)
	if err != nil {
		return audit.Receipt{}, err
	}
	j.wake()
	if err := j.await(ctx, b); err != nil {
		j.mu.Lock()
		j.stats.Refused++
		j.mu.Unlock()
		return audit.Receipt{}, fmt.Errorf("append record %d: %w: %w", receipt.Seq, audit.ErrNotDurable, err)
	}
	return receipt, nil
}

// await returns nil only when the batch is on stable storage.
// On doubt: not durable (GW-12).
func (j *Journal) await(ctx context.Context, b *batch) error {
	timeout := time.NewTimer(j.cfg.AppendTimeout)
	defer timeout.Stop()
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("not on disk after %v", j.cfg.AppendTimeout)
	}
}

// Add implements audit.Log.
func (j *Journal) Add(records ...*audit.Record) error {
	_, _, err := j.put(records, false)
	return err
}

// put stamps and encodes the records into the next group commit, all or none.
func (j *Journal) put(records []*audit.Record, waits bool) (*batch, audit.Receipt, error) {
	if len(records) == 0 {
		return nil, audit.Receipt{}, fmt.Errorf("%w: no records given", audit.ErrNotDurable)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.pending
	if err := j.takes(b); err != nil {
		j.stats.Refused++
		return nil, audit.Receipt{}, err
	}
	mark, hashed, next := len(b.buf), len(b.leaves), j.next
	decision := uint64(0) // that further patients of the same call belong to
	for _, r := range records {
		if r.Kind == audit.KindPatient && r.Decision == 0 {
			r.Decision = decision
		}
		if err := j.encode(b, r); err != nil {
			b.buf, b.leaves, j.next = b.buf[:mark], b.leaves[:hashed], next
			j.stats.Refused++
			return nil, audit.Receipt{}, err
		}
		if r.Kind == audit.KindDecision {
			decision = r.Seq
		}
	}
	receipt := audit.Receipt{Source: j.cfg.Source, Seq: next}
	if waits {
		receipt.Leaf = b.leaves[hashed]
		j.stats.Appended += uint64(len(records))
	} else {
		j.stats.Added += uint64(len(records))
		if b.count == 0 {
			j.lazy.Reset(addDelay)
		}
	}
	if b.count == 0 {
		b.first = next
	}
	b.count += uint64(len(records))
	return b, receipt, nil
}

// takes says why no record can be taken now. On doubt: refuse (GW-12).
func (j *Journal) takes(b *batch) error {
	switch {
	case j.failed != nil:
		return j.failed
	case j.closed:
		return fmt.Errorf("%w: %w", audit.ErrNotDurable, ErrClosed)
	case len(b.buf) > maxPending:
		return fmt.Errorf("%w: the disk is behind by %d records", audit.ErrNotDurable, b.count)
	}
	return nil
}

// encode stamps r and appends its frame to b.
func (j *Journal) encode(b *batch, r *audit.Record) error {
	r.Source, r.Seq, r.Nonce = j.cfg.Source, j.next, j.nonce()
	if r.Site == "" {
		r.Site = j.cfg.Site
	}
	if r.Time.IsZero() {
		r.Time = j.cfg.Now()
	}
	r.Time = r.Time.UTC().Truncate(time.Microsecond)
	at := len(b.buf)
	b.buf = r.AppendCanonical(openFrame(b.buf))
	if n := len(b.buf) - at - frameHead; n > maxPayload {
		return fmt.Errorf("%w: %w: %d bytes", audit.ErrNotDurable, ErrTooLarge, n)
	}
	closeFrame(b.buf, at)
	b.leaves = append(b.leaves, audit.Leaf(b.buf[at+frameHead:]))
	j.next++
	return nil
}

// nonce hands out random bytes that are drawn in bulk.
func (j *Journal) nonce() (n [16]byte) {
	if len(j.nonces) < len(n) {
		j.nonces = make([]byte, 4096)
		_, _ = rand.Read(j.nonces) // never fails: it ends the process instead
	}
	copy(n[:], j.nonces)
	j.nonces = j.nonces[len(n):]
	return n
}

// wake tells run that somebody waits.
func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// Close writes what was added, seals the segment and gives up the lock. Records
// that come later are refused. It waits for the disk however long that takes.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.wake()
	<-j.exited
	j.once.Do(func() {
		j.lazy.Stop()
		<-j.signs.done
		var tree error
		if j.tree != nil {
			tree = j.tree.Close()
		}
		if err := errors.Join(j.ended, tree, j.lock.Close(), j.dir.root.Close()); err != nil {
			j.closeErr = fmt.Errorf("close journal: %w", err)
		}
	})
	return j.closeErr
}

// Source is the gateway id of every record.
func (j *Journal) Source() string { return j.cfg.Source }
