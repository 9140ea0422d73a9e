package syslog_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/export/syslog"
)

// peer is a collector in this process that can be told not to read.
type peer struct {
	net.Listener
	mu    sync.Mutex
	bytes bytes.Buffer // guarded by mu
	conns []net.Conn   // guarded by mu
}

func newPeer(t *testing.T, a *authority, reads bool) *peer {
	t.Helper()
	cert, key := a.issue("localhost")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l}
	t.Cleanup(func() { _ = l.Close(); p.hangUp() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
			server := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			go func() {
				if server.HandshakeContext(t.Context()) == nil && reads {
					_, _ = io.Copy(p, server)
				}
			}()
		}
	}()
	return p
}

func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes.Write(b)
}

func (p *peer) frames() []wire {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, _ := unframe(p.bytes.String())
	return list
}

func (p *peer) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

func (p *peer) at(a *authority) syslog.Peer {
	return syslog.Peer{Address: p.Addr().String(), ServerName: "localhost", CAFile: a.path("ca.pem")}
}

// TestWhatTCPHasNotAcknowledgedIsNotSent: a peer that reads nothing leaves most
// of what was written in our own kernel.
func TestWhatTCPHasNotAcknowledgedIsNotSent(t *testing.T) {
	a := newAuthority(t)
	p := newPeer(t, a, false)
	g := newGateway(t, p.at(a))
	g.add(60) // 200 kB: more than its buffer, less than ours
	until(t, "something is acknowledged", func() bool { return g.Status().Connected })
	g.clock.forward()
	for range 20 {
		time.Sleep(20 * time.Millisecond) // it has time to get it wrong
		if st := g.Status(); st.Sent == st.Committed || st.Confirmed == st.Committed || st.Lag == 0 {
			t.Fatalf("%+v: nobody took that", st)
		}
	}
}

// TestNothingIsConfirmedBeforeTheWindow holds the two conditions of the cursor
// apart: acknowledged alone is not enough, and neither is time without a sign of
// life.
func TestNothingIsConfirmedBeforeTheWindow(t *testing.T) {
	a := newAuthority(t)
	p := newPeer(t, a, true)
	g := newGateway(t, p.at(a))
	last := g.add(20)
	until(t, "all is acknowledged", func() bool { return g.Status().Sent == last })
	if st := g.Status(); st.Confirmed != 0 {
		t.Fatalf("%+v: the window is not over", st)
	}
	g.clock.forward()
	for range 100 {
		time.Sleep(20 * time.Millisecond)           // two looks of the exporter: it has time to get it wrong
		if st := g.Status(); st.Confirmed == last { // later acknowledgements are signs of life for earlier records
			t.Fatalf("%+v: nothing was heard of the peer since", st)
		}
	}
	p.hangUp()
	until(t, "the last comes again", func() bool {
		n := 0
		for _, f := range p.frames() {
			if strings.Contains(f.data, `seq="20"`) {
				n++
			}
		}
		return n > 1
	})
	until(t, "all is acknowledged again", func() bool { return g.Status().Sent == last })
	g.clock.forward()
	until(t, "the window is over and the peer alive", func() bool { g.add(1); return g.Status().Confirmed >= last })
	g.stop()
	confirmed := g.Status().Confirmed

	before := len(p.frames())
	g.run() // a restart goes on after the cursor
	last = g.add(1)
	until(t, "the new record is sent", func() bool { return g.Status().Sent == last })
	until(t, "it arrives", func() bool { return len(p.frames()) >= before+int(last-confirmed) })
	for _, f := range p.frames()[before:] {
		if strings.Contains(f.data, `seq="1"`) {
			t.Errorf("sent again after it was confirmed: %s", f.data)
		}
	}
}

func TestACursorThatCannotBeTrustedIsNotGuessed(t *testing.T) {
	a := newAuthority(t)
	p := newPeer(t, a, true)
	g := newGateway(t, p.at(a))
	last := g.add(12)
	until(t, "all is acknowledged", func() bool { return g.Status().Sent == last })
	g.clock.forward()
	until(t, "a cursor is there", func() bool { g.add(1); return g.Status().Confirmed >= last })
	g.stop()
	path := g.cfg.CursorPath
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	try := func(content []byte) error {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := syslog.New(g.cfg)
		return err
	}
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		for what, bad := range map[string][]byte{"cut": good[:i], "changed": flipped} {
			if err := try(bad); !errors.Is(err, syslog.ErrCursor) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "export.syslog.from") {
				t.Fatalf("%s at %d: %v", what, i, err)
			}
		}
	}
	if err := try(append(bytes.Clone(good), good...)); !errors.Is(err, syslog.ErrCursor) {
		t.Errorf("twice: %v", err)
	}
	if err := try(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	other := newGateway(t, p.at(a)) // its journal is shorter
	cfg := other.cfg
	cfg.CursorPath = path
	if _, err := syslog.New(cfg); !errors.Is(err, syslog.ErrCursor) || !strings.Contains(err.Error(), "journal ends at") {
		t.Errorf("a cursor beyond the journal: %v", err)
	}
}

func TestFromIsForTheFirstStart(t *testing.T) {
	a := newAuthority(t)
	p := newPeer(t, a, true)
	g := newGateway(t, p.at(a))
	g.stop()
	g.add(9)
	g.cfg.From, g.cfg.CursorPath = 8, filepath.Join(t.TempDir(), "other.cursor")
	g.run()
	until(t, "two records", func() bool { return len(p.frames()) == 2 })
	if f := p.frames(); !strings.Contains(f[0].data, `seq="8"`) {
		t.Errorf("began with %s", f[0].data)
	}
}

func TestWhatNewNeeds(t *testing.T) {
	if _, err := syslog.New(syslog.Config{Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, syslog.ErrConfig) {
		t.Errorf("%v, want %v", err, syslog.ErrConfig)
	}
}
