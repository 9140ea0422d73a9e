package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxIdle    = 256              // connections to one application that wait for a request
	idleFor    = 60 * time.Second // after which one of them is closed at the latest
	maxHeading = 256 << 10        // bytes of the header of an answer
)

// direct sends requests without a body to one application, and reads the answers, on
// the goroutine that serves the exchange. http.Transport hands each request and each
// answer to two goroutines of the connection, for bodies that are sent while the
// answer comes; without one that costs more than reading the answer. It never sends a
// write: what it sends on a kept connection that turns out to be broken before the
// first byte of an answer, it sends once more on a new one, as http.Transport does.
// It is safe for concurrent use.
type direct struct {
	dial    func(ctx context.Context) (net.Conn, error)
	timeout time.Duration // for the header of an answer
	surplus func()        // told of what an application sends beyond its answer

	mu    sync.Mutex
	kept  []*line     // guarded by mu; the one used last is the last
	sweep *time.Timer // guarded by mu; nil while none is kept
	round int         // guarded by mu; counts sweeps
	over  bool        // guarded by mu; none is kept any more
}

// line is one connection to an application. One exchange uses it at a time.
type line struct {
	conn  net.Conn
	raw   syscall.RawConn // of conn
	r     *bufio.Reader
	w     *bufio.Writer
	room  int64 // bytes that may still be read
	heard bool  // a byte of the answer has been read
	timer *time.Timer
	late  atomic.Bool // the timer has fired
	round int         // of sweeps, when it was kept
}

// newLine waits for an answer no longer than within.
func newLine(c net.Conn, within time.Duration) *line {
	l := &line{conn: c, raw: rawConn(c), w: bufio.NewWriter(c)}
	l.r = bufio.NewReader(l)
	l.timer = time.AfterFunc(within, func() {
		l.late.Store(true)
		_ = c.Close()
	})
	l.timer.Stop()
	return l
}

// errHeading says that the header of an answer is longer than anybody reads.
var errHeading = errors.New("header of the answer too long")

// Read is part of io.Reader.
func (l *line) Read(p []byte) (int, error) {
	if l.room <= 0 {
		return 0, errHeading
	}
	n, err := l.conn.Read(p[:min(int64(len(p)), l.room)])
	l.room -= int64(n)
	l.heard = l.heard || n > 0
	return n, err
}

// RoundTrip is part of http.RoundTripper.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if l := d.take(); l != nil {
		res, err := d.exchange(l, r)
		if err == nil || l.heard || l.late.Load() || r.Context().Err() != nil {
			return res, err
		}
	}
	c, err := d.dial(r.Context())
	if err != nil {
		return nil, err
	}
	return d.exchange(newLine(c, d.timeout), r)
}

// exchange sends r and returns the answer, whose body gives the connection back.
func (d *direct) exchange(l *line, r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	b := &lineBody{d: d, line: l, ctx: ctx, stop: context.AfterFunc(ctx, func() { _ = l.conn.Close() })}
	res, err := l.ask(r, d.timeout)
	if err != nil {
		return nil, b.broken(err)
	}
	b.keep = !res.Close && res.StatusCode >= 200
	if res.Body == http.NoBody {
		b.end(true)
		return res, nil
	}
	b.body, res.Body = res.Body, b
	return res, nil
}

// ask writes r and reads the header of its answer.
func (l *line) ask(r *http.Request, within time.Duration) (*http.Response, error) {
	l.room, l.heard = maxHeading, false
	l.timer.Reset(within)
	res, err := l.sendAndRead(r)
	if !l.timer.Stop() {
		return nil, errTimeout
	}
	l.room = math.MaxInt64
	return res, err
}

func (l *line) sendAndRead(r *http.Request) (*http.Response, error) {
	if err := r.Write(l.w); err != nil {
		return nil, err
	}
	if err := l.w.Flush(); err != nil {
		return nil, err
	}
	for {
		res, err := http.ReadResponse(l.r, r)
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 100 || res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		} // nothing informational goes further
	}
}

// take returns a kept connection on which nothing has happened meanwhile, nil for none.
func (d *direct) take() *line {
	for {
		d.mu.Lock()
		n := len(d.kept) - 1
		if n < 0 {
			d.mu.Unlock()
			return nil
		}
		l := d.kept[n]
		d.kept[n] = nil
		d.kept = d.kept[:n]
		d.mu.Unlock()
		switch quiet(l.conn, l.raw) {
		case silent:
			return l
		case spoken:
			d.surplus()
		case gone:
		}
		_ = l.conn.Close()
	}
}

// put keeps a connection whose answer has been read. What has come beyond it would be
// taken for the answer to whoever uses the connection next (GW-08).
func (d *direct) put(l *line) {
	if l.r.Buffered() > 0 {
		d.surplus()
		_ = l.conn.Close()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || len(d.kept) >= maxIdle {
		_ = l.conn.Close()
		return
	}
	l.round = d.round
	d.kept = append(d.kept, l)
	if d.sweep == nil {
		d.sweep = time.AfterFunc(idleFor/2, d.swept)
	}
}

// swept closes what has been kept since before the last time.
func (d *direct) swept() {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := 0
	for old < len(d.kept) && d.kept[old].round != d.round {
		_ = d.kept[old].conn.Close()
		old++
	}
	d.kept = slices.Delete(d.kept, 0, old)
	d.round++
	d.sweep = nil
	if len(d.kept) > 0 {
		d.sweep = time.AfterFunc(idleFor/2, d.swept)
	}
}

// rest closes what is kept; those in use are closed after use.
func (d *direct) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	for _, l := range d.kept {
		_ = l.conn.Close()
	}
	d.kept = nil
	if d.sweep != nil {
		d.sweep.Stop()
	}
}

// lineBody is the body of an answer. Closing it before its end closes the connection,
// whoever does it and whatever is being read then.
type lineBody struct {
	d    *direct
	line *line
	body io.Reader
	keep bool // the connection is good for another request
	ctx  context.Context
	stop func() bool // of what closes the connection when ctx ends
	done atomic.Bool
}

// arrived reports whether all of a body of length n is there, so that nobody waits.
func (b *lineBody) arrived(n int64) bool { return n >= 0 && n <= int64(b.line.r.Buffered()) }

// Read is part of io.Reader.
func (b *lineBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.end(true)
	case err != nil:
		err = b.broken(err)
	}
	return n, err
}

// Close is part of io.Closer.
func (b *lineBody) Close() error {
	b.end(false)
	return nil
}

// broken gives the connection up and says why.
func (b *lineBody) broken(err error) error {
	b.end(false)
	if cause := b.ctx.Err(); cause != nil {
		return cause
	}
	return err
}

// end gives the connection back or closes it, once.
func (b *lineBody) end(whole bool) {
	if b.done.Swap(true) {
		return
	}
	if b.stop() && whole && b.keep {
		b.d.put(b.line)
		return
	}
	_ = b.line.conn.Close()
}
