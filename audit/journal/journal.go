package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/merkle"
)

const (
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
	Dir    string           // the primary: the folder that holds the segments
	Source string           // gateway id: 1 to 64 letters, digits, dots, hyphens, underscores
	Site   string           // ODS code for records that name none
	Now    func() time.Time // the clock
	Log    *slog.Logger     // nil: no log

	SegmentBytes  int64         // size of a segment; 0 means 128 MiB
	AppendTimeout time.Duration // after which a place is given up; 0 means 250 ms

	// Second are places to go on in while the primary cannot be written to, the
	// best one first. The journal closes them.
	Second []Place
	// SameDevice allows a second folder on the primary's device, where one fault
	// takes both: for trials.
	SameDevice bool
	// Emergency is the size of a file whose room is used when the disk is full;
	// 0 keeps none.
	Emergency int64
	// ProbeEvery is the shortest pause between probes of a place that failed; 0
	// leaves it alone until the journal is opened again.
	ProbeEvery time.Duration
	// Archive is a folder for segments that Archive has compressed; "" keeps
	// them in Dir.
	Archive string
	// KeepPlain is how many segments behind the newest one Archive leaves as they
	// are; 0 means 2.
	KeepPlain int

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
	case c.Emergency < 0 || c.Emergency > maxSegmentBytes:
		return c, fmt.Errorf("journal: emergency segment of %d bytes is not between 0 and %d", c.Emergency, int64(maxSegmentBytes))
	case c.ProbeEvery < 0:
		return c, fmt.Errorf("journal: pause between probes %v is negative", c.ProbeEvery)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.KeepPlain <= 0 {
		c.KeepPlain = defaultKeepPlain
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
	found, err := d.holdsSegments()
	if err != nil {
		return err
	}
	if found {
		return ErrExists
	}
	first := header{source: cfg.Source, id: segmentID{first: 1}}
	f, err := d.create(first.id.name(), first.encode(), segmentHead)
	if err != nil {
		return err
	}
	return f.Close()
}

// Journal is an open journal. It implements audit.Log.
type Journal struct {
	cfg   Config
	dir   folder // the primary
	lock  *os.File
	sites []*site // the primary first, then the others in order of preference
	packs *Dir    // the archive folder; nil when that is the primary
	shelf shelf

	kick    chan struct{} // tells run that somebody waits; one is enough
	exited  chan struct{} // closed when run has ended
	closing chan struct{} // closed when Close begins
	mended  chan struct{} // tells a run without a place that there is one
	lazy    *time.Timer   // kicks for records that nobody waits for
	late    *time.Timer   // calls overdue
	helpers sync.WaitGroup

	archiving sync.Mutex // held by Archive

	marking sync.Mutex // held while the file elsewhere is written; guards marked
	marked  []string   // what it says

	homeward atomic.Bool // the next segment belongs in a better place, so begin it now

	mu      sync.Mutex
	w       *writer       // of the run that answers for the batch in hand
	holds   segmentID     // the segment of the last durable record; zero for none
	hand    *batch        // what run is writing; nil between commits
	missed  int           // calls of overdue that came too late
	stalled bool          // run waits for a place
	pending *batch        // what the next group commit writes
	spare   []byte        // a buffer that is not in use
	nonces  []byte        // random bytes not used yet
	next    uint64        // sequence number of the next record
	durable position      // what is on stable storage
	moved   chan struct{} // closed and replaced when durable moves, or the journal ends
	closed  bool          // takes no more records
	failed  error         // why no record is taken; nil while it works
	ended   error         // how writing ended; set before exited is closed
	slot    chan struct{} // see lateness; nil when the next call begins one
	began   time.Time     // when the group commit in hand began; zero when there is none
	stats   Stats         // counters only; the rest is filled in by Stats

	tree  *merkle.Tree // hashes of every durable record; nil when none are signed
	signs signing

	once     sync.Once // for Close
	closeErr error     // what Close returns, guarded by once
}

// position is how far the journal is on stable storage.
type position struct {
	seq     uint64    // last record; 0 for none
	segment segmentID // the segment that is written to
	end     int64     // behind its last frame
}

// batch is one group commit. Its fields are guarded by Journal.mu; err is set
// before done is closed.
type batch struct {
	buf    []byte
	leaves []merkle.Hash // of its records
	first  uint64
	count  uint64
	done   chan struct{}
	err    error
}

func newBatch(buf []byte) *batch {
	return &batch{buf: buf[:0], done: make(chan struct{})}
}

// Append implements audit.Log.
func (j *Journal) Append(ctx context.Context, records ...*audit.Record) (audit.Receipt, error) {
	t, err := j.put(records, true)
	if err != nil {
		return audit.Receipt{}, err
	}
	j.wake()
	if err := j.await(ctx, t); err != nil {
		j.mu.Lock()
		j.stats.Refused++
		j.mu.Unlock()
		if !errors.Is(err, audit.ErrNotDurable) {
			err = fmt.Errorf("%w: %w", audit.ErrNotDurable, err)
		}
		return audit.Receipt{}, fmt.Errorf("append record %d: %w", t.receipt.Seq, err)
	}
	return t.receipt, nil
}

// await returns nil only when the batch is on stable storage.
// On doubt: not durable (GW-12).
func (j *Journal) await(ctx context.Context, t ticket) error {
	select {
	case <-t.batch.done:
		return t.batch.err
	case <-ctx.Done():
		return ctx.Err()
	case <-t.late:
		return fmt.Errorf("not on disk after %v", j.limit())
	}
}

// limit is how long Append waits: each place may take its time.
func (j *Journal) limit() time.Duration { return j.cfg.AppendTimeout * time.Duration(len(j.sites)) }

// slots is how many groups the calls of one limit fall into that share a timer: a
// timer for each would cost more than the record.
const slots = 50

// lateness is closed once whoever waits from now on has waited for the limit, or
// at most a slot longer. j.mu is held.
func (j *Journal) lateness() <-chan struct{} {
	if j.slot != nil {
		return j.slot
	}
	slot := make(chan struct{})
	j.slot = slot
	limit := j.limit()
	time.AfterFunc(limit/slots, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.slot = nil
	})
	time.AfterFunc(limit+limit/slots, func() { close(slot) })
	return slot
}

// Add implements audit.Log.
func (j *Journal) Add(records ...*audit.Record) error {
	_, err := j.put(records, false)
	return err
}

// ticket is what a caller of put waits with.
type ticket struct {
	batch   *batch
	receipt audit.Receipt
	late    <-chan struct{} // see lateness; nil for nobody who waits
}

// put stamps and encodes the records into the next group commit, all or none.
func (j *Journal) put(records []*audit.Record, waits bool) (ticket, error) {
	if len(records) == 0 {
		return ticket{}, fmt.Errorf("%w: no records given", audit.ErrNotDurable)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.pending
	if err := j.takes(b); err != nil {
		j.stats.Refused++
		return ticket{}, err
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
			return ticket{}, err
		}
		if r.Kind == audit.KindDecision {
			decision = r.Seq
		}
	}
	t := ticket{batch: b, receipt: audit.Receipt{Source: j.cfg.Source, Seq: next, Leaf: b.leaves[hashed]}}
	if waits {
		t.late = j.lateness()
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
	return t, nil
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
	if n := len(b.buf) - at - frameHead; n > audit.MaxBytes {
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
// that come later are refused. It waits for the disk however long that takes,
// but not for a call that was given up: only the disk can end that one.
func (j *Journal) Close() error {
	j.once.Do(func() {
		j.mu.Lock()
		j.closed = true
		j.mu.Unlock()
		close(j.closing)
		j.wake()
		<-j.exited
		j.lazy.Stop()
		j.late.Stop()
		helped := make(chan struct{})
		go func() { j.helpers.Wait(); close(helped) }()
		select {
		case <-helped:
			j.mu.Lock()
			err := j.ended
			j.mu.Unlock()
			j.closeErr = errors.Join(err, j.release())
		case <-time.After(40 * j.cfg.AppendTimeout):
			j.closeErr = errors.Join(j.ended, errors.New("a disk does not answer: its files stay open until this process ends"))
		}
		if j.closeErr != nil {
			j.closeErr = fmt.Errorf("close journal: %w", j.closeErr)
		}
	})
	return j.closeErr
}

// Source is the gateway id of every record.
func (j *Journal) Source() string { return j.cfg.Source }
