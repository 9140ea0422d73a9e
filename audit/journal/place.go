package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Place keeps segments. A journal has a primary one, its folder, and may have
// others: a folder on another device, a peer gateway. Names are names of files
// without a path. Implementations are safe for concurrent use; the journal makes
// sure that a file has one writer.
type Place interface {
	// Name stands in logs and errors.
	Name() string
	// Open gets the place ready to keep segments of source. It may be called
	// again after an error. used says that segments were kept there before: a
	// place that knows of none then is not the place that is meant.
	Open(source string, used bool) error
	// List names the files that are there.
	List() ([]string, error)
	// Create makes a file of which head is durable when it returns, with room
	// for size bytes. It never replaces one.
	Create(name string, head []byte, size int64) (File, error)
	// View opens a file for reading and says how long it is. A file that is not
	// there is an error that wraps fs.ErrNotExist.
	View(name string) (View, int64, error)
	// Remove takes a file away durably.
	Remove(name string) error
	// Probe writes, syncs and reads back a file of its own, with room for size.
	Probe(size int64) error
	Close() error
}

// File is a segment that is written to, by one goroutine.
type File interface {
	// WriteAt writes behind what was written before.
	WriteAt(p []byte, off int64) (int, error)
	// Sync returns when everything written before is on stable storage.
	Sync() error
	// Truncate gives back the room behind size; nothing but zeros stands there.
	Truncate(size int64) error
	Close() error
}

// View is a file that is read.
type View interface {
	io.ReaderAt
	io.Closer
}

const (
	lockName  = "lock"
	placeName = "place" // in a second folder: whose it is
	probeName = "probe"
)

// Dir is a folder on a local disk as a place.
type Dir struct {
	path string
	wrap func(name string, f file) file // tests inject faults here

	mu   sync.Mutex
	d    folder
	lock *os.File
	open bool
}

// NewDir makes a place of the folder at path.
func NewDir(path string) *Dir { return &Dir{path: path} }

// Name implements Place.
func (p *Dir) Name() string { return p.path }

// Open implements Place. The folder must be there already: one that Matron made
// below a mount point whose device is missing would hide the record.
func (p *Dir) Open(source string, used bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		return nil
	}
	d, err := openFolder(p.path, p.wrap)
	if err != nil {
		return err
	}
	lock, err := p.claim(d, source, used)
	if err != nil {
		return errors.Join(err, d.root.Close())
	}
	p.d, p.lock, p.open = d, lock, true
	return nil
}

// view opens the folder for reading only: somebody else may be writing there.
func (p *Dir) view() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		return nil
	}
	d, err := openFolder(p.path, p.wrap)
	p.d, p.open = d, err == nil
	return err
}

// claim takes the lock of a second folder and checks or writes whose it is.
func (*Dir) claim(d folder, source string, used bool) (*os.File, error) {
	mine := "journal of " + source + "\n"
	found, err := d.root.ReadFile(placeName)
	switch {
	case errors.Is(err, fs.ErrNotExist) && used:
		return nil, fmt.Errorf("it does not hold the file %s (is its device mounted?): %w", placeName, fs.ErrNotExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err == nil && string(found) != mine:
		return nil, fmt.Errorf("%w: it says %q, not %q", ErrSource, strings.TrimSpace(string(found)), strings.TrimSpace(mine))
	}
	lock, lockErr := d.lock(lockName)
	if lockErr != nil {
		return nil, lockErr
	}
	if err != nil {
		err = d.put(placeName, []byte(mine))
	} else {
		err = d.sync() // an earlier call may have failed before its name was durable
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (p *Dir) folder() (folder, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return folder{}, fmt.Errorf("%s is not open: %w", p.path, fs.ErrClosed)
	}
	return p.d, nil
}

// List implements Place.
func (p *Dir) List() ([]string, error) {
	d, err := p.folder()
	if err != nil {
		return nil, err
	}
	return d.list()
}

// Create implements Place.
func (p *Dir) Create(name string, head []byte, size int64) (File, error) {
	d, err := p.folder()
	if err != nil {
		return nil, err
	}
	return d.create(name, head, size)
}

// View implements Place.
func (p *Dir) View(name string) (View, int64, error) {
	d, err := p.folder()
	if err != nil {
		return nil, 0, err
	}
	return d.view(name)
}

// Remove implements Place.
func (p *Dir) Remove(name string) error {
	d, err := p.folder()
	if err != nil {
		return err
	}
	return d.remove(name)
}

// Probe implements Place.
func (p *Dir) Probe(size int64) error {
	d, err := p.folder()
	if err != nil {
		return err
	}
	return d.probe(size)
}

// Close implements Place.
func (p *Dir) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return nil
	}
	p.open = false
	err := p.d.root.Close()
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return err
}

// sameDevice reports whether two folders are on one device: when it fails, both
// are gone.
func sameDevice(a, b string) (bool, error) {
	first, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	second, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	x, ok := first.Sys().(*syscall.Stat_t)
	y, same := second.Sys().(*syscall.Stat_t)
	if !ok || !same {
		return false, errors.New("this system does not say which device a folder is on")
	}
	return x.Dev == y.Dev, nil
}

// list names the files in the folder.
func (d folder) list() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

// create makes a file that begins with head, with room for size bytes on disk.
// When it returns, the file is durable under its name.
func (d folder) create(name string, head []byte, size int64) (file, error) {
	if _, err := d.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("create %s: %w", name, fs.ErrExist), err)
	}
	temporary := name + newSuffix
	if err := d.discard(temporary); err != nil {
		return nil, err
	}
	f, err := d.prepare(temporary, head, size)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	if err := d.publish(temporary, name); err != nil {
		return nil, errors.Join(fmt.Errorf("create %s: %w", name, err), f.Close())
	}
	return f, nil
}

func (d folder) prepare(name string, head []byte, size int64) (file, error) {
	f, _, err := d.open(name, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	err = f.Reserve(size)
	if err == nil && len(head) > 0 {
		_, err = f.WriteAt(head, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = d.discard(name) // give the room back: a disk that is full needs it
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// put makes a small file durable, whole or not at all.
func (d folder) put(name string, content []byte) error {
	temporary := name + newSuffix
	if err := d.discard(temporary); err != nil {
		return err
	}
	f, err := d.prepare(temporary, content, int64(len(content)))
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.publish(temporary, name)
}

func (d folder) remove(name string) error {
	if err := d.discard(name); err != nil {
		return err
	}
	return d.sync()
}

// probe finds out whether the folder keeps what is written to it.
func (d folder) probe(size int64) error {
	temporary := probeName + newSuffix
	if err := d.discard(temporary); err != nil {
		return err
	}
	want := []byte("matron wrote this to see whether it can be read back\n")
	f, err := d.prepare(temporary, want, max(size, int64(len(want))))
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	got := make([]byte, len(want))
	_, err = f.ReadAt(got, 0)
	if err == nil && !slices.Equal(got, want) {
		err = errors.New("what was written cannot be read back")
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return d.remove(temporary)
}

// lockReadOnly takes the lock on a file system that cannot be written to.
func (d folder) lockReadOnly(name string) (*os.File, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	return flocked(f)
}

func flocked(f *os.File) (*os.File, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// tidy removes what was never given a name. Nothing in it was acknowledged.
func (d folder) tidy() error {
	names, err := d.list()
	if err != nil {
		return err
	}
	for _, name := range names {
		stem, unfinished := strings.CutSuffix(name, newSuffix)
		if _, _, isSegment, err := parseName(stem); !unfinished || err != nil || !isSegment {
			continue
		}
		if err := d.discard(name); err != nil {
			return err
		}
	}
	return nil
}
