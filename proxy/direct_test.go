package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matron-epr/matron/proxy"
)

const (
	okAnswer   = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	strayReply = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\npatient 4711"
)

// lineApp answers each request of a connection by its own function, which is told how
// many came before it on that connection and returns false to break it off.
type lineApp struct {
	answer   func(c net.Conn, before int) bool
	lines    atomic.Int32
	requests atomic.Int32
}

func (a *lineApp) serve(c net.Conn) {
	a.lines.Add(1)
	r := bufio.NewReader(c)
	for before := 0; ; before++ {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		a.requests.Add(1)
		if !a.answer(c, before) {
			return
		}
	}
}

func sends(text string) func(net.Conn, int) bool {
	return func(c net.Conn, _ int) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// inFront builds a world whose application is a.
func (a *lineApp) inFront(t *testing.T) *world {
	t.Helper()
	return build(t, nil, func(c *proxy.Config) { c.Apps[0].Upstream = listening(t, a.serve) })
}

func TestReadsShareAConnection(t *testing.T) {
	a := &lineApp{answer: sends(okAnswer)}
	w := a.inFront(t)
	for range 5 {
		if got := w.do("GET", "/patient/1", ""); got.status != 200 || got.body != "ok" {
			t.Fatalf("got %d %q %v", got.status, got.body, got.err)
		}
	}
	if n := a.lines.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// An application may close a connection that it has kept at any moment: a read that
// meets that is sent again, once, and over a new connection.
func TestReadOnABrokenConnectionIsSentOnceMore(t *testing.T) {
	for _, row := range []struct {
		name     string
		answer   func(net.Conn, int) bool
		status   int
		requests int32
	}{
		{"closed behind an answer", func(c net.Conn, _ int) bool { sends(okAnswer)(c, 0); return false }, 200, 2},
		{"closed at the second request", func(c net.Conn, before int) bool { return before == 0 && sends(okAnswer)(c, 0) }, 200, 3},
		{"broken off within an answer", func(c net.Conn, before int) bool {
			return before == 0 && sends(okAnswer)(c, 0) || sends("HTTP/1.1 2")(c, 0) && false
		}, 502, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := &lineApp{answer: row.answer}
			w := a.inFront(t)
			w.do("GET", "/patient/1", "")
			w.log.waitOutcome()
			if got := w.do("GET", "/patient/1", ""); got.status != row.status {
				t.Errorf("got %d, want %d", got.status, row.status)
			}
			if n := a.requests.Load(); n != row.requests {
				t.Errorf("the application got %d requests, want %d", n, row.requests)
			}
		})
	}
}

// TestLateSurplusReachesNobody: what an application sends when nobody has asked is not
// taken for the answer to whoever asks next, in the clear or within TLS, where it may
// have been read already and not been decrypted.
func TestLateSurplusReachesNobody(t *testing.T) {
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	t.Cleanup(lender.Close)
	roots := x509.NewCertPool()
	roots.AddCert(lender.Certificate())
	for name, row := range map[string]struct {
		serve  func(net.Conn, func(net.Conn))
		scheme string
		apart  bool // the surplus comes in a segment of its own
	}{
		"in the clear": {func(c net.Conn, serve func(net.Conn)) { serve(c) }, "http", true},
		"within TLS, apart": {func(c net.Conn, serve func(net.Conn)) {
			serve(tls.Server(c, &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}))
		}, "https", true},
		"within TLS, at once": {func(c net.Conn, serve func(net.Conn)) {
			g := &gathered{Conn: c}
			serve(gatheredTLS{tls.Server(g, &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12}), g})
		}, "https", false},
	} {
		t.Run(name, func(t *testing.T) {
			read, sent := make(chan struct{}), make(chan struct{}, 16)
			a := &lineApp{answer: func(c net.Conn, _ int) bool {
				g, together := c.(gatheredTLS)
				if together {
					g.under.hold()
				}
				_, err := io.WriteString(c, okAnswer)
				if row.apart {
					<-read // the answer
				}
				_, _ = io.WriteString(c, strayReply)
				if together {
					err = g.under.release()
				}
				sent <- struct{}{}
				return err == nil
			}}
			w := build(t, nil, func(c *proxy.Config) {
				up := listening(t, func(c net.Conn) { row.serve(c, a.serve) })
				c.Apps[0].Upstream = &url.URL{Scheme: row.scheme, Host: up.Host}
				c.Apps[0].Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS12}}
			})
			t.Cleanup(func() { close(read) })
			for range 5 {
				got := w.do("GET", "/patient/1", "")
				if got.status != 200 || got.body != "ok" {
					t.Fatalf("got %d %q %v", got.status, got.body, got.err)
				}
				if row.apart {
					read <- struct{}{}
				}
				<-sent
			}
			if n := strings.Count(w.logged.String(), "sends more than its answer"); n != 1 {
				t.Errorf("said %d times in the log", n)
			}
		})
	}
}

// gathered is a connection whose writes can be put together into one.
type gathered struct {
	net.Conn
	held *bytes.Buffer
}

type gatheredTLS struct {
	*tls.Conn
	under *gathered
}

func (g *gathered) hold() { g.held = &bytes.Buffer{} }

func (g *gathered) release() error {
	_, err := g.Conn.Write(g.held.Bytes())
	g.held = nil
	return err
}

func (g *gathered) Write(p []byte) (int, error) {
	if g.held != nil {
		return g.held.Write(p)
	}
	return g.Conn.Write(p)
}

// TestAnswerThatNeverBeginsIsGivenUp: informational responses count as the header that
// they come before.
func TestAnswerThatNeverBeginsIsGivenUp(t *testing.T) {
	a := &lineApp{answer: func(c net.Conn, _ int) bool {
		for {
			if _, err := io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100)); err != nil {
				return false
			}
		}
	}}
	w := a.inFront(t)
	if got := w.do("GET", "/patient/1", ""); got.status != 502 {
		t.Errorf("got %d %v", got.status, got.err)
	}
}
