package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// sessions is an identifier whose sessions can be ended.
type sessions struct {
	identifier
	over sync.Map
}

func (s *sessions) Identify(r *http.Request) (policy.Subject, error) {
	who, err := s.identifier.Identify(r)
	if _, over := s.over.Load(who.Session); err == nil && over {
		return policy.Subject{}, proxy.ErrSessionExpired
	}
	return who, err
}

// liveWorld is a gateway in front of an application of WebSockets and events, whose
// rules and sessions a test may change.
type liveWorld struct {
	*world
	decide   atomic.Pointer[deciderFunc]
	sessions *sessions
}

func newLive(t *testing.T, app http.HandlerFunc, change func(*proxy.Config)) *liveWorld {
	t.Helper()
	l := &liveWorld{sessions: &sessions{}}
	l.rule(allowAll)
	l.world = build(t, app, func(c *proxy.Config) {
		c.Identifier = l.sessions
		c.Decider = deciderFunc(func(q policy.Request) policy.Decision { return (*l.decide.Load())(q) })
		if change != nil {
			change(c)
		}
	})
	return l
}

func (l *liveWorld) rule(d deciderFunc) { l.decide.Store(&d) }

// end ends the session of sub.
func (l *liveWorld) end(sub string) {
	l.sessions.over.Store("hash-of-"+sub, true)
	l.gateway.SessionEnded("hash-of-" + sub)
}

// talk answers on a WebSocket with what it is sent, and sends events to the rest:
// the address, then nothing.
func talk(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = fmt.Fprintf(rw, "data: %s\n\n", r.URL.Path)
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
		return
	}
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, Subprotocols: []string{"chat.v2"}, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, text, err := c.Read(context.Background())
		if err != nil || c.Write(context.Background(), kind, text) != nil {
			return
		}
	}
}

// line is a stream as its client sees it.
type line interface {
	alive() error // what goes through the stream comes back
	ended() error // waits for the end and says how it came
}

type socketLine struct{ *websocket.Conn }

func (c socketLine) alive() error {
	if err := c.Write(context.Background(), websocket.MessageText, []byte("hello")); err != nil {
		return err
	}
	_, text, err := c.Read(context.Background())
	if err == nil && string(text) != "hello" {
		err = errors.New("not the same text: " + string(text))
	}
	return err
}

func (c socketLine) ended() error {
	_, _, err := c.Read(context.Background())
	return err
}

type eventLine struct {
	res  *http.Response
	more *bufio.Reader
}

func (c eventLine) alive() error { return nil } // nothing can be sent through it

func (c eventLine) ended() error {
	_, err := c.more.ReadByte()
	_ = c.res.Body.Close()
	return err
}

// dial opens a WebSocket as sub.
func (l *liveWorld) dial(sub, path string, change ...func(*websocket.DialOptions)) (*websocket.Conn, *http.Response, error) {
	l.t.Helper()
	o := &websocket.DialOptions{
		HTTPClient: l.newClient(false), HTTPHeader: http.Header{"Cookie": {"__Host-matron=" + sub}, "Origin": {l.url}},
	}
	for _, f := range change {
		f(o)
	}
	return websocket.Dial(l.t.Context(), l.url+path, o)
}

// open opens a stream of each kind.
func (l *liveWorld) open(kind, sub, path string) line {
	l.t.Helper()
	if kind == "websocket" {
		c, _, err := l.dial(sub, path) //nolint:bodyclose // the connection is what is left of it, and is closed
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { _ = c.CloseNow() })
		return socketLine{c}
	}
	r, _ := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+path, nil)
	r.Header.Set("Cookie", "__Host-matron="+sub)
	res, err := l.newClient(kind == "events over HTTP/2").Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = res.Body.Close() })
	c := eventLine{res, bufio.NewReader(res.Body)}
	if text, err := c.more.ReadString('\n'); err != nil || text != "data: "+path+"\n" || res.StatusCode != 200 {
		l.t.Fatalf("got %d %q, %v", res.StatusCode, text, err)
	}
	_, _ = c.more.ReadString('\n')
	return c
}

func kinds() []string { return []string{"websocket", "events", "events over HTTP/2"} }

// mustEnd checks how a stream that the gateway has ended looks from both sides.
func (l *liveWorld) mustEnd(c line, code websocket.StatusCode, want string, reasons ...string) {
	l.t.Helper()
	err := c.ended()
	if _, is := c.(socketLine); is && websocket.CloseStatus(err) != code {
		l.t.Errorf("closed with %v, want %v", err, code)
	} else if err == nil || errors.Is(err, io.EOF) && !is {
		l.t.Errorf("ended as if it were whole: %v", err)
	}
	o := l.log.waitOutcome()
	if o.Error != want || o.Outcome != audit.MinorFailure || !cmp.Equal(o.Reasons, reasons) {
		l.t.Errorf("outcome %q graded %v with reasons %q, want %q with %q", o.Error, o.Outcome, o.Reasons, want, reasons)
	}
}

// TestGW07StreamLivesAsLongAsItsRequestWouldBeLetThrough changes rules, map,
// application and session while a stream is open.
func TestGW07StreamLivesAsLongAsItsRequestWouldBeLetThrough(t *testing.T) {
	swap := func(change func(*proxy.App)) func(*liveWorld) {
		return func(l *liveWorld) {
			app := l.cfg.Apps[0]
			change(&app)
			if err := l.gateway.Swap([]proxy.App{app}); err != nil {
				l.t.Error(err)
			}
		}
	}
	mapped := func(f func(*proxy.Access)) func(*liveWorld) {
		return swap(func(a *proxy.App) {
			a.Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
				access, err := readPatient(r, body)
				f(&access)
				return access, err
			}}
		})
	}
	for _, row := range []struct {
		name    string
		change  func(*liveWorld)
		want    string // "" where the stream stays open
		reasons []string
	}{
		{"nothing", func(l *liveWorld) { l.gateway.Review() }, "", nil},
		{"configuration read again", swap(func(*proxy.App) {}), "", nil},
		{"refused and not enforced", func(l *liveWorld) { l.rule(denyAll); swap(func(a *proxy.App) { a.Mode = proxy.Observe })(l) }, "", nil},
		{"map says less", mapped(func(a *proxy.Access) { a.Patients = nil }), "", nil},
		{"another session", func(l *liveWorld) { l.rule(denyAll); l.end("bob") }, "", nil},
		{"rules refuse", func(l *liveWorld) { l.rule(denyAll); l.gateway.Review() }, "no-longer-allowed", []string{"role-not-permitted"}},
		{"rules ask for a reason", func(l *liveWorld) { l.rule(challengeAll); l.gateway.Review() }, "no-longer-allowed", []string{"no-relationship"}},
		{"map does not know it", mapped(func(a *proxy.Access) { *a = proxy.Access{} }), "no-longer-allowed", []string{"unmapped-route"}},
		{"map closes it", mapped(func(a *proxy.Access) { a.Block = true }), "no-longer-allowed", []string{"blocked-by-map"}},
		{"map names somebody else", mapped(func(a *proxy.Access) { a.Patients = []proxy.Patient{{ID: "2"}} }), "patient-renamed", nil},
		{"map would hold the answer", mapped(func(a *proxy.Access) { a.Hold = true }), "response-not-understood", nil},
		{"application is gone", swap(func(a *proxy.App) { a.Prefix = "/elsewhere/" }), "no-application", nil},
		{"session ends", func(l *liveWorld) { l.end("ada") }, "session-expired", nil},
	} {
		for _, kind := range kinds() {
			t.Run(row.name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				l := newLive(t, talk, nil)
				c := l.open(kind, "ada", "/patient/1")
				row.change(l)
				if row.want != "" {
					l.mustEnd(c, websocket.StatusPolicyViolation, row.want, row.reasons...)
					return
				}
				if err := c.alive(); err != nil {
					t.Error(err)
				}
				l.rule(denyAll) // it is still there to be ended
				if row.name == "refused and not enforced" {
					swap(func(*proxy.App) {})(l)
				} else {
					l.gateway.Review()
				}
				l.mustEnd(c, websocket.StatusPolicyViolation, "no-longer-allowed", "role-not-permitted")
			})
		}
	}
}

// TestStreamThatOpensDuringAChangeIsReviewed: what allowed it may have gone between
// the decision and the application's answer.
func TestStreamThatOpensDuringAChangeIsReviewed(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	l := newLive(t, func(rw http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		talk(rw, r)
	}, nil)
	go func() {
		<-asked
		l.rule(denyAll)
		l.gateway.Review()
		close(answer)
	}()
	_, res, err := l.dial("ada", "/patient/1") //nolint:bodyclose // the connection is what is left of it, and is closed
	if err == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("opened: %v", err)
	}
	if o := l.log.waitOutcome(); o.Error != "no-longer-allowed" || o.Status != 403 {
		t.Errorf("outcome %+v", o)
	}
}

// TestStreamsOfManyPeopleAreKeptApart: each sees what is its own, and ends with its
// own session.
func TestStreamsOfManyPeopleAreKeptApart(t *testing.T) {
	l := newLive(t, talk, nil)
	const people = 16
	open := make([]line, people)
	for i := range open {
		open[i] = l.open(kinds()[i%2], fmt.Sprintf("nurse%d", i), fmt.Sprintf("/patient/%d", i))
	}
	var wg sync.WaitGroup
	for i, c := range open {
		s, ok := c.(socketLine)
		if !ok {
			continue
		}
		wg.Go(func() {
			for n := range 20 {
				marker := fmt.Sprintf("nurse%d/%d", i, n)
				if err := s.Write(context.Background(), websocket.MessageText, []byte(marker)); err != nil {
					t.Error(err)
					return
				}
				if _, got, err := s.Read(context.Background()); err != nil || string(got) != marker {
					t.Errorf("%s saw %q, %v", marker, got, err)
				}
			}
		})
	}
	wg.Wait()
	for i, c := range open {
		l.end(fmt.Sprintf("nurse%d", i))
		l.mustEnd(c, websocket.StatusPolicyViolation, "session-expired")
		if i+1 < people {
			if err := open[i+1].alive(); err != nil {
				t.Errorf("ended with another session: %v", err)
			}
		}
	}
}

// TestShutdownEndsStreamsAndRecordsTheirOutcomes: also of one whose client takes
// nothing, and of none more that begins.
func TestShutdownEndsStreamsAndRecordsTheirOutcomes(t *testing.T) {
	l := newLive(t, flood, nil)
	stuck := l.handshake("/patient/stuck")
	l.filled(stuck)
	l.setApp(talk)
	var open []line
	for _, kind := range kinds() {
		open = append(open, l.open(kind, "ada", "/patient/1"))
	}
	if err := l.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range len(open) + 1 { // they are there already
		select {
		case o := <-l.log.outcome:
			if o.Error != "going-away" {
				t.Errorf("outcome %+v", o)
			}
		default:
			t.Fatal("an outcome is missing after the shutdown")
		}
	}
	if err := open[0].ended(); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	for _, c := range open[1:] {
		if err := c.ended(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("ended with %v", err)
		}
	}
}

// flood sends for ever to whoever upgrades, and reads nothing.
func flood(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		rw.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := rw.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for err == nil {
		err = c.Write(context.Background(), websocket.MessageBinary, make([]byte, 32<<10))
	}
}

// deaf upgrades and reads nothing.
func deaf(rw http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	<-r.Context().Done()
	_ = c.CloseNow()
}

// TestStreamWaitsForNobodyForEver: neither for a client nor for an application that
// takes nothing.
func TestStreamWaitsForNobodyForEver(t *testing.T) {
	short := func(c *proxy.Config) { c.Apps[0].Timeout = 3 * time.Second }
	t.Run("client of a websocket", func(t *testing.T) {
		t.Parallel()
		l := newLive(t, flood, short)
		l.handshake("/patient/1")
		if o := l.log.waitOutcome(); o.Error != "client-slow" || o.Status != 101 || o.BytesOut == 0 {
			t.Errorf("outcome %+v", o)
		}
	})
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("client of events over HTTP/2 %v", h2), func(t *testing.T) {
			t.Parallel()
			l := newLive(t, flood, short)
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, l.url+"/patient/1", nil)
			r.Header.Set("Cookie", "__Host-matron=ada")
			res, err := l.newClient(h2).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			if o := l.log.waitOutcome(); o.Error != "client-slow" {
				t.Errorf("outcome %+v", o)
			}
		})
	}
	t.Run("application", func(t *testing.T) {
		t.Parallel()
		l := newLive(t, deaf, short)
		c, _, err := l.dial("ada", "/patient/1") //nolint:bodyclose // the connection is what is left of it, and is closed
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			err = c.Write(t.Context(), websocket.MessageBinary, make([]byte, 32<<10))
		}
		_ = c.CloseNow()
		if o := l.log.waitOutcome(); o.Error != "application-timeout" || o.BytesIn == 0 {
			t.Errorf("outcome %+v", o)
		}
	})
}

// handshake opens a WebSocket by hand and returns the connection behind it.
func (l *liveWorld) handshake(path string) net.Conn {
	l.t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: l.roots}}
	c, err := d.DialContext(l.t.Context(), "tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nCookie: __Host-matron=ada\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, l.addr, l.url)
	return c
}

// filled waits until the application has begun to send.
func (l *liveWorld) filled(c net.Conn) {
	l.t.Helper()
	if _, err := io.ReadFull(c, make([]byte, 1<<10)); err != nil {
		l.t.Fatal(err)
	}
}

// TestCloseFrameNeverCutsAFrameInTwo: where the application is in the middle of
// one, the connection ends without a word.
func TestCloseFrameNeverCutsAFrameInTwo(t *testing.T) {
	for name, row := range map[string]struct {
		sent, want string
	}{
		"between frames":      {"\x81\x02hi", "\x81\x02hi\x88\x17\x03\xf0closed by the gateway"},
		"between fragments":   {"\x01\x02hi", "\x01\x02hi\x88\x17\x03\xf0closed by the gateway"},
		"within a head":       {"\x81", "\x81"},
		"within a long head":  {"\x82\x7f\x00\x00", "\x82\x7f\x00\x00"},
		"within a payload":    {"\x81\x04hi", "\x81\x04hi"},
		"after a long frame":  {"\x82\x7e\x00\x80" + strings.Repeat("x", 128), "\x82\x7e\x00\x80" + strings.Repeat("x", 128) + "\x88\x17\x03\xf0closed by the gateway"},
		"after a masked one":  {"\x81\x82abcdhi", "\x81\x82abcdhi\x88\x17\x03\xf0closed by the gateway"},
		"after the last one":  {"\x88\x02\x03\xe8", "\x88\x02\x03\xe8"},
		"within a masked one": {"\x81\x82abcdh", "\x81\x82abcdh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLive(t, func(rw http.ResponseWriter, _ *http.Request) {
				h := rw.Header()
				h.Set("Connection", "Upgrade")
				h.Set("Upgrade", "websocket")
				h.Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
				rw.WriteHeader(http.StatusSwitchingProtocols)
				c, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(c, row.sent)
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}, nil)
			c := l.handshake("/patient/1")
			br := bufio.NewReader(c)
			res, err := http.ReadResponse(br, nil) //nolint:bodyclose // the connection is what is left of it, and is closed
			if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%v %v", res, err)
			}
			got := make([]byte, len(row.sent))
			if _, err := io.ReadFull(br, got); err != nil {
				t.Fatal(err)
			}
			l.rule(denyAll)
			l.gateway.Review()
			rest, _ := io.ReadAll(br)
			_ = c.Close()
			if all := string(got) + string(rest); all != row.want {
				t.Errorf("client got %q, want %q", all, row.want)
			}
			l.log.waitOutcome()
		})
	}
}

// TestWebSocketHandshakeIsPassedOn: what the two ends agree on is theirs.
func TestWebSocketHandshakeIsPassedOn(t *testing.T) {
	l := newLive(t, talk, nil)
	c, res, err := l.dial("ada", "/patient/1", func(o *websocket.DialOptions) { //nolint:bodyclose // the connection is what is left of it, and is closed
		o.Subprotocols, o.CompressionMode = []string{"chat.v1", "chat.v2"}, websocket.CompressionContextTakeover
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != "chat.v2" || !strings.HasPrefix(res.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Errorf("agreed on %q, %v", c.Subprotocol(), res.Header)
	}
	text := strings.Repeat("long ", 5000)
	for range 3 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(t.Context()); err != nil || string(got) != text {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
	}
	if res.Header.Get("Matron-Receipt") == "" {
		t.Error("no receipt")
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	if o := l.log.waitOutcome(); o.Status != 101 || o.Outcome != audit.Success || o.BytesIn == 0 || o.BytesOut == 0 {
		t.Errorf("outcome %+v", o)
	}
	if d := l.log.kinds(audit.KindDecision); len(d) != 1 || d[0].Patient != "1" {
		t.Errorf("decisions %+v", d)
	}
}

// TestUpgradeThatIsNoWebSocketIsRefused: with a record, and before the application
// hears of it.
func TestUpgradeThatIsNoWebSocketIsRefused(t *testing.T) {
	good := map[string]string{
		"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	}
	l := newLive(t, talk, nil)
	for _, row := range []struct {
		name, line   string
		set          map[string]string
		body, reason string
	}{
		{"no Connection", "", map[string]string{"Connection": ""}, "", "websocket-handshake"},
		{"Connection names something else", "", map[string]string{"Connection": "close"}, "", "websocket-handshake"},
		{"no version", "", map[string]string{"Sec-WebSocket-Version": ""}, "", "websocket-handshake"},
		{"old version", "", map[string]string{"Sec-WebSocket-Version": "8"}, "", "websocket-handshake"},
		{"no key", "", map[string]string{"Sec-WebSocket-Key": ""}, "", "websocket-handshake"},
		{"short key", "", map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}, "", "websocket-handshake"},
		{"no base64", "", map[string]string{"Sec-WebSocket-Key": "!!!!IHNhbXBsZSBub25jZQ=="}, "", "websocket-handshake"},
		{"POST", "POST /patient/1 HTTP/1.1", map[string]string{"Content-Length": "0"}, "", "websocket-handshake"},
		{"HTTP/1.0", "GET /patient/1 HTTP/1.0", nil, "", "websocket-handshake"},
		{"body", "", map[string]string{"Content-Length": "2"}, "hi", "websocket-handshake"},
		{"chunked body", "", map[string]string{"Transfer-Encoding": "chunked"}, "2\r\nhi\r\n0\r\n\r\n", "websocket-handshake"},
		{"h2c", "", map[string]string{"Upgrade": "h2c"}, "", "upgrade"},
		{"h2c beside it", "", map[string]string{"Upgrade": "websocket, h2c"}, "", "upgrade"},
		{"settings of h2c", "", map[string]string{"Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABk"}, "", "upgrade"},
		{"settings of h2c alone", "", map[string]string{"Connection": "HTTP2-Settings", "Upgrade": "", "HTTP2-Settings": "AAMAAABk"}, "", "upgrade"},
		{"TLS", "", map[string]string{"Upgrade": "TLS/1.3"}, "", "upgrade"},
	} {
		t.Run(row.name, func(t *testing.T) {
			before, hits := len(l.log.kinds(audit.KindDecision)), l.forwarded()
			var b strings.Builder
			line := row.line
			if line == "" {
				line = "GET /patient/1 HTTP/1.1"
			}
			fmt.Fprintf(&b, "%s\r\nHost: %s\r\nOrigin: %s\r\nCookie: __Host-matron=ada\r\n", line, l.addr, l.url)
			all := map[string]string{}
			for _, from := range []map[string]string{good, row.set} {
				for name, value := range from {
					all[name] = value
				}
			}
			for name, value := range all {
				if value != "" {
					fmt.Fprintf(&b, "%s: %s\r\n", name, value)
				}
			}
			c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: l.roots}}).DialContext(t.Context(), "tcp", l.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, b.String()+"\r\n"+row.body)
			res, err := http.ReadResponse(bufio.NewReader(c), nil) //nolint:bodyclose // the connection is what is left of it, and is closed
			if err != nil || res.StatusCode != 400 {
				t.Fatalf("%v %v", res, err)
			}
			if row.reason == "websocket-handshake" && res.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("header %v", res.Header)
			}
			d := l.log.kinds(audit.KindDecision)
			if len(d) != before+1 || !cmp.Equal(d[before].Reasons, []string{row.reason}) || l.forwarded() != hits {
				t.Errorf("decisions %+v, %d forwarded", d[before:], l.forwarded()-hits)
			}
		})
	}
}

// TestSwitchOfProtocolsThatNobodyAskedForIsRefused: nor one whose application has
// not understood the handshake.
func TestSwitchOfProtocolsThatNobodyAskedForIsRefused(t *testing.T) {
	var accepts, to string
	l := newLive(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "Upgrade")
		rw.Header().Set("Upgrade", to)
		rw.Header().Set("Sec-WebSocket-Accept", accepts)
		rw.WriteHeader(http.StatusSwitchingProtocols)
	}, nil)
	const right = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	for name, row := range map[string]struct {
		asked       bool
		to, accepts string
	}{
		"not asked for":    {false, "websocket", right},
		"another protocol": {true, "h2c", right},
		"not understood":   {true, "websocket", "bm90IHRoZSBhbnN3ZXIgdG8gaXQ="},
		"no answer to it":  {true, "websocket", ""},
	} {
		to, accepts = row.to, row.accepts
		var status int
		if row.asked {
			res, err := http.ReadResponse(bufio.NewReader(l.handshake("/patient/1")), nil) //nolint:bodyclose // the connection is what is left of it, and is closed
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			status = res.StatusCode
		} else {
			status = l.do("GET", "/patient/1", "").status
		}
		if o := l.log.waitOutcome(); status != 502 || o.Error != "application-failed" || o.Status != 502 {
			t.Errorf("%s: got %d, outcome %+v", name, status, o)
		}
	}
}

// ending notes the end of its turns.
type ending struct {
	following
	ended chan bool
}

func (e ending) Follow(policy.Subject, *http.Request) (proxy.Turn, error) { return e, nil }
func (e ending) End(forwarded bool)                                       { e.ended <- forwarded }

// TestStreamKeepsNobodyInItsSessionWaiting: a request that was read in a session of
// the application gives its turn back when its stream begins, and is asked about
// again as what it was decided as.
func TestStreamKeepsNobodyInItsSessionWaiting(t *testing.T) {
	turns := make(chan bool, 1)
	closed := false
	l := newLive(t, talk, func(c *proxy.Config) {
		c.Apps[0].Map = ending{following{testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			a, err := readPatient(r, body)
			a.Block = closed // whatever it would be read as now
			return a, err
		}}}, turns}
	})
	c := l.open("events", "ada", "/patient/1")
	if forwarded := <-turns; !forwarded {
		t.Error("the turn ended as if nothing had been asked")
	}
	closed = true
	l.gateway.Review()
	l.rule(denyAll)
	l.gateway.Review()
	l.mustEnd(c, 0, "no-longer-allowed", "role-not-permitted")
}
