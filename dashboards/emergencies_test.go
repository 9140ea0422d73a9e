package dashboards_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/policy"
)

// judge posts a verdict about an emergency access.
func (b *bench) judge(t *testing.T, id, verdict, note string) *httptest.ResponseRecorder {
	t.Helper()
	form := url.Values{"verdict": {verdict}, "note": {note}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/.matron/emergencies/"+id, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(t, r)
}

// last is the newest record.
func last(b *bench) audit.Record {
	all := b.journal.Records()
	return all[len(all)-1]
}

func newEmergencies() (*bench, *fake.Emergencies) {
	b, e := newBench(), fake.NewEmergencies()
	b.cfg.Emergencies = e
	return b, e
}

// hazard:GW-09 control:C-39
func TestEmergenciesAreListedOldestFirstWithTheClock(t *testing.T) {
	b, _ := newEmergencies()
	w := b.get(t, "/.matron/emergencies")
	body := w.Body.String()
	for _, said := range []string{
		"1 emergency access has waited too long to be looked at", "Waits too long", "Explained by care", "Needs a talk", "Not signed in again",
		"Emergencies per 1,000", "Too few to tell",
	} {
		if !strings.Contains(body, said) {
			t.Errorf("the list does not say %q", said)
		}
	}
	if strings.Index(body, "BG-OLD1") > strings.Index(body, "BG-NEW2") {
		t.Error("the oldest is not first")
	}
	if strings.Contains(body, "9990000018") || w.Code != http.StatusOK {
		t.Errorf("got %d; or the list names a patient in full", w.Code)
	}
	if r := last(b); r.Kind != audit.KindAuditViewed || r.Screen != "emergencies" {
		t.Errorf("recorded %+v", r)
	}
}

func TestEmptyListSaysSo(t *testing.T) {
	b, e := newEmergencies()
	e.Found = nil
	if body := b.get(t, "/.matron/emergencies").Body.String(); !strings.Contains(body, "Nothing waits to be looked at.") || !strings.Contains(body, "All are looked at") {
		t.Errorf("%s", body)
	}
	e.TallyErr = errors.New("no index")
	if body := b.get(t, "/.matron/emergencies").Body.String(); !strings.Contains(body, "cannot be worked out at the moment") {
		t.Errorf("%s", body)
	}
	e.Err = errors.New("no database")
	if w := b.get(t, "/.matron/emergencies"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d", w.Code)
	}
	b.cfg.Emergencies = nil
	if w := b.get(t, "/.matron/emergencies"); w.Code != http.StatusNotFound || strings.Contains(b.get(t, "/.matron/").Body.String(), "Emergencies") {
		t.Errorf("got %d", w.Code)
	}
}

// A verdict is recorded before it is noted, and names the grant.
func TestVerdictIsRecordedFirst(t *testing.T) {
	b, e := newEmergencies()
	if w := b.get(t, "/.matron/emergencies/BG-NEW2"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "What do you make of it?") {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if w := b.judge(t, "BG-NEW2", "not-justified", "No reason was found."); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/.matron/emergencies" {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{fake.Subject().Person + " BG-NEW2 not-justified No reason was found."}, e.Judged); diff != "" {
		t.Error(diff)
	}
	noted := last(b)
	if d := strings.Join(noted.Detail, " "); !strings.Contains(d, "grant=BG-NEW2 verdict=not-justified") || !strings.Contains(d, "note=No reason was found.") || noted.Action != "update" {
		t.Errorf("recorded %+v", noted)
	}
	e.Judged = nil
	b.cfg.Record = func(_ context.Context, r *audit.Record) error {
		if r.Action == "update" {
			return errors.New("full")
		}
		return nil
	}
	if w := b.judge(t, "BG-NEW2", "justified", ""); w.Code != http.StatusServiceUnavailable || len(e.Judged) != 0 {
		t.Errorf("got %d, judged %v", w.Code, e.Judged)
	}
}

func TestVerdictsAreChecked(t *testing.T) {
	for _, row := range []struct {
		name, id, verdict, note string
		status                  int
		says                    string
	}{
		{"none", "BG-NEW2", "", "x", 422, "Select what you make of it"},
		{"no such", "BG-NEW2", "guilty", "x", 422, "Select what you make of it"},
		{"without a reason", "BG-NEW2", "not-justified", " ", 422, "Say what it rests on"},
		{"too long", "BG-NEW2", "justified", strings.Repeat("x", 501), 422, "500 characters or fewer"},
		{"their own", "BG-MINE", "justified", "", 403, "You cannot open this page"},
		{"judged", "BG-DONE", "justified", "", 403, ""},
		{"no such grant", "BG-NONE", "justified", "", 404, ""},
	} {
		b, e := newEmergencies()
		if w := b.judge(t, row.id, row.verdict, row.note); w.Code != row.status || !strings.Contains(w.Body.String(), row.says) || len(e.Judged) != 0 {
			t.Errorf("%s: got %d, judged %v", row.name, w.Code, e.Judged)
		}
	}
	b, _ := newEmergencies()
	if body := b.get(t, "/.matron/emergencies/BG-MINE").Body.String(); !strings.Contains(body, "Somebody else must look at it") || strings.Contains(body, "<form") {
		t.Errorf("%s", body)
	}
	b.cfg.May = func(_ policy.Subject, _ policy.Area, a policy.Action) bool { return a == policy.Read }
	if body := b.get(t, "/.matron/emergencies/BG-NEW2").Body.String(); !strings.Contains(body, "does not include to judge it") {
		t.Errorf("%s", body)
	}
	if w := b.judge(t, "BG-NEW2", "justified", ""); w.Code != http.StatusForbidden {
		t.Errorf("who may only read: %d", w.Code)
	}
}

// Somebody who has emergency access is told so on every page.
func TestOwnEmergencyIsOnEveryPage(t *testing.T) {
	b, _ := newEmergencies()
	until := fake.Now().Truncate(time.Minute).Add(time.Hour + 59*time.Second + 999*time.Millisecond)
	b.cfg.EmergencyUntil = func(policy.Subject) []time.Time { return []time.Time{until} }
	said := "You have emergency access to a patient&#39;s record until 15:02:59" // never later than the end
	for _, path := range []string{"/.matron/", "/.matron/health", "/.matron/lookup"} {
		if body := b.get(t, path).Body.String(); !strings.Contains(body, said) {
			t.Errorf("%s does not say so", path)
		}
	}
}

func TestEmergencyGroups(t *testing.T) {
	people := []audit.PersonSummary{
		{Person: "a", Roles: []string{"doctor"}, Accesses: 1500, Denied: 100},
		{Person: "b", Roles: []string{"doctor", "nurse"}, Accesses: 600},
		{Person: "c", Roles: []string{"receptionist"}, Accesses: 9000},
	}
	ward := map[string]string{"a": "ED", "b": "W7", "c": "OPD"}
	now := fake.Now()
	found := []dashboards.Emergency{
		{Person: "a", Roles: []string{"doctor"}, Ward: "ED", Explained: now, Judged: now, Due: now.Add(time.Hour)},
		{Person: "a", Roles: []string{"doctor"}, Ward: "ED", Judged: now, Due: now.Add(-time.Hour)},
		{Person: "b", Roles: []string{"doctor", "nurse"}, Ward: "W7"},
	}
	roles, wards := dashboards.EmergencyGroups(people, found, func(p string) string { return ward[p] })
	if diff := cmp.Diff([]dashboards.EmergencyTally{
		{Group: "doctor", Accesses: 2000, Count: 3, Explained: 1, Judged: 2, InTime: 1},
		{Group: "nurse", Accesses: 600, Count: 1},
	}, roles); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]dashboards.EmergencyTally{
		{Group: "ED", Accesses: 1400, Count: 2, Explained: 1, Judged: 2, InTime: 1},
		{Group: "W7", Accesses: 600, Count: 1},
	}, wards); diff != "" {
		t.Error(diff)
	}
}
