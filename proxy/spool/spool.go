// Package spool keeps held responses that are too long for memory in encrypted
// files.
//
// It never keeps anything longer than the exchange that put it there: a file has no
// name from its first byte on and its key is in memory alone, so that nothing
// readable is left, however the program ends. A Spool is safe for concurrent use, a
// file of it is not.
package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"filippo.io/age"

	"github.com/matron-epr/matron/proxy"
)

const prefix = "held-"

// Config says where files are and how long they may be together.
type Config struct {
	Dir string // made if it is not there; of one gateway alone
	Max int64  // bytes of all responses together
}

// Spool is a proxy.Spool.
type Spool struct {
	dir  string
	max  int64
	used atomic.Int64
}

var _ proxy.Spool = (*Spool)(nil)

// New makes a Spool. It takes away what a program that ended between making a file
// and taking its name off has left behind, which is empty.
func New(c Config) (*Spool, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(c.Dir, prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
	}
	return &Spool{dir: c.Dir, max: c.Max}, nil
}

// Create implements proxy.Spool.
func (s *Spool) Create() (proxy.SpoolFile, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("%w: key: %w", proxy.ErrSpool, err)
	}
	f, err := os.CreateTemp(s.dir, prefix+"*") // for its owner alone
	if err != nil {
		return nil, fmt.Errorf("%w: %w", proxy.ErrSpool, err)
	}
	sealed, err := io.WriteCloser(nil), os.Remove(f.Name())
	if err == nil {
		sealed, err = age.Encrypt(f, key.Recipient())
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %w", proxy.ErrSpool, err)
	}
	return &file{s: s, f: f, key: key, sealed: sealed}, nil
}

// file is one response: age's STREAM of chunks, each with a tag of its own and the
// last one marked, so that none can be changed, left out or put elsewhere.
type file struct {
	s      *Spool
	f      *os.File
	key    *age.X25519Identity
	sealed io.WriteCloser
	plain  io.ReaderAt // once it is sealed
	size   int64
}

// Write is part of io.Writer.
func (f *file) Write(p []byte) (int, error) {
	f.size += int64(len(p))
	if f.s.used.Add(int64(len(p))) > f.s.max {
		return 0, proxy.ErrSpoolFull
	}
	n, err := f.sealed.Write(p)
	if err != nil {
		return n, fmt.Errorf("%w: %w", proxy.ErrSpool, err)
	}
	return n, nil
}

// Seal implements proxy.SpoolFile.
func (f *file) Seal() error {
	err := f.sealed.Close()
	if err != nil {
		return fmt.Errorf("%w: %w", proxy.ErrSpool, err)
	}
	info, err := f.f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", proxy.ErrSpool, err)
	}
	plain, size, err := age.DecryptReaderAt(f.f, info.Size(), f.key)
	if err == nil && size != f.size {
		err = errors.New("another length")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", proxy.ErrSpool, err)
	}
	f.plain = plain
	return nil
}

// ReadAt is part of io.ReaderAt. What is missing is no end.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.plain.ReadAt(p, off)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && off+int64(n) >= f.size:
		return n, io.EOF
	}
	return n, fmt.Errorf("%w: %v", proxy.ErrSpool, err) //nolint:errorlint // an io.EOF within would look like the end
}

// Close implements proxy.SpoolFile.
func (f *file) Close() error {
	f.s.used.Add(-f.size)
	f.size = 0
	return f.f.Close()
}
