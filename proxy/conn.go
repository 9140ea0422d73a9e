package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one HTTP/1 connection whose bytes are followed. It sees what handlers
// cannot: ambiguous framing, which net/http resolves silently, and requests that
// net/http refuses by itself.
type conn struct {
	net.Conn
	framing  framing     // owned by the goroutine that reads
	doubtful atomic.Bool // framing is ambiguous
	upgraded atomic.Bool // what follows is not HTTP
	// handling is true from the beginning of ServeHTTP until the connection is
	// idle or active again: what is written meanwhile is the handler's.
	handling  atomic.Bool
	malformed func(c net.Conn, status int)
	lookout   lookout
}

// tlsConn is a conn over TLS. Its ConnectionState makes net/http fill in
// Request.TLS.
type tlsConn struct {
	*conn
	tls *tls.Conn
}

// ConnectionState describes the TLS connection.
func (c tlsConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// followed returns the conn behind a connection, nil if nobody follows it.
func followed(c net.Conn) *conn {
	switch c := c.(type) {
	case *conn:
		return c
	case tlsConn:
		return c.conn
	}
	return nil
}

// Read follows what is read.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && !c.upgraded.Load() && c.lookout.postponed() {
		return 0, nil
	}
	n, err := c.lookout.read(c.Conn, p)
	if c.framing.state != unfollowed && !c.upgraded.Load() {
		c.framing.feed(p[:n])
		if c.framing.ambiguous {
			c.doubtful.Store(true)
		}
	}
	return n, err
}

// Write notices an answer that net/http gives by itself: no handler will record
// that request.
func (c *conn) Write(p []byte) (int, error) {
	if !c.handling.Load() && c.malformed != nil {
		if status := errorStatus(p); status != 0 {
			c.handling.Store(true) // one record, however many writes
			c.malformed(c, status)
		}
	}
	return c.Conn.Write(p)
}

// Close ends the connection and what looks out for its end.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.lookout.close()
	return err
}

// CloseWrite lets net/http end its side first, so that the client can read why.
func (c *conn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// errorStatus returns the status of a response that begins with p if it is an
// error, else 0.
func errorStatus(p []byte) int {
	rest, ok := bytes.CutPrefix(p, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 3 {
		return 0
	}
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil || status < 400 {
		return 0
	}
	return status
}

type connKey struct{}

// withConn is http.Server.ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if c := followed(c); c != nil {
		ctx, c.lookout.gone = context.WithCancel(ctx)
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// framingError reports whether the request's connection is ambiguous. Where
// nobody follows the bytes, as in HTTP/2, lengths have one reading only.
func framingError(r *http.Request) error {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		return nil
	}
	c.handling.Store(true)
	c.lookout.begin(r.Body == nil || r.Body == http.NoBody)
	if c.doubtful.Load() {
		return errFraming
	}
	return nil
}

// connState is http.Server.ConnState.
func connState(nc net.Conn, state http.ConnState) {
	c := followed(nc)
	if c == nil {
		return
	}
	switch state {
	case http.StateActive, http.StateIdle:
		c.handling.Store(false)
		c.lookout.end(c.Conn)
	case http.StateHijacked:
		c.upgraded.Store(true)
		c.lookout.end(c.Conn)
	case http.StateClosed:
		c.lookout.gone()
	case http.StateNew:
	}
}

// listener finishes TLS handshakes, each in its own goroutine, and hands out
// HTTP/2 connections as they are and HTTP/1 connections as a conn. Close waits
// for its goroutines.
type listener struct {
	net.Listener
	tls       *tls.Config
	handshake time.Duration
	malformed func(net.Conn, int)

	open   lookouts
	ready  chan net.Conn
	cancel context.CancelFunc
	once   sync.Once
	wg     sync.WaitGroup
	err    error // why accepting ended; written before ready is closed
}

// listen wraps ln. With a nil tlsConfig connections are cleartext.
func listen(ln net.Listener, t *tls.Config, handshake time.Duration, malformed func(net.Conn, int)) *listener {
	if t != nil {
		t = t.Clone()
		t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
		// Short records at the beginning, and after each pause, help where a record
		// takes long to arrive. In a hospital's network they are system calls alone.
		t.DynamicRecordSizingDisabled = true
		for _, proto := range [...]string{"h2", "http/1.1"} {
			t.NextProtos = appendMissing(t.NextProtos, proto)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{
		Listener: ln, tls: t, handshake: handshake, malformed: malformed,
		ready: make(chan net.Conn), cancel: cancel,
	}
	l.wg.Go(func() { l.accept(ctx) })
	l.wg.Go(func() { l.open.run(ctx) })
	return l
}

func appendMissing(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// accept takes connections until the listener is closed.
func (l *listener) accept(ctx context.Context) {
	defer close(l.ready)
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			if temporary(err) && pause(ctx) {
				continue
			}
			l.err = err
			return
		}
		pending.Go(func() { l.prepare(ctx, raw) })
	}
}

// temporary reports whether accepting may work again in a moment, as when file
// descriptors have run out (GW-02: the gateway must not stop for that).
func temporary(err error) bool {
	t := (interface{ Temporary() bool })(nil)
	return errors.As(err, &t) && t.Temporary()
}

// pause waits a moment; false means that ctx ended meanwhile.
func pause(ctx context.Context) bool {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// prepare finishes the handshake of one connection and hands it out.
func (l *listener) prepare(ctx context.Context, raw net.Conn) {
	c, err := l.secure(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-ctx.Done():
		_ = raw.Close()
	}
}

// secure returns the connection that net/http gets to see.
func (l *listener) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if l.tls == nil {
		return l.follow(raw), nil
	}
	t := tls.Server(raw, l.tls)
	ctx, cancel := context.WithTimeout(ctx, l.handshake)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		answerCleartext(err)
		return nil, err
	}
	if t.ConnectionState().NegotiatedProtocol == "h2" {
		return t, nil
	}
	return tlsConn{l.follow(t), t}, nil
}

// follow makes a conn of a connection that speaks HTTP/1.
func (l *listener) follow(c net.Conn) *conn {
	f := &conn{Conn: c, malformed: l.malformed}
	l.open.add(f)
	return f
}

// answerCleartext tells somebody who speaks HTTP to a TLS port what is wrong.
func answerCleartext(err error) {
	if re := (tls.RecordHeaderError{}); errors.As(err, &re) && re.Conn != nil {
		_, _ = io.WriteString(re.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nThis address begins with https://.\n")
	}
}

// Accept is part of net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if c, ok := <-l.ready; ok {
		return c, nil
	}
	return nil, l.err
}

// Close stops accepting, drops what is still shaking hands and waits for it.
func (l *listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		l.cancel()
		err = l.Listener.Close()
		l.wg.Wait()
	})
	return err
}
