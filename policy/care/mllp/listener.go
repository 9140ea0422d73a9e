package mllp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/matron-epr/matron/policy/care/hl7"
)

// Listener receives messages until it is closed. It is safe for concurrent use.
type Listener struct {
	c      Config
	ln     net.Listener
	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // open connections; true while a message is being handled. Guarded by mu
}

// Listen begins to receive messages from ln, which it closes in the end.
func Listen(ln net.Listener, c Config) (*Listener, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	l := &Listener{c: c, ln: ln, conns: map[net.Conn]bool{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.accept)
	return l, nil
}

// Addr is where the listener listens.
func (l *Listener) Addr() net.Addr { return l.ln.Addr() }

// Close stops accepting, lets messages that have arrived be answered and waits
// for that.
func (l *Listener) Close() error {
	l.cancel()
	err := l.ln.Close()
	l.mu.Lock()
	for conn, busy := range l.conns {
		if !busy {
			_ = conn.SetReadDeadline(time.Unix(1, 0)) // wakes whoever waits for the next message
		}
	}
	l.mu.Unlock()
	l.work.Wait()
	return err
}

func (l *Listener) accept() {
	for {
		conn, err := l.ln.Accept()
		if errors.Is(err, net.ErrClosed) || l.ctx.Err() != nil {
			return
		}
		if err != nil { // out of file descriptors, most likely: they come back
			select {
			case <-l.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if !l.enter(conn) {
			l.refuse(Refusal{Address: conn.RemoteAddr().String(), Reason: ErrCrowded})
			_ = conn.Close()
			continue
		}
		l.work.Go(func() {
			defer l.leave(conn)
			l.serve(conn)
		})
	}
}

// enter counts a connection in, unless there are too many.
func (l *Listener) enter(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.c.MaxConnections {
		return false
	}
	l.conns[conn] = false
	return true
}

func (l *Listener) leave(conn net.Conn) {
	l.mu.Lock()
	delete(l.conns, conn)
	l.mu.Unlock()
	_ = conn.Close()
}

// busy marks whether a message is being handled, and sets the time until which
// the connection may be read or written. It reports false once Close has begun
// and nothing is being handled.
func (l *Listener) busy(conn net.Conn, handling bool, limit time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil && !handling {
		return false
	}
	l.conns[conn] = handling
	return conn.SetDeadline(time.Now().Add(limit)) == nil //nolint:forbidigo // deadlines of sockets are of the machine's own clock
}

// serve reads one connection to its end.
func (l *Listener) serve(raw net.Conn) {
	from := Refusal{Address: raw.RemoteAddr().String()}
	if !l.busy(raw, false, l.c.Handshake) {
		return
	}
	conn := tls.Server(raw, l.c.TLS)
	if err := conn.HandshakeContext(l.ctx); err != nil {
		if l.ctx.Err() == nil {
			from.Reason = errors.Join(ErrCertificate, err)
			l.refuse(from)
		}
		return
	}
	defer func() { _ = conn.Close() }()
	from.Peer = certified(conn.ConnectionState().PeerCertificates[0])
	peer := slices.IndexFunc(l.c.Peers, func(p Peer) bool { return p.Name == from.Peer })
	if peer < 0 {
		from.Reason = ErrPeer
		l.refuse(from)
		return
	}
	f := &frames{r: bufio.NewReader(conn), max: l.c.MaxBytes, begun: func() { l.busy(raw, true, l.c.Message) }}
	for l.busy(raw, false, l.c.Idle) {
		message, err := f.next()
		if err != nil && !errors.Is(err, ErrTooLarge) {
			l.ended(from, raw, f, err)
			return
		}
		l.busy(raw, true, l.c.Message)
		for _, part := range hl7.Split(message) {
			if !l.answer(conn, from, l.c.Peers[peer].Senders, part, err) {
				return
			}
		}
	}
}

// certified is the name that a verified certificate proves.
func certified(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.CommonName
}

// ended records why a connection ended in the middle of something. A sender that
// hangs up between messages has done nothing wrong.
func (l *Listener) ended(from Refusal, raw net.Conn, f *frames, err error) {
	l.mu.Lock()
	inside := l.conns[raw]
	l.mu.Unlock()
	switch {
	case errors.Is(err, ErrNoise) || f.noise > 0 && !inside:
		from.Reason = ErrNoise
	case !inside:
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		from.Reason = ErrSlow
	default:
		from.Reason = io.ErrUnexpectedEOF
	}
	l.refuse(from)
}

// answer handles one message and acknowledges it. It reports whether the
// connection is still good.
func (l *Listener) answer(conn net.Conn, from Refusal, allowed []Sender, message []byte, err error) bool {
	head := hl7.HeaderOf(message)
	from.Sender, from.Control = Sender{head.Application, head.Facility}, head.Control
	verdict := hl7.Reject
	if err == nil {
		verdict, err = l.handle(allowed, from.Sender, message)
	}
	if err != nil {
		from.Reason = err
		l.refuse(from)
	}
	ack := head.Acknowledge(verdict, err, l.c.Now())
	if ack == nil {
		return true
	}
	_, err = conn.Write(wrap(ack))
	return err == nil
}

// handle decides what is answered to a message. Only a handler that returned nil
// makes it accepted.
func (l *Listener) handle(allowed []Sender, from Sender, message []byte) (verdict hl7.Answer, err error) {
	defer func() {
		if recover() != nil { // one message must not end the gateway (GW-02)
			verdict, err = hl7.Reject, ErrPanic
		}
	}()
	m, err := hl7.Parse(message)
	switch {
	case err != nil && from == Sender{}: // it names nobody because it is no message
	case !slices.Contains(allowed, from):
		err = ErrSender
	case err == nil:
		err = l.c.Handler.Handle(m)
	}
	if err == nil {
		return hl7.Accept, nil
	}
	if _, ok := errors.AsType[*hl7.Error](err); ok {
		return hl7.Reject, err
	}
	return hl7.TryAgain, err
}

func (l *Listener) refuse(r Refusal) {
	r.At = l.c.Now()
	l.c.Observer.Refused(r)
}
