package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"
)

// show keeps a line of text up to date on a terminal until stop is called. Anywhere
// else it shows nothing.
func show(out io.Writer, line func(took time.Duration) string) (stop func()) {
	if f, ok := out.(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		return func() {}
	}
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for began := time.Now(); ; {
			select {
			case <-stopped:
				_, _ = fmt.Fprint(out, "\r\x1b[K")
				return
			case <-tick.C:
				_, _ = fmt.Fprint(out, "\r"+line(time.Since(began))+"\x1b[K")
			}
		}
	}()
	return func() {
		close(stopped)
		<-ended
	}
}

// bar shows how far long work is. It is safe for concurrent use.
type bar struct {
	done, total atomic.Int64
	close       func() // takes the bar away
}

// newBar shows a bar on out until its close is called.
func newBar(out io.Writer, what string) *bar {
	b := &bar{}
	b.close = show(out, func(took time.Duration) string { return barLine(what, b.done.Load(), b.total.Load(), took) })
	return b
}

// set says how far the work is, in any unit.
func (b *bar) set(done, total int64) {
	b.done.Store(done)
	b.total.Store(total)
}

// barLine is what the bar shows: how far, and how long it will still take.
func barLine(what string, done, total int64, took time.Duration) string {
	const width = 30
	if total <= 0 && done > 0 {
		return fmt.Sprintf("%s  %d", what, done)
	}
	if total <= 0 {
		return fmt.Sprintf("%s  %s", what, took.Round(time.Second))
	}
	done = min(done, total)
	full := int(done * width / total)
	line := fmt.Sprintf("%s  [%s%s] %d %%", what, strings.Repeat("=", full), strings.Repeat(" ", width-full), done*100/total)
	if done > 0 && took > time.Second {
		line += fmt.Sprintf(", %s left", (took * time.Duration(total-done) / time.Duration(done)).Round(time.Second))
	}
	return line
}
