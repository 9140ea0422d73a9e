package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/history"
)

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
