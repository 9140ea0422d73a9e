package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

const secret = "patient 4711\npatient 4712\n"

func TestNoRecordNoRelease(t *testing.T) {
	for _, row := range []struct {
		name      string
		m         testMap
		at        int // which Append goes wrong
		forwarded int
	}{
		{"the decision", testMap{}, 1, 0},
		{"the patients in the response", heldMap(), 2, 1},
		{"the decision with the further patients of the request", listMap(), 1, 0},
	} {
		for f, how := range map[fault]string{lost: "lost", persistedButReportedFailed: "persisted but reported failed"} {
			t.Run(row.name+" "+how, func(t *testing.T) {
				w := build(t, say(secret), func(c *proxy.Config) { c.Apps[0].Map = row.m })
				w.log.appendFault = func(n int, _ []*audit.Record) fault {
					if n == row.at {
						return f
					}
					return noFault
				}
				a := w.do("GET", "/patient/4711", "", navigate)
				if a.status != 503 || strings.Contains(a.body, "patient 4711") {
					t.Errorf("got %d %q, want 503 without the patients", a.status, a.body)
				}
				if !strings.Contains(a.body, "Use the downtime viewer") {
					t.Errorf("the page does not say what to do: %s", a.body)
				}
				if n := w.forwarded(); n != row.forwarded {
					t.Errorf("%d requests reached the application, want %d", n, row.forwarded)
				}
				if row.at == 2 || f == persistedButReportedFailed {
					if o := w.log.waitOutcome(); o.Error != "not-recorded" || o.Status != 503 {
						t.Errorf("outcome %+v, want not-recorded", o)
					}
				}
			})
		}
	}
}

// hazard:GW-07 control:C-31
func TestDecisionAndOutcomeAreRecordedInFull(t *testing.T) {
	w := build(t, say("hello"), nil)
	a := w.do("PUT", "/patient/4711?note=1", "text", header("User-Agent", "test"))
	if a.status != 200 || a.body != "hello" {
		t.Fatalf("got %d %q", a.status, a.body)
	}
	outcome := w.log.waitOutcome()
	id := a.header.Get("Matron-Request")
	want := []audit.Record{{
		Site: "RBA", Source: "gw1", Seq: 1, Kind: audit.KindDecision, Request: id, App: "epr", Method: "PUT",
		Target: "/patient/4711", Query: "note=1", Route: "patient", Action: "update", Area: "notes", Resource: "Patient",
		ResourceID: "4711", Patient: "4711", PatientSource: audit.SourceURL, Certainty: audit.Authoritative,
		UserIssuer: "https://id.test", UserSub: "ada", Person: "p-ada", UserName: "Nurse ada", Roles: []string{"nurse"},
		Org: "RBA", Session: "hash-of-ada", ClientIP: "127.0.0.1", UserAgent: "test", Effect: "allow",
		Rules: []string{"test.rego:1"}, PolicyRev: "r1", Mode: "enforce",
	}, {
		Site: "RBA", Source: "gw1", Seq: 2, Kind: audit.KindOutcome, Request: id, Decision: 1, App: "epr", Route: "patient",
		Mode: "enforce", Patient: "4711", Person: "p-ada", Outcome: audit.Success, Status: 200, BytesIn: 4, BytesOut: 5,
		UpstreamTo: strings.TrimPrefix(w.upstream.URL, "http://"),
	}}
	got := append(w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindOutcome)...)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(audit.Record{}, "Time", "Duration", "Upstream")); diff != "" {
		t.Error(diff)
	}
	if outcome.Duration == 0 || outcome.Upstream == 0 || outcome.Upstream > outcome.Duration {
		t.Errorf("durations %d and %d µs", outcome.Duration, outcome.Upstream)
	}
	if want := "gw1/1;leaf=ab" + strings.Repeat("00", 31); a.header.Get("Matron-Receipt") != want {
		t.Errorf("receipt %q, want %q", a.header.Get("Matron-Receipt"), want)
	}
}

// listMap names three patients in every request.
func listMap() testMap {
	return testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
		return proxy.Access{
			Rule: "list", Action: policy.List, Area: policy.Encounters, Certainty: audit.Several, Source: audit.SourceURL,
			Patients: []proxy.Patient{{ID: "1"}, {ID: "2", NHSNumber: "9999999999"}, {ID: "3"}},
		}, nil
	}}
}

func TestEveryPatientOfARequestIsRecordedWithTheDecision(t *testing.T) {
	w := build(t, say("ok"), func(c *proxy.Config) {
		c.Apps[0].Map = listMap()
	})
	w.log.onAppend = func(records []*audit.Record) {
		if n := w.forwarded(); n > 0 {
			t.Errorf("forwarded before %s was recorded", records[0].Kind)
		}
	}
	w.do("GET", "/list", "")
	w.log.waitOutcome()
	if d := w.log.kinds(audit.KindDecision); len(d) != 1 || d[0].Patient != "1" {
		t.Errorf("decisions %+v", d)
	}
	p := w.log.kinds(audit.KindPatient)
	if len(p) != 2 || p[0].Patient != "2" || p[0].NHSNumber != "9999999999" || p[1].Patient != "3" || p[1].Person != "p-ada" ||
		p[0].Decision != 1 || p[1].Decision != 1 {
		t.Errorf("patients %+v", p)
	}
}

func TestHeldResponseIsReleasedAfterRecord(t *testing.T) {
	w := build(t, say(secret), func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
	rec := httptest.NewRecorder()
	w.log.onAppend = func(records []*audit.Record) {
		if rec.Body.Len() > 0 || rec.Flushed {
			t.Errorf("%d bytes were released before %s was recorded", rec.Body.Len(), records[0].Kind)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/search?name=x", nil)
	r.Header.Set("Cookie", "__Host-matron=ada")
	w.gateway.ServeHTTP(rec, r)
	if rec.Code != 200 || rec.Body.String() != secret {
		t.Errorf("got %d %q, want the response as it was", rec.Code, rec.Body)
	}
	var got []string
	for _, p := range w.log.kinds(audit.KindPatient) {
		got = append(got, fmt.Sprint(p.Patient, " ", p.Decision, " ", p.PatientSource, " ", p.Certainty))
	}
	want := []string{"4711 1 response several", "4712 1 response several"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if o := w.log.waitOutcome(); o.Results != 2 {
		t.Errorf("%d results recorded, want 2", o.Results)
	}
}

// TestManyPatientsCostOneSync has a search show 500 patients: their records go
// to the log in one piece.
func TestManyPatientsCostOneSync(t *testing.T) {
	var answer strings.Builder
	for i := range 500 {
		fmt.Fprintf(&answer, "patient %d\n", 10000+i)
	}
	w := build(t, say(answer.String()), func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
	var sizes []int
	w.log.onAppend = func(records []*audit.Record) { sizes = append(sizes, len(records)) }
	if a := w.do("GET", "/search?name=x", "", navigate); a.status != 200 || a.body != answer.String() {
		t.Fatalf("got %d, want the whole response", a.status)
	}
	if diff := cmp.Diff([]int{1, 500}, sizes); diff != "" {
		t.Errorf("the decision, then every patient at once: %s", diff)
	}
}

// hazard:GW-15 control:C-61
func TestHeldResponseThatCannotBeCheckedIsNotReleased(t *testing.T) {
	gz := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte(secret))
	}
	long := strings.Repeat("patient 4711\n", 100)
	chunked := func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write([]byte(long))
	}
	for _, row := range []struct {
		name, code string
		app        http.HandlerFunc
	}{
		{"not understood", "response-not-understood", say("patient 4711\nnonsense about 4712\n")},
		{"compressed all the same", "response-not-understood", gz},
		{"too long, announced", "response-too-large", say(long)},
		{"too long, unannounced", "response-too-large", chunked},
		{"broken off", "response-broken-off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "500")
			_, _ = w.Write([]byte(secret))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, row.app, func(c *proxy.Config) { c.Apps[0].Map, c.Apps[0].MaxHeld = heldMap(), 600 })
			a := w.do("GET", "/search", "", navigate)
			if a.status != 502 || a.tells("4711") {
				t.Errorf("got %d %q, want 502 without the patients", a.status, a.body)
			}
			if o := w.log.waitOutcome(); o.Error != row.code {
				t.Errorf("outcome %q, want %q", o.Error, row.code)
			}
		})
	}
}

func TestHeldRequestAsksForAWholePlainResponse(t *testing.T) {
	w := build(t, say(secret), func(c *proxy.Config) { c.Apps[0].Map = heldMap() })
	w.do("GET", "/search", "", header("Accept-Encoding", "gzip, br"), header("Range", "bytes=0-3"), header("If-None-Match", `"1"`))
	h := w.lastHit().Header
	if h.Get("Accept-Encoding") != "identity" || h.Get("Range") != "" || h.Get("If-None-Match") != "" {
		t.Errorf("asked with %v", h)
	}
}

func TestDenialIsRecorded(t *testing.T) {
	for _, row := range []struct {
		name    string
		decide  deciderFunc
		effect  string
		code    string
		display string
	}{
		{"deny", denyAll, "deny", "role-not-permitted", "Ask the nurse in charge."},
		{"challenge", challengeAll, "challenge", "no-relationship", "the page of /.matron/emergency/4711-of-ada"},
		{"the zero decision", func(policy.Request) policy.Decision { return policy.Decision{} }, "deny", "denied", "Tell the service desk"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say(secret), func(c *proxy.Config) { c.Decider = row.decide })
			a := w.do("GET", "/patient/4711", "", navigate)
			if a.status != 403 || w.forwarded() != 0 {
				t.Fatalf("got %d, %d forwarded", a.status, w.forwarded())
			}
			o := w.log.waitOutcome()
			d := w.log.kinds(audit.KindDecision)
			if len(d) != 1 || d[0].Effect != row.effect || d[0].Patient != "4711" || d[0].Person != "p-ada" ||
				!cmp.Equal(d[0].Reasons, []string{row.code}) {
				t.Errorf("decision %+v", d)
			}
			if o.Decision != d[0].Seq || o.Status != 403 || o.Outcome != audit.MinorFailure {
				t.Errorf("outcome %+v", o)
			}
			if !strings.Contains(a.body, row.display) || !strings.Contains(a.body, d[0].Request) {
				t.Errorf("page says neither what to do nor its reference:\n%s", a.body)
			}
		})
	}
}

func TestDenialThatCannotBeRecordedIsNotGivenAway(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) { c.Decider = deciderFunc(denyAll) })
	w.log.appendFault = func(int, []*audit.Record) fault { return lost }
	if a := w.do("GET", "/patient/4711", ""); a.status != 503 || strings.Contains(a.body, "role-not-permitted") {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// hazard:GW-20 control:C-80
func TestObserveNeverDenies(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*proxy.Config)
		reason string
	}{
		{"denied", func(c *proxy.Config) { c.Decider = deciderFunc(denyAll) }, "role-not-permitted"},
		{"challenged", func(c *proxy.Config) { c.Decider = deciderFunc(challengeAll) }, "no-relationship"},
		{"unmapped", func(c *proxy.Config) { c.Apps[0].Map = unmapped() }, "unmapped-route"},
		{"blocked", func(c *proxy.Config) {
			c.Apps[0].Map = testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
				return proxy.Access{Rule: "closed", Block: true, Action: policy.Read}, nil
			}}
		}, "blocked-by-map"},
		{"limited", func(c *proxy.Config) {
			c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return time.Second, false })
		}, "rate-limited"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("hello"), func(c *proxy.Config) {
				c.Apps[0].Mode = proxy.Observe
				row.change(c)
			})
			if a := w.do("GET", "/patient/4711", ""); a.status != 200 || a.body != "hello" {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			d := w.log.kinds(audit.KindDecision)
			if len(d) != 1 || d[0].Effect != "allow" || !d[0].WouldDeny || d[0].Mode != "observe" ||
				!cmp.Equal(d[0].Reasons, []string{row.reason}) {
				t.Errorf("decision %+v", d)
			}
			if row.name == "unmapped" && d[0].Certainty != audit.Unknown {
				t.Errorf("certainty %q, want unknown", d[0].Certainty)
			}
		})
	}
}

func unmapped() testMap {
	return testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
		return proxy.Access{Action: policy.Read, Area: policy.Notes}, nil
	}}
}

func TestUnmappedRouteIsDenied(t *testing.T) {
	w := build(t, say(secret), func(c *proxy.Config) { c.Apps[0].Map = unmapped() })
	a := w.do("GET", "/anything", "")
	d := w.log.kinds(audit.KindDecision)
	if a.status != 403 || w.forwarded() != 0 || len(d) != 1 || !cmp.Equal(d[0].Reasons, []string{"unmapped-route"}) {
		t.Errorf("got %d, %d forwarded, %+v", a.status, w.forwarded(), d)
	}
}

func TestOutcomeThatCannotBeRecordedDoesNotStopCare(t *testing.T) {
	for _, f := range []fault{lost, persistedButReportedFailed} {
		w := build(t, say("hello"), nil)
		w.log.addFault = f
		if a := w.do("GET", "/patient/4711", ""); a.status != 200 || a.body != "hello" {
			t.Errorf("got %d %s", a.status, a.body)
		}
		w.log.waitOutcome()
	}
}

// breaker is an application that answers the first request of each connection
// and breaks the connection on the second one, after having read it.
type breaker struct {
	ln     net.Listener
	mu     sync.Mutex
	second []string
	conns  []net.Conn
	wg     sync.WaitGroup
}

func newBreaker(t *testing.T) *breaker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own listener
	if err != nil {
		t.Fatal(err)
	}
	b := &breaker{ln: ln}
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns = append(b.conns, c)
			b.mu.Unlock()
			b.wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *breaker) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = r.Discard(int(max(req.ContentLength, 0)))
		if req.URL.Path == "/warm" {
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
			continue
		}
		b.mu.Lock()
		b.second = append(b.second, req.Method)
		b.mu.Unlock()
		return
	}
}

func (b *breaker) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.second...)
}

// hazard:GW-05 control:C-20
func TestWriteIsNeverRetried(t *testing.T) {
	for _, row := range []struct {
		name, method, path, body string
		changes                  []with
	}{
		{"DELETE", "DELETE", "/patient/1", "", nil},
		{"POST without body", "POST", "/patient/1", "", nil},
		{"POST with an idempotency key", "POST", "/patient/1", "", []with{header("Idempotency-Key", "k")}},
		{"DELETE with an idempotency key", "DELETE", "/patient/1", "", []with{header("X-Idempotency-Key", "k")}},
		{"PUT with body", "PUT", "/patient/1", "dose=5", []with{header("Idempotency-Key", "k")}},
		{"GET that writes", "GET", "/save/1", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBreaker(t)
			w := build(t, nil, func(c *proxy.Config) {
				c.Apps[0].Upstream = &url.URL{Scheme: "http", Host: b.ln.Addr().String()}
				c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
					a, err := readPatient(r, body)
					if strings.HasPrefix(r.URL.Path, "/save") {
						a.Action = policy.Update
					}
					return a, err
				}}
			})
			for method, body := range map[string]string{"GET": "", "PUT": "x"} { // each leaves a kept connection behind
				w.do(method, "/warm", body)
				w.log.waitOutcome()
			}
			a := w.do(row.method, row.path, row.body, append(row.changes, navigate)...)
			if got := b.seen(); len(got) != 1 {
				t.Errorf("the application got the write %d times: %v", len(got), got)
			}
			if a.status != 502 || !strings.Contains(a.body, "Check the record before repeating it") {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if o := w.log.waitOutcome(); o.Error != "application-failed" || o.Outcome != audit.SeriousFailure {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// hazard:GW-02 control:C-08
func TestPanicIsAnsweredAndRecorded(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Decider = deciderFunc(func(policy.Request) policy.Decision { panic("patient 4711") })
	})
	a := w.do("GET", "/patient/4711", "", navigate)
	if a.status != 500 || strings.Contains(a.body, "4711\"") || w.forwarded() != 0 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if o := w.log.waitOutcome(); o.Error != "internal" || o.Outcome != audit.MajorFailure || o.Status != 500 {
		t.Errorf("outcome %+v", o)
	}
	if strings.Contains(w.logged.String(), "patient 4711") {
		t.Error("the log quotes the panic")
	}
}

func TestInProcessApplicationLearnsWhoAsks(t *testing.T) {
	var got atomic.Value
	w := build(t, nil, func(c *proxy.Config) {
		c.Apps = append(c.Apps, proxy.App{
			Name: "matron", Prefix: "/.matron/", Map: testMap{}, StripPrefix: true,
			Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				got.Store(policy.SubjectFrom(r.Context()).Person + " " + r.URL.Path)
				if r.URL.Path == "/panic" {
					panic(errors.New("boom"))
				}
				_, _ = rw.Write([]byte("page"))
			}),
		})
	})
	if a := w.do("GET", "/.matron/home", ""); a.body != "page" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %+v", a)
	}
	if got.Load() != "p-ada /home" {
		t.Errorf("handler saw %v", got.Load())
	}
	w.log.waitOutcome()
	if a := w.do("GET", "/.matron/panic", ""); a.status != 500 {
		t.Errorf("panic: got %d", a.status)
	}
	if o := w.log.waitOutcome(); o.Error != "internal" {
		t.Errorf("outcome %+v", o)
	}
}

func TestInProcessResponseIsHeldToo(t *testing.T) {
	for _, body := range []string{secret, "nonsense about 4711\n", strings.Repeat(secret, 100)} {
		w := build(t, nil, func(c *proxy.Config) {
			c.Apps[0].Upstream, c.Apps[0].Handler, c.Apps[0].Map = nil, say(body), heldMap()
			c.Apps[0].MaxHeld = 600
		})
		a := w.do("GET", "/search", "")
		if body == secret && (a.status != 200 || a.body != secret || len(w.log.kinds(audit.KindPatient)) != 2) {
			t.Errorf("got %d %q", a.status, a.body)
		}
		if body != secret && (a.status != 502 || a.tells("4711")) {
			t.Errorf("got %d %q, want 502", a.status, a.body)
		}
	}
}
