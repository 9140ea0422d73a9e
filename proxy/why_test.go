package proxy_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// TestTheRecordSaysWhyNobodyCanTell: unknown patients, unmapped requests and such
// as cannot be read are recorded with the reason, in short.
// hazard:GW-08 control:C-35
func TestTheRecordSaysWhyNobodyCanTell(t *testing.T) {
	for _, row := range []struct {
		name   string
		access proxy.Access
		err    error
		status int
		want   string
	}{
		{"unknown", proxy.Access{Rule: "r", Certainty: audit.Unknown, Reason: "nobody is named"}, nil, 200, "why=nobody is named"},
		{"unmapped", proxy.Access{Reason: "no such operation"}, nil, 403, "why=no such operation"},
		{"malformed", proxy.Access{}, errors.New("a member twice"), 400, "why=a member twice"},
		{"long", proxy.Access{Reason: strings.Repeat("\u00e4", 200)}, nil, 403, "why=" + strings.Repeat("\u00e4", 80)},
		{"long and odd", proxy.Access{Reason: "x" + strings.Repeat("\u00e4", 200)}, nil, 403, "why=x" + strings.Repeat("\u00e4", 79)},
		{"certain", proxy.Access{Rule: "r", Certainty: audit.None}, nil, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := build(t, say("ok"), func(c *proxy.Config) {
				c.Apps[0].Map = testMap{classify: func(*http.Request, func() ([]byte, error)) (proxy.Access, error) {
					return row.access, row.err
				}}
			})
			if a := w.do("GET", "/x", ""); a.status != row.status {
				t.Errorf("got %d, want %d", a.status, row.status)
			}
			w.log.waitOutcome()
			if d := w.log.kinds(audit.KindDecision); len(d) != 1 || strings.Join(d[0].Detail, ";") != row.want {
				t.Errorf("decisions %+v, want %q", d, row.want)
			}
		})
	}
}
