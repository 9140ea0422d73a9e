package proxy_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
	"github.com/matron-epr/matron/proxy/appmap/learn"
)

// TestWhatIsObservedBecomesAMap: requests that no map describes go on in observe
// mode; the map that is learned from their records and filled in describes them.
func TestWhatIsObservedBecomesAMap(t *testing.T) {
	asked := []struct{ method, path, body, patient string }{
		{"GET", "/patients/70041/notes", "", "70041"},
		{"GET", "/patients/70042/notes?page=2", "", "70042"},
		{"POST", "/results", `{"patient":"70043"}`, "70043"},
		{"GET", "/lookup?nhs_number=9990000018", "", "9990000018"},
		{"GET", "/Smith/photo", "", "70044"},
	}
	generic, err := appmap.Builtin("generic")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(w *world) []audit.Record {
		for _, q := range asked {
			if a := w.do(q.method, q.path, q.body, header("Content-Type", "application/json; charset=utf-8")); a.status != http.StatusOK {
				t.Errorf("%s %s: %d %s", q.method, q.path, a.status, a.body)
			}
			w.log.waitOutcome()
		}
		return w.log.kinds(audit.KindDecision)
	}
	app := func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"patient":"70044"}`))
	}
	w := build(t, app, func(c *proxy.Config) { c.Apps[0].Map, c.Apps[0].Mode = generic, proxy.Observe })
	tally := learn.New(audit.WaivedQuery{App: "epr"}, "")
	for _, r := range ask(w) {
		if r.Route != "" || !r.WouldDeny || r.Certainty != audit.Unknown {
			t.Errorf("%s %s: %+v", r.Method, r.Target, r)
		}
		tally.AddRecord(&r)
	}
	for _, r := range w.log.kinds(audit.KindOutcome) {
		tally.AddRecord(&r)
	}
	proposal := tally.Proposal()
	var draft bytes.Buffer
	if err := proposal.WriteYAML(&draft, time.UTC); err != nil {
		t.Fatal(err)
	}
	for _, not := range []string{"Smith", "9990000018", "70041", "70043"} {
		if strings.Contains(draft.String(), not) {
			t.Errorf("%s is in\n%s", not, draft.String())
		}
	}
	if !strings.Contains(draft.String(), "bodies: application/json 1") || !strings.Contains(draft.String(), "answered 2xx 2") {
		t.Errorf("what was recorded is not in\n%s", draft.String())
	}
	filled := strings.ReplaceAll(draft.String(), "area: TODO", "area: notes")
	filled = strings.ReplaceAll(filled, "value: TODO", `value: "json:/patient"`)
	learned, err := appmap.Parse("learned.yaml", []byte(filled))
	if err != nil {
		t.Fatalf("%v\n%s", err, filled)
	}

	w = build(t, app, func(c *proxy.Config) { c.Apps[0].Map = learned })
	decisions := ask(w)
	for i, r := range decisions {
		if r.Route == "" || r.Area != "notes" || r.Mode != "enforce" {
			t.Errorf("%s is not mapped: %+v", asked[i].path, r)
		}
		if r.Patient != asked[i].patient && r.NHSNumber != asked[i].patient && asked[i].patient != "70044" {
			t.Errorf("%s: patient %s %s", asked[i].path, r.Patient, r.NHSNumber)
		}
	}
	if named := w.log.kinds(audit.KindPatient); len(named) != 1 || named[0].Patient != "70044" {
		t.Errorf("whom the answer names: %+v", named)
	}
}

// TestKindOfBodyIsNotWhatAClientMadeUp: the record of an unmapped request has a
// media type that forms and interfaces use, and nothing else.
func TestKindOfBodyIsNotWhatAClientMadeUp(t *testing.T) {
	generic, err := appmap.Builtin("generic")
	if err != nil {
		t.Fatal(err)
	}
	w := build(t, nil, func(c *proxy.Config) { c.Apps[0].Map, c.Apps[0].Mode = generic, proxy.Observe })
	for kind, want := range map[string]string{
		"Application/JSON; note=Smith": "content=application/json",
		"application/smith":            "",
		"text/xml;charset=utf-8":       "content=text/xml",
	} {
		before := len(w.log.kinds(audit.KindDecision))
		w.do("POST", "/notes", "x", header("Content-Type", kind))
		w.log.waitOutcome()
		if got := strings.Join(w.log.kinds(audit.KindDecision)[before].Detail, " "); got != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
}
