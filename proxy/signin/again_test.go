package signin_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/signin"
)

// Signing in again asks the provider for what is demanded, goes back to where it was
// asked for, is recorded as such, and lets what belonged to the old session go on.
func TestSigningInAgain(t *testing.T) {
	var renewed [][2]string
	s := newSite(t, func(c *signin.Config) {
		c.StepUp = signin.StepUp{ACR: []string{"AAL3_ANY", "AAL3"}, MaxAge: 5 * time.Minute}
		c.Renewed = func(_ context.Context, old, fresh string) { renewed = append(renewed, [2]string{old, fresh}) }
	})
	b := s.browser()
	b.mustBe("/first")
	old := s.journal.last().Session
	for _, row := range []struct{ again, prompt, age, acr string }{
		{"now", "login", "0", ""},
		{"stronger", "", "300", "AAL3_ANY AAL3"},
		{"whatever", "", "", ""},
	} {
		s.provider.set(func(p *provider) { p.tamper = nil })
		start := b.byHand().get("/.matron/sign-in?return=%2Fback&again=" + row.again)
		u, err := url.Parse(start.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		if q := u.Query(); q.Get("prompt") != row.prompt || q.Get("max_age") != row.age || q.Get("acr_values") != row.acr {
			t.Errorf("%s: asked %v", row.again, q)
		}
		if a := b.get(u.String()); a.body != "Hello p1 at /back" {
			t.Fatalf("%s: %d %q at %s", row.again, a.status, a.body, a.url)
		}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.AddCookie(&http.Cookie{Name: "__Host-matron", Value: b.cookie("__Host-matron")})
		s.start() // as another gateway finds it
		who, err := s.service.Load().Identify(r)
		if began := s.service.Load().Began(who); err != nil || began.IsZero() || !s.service.Load().Began(policy.Subject{}).IsZero() {
			t.Errorf("%s: %v, the session began %s", row.again, err, began)
		}
	}
	if len(renewed) != 3 || renewed[0][0] != old || renewed[1][0] != renewed[0][1] {
		t.Errorf("renewed %v after %s", renewed, old)
	}
	ups := 0
	for _, k := range s.journal.kinds() {
		if k == string(audit.KindStepUp)+" p1" {
			ups++
		}
	}
	if ups != 2 {
		t.Errorf("records %q", s.journal.kinds())
	}
}

// max_age=0 only asks: an identity that was proved before is refused, and the session
// that was there goes on.
func TestProvedBeforeIsNotProvedNow(t *testing.T) {
	s := newSite(t, nil)
	b := s.browser()
	b.mustBe("/first")
	for name, change := range map[string]func(map[string]any){
		"an hour ago":   func(c map[string]any) { c["auth_time"] = time.Now().Add(-time.Hour).Unix() },
		"does not say":  func(c map[string]any) { delete(c, "auth_time") },
		"2 minutes ago": func(c map[string]any) { c["auth_time"] = time.Now().Add(-2 * time.Minute).Unix() },
	} {
		s.provider.set(func(p *provider) { p.tamper = change })
		a := b.get("/.matron/sign-in?return=%2Fback&again=now")
		s.mustBeRefused(a, http.StatusForbidden, "auth-time-too-old")
		if t.Failed() {
			t.Log(name)
		}
		b.mustBe("/still")
	}
}

// Somebody else who signs in takes nothing over.
func TestAnotherPersonRenewsNothing(t *testing.T) {
	s := newSite(t, func(c *signin.Config) {
		c.Renewed = func(context.Context, string, string) { t.Error("renewed") }
	})
	b := s.browser()
	b.mustBe("/first")
	s.provider.set(func(p *provider) { p.tamper = func(c map[string]any) { c["sub"] = "sub-2" } })
	if a := b.get("/.matron/sign-in?return=%2Fback&again=stronger"); a.status == http.StatusInternalServerError {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAnswersTellsWhetherTheProviderDoes(t *testing.T) {
	s := newSite(t, nil)
	if !s.service.Load().Answers(t.Context()) {
		t.Error("it answers, and is said not to")
	}
	s.provider.server.Close()
	if s.service.Load().Answers(t.Context()) {
		t.Error("it does not answer, and is said to")
	}
}

// A provider whose tokens do not say when people signed in is told of once, until one
// says it.
func TestTokensThatDoNotSayWhen(t *testing.T) {
	s := newSite(t, func(c *signin.Config) { c.MaxAuthAge = 0 })
	service := s.service.Load()
	if !service.SaysWhen() {
		t.Error("said to be missing before any token came")
	}
	s.provider.set(func(p *provider) { p.tamper = func(c map[string]any) { delete(c, "auth_time") } })
	for range 2 {
		s.browser().mustBe("/first")
	}
	if n := strings.Count(s.log.String(), "sends no auth_time"); n != 1 || service.SaysWhen() {
		t.Errorf("told of %d times, says when: %t", n, service.SaysWhen())
	}
	s.provider.set(func(p *provider) { p.tamper = nil })
	s.browser().mustBe("/second")
	if !service.SaysWhen() {
		t.Error("still said to be missing")
	}
}
