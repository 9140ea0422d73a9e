package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// raw sends bytes over TLS as HTTP/1.1 and returns the status of the first
// answer, and whether the connection was closed after it.
func (w *world) raw(request string) (int, string) {
	w.t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: w.roots, NextProtos: []string{"http/1.1"}}}
	c, err := d.DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(now()().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

const signedIn = "Host: epr.test\r\nCookie: __Host-matron=ada\r\n"

// hazard:GW-08 control:C-33
func TestMalformedRequestIsRefusedRecordedAndNeverForwarded(t *testing.T) {
	get := func(target string) string { return "GET " + target + " HTTP/1.1\r\n" + signedIn + "\r\n" }
	with := func(lines string) string { return "GET /patient/1 HTTP/1.1\r\n" + signedIn + lines + "\r\n\r\n" }
	post := func(lines, body string) string {
		return "POST /patient/1 HTTP/1.1\r\n" + signedIn + lines + "\r\n\r\n" + body
	}
	for _, row := range []struct {
		name, request string
		status        int
		reason        string
	}{
		{"encoded slash", get("/patient%2f1"), 400, "ambiguous-target"},
		{"encoded slash, upper case", get("/patient%2F1"), 400, "ambiguous-target"},
		{"encoded backslash", get("/patient%5c1"), 400, "ambiguous-target"},
		{"backslash", get(`/patient\1`), 400, "ambiguous-target"},
		{"NUL", get("/patient/1%00.css"), 400, "ambiguous-target"},
		{"line feed", get("/patient/1%0a"), 400, "ambiguous-target"},
		{"path parameter", get("/patient;a=b/1"), 400, "ambiguous-target"},
		{"encoded path parameter", get("/patient%3ba=b/1"), 400, "ambiguous-target"},
		{"parent segment", get("/patient/../1"), 400, "ambiguous-target"},
		{"encoded parent segment", get("/patient/%2e%2e/1"), 400, "ambiguous-target"},
		{"dot segment", get("/patient/./1"), 400, "ambiguous-target"},
		{"empty segment", get("/patient//1"), 400, "ambiguous-target"},
		{"empty first segment", get("//patient/1"), 400, "ambiguous-target"},
		{"fragment", get("/patient/1#x"), 400, "ambiguous-target"},
		{"encoded twice", get("/patient%252f1"), 400, "ambiguous-target"},
		{"not UTF-8", get("/patient/%c0%af1"), 400, "ambiguous-target"},
		{"absolute form", get("http://other.test/patient/1"), 400, "ambiguous-target"},
		{"semicolon in query", get("/patient/1?a=1;b=2"), 400, "ambiguous-target"},
		{"broken escape in query", get("/patient/1?a=%zz"), 400, "ambiguous-target"},
		{"method override in query", get("/patient/1?_method=DELETE"), 400, "method-override"},
		{"encoded method override in query", get("/patient/1?%5fmethod=DELETE"), 400, "method-override"},
		{"method override header", with("X-HTTP-Method-Override: DELETE"), 400, "method-override"},
		{"target override header", with("X-Original-URL: /admin"), 400, "method-override"},
		{"underscore in header name", with("Content_Type: text/plain"), 400, "header-name"},
		{"identity header", with("X-Remote-User: root"), 400, "identity-header"},
		{"identity header with underscores", with("X_Forwarded_User: root"), 400, "identity-header"},
		{"the gateway's own header", with("mAtRoN-iDeNtItY: token"), 400, "identity-header"},
		{"upgrade to h2c", with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), 400, "upgrade"},
		{"TRACE", "TRACE /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", 405, "method"},
		{"CONNECT", "CONNECT /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", 405, "method"},
		{"unknown method", "PURGE /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", 405, "method"},
		{"length and chunks", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400, "ambiguous-framing"},
		{"chunks and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"), 400, "ambiguous-framing"},
		{"two lengths, equal", post("Content-Length: 5\r\nContent-Length: 5", "hello"), 400, "ambiguous-framing"},
		{"chunks in HTTP/1.0", "POST /patient/1 HTTP/1.0\r\n" + signedIn + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "ambiguous-framing"},
		{"folded header", with("X-A: b\r\n c"), 400, "ambiguous-framing"},
		{"two lengths, different", post("Content-Length: 5\r\nContent-Length: 6", "hello!"), 400, "malformed"},
		{"signed length", post("Content-Length: +5", "hello"), 400, "malformed"},
		{"unknown coding", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), 501, "malformed"},
		{"space before colon", with("X-A : b"), 400, "malformed"},
		{"no host", "GET /patient/1 HTTP/1.1\r\nCookie: __Host-matron=ada\r\n\r\n", 400, "malformed"},
		{"two hosts", with("Host: other.test"), 400, "malformed"},
		{"not HTTP", "HELLO\r\n\r\n", 400, "malformed"},
		{"header too large", with("X-A: " + strings.Repeat("a", 20<<10)), 400, "header-too-large"},
		{"body too large", post("Content-Length: 2000", strings.Repeat("a", 2000)), 400, "body-too-large"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, nil, func(c *proxy.Config) { c.Apps[0].MaxBody = 1000 })
			if status, body := w.raw(row.request); status != row.status {
				t.Errorf("got %d %s, want %d", status, body, row.status)
			}
			if n := w.forwarded(); n != 0 {
				t.Errorf("%d requests reached the application", n)
			}
			o := w.log.waitOutcome()
			d := w.log.kinds(audit.KindDecision)
			if len(d) != 1 || d[0].Effect != "deny" || len(d[0].Reasons) != 1 || d[0].Reasons[0] != row.reason ||
				d[0].ClientIP != "127.0.0.1" {
				t.Fatalf("decisions %+v, want one of %s", d, row.reason)
			}
			if o.Request != d[0].Request || o.Error != row.reason || o.Status != uint64(row.status) {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

func TestSmuggledRequestIsNotServed(t *testing.T) {
	w := build(t, say("ok"), nil)
	w.raw("POST /patient/1 HTTP/1.1\r\n" + signedIn + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
		"GET /patient/2 HTTP/1.1\r\n" + signedIn + "\r\n")
	w.log.waitOutcome()
	if n := w.forwarded(); n != 0 {
		t.Errorf("%d requests reached the application", n)
	}
}

func TestRequestsOneAfterAnotherAreFollowed(t *testing.T) {
	w := build(t, say("ok"), nil)
	d := tls.Dialer{Config: &tls.Config{RootCAs: w.roots, NextProtos: []string{"http/1.1"}}}
	c, err := d.DialContext(t.Context(), "tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	chunked := "POST /patient/1 HTTP/1.1\r\n" + signedIn + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\n\r\n"
	sized := "POST /patient/1 HTTP/1.1\r\n" + signedIn + "Content-Length: 7\r\n\r\n\r\n a:\r\n"
	plain := "GET /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n"
	all := chunked + sized + plain + chunked + plain
	go func() {
		for i := 0; i < len(all); i += 7 { // in pieces that cut lines anywhere
			_, _ = io.WriteString(c, all[i:min(i+7, len(all))])
		}
	}()
	r := bufio.NewReader(c)
	for i := range 5 {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("answer %d: %d", i, res.StatusCode)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := fmt.Sprintf("%q", w.bodies); got != `["helloyou" "\r\n a:\r\n" "" "helloyou" ""]` {
		t.Errorf("bodies %s", got)
	}
}

// hazard:GW-07 control:C-28
func TestIdentityComesFromTheGatewayAlone(t *testing.T) {
	w := build(t, nil, nil)
	w.do("GET", "/patient/1", "", header("Cookie", "theme=dark; __Host-matron=ada; __Host-matron-login=x; lang=en"),
		header("X-Forwarded-For", "6.6.6.6"), header("Forwarded", "for=6.6.6.6"), header("X-Forwarded-Proto", "http"),
		header("X-Forwarded-Host", "evil.test"), header("X-Real-IP", "6.6.6.6"), header("X-Forwarded-Prefix", "/evil"), header("Proxy-IP", "6.6.6.6"))
	h := w.lastHit().Header
	for name, want := range map[string]string{
		"Matron-Identity": "voucher-for-ada", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https",
		"X-Forwarded-Host": w.addr, "Forwarded": "", "X-Real-Ip": "", "X-Forwarded-Prefix": "", "Proxy-Ip": "",
		"Cookie": "theme=dark; lang=en", "Authorization": "",
	} {
		if got := strings.Join(h.Values(name), ","); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	w.do("GET", "/patient/1", "", header("Authorization", "Bearer bob"), header("Cookie", ""))
	if h := w.lastHit().Header; h.Get("Authorization") != "" || h.Get("Matron-Identity") != "voucher-for-bob" || h.Get("Cookie") != "" {
		t.Errorf("bearer token: %v", h)
	}
}

func TestWithoutIdentityTokenNothingIsForwarded(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) { c.Voucher = voucherFunc(noVoucher) })
	if a := w.do("GET", "/patient/1", ""); a.status != 503 || w.forwarded() != 0 {
		t.Errorf("got %d, %d forwarded", a.status, w.forwarded())
	}
	if o := w.log.waitOutcome(); o.Error != "identity-token" {
		t.Errorf("outcome %+v", o)
	}
}

// hazard:GW-07 control:C-28
// hazard:GW-08 control:C-32
func TestApplicationCannotSpeakForTheGateway(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		h := rw.Header()
		h.Set("Matron-Request", "forged")
		h.Set("Matron-Receipt", "forged")
		h.Add("Set-Cookie", "__Host-matron=fixed; Path=/; Secure")
		h.Add("Set-Cookie", "=__Host-matron=fixed; Path=/; Secure")
		h.Add("Set-Cookie", "JSESSIONID=1; Path=/")
		h.Set("Cache-Control", "public, max-age=3600")
		h.Set("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
		h.Set("Etag", `W/"1"`)
	}, nil)
	h := w.do("GET", "/patient/1", "").header
	if len(h.Values("Matron-Request")) != 1 || strings.Contains(h.Get("Matron-Request")+h.Get("Matron-Receipt"), "forged") {
		t.Errorf("forged headers came through: %v", h)
	}
	if got := h.Values("Set-Cookie"); len(got) != 1 || !strings.HasPrefix(got[0], "JSESSIONID") {
		t.Errorf("cookies %q", got)
	}
	if h.Get("Cache-Control") != "no-store" || h.Get("Expires") != "" || h.Get("Etag") != `W/"1"` {
		t.Errorf("caching headers %v", h)
	}
}

func TestCrossOriginWriteIsRefused(t *testing.T) {
	upgrade := func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		if r.Header.Get("Origin") == "own" {
			r.Header.Set("Origin", r.URL.Scheme+"://"+r.URL.Host)
		}
	}
	for _, row := range []struct {
		name, method string
		status       int
		changes      []with
	}{
		{"write from another site", "POST", 403, []with{header("Sec-Fetch-Site", "cross-site")}},
		{"write from another origin, old browser", "POST", 403, []with{header("Origin", "https://evil.test")}},
		{"upgrade from another origin", "GET", 403, []with{header("Origin", "https://evil.test"), upgrade}},
		{"upgrade from another site that hides its origin", "GET", 403, []with{header("Sec-Fetch-Site", "none"), header("Origin", "null"), upgrade}},
		{"upgrade that does not say from where", "GET", 403, []with{upgrade}},
		{"upgrade from the same host in the clear", "GET", 403, []with{func(r *http.Request) { r.Header.Set("Origin", "http://"+r.URL.Host) }, upgrade}},
		{"upgrade from the same origin", "GET", 200, []with{header("Origin", "own"), upgrade}},
		{"upgrade with a token", "GET", 200, []with{header("Cookie", ""), header("Authorization", "Bearer bob"), upgrade}},
		{"read from another site", "GET", 200, []with{header("Sec-Fetch-Site", "cross-site")}},
		{"write from the same origin", "POST", 200, []with{header("Sec-Fetch-Site", "same-origin")}},
		{"write with a token, which no browser adds by itself", "POST", 200, []with{
			header("Sec-Fetch-Site", "cross-site"), header("Cookie", ""), header("Authorization", "Bearer bob"),
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, nil, nil)
			if a := w.do(row.method, "/patient/1", "", row.changes...); a.status != row.status {
				t.Errorf("got %d %s, want %d", a.status, a.body, row.status)
			}
			if o := w.log.waitOutcome(); o.Status != uint64(row.status) {
				t.Errorf("outcome %+v", o)
			}
			if want := map[int]int{200: 1}[row.status]; w.forwarded() != want {
				t.Errorf("%d forwarded, want %d", w.forwarded(), want)
			}
		})
	}
}

func TestBodyThatGrowsTooLargeIsBrokenOff(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) { c.Apps[0].MaxBody = 1000 })
	a := w.do("POST", "/patient/1", "", func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, 5000))), -1
	})
	if a.status != 400 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if o := w.log.waitOutcome(); o.Error != "body-too-large" {
		t.Errorf("outcome %+v", o)
	}
}

// noVoucher is a voucher whose key is missing.
func noVoucher(policy.Subject) (string, error) { return "", errors.New("no key") }
