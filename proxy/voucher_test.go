package proxy_test

import (
	"net/http"
	"testing"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// boundVoucher makes a token of what it is bound to.
type boundVoucher struct{}

func (boundVoucher) Vouch(_ policy.Subject, _ string, r *http.Request) (string, error) {
	return r.Method + " " + r.URL.RequestURI(), nil
}

// TestVoucherIsBoundToWhatTheApplicationGets: an application that compares the
// binding with the request it got must find them the same.
func TestVoucherIsBoundToWhatTheApplicationGets(t *testing.T) {
	for _, row := range []struct {
		name, method, path string
		m                  testMap
	}{
		{"a path below a base", "GET", "/epr/patient/1?a=b%20c", testMap{}},
		{"characters that are escaped", "GET", "/epr/patient/Zo%C3%AB", testMap{}},
		{"a held HEAD, asked as GET", "HEAD", "/epr/search", heldMap()},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("patient 1\n"), func(c *proxy.Config) {
				c.Apps[0].Prefix, c.Apps[0].StripPrefix, c.Apps[0].Map = "/epr", true, row.m
				c.Apps[0].Upstream = c.Apps[0].Upstream.JoinPath("/base/v1")
				c.Voucher = boundVoucher{}
			})
			w.do(row.method, row.path, "")
			if len(w.hits) != 1 {
				t.Fatalf("%d requests reached the application, want 1", len(w.hits))
			}
			got := w.hits[0]
			if want := got.Method + " " + got.URL.RequestURI(); got.Header.Get("Matron-Identity") != want {
				t.Errorf("bound to %q, the application got %q", got.Header.Get("Matron-Identity"), want)
			}
		})
	}
}
