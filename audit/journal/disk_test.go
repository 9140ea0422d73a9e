package journal

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// unsynced is a wrap for tests that open a journal thousands of times and are
// about bytes, not about the disk.
func unsynced(_ string, f file) file { return volatile{f} }

type volatile struct{ file }

func (volatile) Sync() error { return nil }

// disk stands between a journal and its real files and keeps, beside them, what
// stable storage holds: bytes move there at Sync, names when the folder is
// synced. It injects faults, and it checks that nobody touches a file again
// after a write or sync on it went wrong, and that synced bytes never change.
type disk struct {
	t   testing.TB
	dir string

	mu     sync.Mutex
	ops    int // calls that can fail, so far
	inject fault
	files  []*platter
	names  map[string]*platter // durable names
	block  chan struct{}       // Sync of a segment waits until it is closed; nil: does not
}

// fault makes the op-th call fail. lost: nothing of it reaches the file or the
// stable storage, and the kernel forgets what was dirty. Otherwise all of it, or
// half of a write, gets there, and is reported failed.
type fault struct {
	op     int
	lost   bool
	half   bool
	onward bool // so do all calls after it
}

// platter is one file's stable storage.
type platter struct {
	info   os.FileInfo
	stable []byte
	dirty  []span
	doubt  []span // what a lost Sync dropped: any part of it may have got there
	size   int64  // what the next Sync makes durable
	broken bool   // a call on a descriptor of it failed
}

type span struct{ from, to int64 }

func newDisk(t testing.TB, dir string) *disk {
	return &disk{t: t, dir: dir, names: map[string]*platter{}}
}

// wrap is Config.wrap. Opening a file anew clears broken: the descriptor is new.
func (d *disk) wrap(name string, f file) file {
	d.mu.Lock()
	defer d.mu.Unlock()
	under := f.(diskFile)
	info, err := under.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	if info.IsDir() {
		return &directory{diskFile: under, disk: d}
	}
	for i, p := range d.files {
		if os.SameFile(p.info, info) {
			if info.Size() == 0 && len(p.stable)+len(p.dirty) > 0 { // another file in the place of one that was removed
				d.files = slices.Delete(d.files, i, i+1)
				break
			}
			p.broken = false
			return &modelled{diskFile: under, disk: d, platter: p, mutable: name == elsewhereName}
		}
	}
	p := &platter{info: info}
	d.files = append(d.files, p)
	return &modelled{diskFile: under, disk: d, platter: p}
}

// fails counts a call and says whether it is the one that fails, and how.
func (d *disk) fails() (fault, bool) {
	d.ops++
	return d.inject, d.ops == d.inject.op || d.inject.onward && d.ops > d.inject.op
}

var errInjected = errors.New("injected: input/output error")

type directory struct {
	diskFile
	disk *disk
}

func (f *directory) Sync() error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	how, bad := d.fails()
	if bad && how.lost {
		return errInjected
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	clear(d.names)
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by another goroutine in between
		}
		if err != nil {
			d.t.Fatal(err)
		}
		if i := slices.IndexFunc(d.files, func(p *platter) bool { return os.SameFile(p.info, info) }); i >= 0 {
			d.names[e.Name()] = d.files[i]
		}
	}
	if bad {
		return errInjected
	}
	return nil
}

type modelled struct {
	diskFile
	disk    *disk
	platter *platter
	mutable bool // synced bytes may change
}

// touch is called first by everything that changes the file. It returns locked.
func (f *modelled) touch(what string) (how fault, bad bool) {
	f.disk.mu.Lock()
	if f.platter.broken {
		f.disk.t.Errorf("%s after a failed call on the same descriptor", what)
	}
	how, bad = f.disk.fails()
	f.platter.broken = f.platter.broken || bad
	return how, bad
}

func (f *modelled) WriteAt(b []byte, off int64) (int, error) {
	how, bad := f.touch("write")
	defer f.disk.mu.Unlock()
	if bad && how.lost {
		return 0, errInjected
	}
	if bad && how.half {
		b = b[:len(b)/2]
	}
	p := f.platter
	if end := min(off+int64(len(b)), int64(len(p.stable))); off < end && !f.mutable {
		if was := p.stable[off:end]; !allZero(was) && !bytes.Equal(was, b[:end-off]) {
			f.disk.t.Errorf("write at %d changes %d bytes that were synced", off, end-off)
		}
	}
	n, err := f.diskFile.WriteAt(b, off)
	if err != nil {
		f.disk.t.Error(err)
	}
	p.dirty = append(p.dirty, span{off, off + int64(n)})
	p.size = max(p.size, off+int64(n))
	if bad {
		return n, errInjected
	}
	return n, nil
}

func (f *modelled) Reserve(size int64) error {
	how, bad := f.touch("reserve")
	defer f.disk.mu.Unlock()
	if bad && how.lost {
		return syscall.ENOSPC
	}
	if err := f.diskFile.Truncate(max(size, f.length())); err != nil {
		f.disk.t.Error(err)
	}
	f.platter.size = f.length()
	if bad {
		return syscall.ENOSPC
	}
	return nil
}

func (f *modelled) Truncate(size int64) error {
	how, bad := f.touch("truncate")
	defer f.disk.mu.Unlock()
	if bad && how.lost {
		return errInjected
	}
	if err := f.diskFile.Truncate(size); err != nil {
		f.disk.t.Error(err)
	}
	f.platter.size = size
	if bad {
		return errInjected
	}
	return nil
}

func (f *modelled) length() int64 {
	info, err := f.Stat()
	if err != nil {
		f.disk.t.Error(err)
		return 0
	}
	return info.Size()
}

func (f *modelled) Sync() error {
	f.disk.mu.Lock()
	block := f.disk.block
	f.disk.mu.Unlock()
	if block != nil {
		<-block
	}
	how, bad := f.touch("sync")
	defer f.disk.mu.Unlock()
	p := f.platter
	if !bad || !how.lost {
		p.stable = resized(p.stable, p.size)
		for _, s := range p.dirty {
			if s.to = min(s.to, p.size); s.from < s.to {
				if _, err := f.ReadAt(p.stable[s.from:s.to], s.from); err != nil {
					f.disk.t.Error(err)
				}
			}
		}
	}
	if bad && how.lost {
		p.doubt = append(p.doubt, p.dirty...)
	}
	p.dirty = nil // also when lost: the kernel marks the pages clean
	if bad {
		return errInjected
	}
	return nil
}

func resized(b []byte, size int64) []byte {
	if int64(len(b)) >= size {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// holds reports whether stable storage has these bytes under a durable name.
func (d *disk) holds(b []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.names {
		if bytes.Contains(p.stable, b) {
			return true
		}
	}
	return false
}

// cutPower returns a folder with what stable storage holds. With luck, each
// sector of 512 bytes that was not synced got there as well or not.
func (d *disk) cutPower(luck *rand.Rand) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.t.(*testing.T).TempDir()
	for name, p := range d.names {
		b := slices.Clone(p.stable)
		if luck != nil {
			b = torn(d.t, filepath.Join(d.dir, name), p, luck)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			d.t.Fatal(err)
		}
	}
	return dir
}

func torn(t testing.TB, path string, p *platter, luck *rand.Rand) []byte {
	now, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	b := slices.Clone(p.stable)
	if luck.IntN(2) == 0 {
		b = resized(b, p.size)
	}
	const sector = 512
	for _, s := range append(p.doubt, p.dirty...) {
		for at := s.from / sector * sector; at < s.to; at += sector {
			from, to := max(at, s.from), min(at+sector, s.to, int64(len(now)), int64(len(b)))
			if from < to && luck.IntN(2) == 0 {
				copy(b[from:to], now[from:to])
			}
		}
	}
	return b
}
