package intake

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// RejectFile holds the lines that were left out. It is written beside its place
// and put there at the end, so that it is never half of one run.
type RejectFile struct {
	Path string
	f    *os.File
	out  *bufio.Writer
	enc  *json.Encoder
}

func (r *RejectFile) part() string { return r.Path + ".part" }

// Add writes one line.
func (r *RejectFile) Add(reject Reject) error {
	if r.f == nil {
		var err error
		// An earlier one of a run that was killed is written over.
		if r.f, err = os.OpenFile(r.part(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return fmt.Errorf("write rejects: %w", err)
		}
		r.out = bufio.NewWriter(r.f)
		r.enc = json.NewEncoder(r.out)
		r.enc.SetEscapeHTML(false)
	}
	if err := r.enc.Encode(reject); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

// Close puts the file in its place and returns its path, "" when nothing was
// rejected. err is how the import ended.
func (r *RejectFile) Close(err error) (string, error) {
	if r.f == nil {
		if old := os.Remove(r.Path); old != nil && !errors.Is(old, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove the rejects of an earlier run: %w", old))
		}
		return "", err
	}
	failed := errors.Join(r.out.Flush(), r.f.Chmod(0o600), r.f.Sync(), r.f.Close())
	if failed == nil {
		failed = os.Rename(r.part(), r.Path)
	}
	if failed != nil {
		return "", errors.Join(err, fmt.Errorf("write rejects: %w", failed))
	}
	return r.Path, err
}
