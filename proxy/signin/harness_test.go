package signin_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver that cmd chooses too

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/signin"
)

// journal is a Log in memory. It notices records that say too much.
type journal struct {
	t *testing.T

	mu      sync.Mutex
	records []audit.Record
	refuse  bool
}

func (j *journal) Append(_ context.Context, records ...*audit.Record) (audit.Receipt, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.refuse {
		return audit.Receipt{}, audit.ErrNotDurable
	}
	for _, r := range records {
		if r.Time.IsZero() || r.Time.Location() != time.UTC || r.Kind == "" || r.Request == "" || r.Query != "" {
			j.t.Errorf("bad record %+v", *r)
		}
		j.records = append(j.records, *r)
	}
	return audit.Receipt{Seq: uint64(len(j.records))}, nil
}

func (j *journal) Add(records ...*audit.Record) error {
	_, err := j.Append(context.Background(), records...)
	return err
}

// kinds lists the records as "kind error detail".
func (j *journal) kinds() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var kinds []string
	for _, r := range j.records {
		kinds = append(kinds, strings.TrimSpace(strings.Join(append([]string{string(r.Kind), r.Person, r.Error}, r.Detail...), " ")))
	}
	return kinds
}

func (j *journal) last() audit.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.records) == 0 {
		return audit.Record{}
	}
	return j.records[len(j.records)-1]
}

// clock is the real time, moved by a test. The provider has the real one.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// site is a gateway in front of an application that says who is asking.
type site struct {
	t        *testing.T
	provider *provider
	journal  *journal
	clock    *clock
	db       *sql.DB
	file     string
	server   *httptest.Server
	log      *lockedBuffer
	service  atomic.Pointer[signin.Service]
	cfg      signin.Config
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func openDB(t *testing.T, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func migrate(t *testing.T, db *sql.DB) {
	t.Helper()
	names, err := fs.Glob(signin.Migrations(), "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations: %v %v", names, err)
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := fs.ReadFile(signin.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func newSite(t *testing.T, change func(*signin.Config)) *site {
	t.Helper()
	s := &site{
		t: t, provider: newProvider(t), journal: &journal{t: t}, clock: &clock{},
		file: filepath.Join(t.TempDir(), "state.db"), log: &lockedBuffer{},
	}
	s.db = openDB(t, s.file)
	migrate(t, s.db)
	s.server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.server.Close)
	s.provider.set(func(p *provider) { p.base = s.server.URL })
	s.cfg = signin.Config{
		Issuer: s.provider.issuer(), ClientID: clientID, ClientSecret: clientSecret, ExternalURL: s.server.URL,
		Scopes: []string{"profile"}, HTTPClient: s.provider.server.Client(),
		Log: s.journal, Logger: slog.New(slog.NewTextHandler(s.log, nil)), Now: s.clock.now, Site: "RBA",
		Claims: signin.ClaimMap{Person: "person", Organisation: "org", Assurance: "level"},
	}
	if change != nil {
		change(&s.cfg)
	}
	s.start()
	return s
}

// start makes the service anew, as a restart of the gateway does.
func (s *site) start() {
	s.t.Helper()
	s.cfg.DB = s.db
	service, err := signin.New(s.t.Context(), s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.service.Store(service)
}

// serve is the gateway: a person without a session is sent to sign in.
func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	service := s.service.Load()
	if strings.HasPrefix(r.URL.Path, "/.matron/") {
		service.Handler().ServeHTTP(w, r)
		return
	}
	who, err := service.Identify(r)
	switch {
	case err == nil:
		service.Touch(r.Context(), who)
		_, _ = io.WriteString(w, "Hello "+who.Person+" at "+r.URL.RequestURI())
	case errors.Is(err, proxy.ErrNoSession) || errors.Is(err, proxy.ErrSessionExpired):
		http.Redirect(w, r, "/.matron/sign-in?return="+url.QueryEscape(r.URL.RequestURI()), http.StatusFound)
	default:
		http.Error(w, err.Error(), http.StatusUnauthorized)
	}
}

// browser has cookies of its own and follows redirects.
type browser struct {
	t    *testing.T
	c    *http.Client
	base string
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &http.Client{Jar: jar, Transport: s.server.Client().Transport}
	return &browser{t: s.t, c: c, base: s.server.URL}
}

// tab is another browser window: the same cookies, redirects by hand.
func (b *browser) byHand() *browser {
	c := *b.c
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{t: b.t, c: &c, base: b.base}
}

type answer struct {
	status int
	header http.Header
	body   string
	url    string
}

func (b *browser) do(method, address string, form url.Values, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = b.base + address
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := b.c.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body), res.Request.URL.String()}
}

func (b *browser) get(address string) answer { return b.do(http.MethodGet, address, nil) }

// follow goes on by hand until the address holds stop, and returns it.
func (b *browser) follow(address, stop string) string {
	b.t.Helper()
	for range 10 {
		a := b.get(address)
		next := a.header.Get("Location")
		if next == "" {
			b.t.Fatalf("no redirect from %s: %d %s", address, a.status, a.body)
		}
		base, err := url.Parse(a.url)
		if err != nil {
			b.t.Fatal(err)
		}
		u, err := base.Parse(next)
		if err != nil {
			b.t.Fatal(err)
		}
		address = u.String()
		if strings.Contains(address, stop) {
			return address
		}
	}
	b.t.Fatalf("never came to %s", stop)
	return ""
}

func (b *browser) cookie(name string) string {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.c.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// mustBe asks for a page as person p1. A browser without a session signs in on the
// way; one that has a session must still have it.
func (b *browser) mustBe(address string) {
	b.t.Helper()
	asking := b
	if b.cookie("__Host-matron") != "" {
		asking = b.byHand()
	}
	if a := asking.get(address); a.status != http.StatusOK || a.body != "Hello p1 at "+address {
		b.t.Fatalf("at %s: %d %q", a.url, a.status, a.body)
	}
}

// mustNotBeSignedIn asks for a page without following to the provider.
func (b *browser) mustNotBeSignedIn() {
	b.t.Helper()
	if a := b.byHand().get("/x"); a.status != http.StatusFound || !strings.HasPrefix(a.header.Get("Location"), "/.matron/sign-in") {
		b.t.Fatalf("still signed in: %d %q", a.status, a.body)
	}
}

var reference = regexp.MustCompile(`Reference: <strong>([A-Z2-7]{26})</strong>`)

// mustBeRefused checks the page, the record and that the two belong together.
func (s *site) mustBeRefused(a answer, status int, code string) {
	s.t.Helper()
	last := s.journal.last()
	if a.status != status || last.Kind != audit.KindSignIn || last.Error != code || last.Outcome == audit.Success {
		s.t.Fatalf("got %d and %s %q, want %d and %q; page %s", a.status, last.Kind, last.Error, status, code, a.body)
	}
	if m := reference.FindStringSubmatch(a.body); m == nil || m[1] != last.Request {
		s.t.Errorf("page does not name record %s: %s", last.Request, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
		s.t.Errorf("headers %v", a.header)
	}
}
