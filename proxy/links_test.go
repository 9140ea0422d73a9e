package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// TestPagingLinksLeadThroughTheGateway: the links of a FHIR answer that lead to
// the application lead back to the gateway, and nothing else in it changes.
func TestPagingLinksLeadThroughTheGateway(t *testing.T) {
	const page = `{ "resourceType":"Bundle","type":"searchset","total":31, "link":[
{"relation":"self","url":"APP/Observation?code=x"},{"relation":"next","url":"APP\/Observation?code=x\u0026page=2"},
{"relation":"first","url":"https://elsewhere.test/fhir/Observation"},{"relation":"last","url":"?page=9"}],
"entry":[{"fullUrl":"APP/Observation/o1","resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/4711"},"note":[{"text":"APP"}]}}] }`
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	var own string
	w := build(t, func(rw http.ResponseWriter, r *http.Request) {
		own = "http://" + r.Host
		rw.Header().Set("Content-Type", "application/fhir+json")
		_, _ = io.WriteString(rw, strings.ReplaceAll(page, "APP", own))
	}, func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix = m, "/fhir", true
	})
	a := w.do("GET", "/fhir/Observation?patient=4711", "")
	want := strings.ReplaceAll(page, `"url":"APP/Observation?code=x"`, `"url":"`+w.url+`/fhir/Observation?code=x"`)
	want = strings.ReplaceAll(want, `"APP\/Observation?code=x\u0026page=2"`, `"`+w.url+`/fhir/Observation?code=x\u0026page=2"`)
	want = strings.ReplaceAll(want, "APP", own)
	if a.status != 200 || a.body != want {
		t.Errorf("got %d %s\nwant %s", a.status, a.body, want)
	}
	w.log.waitOutcome()
	if len(w.log.kinds(audit.KindPatient)) != 0 {
		t.Error("a patient whom the request names is recorded twice")
	}
	// Without a patient the total goes, and nothing else.
	a = w.do("GET", "/fhir/Observation?code=x", "")
	want = strings.NewReplacer(`{ "res`, `{"res`, `"total":31, `, ``, ",\n\"entry", `,"entry`, `}]} }]}`, `}]}}]}`, `] }`, `]}`).Replace(want)
	if a.status != 200 || a.body != want {
		t.Errorf("got %d %s\nwant %s", a.status, a.body, want)
	}
	w.log.waitOutcome()
	if p := w.log.kinds(audit.KindPatient); len(p) != 1 || p[0].Patient != "4711" {
		t.Errorf("patients %+v", p)
	}
}
