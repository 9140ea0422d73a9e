package proxy_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// bypassed builds a gateway whose application is bypassed while on says so.
func bypassed(t *testing.T, on *atomic.Bool, change func(*proxy.Config)) *world {
	return build(t, say("hello"), func(c *proxy.Config) {
		c.Bypassed = func(app string) bool { return app == "epr" && on.Load() }
		if change != nil {
			change(c)
		}
	})
}

func closedRoute(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
	return proxy.Access{Rule: "closed", Block: true, Action: policy.Read}, nil
}

// TestBypassForwardsAndRecordsOnly: what the rules, the limits and the map do not
// allow goes on while the bypass lasts, marked in the record with the reason, and
// is refused again as soon as it has ended (GW-17).
func TestBypassForwardsAndRecordsOnly(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*proxy.Config)
		reason string
		status int // without the bypass
	}{
		{"denied", func(c *proxy.Config) { c.Decider = deciderFunc(denyAll) }, "role-not-permitted", 403},
		{"challenged", func(c *proxy.Config) { c.Decider = deciderFunc(challengeAll) }, "no-relationship", 403},
		{"unmapped", func(c *proxy.Config) { c.Apps[0].Map = unmapped() }, "unmapped-route", 403},
		{"limited", func(c *proxy.Config) {
			c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return time.Second, false })
		}, "rate-limited", 429},
	} {
		t.Run(row.name, func(t *testing.T) {
			var on atomic.Bool
			w := bypassed(t, &on, row.change)
			on.Store(true)
			if a := w.do("GET", "/patient/4711", ""); a.status != 200 || a.body != "hello" {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if o := w.log.waitOutcome(); o.Mode != "bypass" {
				t.Errorf("outcome %+v", o)
			}
			d := w.log.kinds(audit.KindDecision)
			if len(d) != 1 || d[0].Effect != "allow" || !d[0].WouldDeny || d[0].Mode != "bypass" || d[0].Person != "p-ada" ||
				!cmp.Equal(d[0].Reasons, []string{row.reason}) {
				t.Errorf("decision %+v", d)
			}
			if row.name == "unmapped" && d[0].Certainty != audit.Unknown {
				t.Errorf("certainty %q, want unknown", d[0].Certainty)
			}
			on.Store(false)
			if a := w.do("GET", "/patient/4711", ""); a.status != row.status || w.forwarded() != 1 {
				t.Errorf("after the end: got %d, %d forwarded", a.status, w.forwarded())
			}
		})
	}
}

// TestBypassSlowsNobody: the delay of the limiter is a decision too.
func TestBypassSlowsNobody(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	w := bypassed(t, &on, func(c *proxy.Config) {
		c.Limiter = limiterFunc(func(policy.Subject, proxy.LimitKind) (time.Duration, bool) { return 20 * time.Millisecond, true })
	})
	a := w.do("GET", "/patient/4711", "")
	w.log.waitOutcome()
	if d := w.log.kinds(audit.KindDecision); a.status != 200 || len(d) != 1 || len(d[0].Detail) > 0 {
		t.Errorf("got %d, %+v", a.status, d)
	}
}

// TestBypassOpensNothingElse: a bypass waives decisions, not identity, not the
// record, not what the map closes to everybody and not the pages of the gateway
// itself (GW-19).
func TestBypassOpensNothingElse(t *testing.T) {
	var on atomic.Bool
	on.Store(true)
	for _, row := range []struct {
		name    string
		change  func(*proxy.Config)
		prepare func(*world)
		status  int
	}{
		{"nobody known", nil, func(w *world) { w.ids.err = proxy.ErrNoSession }, 401},
		{"no record", nil, func(w *world) { w.log.appendFault = func(int, []*audit.Record) fault { return lost } }, 503},
		{"blocked by the map", func(c *proxy.Config) { c.Apps[0].Map = testMap{classify: closedRoute} }, nil, 403},
		{"a full disk", func(c *proxy.Config) {
			c.Apps[0].Map = testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
				return proxy.Access{Rule: "export", Action: policy.Export, Kind: proxy.Bulk}, nil
			}}
			c.Space = func() proxy.Shortage { return proxy.ShortForAll }
		}, nil, 503},
		{"the gateway's own pages", func(c *proxy.Config) {
			c.Apps[0].Upstream, c.Apps[0].Handler = nil, http.NotFoundHandler()
			c.Decider = deciderFunc(denyAll)
		}, nil, 403},
		{"another application", func(c *proxy.Config) {
			c.Apps[0].Name, c.Decider = "pacs", deciderFunc(denyAll)
		}, nil, 403},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := bypassed(t, &on, row.change)
			if row.prepare != nil {
				row.prepare(w)
			}
			if a := w.do("GET", "/patient/4711", ""); a.status != row.status || w.forwarded() != 0 {
				t.Errorf("got %d %s, %d forwarded", a.status, a.body, w.forwarded())
			}
		})
	}
}

// TestBypassCannotBeSet: it never lies in a configuration, where it would have no
// end.
func TestBypassCannotBeSet(t *testing.T) {
	w := build(t, nil, nil)
	apps := slices.Clone(w.cfg.Apps)
	apps[0].Mode = proxy.Bypass
	if err := w.gateway.Swap(apps); err == nil {
		t.Error("an application is bypassed by configuration")
	}
}
