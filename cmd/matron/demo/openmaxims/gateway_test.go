package openmaxims

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims/attack"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/limit"
)

// memory is an audit.Log in memory.
type memory struct {
	mu   sync.Mutex
	all  []audit.Record
	fail bool // nothing can be written
}

func (l *memory) Append(_ context.Context, records ...*audit.Record) (audit.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail {
		return audit.Receipt{}, audit.ErrNotDurable
	}
	for _, r := range records {
		r.Source, r.Seq = "gw1", uint64(len(l.all)+1)
		l.all = append(l.all, *r)
	}
	return audit.Receipt{Source: "gw1", Seq: records[0].Seq}, nil
}

func (l *memory) Add(records ...*audit.Record) error {
	_, err := l.Append(context.Background(), records...)
	return err
}

// last are the records since the n-th.
func (l *memory) since(n int) []audit.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all[n:])
}

func (l *memory) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// people knows who has which cookie: "user.number", a session of its own for each
// number. Bearer tokens are connected systems.
type people struct {
	h      *hospital.Hospital
	active *atomic.Int32
}

func (p people) Identify(r *http.Request) (policy.Subject, error) {
	if name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return policy.Subject{Issuer: "https://id.test", Sub: name, Roles: []string{"api-client"}, Machine: true, Token: "t"}, nil
	}
	c, err := r.Cookie("__Host-matron")
	if err != nil {
		return policy.Subject{}, proxy.ErrNoSession
	}
	user, _, _ := strings.Cut(c.Value, ".")
	for _, m := range p.h.Staff {
		if Username(m) == user {
			return policy.Subject{
				Issuer: "https://id.test", Sub: "sub-" + user, Person: m.Person, Name: m.Name.Full(),
				Roles: []string{m.Role()}, Session: "session-" + c.Value,
			}, nil
		}
	}
	return policy.Subject{}, proxy.ErrNoSession
}

func (p people) Touch(context.Context, policy.Subject) { p.active.Add(1) }

// guard is an emulator behind a gateway that enforces.
type guard struct {
	*bench
	url     string
	log     *memory
	gateway *proxy.Gateway
	cfg     proxy.Config
	decide  func(policy.Request, policy.Decision) policy.Decision // changes decisions; may be nil
	server  *httptest.Server
	logged  *safeBuffer
	people  int

	instead func(string) string // changes answers of the user interface; may be nil
	lose    bool                // answers of the user interface break off
	present atomic.Int32        // requests with the user interface at this moment
	most    atomic.Int32
	active  atomic.Int32 // requests that counted as activity
}

// between stands between gateway and emulator.
func (g *guard) between(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/CNHost") {
		g.srv.ServeHTTP(w, r)
		return
	}
	if n := g.present.Add(1); n > g.most.Load() {
		g.most.Store(n)
	}
	defer g.present.Add(-1)
	if g.lose {
		g.srv.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	if g.instead != nil {
		answer := httptest.NewRecorder()
		g.srv.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "text/xml")
		if _, err := io.WriteString(w, g.instead(answer.Body.String())); err != nil {
			g.t.Error(err)
		}
		return
	}
	g.srv.ServeHTTP(w, r)
}

// Decide is part of proxy.Decider.
func (g *guard) decider(next proxy.Decider) proxy.Decider { return deciding{g, next} }

type deciding struct {
	g    *guard
	next proxy.Decider
}

func (d deciding) Decide(ctx context.Context, q policy.Request) policy.Decision {
	got := d.next.Decide(ctx, q)
	if d.g.decide != nil {
		return d.g.decide(q, got)
	}
	return got
}

// builtinRules are compiled once for all tests.
var builtinRules = sync.OnceValues(func() (*rego.Engine, error) { return rego.New(context.Background(), rego.Config{}) })

// guarded starts the emulator and a gateway with the built-in map, the built-in
// rules and the built-in limits before it.
func guarded(t *testing.T, change func(*Config)) *guard {
	t.Helper()
	g := &guard{bench: start(t, change), log: &memory{}, logged: &safeBuffer{}}
	m, err := appmap.Builtin("openmaxims")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := builtinRules()
	if err != nil {
		t.Fatal(err)
	}
	limits, err := limit.New(limit.Config{Now: g.clock})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(g.between))
	t.Cleanup(front.Close)
	upstream, err := url.Parse(front.URL + Base)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(g.logged, nil))
	g.server = httptest.NewUnstartedServer(nil)
	g.server.StartTLS()
	t.Cleanup(g.server.Close)
	g.cfg = proxy.Config{
		Apps: []proxy.App{{
			Name: "openmaxims", Site: "RBA", Prefix: Base, StripPrefix: true, Upstream: upstream,
			Map: m.WithBase("", g.server.URL+Base, g.base),
		}},
		Identifier: people{g.h, &g.active}, Decider: g.decider(rules), Limiter: limits, Log: g.log, Logger: logger, Now: g.clock,
		NoVoucher: true, SignInPath: "/.matron/sign-in", Emergency: offering{},
	}
	if g.gateway, err = proxy.New(g.cfg); err != nil {
		t.Fatal(err)
	}
	g.server.Config.Handler = g.gateway
	g.url = g.server.URL + Base
	return g
}

// browser is a browser in which user has signed in at the gateway just now.
func (g *guard) browser(user string) *http.Client {
	g.t.Helper()
	g.people++
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	u, err := url.Parse(g.server.URL)
	if err != nil {
		g.t.Fatal(err)
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "__Host-matron", Value: user + "." + strconv.Itoa(g.people), Path: "/", Secure: true}})
	return &http.Client{Jar: jar, Transport: g.server.Client().Transport}
}

// at is a client of the application for user, behind the gateway.
func (g *guard) at(user string) desk {
	g.t.Helper()
	return desk{&attack.Client{HTTP: g.browser(user), Base: g.url}, g.t}
}

// atWork is a nurse signed in to both.
func (g *guard) atWork() desk {
	g.t.Helper()
	nurse := g.nurse("ASH")
	d := g.at(nurse)
	d.login(nurse, "")
	return d
}

// guardedTarget is an emulator behind a gateway as an attack sees it.
func guardedTarget(t *testing.T) (*guard, *attack.Target) {
	t.Helper()
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "hidden-inside"); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(inside.Close)
	log := &safeBuffer{}
	g := guarded(t, func(c *Config) {
		c.ServerLog, c.Client = log, inside.Client()
		c.Files = fstest.MapFS{"srv/secret.txt": {Data: []byte("content-of-the-file")}}
	})
	p := g.h.Patients[30]
	return g, &attack.Target{
		Base: g.url, Browser: g.browser,
		User: g.nurse("ASH"), Victim: g.nurse("BEECH"), Password: password,
		Patient: p.ID, PatientID: strconv.Itoa(31), Surname: p.Name.Family,
		File: "file:///srv/secret.txt", Content: "content-of-the-file",
		Inside: inside.URL, Hidden: "hidden-inside",
		ServerLog: log.String, Workstations: g.srv.Workstations,
	}
}

// What goes through against the bare emulator (TestAbuseGoesThrough) does not go
// through the gateway, and what ordinary users do on the way does.
// hazard:GW-27 control:C-208
func TestAbuseDoesNotGetThroughTheGateway(t *testing.T) {
	for _, a := range attack.Table() {
		t.Run(strings.TrimPrefix(a.Weakness+"-"+a.ID, "-"), func(t *testing.T) {
			t.Parallel()
			g, tg := guardedTarget(t)
			got, err := a.Run(t.Context(), tg)
			if err != nil {
				t.Errorf("%s: cannot tell: %v\n%s", a.Title, err, g.logged.String())
			}
			if got.Through {
				t.Errorf("%s: went through: %s", a.Title, got.Evidence)
			}
		})
	}
}

// offering offers emergency access and grants nobody any.
type offering struct{}

func (offering) Granted(policy.Subject, string, string, []proxy.Patient) proxy.Grant {
	return proxy.Grant{}
}
func (offering) Renew(context.Context, policy.Subject) bool { return false }
func (offering) Offer(_ context.Context, r proxy.Refused) string {
	return "/.matron/emergency/of-" + r.Patient.ID
}
func (offering) Page(context.Context, string) ([]byte, error) { return nil, nil }
