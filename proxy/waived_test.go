package proxy_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// following is a map that follows sessions as far as the gateway can tell.
type following struct{ testMap }

func (f following) Follow(policy.Subject, *http.Request) (proxy.Turn, error) { return f, nil }
func (following) DenyForm(string) proxy.DenyForm                             { return proxy.DenyAuto }
func (following) Inherit(proxy.Map)                                          {}
func (following) Received(*http.Response)                                    {}
func (following) Leave(context.Context) *http.Request                        { return nil }
func (following) Left(*http.Response, []byte) bool                           { return true }
func (following) End(bool)                                                   {}

// TestWhatOnlyTheResponseWouldHaveRefusedIsMarked: where decisions are not
// enforced, the record of the patient whom only the response shows says that it
// would have been refused, and why.
func TestWhatOnlyTheResponseWouldHaveRefusedIsMarked(t *testing.T) {
	for _, row := range []struct {
		mode      proxy.Mode
		requested []proxy.Patient // by the request
		zero      bool            // the decision has no reason
		status    int
		reason    string
	}{
		{proxy.Enforce, nil, false, 403, "role-not-permitted"},
		{proxy.Observe, nil, false, 200, "role-not-permitted"},
		{proxy.Observe, nil, true, 200, "denied"},
		{proxy.Bypass, []proxy.Patient{{ID: "1"}}, false, 200, "role-not-permitted"},
	} {
		w := build(t, say(secret), func(c *proxy.Config) {
			c.Apps[0].Map = following{testMap{
				classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
					return proxy.Access{Rule: "screen", Action: policy.Read, Area: policy.Notes, Hold: true, Patients: row.requested, Certainty: audit.Learned}, nil
				},
				settle: func(proxy.Access, *http.Response, []byte) (proxy.Settlement, error) {
					return proxy.Settlement{Patients: []proxy.Patient{{ID: "4711"}}, Certainty: audit.Authoritative}, nil
				},
			}}
			c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
				switch {
				case !slices.Contains(q.Patients, "4711"):
					return allowAll(q)
				case row.zero:
					return policy.Decision{}
				}
				return denyAll(q)
			})
			c.Apps[0].Mode, c.Bypassed = row.mode, func(string) bool { return row.mode == proxy.Bypass }
			if row.mode == proxy.Bypass {
				c.Apps[0].Mode = proxy.Enforce
			}
		})
		a := w.do("GET", "/screen", "")
		w.log.waitOutcome()
		d, p := w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindPatient)
		if a.status != row.status || len(d) != 1 || len(p) != 1 {
			t.Errorf("%s: got %d, decisions %+v, patients %+v", row.mode, a.status, d, p)
			continue
		}
		if p[0].Patient != "4711" || p[0].Decision != d[0].Seq || !slices.Equal(p[0].Reasons, []string{row.reason}) || p[0].WouldDeny != (row.mode != proxy.Enforce) || d[0].WouldDeny {
			t.Errorf("%s: decision %+v, patient %+v", row.mode, d[0], p[0])
		}
	}
}
