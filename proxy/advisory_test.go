package proxy_test

import (
	"net/http"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// TestNoHeaderOpensADoor: other gateways let health checks through by their User-Agent,
// or took the path that needs no identity from a header. Here nothing that a client
// says about itself or about the path spares it the sign-in.
func TestNoHeaderOpensADoor(t *testing.T) {
	for _, row := range []struct {
		name, value string
		status      int // 401: as if the header were not there
	}{
		{"User-Agent", "GoogleHC/1.0", 401},
		{"User-Agent", "kube-probe/1.31", 401},
		{"User-Agent", "ELB-HealthChecker/2.0", 401},
		{"X-Forwarded-For", "127.0.0.1", 401},
		{"X-Real-IP", "127.0.0.1", 401},
		{"Forwarded", "for=127.0.0.1;host=localhost", 401},
		{"X-Forwarded-Host", "localhost", 401},
		{"Origin", "null", 401},
		{"X-Auth-Request-Redirect", "/.matron/sign-in", 400},
		{"X-Forwarded-Uri", "/.matron/sign-in", 400},
		{"X-Forwarded-Path", "/.matron/sign-in", 400},
		{"X-Forwarded-Method", "OPTIONS", 400},
		{"X-Original-Uri", "/.matron/sign-in", 400},
		{"X-Original-Url", "/.matron/assets/app.js", 400},
		{"X-Rewrite-Url", "/.matron/assets/app.js", 400},
	} {
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			w := build(t, nil, nil)
			a := w.do(method, "/patient/1", "", header("Cookie", ""), header(row.name, row.value))
			if a.status != row.status || w.forwarded() != 0 {
				t.Errorf("%s with %s: %s gets %d, %d forwarded", method, row.name, row.value, a.status, w.forwarded())
			}
			if d := w.log.kinds(audit.KindDecision); len(d) != 1 || d[0].Effect != "deny" {
				t.Errorf("%s with %s: %s: decisions %+v", method, row.name, row.value, d)
			}
		}
	}
}

// TestIdentityHeadersAreRefusedOnEveryRoute: routes that need no identity are no way
// in for headers that say who is asking.
// hazard:GW-07 control:C-28
func TestIdentityHeadersAreRefusedOnEveryRoute(t *testing.T) {
	asked := false
	w := build(t, nil, func(c *proxy.Config) {
		c.Home = "/home"
		c.Public = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true })
	})
	for _, path := range []string{"/.matron/sign-in", "/.matron/assets/app.js", "/.matron/gateway/refusal.css", "/.matron/nothing", "/", "/favicon.ico", "/patient/1"} {
		for _, name := range []string{"X-Forwarded-User", "X_Forwarded_User", "x-forwarded_email", "REMOTE_USER", "Matron-Identity", "X-Auth-Request-Email"} {
			for _, known := range []string{"", "__Host-matron=ada"} {
				if a := w.do("GET", path, "", header("Cookie", known), header(name, "root")); a.status != 400 {
					t.Errorf("%s with %s: %d", path, name, a.status)
				}
			}
		}
	}
	if asked || w.forwarded() != 0 {
		t.Error("a request that says who is asking went on")
	}
}
