package mllp

import (
	"bufio"
	"errors"
	"io"
)

const (
	startBlock = 0x0b
	endBlock   = 0x1c
	carriage   = 0x0d
)

// frames reads messages from a stream.
type frames struct {
	r     *bufio.Reader
	max   int // bytes of one message
	noise int // bytes outside messages since the last one
	begun func()
}

// headKept is how much of a message that is too large is kept, so that the
// answer can name it.
const headKept = 4096

// next returns the next message. begun is called at its first byte. ErrTooLarge
// comes with the beginning of the message and leaves the stream behind its end;
// after any other error nothing more can be read. A frame that begins inside
// another replaces it: the sender gave up and began again.
func (f *frames) next() ([]byte, error) {
	if err := f.seek(); err != nil {
		return nil, err
	}
	f.begun()
	var message []byte
	large := false
	for {
		c, err := f.r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case c == startBlock:
			message, large = message[:0], false
		case c == endBlock && large:
			return message, ErrTooLarge
		case c == endBlock:
			return message, nil
		case len(message) == f.max && !large:
			message, large = message[:min(headKept, f.max)], true
		case !large:
			message = append(message, c)
		}
	}
}

// seek finds the beginning of the next message. What stands before it is left
// out: the carriage return that ends a frame, and as much noise as one message
// may have bytes.
func (f *frames) seek() error {
	f.noise = 0
	for {
		c, err := f.r.ReadByte()
		switch {
		case err != nil:
			return err
		case c == startBlock:
			return nil
		case c == carriage || c == '\n':
			continue
		}
		if f.noise++; f.noise > f.max {
			return ErrNoise
		}
	}
}

// wrap puts a message into a frame.
func wrap(message []byte) []byte {
	out := make([]byte, 0, len(message)+3)
	out = append(out, startBlock)
	out = append(out, message...)
	return append(out, endBlock, carriage)
}
