package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/intake"
)

// rejectFile holds the lines that were left out. It is written beside its place
// and put there at the end, so that it is never half of one run.
type rejectFile struct {
	path string
	f    *os.File
	out  *bufio.Writer
	enc  *json.Encoder
}

func (r *rejectFile) part() string { return r.path + ".part" }

func (r *rejectFile) add(reject intake.Reject) error {
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

// close puts the file in its place and returns its path, "" when nothing was
// rejected. err is how the import ended.
func (r *rejectFile) close(err error) (string, error) {
	if r.f == nil {
		if old := os.Remove(r.path); old != nil && !errors.Is(old, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove the rejects of an earlier run: %w", old))
		}
		return "", err
	}
	failed := errors.Join(r.out.Flush(), r.f.Chmod(0o600), r.f.Sync(), r.f.Close())
	if failed == nil {
		failed = os.Rename(r.part(), r.path)
	}
	if failed != nil {
		return "", errors.Join(err, fmt.Errorf("write rejects: %w", failed))
	}
	return r.path, err
}

// interruptible is standard input that ends with ctx, although nobody may ever
// write into it again. What waits for it then goes away with the program.
func interruptible(ctx context.Context, in io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		_ = w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(ctx.Err()) })
	return r
}

// showProgress draws how far an import is, on a terminal only, until stop is
// called. size is that of the file, 0 when nobody knows.
func showProgress(w io.Writer, name string, p *history.Progress, size int64) (stop func()) {
	return show(w, func(took time.Duration) string {
		return progressLine(filepath.Base(name), p.Bytes.Load(), size, p.Lines.Load(), took)
	})
}

func progressLine(name string, read, size, lines int64, took time.Duration) string {
	rate := float64(lines) / max(took.Seconds(), 0.001)
	if size <= 0 {
		return fmt.Sprintf("%s  %d MB  %d lines  %.0f lines/s", name, read>>20, lines, rate)
	}
	const width = 30
	full := int(min(read, size) * width / size)
	return fmt.Sprintf("%s  [%s%s] %d of %d MB  %d lines  %.0f lines/s",
		name, strings.Repeat("=", full), strings.Repeat(" ", width-full), read>>20, size>>20, lines, rate)
}
