package staff

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/matron-epr/matron/cmd/matron/demo/fhirepr"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/signin"
)

// gateway stands in for the real one: it signs people in with the real sign-in
// service, refuses receptionists the prescriptions, passes everything else on to
// the real record, and counts what reached it.
type gateway struct {
	t        *testing.T
	url      string
	key      *ecdsa.PrivateKey
	epr      http.Handler
	hospital *hospital.Hospital
	oauth    oauth2.Config
	classify func(*url.URL) Class

	mu       sync.Mutex // guards what follows
	seen     map[Class]uint64
	statuses map[Class]map[int]uint64
	sessions map[string]string          // cookie → person
	returnTo map[string]string          // state → path
	opened   map[string]map[string]bool // person → patients
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u := *r.URL
	u.Host = r.Host
	class := g.classify(&u)
	rec := httptest.NewRecorder()
	g.serve(rec, r)
	g.mu.Lock()
	g.seen[class]++
	if g.statuses[class] == nil {
		g.statuses[class] = map[int]uint64{}
	}
	g.statuses[class][rec.Code]++
	g.mu.Unlock()
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	person := ""
	if c, err := r.Cookie("session"); err == nil {
		g.mu.Lock()
		person = g.sessions[c.Value]
		g.mu.Unlock()
	}
	switch {
	case r.URL.Path == "/.matron/callback":
		g.callback(w, r)
	case r.URL.Path == "/.matron/sign-out":
		http.Redirect(w, r, "/.matron/signed-out", http.StatusSeeOther)
	case r.URL.Path == "/.matron/signed-out":
	case strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "):
		g.forward(w, r, "machine")
	case person == "" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Method == http.MethodGet:
		state := rand.Text()
		g.mu.Lock()
		g.returnTo[state] = r.URL.RequestURI()
		g.mu.Unlock()
		http.Redirect(w, r, g.oauth.AuthCodeURL(state), http.StatusFound)
	case person == "":
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(r.URL.Path, "/.matron/"):
	default:
		g.forward(w, r, person)
	}
}

// callback learns who signed in from the sub of the userinfo, as the real
// gateway learns it from the ID token.
func (g *gateway) callback(w http.ResponseWriter, r *http.Request) {
	token, err := g.oauth.Exchange(r.Context(), r.URL.Query().Get("code"))
	if err != nil {
		g.t.Errorf("exchange: %v", err)
		return
	}
	raw, _ := token.Extra("id_token").(string)
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		g.t.Errorf("ID token: %v", err)
		return
	}
	var claims struct {
		Person string `json:"person"` // this decoder minds the case
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil || claims.Person == "" {
		g.t.Errorf("claims: %v", err)
	}
	cookie := rand.Text()
	g.mu.Lock()
	g.sessions[cookie] = claims.Person
	to := g.returnTo[r.URL.Query().Get("state")]
	g.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "session", Value: cookie, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (g *gateway) forward(w http.ResponseWriter, r *http.Request, person string) {
	s, _ := g.hospital.Person(person)
	if s.Kind == "staff" && s.Role() == hospital.Receptionist && (strings.HasPrefix(r.URL.Path, "/fhir/MedicationRequest") || strings.HasSuffix(r.URL.Path, "/prescriptions")) {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/fhir/Patient/"); ok {
		g.mu.Lock()
		if g.opened[person] == nil {
			g.opened[person] = map[string]bool{}
		}
		g.opened[person][id] = true
		g.mu.Unlock()
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: g.key}, nil)
	if err != nil {
		g.t.Error(err)
		return
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: person, IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute)),
	}).Serialize()
	if err != nil {
		g.t.Error(err)
		return
	}
	r.Header.Set("Matron-Identity", token)
	g.epr.ServeHTTP(w, r)
}

// world starts a stand-in gateway in front of the real demonstration parts.
func world(t *testing.T) (*gateway, Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, log := hospital.New(1, time.Now()), slog.New(slog.DiscardHandler)
	epr, err := fhirepr.New(fhirepr.Config{Hospital: h, Dir: t.TempDir(), Keys: []crypto.PublicKey{&key.PublicKey}, Now: time.Now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{
		t: t, key: key, epr: epr, hospital: h, seen: map[Class]uint64{}, statuses: map[Class]map[int]uint64{},
		sessions: map[string]string{}, returnTo: map[string]string{}, opened: map[string]map[string]bool{},
	}
	front := httptest.NewTLSServer(g)
	t.Cleanup(func() {
		front.Close()
		if err := epr.Close(); err != nil {
			t.Error(err)
		}
	})
	g.url = front.URL
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://" + listener.Addr().String()
	p, err := signin.New(signin.Config{Hospital: h, Dir: t.TempDir(), Issuer: issuer, Redirects: []string{g.url + "/.matron/callback"}, Now: time.Now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	door := httptest.NewUnstartedServer(p)
	door.Listener = listener
	door.Start()
	t.Cleanup(door.Close)
	g.oauth = oauth2.Config{
		ClientID: signin.ClientID, ClientSecret: p.ClientSecret(), RedirectURL: g.url + "/.matron/callback", Scopes: []string{"openid"},
		Endpoint: oauth2.Endpoint{AuthURL: issuer + "/authorize", TokenURL: p.TokenURL()},
	}
	pool := x509.NewCertPool()
	pool.AddCert(front.Certificate())
	cfg := Config{
		Gateway: g.url, CA: pool, Hospital: h, Rate: 500, People: 4, Seed: 1, Dashboards: []string{"/.matron/", "/.matron/live"},
		SignOut: "/.matron/sign-out", TokenURL: p.TokenURL(), ClientID: signin.APIClientID, ClientSecret: p.APIClientSecret(),
		Now: time.Now, Log: log,
	}
	g.classify = cfg.withDefaults().classify
	return g, cfg
}

// TestCountsAreWhatReachedTheGateway lets everybody work until one of each
// misuse has been acted out, and compares both ends.
func TestCountsAreWhatReachedTheGateway(t *testing.T) {
	g, cfg := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan Counts, 1)
	go func() { done <- Run(ctx, cfg) }()
	for !g.bulkSeen() {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	counts := <-done
	seen, statuses := g.seen, g.statuses
	for class, n := range counts.Failures {
		if n != 0 {
			t.Errorf("%d %s requests without an answer", n, class)
		}
	}
	delete(counts.Requests, Provider)
	delete(counts.Responses, Provider)
	if d := cmp.Diff(seen, counts.Requests); d != "" {
		t.Errorf("requests reached and sent:\n%s", d)
	}
	if d := cmp.Diff(statuses, counts.Responses); d != "" {
		t.Errorf("answers given and got:\n%s", d)
	}
	for _, kind := range []string{OwnRecord, Household, Prescribing} {
		if counts.Misuse[kind] == 0 {
			t.Errorf("no %s was acted out: %v", kind, counts.Misuse)
		}
	}
	if counts.Denials < 2 || counts.SignIns == 0 || seen[Dashboard]+seen[Application] < 50 {
		t.Errorf("too little happened: %+v", counts)
	}
	for class, by := range statuses {
		for status, n := range by {
			if status >= 500 || status == http.StatusBadRequest || status == http.StatusUnprocessableEntity || status == http.StatusUnauthorized {
				t.Errorf("%s: %d answers with %d: the staff send what the record does not understand", class, n, status)
			}
		}
	}
}

// bulkSeen reports whether a medical secretary has opened many records.
func (g *gateway) bulkSeen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for person, patients := range g.opened {
		if s, ok := g.hospital.Person(person); ok && s.Role() == hospital.MedicalSecretary && len(patients) >= bulkPatients {
			return true
		}
	}
	return false
}

func TestGatewayAwayIsCountedAsFailure(t *testing.T) {
	h := hospital.New(1, time.Now())
	closed := httptest.NewTLSServer(http.NotFoundHandler())
	cfg := Config{Gateway: closed.URL, Hospital: h, Rate: 1000, People: 1, Now: time.Now, Log: slog.New(slog.DiscardHandler)}.withDefaults()
	closed.Close()
	c := &crew{cfg: cfg, counter: newCounter(), web: newWeb(nil)}
	u, err := url.Parse(cfg.Gateway + "/ui/patients")
	if err != nil {
		t.Fatal(err)
	}
	send(t.Context(), c.web.browser(), cfg, c.counter, ask{method: http.MethodGet, url: u})
	want := Counts{
		Requests: map[Class]uint64{Application: 1}, Failures: map[Class]uint64{Application: 1},
		Responses: map[Class]map[int]uint64{}, Misuse: map[string]uint64{},
	}
	if d := cmp.Diff(want, c.counter.counts()); d != "" {
		t.Error(d)
	}
}

func TestCounterAddsUp(t *testing.T) {
	c := newCounter()
	c.exchange(Application, 1, 200)
	c.exchange(Application, 2, 200) // the transport tried twice
	c.exchange(Application, 0, 0)   // no connection at all
	c.exchange(Dashboard, 1, 403)
	c.exchange(SignIn, 1, 403)
	want := Counts{
		Requests:  map[Class]uint64{Application: 4, Dashboard: 1, SignIn: 1},
		Responses: map[Class]map[int]uint64{Application: {200: 2}, Dashboard: {403: 1}, SignIn: {403: 1}},
		Failures:  map[Class]uint64{Application: 2}, Misuse: map[string]uint64{}, Denials: 1,
	}
	if d := cmp.Diff(want, c.counts()); d != "" {
		t.Error(d)
	}
}

func TestClassify(t *testing.T) {
	cfg := Config{Gateway: "https://localhost:8443", Dashboards: []string{"/.matron/", "/.matron/live"}}.withDefaults()
	for target, want := range map[string]Class{
		"https://localhost:8443/fhir/Patient/1":      Application,
		"https://localhost:8443/ui/patients?q=x":     Application,
		"https://localhost:8443/":                    Application,
		"https://localhost:8443/.matron/":            Dashboard,
		"https://localhost:8443/.matron/live":        Dashboard,
		"https://localhost:8443/.matron/callback?x=": SignIn,
		"https://localhost:8443/.matron":             SignIn,
		"https://localhost:8443/.matronly":           Application,
		"http://localhost:8444/.matron/":             Provider,
		"https://localhost/.matron/":                 Provider,
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.classify(u); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}
