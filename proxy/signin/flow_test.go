package signin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/signin"
)

func TestSignIn(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/ward/7?bed=2")
	got := s.journal.last()
	if got.ClientIP == "" || got.Session == "" || got.AuthTime.IsZero() || time.Since(got.AuthTime) > time.Minute {
		t.Errorf("record %+v", got)
	}
	want := audit.Record{
		Site: "RBA", Kind: audit.KindSignIn, Time: got.Time, Request: got.Request, Action: "sign-in",
		Method: "GET", Target: "/.matron/callback", PatientSource: audit.SourceNone, Certainty: audit.None,
		UserIssuer: s.provider.issuer(), UserSub: "sub-1", Person: "p1", UserName: "Ada Nurse", Roles: []string{"nurse"},
		Org: "RBA", ACR: "AAL3_ANY", AMR: []string{"smartcard"}, Assurance: 3, AuthTime: got.AuthTime,
		Session: got.Session, ClientIP: got.ClientIP, UserAgent: "Go-http-client/1.1", Outcome: audit.Success,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	b.mustBe("/again")
	if n := len(s.journal.kinds()); n != 1 {
		t.Errorf("%d records for one sign-in", n)
	}
}

// The session is the one thing a thief of the database must not be able to use.
func TestDatabaseHoldsNoSecret(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.byHand().follow("/x", "/authorize")
	b.mustBe("/")
	id := b.cookie("__Host-matron")
	if len(id) != 43 {
		t.Fatalf("session id %q", id)
	}
	var dump strings.Builder
	for _, query := range []string{
		`SELECT id || issuer || sub || sid || subject || id_token FROM signin_session`,
		`SELECT state || binding || return_to FROM signin_attempt`,
	} {
		rows, err := s.db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			dump.WriteString(text)
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	if dump.Len() < 300 {
		t.Fatalf("nothing to look at: %q", dump.String())
	}
	u, _ := url.Parse(b.base)
	for _, c := range b.c.Jar.Cookies(u) {
		if strings.Contains(dump.String(), c.Value) {
			t.Errorf("the database holds the value of cookie %s", c.Name)
		}
	}
	if regexp.MustCompile(`eyJ[\w-]*\.eyJ`).MatchString(dump.String()) { // header and claims: three letters alone come up by chance
		t.Error("the database holds a token in clear")
	}
}

func TestSessionCookie(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser().byHand()
	callback := b.follow("/x", "/.matron/callback")
	a := b.get(callback)
	var session, attempt string
	for _, c := range a.header.Values("Set-Cookie") {
		if strings.HasPrefix(c, "__Host-matron=") {
			session = c[len("__Host-matron=")+43:]
		} else {
			attempt = c
		}
	}
	if want := "; Path=/; HttpOnly; Secure; SameSite=Lax"; session != want {
		t.Errorf("session cookie attributes %q, want %q", session, want)
	}
	if !strings.HasPrefix(attempt, "__Host-matron-try-") || !strings.Contains(attempt, "Max-Age=0") {
		t.Errorf("attempt cookie not taken back: %q", attempt)
	}
	if a.status != http.StatusSeeOther || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// Five tabs that were opened at once all get where they were going.
func TestFiveTabs(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	var callbacks []string
	for i := range 5 {
		callbacks = append(callbacks, b.byHand().follow(fmt.Sprintf("/tab/%d", i), "/.matron/callback"))
	}
	for _, i := range []int{3, 0, 4, 1, 2} {
		if a, want := b.get(callbacks[i]), fmt.Sprintf("Hello p1 at /tab/%d", i); a.body != want {
			t.Errorf("tab %d: %d %q at %s", i, a.status, a.body, a.url)
		}
	}
}

// A new sign-in has a new id and ends the session that the browser had.
func TestNewIDAtEachSignIn(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	first := b.cookie("__Host-matron")
	s.provider.set(func(p *provider) { p.user = map[string]any{"sub": "sub-2", "person": "p2", "name": "Bo"} })
	if a := b.get("/.matron/sign-in?return=/y"); a.body != "Hello p2 at /y" {
		t.Fatalf("%d %q", a.status, a.body)
	}
	if b.cookie("__Host-matron") == first {
		t.Error("the id did not change")
	}
	thief := s.browser()
	thief.plant("__Host-matron", first)
	thief.mustNotBeSignedIn()
	if diff := cmp.Diff([]string{"sign-in p1", "sign-in p2", "sign-out p1  cause=replaced"}, s.journal.kinds()); diff != "" {
		t.Error(diff)
	}
}

func TestSingleSession(t *testing.T) {
	s := newSite(t, func(c *signin.Config) { c.SingleSession = true })
	ward, theatre := s.browser(), s.browser()
	ward.mustBe("/")
	theatre.mustBe("/")
	ward.mustNotBeSignedIn()
	theatre.mustBe("/still")
}

func (b *browser) plant(name, value string) {
	u, _ := url.Parse(b.base)
	b.c.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/", Secure: true}})
}

func TestSignInRefused(t *testing.T) {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	resign := func(p *provider, key any, kid string, alg jose.SignatureAlgorithm) {
		p.tamperToken = func(token string) string { return signWith(key, kid, alg, decodePart(token), "JWT") }
	}
	claim := func(name string, value any) func(*provider) {
		return func(p *provider) { p.tamper = func(c map[string]any) { c[name] = value } }
	}
	future := time.Now().Add(time.Hour).Unix()
	tests := []struct {
		name   string
		change func(*provider)
		status int
		code   string
	}{
		{"wrong signature", func(p *provider) { resign(p, stranger, "key-1", jose.RS256) }, 403, "id-token-refused"},
		{"unknown key", func(p *provider) { resign(p, stranger, "key-2", jose.RS256) }, 403, "id-token-refused"},
		{"client secret as key", func(p *provider) { resign(p, []byte(clientSecret), "key-1", jose.HS256) }, 403, "id-token-refused"},
		{"algorithm not offered", func(p *provider) { resign(p, p.key, "key-1", jose.PS256) }, 403, "id-token-refused"},
		{"no signature", func(p *provider) {
			p.tamperToken = func(token string) string {
				return "eyJhbGciOiJub25lIn0." + strings.Split(token, ".")[1] + "."
			}
		}, 403, "id-token-refused"},
		{"wrong issuer", claim("iss", "https://evil.example"), 403, "id-token-refused"},
		{"issuer with a slash more", func(p *provider) {
			p.tamper = func(c map[string]any) { c["iss"] = c["iss"].(string) + "/" }
		}, 403, "id-token-refused"},
		{"wrong audience", claim("aud", "somebody-else"), 403, "id-token-refused"},
		{"issued to another party", claim("azp", "somebody-else"), 403, "id-token-refused"},
		{"two audiences, no party", func(p *provider) {
			p.tamper = func(c map[string]any) { c["aud"] = []string{clientID, "other"}; delete(c, "azp") }
		}, 403, "id-token-refused"},
		{"expired", claim("exp", time.Now().Add(-time.Second).Unix()), 403, "id-token-expired"},
		{"no expiry", func(p *provider) { p.tamper = func(c map[string]any) { delete(c, "exp") } }, 403, "id-token-expired"},
		{"issued in the future", claim("iat", future), 403, "id-token-refused"},
		{"not valid yet", claim("nbf", future), 403, "id-token-refused"},
		{"another nonce", claim("nonce", "x"), 403, "nonce-mismatch"},
		{"no nonce", func(p *provider) { p.tamper = func(c map[string]any) { delete(c, "nonce") } }, 403, "nonce-mismatch"},
		{"another access token", claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), 403, "id-token-refused"},
		{"no person", func(p *provider) {
			p.userInfo = map[string]any{"sub": "sub-1"}
			p.tamper = func(c map[string]any) { delete(c, "person") }
		}, 403, "claims-refused"},
		{"garbled roles", claim("roles", map[string]any{"a": 1}), 403, "claims-refused"},
		{"half garbled roles", claim("roles", []any{"nurse", true}), 403, "claims-refused"},
		{"proved in the future", claim("auth_time", future), 403, "auth-time-too-old"},
		{"proved too long ago", claim("auth_time", time.Now().Add(-time.Hour).Unix()), 403, "auth-time-too-old"},
		{"does not say when proved", func(p *provider) { p.tamper = func(c map[string]any) { delete(c, "auth_time") } }, 403, "auth-time-too-old"},
		{"assurance too low", claim("level", "2"), 403, "assurance-too-low"},
		{"assurance not said", func(p *provider) {
			p.userInfo = map[string]any{"sub": "sub-1"}
			p.tamper = func(c map[string]any) { delete(c, "level") }
		}, 403, "assurance-too-low"},
		{"userinfo of another person", func(p *provider) { p.userInfo = map[string]any{"sub": "sub-9", "person": "p9"} }, 403, "userinfo-refused"},
		{"userinfo of nobody", func(p *provider) { p.userInfo = map[string]any{"person": "p9"} }, 403, "userinfo-refused"},
	}
	s := newSite(t, func(c *signin.Config) {
		c.MinAssurance, c.MaxAuthAge, c.UserInfo = 3, 5*time.Minute, true
	})
	s.browser().mustBe("/untampered")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.provider.set(tt.change)
			defer s.provider.set(func(p *provider) { p.tamper, p.tamperToken, p.userInfo = nil, nil, nil })
			s.t = t
			b := s.browser()
			s.mustBeRefused(b.get("/x"), tt.status, tt.code)
			b.mustNotBeSignedIn()
		})
	}
	if log := s.log.String(); strings.Contains(log, "eyJ") || strings.Contains(log, "Ada") {
		t.Error("the log says too much")
	}
}

func TestStateIsGoodOnce(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser().byHand()
	callback := b.follow("/x", "/.matron/callback")
	if a := b.get(callback); a.status != http.StatusSeeOther {
		t.Fatalf("%d", a.status)
	}
	s.mustBeRefused(b.get(callback), http.StatusBadRequest, "state-unknown")
	// Even a browser that kept the cookie cannot do it again.
	again := s.browser().byHand()
	callback = again.follow("/x", "/.matron/callback")
	u, _ := url.Parse(callback)
	name := "__Host-matron-try-" + u.Query().Get("state")[:22]
	value := again.cookie(name)
	again.get(callback)
	again.plant(name, value)
	s.mustBeRefused(again.get(callback), http.StatusBadRequest, "state-unknown")
}

// A code is worth nothing in another attempt: PKCE ties it to its own, and the
// provider redeems it once.
func TestCodeIsGoodOnce(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser().byHand()
	with := func(callback, code string) string {
		u, _ := url.Parse(callback)
		q := u.Query()
		q.Set("code", code)
		u.RawQuery = q.Encode()
		return u.String()
	}
	first := b.follow("/.matron/sign-in", "/.matron/callback")
	u, _ := url.Parse(first)
	code := u.Query().Get("code")
	s.mustBeRefused(b.get(with(b.follow("/.matron/sign-in", "/.matron/callback"), code)), http.StatusForbidden, "code-refused")
	if a := b.get(first); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.mustBeRefused(b.get(with(b.follow("/.matron/sign-in", "/.matron/callback"), code)), http.StatusForbidden, "code-refused")
}

func TestAttemptBelongsToItsBrowser(t *testing.T) {
	s := newSite(t, nil)
	victim, attacker := s.browser().byHand(), s.browser().byHand()
	callback := attacker.follow("/x", "/.matron/callback")
	s.mustBeRefused(victim.get(callback), http.StatusBadRequest, "state-unknown")
	u, _ := url.Parse(callback)
	victim.plant("__Host-matron-try-"+u.Query().Get("state")[:22], strings.Repeat("A", 43))
	s.mustBeRefused(victim.get(callback), http.StatusBadRequest, "state-unknown")
	if a := attacker.get(callback); a.status != http.StatusSeeOther {
		t.Errorf("the attempt was used up by another browser: %d", a.status)
	}
}

func TestAttemptEnds(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser().byHand()
	callback := b.follow("/x", "/.matron/callback")
	s.clock.advance(10*time.Minute + time.Second)
	s.mustBeRefused(b.get(callback), http.StatusBadRequest, "state-unknown")
}

func TestCallbackRefused(t *testing.T) {
	s := newSite(t, nil)
	change := func(name, value string) string {
		return name + "=" + url.QueryEscape(value)
	}
	tests := []struct {
		name, query string
		drop        string
		status      int
		code        string
	}{
		{"error", change("error", "access_denied"), "", 403, "provider-refused"},
		{"no code", "", "code", 403, "provider-refused"},
		{"two codes", change("code", "x"), "", 403, "provider-refused"},
		{"two states", change("state", "x"), "", 400, "state-unknown"},
		{"no state", "", "state", 400, "state-unknown"},
		{"another issuer", change("iss", "https://evil.example"), "", 403, "issuer-mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.t = t
			b := s.browser().byHand()
			u, _ := url.Parse(b.follow("/x", "/.matron/callback"))
			q := u.Query()
			q.Del(tt.drop)
			u.RawQuery = q.Encode() + "&" + tt.query
			s.mustBeRefused(b.get(u.String()), tt.status, tt.code)
			b.mustNotBeSignedIn()
		})
	}
}

// A sign-in that cannot be recorded does not happen.
func TestNoRecordNoSession(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	callback := b.byHand().follow("/x", "/.matron/callback")
	s.journal.mu.Lock()
	s.journal.refuse = true
	s.journal.mu.Unlock()
	a := b.byHand().get(callback)
	if a.status != http.StatusServiceUnavailable || b.cookie("__Host-matron") != "" {
		t.Errorf("%d, cookie %q", a.status, b.cookie("__Host-matron"))
	}
	var n int
	if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM signin_session`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d sessions, %v", n, err)
	}
}

func TestOpenRedirect(t *testing.T) {
	s := newSite(t, nil)
	tests := []struct{ give, want string }{
		{"/ward/7?bed=2&x=%2F", "/ward/7?bed=2&x=%2F"},
		{"/", "/"},
		{"", "/"},
		{"//evil.example", "/"},
		{"///evil.example", "/"},
		{`/\evil.example`, "/"},
		{`\\evil.example`, "/"},
		{`/a\..\..\evil`, "/"},
		{"https://evil.example/", "/"},
		{"https:evil.example", "/"},
		{"javascript:alert(1)", "/"},
		{"evil.example", "/"},
		{"/\t/evil.example", "/"},
		{"/x\r\nSet-Cookie: a=b", "/"},
		{"/x y", "/"},
		{"/x\x00", "/"},
		{"/é", "/"},
		{"/x#y", "/"},
		{"/%zz", "/"},
		{"/" + strings.Repeat("a", 3000), "/"},
		{"/.matron/sign-in?return=/x", "/"},
		{"/.matron/sign-out", "/"},
		{"/.matron/%63allback", "/"},
		{"/.matron/", "/.matron/"},
	}
	for _, tt := range tests {
		t.Run(tt.give, func(t *testing.T) {
			s.t = t
			b := s.browser().byHand()
			callback := b.follow("/.matron/sign-in?return="+url.QueryEscape(tt.give), "/.matron/callback")
			if got := b.get(callback).header.Get("Location"); got != tt.want {
				t.Errorf("ends at %q, want %q", got, tt.want)
			}
		})
	}
}

// Sessions live in the file: a restart keeps them, and asks the provider
// nothing.
// hazard:GW-02 control:C-08
// hazard:GW-06 control:C-25
func TestRestartKeepsSessions(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	pending := b.byHand().follow("/.matron/sign-in?return=/late", "/.matron/callback")
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s.provider.set(func(p *provider) { p.down = true })
	s.db = openDB(t, s.file)
	s.start()
	b.mustBe("/after")
	s.provider.set(func(p *provider) { p.down = false })
	s.clock.advance(6 * time.Second)
	if a := b.get(pending); a.body != "Hello p1 at /late" {
		t.Errorf("a sign-in under way did not survive: %d %q", a.status, a.body)
	}
}

func TestLimits(t *testing.T) {
	limits := func(c *signin.Config) { c.Idle, c.Absolute = 10*time.Minute, time.Hour }
	t.Run("idle", func(t *testing.T) {
		s := newSite(t, limits)
		b := s.browser()
		b.mustBe("/")
		s.clock.advance(9 * time.Minute)
		b.mustBe("/")
		s.clock.advance(9 * time.Minute)
		b.mustBe("/")
		s.clock.advance(10 * time.Minute)
		b.mustNotBeSignedIn()
	})
	t.Run("absolute", func(t *testing.T) {
		s := newSite(t, limits)
		b := s.browser()
		b.mustBe("/")
		for range 8 {
			s.clock.advance(7 * time.Minute)
			b.mustBe("/")
		}
		s.clock.advance(4 * time.Minute)
		b.mustNotBeSignedIn()
	})
	t.Run("identifying is not activity", func(t *testing.T) {
		s := newSite(t, limits)
		b := s.browser()
		b.mustBe("/")
		for range 10 {
			s.clock.advance(time.Minute)
			b.get("/.matron/sign-out")
		}
		b.mustNotBeSignedIn()
	})
}

func TestIdentifySubject(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-matron", Value: b.cookie("__Host-matron")})
	got, err := s.service.Load().Identify(r)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Subject{
		Issuer: s.provider.issuer(), Sub: "sub-1", Person: "p1", Name: "Ada Nurse", Roles: []string{"nurse"}, Organisation: "RBA",
		ACR: "AAL3_ANY", AMR: []string{"smartcard"}, Assurance: 3, AuthTime: got.AuthTime, Session: s.journal.last().Session,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
