package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A frame is the length of its payload, a CRC-32C over length and payload, and
// the payload.
const (
	frameHead  = 8
	maxPayload = 1 << 20
)

// frame wraps the payload that begins after frameHead bytes of b.
func frame(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-frameHead)) //nolint:gosec // bounded by maxPayload
	binary.BigEndian.PutUint32(b[4:], checksum(b[:4], b[frameHead:]))
	return b
}

func checksum(length, payload []byte) uint32 {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, payload)
}

// found is what a file holds.
type found struct {
	end     int64 // behind the last frame
	damaged int64 // bytes passed over to reach a frame behind them
	torn    int64 // bytes behind the last frame
}

// scan calls each with the payload of every frame of a file, valid until it
// returns. Bytes that are no frame are passed over if a frame follows; otherwise
// they are a torn end.
func scan(file io.Reader, each func(payload []byte)) (found, error) {
	r := bufio.NewReaderSize(file, frameHead+maxPayload)
	var f found
	for {
		payload, err := next(r)
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			return f, err
		}
		if payload == nil {
			f.torn++
			if _, err := r.Discard(1); err != nil {
				return f, err
			}
			continue
		}
		each(payload)
		f.damaged, f.end, f.torn = f.damaged+f.torn, f.end+f.torn+frameHead+int64(len(payload)), 0
		if _, err := r.Discard(frameHead + len(payload)); err != nil {
			return f, err
		}
	}
}

// next returns the payload of the frame that comes next, without moving on, and
// nil if there is none here. io.EOF says that there is nothing more.
func next(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(frameHead)
	if len(head) < frameHead {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			return nil, nil
		}
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n == 0 || n > maxPayload {
		return nil, nil
	}
	whole, err := r.Peek(frameHead + n)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if checksum(whole[:4], whole[frameHead:]) != binary.BigEndian.Uint32(whole[4:]) {
		return nil, nil
	}
	return whole[frameHead:], nil
}
