package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

const short = 50 * time.Millisecond

// closes fails the test unless the gateway ends the connection; it returns what it
// sent before.
func closes(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetReadDeadline(now()().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent, err := io.ReadAll(c)
	if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // as io.ReadAll returns it
		t.Fatal("the connection stays open")
	}
	return string(sent)
}

// TestSlowClientsAreGivenUp: who sends or takes nothing any more loses the
// connection; what had been decided has an outcome.
func TestSlowClientsAreGivenUp(t *testing.T) {
	bound := func(t *testing.T, b proxy.ServerConfig, app http.HandlerFunc) *world {
		w := build(t, app, nil)
		w.bounds = b
		w.serve()
		return w
	}
	t.Run("in the TLS handshake", func(t *testing.T) {
		w := bound(t, proxy.ServerConfig{HeaderTimeout: short}, nil)
		c, err := net.Dial("tcp", w.addr) //nolint:noctx // a test's own connection
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		closes(t, c)
	})
	t.Run("in the header", func(t *testing.T) {
		w := bound(t, proxy.ServerConfig{HeaderTimeout: short}, nil)
		c := w.dialled()
		_, _ = io.WriteString(c, "GET /patient/1 HTTP/1.1\r\nX: ")
		closes(t, c)
	})
	t.Run("between requests", func(t *testing.T) {
		w := bound(t, proxy.ServerConfig{IdleTimeout: short}, nil)
		c := w.dialled()
		_, _ = io.WriteString(c, "GET /patient/1 HTTP/1.1\r\n"+signedIn+"\r\n")
		if sent := closes(t, c); !strings.HasPrefix(sent, "HTTP/1.1 200") {
			t.Errorf("got %q", sent)
		}
	})
	t.Run("in the body", func(t *testing.T) {
		w := bound(t, proxy.ServerConfig{ReadTimeout: short}, nil)
		for len(w.log.kinds(audit.KindDecision)) == 0 { // it may end before its header has arrived
			c := w.dialled()
			_, _ = io.WriteString(c, "POST /patient/1 HTTP/1.1\r\n"+signedIn+"Content-Length: 10\r\n\r\nx")
			closes(t, c)
		}
		if o := w.log.waitOutcome(); o.Outcome == audit.Success {
			t.Errorf("outcome %+v", o)
		}
	})
	t.Run("over HTTP/2 in the body", func(t *testing.T) {
		w := bound(t, proxy.ServerConfig{ReadTimeout: short}, nil)
		f := w.frames()
		if err := f.open(1, false, changed(":method=POST")...); err != nil {
			t.Fatal(err)
		}
		f.end(1)
		if o := w.log.waitOutcome(); o.Outcome == audit.Success {
			t.Errorf("outcome %+v", o)
		}
	})
	t.Run("in taking the answer", func(t *testing.T) {
		w := bound(t, proxy.ServerConfig{WriteTimeout: short}, func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil { // without end
				_, _ = rw.Write(make([]byte, 1<<20))
			}
		})
		c := w.dialled()
		_, _ = io.WriteString(c, "GET /patient/1 HTTP/1.1\r\n"+signedIn+"\r\n")
		if o := w.log.waitOutcome(); o.Outcome == audit.Success {
			t.Errorf("outcome %+v", o)
		}
	})
}

// TestTooManyConnections: one more than may be is closed, and there is room again
// once somebody leaves.
func TestTooManyConnections(t *testing.T) {
	w := build(t, say("ok"), nil)
	w.bounds.MaxConnections = 3
	w.serve()
	ask := "GET /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n"
	var open []*tls.Conn
	for range 3 {
		c := w.dialled()
		open = append(open, c)
		_, _ = io.WriteString(c, ask)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		c, err := net.Dial("tcp", w.addr) //nolint:noctx // a test's own connection
		if err != nil {
			t.Fatal(err)
		}
		if sent := closes(t, c); sent != "" {
			t.Errorf("got %q", sent)
		}
		_ = c.Close()
	}
	if n := strings.Count(w.logged.String(), "too many connections"); n != 1 {
		t.Errorf("said %d times in the log", n)
	}
	_ = open[0].Close()
	for tries := 0; ; tries++ { // the gateway learns of it soon
		d := tls.Dialer{Config: &tls.Config{RootCAs: w.roots}}
		c, err := d.DialContext(t.Context(), "tcp", w.addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if tries > 2_000 {
			t.Fatal("there is no room again")
		}
	}
}

// TestHTTP2Floods: what asks for much work in few bytes takes a bounded memory,
// leaves no decision without an outcome, and keeps nobody else from being served.
func TestHTTP2Floods(t *testing.T) {
	for name, flood := range map[string]func(f *frames, n uint32) error{
		"streams begun and given up": func(f *frames, n uint32) error {
			_ = f.open(2*n+1, true, changed("")...)
			return f.WriteRSTStream(2*n+1, http2.ErrCodeCancel)
		},
		"more streams than may be": func(f *frames, n uint32) error {
			return f.open(2*n+1, false, changed(":method=POST")...)
		},
		"header without end": func(f *frames, n uint32) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(changed("")...)})
			}
			return f.WriteContinuation(1, false, f.block("x-a", strings.Repeat("a", 10_000)))
		},
		"empty continuations": func(f *frames, n uint32) error {
			if n == 0 {
				return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(changed("")...)})
			}
			return f.WriteContinuation(1, false, nil)
		},
		"pings": func(f *frames, n uint32) error { return f.WritePing(false, [8]byte{byte(n)}) },
		"settings": func(f *frames, n uint32) error {
			return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: n % 2})
		},
		"data of nothing": func(f *frames, n uint32) error {
			if n == 0 {
				return f.open(1, false, changed(":method=POST")...)
			}
			return f.WriteDataPadded(1, false, nil, make([]byte, 255))
		},
		"priorities": func(f *frames, n uint32) error {
			return f.WritePriority(2*n+1, http2.PriorityParam{StreamDep: 2*n + 3})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := build(t, say("ok"), nil)
			f := w.frames()
			before := inUse()
			var err error
			for n := uint32(0); err == nil && n < 10_000; n++ { // an error: the gateway has had enough
				err = flood(f, n)
			}
			if grown := inUse() - before; grown > 128<<20 { // of all floods together
				t.Errorf("%d MiB more in memory", grown>>20)
			}
			w.client = w.newClient(true)
			if a := w.do("GET", "/patient/1", ""); a.status != 200 {
				t.Errorf("somebody else got %d", a.status)
			}
			_ = f.c.Close()
			if err := w.server.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			d, o := w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindOutcome)
			if len(d) != len(o) {
				t.Errorf("%d decisions, %d outcomes", len(d), len(o))
			}
		})
	}
}

func TestHTTP2IsBounded(t *testing.T) {
	f := build(t, nil, nil).frames()
	frame, err := f.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("got %v", frame)
	}
	for id, want := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: 100, http2.SettingMaxHeaderListSize: 4*(8<<10) + 320} {
		if got, _ := settings.Value(id); got != want {
			t.Errorf("%s is %d, want %d", id, got, want)
		}
	}
}

// inUse is what is in memory.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
