package merkle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// tileHeight is the height of a tile (C2SP tlog-tiles).
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// levels is how many rows of tiles a tree of 2^64 leaves could have.
	levels = 64 / tileHeight
)

// Tree is a tree on disk. Its folder holds one file for each level of tiles,
// "0" for the leaves, "1" for the roots of 256 of them, and so on: hashes one
// after another, so that every tile is a stretch of one file. Hashes that were
// added are in memory until Flush writes them.
type Tree struct {
	root *os.Root

	flushing sync.Mutex // held while files are written

	mu   sync.Mutex // never held while a file is read or written: a disk may hang
	edge Frontier
	rows [levels]row
}

// row is one level of tiles. What is in it never changes, it only grows.
type row struct {
	f       *os.File // nil until there is a hash to write
	written uint64   // hashes in the file
	flight  []byte   // hashes that follow them and are being written
	pending []byte   // hashes that follow those
}

func (r row) size() uint64 {
	return r.written + uint64(len(r.flight)+len(r.pending))/tlog.HashSize
}

// Open opens the tree in dir, which is made when it is missing: a tree holds
// nothing that the records do not say. A tree whose levels do not fit together
// is cut back to the leaves that they agree on.
func Open(dir string) (*Tree, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open tree: %w", err)
	}
	return open(dir, os.O_RDWR|os.O_CREATE)
}

// View opens the tree in dir for reading, beside a gateway that writes it. It
// shows the leaves that were written by then.
func View(dir string) (*Tree, error) { return open(dir, os.O_RDONLY) }

func open(dir string, flag int) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open tree: %w", err)
	}
	t := &Tree{root: root}
	if err := t.load(flag); err != nil {
		return nil, fmt.Errorf("open tree in %s: %w", dir, errors.Join(err, t.Close()))
	}
	return t, nil
}

func (t *Tree) load(flag int) error {
	for level := range t.rows {
		f, err := t.root.OpenFile(strconv.Itoa(level), flag, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		t.rows[level].f = f
		info, err := f.Stat()
		if err != nil {
			return err
		}
		t.rows[level].written = uint64(info.Size()) / tlog.HashSize //nolint:gosec // not negative
	}
	return t.cut(t.complete())
}

// complete is how many leaves there are whose higher levels are there too.
func (t *Tree) complete() uint64 {
	size := t.rows[0].size()
	for level := 1; level < levels; level++ {
		for size>>(tileHeight*level) > t.rows[level].size() {
			size = (t.rows[level].size()+1)<<(tileHeight*level) - 1
		}
	}
	return size
}

// Size is how many leaves the tree has.
func (t *Tree) Size() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.edge.size
}

// Truncate cuts the tree back to size leaves, so that others can follow. Nothing
// else may use the tree meanwhile.
func (t *Tree) Truncate(size uint64) error {
	if have := t.Size(); size > have {
		return fmt.Errorf("cut tree of %d leaves back to %d: %w", have, size, ErrSize)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := t.cut(size); err != nil {
		return err
	}
	for level := range t.rows {
		if r := &t.rows[level]; r.f != nil {
			if err := r.f.Truncate(int64(r.written * tlog.HashSize)); err != nil { //nolint:gosec // a file
				return fmt.Errorf("cut tree back to %d: %w", size, err)
			}
		}
	}
	return nil
}

// cut forgets what is behind size leaves of the files.
func (t *Tree) cut(size uint64) error {
	edge, err := t.edgeAt(size)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for level := range t.rows {
		t.rows[level].written = size >> (tileHeight * level)
	}
	t.edge = edge
	return nil
}

// edgeAt reads the right edge of the tree as it was with size leaves: from each
// level the hashes that no higher level covers.
func (t *Tree) edgeAt(size uint64) (Frontier, error) {
	var edge Frontier
	for level := levels - 1; level >= 0; level-- {
		have := size >> (tileHeight * level)
		hashes, err := t.hashes(level, have-have%tileWidth, have)
		if err != nil {
			return edge, err
		}
		for len(hashes) > 0 {
			edge.push(tileHeight*level, Hash(hashes[:tlog.HashSize]), nil)
			hashes = hashes[tlog.HashSize:]
		}
	}
	return edge, nil
}

// hashes reads the hashes [from, to) of a level.
func (t *Tree) hashes(level int, from, to uint64) ([]byte, error) {
	t.mu.Lock()
	r := t.rows[level]
	t.mu.Unlock()
	if to > r.size() {
		return nil, fmt.Errorf("read hash %d of level %d: %w: it has %d", to, level, ErrSize, r.size())
	}
	b := make([]byte, 0, (to-from)*tlog.HashSize)
	if from < r.written {
		b = b[:(min(to, r.written)-from)*tlog.HashSize]
		if _, err := r.f.ReadAt(b, int64(from*tlog.HashSize)); err != nil { //nolint:gosec // within the file
			return nil, fmt.Errorf("read hash %d of level %d: %w", from, level, err)
		}
		from = min(to, r.written)
	}
	from, to = (from-min(from, r.written))*tlog.HashSize, (to-min(to, r.written))*tlog.HashSize // in memory
	flight := uint64(len(r.flight))
	if from < flight {
		b = append(b, r.flight[from:min(to, flight)]...)
	}
	if to > flight {
		b = append(b, r.pending[max(from, flight)-flight:to-flight]...)
	}
	return b, nil
}

// Add appends leaves. It only hashes, in memory.
func (t *Tree) Add(leaves ...Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, leaf := range leaves {
		t.rows[0].pending = append(t.rows[0].pending, leaf[:]...)
		t.edge.push(0, leaf, t.tileDone)
	}
}

// tileDone files the root of a full tile in the level above.
func (t *Tree) tileDone(height int, h Hash) {
	if height%tileHeight == 0 {
		r := &t.rows[height/tileHeight]
		r.pending = append(r.pending, h[:]...)
	}
}

// Root is the hash over all leaves.
func (t *Tree) Root() (size uint64, root Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.edge.size, t.edge.Root()
}

// RootAt is the root as it was when the tree had size leaves.
func (t *Tree) RootAt(size uint64) (Hash, error) {
	edge, err := t.FrontierAt(size)
	return edge.Root(), err
}

// FrontierAt is the right edge of the tree as it was with size leaves.
func (t *Tree) FrontierAt(size uint64) (Frontier, error) { return t.edgeAt(size) }

// Leaves reads the leaves [from, to).
func (t *Tree) Leaves(from, to uint64) ([]Hash, error) {
	b, err := t.hashes(0, from, to)
	if err != nil {
		return nil, err
	}
	leaves := make([]Hash, 0, to-from)
	for ; len(b) > 0; b = b[tlog.HashSize:] {
		leaves = append(leaves, Hash(b[:tlog.HashSize]))
	}
	return leaves, nil
}

// Flush writes what was added to the files, the leaves last, without waiting for
// the disk. After an error the hashes stay in memory and the next call tries
// again.
func (t *Tree) Flush() error {
	t.flushing.Lock()
	defer t.flushing.Unlock()
	t.mu.Lock()
	for level := range t.rows {
		r := &t.rows[level]
		if len(r.flight) == 0 {
			r.flight, r.pending = r.pending, nil
		}
	}
	rows := t.rows
	t.mu.Unlock()
	for level := levels - 1; level >= 0; level-- {
		if len(rows[level].flight) == 0 {
			continue
		}
		if err := t.write(level, rows[level]); err != nil {
			return fmt.Errorf("write level %d of the tree: %w", level, err)
		}
	}
	return nil
}

// write brings the hashes in flight of a level into its file.
func (t *Tree) write(level int, r row) (err error) {
	if r.f == nil {
		if r.f, err = t.root.OpenFile(strconv.Itoa(level), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	_, err = r.f.WriteAt(r.flight, int64(r.written*tlog.HashSize)) //nolint:gosec // a file
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[level].f = r.f
	if err == nil {
		t.rows[level].written, t.rows[level].flight = r.written+uint64(len(r.flight))/tlog.HashSize, nil
	}
	return err
}

// Sync flushes and waits until the hashes are on stable storage.
func (t *Tree) Sync() error {
	if err := t.Flush(); err != nil {
		return err
	}
	t.mu.Lock()
	files := make([]*os.File, 0, levels)
	for level := range t.rows {
		if f := t.rows[level].f; f != nil {
			files = append(files, f)
		}
	}
	t.mu.Unlock()
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync tree: %w", err)
		}
	}
	return nil
}

// Close gives the files up without flushing.
func (t *Tree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	errs := []error{t.root.Close()}
	for level := range t.rows {
		if f := t.rows[level].f; f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
