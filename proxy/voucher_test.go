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

func (boundVoucher) VouchReads(_ policy.Subject, method string) (string, error) {
	return "reads by " + method, nil
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
				c.Voucher, c.Apps[0].BindReads = boundVoucher{}, true
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

// TestVoucherForReadsIsForNothingElse: a token that serves several requests is given
// to a GET or HEAD that reads, and to nothing that may change the record.
func TestVoucherForReadsIsForNothingElse(t *testing.T) {
	writing := testMap{classify: func(r *http.Request, _ func() ([]byte, error)) (proxy.Access, error) {
		a, err := testMap{}.Classify(r, nil)
		a.Action = policy.Update
		return a, err
	}}
	for _, row := range []struct {
		name, method, want string
		m                  testMap
		bound              bool
	}{
		{"a read", "GET", "reads by GET", testMap{}, false},
		{"a look at the header", "HEAD", "reads by HEAD", testMap{}, false},
		{"a held HEAD, asked as GET", "HEAD", "reads by GET", heldMap(), false},
		{"a read where the application wants more", "GET", "GET /patient/1", testMap{}, true},
		{"a GET that changes something", "GET", "GET /patient/1", writing, false},
		{"a search by POST", "POST", "POST /patient/1", testMap{}, false},
		{"a write", "PUT", "PUT /patient/1", testMap{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("patient 1\n"), func(c *proxy.Config) {
				c.Apps[0].Map, c.Apps[0].BindReads, c.Voucher = row.m, row.bound, boundVoucher{}
			})
			w.do(row.method, "/patient/1", "")
			if len(w.hits) != 1 {
				t.Fatalf("%d requests reached the application, want 1", len(w.hits))
			}
			if got := w.hits[0].Header.Get("Matron-Identity"); got != row.want {
				t.Errorf("token %q, want %q", got, row.want)
			}
		})
	}
}
