package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// packed is a compressed segment that reads like the plain one. Reading onwards
// costs what it yields; reading back begins again.
type packed struct {
	name string
	f    View
	n    int64 // bytes of the file
	dec  *zstd.Decoder
	off  int64
}

// openPacked opens a compressed segment and says how long the plain one was.
func openPacked(p Place, name string) (View, int64, error) {
	f, n, err := p.View(name)
	if err != nil {
		return nil, 0, err
	}
	head := make([]byte, min(n, zstd.HeaderMaxSize))
	var h zstd.Header
	if err = readFull(f, head, 0); err == nil {
		err = h.Decode(head)
	}
	if err == nil && !h.HasFCS {
		err = errors.New("it does not say how long it is")
	}
	if err == nil && h.FrameContentSize > maxSegmentBytes+maxPending+2*maxPayload {
		err = errors.New("it is longer than any segment")
	}
	if err != nil {
		return nil, 0, errors.Join(&Damage{File: name, What: fmt.Sprintf("not a compressed segment: %v", err)}, f.Close())
	}
	return &packed{name: name, f: f, n: n}, int64(h.FrameContentSize), nil //nolint:gosec // bounded above
}

// ReadAt implements View.
func (p *packed) ReadAt(b []byte, off int64) (int, error) {
	if p.dec == nil || off < p.off {
		if err := p.rewind(); err != nil {
			return 0, err
		}
	}
	if _, err := io.CopyN(io.Discard, p.dec, off-p.off); err != nil {
		p.off = off // unknown: a later call begins again
		return 0, p.failed(err)
	}
	n, err := io.ReadFull(p.dec, b)
	p.off = off + int64(n)
	return n, p.failed(err)
}

func (p *packed) failed(err error) error {
	if err == nil {
		return nil
	}
	p.dec.Close()
	p.dec = nil
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return io.EOF
	}
	return &Damage{File: p.name, Offset: p.off, What: err.Error()}
}

func (p *packed) rewind() error {
	if p.dec != nil {
		p.dec.Close()
	}
	dec, err := zstd.NewReader(io.NewSectionReader(p.f, 0, p.n), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	p.dec, p.off = dec, 0
	return err
}

// lastByte is the function of that name, forwards.
func (p *packed) lastByte(b []byte, from, size int64) (int64, error) {
	last := from
	for off := from; off < size; {
		n, err := p.ReadAt(b[:min(int64(len(b)), size-off)], off)
		for i := n - 1; i >= 0; i-- {
			if b[i] != 0 {
				last = off + int64(i) + 1
				break
			}
		}
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return last, nil
}

// Close implements View.
func (p *packed) Close() error {
	if p.dec != nil {
		p.dec.Close()
	}
	return p.f.Close()
}
