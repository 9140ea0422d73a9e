package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Close codes of RFC 6455, section 7.4.1.
const (
	closeGoingAway = 1001
	closePolicy    = 1008
)

// Hijack hands out the client's connection of an exchange that is upgraded.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if x.stream == nil {
		return nil, nil, http.ErrNotSupported
	}
	raw, rw, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	x.status = http.StatusSwitchingProtocols
	return x.stream.socket(raw), rw, nil
}

// socket is the client's end of a WebSocket.
type socket struct {
	net.Conn
	s      *stream
	mu     sync.Mutex // one write at a time
	frames frames     // of what the application sent; guarded by mu
}

// socket makes the client's end of s. From here on a client that hangs is cut off.
func (s *stream) socket(raw net.Conn) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.force = func() { _ = raw.Close() }
	return &socket{Conn: raw, s: s}
}

// Read gives what the client sends to nobody once the stream has been ended.
func (c *socket) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.s.ended() != nil {
		return 0, io.EOF
	}
	c.s.in.Add(int64(n))
	return n, err
}

// Write sends what the application says.
func (c *socket) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.s.sending() {
		return 0, net.ErrClosed
	}
	defer c.s.sent()
	n, err := c.Conn.Write(p)
	c.frames.feed(p[:n])
	c.s.out.Add(int64(n))
	return n, err
}

// Close ends the connection. The client of a stream that the gateway has ended is
// told so where that can be done, and has a moment to answer: closing at once
// would take the message back that is still on its way.
func (c *socket) Close() error {
	if c.goodbye() {
		_, _ = io.Copy(io.Discard, c.Conn) // until the client closes, or clientSlow does
	}
	return c.Conn.Close()
}

// goodbye sends a close frame. It cannot be sent in the middle of one of the
// application's, where it would be read as part of it.
func (c *socket) goodbye() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	code := uint16(closePolicy)
	switch why := c.s.ended(); {
	case why == nil, errors.Is(why, errTimeout), errors.Is(why, errClientSlow), !c.frames.between():
		return false
	case errors.Is(why, errGoingAway):
		code = closeGoingAway
	}
	const reason = "closed by the gateway"
	frame := append(binary.BigEndian.AppendUint16([]byte{0x88, 2 + byte(len(reason))}, code), reason...)
	if _, err := c.Conn.Write(frame); err != nil {
		return false
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	return true
}

// backend is the application's end of a WebSocket. An application that does not
// take what it is sent is given up after the time that it has for an answer.
type backend struct {
	io.ReadWriteCloser
	slow  *time.Timer
	limit time.Duration
}

// boundBackend puts a backend in the place of the body of an upgrade.
func (x *exchange) boundBackend(res *http.Response) {
	raw, ok := res.Body.(io.ReadWriteCloser)
	if !ok {
		return // the reverse proxy refuses it
	}
	s := x.stream
	b := &backend{ReadWriteCloser: raw, limit: x.route.Timeout}
	b.slow = time.AfterFunc(b.limit, func() { s.end(errTimeout, policy.Decision{}) })
	b.slow.Stop()
	res.Body = b
}

// Write is part of io.Writer.
func (b *backend) Write(p []byte) (int, error) {
	b.slow.Reset(b.limit)
	defer b.slow.Stop()
	return b.ReadWriteCloser.Write(p)
}

// frames follows the frames of a WebSocket (RFC 6455, section 5.2) to know where
// one ends. It never looks at what they hold.
type frames struct {
	head   [14]byte
	n      int    // bytes of head that have been seen
	left   uint64 // bytes left of the payload
	closed bool   // the last frame has been seen
}

// feed follows the next bytes.
func (f *frames) feed(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			p, f.left = p[n:], f.left-n
			continue
		}
		f.head[f.n] = p[0]
		p, f.n = p[1:], f.n+1
		if length, whole := f.payload(); whole {
			f.closed = f.closed || f.head[0]&0x0f == 8
			f.left, f.n = length, 0
		}
	}
}

// payload is the length of what follows a head, once that is whole.
func (f *frames) payload() (length uint64, whole bool) {
	if f.n < 2 {
		return 0, false
	}
	size := 2
	switch length = uint64(f.head[1] & 0x7f); length {
	case 126:
		size, length = 4, uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		size, length = 10, binary.BigEndian.Uint64(f.head[2:])
	}
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return length, f.n == size
}

// between reports whether a frame may be sent now.
func (f *frames) between() bool { return f.n == 0 && f.left == 0 && !f.closed }
