package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/proxy/breakglass"
)

// glassGateway answers the probe as a gateway does; while busy nothing is let through.
type glassGateway struct{ open, busy bool }

func (g *glassGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == breakglass.Path && g.open:
		_, _ = w.Write([]byte(`<input name="grant" value="BG-1">`))
	case r.URL.Path == breakglass.Path+"/end":
		g.open = false
	case strings.HasPrefix(r.URL.Path, breakglass.Path+"/"):
		g.open = true
		w.WriteHeader(http.StatusSeeOther)
	case r.URL.Path == breakglass.Path:
	case !g.open:
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<form action="` + breakglass.Path + `/abc">`))
	case g.busy:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.Header().Set("Matron-Break-Glass-Until", "2026-11-27T01:00:00Z")
	}
}

// A trial that broke off leaves emergency access open; the next one is not misled by it.
func TestProbeAfterATrialThatBrokeOff(t *testing.T) {
	g := &glassGateway{busy: true}
	p := &probe{path: "/epr/probe", host: "matron.test", gateway: g}
	if step, err := p.try(t.Context()); err == nil || step != "let through" || !g.open {
		t.Fatalf("%s: %v", step, err)
	}
	g.busy = false
	if step, err := p.try(t.Context()); err != nil || g.open {
		t.Errorf("%s: %v", step, err)
	}
}
