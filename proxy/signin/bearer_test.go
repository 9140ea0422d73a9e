package signin_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/signin"
)

func acceptBearer(c *signin.Config) {
	c.Bearer = signin.BearerConfig{Audiences: []string{audience}, Types: []string{"at+jwt", "JWT"}}
}

func (s *site) identify(header ...string) (policy.Subject, error) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return s.service.Load().Identify(r)
}

// An API client gets a token from the provider and is known by it.
func TestMachineToken(t *testing.T) {
	s := newSite(t, acceptBearer)
	token := s.provider.accessToken(t)
	got, err := s.identify("Authorization", "Bearer "+token)
	if err != nil {
		t.Fatal(err)
	}
	jti, _ := decodePart(token)["jti"].(string)
	want := policy.Subject{Issuer: s.provider.issuer(), Sub: machineID, Roles: []string{"machine"}, Token: jti, Machine: true}
	if diff := cmp.Diff(want, got); diff != "" || jti == "" {
		t.Error(diff, jti)
	}
}

func (s *site) tokenClaims() map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": s.provider.issuer(), "aud": audience, "sub": "sub-1", "client_id": "app", "iat": now.Unix(),
		"exp": now.Add(time.Minute).Unix(), "jti": "token-1", "person": "p1", "roles": []string{"nurse"}, "level": 2,
	}
}

// hazard:GW-14 control:C-58
func TestBearerToken(t *testing.T) {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *signin.Config) {
		c.MinAssurance = 2
		c.Bearer = signin.BearerConfig{Audiences: []string{audience}, MachineClaim: "gty", MachineValue: "client-credentials"}
	})
	person := policy.Subject{
		Issuer: s.provider.issuer(), Sub: "sub-1", Person: "p1", Roles: []string{"nurse"}, Assurance: 2, Token: "token-1",
	}
	machine := person
	machine.Person, machine.Machine = "", true
	with := func(name string, value any) func(map[string]any) {
		return func(c map[string]any) { c[name] = value }
	}
	without := func(name string) func(map[string]any) {
		return func(c map[string]any) { delete(c, name) }
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	tests := []struct {
		name   string
		typ    string
		key    any
		alg    jose.SignatureAlgorithm
		change func(map[string]any)
		want   *policy.Subject // nil: refused
	}{
		{"person", "at+jwt", s.provider.key, jose.RS256, nil, &person},
		{"media type", "application/at+jwt", s.provider.key, jose.RS256, nil, &person},
		{"several audiences", "at+jwt", s.provider.key, jose.RS256, with("aud", []string{"x", audience}), &person},
		{"no person", "at+jwt", s.provider.key, jose.RS256, without("person"), &machine},
		{"sub is the client", "at+jwt", s.provider.key, jose.RS256, with("client_id", "sub-1"), &machine},
		{"sub is the party", "at+jwt", s.provider.key, jose.RS256, with("azp", "sub-1"), &machine},
		{"grant of a machine", "at+jwt", s.provider.key, jose.RS256, with("gty", "client-credentials"), &machine},
		{"issued by a clock that is ahead", "at+jwt", s.provider.key, jose.RS256, with("iat", in(30*time.Second)), &person},
		{"untyped", "JWT", s.provider.key, jose.RS256, nil, nil},
		{"no type", "", s.provider.key, jose.RS256, nil, nil},
		{"stranger's key", "at+jwt", stranger, jose.RS256, nil, nil},
		{"shared secret", "at+jwt", []byte(clientSecret), jose.HS256, nil, nil},
		{"another issuer", "at+jwt", s.provider.key, jose.RS256, with("iss", "https://evil.example"), nil},
		{"another audience", "at+jwt", s.provider.key, jose.RS256, with("aud", "x"), nil},
		{"no audience", "at+jwt", s.provider.key, jose.RS256, without("aud"), nil},
		{"expired", "at+jwt", s.provider.key, jose.RS256, with("exp", in(-time.Second)), nil},
		{"never expires", "at+jwt", s.provider.key, jose.RS256, without("exp"), nil},
		{"issued in the future", "at+jwt", s.provider.key, jose.RS256, with("iat", in(2*time.Minute)), nil},
		{"not valid yet", "at+jwt", s.provider.key, jose.RS256, with("nbf", in(2*time.Minute)), nil},
		{"an id token", "at+jwt", s.provider.key, jose.RS256, with("nonce", "n"), nil},
		{"a logout token", "at+jwt", s.provider.key, jose.RS256, with("events", map[string]any{}), nil},
		{"no sub", "at+jwt", s.provider.key, jose.RS256, without("sub"), nil},
		{"garbled roles", "at+jwt", s.provider.key, jose.RS256, with("roles", true), nil},
		{"assurance too low", "at+jwt", s.provider.key, jose.RS256, with("level", 1), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := s.tokenClaims()
			if tt.change != nil {
				tt.change(c)
			}
			got, err := s.identify("Authorization", "Bearer "+signWith(tt.key, "key-1", tt.alg, c, tt.typ))
			switch {
			case tt.want == nil && !errors.Is(err, proxy.ErrToken):
				t.Errorf("%+v, %v", got, err)
			case tt.want != nil && err != nil:
				t.Error(err)
			case tt.want != nil:
				if diff := cmp.Diff(*tt.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	t.Run("garbage", func(t *testing.T) {
		for _, header := range []string{"Bearer", "Bearer ", "bearer x", "Bearer a.b.c", "Bearer " + strings.Repeat("a", 1<<20)} {
			if _, err := s.identify("Authorization", header); !errors.Is(err, proxy.ErrToken) {
				t.Errorf("%.20q: %v", header, err)
			}
		}
		good := "Bearer " + s.provider.sign(s.tokenClaims(), "at+jwt")
		if _, err := s.identify("Authorization", good, "Authorization", good); !errors.Is(err, proxy.ErrToken) {
			t.Errorf("two headers: %v", err)
		}
	})
	t.Run("no jti", func(t *testing.T) {
		c := s.tokenClaims()
		delete(c, "jti")
		token := s.provider.sign(c, "at+jwt")
		got, err := s.identify("Authorization", "Bearer "+token)
		if err != nil || len(got.Token) != 32 || strings.Contains(token, got.Token) {
			t.Errorf("%q %v", got.Token, err)
		}
	})
}

// A refused token is not made up for by a cookie beside it, and other schemes
// do not hide the cookie.
func TestRefusedTokenDoesNotFallBack(t *testing.T) {
	s := newSite(t, acceptBearer)
	b := s.browser()
	b.mustBe("/")
	cookie := "__Host-matron=" + b.cookie("__Host-matron")
	if _, err := s.identify("Cookie", cookie, "Authorization", "Bearer x"); !errors.Is(err, proxy.ErrToken) {
		t.Errorf("fell back: %v", err)
	}
	if who, err := s.identify("Cookie", cookie, "Authorization", "Basic x"); err != nil || who.Person != "p1" {
		t.Errorf("%v %v", who, err)
	}
}

// Unless bearer tokens are configured, the application's own tokens pass by.
func TestBearerOff(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	token := "Bearer " + s.provider.sign(s.tokenClaims(), "at+jwt")
	if _, err := s.identify("Authorization", token); !errors.Is(err, proxy.ErrNoSession) {
		t.Errorf("%v", err)
	}
	if who, err := s.identify("Cookie", "__Host-matron="+b.cookie("__Host-matron"), "Authorization", token); err != nil || who.Person != "p1" {
		t.Errorf("%v %v", who, err)
	}
}

func TestAmbiguousCookie(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/")
	cookie := "__Host-matron=" + b.cookie("__Host-matron")
	for _, header := range []string{"", cookie + "; " + cookie, cookie + "x", "__Host-matron=", "matron=" + b.cookie("__Host-matron")} {
		if _, err := s.identify("Cookie", header); !errors.Is(err, proxy.ErrNoSession) {
			t.Errorf("%.30q: %v", header, err)
		}
	}
	if _, err := s.identify("Cookie", "__Host-matron="+strings.Repeat("A", 43)); !errors.Is(err, proxy.ErrSessionExpired) {
		t.Errorf("%v", err)
	}
}

// Tokens with made-up keys do not become requests to the provider, and a
// provider that is down is not the client's fault.
func TestKeysAreAskedForSparingly(t *testing.T) {
	s := newSite(t, acceptBearer)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := "Bearer " + s.provider.sign(s.tokenClaims(), "at+jwt")
	s.provider.set(func(p *provider) { p.down = true })
	if _, err := s.identify("Authorization", good); !errors.Is(err, proxy.ErrIdentityUnavailable) {
		t.Errorf("provider down: %v", err)
	}
	s.provider.set(func(p *provider) { p.down = false })
	s.clock.advance(11 * time.Second)
	for range 20 {
		bad := signWith(stranger, rand.Text(), jose.RS256, s.tokenClaims(), "at+jwt")
		if _, err := s.identify("Authorization", "Bearer "+bad); !errors.Is(err, proxy.ErrToken) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.identify("Authorization", good); err != nil {
		t.Error(err)
	}
	s.provider.set(func(p *provider) {
		if p.keyRequests > 2 {
			t.Errorf("%d requests for keys", p.keyRequests)
		}
		p.down = true
	})
	s.clock.advance(20 * time.Second) // the keys are known: the provider is not needed
	if _, err := s.identify("Authorization", good); err != nil {
		t.Error(err)
	}
}
