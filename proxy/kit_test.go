package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// fault is how a write to the log goes wrong. Both look the same to the caller.
type fault int

const (
	noFault fault = iota
	lost
	persistedButReportedFailed
)

// testLog is an audit.Log in memory that checks the contract of its callers.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
	// all are the records that a crash would leave behind.
	all         []audit.Record
	appendFault func(n int, records []*audit.Record) fault // n counts from 1
	addFault    fault
	appends     int
	acked       map[string]bool // requests whose decision was reported durable
	onAppend    func(records []*audit.Record)
	outcome     chan audit.Record
}

func newLog(t *testing.T) *testLog {
	return &testLog{t: t, acked: map[string]bool{}, outcome: make(chan audit.Record, 10000)}
}

func (l *testLog) put(r *audit.Record) {
	if r.Seq != 0 || r.Source != "" {
		l.t.Errorf("record %s %s was given to the log twice", r.Kind, r.Request)
	}
	if r.Time.IsZero() || r.Time.Location() != time.UTC || r.Time.Nanosecond()%1000 != 0 {
		l.t.Errorf("record %s: time %v is not UTC in whole microseconds", r.Kind, r.Time)
	}
	r.Source, r.Seq = "gw1", uint64(len(l.all)+1)
	l.all = append(l.all, *r)
}

// Append is part of audit.Log.
func (l *testLog) Append(_ context.Context, records ...*audit.Record) (audit.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends++
	if l.onAppend != nil {
		l.onAppend(records)
	}
	f := noFault
	if l.appendFault != nil {
		f = l.appendFault(l.appends, records)
	}
	if f == lost {
		return audit.Receipt{}, fmt.Errorf("append: %w", audit.ErrNotDurable)
	}
	decision := uint64(0)
	for _, r := range records {
		if r.Kind == audit.KindPatient && r.Decision == 0 {
			r.Decision = decision
		}
		l.put(r)
		if r.Kind == audit.KindDecision {
			decision = r.Seq
		}
	}
	if f == persistedButReportedFailed {
		return audit.Receipt{}, fmt.Errorf("append: %w", audit.ErrNotDurable)
	}
	for _, r := range records {
		if r.Kind == audit.KindDecision && r.Effect == "allow" {
			l.acked[r.Request] = true
		}
	}
	return audit.Receipt{Source: "gw1", Seq: records[0].Seq, Leaf: [32]byte{0xab}}, nil
}

// Add is part of audit.Log.
func (l *testLog) Add(records ...*audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addFault != lost {
		for _, r := range records {
			l.put(r)
		}
	}
	for _, r := range records {
		if r.Kind == audit.KindOutcome {
			l.outcome <- *r
		}
	}
	if l.addFault != noFault {
		return errors.New("log is closed")
	}
	return nil
}

func (l *testLog) decided(request string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[request]
}

// kinds returns the records of one kind.
func (l *testLog) kinds(k audit.Kind) []audit.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []audit.Record
	for _, r := range l.all {
		if r.Kind == k {
			out = append(out, r)
		}
	}
	return out
}

// waitOutcome returns the next outcome: it is recorded after the response.
func (l *testLog) waitOutcome() audit.Record {
	l.t.Helper()
	select {
	case r := <-l.outcome:
		return r
	case <-time.After(20 * time.Second):
		l.t.Fatal("no outcome was recorded")
	}
	return audit.Record{}
}

// identifier knows "cookie=sub" and "Bearer sub".
type identifier struct {
	mu      sync.Mutex
	touched int
	err     error
	proved  atomic.Int64 // when everybody signed in, microseconds; 0 unknown
}

func (i *identifier) Identify(r *http.Request) (policy.Subject, error) {
	if i.err != nil {
		return policy.Subject{}, i.err
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if bearer == "bad" {
			return policy.Subject{}, fmt.Errorf("identify: %w", proxy.ErrToken)
		}
		return subject(bearer, ""), nil
	}
	c, err := r.Cookie("__Host-matron")
	if err != nil {
		return policy.Subject{}, proxy.ErrNoSession
	}
	if c.Value == "old" {
		return policy.Subject{}, fmt.Errorf("identify: %w", proxy.ErrSessionExpired)
	}
	s := subject(c.Value, "hash-of-"+c.Value)
	if proved := i.proved.Load(); proved != 0 {
		s.AuthTime = time.UnixMicro(proved)
	}
	return s, nil
}

func (i *identifier) Touch(context.Context, policy.Subject) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.touched++
}

func subject(sub, session string) policy.Subject {
	return policy.Subject{
		Issuer: "https://id.test", Sub: sub, Person: "p-" + sub, Name: "Nurse " + sub,
		Roles: []string{"nurse"}, Organisation: "RBA", Session: session,
	}
}

type deciderFunc func(policy.Request) policy.Decision

func (f deciderFunc) Decide(_ context.Context, q policy.Request) policy.Decision { return f(q) }

func allowAll(policy.Request) policy.Decision {
	return policy.Decision{Effect: policy.Allow, Rules: []string{"test.rego:1"}, Revision: "r1"}
}

func denyAll(policy.Request) policy.Decision {
	return policy.Decision{Revision: "r1", Reasons: []policy.Reason{
		{Code: "role-not-permitted", Text: "Your role may not read results.", Remedy: "Ask the nurse in charge."},
	}}
}

func challengeAll(policy.Request) policy.Decision {
	return policy.Decision{Effect: policy.Challenge, Offer: policy.BreakGlass, Revision: "r1", Reasons: []policy.Reason{
		{Code: "no-relationship", Text: "You do not look after this patient.", Remedy: "Confirm the emergency."},
	}}
}

type limiterFunc func(policy.Subject, proxy.LimitKind) (time.Duration, bool)

func (f limiterFunc) Take(s policy.Subject, k proxy.LimitKind, _ int) (time.Duration, bool) {
	return f(s, k)
}

func (limiterFunc) Meet(policy.Subject, proxy.Met) proxy.Standing { return proxy.Standing{} }

func noLimit(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return 0, true }

type voucherFunc func(policy.Subject) (string, error)

func (f voucherFunc) Vouch(s policy.Subject, _ string, _ *http.Request) (string, error) { return f(s) }

func (f voucherFunc) VouchReads(s policy.Subject, _ string) (string, error) { return f(s) }

// testMap classifies by a function; the default reads /patient/ID.
type testMap struct {
	classify func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error)
	settle   func(a proxy.Access, res *http.Response, body []byte) (proxy.Settlement, error)
	stream   func(body io.Reader) (proxy.Settlement, error) // in place of settle
}

func (m testMap) Classify(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
	if m.classify != nil {
		return m.classify(r, body)
	}
	return readPatient(r, body)
}

func (m testMap) Settle(a proxy.Access, res *http.Response, body proxy.Body) (proxy.Settlement, error) {
	if m.stream != nil {
		return m.stream(body.Open())
	}
	whole, err := io.ReadAll(body.Open())
	if err != nil {
		return proxy.Settlement{}, err
	}
	return m.settle(a, res, whole)
}

// readPatient is the default map: what lies below /patient/ concerns the patient
// in the path.
func readPatient(r *http.Request, _ func() ([]byte, error)) (proxy.Access, error) {
	id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	action := policy.Read
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		action = policy.Update
	}
	return proxy.Access{
		Rule: "patient", Action: action, Area: policy.Notes, Resource: "Patient", ID: id,
		Patients: []proxy.Patient{{ID: id}}, Certainty: audit.Authoritative, Source: audit.SourceURL,
	}, nil
}

// heldMap holds every response and names the patients in its lines.
func heldMap() testMap {
	return testMap{
		classify: func(r *http.Request, _ func() ([]byte, error)) (proxy.Access, error) {
			action := policy.Search
			if r.Method == http.MethodPut {
				action = policy.Update
			}
			return proxy.Access{Rule: "search", Action: action, Area: policy.Notes, Kind: proxy.SearchKind, Hold: true}, nil
		},
		settle: func(_ proxy.Access, _ *http.Response, body []byte) (proxy.Settlement, error) {
			s := proxy.Settlement{Certainty: audit.Several}
			for line := range strings.Lines(string(body)) {
				id, ok := strings.CutPrefix(strings.TrimSpace(line), "patient ")
				if !ok {
					return proxy.Settlement{}, errors.New("not a list of patients")
				}
				s.Patients = append(s.Patients, proxy.Patient{ID: id})
				s.Results++
			}
			return s, nil
		},
	}
}

// world is a gateway in front of an application, over TLS.
type world struct {
	t        *testing.T
	log      *testLog
	ids      *identifier
	gateway  *proxy.Gateway
	server   *proxy.Server
	bounds   proxy.ServerConfig // for the next serve
	cfg      proxy.Config
	url      string
	addr     string
	client   *http.Client // HTTP/1.1, keeps no cookies, follows no redirects
	roots    *x509.CertPool
	upstream *httptest.Server
	mu       sync.Mutex
	app      atomic.Pointer[http.HandlerFunc]
	hits     []*http.Request
	bodies   []string
	logged   *lockedBuilder
	glass    *glass
}

// bodyKey is where an application finds the beginning of a body, which the kit has read.
type bodyKey struct{}

// build starts a world. app answers requests that reach the application; change
// adjusts the configuration.
func build(t *testing.T, app http.HandlerFunc, change func(*proxy.Config)) *world {
	t.Helper()
	w := &world{t: t, log: newLog(t), ids: &identifier{}, logged: &lockedBuilder{}, glass: newGlass()}
	w.upstream = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.log.decided(r.Header.Get("Matron-Request")) {
			t.Errorf("%s %s reached the application before its decision was durable", r.Method, r.URL.Path)
		}
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		w.mu.Lock()
		w.hits, w.bodies = append(w.hits, r), append(w.bodies, string(body))
		w.mu.Unlock()
		r = r.WithContext(context.WithValue(r.Context(), bodyKey{}, string(body)))
		if app := w.app.Load(); app != nil && *app != nil {
			(*app)(rw, r)
		}
	}))
	w.setApp(app)
	t.Cleanup(w.upstream.Close)
	target, err := url.Parse(w.upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = w.config(target)
	if change != nil {
		change(&w.cfg)
	}
	w.gateway, err = proxy.New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.serve()
	return w
}

// config is the configuration of a gateway in front of target.
func (w *world) config(target *url.URL) proxy.Config {
	return proxy.Config{
		MaxHeader:  8 << 10,
		Apps:       []proxy.App{{Name: "epr", Site: "RBA", Prefix: "/", Map: testMap{}, Upstream: target}},
		Identifier: w.ids, Decider: deciderFunc(allowAll), Limiter: limiterFunc(noLimit), Log: w.log,
		Logger: slog.New(slog.NewTextHandler(w.logged, nil)), Now: now(),
		Voucher:    voucherFunc(func(s policy.Subject) (string, error) { return "voucher-for-" + s.Sub, nil }),
		SignInPath: "/.matron/sign-in", Emergency: w.glass,
		Public: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(rw, "public %s from %s", r.URL.Path, r.RemoteAddr)
		}),
		PublicPaths: []string{"/.matron/sign-in", "/.matron/assets/"},
	}
}

// setApp replaces the application.
func (w *world) setApp(app http.HandlerFunc) { w.app.Store(&app) }

// serve serves the gateway at an address of its own, which is that of the world from
// then on.
func (w *world) serve() {
	w.t.Helper()
	lender := httptest.NewUnstartedServer(nil)
	lender.StartTLS()
	w.t.Cleanup(lender.Close)
	w.roots = lender.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own listener
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	w.url = "https://" + w.addr
	server := proxy.NewServer(w.gateway, w.bounds)
	w.server = server
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(ln, &tls.Config{Certificates: lender.TLS.Certificates, MinVersion: tls.VersionTLS12})
	}()
	w.t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			w.t.Errorf("serve: %v", err)
		}
	})
	w.client = w.newClient(false)
}

func (w *world) newClient(h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}, ForceAttemptHTTP2: h2, DisableCompression: true}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// now is the clock of tests whose time does not matter.
func now() func() time.Time {
	return time.Now
}

// lockedBuilder is a strings.Builder for more than one goroutine.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write is part of io.Writer.
func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written.
func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// reference is what pages show of an exchange: random digits, which may hold any number.
var reference = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// tells reports whether the body says a word, its references aside.
func (a answer) tells(word string) bool {
	return strings.Contains(reference.ReplaceAllString(a.body, ""), word)
}

// with changes a request before it is sent.
type with func(*http.Request)

func header(name, value string) with {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func cookie(sub string) with { return header("Cookie", "__Host-matron="+sub) }

func navigate(r *http.Request) {
	r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
}

// do sends a request as the signed-in nurse ada, unless changed.
func (w *world) do(method, path, body string, changes ...with) answer {
	w.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Cookie", "__Host-matron=ada")
	for _, change := range changes {
		change(r)
	}
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b), err}
}

// forwarded returns how many requests reached the application.
func (w *world) forwarded() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.hits)
}

func (w *world) lastHit() *http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.hits) == 0 {
		w.t.Fatal("nothing reached the application")
	}
	return w.hits[len(w.hits)-1]
}

func say(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
}
