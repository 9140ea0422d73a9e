package proxy_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// entryOf is an entry of a batch or of the answer to one.
type entryOf struct {
	Request struct{ Method, URL string } `json:"request"`
	// Resource keeps its bytes.
	Resource json.RawMessage `json:"resource"`
	Response struct {
		Status  string
		Outcome struct {
			ResourceType string
			Issue        []struct {
				Code, Diagnostics string
				Details           struct{ Text string }
			}
		}
	} `json:"response"`
}

type bundleOf struct {
	Type  string
	Total *int
	Entry []entryOf
}

func bundleIn(t *testing.T, body string) bundleOf {
	t.Helper()
	var b bundleOf
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return b
}

// observation is a result of a patient, with bytes that no encoder would choose.
func observation(id, patient string) string {
	return fmt.Sprintf(`{ "resourceType" : "Observation","id":%q, "subject":{"reference":"Patient/%s"},"valueQuantity":{"value":1.50},"note":[{"text":"marker-%s"}] }`, id, patient, patient)
}

// fhirServer answers batches entry by entry: a Patient by its id, an Observation by
// an id that ends in its patient's, and searches with one result of each patient in
// everybody.
func fhirServer(everybody ...string) http.HandlerFunc {
	one := func(method, url string) string {
		kind, id, _ := strings.Cut(url, "/")
		switch {
		case method == "POST":
			return `{"response":{"status":"201 Created","location":"Observation/new/_history/1"}}`
		case strings.Contains(url, "?"):
			return `{"resource":` + searchAnswer(everybody) + `,"response":{"status":"200 OK"}}`
		case kind == "Patient":
			return fmt.Sprintf(`{"resource":{"resourceType":"Patient","id":%q,"name":[{"text":"marker-%[1]s"}]},"response":{"status":"200"}}`, id)
		}
		return `{"resource":` + observation(id, id[strings.LastIndexByte(id, '-')+1:]) + `,"response":{"status":"200 OK"}}`
	}
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/fhir+json")
		w.Header().Set("Etag", `W/"7"`)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, searchAnswer(everybody))
			return
		}
		body, _ := r.Context().Value(bodyKey{}).(string)
		var b bundleOf
		if err := json.Unmarshal([]byte(body), &b); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var out []string
		for _, e := range b.Entry {
			out = append(out, one(e.Request.Method, e.Request.URL))
		}
		_, _ = fmt.Fprintf(w, `{"resourceType":"Bundle","type":"%s-response","entry":[%s]}`, b.Type, strings.Join(out, ", "))
	}
}

func searchAnswer(patients []string) string {
	var entries []string
	for i, p := range patients {
		entries = append(entries, fmt.Sprintf(`{"fullUrl":"http://epr/Observation/o%d","search":{"mode":"match"},"resource":%s}`, i, observation(fmt.Sprint("o", i), p)))
	}
	return fmt.Sprintf(`{"resourceType":"Bundle","type":"searchset", "total":%d,"link":[{"relation":"next","url":"?page=2"}],"entry":[%s]}`,
		len(patients), strings.Join(entries, ",\n  "))
}

// fhirWorld is a gateway before a FHIR server, with rules that refuse these patients
// and have what is refused of an answer left out.
func fhirWorld(t *testing.T, mode proxy.Mode, app http.HandlerFunc, refused ...string) *world {
	t.Helper()
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	return build(t, app, func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix, c.Apps[0].Mode = m, "/fhir", true, mode
		c.Decider = deciderFunc(func(q policy.Request) policy.Decision {
			if slices.ContainsFunc(q.Patients, func(p string) bool { return slices.Contains(refused, p) }) {
				return challengeAll(q)
			}
			d := allowAll(q)
			d.Obligations = []string{"filter"}
			return d
		})
	})
}

func batchOf(entries ...string) string {
	return `{"resourceType":"Bundle","type":"batch", "entry":[` + strings.Join(entries, ", ") + `] }`
}

func get(url string) string { return fmt.Sprintf(`{"request":{"method":"GET","url":%q}}`, url) }

func post(resource string) string {
	return `{ "fullUrl":"urn:uuid:1", "resource":` + resource + `,"request":{"method":"POST","url":"Observation","ifNoneExist":"patient=p1&code=x"}}`
}

var fhirBody = header("Content-Type", "application/fhir+json")

func TestBatchIsDecidedEntryByEntry(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer(), "p2")
	// The second entry names whom the rules refuse; of the fourth only the answer tells.
	kept := []string{post(observation("x", "p1")), get("Observation/o-p2"), get("Observation/o-p3")}
	body := batchOf(kept[0], get("Patient/p2"), kept[1], kept[2], get("Frobnicate/1"))
	a := w.do("POST", "/fhir", body, fhirBody, header("Prefer", "return=minimal"), header("If-Match", `W/"3"`))
	if a.status != 200 || strings.Contains(a.body, "marker-p2") || strings.Contains(a.body, "o-p2") {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	b := bundleIn(t, a.body)
	var got []string
	for _, e := range b.Entry {
		code := ""
		if len(e.Response.Outcome.Issue) > 0 {
			code, _, _ = strings.Cut(e.Response.Outcome.Issue[0].Diagnostics, ",")
		}
		got = append(got, strings.TrimSpace(e.Response.Status[:3]+" "+code))
	}
	if diff := cmp.Diff([]string{"201", "403 no-relationship", "403 no-relationship", "200", "403 unmapped-route"}, got); diff != "" || b.Type != "batch-response" {
		t.Errorf("%s\n%s", diff, a.body)
	}
	early, late := b.Entry[1].Response, b.Entry[2].Response
	offered, where := &early.Outcome.Issue[0].Details.Text, ""
	if *offered, where, _ = strings.Cut(*offered, " If the patient cannot wait"); !strings.Contains(where, "/.matron/emergency/p2-of-ada in a browser") {
		t.Errorf("emergency access is not offered: %q", where)
	}
	early.Outcome.Issue[0].Diagnostics, late.Outcome.Issue[0].Diagnostics = "", ""
	if diff := cmp.Diff(early, late); diff != "" || early.Outcome.Issue[0].Details.Text != "You do not look after this patient. Confirm the emergency." {
		t.Errorf("the two refusals differ, or do not say what to do: %s %+v", diff, early)
	}
	if string(b.Entry[3].Resource) != observation("o-p3", "p3") {
		t.Errorf("the shown entry has other bytes: %s", b.Entry[3].Resource)
	}
	if want := batchOf(kept...); w.bodies[0] != strings.ReplaceAll(want, "}, {", "},{") {
		t.Errorf("forwarded\n%s\nwant\n%s", w.bodies[0], want)
	}
	if hit := w.lastHit(); hit.Header.Get("Prefer") != "return=minimal" || hit.Header.Get("If-Match") != `W/"3"` || hit.ContentLength != int64(len(w.bodies[0])) {
		t.Errorf("forwarded with %v, %d bytes", hit.Header, hit.ContentLength)
	}
}

func TestEntriesOfABatchAreRecordedLikeRequestsOfTheirOwn(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer(), "p2")
	a := w.do("POST", "/fhir", batchOf(get("Patient/p1"), get("Patient/p2?_pretty=true"), get("Observation/o-p2"), get("Observation/o-p3")), fhirBody)
	for range 5 {
		w.log.waitOutcome()
	}
	type row struct{ Target, Query, Rule, Patient, Effect, Reasons string }
	var got []row
	for _, r := range w.log.all {
		if r.Kind == audit.KindDecision || r.Kind == audit.KindPatient {
			got = append(got, row{r.Method + " " + r.Target, r.Query, r.Route, r.Patient, r.Effect, strings.Join(r.Reasons, " ")})
		}
	}
	want := []row{
		{"POST /fhir", "", "fhir-transaction", "", "allow", ""},
		{"GET /fhir/Patient/p1", "", "fhir-read", "p1", "allow", ""},
		{"GET /fhir/Patient/p2", "_pretty=true", "fhir-read", "p2", "challenge", "no-relationship"},
		{"GET /fhir/Observation/o-p2", "", "fhir-read", "", "allow", ""},
		{"GET /fhir/Observation/o-p3", "", "fhir-read", "", "allow", ""},
		{"GET /fhir/Observation/o-p2", "", "fhir-read", "p2", "challenge", "no-relationship"},
		{"GET /fhir/Observation/o-p3", "", "fhir-read", "p3", "allow", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	decisions, outcomes := w.log.kinds(audit.KindDecision), w.log.kinds(audit.KindOutcome)
	statuses := map[uint64]uint64{}
	for _, r := range outcomes {
		statuses[r.Decision] = r.Status
	}
	var status []uint64
	for _, r := range decisions {
		status = append(status, statuses[r.Seq])
	}
	if !slices.Equal(status, []uint64{200, 200, 403, 403, 200}) {
		t.Errorf("outcomes %v", status)
	}
	// The reference in a refusal finds the decision about that entry.
	b := bundleIn(t, a.body)
	if d := b.Entry[1].Response.Outcome.Issue[0].Diagnostics; !strings.HasSuffix(d, decisions[2].Request) || !slices.Contains(decisions[2].Detail, "batch="+decisions[0].Request) {
		t.Errorf("refused with %s, recorded as %s %v", d, decisions[2].Request, decisions[2].Detail)
	}
	for _, r := range w.log.kinds(audit.KindPatient) {
		if i := slices.IndexFunc(decisions, func(d audit.Record) bool { return d.Seq == r.Decision }); i < 0 || decisions[i].Request != r.Request {
			t.Errorf("patient %s belongs to no decision about its entry", r.Patient)
		}
	}
}

func TestNothingOfABatchIsForwardedWhenAllIsRefused(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer(), "p1", "p2")
	a := w.do("POST", "/fhir", batchOf(get("Patient/p1"), get("Patient/p2")), fhirBody)
	b := bundleIn(t, a.body)
	if a.status != 200 || len(b.Entry) != 2 || b.Entry[0].Response.Status != "403 Forbidden" || w.forwarded() != 0 {
		t.Errorf("got %d %s, %d forwarded", a.status, a.body, w.forwarded())
	}
	if d := w.log.kinds(audit.KindDecision); len(d) != 3 || d[0].Effect != "challenge" || d[2].Patient != "p2" {
		t.Errorf("recorded %+v", d)
	}
}

func TestTransactionIsRefusedWhole(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer(), "p2")
	body := strings.Replace(batchOf(get("Patient/p1"), get("Patient/p2")), `"batch"`, `"transaction"`, 1)
	if a := w.do("POST", "/fhir", body, fhirBody); a.status != 403 || w.forwarded() != 0 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestObservedBatchGoesThroughAndIsMarkedByEntry(t *testing.T) {
	w := fhirWorld(t, proxy.Observe, fhirServer("p1", "p2"), "p2")
	body := batchOf(get("Patient/p1"), get("Patient/p2"), get("Observation/o-p2"), get("Observation?code=x"))
	a := w.do("POST", "/fhir", body, fhirBody)
	if a.status != 200 || strings.Count(a.body, "marker-p2") != 3 || w.bodies[0] != body || !strings.Contains(a.body, `"total":2`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	for range 5 {
		w.log.waitOutcome()
	}
	tally := audit.NewWaivedTally(audit.WaivedQuery{})
	for i := range w.log.all {
		tally.Add(&w.log.all[i])
	}
	if apps := tally.Waived().Apps; len(apps) != 1 || apps[0].Requests != 5 || apps[0].Refusals != 3 {
		t.Errorf("counted %+v, want 3 of 5", apps)
	}
}

func TestAnswerOfABatchIsHeldUntilItsEntriesAreRecorded(t *testing.T) {
	for _, f := range []fault{lost, persistedButReportedFailed} {
		for n, forwarded := range map[int]int{1: 0, 2: 1} {
			w := fhirWorld(t, proxy.Enforce, fhirServer())
			w.log.appendFault = func(i int, _ []*audit.Record) fault {
				if i == n {
					return f
				}
				return noFault
			}
			a := w.do("POST", "/fhir", batchOf(get("Observation/o-p1"), get("Observation/o-p2")), fhirBody)
			if a.status != 503 || strings.Contains(a.body, "marker") || w.forwarded() != forwarded {
				t.Errorf("append %d, fault %d: got %d %s, %d forwarded", n, f, a.status, a.body, w.forwarded())
			}
		}
	}
}

func TestAnswerThatDoesNotFitTheBatchIsWithheld(t *testing.T) {
	two := `{"resource":` + observation("o-p1", "p1") + `,"response":{"status":"200"}}`
	for name, said := range map[string]string{
		"two for one":     `{"resourceType":"Bundle","type":"batch-response","entry":[` + two + `,` + two + `]}`,
		"none":            `{"resourceType":"Bundle","type":"batch-response"}`,
		"no status":       `{"resourceType":"Bundle","type":"batch-response","entry":[{"response":{}}]}`,
		"no response":     `{"resourceType":"Bundle","type":"batch-response","entry":[{"resource":` + observation("o", "p1") + `}]}`,
		"another shape":   observation("o", "p1"),
		"a list as entry": `{"resourceType":"Bundle","type":"batch-response","entry":[[]]}`,
	} {
		w := fhirWorld(t, proxy.Enforce, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/fhir+json")
			_, _ = io.WriteString(rw, said)
		})
		if a := w.do("POST", "/fhir", batchOf(get("Observation/o-p1")), fhirBody); a.status != 502 || strings.Contains(a.body, "marker") {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
}

func TestBatchThatCannotBeReadSaysWhy(t *testing.T) {
	w := fhirWorld(t, proxy.Enforce, fhirServer())
	for _, row := range []struct{ name, body, says string }{
		{"no request", batchOf(`{"resource":{}}`), "an entry of the bundle says no request"},
		{"one address twice", batchOf(post(observation("x", "p1")), post(observation("y", "p1"))), "two entries of the bundle have one address"},
		{"another host", batchOf(get("https://elsewhere.test/Patient/p1")), "entry 1: the address of an entry cannot be read"},
		{"another host, no scheme", batchOf(get("//elsewhere.test/Patient/p1")), "entry 1: the address of an entry cannot be read"},
		{"dot segments", batchOf(get("Patient/p1"), get("Observation/../Patient/p1")), "entry 2: path has a dot segment"},
		{"a batch within", batchOf(get("/")), "entry 1: a bundle within a bundle"},
		{"a member twice", strings.Replace(batchOf(get("Patient/p1")), `"method":"GET"`, `"method":"GET","Method":"DELETE"`, 1), "a member is given twice"},
		{"too deep", batchOf(`{"request":{"method":"GET","url":"Patient/p1"},"x":` + strings.Repeat("[", 80) + strings.Repeat("]", 80) + `}`), "too deep or too large"},
	} {
		a := w.do("POST", "/fhir", row.body, fhirBody)
		if a.status != 400 || !strings.Contains(a.body, `"resourceType":"OperationOutcome"`) || !strings.Contains(a.body, row.says) {
			t.Errorf("%s: got %d %s", row.name, a.status, a.body)
		}
	}
	if w.forwarded() != 0 {
		t.Errorf("%d forwarded", w.forwarded())
	}
	// In a batch a reference to another entry, or to what a search finds, means nothing.
	depends := strings.Replace(observation("y", "p1"), `"note"`, `"encounter":{"reference":"urn:uuid:1"},"note"`, 1)
	asks := strings.Replace(observation("y", "p1"), "Patient/p1", "Patient?identifier=x|1", 1)
	for _, resource := range []string{depends, asks} {
		a := w.do("POST", "/fhir", batchOf(post(observation("x", "p1")), `{"resource":`+resource+`,"request":{"method":"POST","url":"Observation"}}`), fhirBody)
		if !strings.Contains(a.body, "batch-reference") && a.status != 400 {
			t.Errorf("%s: got %d %s", resource, a.status, a.body)
		}
	}
}

// hazard:GW-15 control:C-60
func TestCapabilityStatementKeepsItsBytes(t *testing.T) {
	const said = `{ "resourceType":"CapabilityStatement","fhirVersion":"4.0.1", "total":7,"rest":[ ] }`
	w := fhirWorld(t, proxy.Enforce, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/fhir+json")
		rw.Header().Set("Etag", `"9"`)
		_, _ = io.WriteString(rw, said)
	}, "p2")
	if a := w.do("GET", "/fhir/metadata", ""); a.body != said || a.header.Get("Etag") != `"9"` {
		t.Errorf("got %v %s", a.header, a.body)
	}
}

// An entry that is refused offers emergency access to its one patient as a request of
// its own does, and goes through once that is given.
func TestEmergencyAccessToThePatientOfAnEntry(t *testing.T) {
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	rules := &ungranted{refuse: challengeAll(policy.Request{})}
	w := build(t, fhirServer(), func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix, c.Decider = m, "/fhir", true, rules
	})
	body := batchOf(get("Patient/p1"), get("Patient/p2"), get("Observation?patient=p2"))
	b := bundleIn(t, w.do("POST", "/fhir", body, fhirBody).body)
	for i, patient := range []string{"p1", "p2", "p2"} {
		if text := b.Entry[i].Response.Outcome.Issue[0].Details.Text; !strings.Contains(text, "/.matron/emergency/"+patient+"-of-ada in a browser and confirm the emergency.") {
			t.Errorf("entry %d: %q", i+1, text)
		}
	}
	decisions := w.log.kinds(audit.KindDecision)
	for i, o := range w.glass.offers {
		if o.Request != decisions[i+1].Request || o.Patient.ID != decisions[i+1].Patient || o.Offer != policy.BreakGlass {
			t.Errorf("offered %+v for %s about %s", o, decisions[i+1].Request, decisions[i+1].Patient)
		}
	}
	until := time.Date(2026, 11, 27, 4, 0, 0, 0, time.UTC)
	w.glass.mu.Lock()
	w.glass.grants["p-ada p2"] = proxy.Grant{ID: "BG-1", Until: until, Purpose: "BTG"}
	w.glass.mu.Unlock()
	a := w.do("POST", "/fhir", body, fhirBody)
	b = bundleIn(t, a.body)
	if b.Entry[0].Response.Status != "403 Forbidden" || !strings.Contains(string(b.Entry[1].Resource), "marker-p2") || a.header.Get("Matron-Break-Glass-Until") != "2026-11-27T04:00:00Z" {
		t.Errorf("got %v %s", a.header, a.body)
	}
	if d := w.log.kinds(audit.KindDecision)[6]; d.Patient != "p2" || d.Basis != "break-glass:BG-1" || d.Effect != "allow" {
		t.Errorf("recorded %+v", d)
	}
}
