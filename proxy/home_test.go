package proxy_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// What browsers and people ask for by themselves is no access and no refusal,
// unless an application answers there.
func TestUnclaimedPathsLeadHomeAndLeaveNoRecord(t *testing.T) {
	below := func(c *proxy.Config) { c.Home, c.Apps[0].Prefix = "/epr/start", "/epr/" }
	for _, row := range []struct {
		name, method, path string
		mutate             func(*proxy.Config)
		status             int
		location           string
	}{
		{"root leads home", "GET", "/", below, 303, "/epr/start"},
		{"no icon", "GET", "/favicon.ico", below, 204, ""},
		{"nothing else", "GET", "/start", below, 401, ""},
		{"no write", "POST", "/", below, 401, ""},
		{"an application at the root answers", "GET", "/", func(c *proxy.Config) { c.Home = "/epr/start" }, 401, ""},
		{"no home", "GET", "/", func(c *proxy.Config) { c.Apps[0].Prefix = "/epr/" }, 401, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, nil, row.mutate)
			a := w.do(row.method, row.path, "", header("Cookie", ""))
			if a.status != row.status || a.header.Get("Location") != row.location {
				t.Errorf("got %d to %q, want %d to %q", a.status, a.header.Get("Location"), row.status, row.location)
			}
			if decisions := w.log.kinds(audit.KindDecision); (len(decisions) == 0) != (row.status < 400) {
				t.Errorf("%d decisions recorded", len(decisions))
			}
		})
	}
}

func TestBrowsersComeBackOverTLS(t *testing.T) {
	for _, strict := range []bool{true, false} {
		w := build(t, nil, func(c *proxy.Config) { c.StrictTransport = strict })
		want := map[bool][]string{true: {"max-age=31536000"}}[strict]
		for _, path := range []string{"/patient/1", "/.matron/sign-in", "/a;b"} {
			if got := w.do("GET", path, "").header.Values("Strict-Transport-Security"); !slices.Equal(got, want) {
				t.Errorf("strict %v, %s: %q", strict, path, got)
			}
		}
	}
}

// hazard:GW-01 control:C-05
func TestRefusalPageSaysHowToGoOn(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) {
		c.Home, c.Service, c.Organisation, c.Apps[0].Prefix = "/epr/start", "Gateway", "Example Hospital", "/epr/"
	})
	page := w.do("GET", "/elsewhere", "", header("Accept", "text/html"))
	if page.status != http.StatusNotFound {
		t.Fatalf("got %d", page.status)
	}
	for _, want := range []string{`href="/epr/start"`, "Nothing here – Gateway", "Example Hospital", "<dt>Time</dt>", page.header.Get("Matron-Request")} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
