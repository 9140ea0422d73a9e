package signin_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/signin"
)

// Signing out ends the session here, then at the provider, and comes back.
func TestSignOut(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	id := b.cookie("__Host-matron")
	if a := b.get("/.matron/sign-out"); !strings.Contains(a.body, "signed in as Ada Nurse") || !strings.Contains(a.body, `method="post"`) {
		t.Errorf("page %s", a.body)
	}
	b.mustBe("/a-link-does-not-sign-out")
	a := b.do(http.MethodPost, "/.matron/sign-out", url.Values{}, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "document")
	if a.status != http.StatusOK || !strings.HasPrefix(a.url, s.server.URL+"/.matron/signed-out") {
		t.Fatalf("%d at %s: %s", a.status, a.url, a.body)
	}
	if got := a.header.Get("Clear-Site-Data"); got != `"cache", "cookies", "storage"` || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", a.header)
	}
	s.provider.set(func(p *provider) {
		if diff := cmp.Diff([]string{"sub-1"}, p.ended); diff != "" {
			t.Errorf("at the provider: %s", diff)
		}
	})
	b.mustNotBeSignedIn()
	thief := s.browser()
	thief.plant("__Host-matron", id)
	thief.mustNotBeSignedIn()
	if diff := cmp.Diff([]string{"sign-in p1", "sign-out p1  cause=user"}, s.journal.kinds()); diff != "" {
		t.Error(diff)
	}
}

func TestSignOutFromAnotherSite(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if a := b.do(http.MethodPost, "/.matron/sign-out", url.Values{}, header...); a.status != http.StatusForbidden {
			t.Errorf("%v: %d", header, a.status)
		}
	}
	b.mustBe("/still")
}

// A picture on another website must not wipe the cookies of this one.
func TestForgetOnlyWhenAPersonLooks(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	for _, dest := range []string{"image", "iframe", "empty", ""} {
		if a := b.do(http.MethodGet, "/.matron/signed-out", nil, "Sec-Fetch-Dest", dest); a.header.Get("Clear-Site-Data") != "" {
			t.Errorf("%q: %v", dest, a.header)
		}
	}
	b.mustBe("/")
	if a := b.do(http.MethodGet, "/.matron/signed-out", nil, "Sec-Fetch-Dest", "document"); a.header.Get("Clear-Site-Data") != "" {
		t.Error("a link cost a session")
	}
}

// Without the provider the session still ends here.
func TestSignOutWithoutProvider(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	s.provider.set(func(p *provider) { p.down = true })
	s.start()
	a := b.byHand().do(http.MethodPost, "/.matron/sign-out", url.Values{})
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/.matron/signed-out" {
		t.Errorf("%d %v", a.status, a.header)
	}
	b.mustNotBeSignedIn()
}

// When the database does not take the sign-out, the session is over in this
// gateway all the same, the person is told, and it is made up for.
func TestSignOutWithoutDatabase(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	id := b.cookie("__Host-matron")
	mustExec(t, s, `CREATE TRIGGER broken BEFORE DELETE ON signin_session BEGIN SELECT RAISE(FAIL, 'broken'); END`)
	a := b.byHand().do(http.MethodPost, "/.matron/sign-out", url.Values{})
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "this browser only") {
		t.Errorf("%d %s", a.status, a.body)
	}
	b.plant("__Host-matron", id)
	b.mustNotBeSignedIn()
	mustExec(t, s, `DROP TRIGGER broken`)
	if err := s.service.Load().Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.start()
	b.mustNotBeSignedIn()
}

func mustExec(t *testing.T, s *site, query string) {
	t.Helper()
	if _, err := s.db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// A session that the database confirmed a short while ago lives on without it;
// one that it never confirmed is refused.
func TestDatabaseDown(t *testing.T) {
	s := newSite(t, nil)
	b, stranger := s.browser(), s.browser()
	b.mustBe("/")
	stranger.plant("__Host-matron", strings.Repeat("A", 43))
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s.clock.advance(time.Minute)
	b.mustBe("/still")
	if a := stranger.byHand().get("/x"); a.status != http.StatusUnauthorized {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.clock.advance(4 * time.Minute)
	if a := b.byHand().get("/x"); a.status != http.StatusUnauthorized {
		t.Errorf("believed for too long: %d %s", a.status, a.body)
	}
}

// A session ended by another gateway on the same database ends here soon.
func TestEndedElsewhere(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	mustExec(t, s, `DELETE FROM signin_session`)
	s.clock.advance(5 * time.Second)
	b.mustNotBeSignedIn()
}

func TestProviderDown(t *testing.T) {
	s := newSite(t, nil)
	b, late := s.browser(), s.browser()
	b.mustBe("/")
	pending := late.byHand().follow("/x", "/.matron/callback")
	s.provider.set(func(p *provider) { p.down = true })
	s.mustBeRefused(late.byHand().get(pending), http.StatusServiceUnavailable, "identity-unavailable")
	s.start() // a restart while the provider is down
	b.mustBe("/lives-on")
	a := late.byHand().get("/.matron/sign-in")
	s.mustBeRefused(a, http.StatusServiceUnavailable, "identity-unavailable")
	if a.header.Get("Retry-After") == "" || strings.Contains(a.body, "502 ") {
		t.Errorf("%v %s", a.header, a.body)
	}
	if err := s.service.Load().Available(t.Context()); !errors.Is(err, proxy.ErrIdentityUnavailable) {
		t.Errorf("available: %v", err)
	}
	s.provider.set(func(p *provider) { p.down = false })
	s.clock.advance(6 * time.Second)
	late.mustBe("/found-again")
}

// Discovery that would send codes or secrets in clear is refused.
func TestDiscoveryMustBeSafe(t *testing.T) {
	for name, metadata := range map[string]map[string]any{
		"token endpoint in clear": {"token_endpoint": "http://sso.example/token"},
		"keys in clear":           {"jwks_uri": "http://sso.example/keys"},
		"end session in clear":    {"end_session_endpoint": "http://sso.example/end"},
		"another issuer":          {"issuer": "https://evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			s.provider.set(func(p *provider) { p.metadata = metadata })
			s.start()
			s.mustBeRefused(s.browser().byHand().get("/.matron/sign-in"), http.StatusServiceUnavailable, "identity-unavailable")
		})
	}
}

// A provider that offers no more than algorithms with shared secrets is not
// believed: RS256 is what remains.
func TestAlgorithmsFromDiscovery(t *testing.T) {
	s := newSite(t, nil)
	s.provider.set(func(p *provider) {
		p.metadata = map[string]any{"id_token_signing_alg_values_supported": []string{"none", "HS256"}}
		p.tamperToken = func(token string) string {
			return signWith([]byte(clientSecret), "key-1", jose.HS256, decodePart(token), "JWT")
		}
	})
	s.start()
	s.mustBeRefused(s.browser().get("/x"), http.StatusForbidden, "id-token-refused")
}

func TestBackchannelLogout(t *testing.T) {
	strict := func(*signin.Config) {}
	draft := func(c *signin.Config) {
		c.Logout = signin.LogoutConfig{AcceptJWTType: true, AcceptWithoutExpiry: true}
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	without := func(names ...string) func(map[string]any) {
		return func(c map[string]any) {
			for _, name := range names {
				delete(c, name)
			}
		}
	}
	with := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	both := func(changes ...func(map[string]any)) func(map[string]any) {
		return func(c map[string]any) {
			for _, change := range changes {
				change(c)
			}
		}
	}
	nothing := both()
	tests := []struct {
		name   string
		config func(*signin.Config)
		typ    string
		key    *rsa.PrivateKey
		change func(map[string]any)
		ends   bool
	}{
		{"standard", strict, "logout+jwt", nil, nothing, true},
		{"by sub", strict, "logout+jwt", nil, without("sid"), true},
		{"by sid", strict, "logout+jwt", nil, without("sub"), true},
		{"draft type", strict, "JWT", nil, nothing, false},
		{"draft type accepted", draft, "JWT", nil, nothing, true},
		{"no type accepted", draft, "", nil, nothing, true},
		{"no exp", strict, "logout+jwt", nil, without("exp"), false},
		{"no exp accepted", draft, "JWT", nil, without("exp"), true},
		{"no exp, old", draft, "JWT", nil, both(without("exp"), with("iat", ago(3*time.Minute))), false},
		{"no exp, from the future", draft, "JWT", nil, both(without("exp"), with("iat", ago(-time.Hour))), false},
		{"no exp, nonce", draft, "JWT", nil, both(without("exp"), with("nonce", "x")), false},
		{"no exp, no event", draft, "JWT", nil, without("exp", "events"), false},
		{"no exp, another issuer", draft, "JWT", nil, both(without("exp"), with("iss", "https://evil.example")), false},
		{"no exp, another audience", draft, "JWT", nil, both(without("exp"), with("aud", "x")), false},
		{"no exp, nobody", draft, "JWT", nil, without("exp", "sub", "sid"), false},
		{"no exp, no jti", draft, "JWT", nil, without("exp", "jti"), false},
		{"no exp, no iat", draft, "JWT", nil, without("exp", "iat"), false},
		{"no exp, stranger's key", draft, "JWT", stranger, without("exp"), false},
		{"expired", draft, "logout+jwt", nil, with("exp", ago(time.Second)), false},
		{"old", strict, "logout+jwt", nil, with("iat", ago(6*time.Minute)), false},
		{"from the future", strict, "logout+jwt", nil, with("iat", ago(-time.Hour)), false},
		{"stranger's key", strict, "logout+jwt", stranger, nothing, false},
		{"another issuer", strict, "logout+jwt", nil, with("iss", "https://evil.example"), false},
		{"another audience", strict, "logout+jwt", nil, with("aud", "x"), false},
		{"nonce", strict, "logout+jwt", nil, with("nonce", "x"), false},
		{"no event", strict, "logout+jwt", nil, without("events"), false},
		{"no jti", strict, "logout+jwt", nil, without("jti"), false},
		{"nobody", strict, "logout+jwt", nil, without("sub", "sid"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.config)
			s.provider.set(func(p *provider) { p.tamper = with("sid", "sid-1") })
			b := s.browser()
			b.mustBe("/")
			key := s.provider.key
			if tt.key != nil {
				key = tt.key
			}
			c := s.logoutClaims()
			tt.change(c)
			a := s.backchannel(signWith(key, "key-1", jose.RS256, c, tt.typ))
			if a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", a.header)
			}
			if !tt.ends {
				if a.status != http.StatusBadRequest {
					t.Errorf("%d %s", a.status, a.body)
				}
				b.mustBe("/still")
				return
			}
			if a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
			b.mustNotBeSignedIn()
			if diff := cmp.Diff([]string{"sign-in p1", "sign-out p1  cause=provider"}, s.journal.kinds()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func (s *site) logoutClaims() map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": s.provider.issuer(), "aud": clientID, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"sub": "sub-1", "sid": "sid-1", "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
}

func (s *site) backchannel(token string) answer {
	s.t.Helper()
	return s.browser().do(http.MethodPost, "/.matron/backchannel-logout", url.Values{"logout_token": {token}})
}

func TestBackchannelReplay(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	c := s.logoutClaims()
	delete(c, "sid")
	token := s.provider.sign(c, "logout+jwt")
	if a := s.backchannel(token); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := b.get("/again"); a.body != "Hello p1 at /again" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.start() // the memory of used tokens survives a restart
	if a := s.backchannel(token); a.status != http.StatusBadRequest {
		t.Fatalf("%d %s", a.status, a.body)
	}
	b.mustBe("/still")
}

// Only the session that the token names ends, and none that began after it.
func TestBackchannelEndsWhatItNames(t *testing.T) {
	s := newSite(t, nil)
	sid := func(value string) {
		s.provider.set(func(p *provider) { p.tamper = func(c map[string]any) { c["sid"] = value } })
	}
	sid("sid-1")
	ward := s.browser()
	ward.mustBe("/")
	sid("sid-2")
	theatre := s.browser()
	theatre.mustBe("/")
	if a := s.backchannel(s.provider.sign(s.logoutClaims(), "logout+jwt")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ward.mustNotBeSignedIn()
	theatre.mustBe("/")
	old := s.logoutClaims()
	old["iat"], old["sid"] = time.Now().Add(-4*time.Minute).Unix(), "sid-2"
	if a := s.backchannel(s.provider.sign(old, "logout+jwt")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	theatre.mustBe("/began-later")
}

// What Touch noticed is on disk after Run ended: a restart does not make a
// session look idle.
func TestRunWritesActivity(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	s.clock.advance(10 * time.Minute)
	b.mustBe("/")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.service.Load().Run(ctx); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.clock.advance(10 * time.Minute)
	b.mustBe("/")
}

// What is past its limits leaves the database, and a record says so.
func TestTidy(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	b.byHand().follow("/.matron/sign-in", "/authorize")
	if a := s.backchannel(s.provider.sign(s.logoutClaims(), "logout+jwt")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.clock.advance(17 * time.Minute)
	if err := s.service.Load().Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"signin_session", "signin_attempt", "signin_logout"} {
		var n int
		if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d rows, %v", table, n, err)
		}
	}
	if diff := cmp.Diff([]string{"sign-in p1", "sign-out p1  cause=limit"}, s.journal.kinds()); diff != "" {
		t.Error(diff)
	}
}

// Strangers cannot make the gateway remember without bound; the newest
// attempts, which somebody is typing a password for, are kept.
func TestPendingAttemptsAreBounded(t *testing.T) {
	s := newSite(t, nil)
	s.service.Load().SetMaxAttempts(20)
	flood := s.browser().byHand()
	for range 50 {
		flood.get("/.matron/sign-in")
	}
	b := s.browser()
	callback := b.byHand().follow("/x", "/.matron/callback")
	var n int
	if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM signin_attempt`).Scan(&n); err != nil || n > 20 {
		t.Errorf("%d attempts, %v", n, err)
	}
	if a := b.get(callback); a.status != http.StatusOK {
		t.Errorf("%d", a.status)
	}
	u, _ := url.Parse(flood.base)
	if kept := len(flood.c.Jar.Cookies(u)); kept > 12 {
		t.Errorf("a browser keeps %d cookies", kept)
	}
}

// TestEndsAreTold: whoever keeps something open for a session learns of its end,
// however it ends.
func TestEndsAreTold(t *testing.T) {
	var told []string
	s := newSite(t, func(c *signin.Config) {
		c.Idle = 10 * time.Minute
		c.Ended = func(session string) { told = append(told, session) }
	})
	b := s.browser()
	session := func() string {
		b.mustBe("/")
		return s.journal.last().Session
	}
	ends := func(name, want string, end func()) {
		t.Helper()
		told = nil
		end()
		if len(told) == 0 || slices.ContainsFunc(told, func(got string) bool { return got != want }) || len(want) != 32 {
			t.Errorf("%s: told of %q, want %q", name, told, want)
		}
	}
	ends("sign-out", session(), func() {
		b.do(http.MethodPost, "/.matron/sign-out", url.Values{}, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "document")
	})
	ends("idle", session(), func() {
		s.clock.advance(10 * time.Minute)
		if err := s.service.Load().Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
