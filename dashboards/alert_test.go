package dashboards_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/policy"
)

func (b *bench) judgeAlert(t *testing.T, id string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/.matron/alerts/"+id, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, r)
}

// An alert shows what speaks for and against it, what it rests on, and whom it is
// recorded against; no number of a patient stands there in full.
func TestAlertShowsBothSidesAndEvidence(t *testing.T) {
	b := newBench()
	body := b.get(t, "/.matron/alerts/A-2").Body.String()
	for _, want := range []string{
		"Viewed 94 records in an hour.", "On call for the whole hospital", "Possible", "1 in 2,500<", "12 in 100<", "Not compared",
		"Asked for the rota of that night.", "11:02:11", "41 more accesses", "4 patients: ", "Accesses that it rests on",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "H00448") {
		t.Error("a number of a patient stands on the page in full")
	}
	records := b.journal.Records()
	if r := records[len(records)-1]; r.Screen != "alert" || !slices.Contains(r.Detail, "alert=A-2") || !slices.Contains(r.Detail, "person=S1005") {
		t.Errorf("recorded as %+v", r)
	}
	if body := b.get(t, "/.matron/alerts/A-1").Body.String(); !strings.Contains(body, "Nothing was found in what the hospital has told") {
		t.Error("an alert that nothing explains does not say so")
	}
	if w := b.get(t, "/.matron/alerts/none"); w.Code != http.StatusNotFound {
		t.Errorf("no such alert: %d", w.Code)
	}
}

// Live alerts and the cases of the last run stand apart, each with its way in.
func TestAlertsAndCasesAreListed(t *testing.T) {
	body := newBench().get(t, "/.matron/alerts").Body.String()
	for _, id := range []string{"A-1", "A-2", "A-3", "C-1"} {
		if strings.Count(body, `href="/.matron/alerts/`+id+`"`) != 1 {
			t.Errorf("%s is not listed once", id)
		}
	}
	live, cases := strings.Index(body, "Found while the gateway runs"), strings.Index(body, "Found by the last run")
	if c := strings.Index(body, "alerts/C-1"); live < 0 || cases < live || c < cases {
		t.Errorf("live at %d, cases at %d, C-1 at %d", live, cases, c)
	}
}

// What is made of an alert needs a reason and is recorded before it is noted; nobody
// judges their own.
func TestAlertIsJudgedWithAReason(t *testing.T) {
	good := url.Values{"verdict": {"justified"}, "note": {"Seen on the paper rota."}}
	b := newBench()
	for name, form := range map[string]url.Values{
		"nothing": {}, "no reason": {"verdict": {"justified"}}, "no verdict": {"note": {"x"}}, "unknown": {"verdict": {"guilty"}, "note": {"x"}},
		"too long": {"verdict": {"justified"}, "note": {strings.Repeat("x", 501)}},
	} {
		if w := b.judgeAlert(t, "A-1", form); w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), "There is a problem") {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if len(b.reader.Judged) != 0 {
		t.Fatalf("noted: %v", b.reader.Judged)
	}
	if w := b.judgeAlert(t, "A-1", good); w.Code != http.StatusSeeOther || !slices.Equal(b.reader.Judged, []string{"S9001 A-1 justified Seen on the paper rota."}) {
		t.Errorf("%d, noted %v", w.Code, b.reader.Judged)
	}
	records := b.journal.Records()
	if r := records[len(records)-1]; r.Action != "update" || !slices.Contains(r.Detail, "disposition=justified") || !slices.Contains(r.Detail, "note=Seen on the paper rota.") {
		t.Errorf("recorded as %+v", r)
	}
	for name, change := range map[string]func(*bench){
		"own": func(b *bench) { b.subject.Person = "S1004" },
		"role": func(b *bench) {
			b.cfg.May = func(_ policy.Subject, _ policy.Area, a policy.Action) bool { return a == policy.Read }
		},
		"no record": func(b *bench) { b.journal.Err = errors.New("disk full") },
	} {
		b := newBench()
		change(b)
		if w := b.judgeAlert(t, "A-1", good); w.Code != http.StatusForbidden && w.Code != http.StatusServiceUnavailable || len(b.reader.Judged) != 0 {
			t.Errorf("%s: %d, noted %v", name, w.Code, b.reader.Judged)
		}
	}
	crowd := newBench()
	crowd.subject.Person = fake.Nurse
	if w := crowd.judgeAlert(t, "C-1", good); w.Code != http.StatusForbidden {
		t.Errorf("one of several judges: %d", w.Code)
	}
}
