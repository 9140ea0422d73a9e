package proxy_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// TestRefusalsInJSONAreErrorsThatTheClientsShow: where OpenMRS and openEHR put the
// message, with the status that says what happened.
// hazard:GW-30 control:C-225
func TestRefusalsInJSONAreErrorsThatTheClientsShow(t *testing.T) {
	type errors struct {
		Error   json.RawMessage
		Message string
	}
	for _, c := range []struct {
		app, path string
		message   func(errors) string
	}{
		{"openmrs", "/ws/rest/v1/patient/5946f880-b197-400b-9caa-a3c661d23041", func(e errors) string {
			var inner struct{ Message, Detail string }
			if json.Unmarshal(e.Error, &inner) != nil || inner.Detail == "" {
				return ""
			}
			return inner.Message
		}},
		{"ehrbase", "/rest/openehr/v1/ehr/7d44b88c-4199-4bad-97dc-d78268e01398", func(e errors) string { return e.Message }},
	} {
		m, err := appmap.Builtin(c.app)
		if err != nil {
			t.Fatal(err)
		}
		w := build(t, nil, func(g *proxy.Config) { g.Apps[0].Map, g.Decider = m, deciderFunc(denyAll) })
		a := w.do("GET", c.path, "", header("Accept", "application/json"))
		var got errors
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusForbidden || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %d %s %v", c.app, a.status, a.body, err)
		}
		if text := c.message(got); !strings.Contains(text, "Your role may not read results.") || !strings.Contains(text, a.header.Get("Matron-Request")) {
			t.Errorf("%s: %s", c.app, a.body)
		}
		if len(w.hits) != 0 {
			t.Errorf("%s: the request reached the application", c.app)
		}
	}
}
