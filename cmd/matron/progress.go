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

// bar shows on a terminal how far long work is. Anywhere else it shows nothing.
// It is safe for concurrent use.
type bar struct {
	out         io.Writer
	what        string
	done, total atomic.Int64
	stop, ended chan struct{} // nil where nothing is shown
}

// newBar shows a bar on out until close is called.
func newBar(out io.Writer, what string) *bar {
	b := &bar{out: out, what: what}
	if f, ok := out.(*os.File); !ok || !isatty.IsTerminal(f.Fd()) {
		return b
	}
	b.stop, b.ended = make(chan struct{}), make(chan struct{})
	go b.run()
	return b
}

// set says how far the work is, in any unit.
func (b *bar) set(done, total int64) {
	b.done.Store(done)
	b.total.Store(total)
}

func (b *bar) run() {
	defer close(b.ended)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-b.stop:
			_, _ = fmt.Fprint(b.out, "\r\x1b[K")
			return
		case <-tick.C:
			_, _ = fmt.Fprint(b.out, "\r"+barLine(b.what, b.done.Load(), b.total.Load(), time.Since(began))+"\x1b[K")
		}
	}
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

// close takes the bar away.
func (b *bar) close() {
	if b.stop != nil {
		close(b.stop)
		<-b.ended
	}
}
