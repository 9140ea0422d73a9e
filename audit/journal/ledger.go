package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/matron-epr/matron/audit"
)

const ledgerMagic = "MATRONL\x01"

// Ledger is a small append-only file of opaque entries, each durable on its own:
// what somebody must remember across a crash. It is safe for concurrent use; one
// process at a time may open it.
type Ledger struct {
	dir  folder
	lock *os.File

	mu     sync.Mutex
	f      file
	off    int64
	failed error // no entry is taken any more; nil while it works
}

// OpenLedger opens the ledger at path, or makes an empty one, and returns its
// entries in order. An entry whose write a crash interrupted is cut back; damage
// before that is an error that wraps ErrCorrupt.
func OpenLedger(path string) (*Ledger, [][]byte, error) {
	d, err := openFolder(filepath.Dir(path), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger: %w", err)
	}
	l, entries, err := openLedger(d, filepath.Base(path))
	if err != nil {
		return nil, nil, fmt.Errorf("open ledger %s: %w", path, errors.Join(err, d.root.Close()))
	}
	return l, entries, nil
}

// ReadLedger returns the entries of the ledger at path without locking or
// changing it, so that it works beside whoever writes it. What an unfinished
// write left at the end is not an entry.
func ReadLedger(path string) ([][]byte, error) { return readLedger(path, false) }

// ReadWholeLedger is ReadLedger for who must not take a last entry that was damaged
// for one that was never written: what stands behind the last readable entry is an
// error that wraps ErrCorrupt. Beside whoever writes, that may pass.
func ReadWholeLedger(path string) ([][]byte, error) { return readLedger(path, true) }

func readLedger(path string, whole bool) ([][]byte, error) {
	d, err := openFolder(filepath.Dir(path), nil)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	name := filepath.Base(path)
	f, size, err := d.view(name)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", errors.Join(err, d.root.Close()))
	}
	entries, t, err := entriesOf(f, name, size)
	if err == nil && whole && t.torn > 0 {
		err = &Damage{File: name, Offset: t.end, What: "unreadable entry at the end"}
	}
	if err = errors.Join(err, f.Close(), d.root.Close()); err != nil {
		return nil, fmt.Errorf("read ledger %s: %w", path, err)
	}
	return entries, nil
}

func openLedger(d folder, name string) (*Ledger, [][]byte, error) {
	lock, err := d.lock(name + ".lock")
	if err != nil {
		return nil, nil, err
	}
	f, size, err := d.open(name, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = createLedger(d, name)
		size = int64(len(ledgerMagic))
	}
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	l := &Ledger{dir: d, lock: lock, f: f}
	entries, err := l.load(name, size)
	if err == nil {
		err = d.sync() // its name may be as young as its last entry
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close(), lock.Close())
	}
	return l, entries, nil
}

// createLedger makes an empty ledger that is complete before it has its name.
func createLedger(d folder, name string) (file, error) {
	temporary := name + ".tmp"
	if err := d.discard(temporary); err != nil {
		return nil, err
	}
	f, _, err := d.open(temporary, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt([]byte(ledgerMagic), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.publish(temporary, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (l *Ledger) load(name string, size int64) ([][]byte, error) {
	entries, t, err := entriesOf(l.f, name, size)
	if err != nil {
		return nil, err
	}
	l.off = t.end
	return entries, settle(l.f, t, t.end)
}

func entriesOf(f io.ReaderAt, name string, size int64) ([][]byte, tail, error) {
	magic := make([]byte, len(ledgerMagic))
	if _, err := f.ReadAt(magic, 0); err != nil || string(magic) != ledgerMagic {
		return nil, tail{}, errors.Join(err, &Damage{File: name, What: "not a ledger"})
	}
	var entries [][]byte
	t, err := scan(f, name, int64(len(ledgerMagic)), size, func(fr frame) error {
		entries = append(entries, bytes.Clone(fr.payload))
		return nil
	})
	return entries, t, err
}

// Append adds an entry and returns when it is on stable storage. After an error
// the ledger takes no more: what it holds is known only when it is opened anew.
func (l *Ledger) Append(entry []byte) error {
	if len(entry) == 0 || len(entry) > maxPayload {
		return fmt.Errorf("append to ledger: %w: %d bytes", ErrTooLarge, len(entry))
	}
	b := append(openFrame(nil), entry...)
	closeFrame(b, 0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	finish(b, l.off)
	_, err := l.f.WriteAt(b, l.off)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		l.failed = fmt.Errorf("append to ledger: %w: %w", audit.ErrNotDurable, err)
		return l.failed
	}
	l.off += int64(len(b))
	return nil
}

// Close gives the file up. A second call returns an error.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fmt.Errorf("append to ledger: %w", ErrClosed)
	}
	if err := errors.Join(l.f.Close(), l.lock.Close(), l.dir.root.Close()); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}
