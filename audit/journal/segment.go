package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// A segment is a file named after the sequence number of its first record. Its
// header names the segment before it, so that one that went missing is noticed.
const (
	segmentMagic  = "MATRONJ\x01"
	segmentHead   = 128
	segmentSuffix = ".seg"
	packedSuffix  = ".seg.zst"
	newSuffix     = ".tmp" // of a file that is not complete and has no name yet
	maxSource     = 64

	// Behind the longest source the header has room for what a second attempt
	// needs; all of it is zero in a segment that follows one that was sealed.
	attemptAt = 25 + maxSource
)

// segmentID names a segment. A second attempt at the same first record, because
// the first one never held anything that was acknowledged, is another segment.
type segmentID struct {
	first   uint64 // sequence number of the first record; 0 for no segment
	attempt uint16
}

func (s segmentID) compare(o segmentID) int {
	if c := cmp.Compare(s.first, o.first); c != 0 {
		return c
	}
	return cmp.Compare(s.attempt, o.attempt)
}

// name is the file's name without its ending.
func (s segmentID) stem() string {
	if s.attempt == 0 {
		return fmt.Sprintf("%020d", s.first)
	}
	return fmt.Sprintf("%020d-%d", s.first, s.attempt)
}

func (s segmentID) name() string { return s.stem() + segmentSuffix }

func segmentName(first uint64) string { return segmentID{first: first}.name() }

// parseName reads the name of a file. isSegment is false for other files, and
// the error says that a name which claims to be a segment's is none.
func parseName(name string) (id segmentID, packed, isSegment bool, err error) {
	stem, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		if stem, packed = strings.CutSuffix(name, packedSuffix); !packed {
			return segmentID{}, false, false, nil
		}
	}
	digits, again, isAgain := strings.Cut(stem, "-")
	id.first, err = strconv.ParseUint(digits, 10, 64)
	if err == nil && isAgain {
		var n uint64
		n, err = strconv.ParseUint(again, 10, 16)
		id.attempt = uint16(n)
	}
	if err != nil || id.stem() != stem {
		return segmentID{}, packed, true, &Damage{File: name, What: "not a segment name"}
	}
	return id, packed, true, nil
}

type header struct {
	source string
	id     segmentID
	prev   segmentID // the one that holds the record before; zero for the first
	// broken says that prev was abandoned: it holds every record before
	// id.first, and what follows these is superseded by this segment.
	broken bool
}

// encode lays the header out: magic, first, first of the segment before, length
// and bytes of source, attempts and flags, zeros, CRC-32C of all before.
func (h header) encode() []byte {
	b := make([]byte, 0, segmentHead)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint64(b, h.id.first)
	b = binary.BigEndian.AppendUint64(b, h.prev.first)
	b = append(b, byte(len(h.source))) //nolint:gosec // at most maxSource
	b = append(b, h.source...)
	b = append(b, make([]byte, attemptAt-len(b))...)
	b = binary.BigEndian.AppendUint16(b, h.id.attempt)
	b = binary.BigEndian.AppendUint16(b, h.prev.attempt)
	flags := byte(0)
	if h.broken {
		flags = 1
	}
	b = append(b, flags)
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
		id:     segmentID{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint16(b[attemptAt:])},
		prev:   segmentID{binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint16(b[attemptAt+2:])},
		source: string(b[25 : 25+n]),
		broken: b[attemptAt+4] == 1,
	}
	if !bytes.Equal(b, h.encode()) {
		return header{}, &Damage{File: name, Offset: 0, What: "not a segment header"}
	}
	return h, nil
}
