package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// asked is a body that notes that it was read.
type asked struct {
	io.Reader
	read atomic.Bool
}

func (a *asked) Read(p []byte) (int, error) {
	a.read.Store(true)
	return a.Reader.Read(p)
}

// TestExpectationIsMetOnceTheRequestMayGoOn: a client that waits with its body is told
// to send it after the decision, and a refusal is told without it.
func TestExpectationIsMetOnceTheRequestMayGoOn(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*proxy.Config)
		status int
		sends  bool
	}{
		{"allowed", nil, 200, true},
		{"denied", func(c *proxy.Config) { c.Decider = deciderFunc(denyAll) }, 403, false},
		{"not recorded", nil, 503, false},
		{"too long", func(c *proxy.Config) { c.Apps[0].MaxBody = 4 }, 400, false},
		{"read by the map", func(c *proxy.Config) {
			c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
				_, err := body()
				if err != nil {
					return proxy.Access{}, err
				}
				return readPatient(r, body)
			}}
		}, 200, true},
	} {
		for _, h2 := range []bool{false, true} {
			w := build(t, nil, row.change)
			if row.status == 503 {
				w.log.appendFault = func(int, []*audit.Record) fault { return lost }
			}
			client := w.newClient(h2)
			client.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
			body, told := &asked{Reader: strings.NewReader("hello")}, false
			r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { told = true }}),
				http.MethodPut, w.url+"/patient/1", body)
			r.ContentLength = 5
			r.Header.Set("Cookie", "__Host-matron=ada")
			r.Header.Set("Expect", "100-continue")
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != row.status || told != row.sends || body.read.Load() != row.sends {
				t.Errorf("%s over %s: %d, told to send %v, sent %v", row.name, res.Proto, res.StatusCode, told, body.read.Load())
			}
			if row.sends && w.bodies[0] != "hello" {
				t.Errorf("%s over %s: the application got %q", row.name, res.Proto, w.bodies)
			}
		}
	}
}

// TestTrailersOfAResponse: what the application announced comes through, and nothing
// that only the gateway may say or that belongs before the body.
func TestTrailersOfAResponse(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Trailer"] = []string{"Grpc-Status, Matron-Receipt, Set-Cookie", "X-Sum"}
		_, _ = io.WriteString(rw, "hello")
		for _, name := range []string{"Grpc-Status", "Matron-Receipt", "Set-Cookie", "X-Sum"} {
			rw.Header().Set(name, "7")
		}
		rw.Header().Set(http.TrailerPrefix+"Matron-Identity", "7")
		rw.Header().Set(http.TrailerPrefix+"X-Late", "7")
	}, nil)
	for _, h2 := range []bool{false, true} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/patient/1", nil)
		r.Header.Set("Cookie", "__Host-matron=ada")
		r.Header.Set("Te", "trailers")
		res, err := w.newClient(h2).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if diff := cmp.Diff(http.Header{"Grpc-Status": {"7"}, "X-Sum": {"7"}}, res.Trailer); diff != "" || string(body) != "hello" || err != nil {
			t.Errorf("%s: %q, %v: %s", res.Proto, body, err, diff)
		}
		if res.Header.Get("Matron-Receipt") == "7" || w.lastHit().Header.Get("Te") != "trailers" {
			t.Errorf("%s: %v, asked with %v", res.Proto, res.Header, w.lastHit().Header)
		}
	}
}

// document serves a file as net/http does: whole, in parts, or not at all when it is
// unchanged.
func document(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	rw.Header().Set("Content-Type", "application/pdf")
	rw.Header().Set("Etag", `"1"`)
	http.ServeContent(rw, r, "", time.Time{}, bytes.NewReader([]byte("0123456789")))
}

// TestPartsOfADocumentOfAKnownPatient: what the request says whose it is comes as the
// application sends it.
func TestPartsOfADocumentOfAKnownPatient(t *testing.T) {
	w := build(t, document, nil)
	for _, row := range []struct {
		method  string
		headers []with
		status  int
		body    string
		length  string
	}{
		{"GET", nil, 200, "0123456789", "10"},
		{"HEAD", nil, 200, "", "10"},
		{"GET", []with{header("Range", "bytes=2-4")}, 206, "234", "3"},
		{"HEAD", []with{header("Range", "bytes=2-4")}, 206, "", "3"},
		{"GET", []with{header("Range", "bytes=20-")}, 416, "invalid range: failed to overlap\n", "33"},
		{"GET", []with{header("Range", "bytes=2-4"), header("If-Range", `"1"`)}, 206, "234", "3"},
		{"GET", []with{header("Range", "bytes=2-4"), header("If-Range", `"2"`)}, 200, "0123456789", "10"},
		{"GET", []with{header("If-None-Match", `"1"`)}, 304, "", ""},
		{"HEAD", []with{header("If-None-Match", `"1"`)}, 304, "", ""},
		{"GET", []with{header("If-Match", `"2"`)}, 412, "", "0"},
		{"DELETE", nil, 204, "", ""},
	} {
		for _, h2 := range []bool{false, true} {
			w.client = w.newClient(h2)
			a := w.do(row.method, "/patient/1", "", row.headers...)
			if a.status != row.status || a.body != row.body || a.header.Get("Content-Length") != row.length || a.err != nil {
				t.Errorf("%s by HTTP/2 %v: %d %q %v %v, want %+v", row.method, h2, a.status, a.body, a.header, a.err, row)
			}
			if o := w.log.waitOutcome(); o.Status != uint64(row.status) || o.BytesOut != uint64(len(row.body)) {
				t.Errorf("%s: outcome %+v", row.method, o)
			}
		}
	}
	a := w.do("GET", "/patient/1", "", header("Range", "bytes=0-1,5-6"))
	if a.status != 206 || !strings.HasPrefix(a.header.Get("Content-Type"), "multipart/byteranges") || strings.Count(a.body, "Content-Range: bytes ") != 2 {
		t.Errorf("several parts: %d %v %q", a.status, a.header, a.body)
	}
}

// TestPartOfAHeldResponseIsNotReleased: nobody can tell from a part whom the whole
// names. So the whole is asked for, and a part that comes all the same goes no
// further, in whatever mode.
func TestPartOfAHeldResponseIsNotReleased(t *testing.T) {
	for _, mode := range []proxy.Mode{proxy.Enforce, proxy.Observe} {
		stubborn := false
		w := build(t, func(rw http.ResponseWriter, r *http.Request) {
			if stubborn {
				r.Header.Set("Range", "bytes=0-12")
			}
			http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(secret))
		}, func(c *proxy.Config) { c.Apps[0].Map, c.Apps[0].Mode = heldMap(), mode })
		ranged := header("Range", "bytes=0-12")
		if a := w.do("GET", "/search", "", ranged); a.status != 200 || a.body != secret {
			t.Errorf("%s: got %d %q", mode, a.status, a.body)
		}
		w.log.waitOutcome()
		stubborn = true
		for _, method := range []string{"GET", "HEAD"} {
			if a := w.do(method, "/search", "", ranged); a.status != 502 || a.tells("4711") {
				t.Errorf("%s: got %d %q", mode, a.status, a.body)
			}
			if o := w.log.waitOutcome(); o.Error != "response-not-understood" || len(o.Detail) != 1 || !strings.HasPrefix(o.Detail[0], "why=a part of the answer") {
				t.Errorf("%s: outcome %+v", mode, o)
			}
		}
	}
}

// TestHeldStatusWithoutABody comes through as it is.
func TestHeldStatusWithoutABody(t *testing.T) {
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusEarlyHints)
			rw.WriteHeader(http.StatusProcessing)
			rw.WriteHeader(status)
		}, func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
		for _, h2 := range []bool{false, true} {
			w.client = w.newClient(h2)
			a := w.do("GET", "/search", "")
			if o := w.log.waitOutcome(); a.status != status || a.body != "" || o.Error != "" {
				t.Errorf("got %d %q, outcome %+v", a.status, a.body, o)
			}
		}
	}
}
