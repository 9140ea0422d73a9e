package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// naming is a map whose every request names n patients, each with a name of so
// many bytes.
func naming(n, length int) testMap {
	patients := make([]proxy.Patient, n)
	for i := range patients {
		patients[i].ID = fmt.Sprintf("%0*d", length, i)
	}
	return testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
		return proxy.Access{
			Rule: "list", Action: policy.Search, Area: policy.Notes, Patients: patients, Certainty: audit.Several,
			Parts: []proxy.Part{{Action: policy.Search, Area: policy.Notes, Resource: strings.Repeat("P", 100)}},
		}, nil
	}}
}

func TestOneRequestWritesDownABoundedAmount(t *testing.T) {
	for _, row := range []struct {
		name        string
		app         testMap
		status      int
		reason      string
		records     int
		bytesRecord int // at most, on average
	}{
		{"as many patients as may be", naming(1000, 10), 200, "", 1000, 700},
		{"one more", naming(1001, 10), 400, "too-many-patients", 1, 20_000},
		{"a name as long as may be", naming(1, 512), 200, "", 1, 20_000},
		{"a longer name", naming(1, 513), 400, "unclassifiable", 1, 20_000},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("ok"), func(c *proxy.Config) { c.MaxHeader, c.Apps[0].Map = 32<<10, row.app })
			a := w.do("GET", "/list?q="+strings.Repeat("q", 15_000), "", header("User-Agent", strings.Repeat("é", 5000)))
			if a.status != row.status || w.forwarded() != map[int]int{200: 1}[row.status] {
				t.Errorf("got %d %s, %d forwarded", a.status, a.body, w.forwarded())
			}
			o := w.log.waitOutcome()
			if o.Error != row.reason {
				t.Errorf("outcome %+v, want %q", o, row.reason)
			}
			records := append(w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindPatient)...)
			size := 0
			for i := range records {
				size += len(records[i].MarshalCanonical())
			}
			if len(records) != row.records || size/len(records) > row.bytesRecord {
				t.Errorf("%d records of %d bytes, want %d", len(records), size, row.records)
			}
			if got := records[0].UserAgent; got != strings.Repeat("é", 128) {
				t.Errorf("user agent of %d bytes: %q", len(got), got)
			}
		})
	}
}

func TestOneResponseWritesDownABoundedAmount(t *testing.T) {
	for _, row := range []struct {
		name, body, reason string
		status             int
		patients           int
	}{
		{"as many patients as may be", lines(5000, 4), "", 200, 5000},
		{"one more", lines(5001, 4), "response-too-large", 502, 0},
		{"a name as long as may be", lines(1, 512), "", 200, 1},
		{"a longer name", lines(1, 513), "response-not-understood", 502, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say(row.body), func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
			a := w.do("GET", "/list", "")
			if a.status != row.status || (a.body == row.body) != (row.status == 200) {
				t.Errorf("got %d and %d bytes", a.status, len(a.body))
			}
			if o := w.log.waitOutcome(); o.Error != row.reason {
				t.Errorf("outcome %+v, want %q", o, row.reason)
			}
			if got := len(w.log.kinds(audit.KindPatient)); got != row.patients {
				t.Errorf("%d patients recorded, want %d", got, row.patients)
			}
		})
	}
}

// lines is a response that heldMap reads.
func lines(n, length int) string {
	var b strings.Builder
	for i := range n {
		_, _ = fmt.Fprintf(&b, "patient %0*d\n", length, i)
	}
	return b.String()
}

// The length of an answer tells whether anything was found.
func TestHeadOfAHeldResponseIsReadAndRecorded(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := build(t, say("patient 4\npatient 5\n"), func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
		w.client = w.newClient(h2)
		a := w.do("HEAD", "/list", "")
		if a.status != 200 || a.body != "" || a.header.Get("Content-Length") != "20" {
			t.Errorf("got %d %q %v", a.status, a.body, a.header)
		}
		if got := w.lastHit().Method; got != "GET" {
			t.Errorf("the application was asked to %s", got)
		}
		o := w.log.waitOutcome()
		if o.BytesOut != 0 || o.Results != 2 || w.log.kinds(audit.KindDecision)[0].Method != "HEAD" {
			t.Errorf("outcome %+v", o)
		}
		if diff := cmp.Diff([]string{"4", "5"}, patientsOf(w.log)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestHeadOfAHeldResponseThatCannotBeCheckedIsRefused(t *testing.T) {
	w := build(t, say("something else"), func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
	if a := w.do("HEAD", "/list", ""); a.status != 502 {
		t.Errorf("got %d %v", a.status, a.header)
	}
}

func TestPatientInTheHeaderOfAnEmptyResponseIsRecorded(t *testing.T) {
	app := heldMap()
	app.settle = func(_ proxy.Access, res *http.Response, _ []byte) (proxy.Settlement, error) {
		return proxy.Settlement{Patients: []proxy.Patient{{ID: res.Header.Get("Location")[1:]}}, Certainty: audit.Authoritative}, nil
	}
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Location", "/7")
		rw.WriteHeader(http.StatusNoContent)
	}, func(c *proxy.Config) { c.Apps[0].Map = app })
	if a := w.do("PUT", "/new", "x"); a.status != 204 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	w.log.waitOutcome()
	if diff := cmp.Diff([]string{"7"}, patientsOf(w.log)); diff != "" {
		t.Error(diff)
	}
}

func patientsOf(l *testLog) []string {
	var ids []string
	for _, r := range l.kinds(audit.KindPatient) {
		ids = append(ids, r.Patient)
	}
	return ids
}

func TestInformationalResponsesAreDropped(t *testing.T) {
	w := build(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</patient/Ada-Lovelace>")
		rw.Header().Set("Matron-Receipt", "forged")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Del("Link")
		_, _ = rw.Write([]byte("ok"))
	}, nil)
	for _, method := range []string{"GET", "POST"} { // they go different ways
		early := false
		a := w.do(method, "/patient/1", "", func(r *http.Request) {
			*r = *r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(int, textproto.MIMEHeader) error { early = true; return nil },
			}))
		})
		if early {
			t.Errorf("%s: an informational response came through", method)
		}
		if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Matron-Receipt"), "gw1/") || len(a.header.Get("Matron-Request")) != 36 {
			t.Errorf("%s: got %d, reference and receipt are lost: %v", method, a.status, a.header)
		}
	}
}

// What all exchanges keep in memory together is bounded, and given back.
func TestHeldResponsesShareABoundedMemory(t *testing.T) {
	half, begun, goOn := lines(100, 0), make(chan struct{}), make(chan struct{})
	w := build(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = rw.Write([]byte(half))
		if r.URL.Path == "/first" {
			_ = http.NewResponseController(rw).Flush()
			close(begun)
			<-goOn
		}
	}, func(c *proxy.Config) { c.Apps[0].Map, c.MaxKept = heldMap(), int64(len(half)*3/2) })
	first := make(chan answer, 1)
	go func() { first <- w.do("GET", "/first", "") }()
	<-begun
	for range 20_000 { // until the gateway has read all that is there
		if w.gateway.Kept() == int64(len(half)) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if a := w.do("GET", "/second", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("two responses were kept in the memory of one and a half: %d", a.status)
	}
	w.log.waitOutcome()
	close(goOn)
	if a := <-first; a.status != 200 || a.body != half {
		t.Errorf("first: %d and %d bytes", a.status, len(a.body))
	}
	w.log.waitOutcome()
	for range 3 {
		if a := w.do("GET", "/later", ""); a.status != 200 {
			t.Errorf("later: %d %s", a.status, a.body)
		}
		w.log.waitOutcome()
	}
}

func TestBodiesThatMapsReadShareTheBoundedMemory(t *testing.T) {
	app := testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
		if _, err := body(); err != nil {
			return proxy.Access{}, err
		}
		return readPatient(r, body)
	}}
	w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Map, c.MaxKept = app, 1000 })
	for _, row := range []struct{ size, status int }{{1000, 200}, {1001, 503}, {1000, 200}} {
		if a := w.do("POST", "/patient/1", strings.Repeat("x", row.size)); a.status != row.status {
			t.Errorf("%d bytes: got %d %s", row.size, a.status, a.body)
		}
		w.log.waitOutcome()
	}
	if w.forwarded() != 2 {
		t.Errorf("%d requests reached the application", w.forwarded())
	}
}
