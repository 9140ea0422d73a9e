package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// file is what the writer needs of an open file. Tests put a wrapper between
// that injects faults and checks the order of calls.
type file interface {
	WriteAt(p []byte, off int64) (int, error)
	ReadAt(p []byte, off int64) (int, error)
	// Reserve grows the file to size with zeros that have room on the disk.
	Reserve(size int64) error
	Truncate(size int64) error
	// Sync returns when everything written before is on stable storage.
	Sync() error
	Close() error
}

// folder is the directory that holds a journal or ledger.
type folder struct {
	root *os.Root
	wrap func(name string, f file) file // nil outside tests
}

func openFolder(dir string, wrap func(string, file) file) (folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return folder{}, err
	}
	return folder{root: root, wrap: wrap}, nil
}

// open opens a file for reading and writing, readable by its owner only.
func (d folder) open(name string, flag int) (file, int64, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return d.wrapped(name, diskFile{f}), info.Size(), nil
}

// view opens a file for reading.
func (d folder) view(name string) (*os.File, int64, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (d folder) wrapped(name string, f file) file {
	if d.wrap == nil {
		return f
	}
	return d.wrap(name, f)
}

// sync makes names that were created or renamed in the folder durable.
func (d folder) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	dir := d.wrapped(".", diskFile{f})
	if err := dir.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync folder: %w", err), dir.Close())
	}
	return dir.Close()
}

// publish gives a complete, synced file its name, durably.
func (d folder) publish(from, to string) error {
	if err := d.root.Rename(from, to); err != nil {
		return err
	}
	return d.sync()
}

// lock takes the advisory lock of name, or fails with ErrLocked. It is released
// when the returned file is closed, or when the process dies.
func (d folder) lock(name string) (*os.File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return flocked(f)
}

// discard removes a file that was never published.
func (d folder) discard(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
