package proxy_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap"
)

// changesOnly lets everybody change and nobody read what names p2.
func changesOnly(q policy.Request) policy.Decision {
	if !q.Action.Writes() && slices.Contains(q.Patients, "p2") {
		return challengeAll(q)
	}
	return allowAll(q)
}

// answering is an application that answers every request in this way.
func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/fhir+json")
		h.Set("Location", "/Observation/o1/_history/2")
		h.Set("Etag", `W/"2"`)
		h.Set("X-Secret", "marker-p2")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// saves sends a change through the FHIR map and waits for its records.
func saves(t *testing.T, app http.HandlerFunc, method, path, body string, changes ...with) (*world, answer, audit.Record) {
	t.Helper()
	m, err := appmap.Builtin("fhir-r4")
	if err != nil {
		t.Fatal(err)
	}
	w := build(t, app, func(c *proxy.Config) {
		c.Apps[0].Map, c.Apps[0].Prefix, c.Apps[0].StripPrefix = m, "/fhir", true
		c.Decider = deciderFunc(changesOnly)
	})
	a := w.do(method, path, body, append([]with{fhirBody, header("Prefer", "return=representation")}, changes...)...)
	return w, a, w.log.waitOutcome()
}

// TestAnswerToAChangeIsDecidedAsARead: whoever may change a record and not read it is
// told that it was saved, and not shown it.
func TestAnswerToAChangeIsDecidedAsARead(t *testing.T) {
	const patch = `[{"op":"replace","path":"/status","value":"final"}]`
	asPatch := header("Content-Type", "application/json-patch+json")
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		answer                   string
		shown                    bool
		change                   with
	}{
		{"put", "PUT", "/fhir/Observation/o1", observation("o1", "p2"), 200, observation("o1", "p2"), false, nil},
		{"post", "POST", "/fhir/Observation", observation("", "p2"), 201, observation("o1", "p2"), false, nil},
		{"patch of whom only the answer names", "PATCH", "/fhir/Observation/o1", patch, 200, observation("o1", "p2"), false, asPatch},
		{"patch of a patient", "PATCH", "/fhir/Patient/p2", patch, 200, `{"resourceType":"Patient","id":"p2","note":"marker-p2"}`, false, asPatch},
		{"whom they may read", "PUT", "/fhir/Observation/o1", observation("o1", "p1"), 200, observation("o1", "p1"), true, nil},
		{"nothing but how it went", "PATCH", "/fhir/Observation/o1", patch, 200, `{"resourceType":"OperationOutcome"}`, true, asPatch},
		{"nothing", "PUT", "/fhir/Observation/o1", observation("o1", "p2"), 200, "", true, nil},
		{"somebody entered just now", "POST", "/fhir/Patient", `{"resourceType":"Patient"}`, 201, `{"resourceType":"Patient","id":"p2"}`, true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			body := strings.Replace(row.body, `"id":"",`, "", 1)
			changes := []with{}
			if row.change != nil {
				changes = append(changes, row.change)
			}
			w, a, outcome := saves(t, answering(row.status, row.answer), row.method, row.path, body, changes...)
			if a.status != row.status || a.header.Get("Etag") != `W/"2"` || !strings.HasPrefix(a.header.Get("Location"), "/fhir/Observation/o1") {
				t.Errorf("got %d %v %s", a.status, a.header, a.body)
			}
			if row.shown {
				if a.body != row.answer || outcome.Error != "" {
					t.Errorf("got %q, %s", a.body, outcome.Error)
				}
				return
			}
			var o struct {
				ResourceType string
				Issue        []struct {
					Severity, Code string
					Details        struct{ Text string }
				}
			}
			if err := json.Unmarshal([]byte(a.body), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 2 ||
				o.Issue[0].Severity != "warning" || o.Issue[0].Code != "suppressed" ||
				!strings.HasPrefix(o.Issue[0].Details.Text, "Your change was saved; the record itself is not shown.") {
				t.Errorf("%v in %s", err, a.body)
			}
			if strings.Contains(a.body, "marker") || a.header.Get("X-Secret") != "" {
				t.Errorf("shows something: %v %s", a.header, a.body)
			}
			if outcome.Error != "saved-not-shown" || outcome.Outcome != audit.Success || outcome.Status != uint64(row.status) {
				t.Errorf("outcome %s %v %d", outcome.Error, outcome.Outcome, outcome.Status)
			}
			d, p := w.log.kinds(audit.KindDecision)[0], w.log.kinds(audit.KindPatient)
			if d.Effect != "allow" || len(p) != 1 || p[0].Patient != "p2" || p[0].Effect != "challenge" || p[0].Action != "read" || !slices.Equal(p[0].Reasons, []string{"no-relationship"}) {
				t.Errorf("recorded %s, and of the patient %+v", d.Effect, p)
			}
		})
	}
}

// The same in the page that a person gets, and where nothing is enforced.
func TestPageAfterASaveThatIsNotShown(t *testing.T) {
	w := build(t, say("marker-p2"), func(c *proxy.Config) { c.Decider = deciderFunc(changesOnly) })
	a := w.do("POST", "/patient/p2", "x=y", navigate)
	if a.status != 200 || a.tells("marker") || !strings.Contains(a.body, "<h1>Saved, but not shown</h1>") || !strings.Contains(a.body, "You do not look after this patient.") || strings.Contains(a.body, "not known whether") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a = w.do("POST", "/patient/p2", "x=y"); a.status != 200 || !strings.Contains(a.body, `"outcome":"saved"`) || !strings.Contains(a.body, `"effect":"challenge"`) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	observed := build(t, say("marker-p2"), func(c *proxy.Config) { c.Decider, c.Apps[0].Mode = deciderFunc(changesOnly), proxy.Observe })
	if a := observed.do("POST", "/patient/p2", "x=y"); a.body != "marker-p2" {
		t.Errorf("observed: got %d %s", a.status, a.body)
	}
	observed.log.waitOutcome()
	if p := observed.log.kinds(audit.KindPatient); len(p) != 1 || !p[0].WouldDeny || !slices.Equal(p[0].Reasons, []string{"no-relationship"}) {
		t.Errorf("observed: recorded %+v", p)
	}
}

// What a redirection leads to is decided by itself; what else it says is dropped. A
// change that failed is not said to be saved.
func TestAnswersThatAreNoSave(t *testing.T) {
	w := build(t, answering(303, "marker-p2"), func(c *proxy.Config) { c.Decider = deciderFunc(changesOnly) })
	if a := w.do("POST", "/patient/p2", "x=y", navigate); a.status != 303 || a.body != "" || a.header.Get("Location") == "" {
		t.Errorf("redirected: got %d %v %q", a.status, a.header, a.body)
	}
	w.setApp(answering(409, "marker-p2"))
	if a := w.do("POST", "/patient/p2", "x=y", navigate); a.status != 403 || a.tells("marker") || strings.Contains(a.body, "was saved;") {
		t.Errorf("failed: got %d %s", a.status, a.body)
	}
	_, a, _ := saves(t, answering(200, observation("o1", "p2")), "POST", "/fhir/Observation", strings.Replace(observation("", "p2"), `"id":"",`, "", 1), header("If-None-Exist", "patient=p2&code=x"))
	if a.status != 403 || strings.Contains(a.body, "marker") || strings.Contains(a.body, "was saved") || a.header.Get("Etag") != "" {
		t.Errorf("was there already: got %d %v %s", a.status, a.header, a.body)
	}
}

// An entry of a batch that was saved keeps what the application says of it, and shows
// nothing.
func TestEntryOfABatchThatIsSavedAndNotShown(t *testing.T) {
	const response = `{"status":"200 OK", "etag":"W/\"2\"","location":"Observation/o1/_history/2"}`
	put := `{"resource":` + observation("o1", "p2") + `,"request":{"method":"PUT","url":"Observation/o1"}}`
	said := `{"resourceType":"Bundle","type":"batch-response","entry":[{"resource":` + observation("o1", "p2") + `,"response":` + response + `}]}`
	_, a, _ := saves(t, answering(200, said), "POST", "/fhir", batchOf(put))
	var b struct {
		Entry []struct {
			Resource struct{ ResourceType string }
			Response json.RawMessage
		}
	}
	if err := json.Unmarshal([]byte(a.body), &b); err != nil || a.status != 200 || len(b.Entry) != 1 || b.Entry[0].Resource.ResourceType != "OperationOutcome" || strings.Contains(a.body, "marker") {
		t.Fatalf("%v, got %d %s", err, a.status, a.body)
	}
	if got := string(b.Entry[0].Response); strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(response), "") {
		t.Errorf("says %s", got)
	}
}

// A change keeps its conditions although its answer is read: without them it would
// overwrite what it was not to.
func TestHeldChangeKeepsItsConditions(t *testing.T) {
	w, _, _ := saves(t, answering(412, ""), "PATCH", "/fhir/Patient/p1", `[{"op":"replace","path":"/active","value":true}]`,
		header("Content-Type", "application/json-patch+json"), header("If-None-Match", "*"))
	if got := w.lastHit().Header.Get("If-None-Match"); got != "*" {
		t.Errorf("forwarded with If-None-Match %q", got)
	}
}
