package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A segment is a file named after the sequence number of its first record. Its
// header names the segment before it, so that one that went missing is noticed.
const (
	segmentMagic  = "MATRONJ\x01"
	segmentHead   = 128
	segmentSuffix = ".seg"
	newSegment    = "new.tmp" // a segment that has no name yet
	maxSource     = 64
)

type header struct {
	source string
	first  uint64 // sequence number of the first record
	prev   uint64 // the same of the segment before; 0 for the first
}

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, segmentSuffix) }

// encode lays the header out: magic, first, prev, length and bytes of source,
// zeros, CRC-32C of all before.
func (h header) encode() []byte {
	b := make([]byte, 0, segmentHead)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint64(b, h.first)
	b = binary.BigEndian.AppendUint64(b, h.prev)
	b = append(b, byte(len(h.source))) //nolint:gosec // at most maxSource
	b = append(b, h.source...)
	b = append(b, make([]byte, segmentHead-4-len(b))...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func readHeader(f io.ReaderAt, name string) (header, error) {
	b := make([]byte, segmentHead)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return header{}, fmt.Errorf("read header of %s: %w", name, err)
	}
	n := min(int(b[24]), maxSource)
	h := header{
		first:  binary.BigEndian.Uint64(b[8:]),
		prev:   binary.BigEndian.Uint64(b[16:]),
		source: string(b[25 : 25+n]),
	}
	if !bytes.Equal(b, h.encode()) {
		return header{}, &Damage{File: name, Offset: 0, What: "not a segment header"}
	}
	return h, nil
}

// segments lists the first sequence numbers of the segments, ascending.
func (d folder) segments() ([]uint64, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || segmentName(first) != name {
			return nil, &Damage{File: name, What: "not a segment name"}
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, nil
}

// chain checks that every segment is the one its name says, belongs to source
// and follows the one before. The oldest may follow one that was archived. It
// returns the size of all but the last.
func (d folder) chain(firsts []uint64, source string) (size int64, err error) {
	for i, first := range firsts {
		f, n, err := d.view(segmentName(first))
		if err != nil {
			return 0, err
		}
		h, err := readHeader(f, segmentName(first))
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		if h.source != source {
			return 0, fmt.Errorf("%w: %s is of %q, not of %q", ErrSource, segmentName(first), h.source, source)
		}
		if h.first != first || i > 0 && h.prev != firsts[i-1] {
			return 0, &Damage{File: segmentName(first), Offset: 8, What: "segment out of place, or the one before is missing"}
		}
		if i < len(firsts)-1 {
			size += n
		}
	}
	return size, nil
}

// create makes a segment of at least size bytes with room on disk. When it
// returns, the segment is durable under its name.
func (d folder) create(h header, size int64) (file, error) {
	if err := d.discard(newSegment); err != nil {
		return nil, err
	}
	f, err := d.prepare(h, size)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", segmentName(h.first), err)
	}
	if err := d.publish(newSegment, segmentName(h.first)); err != nil {
		return nil, errors.Join(fmt.Errorf("create %s: %w", segmentName(h.first), err), f.Close())
	}
	return f, nil
}

func (d folder) prepare(h header, size int64) (file, error) {
	f, _, err := d.open(newSegment, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	err = f.Reserve(size)
	if err == nil {
		_, err = f.WriteAt(h.encode(), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
