package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// tail is what a scan found where the frames of a file end.
type tail struct {
	end   int64 // behind the last valid frame
	start int64 // where the last group commit began: all before it was synced
	torn  int64 // bytes behind end that an unfinished write left
}

// scan hands each frame from offset from to visit, and finds where the frames
// end. What follows the last frame is a torn write only when no later group
// commit follows it: a commit begins after the one before was synced, so that a
// hole before a commit is damage. Damage names the place; the tail is then
// what precedes it (GW-13).
func scan(f io.ReaderAt, name string, from, size int64, visit func(frame) error) (tail, error) {
	t := tail{end: from, start: from}
	for {
		if err := t.frames(f, name, from, size, visit); err != nil {
			return t, err
		}
		last, err := lastByte(f, t.end, size)
		if err != nil {
			return t, err
		}
		t.torn = last - t.end
		at, err := laterCommit(f, t.end, last, size)
		if err == nil && at < 0 {
			return t, nil
		}
		// Whoever writes the file may have filled the hole since it was read, and gone on.
		if err != nil || !frameAt(f, t.end, size) {
			return t, errors.Join(err, &Damage{File: name, Offset: t.end, What: "unreadable, though synced records follow"})
		}
	}
}

// frameAt reports whether a frame begins at off.
func frameAt(f io.ReaderAt, off, size int64) bool {
	_, err := readFrames(f, off, size).next()
	return err == nil
}

// frames visits those that follow the tail so far.
func (t *tail) frames(f io.ReaderAt, name string, from, size int64, visit func(frame) error) error {
	in := readFrames(f, t.end, size)
	for {
		fr, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errNoFrame) {
			return nil
		}
		if err != nil {
			return err
		}
		if fr.off != from && fr.start != fr.off && fr.start != t.start {
			return &Damage{File: name, Offset: fr.off, What: "frame of another group commit"}
		}
		if err := visit(fr); err != nil {
			return &Damage{File: name, Offset: fr.off, What: err.Error()}
		}
		t.end, t.start = fr.end(), fr.start
	}
}

// laterCommit returns the offset of a valid frame behind hole whose group commit
// began behind hole, or -1. Frames of the commit that the hole is part of do not
// count: a crash may leave any part of a commit that was not synced.
func laterCommit(f io.ReaderAt, hole, last, size int64) (int64, error) {
	for off := hole + 1; off < last; {
		fr, err := nextFrame(f, off, last, size)
		if errors.Is(err, io.EOF) {
			return -1, nil
		}
		if err != nil {
			return -1, err
		}
		if fr.start > hole {
			return fr.off, nil
		}
		off = fr.end()
	}
	return -1, nil
}

// nextFrame searches byte by byte for the first valid frame whose head begins in
// [off, last), and returns io.EOF when there is none.
func nextFrame(f io.ReaderAt, off, last, size int64) (frame, error) {
	const chunk = 4 * (maxPayload + frameHead)
	for off < last {
		b := make([]byte, min(chunk, size-off))
		if _, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
			return frame{}, err
		}
		whole := off+int64(len(b)) == size
		i := 0
		for ; i+frameHead < len(b) && off+int64(i) < last; i++ {
			if !whole && i > len(b)-maxPayload-frameHead {
				break
			}
			n := int(binary.BigEndian.Uint32(b[i:]))
			if n == 0 || n > maxPayload || i+frameHead+n > len(b) {
				continue
			}
			if fr, err := parseFrame(b[i:i+frameHead+n], off+int64(i)); err == nil {
				return fr, nil
			}
		}
		if whole {
			break
		}
		off += int64(i)
	}
	return frame{}, io.EOF
}

// lastByte returns the offset behind the last byte in [from, size) that is not
// zero, or from.
func lastByte(f io.ReaderAt, from, size int64) (int64, error) {
	b, zeros := make([]byte, 1<<18), make([]byte, 1<<18)
	if p, ok := f.(*packed); ok {
		return p.lastByte(b, from, size)
	}
	for end := size; end > from; {
		at := max(from, end-int64(len(b)))
		part := b[:end-at]
		if _, err := f.ReadAt(part, at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if !bytes.Equal(part, zeros[:len(part)]) {
			return at + int64(len(bytes.TrimRight(part, "\x00"))), nil
		}
		end = at
	}
	return from, nil
}
