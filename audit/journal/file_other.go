//go:build unix && !linux

package journal

import "os"

// diskFile is a file on a local disk. os.File.Sync asks the drive to flush.
type diskFile struct{ *os.File }

// Reserve only sets the size: room on the disk is not promised here.
func (f diskFile) Reserve(size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}
