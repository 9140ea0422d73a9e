package proxy

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// answers is a connection to an application of which nothing is read beyond the
// end of the answer to a request. What is sent beyond it would be taken for the
// answer to whoever uses the connection next, and net/http would quote it in a log
// (GW-08): it is dropped, and the connection with it. What an application sends
// later still, when the next request is on its way, nobody can tell apart.
type answers struct {
	net.Conn
	surplus func() // told of what is dropped

	mu      sync.Mutex
	framing framing // guarded by mu
}

// newAnswers follows a new connection.
func newAnswers(c net.Conn, surplus func()) *answers {
	return &answers{Conn: c, surplus: surplus, framing: framing{answer: true, state: ended}}
}

// Write begins a request when the one before has been answered.
func (a *answers) Write(p []byte) (int, error) {
	a.mu.Lock()
	if a.framing.state == ended {
		a.framing.expect(bytes.HasPrefix(p, []byte("HEAD ")))
	}
	a.mu.Unlock()
	return a.Conn.Write(p)
}

// Read reads an answer as far as it goes. To net/http the connection then ends
// there, so that it is not used again.
func (a *answers) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	a.mu.Lock()
	rest := a.framing.feed(p[:n])
	a.mu.Unlock()
	if len(rest) > 0 {
		a.surplus()
		return n - len(rest), io.EOF
	}
	return n, err
}

// CloseWrite ends one side of an upgraded connection.
func (a *answers) CloseWrite() error {
	if w, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}

// dialler connects to an application as t does.
func dialler(t *http.Transport, to *url.URL) func(context.Context) (net.Conn, error) {
	dial, secured, cfg := t.DialContext, t.DialTLSContext, t.TLSClientConfig
	port := "80"
	if to.Scheme == "https" {
		port = "443"
	}
	address := net.JoinHostPort(to.Hostname(), cmp.Or(to.Port(), port))
	if to.Scheme == "https" && secured != nil {
		dial = secured
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := dial(ctx, "tcp", address)
		if err != nil || to.Scheme != "https" || secured != nil {
			return c, err
		}
		return secure(ctx, c, address, cfg)
	}
}

// followAnswers makes every connection of t one whose answers are followed.
func followAnswers(t *http.Transport, surplus func()) {
	dial, secured := t.DialContext, t.DialTLSContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newAnswers(c, surplus), nil
	}
	if secured == nil {
		secured = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return secure(ctx, c, addr, t.TLSClientConfig)
		}
	}
	t.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := secured(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newAnswers(c, surplus), nil
	}
}

// secure speaks TLS to an application, as net/http does where it dials itself.
func secure(ctx context.Context, c net.Conn, addr string, cfg *tls.Config) (net.Conn, error) {
	if cfg = cfg.Clone(); cfg == nil {
		cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		cfg.ServerName = host
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s := tls.Client(c, cfg)
	if err := s.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return s, nil
}
