package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A frame is a head and a payload. The head holds, big-endian, the length of
// the payload, the offset in the file at which its group commit began, and a
// CRC-32C over both and the payload.
const (
	frameHead  = 12
	maxPayload = 1 << 20
)

// errNoFrame says that the bytes at an offset are not a frame.
var errNoFrame = errors.New("no valid frame")

type frame struct {
	off     int64  // where the head begins
	start   int64  // where the group commit that wrote it began
	payload []byte // valid until the next frame is read
}

func (f frame) end() int64 { return f.off + frameHead + int64(len(f.payload)) }

// openFrame appends the head of a frame whose payload is appended next.
func openFrame(b []byte) []byte { return append(b, make([]byte, frameHead)...) }

// closeFrame enters the length of the payload into the head at b[at:].
func closeFrame(b []byte, at int) {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-frameHead)) //nolint:gosec // callers bound it by maxPayload
}

// finish enters the group commit's offset and the checksum into each frame of b,
// which is about to be written at start.
func finish(b []byte, start int64) {
	for len(b) > 0 {
		n := frameHead + int(binary.BigEndian.Uint32(b))
		binary.BigEndian.PutUint32(b[4:], uint32(start)) //nolint:gosec // segments are smaller than 4 GiB
		binary.BigEndian.PutUint32(b[8:], checksum(b[:8], b[frameHead:n]))
		b = b[n:]
	}
}

func checksum(head, payload []byte) uint32 {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload)
}

// frames reads the frames of a file in order.
type frames struct {
	r        *bufio.Reader
	off, end int64
}

// readFrames reads from offset off up to offset end.
func readFrames(r io.ReaderAt, off, end int64) *frames {
	size := min(max(end-off, 16), maxPayload+frameHead)
	return &frames{r: bufio.NewReaderSize(io.NewSectionReader(r, off, end-off), int(size)), off: off, end: end}
}

// next returns the frame at the current offset, io.EOF at the end of the file or
// at zeros, and errNoFrame for anything else.
func (s *frames) next() (frame, error) {
	head, err := s.r.Peek(frameHead)
	if errors.Is(err, io.EOF) {
		if allZero(head) {
			return frame{}, io.EOF
		}
		return frame{}, errNoFrame
	}
	if err != nil {
		return frame{}, err
	}
	if allZero(head) {
		return frame{}, io.EOF
	}
	length := int64(binary.BigEndian.Uint32(head))
	if length == 0 || length > maxPayload || s.off+frameHead+length > s.end {
		return frame{}, errNoFrame
	}
	whole, err := s.r.Peek(frameHead + int(length))
	if errors.Is(err, io.EOF) { // the file is shorter than it was said to be
		return frame{}, errNoFrame
	}
	if err != nil {
		return frame{}, err
	}
	f, err := parseFrame(whole, s.off)
	if err != nil {
		return frame{}, err
	}
	s.off = f.end()
	_, err = s.r.Discard(len(whole))
	return f, err
}

// parseFrame checks the bytes of one whole frame.
func parseFrame(b []byte, off int64) (frame, error) {
	f := frame{off: off, start: int64(binary.BigEndian.Uint32(b[4:])), payload: b[frameHead:]}
	if f.start > off || checksum(b[:8], f.payload) != binary.BigEndian.Uint32(b[8:]) {
		return frame{}, errNoFrame
	}
	return f, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
