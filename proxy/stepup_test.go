package proxy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// tooWeak is a world whose rules demand a stronger sign-in. proved is how long ago
// everybody signed in, 0 for nobody knows.
func tooWeak(t *testing.T, proved time.Duration, emergency bool, change ...func(*proxy.Config)) *world {
	t.Helper()
	w := build(t, say(secret), func(c *proxy.Config) {
		c.StepUp = proxy.StepUp{ACR: []string{"AAL3_ANY", "AAL3"}, MaxAge: 5 * time.Minute}
		c.Decider = deciderFunc(func(policy.Request) policy.Decision {
			return policy.Decision{Effect: policy.Challenge, Offer: policy.StepUp, Emergency: emergency, Revision: "r1", Reasons: []policy.Reason{
				{Code: "assurance-too-low", Text: "This needs a stronger sign-in.", Remedy: "Use your smartcard."},
			}}
		})
		for _, f := range change {
			f(c)
		}
	})
	if proved > 0 {
		w.ids.proved.Store(w.cfg.Now().Add(-proved).UnixMicro())
	}
	return w
}

// A navigation is led to sign in again and back; what signing in again would not help
// gets a page, so that nobody goes round in circles.
// hazard:GW-22 control:C-178
func TestNavigationStepsUp(t *testing.T) {
	w := tooWeak(t, time.Hour, true)
	a := w.do("GET", "/patient/4711?tab=2", "", navigate)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/.matron/sign-in?return=%2Fpatient%2F4711%3Ftab%3D2&again=stronger" || w.forwarded() != 0 {
		t.Errorf("got %d to %q", a.status, a.header.Get("Location"))
	}
	d := w.log.kinds(audit.KindDecision)
	if len(d) != 1 || d[0].Effect != "challenge" || d[0].Reasons[0] != "assurance-too-low" {
		t.Errorf("recorded %+v", d)
	}
	for _, proved := range []time.Duration{0, 30 * time.Second} {
		for _, emergency := range []bool{true, false} {
			w := tooWeak(t, proved, emergency)
			a := w.do("GET", "/patient/4711", "", navigate)
			if a.status != http.StatusUnauthorized || a.header.Get("Location") != "" || !strings.Contains(a.body, "Use your smartcard.") ||
				!strings.Contains(a.body, `href="/.matron/sign-in?return=%2Fpatient%2F4711&amp;again=stronger"`) || strings.Contains(a.body, "has not been sent") {
				t.Errorf("proved %s ago: got %d %s", proved, a.status, a.body)
			}
			if strings.Contains(a.body, `href="/.matron/emergency/4711-of-ada"`) != emergency {
				t.Errorf("emergency %v: %s", emergency, a.body)
			}
		}
	}
}

// A provider may answer at once, with neither more nor later proof than before:
// whoever comes back from it gets a page, and is not sent there again.
// hazard:GW-22 control:C-176
func TestStepUpThatChangedNothingEnds(t *testing.T) {
	var began atomic.Int64 // ago
	w := tooWeak(t, time.Hour, true, func(c *proxy.Config) {
		c.Began = func(policy.Subject) time.Time { return c.Now().Add(-time.Duration(began.Load())) }
	})
	began.Store(int64(30 * time.Second))
	if a := w.do("GET", "/patient/4711", "", navigate); a.status != http.StatusUnauthorized || !strings.Contains(a.body, `href="/.matron/emergency/4711-of-ada"`) {
		t.Errorf("just now: got %d to %q", a.status, a.header.Get("Location"))
	}
	began.Store(int64(2 * time.Minute))
	if a := w.do("GET", "/patient/4711", "", navigate); a.status != http.StatusSeeOther {
		t.Errorf("later: got %d", a.status)
	}
}

// Nobody who could have emergency access is sent to a sign-in service that does not
// answer.
// hazard:GW-22 control:C-177
func TestStepUpWithoutProviderLeadsToEmergencyAccess(t *testing.T) {
	for _, emergency := range []bool{true, false} {
		w := tooWeak(t, time.Hour, emergency, func(c *proxy.Config) { c.SignInWorks = func(context.Context) bool { return false } })
		a := w.do("GET", "/patient/4711", "", navigate)
		if page := a.status == http.StatusUnauthorized && strings.Contains(a.body, `href="/.matron/emergency/4711-of-ada"`); page != emergency {
			t.Errorf("emergency %v: got %d to %q", emergency, a.status, a.header.Get("Location"))
		}
	}
}

// Software gets RFC 9470; a save is never answered with a redirect.
func TestSoftwareIsToldToStepUp(t *testing.T) {
	w := tooWeak(t, time.Hour, false)
	a := w.do("GET", "/patient/4711", "")
	const want = `Bearer realm="matron", error="insufficient_user_authentication", error_description="A stronger or more recent sign-in is needed", acr_values="AAL3_ANY AAL3", max_age="300"`
	if a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != want {
		t.Errorf("got %d %q", a.status, a.header.Get("WWW-Authenticate"))
	}
	var p struct {
		Challenge string `json:"challenge"`
		SignIn    string `json:"sign_in"`
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Challenge != "step-up" || !strings.HasSuffix(p.SignIn, "again=stronger") {
		t.Errorf("%v %s", err, a.body)
	}
	if a := w.do("POST", "/patient/4711", "typed", navigate); a.status != http.StatusUnauthorized || a.header.Get("Location") != "" || !strings.Contains(a.body, "has not been sent") {
		t.Errorf("a save: got %d %q %s", a.status, a.header.Get("Location"), a.body)
	}
}
