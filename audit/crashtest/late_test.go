package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// post is the way to ClickHouse. It can hold back one insert as a network does
// that has lost its way: the shipper gives it up, and later it arrives.
type post struct {
	mu     sync.Mutex
	armed  bool          // the next insert is held back
	held   bytes.Buffer  // what it would have sent
	taken  chan struct{} // closed when all of it is there
	server string
}

func newPost(addr string) *post { return &post{server: addr, taken: make(chan struct{})} }

// arm holds back the next insert.
func (p *post) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

func (p *post) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &postConn{Conn: conn, post: p}, nil
}

// postConn is one connection. Nobody else uses held and its post's buffer once
// the insert is held back.
type postConn struct {
	net.Conn
	post *post
	held bool
}

func (c *postConn) Write(b []byte) (int, error) {
	c.post.mu.Lock()
	defer c.post.mu.Unlock()
	if c.post.armed && bytes.Contains(b, []byte("INSERT")) {
		c.post.armed, c.held = false, true
	}
	if c.held {
		c.post.held.Write(b)
		if c.post.whole() {
			close(c.post.taken)
		}
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// whole reports whether all of the request is held back.
func (p *post) whole() bool {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p.held.Bytes())))
	if err != nil {
		return false
	}
	n, err := io.Copy(io.Discard, req.Body)
	return err == nil && n == req.ContentLength
}

// deliver sends what was held back, and says what the server answered.
func (p *post) deliver(ctx context.Context) error {
	<-p.taken
	p.mu.Lock()
	defer p.mu.Unlock()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.server)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // the answer is what counts
	if _, err := conn.Write(p.held.Bytes()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the late insert was answered %s", resp.Status)
	}
	return resp.Body.Close()
}

// forgetful is a ledger that a restart finds empty.
type forgetful struct{}

func (forgetful) Append([]byte) error { return nil }

// TestLateInsertCountsOnce: an insert that was given up arrives when its block
// has long been sent again, by the same shipper or by one that was started anew
// with other settings. The server must know it by its token, so that blocks must
// not be cut anew.
func TestLateInsertCountsOnce(t *testing.T) {
	const family = "late insert"
	for _, c := range []struct {
		name, bug      string
		restart        bool
		window, ledger bool
	}{
		{"sent again", "", false, true, true},
		{"sent again after a restart", "", true, true, true},
		{"window", "deduplication window 0", false, false, true},
		{"cut anew", "blocks cut anew after a restart", true, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin(t, family, c.bug).once(func(int) error { return late(t, c.restart, c.window, c.ledger) })
		})
	}
}

func late(t *testing.T, restart, window, remember bool) error {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	dir, _ := newJournal(t)
	to := reach(e)
	p := newPost(e.Addr())
	to.dial = p.dial
	s, err := openSite(dir, to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.close() }()
	if !window {
		sql(t, to, "ALTER TABLE matron.records MODIFY SETTING non_replicated_deduplication_window = 0")
	}
	p.arm()
	if err := appendOne(s.journal, false, events(1, 900)); err != nil {
		t.Fatal(err)
	}
	cfg := s.config()
	if !remember {
		cfg.Ledger = forgetful{}
	}
	if !restart {
		cfg.Timeout = time.Second
		s.shipRest(t, cfg)
	} else {
		_, stop := s.ship(t, cfg)
		<-p.taken
		stop()
		s.close()
		if s, err = openSite(dir, to); err != nil {
			t.Fatal(err)
		}
		cfg = s.config()
		cfg.BlockRows = 200
		s.shipRest(t, cfg)
	}
	if err := p.deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.compare(t.Context())
}
