package proxy_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// probe is the honest request that follows whatever is tried, on the same
// connection and in the same packet, and is the last one there.
const probe = "GET /patient/9 HTTP/1.1\r\n" + signedIn + "Connection: close\r\n\r\n"

// dialled opens a TLS connection for HTTP/1.1.
func (w *world) dialled() *tls.Conn {
	w.t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: w.roots, NextProtos: []string{"http/1.1"}}}
	c, err := d.DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c.(*tls.Conn)
}

// converse sends bytes and returns the status of every answer until the gateway
// closes the connection.
func (w *world) converse(request string) []int {
	w.t.Helper()
	c := w.dialled()
	if _, err := io.WriteString(c, request); err != nil {
		w.t.Fatal(err)
	}
	var statuses []int
	for r := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			w.t.Errorf("answer %d: %v", len(statuses), err)
		}
		_ = res.Body.Close()
		if res.StatusCode >= 200 {
			statuses = append(statuses, res.StatusCode)
		}
	}
}

// TestSmuggling: whatever two readers could cut into requests in two ways is
// refused, recorded and the last thing on its connection; whatever is forwarded
// arrives as one canonical request for each decision in the record.
// hazard:GW-08 control:C-33
func TestSmuggling(t *testing.T) {
	inner := "GET /patient/666 HTTP/1.1\r\n" + signedIn + "\r\n"
	post := func(lines, body string) string {
		return "POST /patient/1 HTTP/1.1\r\n" + signedIn + lines + "\r\n\r\n" + body
	}
	get := func(lines string) string { return "GET /patient/1 HTTP/1.1\r\n" + signedIn + lines + "\r\n\r\n" }
	const empty, hello = "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"
	const te = "Transfer-Encoding: chunked"
	both := []string{"POST /patient/1 hello", "GET /patient/9 "}
	for _, row := range []struct {
		name, request string
		statuses      []int
		arrives       []string // nil: nothing
	}{
		// Length against chunks.
		{"CL.TE", post("Content-Length: 6\r\n"+te, empty+"G"), []int{400}, nil},
		{"CL.TE with a whole request inside", post("Content-Length: 120\r\n"+te, empty+inner), []int{400}, nil},
		{"TE.CL", post(te+"\r\nContent-Length: 4", "5c\r\n"+inner+"\r\n0\r\n\r\n"), []int{400}, nil},
		{"TE.CL of nothing", post(te+"\r\nContent-Length: 0", hello), []int{400}, nil},
		{"CL.TE in HTTP/1.0", strings.Replace(post("Content-Length: 6\r\n"+te, empty+"G"), "1.1", "1.0", 1), []int{400}, nil},
		{"chunks in HTTP/1.0", strings.Replace(post(te, hello), "1.1", "1.0", 1), []int{400}, nil},

		// Transfer-Encoding that one reader sees and another does not.
		{"TE.TE identity after", post(te+", identity", hello), []int{501}, nil},
		{"TE.TE identity before", post("Transfer-Encoding: identity, chunked", hello), []int{501}, nil},
		{"TE identity with a length", post("Transfer-Encoding: identity\r\nContent-Length: 5", "hello"), []int{501}, nil},
		{"TE.TE twice", post(te+"\r\n"+te, hello), []int{501}, nil},
		{"TE.TE twice, the second unknown", post(te+"\r\nTransfer-Encoding: cow", hello), []int{501}, nil},
		{"TE gzip, chunked", post("Transfer-Encoding: gzip, chunked", hello), []int{501}, nil},
		{"TE unknown", post("Transfer-Encoding: xchunked", hello), []int{501}, nil},
		{"TE in quotes", post(`Transfer-Encoding: "chunked"`, hello), []int{501}, nil},
		{"TE with a parameter", post(te+";q=1", hello), []int{501}, nil},
		{"TE with a comma", post(te+",", hello), []int{501}, nil},
		{"TE empty", post("Transfer-Encoding:", hello), []int{501}, nil},
		{"TE empty with a length", post("Transfer-Encoding:\r\nContent-Length: 5", "hello"), []int{501}, nil},
		{"TE with a vertical tab", post("Transfer-Encoding: \vchunked", hello), []int{400}, nil},
		{"TE with a form feed", post(te+"\f", hello), []int{400}, nil},
		{"TE with NUL", post(te+"\x00", hello), []int{400}, nil},
		{"TE with a bare CR", post("X: y\r"+te, hello), []int{400}, nil},
		{"TE folded", post("Transfer-Encoding:\r\n chunked", hello), []int{400}, nil},
		{"TE behind a space", post("X: y\r\n "+te, hello), []int{400}, nil},
		{"TE as the first line behind a space", strings.Replace(post("", hello), "Host", " "+te+"\r\nHost", 1), []int{400}, nil},
		{"TE with a space before the colon", post("Transfer-Encoding : chunked", hello), []int{400}, nil},
		{"TE with a tab before the colon", post("Transfer-Encoding\t: chunked", hello), []int{400}, nil},
		{"TE with NUL in its name", post("Transfer-Encoding\x00: chunked", hello), []int{400}, nil},
		{"TE with an underscore", post("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"), []int{400, 200}, []string{"GET /patient/9 "}},
		{"TE in other letters", post("tRANSFER-eNCODING: cHUNKED", hello), []int{200, 200}, both},
		{"TE with a tab and spaces around", post("Transfer-Encoding:\t chunked \t", hello), []int{200, 200}, both},

		// Content-Length that two readers read differently.
		{"CL twice, equal", post("Content-Length: 5\r\nContent-Length: 5", "hello"), []int{400}, nil},
		{"CL twice, different", post("Content-Length: 5\r\nContent-Length: 0", "hello"), []int{400}, nil},
		{"CL as a list", post("Content-Length: 5, 5", "hello"), []int{400}, nil},
		{"CL negative", post("Content-Length: -5", "hello"), []int{400}, nil},
		{"CL with a plus", post("Content-Length: +5", "hello"), []int{400}, nil},
		{"CL hexadecimal", post("Content-Length: 0x5", "hello"), []int{400}, nil},
		{"CL with a point", post("Content-Length: 5.0", "hello"), []int{400}, nil},
		{"CL with an underscore", post("Content-Length: 0_5", "hello"), []int{400}, nil},
		{"CL empty", post("Content-Length:", ""), []int{400}, nil},
		{"CL beyond 64 bits", post("Content-Length: 18446744073709551621", "hello"), []int{400}, nil},
		{"CL folded", post("Content-Length:\r\n 5", "hello"), []int{400}, nil},
		{"CL folded on", post("Content-Length: 5\r\n 0", "hello"), []int{400}, nil},
		{"CL with other digits", post("Content-Length: \u0665", "hello"), []int{400}, nil},
		{"CL with a space before the colon", post("Content-Length : 5", "hello"), []int{400}, nil},
		{"CL with noughts before", post("Content-Length: 0005", "hello"), []int{200, 200}, both},
		{"CL too short", post("Content-Length: 5", "helloX"), []int{200, 405}, both[:1]},
		{"CL.0, a request as the body", post("Content-Length: "+length(inner), inner), []int{200, 200}, []string{"POST /patient/1 " + inner, "GET /patient/9 "}},
		{"GET with a body", get("Content-Length: 5") + "hello", []int{200, 200}, []string{"GET /patient/1 hello", "GET /patient/9 "}},
		{"GET with chunks", get(te) + hello, []int{200, 200}, []string{"GET /patient/1 hello", "GET /patient/9 "}},

		// Chunks.
		{"chunk extension", post(te, "5;a=b\r\nhello\r\n0;c\r\n\r\n"), []int{200, 200}, both},
		{"chunk extension with a bare LF", post(te, "5;a\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk extension with a bare CR", post(te, "5;a\rb\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size overflows", post(te, "10000000000000005\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size negative", post(te, "-5\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size with a prefix", post(te, "0x5\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size with a plus", post(te, "+5\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size with an underscore", post(te, "0_5\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size with a space before", post(te, " 5\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size empty", post(te, "\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk longer than its size", post(te, "4\r\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"chunk ends in a bare LF", post(te, "5\r\nhello\n0\r\n\r\n"), []int{400}, nil},
		{"chunk size ends in a bare LF", post(te, "5\nhello\r\n0\r\n\r\n"), []int{400}, nil},
		{"last chunk in many noughts", post(te, "5\r\nhello\r\n000\r\n\r\n"), []int{200, 200}, both},
		{"trailer that frames", post(te, "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"), []int{200, 200}, both},
		{"trailer that frames, announced", post(te+"\r\nTrailer: Transfer-Encoding", "5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n\r\n"), []int{400}, nil},
		{"trailer that says who asks", post(te, "5\r\nhello\r\n0\r\nX-Remote-User: root\r\n\r\n"), []int{200, 200}, both},
		{"trailer that says who asks, announced", post(te+"\r\nTrailer: X-Remote-User", "5\r\nhello\r\n0\r\nX-Remote-User: root\r\n\r\n"), []int{400, 200}, both[1:]},
		{"trailer folded", post(te, "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"), []int{200, 200}, both},

		// Lines.
		{"bare LF", strings.ReplaceAll(post("Content-Length: 5", "hello"), "\r\n", "\n"), []int{400}, nil},
		{"bare LF within", get("X: y\nZ: z"), []int{400}, nil},
		{"bare LF ends the header", "GET /patient/1 HTTP/1.1\r\n" + signedIn + "X: y\n\n", []int{400}, nil},
		{"bare CR within", get("X: y\rZ: z"), []int{400}, nil},
		{"bare CR for a line", "GET /patient/1 HTTP/1.1\r" + signedIn + "\r\n", []int{400}, nil},
		{"CR CR LF", get("X: y\r"), []int{400}, nil},
		{"header folded", get("X: y\r\n\tz"), []int{400}, nil},
		{"NUL in a value", get("X: y\x00z"), []int{400}, nil},
		{"NUL in a name", get("X\x00: y"), []int{400}, nil},
		{"space before a colon", get("X : y"), []int{400}, nil},
		{"no colon", get("X"), []int{400}, nil},
		{"name empty", get(": y"), []int{400}, nil},
		{"empty line before", "\r\n" + get("X: y"), []int{400}, nil},

		// Request line and host.
		{"two spaces", "GET  /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", []int{400}, nil},
		{"tab for a space", "GET\t/patient/1\tHTTP/1.1\r\n" + signedIn + "\r\n", []int{400}, nil},
		{"space in the target", "GET /patient/1 x HTTP/1.1\r\n" + signedIn + "\r\n", []int{400}, nil},
		{"no version", "GET /patient/1\r\n" + signedIn + "\r\n", []int{400}, nil},
		{"unknown version", "GET /patient/1 HTTP/3.0\r\n" + signedIn + "\r\n", []int{505}, nil},
		{"version in small letters", "GET /patient/1 http/1.1\r\n" + signedIn + "\r\n", []int{400}, nil},
		{"method in small letters", "get /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", []int{405, 200}, both[1:]},
		{"absolute form", "GET https://epr.test/patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", []int{400, 200}, both[1:]},
		{"absolute form of another host", "GET https://evil.test/patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", []int{400, 200}, both[1:]},
		{"authority for a target", "GET epr.test:443 HTTP/1.1\r\n" + signedIn + "\r\n", []int{400, 200}, both[1:]},
		{"two hosts", get("Host: other.test"), []int{400}, nil},
		{"host with a space", "GET /patient/1 HTTP/1.1\r\nHost: epr.test other\r\n\r\n", []int{400}, nil},
		{"beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{405}, nil},

		// More than one request, and leaving HTTP/1.1.
		{"second after a refused first", "GET /a//b HTTP/1.1\r\n" + signedIn + "\r\n" + get("X: y"), []int{400, 200, 200}, []string{"GET /patient/1 ", "GET /patient/9 "}},
		{"refused first with a body", "POST /a//b HTTP/1.1\r\n" + signedIn + "Content-Length: " + length(inner) + "\r\n\r\n" + inner, []int{400, 200}, both[1:]},
		{"h2c", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), []int{400, 200}, both[1:]},
		{"h2c beside WebSocket", get("Connection: Upgrade\r\nUpgrade: websocket, h2c"), []int{400, 200}, both[1:]},
		{"TLS as an upgrade", get("Connection: Upgrade\r\nUpgrade: TLS/1.0"), []int{400, 200}, both[1:]},
		{"Expect", post("Expect: 100-continue\r\nContent-Length: 5", "hello"), []int{200, 200}, both},
		{"Expect, refused before its body", strings.Replace(post("Expect: 100-continue\r\nContent-Length: "+length(inner), inner), "/patient", "//patient", 1), []int{400}, nil},
		{"Expect of something else", post("Expect: 200-ok\r\nContent-Length: 5", "hello"), []int{417}, nil},
		{"Expect twice", post("Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5", "hello"), []int{400}, nil},

		// Headers of the connection that take others away.
		{"Connection takes a header away", post("Connection: Content-Type\r\nContent-Type: text/plain\r\nContent-Length: 5", "hello"), []int{400, 200}, both[1:]},
		{"Connection takes the length away", post("Connection: Content-Length\r\nContent-Length: 5", "hello"), []int{400, 200}, both[1:]},
		{"Connection takes the cookie away", get("Connection: close, Cookie"), []int{400}, nil},
		{"Content-Type twice", post("Content-Type: text/plain\r\nContent-Type: application/json\r\nContent-Length: 5", "hello"), []int{400, 200}, both[1:]},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			app := &rawApp{}
			w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Upstream = app.serve(t) })
			statuses := w.converse(row.request + probe)
			if diff := cmp.Diff(row.statuses, statuses); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.arrives, app.got()); diff != "" {
				t.Errorf("arrived (-want +got):\n%s", diff)
			}
			for range statuses {
				w.log.waitOutcome()
			}
			if d := w.log.kinds(audit.KindDecision); len(d) != len(statuses) {
				t.Errorf("%d answers, %d decisions", len(statuses), len(d))
			}
			app.check(w)
		})
	}
}

func length(s string) string { return strconv.Itoa(len(s)) }

// TestExchangesThatLast: what a client sends while an exchange lasts, a body or the
// next request, arrives whole and in order.
func TestExchangesThatLast(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/patient/1" {
			time.Sleep(700 * time.Millisecond) // longer than it takes until somebody looks whether the client is there
		}
		_, _ = io.WriteString(rw, r.URL.Path)
	}, nil)
	long := strings.Repeat("0123456789", 1000)
	for name, parts := range map[string][]string{
		"next request": {"GET /patient/1 HTTP/1.1\r\n" + signedIn + "\r\n", probe[:1], probe[1:]},
		"body":         {"POST /patient/2 HTTP/1.1\r\n" + signedIn + "Content-Length: 10001\r\n\r\n", "x", long + probe},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.dialled()
			for i, part := range parts {
				if i > 0 {
					time.Sleep(600 * time.Millisecond)
				}
				if _, err := io.WriteString(c, part); err != nil {
					t.Fatal(err)
				}
			}
			r := bufio.NewReader(c)
			for _, path := range []string{parts[0][strings.IndexByte(parts[0], '/'):][:10], "/patient/9"} {
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || string(body) != path {
					t.Errorf("%s was answered with %s %q %v", path, res.Status, body, err)
				}
			}
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.bodies, "x"+long) {
		t.Error("the body did not arrive whole")
	}
}
