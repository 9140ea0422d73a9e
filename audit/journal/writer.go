package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// writer writes one segment. One goroutine uses it. After any error it must be
// abandoned: what the file holds is then unknown, and the kernel may report
// success for data it has dropped.
type writer struct {
	site   *site
	header header
	size   int64 // to reserve, then reserved
	spare  bool  // made of the emergency segment

	f     File  // nil until the segment exists
	off   int64 // where the next group commit begins; all before is synced
	paved int64 // what lies before has been written to, with zeros at least

	// abandoned is set when another writer has gone on elsewhere. What is in
	// hand then is not carried on.
	abandoned atomic.Bool
}

// errAbandoned says that another writer has gone on; nobody is told.
var errAbandoned = errors.New("abandoned")

// commit writes frames behind those before and returns when they are on stable
// storage.
func (w *writer) commit(frames []byte) error {
	if err := w.begin(); err != nil {
		return err
	}
	finish(frames, w.off)
	if _, err := w.f.WriteAt(frames, w.off); err != nil {
		return fmt.Errorf("write %s: %w", w.header.id.name(), err)
	}
	if err := w.pave(w.off + int64(len(frames))); err != nil {
		return fmt.Errorf("write ahead in %s: %w", w.header.id.name(), err)
	}
	if err := w.stillOurs(); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", w.header.id.name(), err)
	}
	w.off += int64(len(frames))
	return nil
}

// stretch is how many bytes are written with zeros at a time.
const stretch = 1 << 20

// pave writes zeros behind end where only reserved room is left. A sync of what
// stands in reserved room writes metadata of the file system as well, since that
// room is marked as never written to; over zeros it writes data alone. Zeros end
// what is read of a segment, as reserved room does. A peer is sent none.
func (w *writer) pave(end int64) error {
	if end <= w.paved {
		return nil
	}
	if _, local := w.f.(file); !local {
		return nil
	}
	w.paved = max(end, min(w.size, (end/stretch+1)*stretch))
	if end == w.paved {
		return nil
	}
	_, err := w.f.WriteAt(make([]byte, w.paved-end), end)
	return err
}

// stillOurs stops a call that came back after the file was abandoned: the
// descriptor is neither written nor synced again (GW-13).
func (w *writer) stillOurs() error {
	if w.abandoned.Load() {
		return errAbandoned
	}
	return nil
}

// begin makes the segment when it is not there yet.
func (w *writer) begin() error {
	if w.f != nil {
		return nil
	}
	create := w.site.Create
	if w.spare {
		create = w.site.fromReserve
	}
	f, err := create(w.header.id.name(), w.header.encode(), w.size)
	if err != nil {
		return err
	}
	w.f, w.off = f, segmentHead
	return w.stillOurs()
}

// full reports whether a group commit of n bytes needs another segment.
func (w *writer) full(n int) bool { return w.f != nil && w.off+int64(n) > w.size }

// seal gives the unused room back and closes the file. On error the file is
// closed as well.
func (w *writer) seal() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Truncate(w.off)
	if err == nil {
		err = w.stillOurs()
	}
	if err == nil {
		err = w.f.Sync()
	}
	err = errors.Join(err, w.drop())
	if err != nil {
		return fmt.Errorf("seal %s: %w", w.header.id.name(), err)
	}
	return nil
}

// drop closes the file as it is.
func (w *writer) drop() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f = nil
	return f.Close()
}

// settle makes a file end durably where its last valid frame ends, followed by
// zeros up to size.
//
// The last commit is written anew because nothing says that it was synced: when
// its sync failed, its pages may be clean in memory and missing on disk. All
// commits before it were synced before it began.
func settle(f file, t tail, size int64) error {
	last := make([]byte, t.end-t.start)
	if _, err := f.ReadAt(last, t.start); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if t.torn > 0 { // room that is reserved already is kept: the disk may be full
		if err := f.Truncate(t.end); err != nil {
			return err
		}
	}
	if err := f.Reserve(size); err != nil {
		return err
	}
	if _, err := f.WriteAt(last, t.start); err != nil {
		return err
	}
	return f.Sync()
}

// reframed returns frames with the same payloads in other memory, so that they
// can be written elsewhere while the kernel may still hold the first ones.
func reframed(frames []byte) []byte {
	fresh := make([]byte, 0, len(frames))
	for len(frames) > 0 {
		n := frameHead + int(binary.BigEndian.Uint32(frames))
		at := len(fresh)
		fresh = append(openFrame(fresh), frames[frameHead:n]...)
		closeFrame(fresh, at)
		frames = frames[n:]
	}
	return fresh
}

func countFrames(frames []byte) (n uint64) {
	for ; len(frames) > 0; n++ {
		frames = frames[frameHead+int(binary.BigEndian.Uint32(frames)):]
	}
	return n
}
