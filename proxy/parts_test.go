package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// mixed is one exchange that reads notes and writes prescriptions.
func mixed() testMap {
	return testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
		return proxy.Access{
			Rule: "bundle", Patients: []proxy.Patient{{ID: "1"}}, Certainty: audit.Authoritative, Source: audit.SourceBody,
			Parts: []proxy.Part{
				{Action: policy.Read, Area: policy.Notes, Resource: "Condition"},
				{Action: policy.Create, Area: policy.Prescribing, Resource: "MedicationRequest"},
			},
		}, nil
	}}
}

func TestEveryPartMustBeAllowed(t *testing.T) {
	for _, row := range []struct {
		name   string
		refuse policy.Area
		status int
	}{
		{"all allowed", "", 200},
		{"the first refused", policy.Notes, 403},
		{"the last refused", policy.Prescribing, 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("ok"), func(c *proxy.Config) {
				c.Apps[0].Map = mixed()
				c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
					if q.Area == row.refuse || q.Area == "" || q.Action == "" {
						return policy.Refuse("r1", policy.Reason{Code: "no"})
					}
					return policy.Decision{Effect: policy.Allow, Rules: []string{string(q.Area)}, Revision: "r1"}
				})
			})
			if a := w.do("POST", "/bundle", "x"); a.status != row.status {
				t.Errorf("got %d, want %d", a.status, row.status)
			}
			if n := w.forwarded(); (n == 1) != (row.status == 200) {
				t.Errorf("%d requests reached the application", n)
			}
			w.log.waitOutcome()
			d := w.log.kinds(audit.KindDecision)
			if len(d) != 1 || strings.Join(d[0].Detail, ";") != "part=read notes Condition;part=create prescribing MedicationRequest" {
				t.Errorf("decisions %+v, want one that names both parts", d)
			}
		})
	}
}

// hazard:GW-18 control:C-74
func TestSecretParametersStayOutOfTheRecord(t *testing.T) {
	w := build(t, say("ok"), func(c *proxy.Config) {
		c.Apps[0].Map = testMap{classify: func(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
			a, err := readPatient(r, body)
			a.Redact = []string{"pass word"}
			return a, err
		}}
	})
	w.do("GET", "/patient/1?a=b&pass%20word=hunter2&c=d&pass+word=hunter3", "")
	w.log.waitOutcome()
	const want = "a=b&pass%20word=redacted&c=d&pass+word=redacted"
	if d := w.log.kinds(audit.KindDecision); len(d) != 1 || d[0].Query != want {
		t.Errorf("decisions %+v, want query %s", d, want)
	}
}

func TestSecretsOfUnmappedRequestsStayOutOfTheRecord(t *testing.T) {
	w := build(t, say("ok"), func(c *proxy.Config) {
		c.Apps[0].Map = testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
			return proxy.Access{Redact: []string{"token"}}, nil
		}}
	})
	w.do("GET", "/nowhere?token=hunter2", "")
	w.log.waitOutcome()
	if d := w.log.kinds(audit.KindDecision); len(d) != 1 || d[0].Query != "token=redacted" {
		t.Errorf("decisions %+v, want the token redacted", d)
	}
}

// TestDataOfNobodyIsNotReleased: a response of which nobody can tell the patient
// goes on only where decisions are not enforced.
// hazard:GW-08 control:C-35
func TestDataOfNobodyIsNotReleased(t *testing.T) {
	for _, row := range []struct {
		name      string
		mode      proxy.Mode
		certainty audit.Certainty
		status    int
	}{
		{"unknown", proxy.Enforce, audit.Unknown, 403},
		{"zero", proxy.Enforce, "", 403},
		{"none", proxy.Enforce, audit.None, 200},
		{"unknown, observed", proxy.Observe, audit.Unknown, 200},
		{"unknown, bypassed", proxy.Bypass, audit.Unknown, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say(secret), func(c *proxy.Config) {
				m := heldMap()
				m.settle = func(proxy.Access, *http.Response, []byte) (proxy.Settlement, error) {
					return proxy.Settlement{Certainty: row.certainty}, nil
				}
				c.Apps[0].Map, c.Apps[0].Mode = m, row.mode
				if row.mode == proxy.Bypass {
					c.Apps[0].Mode, c.Bypassed = proxy.Enforce, func(string) bool { return true }
				}
			})
			a := w.do("GET", "/search", "")
			if released := a.tells("4711"); a.status != row.status || released != (row.status == 200) {
				t.Errorf("got %d %q, want %d", a.status, a.body, row.status)
			}
			w.log.waitOutcome()
			if p := w.log.kinds(audit.KindPatient); row.certainty != audit.None && (len(p) != 1 || p[0].Certainty != audit.Unknown) {
				t.Errorf("patients %+v, want one that says unknown", p)
			} else if waived := len(p) == 1 && p[0].WouldDeny && slices.Equal(p[0].Reasons, []string{"patient-unknown"}); waived != (row.mode != proxy.Enforce) {
				t.Errorf("%s: marked as waived: %t: %+v", row.name, waived, p)
			}
		})
	}
}

func TestFloodOfSignInsIsRefused(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Limiter = limiterFunc(func(s policy.Subject, kind proxy.LimitKind) (time.Duration, bool) {
			return 3 * time.Second, kind != proxy.SignInKind || s.Sub != "127.0.0.1"
		})
	})
	if a := w.do("GET", "/.matron/sign-in?return=/", "", navigate); a.status != 429 || a.header.Get("Retry-After") != "3" ||
		strings.Contains(a.body, "public ") {
		t.Errorf("got %d %q, want 429", a.status, a.body)
	}
	if a := w.do("GET", "/.matron/assets/x", ""); a.status != 200 {
		t.Errorf("assets: got %d, want 200", a.status)
	}
	if l := w.log.kinds(audit.KindLimit); len(l) != 1 || l[0].ClientIP != "127.0.0.1" {
		t.Errorf("limit records %+v, want one", l)
	}
}
