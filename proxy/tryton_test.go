package proxy_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

func gnuhealth(t *testing.T) *appmap.Map {
	t.Helper()
	m, err := appmap.Builtin("gnuhealth")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func inGzip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.String()
}

const readPatient41 = `{"id":7,"method":"model.gnuhealth.patient.read","params":[[41],["puid"],{}]}`

// TestTrytonRefusalIsAnErrorThatItsClientsShow: with status 200 and the number of
// the call, without which they take it for a broken connection.
// hazard:GW-30 control:C-225
func TestTrytonRefusalIsAnErrorThatItsClientsShow(t *testing.T) {
	w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Map, c.Decider = gnuhealth(t), deciderFunc(denyAll) })
	a := w.do("POST", "/hospital/", readPatient41, header("Content-Type", "application/json"))
	var got struct {
		ID    int
		Error []any
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	text, _ := got.Error[1].([]any)
	if got.ID != 7 || got.Error[0] != "UserError" || len(text) != 3 || !strings.Contains(text[1].(string), "Your role may not read results.") {
		t.Errorf("%s", a.body)
	}
	if len(w.hits) != 0 {
		t.Error("the call reached the application")
	}
	a = w.do("POST", "/hospital/", strings.Replace(readPatient41, `"id":7,`, "", 1), header("Content-Type", "application/json"))
	if a.status != http.StatusForbidden || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a call without a number: %d %s", a.status, a.body)
	}
	for _, call := range []string{
		strings.Replace(readPatient41, "patient.read", "patient.discharge", 1), // unmapped
		strings.Replace(readPatient41, "[41]", `["41"]`, 1),                    // malformed
	} {
		a = w.do("POST", "/hospital/", call, header("Content-Type", "application/json"))
		if a.status != http.StatusOK || !strings.HasPrefix(a.body, `{"id":7,"error":["UserError",`) {
			t.Errorf("%s: %d %s", call, a.status, a.body)
		}
	}
	a = w.do("POST", "/hospital/", `[1]`, header("Content-Type", "application/json"))
	if a.status != http.StatusBadRequest {
		t.Errorf("no call: %d %s", a.status, a.body)
	}
}

// TestBodiesInGzipAreReadAndForwardedAsTheyAre, by a map that says so and no other.
// hazard:GW-15 control:C-60
func TestBodiesInGzipAreReadAndForwardedAsTheyAre(t *testing.T) {
	body := inGzip(t, readPatient41)
	w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Map = gnuhealth(t) })
	ask := func(body string) answer {
		return w.do("POST", "/hospital/", body, header("Content-Type", "application/json"), header("Content-Encoding", "gzip"))
	}
	if a := ask(body); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	d := w.log.kinds(audit.KindDecision)
	if len(d) != 1 || d[0].Patient != "41" || w.bodies[0] != body || w.hits[0].Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%+v, forwarded %q", d, w.bodies)
	}
	for name, body := range map[string]string{
		"not in gzip":      readPatient41,
		"two members":      body + inGzip(t, " "),
		"something after":  body + "x",
		"broken off":       body[:len(body)-9],
		"too long":         inGzip(t, readPatient41+strings.Repeat(" ", 9<<20)),
		"another encoding": "",
	} {
		a := ask(body)
		if name == "another encoding" {
			a = w.do("POST", "/hospital/", readPatient41, header("Content-Type", "application/json"), header("Content-Encoding", "br"))
		}
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if len(w.hits) != 1 {
		t.Errorf("%d requests reached the application", len(w.hits))
	}
}

// TestOnlyTheApplicationsOwnSchemeIsForwarded: what proves to the gateway who asks
// never reaches an application.
func TestOnlyTheApplicationsOwnSchemeIsForwarded(t *testing.T) {
	for _, row := range []struct{ scheme, sent, want string }{
		{"", "Session abc", ""},
		{"Session", "Session abc", "Session abc"},
		{"Session", "session abc", "session abc"},
		{"Session", "Basic abc", ""},
		{"Session", "Bearer ada", ""},
		{"Bearer", "Bearer ada", ""},
	} {
		w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Authorization = row.scheme })
		if a := w.do("GET", "/patient/1", "", header("Authorization", row.sent)); a.status != http.StatusOK {
			t.Errorf("%+v: %d", row, a.status)
			continue
		}
		if got := w.hits[0].Header.Get("Authorization"); got != row.want {
			t.Errorf("%+v: %q", row, got)
		}
	}
}
