package journal

import (
	"errors"
	"fmt"
	"io"
)

// writer owns the segment that is written to. One goroutine uses it. After any
// error it must be abandoned: what the file holds is then unknown, and the
// kernel may report success for data it has dropped.
type writer struct {
	folder
	source string
	limit  int64 // size of a segment

	f     file
	first uint64 // of the segment
	off   int64  // where the next group commit begins; all before is synced
	size  int64  // reserved
}

// commit writes finished frames, the first of which holds record seq, and
// returns when they are on stable storage.
func (w *writer) commit(frames []byte, seq uint64) error {
	if w.off+int64(len(frames)) > w.size {
		if err := w.rotate(seq, int64(len(frames))); err != nil {
			return err
		}
	}
	finish(frames, w.off)
	if _, err := w.f.WriteAt(frames, w.off); err != nil {
		return fmt.Errorf("write %s: %w", segmentName(w.first), err)
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", segmentName(w.first), err)
	}
	w.off += int64(len(frames))
	return nil
}

// rotate seals the segment and goes on in a new one that begins with record seq.
func (w *writer) rotate(seq uint64, room int64) error {
	if err := w.seal(); err != nil {
		return err
	}
	size := max(w.limit, segmentHead+room)
	f, err := w.create(header{source: w.source, first: seq, prev: w.first}, size)
	if err != nil {
		return err
	}
	w.f, w.first, w.off, w.size = f, seq, segmentHead, size
	return nil
}

// seal gives the unused room back and closes the file.
func (w *writer) seal() error {
	err := w.f.Truncate(w.off)
	if err == nil {
		err = w.f.Sync()
	}
	err = errors.Join(err, w.f.Close())
	if err != nil {
		return fmt.Errorf("seal %s: %w", segmentName(w.first), err)
	}
	return nil
}

// resume opens the last segment, cuts a torn tail back and makes the last group
// commit durable again; it returns the sequence number that comes next and how
// many bytes were cut.
//
// The last commit is written anew because nothing says that it was synced: when
// its sync failed, its pages may be clean in memory and missing on disk. All
// commits before it were synced before it began.
func (w *writer) resume(first uint64) (next uint64, cut int64, err error) {
	name := segmentName(first)
	f, size, err := w.open(name, 0)
	if err != nil {
		return 0, 0, err
	}
	next = first
	t, err := scan(f, name, segmentHead, size, func(fr frame) error {
		if _, err := decode(fr, next); err != nil {
			return err
		}
		next++
		return nil
	})
	if err == nil {
		err = settle(f, t, max(w.limit, t.end))
	}
	if err != nil {
		return 0, 0, errors.Join(err, f.Close())
	}
	w.f, w.first, w.off, w.size = f, first, t.end, max(w.limit, t.end)
	return next, t.torn, nil
}

// settle makes a file end durably where its last valid frame ends, followed by
// zeros up to size.
func settle(f file, t tail, size int64) error {
	last := make([]byte, t.end-t.start)
	if _, err := f.ReadAt(last, t.start); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := f.Truncate(t.end); err != nil {
		return err
	}
	if err := f.Reserve(size); err != nil {
		return err
	}
	if _, err := f.WriteAt(last, t.start); err != nil {
		return err
	}
	return f.Sync()
}
