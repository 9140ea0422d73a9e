package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/policy/care"
)

// Config is what a store needs.
type Config struct {
	Dir      string // folder of its own; made if it is missing
	Register *care.Register
	Now      func() time.Time
	Log      *slog.Logger

	Keep    time.Duration // how long a visit is kept after its last event; default 400 days
	Compact int64         // bytes of logs beyond the size of the snapshot after which a snapshot is taken; default 64 MiB
}

// Store is an open store.
type Store struct {
	c    Config
	root *os.Root

	mu       sync.Mutex // one writer; held while a snapshot is taken. Guards what follows
	log      file       // nil after a fault: the next message begins a new log
	number   int        // of the newest log
	size     int64      // bytes of logs since the snapshot
	snapshot int64      // bytes of the snapshot
	buffer   []byte
	closed   bool
	open     func(name string, flag int) (file, error) // tests put faults here

	closing atomic.Bool   // ends a snapshot that is being taken
	wake    chan struct{} // asks for a snapshot
	work    sync.WaitGroup
}

// file is what the writer needs of an open file.
type file interface {
	Write(p []byte) (int, error)
	Sync() error
	Close() error
}

// ErrClosed says that the store is closed.
var ErrClosed = errors.New("store of care is closed")

// Open reads what a folder holds into the register and opens it for more. Reading ends
// with ctx, and then leaves the folder as it was.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Keep <= 0 {
		c.Keep = 400 * 24 * time.Hour
	}
	if c.Compact <= 0 {
		c.Compact = 64 << 20
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of care: %w", err)
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open folder of care: %w", err)
	}
	s := &Store{c: c, root: root, wake: make(chan struct{}, 1)}
	s.open = func(name string, flag int) (file, error) { return root.OpenFile(name, flag, 0o600) }
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s.work.Go(s.compactor)
	return s, nil
}

// Close gives up a snapshot that is being taken, since the logs hold the same, and
// closes the files.
func (s *Store) Close() error {
	s.closing.Store(true)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.wake)
	s.mu.Unlock()
	s.work.Wait()
	var err error
	if s.log != nil {
		err = s.log.Close()
	}
	return errors.Join(err, s.root.Close())
}

// Accept makes a message durable and applies it. After an error nothing has been
// applied; the message may be on disk all the same, and its sender sends it again,
// which does no harm.
func (s *Store) Accept(m care.Message) error {
	if err := m.Check(); err != nil {
		return err
	}
	if len(m) == 0 {
		return nil
	}
	now := s.c.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.buffer = encode(append(s.buffer[:0], make([]byte, frameHead)...), entry{m[0].Source, now, m})
	if len(s.buffer)-frameHead > maxPayload {
		return fmt.Errorf("%w: is too large", care.ErrChange)
	}
	if err := s.append(frame(s.buffer)); err != nil {
		return err
	}
	s.c.Register.Apply(m)
	s.c.Register.Heard(m[0].Source, now)
	if s.size > s.c.Compact+s.snapshot {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// append writes a frame and returns when it is on disk. After a fault the file is
// given up: what a failed sync left on disk is unknown.
func (s *Store) append(frame []byte) error {
	if s.log == nil {
		if err := s.begin(); err != nil {
			return fmt.Errorf("begin log of care: %w", err)
		}
	}
	_, err := s.log.Write(frame)
	if err == nil {
		err = s.log.Sync()
	}
	if err != nil {
		err = errors.Join(fmt.Errorf("append to log of care: %w", err), s.log.Close())
		s.log = nil
		return err
	}
	s.size += int64(len(frame))
	return nil
}

// begin opens the next log.
func (s *Store) begin() error {
	log, err := s.open(logName(s.number+1), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND)
	if errors.Is(err, fs.ErrExist) { // begun before a fault
		s.number++
	}
	if err != nil {
		return err
	}
	s.number++
	if err := s.sync(); err != nil {
		return errors.Join(err, log.Close())
	}
	s.log = log
	return nil
}

// sync makes the names of files durable.
func (s *Store) sync() error {
	dir, err := s.open(".", os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

const (
	logPattern      = "log-%08d"
	snapshotPattern = "snapshot-%08d" // holds everything of the logs up to this number
	draft           = "draft"
)

func logName(n int) string { return fmt.Sprintf(logPattern, n) }

// load reads the newest snapshot and the logs behind it.
func (s *Store) load(ctx context.Context) error {
	logs, snapshots, err := s.list()
	if err != nil {
		return fmt.Errorf("list folder of care: %w", err)
	}
	covered := 0
	if n := len(snapshots); n > 0 {
		covered = snapshots[n-1]
		if s.snapshot, err = s.read(ctx, fmt.Sprintf(snapshotPattern, covered)); err != nil {
			return err
		}
	}
	s.number = covered
	for _, n := range logs {
		if n <= covered {
			continue
		}
		size, err := s.read(ctx, logName(n))
		if err != nil {
			return err
		}
		s.size, s.number = s.size+size, n
	}
	s.drop(covered, snapshots, logs)
	return nil
}

// list returns the numbers of logs and snapshots, sorted.
func (s *Store) list() (logs, snapshots []int, err error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	for _, e := range entries {
		var n int
		if _, bad := fmt.Sscanf(e.Name(), logPattern, &n); bad == nil {
			logs = append(logs, n)
		} else if _, bad := fmt.Sscanf(e.Name(), snapshotPattern, &n); bad == nil {
			snapshots = append(snapshots, n)
		}
	}
	slices.Sort(logs)
	slices.Sort(snapshots)
	return logs, snapshots, err
}

// read applies what a file holds and cuts back a torn end. It returns the size.
func (s *Store) read(ctx context.Context, name string) (int64, error) {
	in, err := s.root.Open(name)
	if err != nil {
		return 0, fmt.Errorf("open %s of care: %w", name, err)
	}
	bad := 0
	f, err := scan(until{ctx, in}, func(payload []byte) {
		e, err := decode(payload)
		if err != nil {
			bad++
			return
		}
		s.c.Register.Apply(e.message)
		if !e.received.IsZero() {
			s.c.Register.Heard(e.source, e.received)
		}
	})
	if err := errors.Join(err, in.Close()); err != nil {
		return 0, fmt.Errorf("read %s of care: %w", name, err)
	}
	if f.damaged > 0 || bad > 0 {
		s.c.Log.Error("care: file is damaged, some messages are lost", slog.String("file", name), //nolint:sloglint // opening has no context
			slog.Int64("bytes", f.damaged), slog.Int("messages", bad))
	}
	if f.torn > 0 {
		s.c.Log.Warn("care: torn end is cut back", slog.String("file", name), slog.Int64("bytes", f.torn)) //nolint:sloglint // opening has no context
		if err := s.cut(name, f.end); err != nil {
			return 0, fmt.Errorf("cut back %s of care: %w", name, err)
		}
	}
	return f.end, nil
}

// until reads until ctx ends.
type until struct {
	ctx context.Context //nolint:containedctx // io.Reader has none
	in  io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.in.Read(p)
}

func (s *Store) cut(name string, end int64) error {
	f, err := s.root.OpenFile(name, os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(end), f.Sync(), f.Close())
}

// compactor takes snapshots when it is asked to.
func (s *Store) compactor() {
	for range s.wake {
		if err := s.Snapshot(); err != nil && !errors.Is(err, ErrClosed) {
			s.c.Log.Error("care: snapshot failed, logs are kept", slog.Any("error", err)) //nolint:sloglint // it is nobody's request
		}
	}
}

// Snapshot writes everything that is still needed into one file and removes the
// logs before it. Messages wait meanwhile, questions do not.
func (s *Store) Snapshot() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.Register.Forget(s.c.Now().Add(-s.c.Keep))
	size, err := s.write()
	if err != nil {
		return fmt.Errorf("write snapshot of care: %w", err)
	}
	covered := s.number
	if err := s.root.Rename(draft, fmt.Sprintf(snapshotPattern, covered)); err != nil {
		return fmt.Errorf("name snapshot of care: %w", err)
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("sync folder of care: %w", err)
	}
	s.snapshot, s.size = size, 0
	if s.log != nil { // the next message begins a new log
		err = s.log.Close()
		s.log = nil
	}
	logs, snapshots, listed := s.list()
	s.drop(covered, snapshots, logs)
	return errors.Join(err, listed)
}

// write writes the draft of a snapshot and returns its size.
func (s *Store) write() (int64, error) {
	f, err := s.open(draft, os.O_CREATE|os.O_TRUNC|os.O_WRONLY)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	size := int64(0)
	var b []byte
	put := func(e entry) bool {
		if s.closing.Load() {
			err = ErrClosed
			return false
		}
		b = frame(encode(append(b[:0], make([]byte, frameHead)...), e))
		size += int64(len(b))
		_, err = w.Write(b)
		return err == nil
	}
	for _, feed := range s.c.Register.Feeds() {
		put(entry{source: feed.Source, received: feed.Last})
	}
	for m := range s.c.Register.Dump() {
		if !put(entry{message: m}) {
			break
		}
	}
	if err != nil {
		return 0, errors.Join(err, f.Close(), s.root.Remove(draft))
	}
	return size, errors.Join(w.Flush(), f.Sync(), f.Close())
}

// drop removes what a snapshot has made needless. What cannot be removed is tried
// again after the next snapshot.
func (s *Store) drop(covered int, snapshots, logs []int) {
	for _, n := range snapshots {
		if n < covered {
			_ = s.root.Remove(fmt.Sprintf(snapshotPattern, n))
		}
	}
	for _, n := range logs {
		if n <= covered {
			_ = s.root.Remove(logName(n))
		}
	}
}
