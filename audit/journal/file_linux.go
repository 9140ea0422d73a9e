package journal

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// diskFile is a file on a local disk.
type diskFile struct{ *os.File }

// Sync flushes data, and the metadata needed to read them back.
func (f diskFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Reserve allocates blocks, so that a full disk is met before a record is taken
// and not while it is written.
func (f diskFile) Reserve(size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
