package host

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Measure asks the file system of a folder how full it is for somebody without
// privileges, as df does. A file system without files left takes no new segment
// either, whatever room it has.
func Measure(dir string) (Usage, error) {
	var fs unix.Statfs_t
	for {
		err := unix.Statfs(dir, &fs)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return Usage{}, fmt.Errorf("statfs %s: %w", dir, err)
		}
	}
	return Usage{
		Used:     max(share(fs.Blocks-fs.Bfree, fs.Bavail), share(fs.Files-fs.Ffree, fs.Ffree)),
		Free:     fs.Bavail * uint64(max(fs.Bsize, 0)),
		ReadOnly: fs.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// share is how much of what could be had is gone. A file system that counts
// nothing is not full.
func share(gone, left uint64) float64 {
	if gone+left == 0 {
		return 0
	}
	return float64(gone) / float64(gone+left)
}
