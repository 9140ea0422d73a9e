package journal

import (
	"testing"
)

// blocks is a file on a local disk that knows what has been written to.
type blocks struct {
	file
	written, fresh int64 // how far; bytes of that since the last Sync
	syncs, clean   int   // all, and those over what had been written to before
}

func (f *blocks) WriteAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	f.fresh += max(0, end-f.written)
	f.written = max(f.written, end)
	return len(p), nil
}

func (f *blocks) Sync() error {
	f.syncs++
	if f.fresh == 0 {
		f.clean++
	}
	f.fresh = 0
	return nil
}

// remote is a file elsewhere.
type remote struct{ blocks *blocks }

func (f remote) WriteAt(p []byte, off int64) (int, error) { return f.blocks.WriteAt(p, off) }
func (f remote) Sync() error                              { return f.blocks.Sync() }
func (remote) Truncate(int64) error                       { return nil }
func (remote) Close() error                               { return nil }

// TestCommitsStandInZeros: most group commits of a local segment go where zeros
// have been written, so that their sync writes no metadata. Nothing is written
// beyond the segment, and a peer is sent records alone.
func TestCommitsStandInZeros(t *testing.T) {
	frames := openFrame(nil)
	frames = append(frames, make([]byte, 1000)...)
	closeFrame(frames, 0)
	const size = 3*stretch + 5000
	commit := func(f File) {
		w := &writer{f: f, off: segmentHead, size: size}
		for !w.full(len(frames)) {
			if err := w.commit(frames); err != nil {
				t.Fatal(err)
			}
		}
	}
	here := &blocks{}
	commit(here)
	if want := here.syncs - 4; here.clean != want {
		t.Errorf("%d of %d commits stood in zeros, want %d", here.clean, here.syncs, want)
	}
	if here.written != size {
		t.Errorf("%d bytes are written of a segment of %d", here.written, size)
	}
	there := &blocks{}
	commit(remote{there})
	if want := int64(segmentHead + there.syncs*len(frames)); there.clean != 0 || there.written != want {
		t.Errorf("a peer got %d bytes, want the %d of the records", there.written, want)
	}
}
