package proxy

import (
	"context"
	"net"
	"sync"
	"time"
)

// lookEvery is how long an exchange has lasted, up to twice as long, before somebody
// looks whether its client is still there.
const lookEvery = 250 * time.Millisecond

// lookout learns that the client of an exchange is gone. net/http has a goroutine
// read a byte of the connection during each request for that, wakes it with a
// deadline when the answer has been sent and waits for it: a twelfth of what a short
// exchange costs. Here that read is put off until the exchange has lasted, and few do.
//
// Nobody else may read meanwhile, or bytes would change places. So it is put off for
// requests without a body alone, of which nothing is left to read once they are being
// handled. A read of a single byte before that, which is rare, comes back empty once
// and is made again.
type lookout struct {
	gone context.CancelFunc // ends what is done for the client; set before the first request
	left func()             // the connection is closed

	mu      sync.Mutex
	asked   bool          // a read was put off; guarded by mu
	alone   bool          // a request without a body is being handled; guarded by mu
	body    bool          // one with a body is; guarded by mu
	seen    bool          // it was so when last looked at; guarded by mu
	done    chan struct{} // closed when looking out has ended, nil while nobody does; guarded by mu
	ahead   []byte        // what was read meanwhile; guarded by mu
	stopped bool          // the connection is closed; guarded by mu
}

// begin says that a request is being handled.
func (l *lookout) begin(alone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alone, l.body = alone, !alone
}

// postponed reports whether a read of a single byte can wait until look.
func (l *lookout) postponed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked || l.body || len(l.ahead) > 0 {
		return false
	}
	l.asked = true
	return true
}

// read is Read of c, what was read ahead first.
func (l *lookout) read(c net.Conn, p []byte) (int, error) {
	l.mu.Lock()
	n := copy(p, l.ahead)
	l.ahead = l.ahead[n:]
	l.mu.Unlock()
	if n > 0 {
		return n, nil
	}
	return c.Read(p)
}

// look begins to look out where the exchange is the one of the last time.
func (l *lookout) look(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.asked || !l.alone || l.done != nil || l.stopped {
		return
	}
	if !l.seen {
		l.seen = true
		return
	}
	done := make(chan struct{})
	l.done = done
	go l.stare(c, done)
}

// stare reads until something comes or end is called. end and close wait for it.
func (l *lookout) stare(c net.Conn, done chan struct{}) {
	defer close(done)
	var b [1]byte
	n, err := c.Read(b[:])
	if timeout, ok := err.(net.Error); err != nil && (!ok || !timeout.Timeout()) { //nolint:errorlint // as net/http tells it
		l.gone()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead = append(l.ahead, b[:n]...)
}

// end stops looking out: from now on somebody else reads. Like net/http it leaves no
// deadline.
func (l *lookout) end(c net.Conn) {
	l.mu.Lock()
	done := l.done
	l.asked, l.alone, l.body, l.seen, l.done = false, false, false, false, nil
	l.mu.Unlock()
	if done == nil {
		return
	}
	_ = c.SetReadDeadline(time.Unix(1, 0)) // a connection that takes no deadline is closed
	<-done
	_ = c.SetReadDeadline(time.Time{})
}

// close waits until nobody reads a connection that has been closed.
func (l *lookout) close() {
	l.mu.Lock()
	done, first := l.done, !l.stopped
	l.stopped = true
	l.mu.Unlock()
	if done != nil {
		<-done
	}
	if first {
		l.left()
	}
}

// lookouts are the connections that are open.
type lookouts struct {
	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
}

func (l *lookouts) add(c *conn) {
	c.lookout.gone = func() {}
	c.lookout.left = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		l.conns = map[*conn]struct{}{}
	}
	l.conns[c] = struct{}{}
}

// run looks at each of them now and then until ctx ends.
func (l *lookouts) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.mu.Lock()
		for c := range l.conns {
			c.lookout.look(c.Conn)
		}
		l.mu.Unlock()
	}
}
