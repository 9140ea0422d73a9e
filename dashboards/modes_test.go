package dashboards_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
	"github.com/matron-epr/matron/policy"
)

// modesPage reads the main part of the page as somebody hears it.
func modesPage(t *testing.T, b *bench, query string) string {
	t.Helper()
	w := b.get(t, "/.matron/modes"+query)
	doc, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %v", w.Code, err)
	}
	for n := range doc.Descendants() {
		if n.Data == "main" {
			return words(n)
		}
	}
	t.Fatal("no main part")
	return ""
}

// TestGW20ModesPageCountsByRouteAndRole: what would have been refused, what stands
// against enforcing, who put decisions aside, and no patient and nobody else.
// hazard:GW-19 control:C-79
// hazard:GW-20 control:C-81
func TestGW20ModesPageCountsByRouteAndRole(t *testing.T) {
	b := newBench()
	b.health, b.cfg.Accesses = fake.Observed(), fake.Waiving()
	page := modesPage(t, b, "")
	for _, want := range []string{
		"Bypassed for fhir: nothing is refused",
		"Application fhir Mode Bypass What that means What the rules refuse is recorded and goes on, until 3 November 2026, 14:42. Reason: charts do not open Asked for by ann, approved by bob",
		"Application ui Mode Observe What that means What the rules refuse is recorded and goes on.",
		"10 requests on 1 route that the map does not know: add to the map what is care",
		"Application ui Mode Observe Route notes Role Ward clerk Why Role not permitted Requests 20 People 1",
		"Application ui Mode Observe Route Not in the map Role Nurse Why Unmapped route Requests 10 People 1",
		"Application fhir Mode Bypass Route fhir-read Role Nurse Why No relationship Requests 1 People 1",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page: %s", want, page)
		}
	}
	for _, not := range []string{fake.Patient, fake.Nurse, "Nightshift"} {
		if strings.Contains(page, not) {
			t.Errorf("%s is on the page", not)
		}
	}
	if today := modesPage(t, b, "?days=1"); strings.Contains(today, "10 requests on") || !strings.Contains(today, "2 requests on 1 route ") {
		t.Errorf("today: %s", today)
	}
	if other := modesPage(t, b, "?days=9999"); other != page {
		t.Errorf("a period of somebody's own: %s", other)
	}
}

// TestModesPageSaysWhatIsNotKnown: nothing counted is not nought.
func TestModesPageSaysWhatIsNotKnown(t *testing.T) {
	b := newBench()
	if page := modesPage(t, b, ""); !strings.Contains(page, "Requests that would have been refused: 0.") || !strings.Contains(page, "fhir Mode Enforce What that means What the rules refuse is refused.") {
		t.Errorf("enforced: %s", page)
	}
	b.health.Mode, b.health.Modes = "observe", []dashboards.AppMode{{App: "fhir", Mode: "observe"}}
	if page := modesPage(t, b, ""); !strings.Contains(page, "nothing was observed in this time") {
		t.Errorf("nothing observed: %s", page)
	}
	b.health.Index = dashboards.StateFailed
	if page := modesPage(t, b, ""); !strings.Contains(page, "Requests that would have been refused: Unknown.") {
		t.Errorf("index down: %s", page)
	}
	b.reader.Err = errors.New("no answer")
	if page := modesPage(t, b, ""); !strings.Contains(page, "it is unknown, not nought") {
		t.Errorf("no answer: %s", page)
	}
	b.cfg.May = func(_ policy.Subject, area policy.Area, _ policy.Action) bool { return area != policy.Live }
	if w := b.get(t, "/.matron/modes"); w.Code != 403 {
		t.Errorf("without permission: %d", w.Code)
	}
}
