package journal

import (
	"bytes"
	"errors"
	"testing"
)

// behind is a file whose first read came before a stretch of it was written.
type behind struct {
	*bytes.Reader
	from, to int64
	always   bool
	read     bool
}

func (b *behind) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.Reader.ReadAt(p, off)
	if !b.read || b.always {
		for i := range p[:n] {
			if at := off + int64(i); at >= b.from && at < b.to {
				p[i] = 0
			}
		}
	}
	b.read = true
	return n, err
}

// A reader beside the gateway may see a place before a group commit is written there,
// and what follows after the next one was: that is no damage. A hole that stays is.
func TestWhatIsWrittenWhileItIsReadIsNoDamage(t *testing.T) {
	content, frames := crashed(t, small(t))
	for _, stays := range []bool{false, true} {
		f := &behind{Reader: bytes.NewReader(content), from: frames[1].off, to: frames[3].off, always: stays}
		seen := 0
		_, err := scan(f, "", segmentHead, int64(len(content)), func(frame) error { seen++; return nil })
		var damage *Damage
		if stays != errors.As(err, &damage) || !stays && seen != len(frames) {
			t.Errorf("stays %t: %d of %d frames, %v", stays, seen, len(frames), err)
		}
	}
}
