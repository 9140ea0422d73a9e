package proxy_test

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/websocket"

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
// hazard:GW-19 control:C-77
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
// hazard:GW-19 control:C-78
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

// TestGW19WhatLastsEndsWithTheBypass: a WebSocket that the rules would have refused
// is closed, one that they allow stays.
func TestGW19WhatLastsEndsWithTheBypass(t *testing.T) {
	for _, row := range []struct {
		name   string
		decide deciderFunc
		stays  bool
	}{{"refused", denyAll, false}, {"allowed", allowAll, true}} {
		t.Run(row.name, func(t *testing.T) {
			var on atomic.Bool
			on.Store(true)
			w, c := openSocket(t, func(cfg *proxy.Config) {
				cfg.Bypassed, cfg.Decider = func(string) bool { return on.Load() }, row.decide
			})
			echo := func() error {
				var got string
				if err := websocket.Message.Send(c, "hello"); err != nil {
					return err
				}
				return websocket.Message.Receive(c, &got)
			}
			if err := echo(); err != nil {
				t.Fatal(err)
			}
			w.gateway.Review()
			if err := echo(); err != nil {
				t.Fatalf("ended although the bypass goes on: %v", err)
			}
			on.Store(false)
			w.gateway.Review()
			if err := echo(); (err == nil) != row.stays {
				t.Errorf("after the end: %v", err)
			}
			_ = c.Close()
			if o := w.log.waitOutcome(); (o.Error == "bypass-ended") == row.stays {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// TestGW19StreamOfEventsEndsWithTheBypass: also when the end comes before the
// application has answered.
func TestGW19StreamOfEventsEndsWithTheBypass(t *testing.T) {
	for _, early := range []bool{false, true} {
		var on atomic.Bool
		asked, answer := make(chan struct{}), make(chan struct{})
		w := build(t, func(rw http.ResponseWriter, r *http.Request) {
			close(asked)
			<-answer
			rw.Header().Set("Content-Type", "text/event-stream")
			_, _ = rw.Write([]byte("data: first\n\n"))
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}, func(c *proxy.Config) {
			c.Bypassed, c.Decider = func(string) bool { return on.Load() }, deciderFunc(denyAll)
		})
		on.Store(true)
		end := func() {
			on.Store(false)
			w.gateway.Review()
		}
		go func() {
			<-asked
			if early {
				end()
			}
			close(answer)
		}()
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/patient/1", nil)
		r.Header.Set("Cookie", "__Host-matron=ada")
		res, err := w.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if !early {
			end()
		}
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		if early != (res.StatusCode == 403) || early == (err != nil) {
			t.Errorf("early %t: got %d and the stream ended with %v", early, res.StatusCode, err)
		}
		if o := w.log.waitOutcome(); o.Error != "bypass-ended" {
			t.Errorf("early %t: outcome %+v", early, o)
		}
	}
}
