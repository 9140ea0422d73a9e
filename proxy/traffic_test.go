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
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// openSocket opens a WebSocket through a gateway to an application that echoes.
func openSocket(t *testing.T, change func(*proxy.Config)) (*world, *websocket.Conn) {
	t.Helper()
	echo := websocket.Server{Handler: func(c *websocket.Conn) {
		var text string
		for websocket.Message.Receive(c, &text) == nil {
			_ = websocket.Message.Send(c, text)
		}
	}}
	w := build(t, nil, change)
	ws := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.log.decided(r.Header.Get("Matron-Request")) {
			t.Error("upgraded before the decision was durable")
		}
		echo.ServeHTTP(rw, r)
	}))
	t.Cleanup(ws.Close)
	target, _ := url.Parse(ws.URL)
	if err := w.gateway.Swap([]proxy.App{{Name: "epr", Prefix: "/", Map: testMap{}, Upstream: target}}); err != nil {
		t.Fatal(err)
	}
	cfg, err := websocket.NewConfig("wss://"+w.addr+"/patient/1", w.url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.TlsConfig = &tls.Config{RootCAs: w.roots}
	cfg.Header.Set("Cookie", "__Host-matron=ada")
	c, err := cfg.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

func TestWebSocketIsCarried(t *testing.T) {
	w, c := openSocket(t, nil)
	for _, text := range []string{"hello", "Content-Length: x\n folded\n\n", strings.Repeat("long ", 10000)} {
		var got string
		if err := websocket.Message.Send(c, text); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(c, &got); err != nil || got != text {
			t.Fatalf("echo of %d bytes: %d bytes, %v", len(text), len(got), err)
		}
	}
	_ = c.Close()
	if o := w.log.waitOutcome(); o.Status != 101 || o.Outcome != audit.Success {
		t.Errorf("outcome %+v", o)
	}
}

func TestHeldExchangeCannotBeUpgraded(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "Upgrade")
		rw.Header().Set("Upgrade", "websocket")
		rw.Header().Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
		rw.WriteHeader(http.StatusSwitchingProtocols)
	}, func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
	a := w.do("GET", "/search", "", header("Connection", "Upgrade"), header("Upgrade", "websocket"),
		header("Origin", w.url), header("Sec-WebSocket-Version", "13"), header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
	if a.status != 502 {
		t.Errorf("got %d", a.status)
	}
}

// hazard:GW-04 control:C-19
func TestServerSentEventsAreNotHeldUp(t *testing.T) {
	next := make(chan string)
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for event := range next {
			if event == "end" {
				return
			}
			_, _ = fmt.Fprintf(rw, "data: %s\n\n", event)
			_ = http.NewResponseController(rw).Flush()
		}
	}, nil)
	for _, h2 := range []bool{false, true} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/patient/1", nil)
		r.Header.Set("Cookie", "__Host-matron=ada")
		go func() { next <- "first" }()
		res, err := w.newClient(h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(res.Body)
		for _, event := range []string{"first", "second"} { // the second is sent once the first has arrived
			if event == "second" {
				next <- event
			}
			line, err := lines.ReadString('\n')
			if err != nil || line != "data: "+event+"\n" {
				t.Fatalf("got %q, %v", line, err)
			}
			_, _ = lines.ReadString('\n')
		}
		_ = res.Body.Close()
		if res.ProtoMajor != map[bool]int{false: 1, true: 2}[h2] {
			t.Errorf("served over HTTP/%d", res.ProtoMajor)
		}
		next <- "end"
	}
}

// plain is an application made of what it writes to the connection.
func plain(t *testing.T, answer func(net.Conn)) *url.URL {
	t.Helper()
	return listening(t, func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			answer(c)
		}
	})
}

func write(s string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, s) }
}

// hazard:GW-05 control:C-21
func TestApplicationThatFailsGetsAClearPageAndAnOutcome(t *testing.T) {
	for _, row := range []struct {
		name    string
		answer  func(net.Conn) // nil: nobody listens
		timeout time.Duration
		status  int
		code    string
		unknown bool // a write may have happened
	}{
		{"down", nil, 0, 502, "application-unreachable", false},
		{"slow", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, 50 * time.Millisecond, 504, "application-timeout", true},
		{"closes early", write(""), 0, 502, "application-failed", true},
		{"closes within the header", write("HTTP/1.1 200 OK\r\nContent-Le"), 0, 502, "application-failed", true},
		{"sends garbage", write("patient 4711 is not HTTP\r\n\r\n"), 0, 502, "application-failed", true},
		{"sends an endless header", write("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 300<<10)), 0, 502, "application-failed", true},
	} {
		for _, method := range []string{"GET", "PUT"} {
			t.Run(row.name+" "+method, func(t *testing.T) {
				target := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
				if row.answer != nil {
					target = plain(t, row.answer)
				}
				w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Upstream, c.Apps[0].Timeout = target, row.timeout })
				a := w.do(method, "/patient/4711", "", navigate)
				if a.status != row.status || !strings.Contains(a.body, a.header.Get("Matron-Request")) {
					t.Errorf("got %d %s", a.status, a.body)
				}
				warned := strings.Contains(a.body, "Check the record before repeating it")
				if want := row.unknown && method == "PUT"; warned != want {
					t.Errorf("page warns of an unknown fate: %v, want %v", warned, want)
				}
				if warned && strings.Contains(a.body, "Try again") {
					t.Errorf("page says both: %s", a.body)
				}
				o := w.log.waitOutcome()
				if o.Error != row.code || o.Status != uint64(row.status) || o.Outcome != audit.SeriousFailure {
					t.Errorf("outcome %+v, want %s", o, row.code)
				}
				if strings.Contains(w.logged.String(), "patient 4711") {
					t.Errorf("the log quotes the application: %s", w.logged)
				}
				p := w.do(method, "/patient/4711", "")
				if p.header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("software got %s", p.header.Get("Content-Type"))
				}
				if strings.Contains(p.body, `"outcome":"unknown"`) != (row.unknown && method == "PUT") {
					t.Errorf("problem %s", p.body)
				}
			})
		}
	}
}

// hazard:GW-15 control:C-63
func TestResponseThatBreaksOffLooksBroken(t *testing.T) {
	for _, head := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		w := build(t, nil, func(c *proxy.Config) {
			c.Apps[0].Upstream = plain(t, write("HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n5\r\nhello\r\n"))
		})
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/patient/1", nil)
		r.Header.Set("Cookie", "__Host-matron=ada")
		if res, err := w.client.Do(r); err == nil {
			_, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil {
				t.Error("a broken response arrived as a whole one")
			}
		}
		if o := w.log.waitOutcome(); o.Error != "response-broken-off" || o.Outcome != audit.SeriousFailure {
			t.Errorf("outcome %+v", o)
		}
	}
}

// hazard:GW-15 control:C-63
func TestResponseThatStallsIsBrokenOff(t *testing.T) {
	for name, m := range map[string]testMap{"streamed": {}, "held": heldMap()} {
		t.Run(name, func(t *testing.T) {
			w := build(t, nil, func(c *proxy.Config) {
				c.Apps[0].Map, c.Apps[0].Timeout = m, 50*time.Millisecond
				c.Apps[0].Upstream = plain(t, func(c net.Conn) {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npatient 4711\n")
					_, _ = io.Copy(io.Discard, c) // until the gateway gives up
				})
			})
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/patient/1", nil)
			r.Header.Set("Cookie", "__Host-matron=ada")
			if res, err := w.client.Do(r); err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err == nil && res.StatusCode == 200 {
					t.Error("a response that stalled arrived as a whole one")
				}
			}
			if o := w.log.waitOutcome(); o.Error != "application-timeout" || o.Outcome != audit.SeriousFailure {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// hazard:GW-15 control:C-63
func TestAnswerToNobodyIsNeverAnEmptySuccess(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := build(t, nil, func(c *proxy.Config) {
		c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) {
			cancel()
			return time.Hour, true
		})
	})
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/patient/1", nil)
	r.Header.Set("Cookie", "__Host-matron=ada")
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("ended with %v, want a broken connection", err)
		}
		if o := w.log.waitOutcome(); o.Error != "client-gone" {
			t.Errorf("outcome %+v", o)
		}
	}()
	w.gateway.ServeHTTP(httptest.NewRecorder(), r)
}

func TestClientThatGoesAwayIsRecorded(t *testing.T) {
	arrived := make(chan struct{})
	w := build(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/patient/1", nil)
	r.Header.Set("Cookie", "__Host-matron=ada")
	go func() {
		<-arrived
		cancel()
	}()
	if res, err := w.client.Do(r); err == nil {
		_ = res.Body.Close()
		t.Error("the request succeeded")
	}
	if o := w.log.waitOutcome(); o.Error != "client-gone" || o.Status != 499 {
		t.Errorf("outcome %+v", o)
	}
}

// hazard:GW-06 control:C-23
func TestNobodyKnownIsSentToSignIn(t *testing.T) {
	xhr := header("Sec-Fetch-Mode", "cors")
	for _, row := range []struct {
		name, method, sub string
		changes           []with
		status            int
		code              string
		location          string
	}{
		{"navigation", "GET", "", []with{navigate}, 303, "no-session", "/.matron/sign-in?return=%2Fpatient%2F1%3Ftab%3D2"},
		{"navigation of an old browser", "GET", "", []with{header("Accept", "text/html")}, 303, "no-session", "/.matron/sign-in?return=%2Fpatient%2F1%3Ftab%3D2"},
		{"navigation after the session", "GET", "old", []with{navigate}, 303, "session-expired", "/.matron/sign-in?return=%2Fpatient%2F1%3Ftab%3D2"},
		{"XHR", "GET", "", []with{navigate, xhr}, 401, "no-session", ""},
		{"XHR of an old browser", "GET", "", []with{header("Accept", "text/html"), header("X-Requested-With", "XMLHttpRequest")}, 401, "no-session", ""},
		{"API", "GET", "", nil, 401, "no-session", ""},
		{"form", "POST", "", []with{navigate}, 401, "no-session", ""},
		{"form after the session", "POST", "old", []with{navigate}, 401, "session-expired", ""},
		{"API write", "DELETE", "", nil, 401, "no-session", ""},
		{"bad token", "GET", "", []with{header("Authorization", "Bearer bad")}, 401, "token-refused", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, nil, nil)
			changes := append([]with{header("Cookie", "")}, row.changes...)
			if row.sub != "" {
				changes = append(changes, cookie(row.sub))
			}
			a := w.do(row.method, "/patient/1?tab=2", "", changes...)
			if a.status != row.status || a.header.Get("Location") != row.location || w.forwarded() != 0 {
				t.Errorf("got %d to %q", a.status, a.header.Get("Location"))
			}
			if row.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `Bearer realm="matron"`) {
				t.Errorf("WWW-Authenticate %q", a.header.Get("WWW-Authenticate"))
			}
			unsent := strings.Contains(a.body, "has not been sent") && strings.Contains(a.body, `href="/.matron/sign-in?return=%2F"`)
			if row.name == "form" && !unsent {
				t.Errorf("page %s", a.body)
			}
			d := w.log.kinds(audit.KindDecision)
			if len(d) != 1 || d[0].Effect != "deny" || !cmp.Equal(d[0].Reasons, []string{row.code}) {
				t.Errorf("decisions %+v", d)
			}
			if o := w.log.waitOutcome(); o.Status != uint64(row.status) {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestIdentityProviderDownIsSaid(t *testing.T) {
	w := build(t, nil, nil)
	w.ids.err = fmt.Errorf("keys: %w", proxy.ErrIdentityUnavailable)
	if a := w.do("GET", "/patient/1", "", navigate); a.status != 503 || !strings.Contains(a.body, "downtime viewer") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestLimitIsAnsweredAndRecorded(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return 2500 * time.Millisecond, false })
	})
	a := w.do("GET", "/patient/4711", "")
	if a.status != 429 || a.header.Get("Retry-After") != "3" || !strings.Contains(a.body, `"code":"rate-limited"`) || w.forwarded() != 0 {
		t.Errorf("got %d %v %s", a.status, a.header, a.body)
	}
	got := w.log.kinds(audit.KindLimit)
	if len(got) != 1 || got[0].Person != "p-ada" || got[0].Effect != "deny" || got[0].Status != 429 || got[0].Patient != "4711" {
		t.Errorf("records %+v", got)
	}
	if receipt := a.header.Get("Matron-Receipt"); !strings.HasPrefix(receipt, fmt.Sprintf("gw1/%d;leaf=ab", got[0].Seq)) {
		t.Errorf("receipt %q of record %d", receipt, got[0].Seq)
	}
}

func TestFloodOfLimitEventsIsCountedNotWrittenOut(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	w := build(t, nil, func(c *proxy.Config) {
		c.Now = func() time.Time { return now }
		c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return time.Second, false })
	})
	receipts := 0
	serve := func(sub string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/patient/1", nil)
		if sub != "" {
			r.Header.Set("Cookie", "__Host-matron="+sub)
		}
		answer := httptest.NewRecorder()
		w.gateway.ServeHTTP(answer, r)
		receipts += len(answer.Header()["Matron-Receipt"])
	}
	for range 100 {
		serve("ada")
		serve("")
	}
	serve("bob")
	now = now.Add(time.Second)
	serve("ada")
	if err := w.gateway.Close(); err != nil {
		t.Fatal(err)
	}
	if receipts != 22 { // what is counted has no record of its own and no receipt
		t.Errorf("%d receipts for 22 records", receipts)
	}
	got := map[string]int{}
	for _, r := range w.log.kinds(audit.KindLimit) {
		got[fmt.Sprint(r.UserSub, r.ClientIP, r.Detail)]++
	}
	want := map[string]int{
		"ada192.0.2.1[kind=interactive]":               10,
		"ada192.0.2.1[kind=interactive unrecorded=90]": 1,
		"192.0.2.1[kind=anonymous]":                    10,
		"192.0.2.1[kind=anonymous unrecorded=90]":      1,
		"bob192.0.2.1[kind=interactive]":               1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// hazard:GW-03 control:C-13
func TestSlowedRequestGoesOn(t *testing.T) {
	w := build(t, say("hello"), func(c *proxy.Config) {
		c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return time.Millisecond, true })
	})
	if a := w.do("GET", "/patient/1", ""); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if d := w.log.kinds(audit.KindDecision); len(d) != 1 || !cmp.Equal(d[0].Detail, []string{"slowed=1ms"}) {
		t.Errorf("decisions %+v", d)
	}
}

// hazard:GW-15 control:C-60
func TestBodyThatTheMapReadsReachesTheApplicationUnchanged(t *testing.T) {
	var seen string
	w := build(t, nil, func(c *proxy.Config) {
		c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			b, err := body()
			seen = string(b)
			if err != nil {
				return proxy.Access{}, err
			}
			return readPatient(r, body)
		}}
		c.Apps[0].MaxRead = 1000
	})
	for _, length := range []int64{5, -1} {
		w.do("POST", "/patient/1", "", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("a\x00b\r\n")), length
		})
		w.log.waitOutcome()
		if got := w.bodies[len(w.bodies)-1]; seen != "a\x00b\r\n" || got != seen {
			t.Errorf("map saw %q, application %q", seen, got)
		}
	}
	if a := w.do("POST", "/patient/1", strings.Repeat("a", 1001)); a.status != 400 || w.forwarded() != 2 {
		t.Errorf("too long to hold: got %d, %d forwarded", a.status, w.forwarded())
	}
}

func TestMapThatCannotReadARequestRefusesIt(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Apps[0].Map = testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
			return proxy.Access{}, errors.New("4711 is no such thing")
		}}
	})
	if a := w.do("GET", "/patient/1", ""); a.status != 400 || w.forwarded() != 0 || a.tells("4711") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestAddressesOfTheApplicationLeadBackThroughTheGateway(t *testing.T) {
	headers := http.Header{}
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		for name, values := range headers {
			rw.Header()[name] = values
		}
	}, func(c *proxy.Config) {
		c.Apps[0].Prefix, c.Apps[0].StripPrefix = "/fhir/", true
		c.Apps[0].Upstream = c.Apps[0].Upstream.JoinPath("/base")
	})
	inner := strings.TrimSuffix(w.upstream.URL, "/")
	for _, row := range []struct{ sent, want string }{
		{inner + "/base/Patient/1", w.url + "/fhir/Patient/1"},
		{"/base/Patient/1?a=b%2Fc#d", "/fhir/Patient/1?a=b%2Fc#d"},
		{"Patient/2", "Patient/2"},
		{"https://elsewhere.test/base/Patient/1", "https://elsewhere.test/base/Patient/1"},
		{"/outside", "/outside"},
	} {
		headers.Set("Location", row.sent)
		headers.Set("Content-Location", row.sent)
		headers.Set("Link", "<"+row.sent+`>; rel="next", <`+row.sent+`>; rel="last"`)
		a := w.do("GET", "/fhir/Patient/1", "")
		h := a.header
		if a.status != 200 {
			t.Fatalf("got %d %s %s", a.status, a.body, w.logged)
		}
		got := []string{h.Get("Location"), h.Get("Content-Location"), h.Get("Link")}
		want := []string{row.want, row.want, "<" + row.want + `>; rel="next", <` + row.want + `>; rel="last"`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", row.sent, diff)
		}
	}
	if p := w.lastHit().URL.Path; p != "/base/Patient/1" {
		t.Errorf("application saw %s", p)
	}
}

func TestLongestPrefixWinsAndSwapKeepsRequestsInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(rw, "old")
	})
	app := func(prefix, text string) proxy.App {
		return proxy.App{Name: prefix + text, Prefix: prefix, Map: testMap{}, Handler: say(text)}
	}
	w := build(t, nil, func(c *proxy.Config) {
		c.Apps = []proxy.App{app("/", "root"), app("/a/", "a"), app("/a/b", "ab"), {Name: "slow", Prefix: "/slow", Map: testMap{}, Handler: slow}}
	})
	for path, want := range map[string]string{"/": "root", "/a": "a", "/ax": "root", "/a/x": "a", "/a/b": "ab", "/a/b/c": "ab", "/a/bc": "a"} {
		if a := w.do("GET", path, ""); a.body != want {
			t.Errorf("%s: %q, want %q", path, a.body, want)
		}
	}
	done := make(chan answer)
	go func() { done <- w.do("GET", "/slow", "") }()
	<-entered
	if err := w.gateway.Swap([]proxy.App{app("/slow", "new")}); err != nil {
		t.Fatal(err)
	}
	if a := w.do("GET", "/slow", ""); a.body != "new" {
		t.Errorf("after the swap: %q", a.body)
	}
	if a := w.do("GET", "/a", ""); a.status != 404 {
		t.Errorf("an application that is gone: %d", a.status)
	}
	close(leave)
	if a := <-done; a.body != "old" {
		t.Errorf("in flight: %q", a.body)
	}
	if err := w.gateway.Swap([]proxy.App{app("/", "one"), app("/", "two")}); err == nil {
		t.Error("two applications share a prefix")
	}
	if a := w.do("GET", "/slow", ""); a.body != "new" {
		t.Errorf("after a refused swap: %q", a.body)
	}
}

// hazard:GW-05 control:C-22
func TestShutdownFinishesAWriteInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	w := build(t, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	}, nil)
	done := make(chan answer)
	go func() { done <- w.do("PUT", "/patient/1", "dose=5") }()
	<-entered
	stopped := make(chan error)
	go func() { stopped <- w.server.Shutdown(context.Background()) }()
	close(leave)
	if a := <-done; a.status != 200 {
		t.Errorf("got %d", a.status)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestPublicPathsNeedNoIdentity(t *testing.T) {
	w := build(t, nil, nil)
	for path, status := range map[string]int{
		"/.matron/sign-in": 200, "/.matron/assets/app.js": 200, "/.matron/gateway/refusal.css": 200,
		"/.matron/sign-in/x": 401, "/.matron/assetsx": 401, "/.matron/sign-in;x": 400,
	} {
		if a := w.do("GET", path, "", header("Cookie", "")); a.status != status {
			t.Errorf("%s: %d, want %d", path, a.status, status)
		}
	}
	if a := w.do("POST", "/.matron/sign-in", "", header("Sec-Fetch-Site", "cross-site")); a.status != 403 {
		t.Errorf("cross-site post: %d", a.status)
	}
	if w.forwarded() != 0 {
		t.Error("a public path reached the application")
	}
}

func TestForwardedHeadersAreBelievedFromTrustedProxiesOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, row := range []struct{ name, remote, chain, ip, proto string }{
		{"a stranger", "192.0.2.9:1", "6.6.6.6", "192.0.2.9", "http"},
		{"a trusted proxy", "10.0.0.1:1", "192.0.2.7", "192.0.2.7", "https"},
		{"leftmost is not believed", "10.0.0.1:1", "6.6.6.6, 192.0.2.7", "192.0.2.7", "https"},
		{"two trusted proxies", "10.0.0.1:1", "6.6.6.6, 192.0.2.7, 10.0.0.2", "192.0.2.7", "https"},
		{"garbage", "10.0.0.1:1", "192.0.2.7, evil", "10.0.0.1", "https"},
		{"nothing", "10.0.0.1:1", "", "10.0.0.1", "https"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, nil, func(c *proxy.Config) { c.TrustedProxies = trusted })
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/patient/1", nil)
			r.RemoteAddr = row.remote
			r.Header.Set("Cookie", "__Host-matron=ada")
			r.Header.Set("X-Forwarded-Proto", "https")
			if row.chain != "" {
				r.Header.Set("X-Forwarded-For", row.chain)
			}
			w.gateway.ServeHTTP(httptest.NewRecorder(), r)
			h := w.lastHit().Header
			if d := w.log.kinds(audit.KindDecision); d[0].ClientIP != row.ip || h.Get("X-Forwarded-For") != row.ip {
				t.Errorf("client %s, application told %s, want %s", d[0].ClientIP, h.Get("X-Forwarded-For"), row.ip)
			}
			if h.Get("X-Forwarded-Proto") != row.proto {
				t.Errorf("scheme %s, want %s", h.Get("X-Forwarded-Proto"), row.proto)
			}
		})
	}
}

func TestRefusalSpeaksFHIRToFHIRClients(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Decider = deciderFunc(denyAll)
		c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			a, err := readPatient(r, body)
			a.Deny = proxy.DenyOperationOutcome
			return a, err
		}}
	})
	a := w.do("GET", "/patient/1", "")
	want := `{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden",` +
		`"details":{"text":"Your role may not read results. Ask the nurse in charge."},` +
		`"diagnostics":"role-not-permitted, reference ` + a.header.Get("Matron-Request") + `"}]}`
	if a.body != want || a.header.Get("Content-Type") != "application/fhir+json; charset=utf-8" {
		t.Errorf("got %s %s", a.header.Get("Content-Type"), a.body)
	}
}

func TestActivityIsCountedUnlessTheMapSaysOtherwise(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			a, err := readPatient(r, body)
			a.KeepAlive = r.URL.Path == "/poll"
			return a, err
		}}
	})
	w.do("GET", "/poll", "")
	w.do("GET", "/patient/1", "")
	w.do("GET", "/patient/1", "", header("Authorization", "Bearer bob"))
	if w.ids.touched != 1 {
		t.Errorf("%d touches, want 1", w.ids.touched)
	}
}

func TestSubjectThatIsNobodyIsRefused(t *testing.T) {
	w := build(t, nil, nil)
	if a := w.do("GET", "/patient/1", "", cookie("")); a.status != 401 || w.forwarded() != 0 {
		t.Errorf("got %d, %d forwarded", a.status, w.forwarded())
	}
}
