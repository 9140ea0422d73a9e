package dashboards_test

import (
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/dashboards/internal/fake"
)

// limited is a gateway in a major incident, where people are over their budgets.
func limited() dashboards.Limits {
	return dashboards.Limits{
		Lifted: []dashboards.Lifting{{Reason: "coach crash", By: "ann", Since: fake.Now(), Until: time.Date(2026, 11, 5, 9, 30, 0, 0, time.UTC)}},
		Over: []dashboards.OverBudget{
			{Name: "Jo Bell", Sub: "u-1", Roles: []string{"ward-clerk"}, Patients: 214, Of: 100},
			{Sub: "u-2", Listed: true, Shift: true, Patients: 6001, Of: 6000},
		},
		Expiring: []dashboards.Expiry{{Name: "A&E board", At: fake.Now().Add(48 * time.Hour)}},
	}
}

// TestLiveShowsWhoIsOverABudget by name, without any patient, and says that care goes
// on. Without anybody there is no table.
func TestLiveShowsWhoIsOverABudget(t *testing.T) {
	b := newBench()
	if body := b.get(t, "/.matron/live").Body.String(); strings.Contains(body, "over-budget") {
		t.Error("a table of nobody")
	}
	b.health.Limits = limited()
	body := b.get(t, "/.matron/live").Body.String()
	for _, want := range []string{
		"Jo Bell", "214 patients in an hour", "u-2", "6,001 patients in a shift in lists", "Nothing: limits are lifted.",
		"Lifted for a major incident until 5 November 2026, 09:30, 2 budgets of patients used up",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	b.health.Limits.Lifted = nil
	b.health.Limits.Over = append(b.health.Limits.Over, dashboards.OverBudget{Sub: "board", Machine: true, Patients: 9, Of: 8})
	body = b.get(t, "/.matron/live").Body.String()
	for _, want := range []string{
		"Care goes on, slowed. Exports and other searches are refused.", "Care goes on, slowed. Exports and searches are refused.",
		"All that this machine client asks is refused.", "In force, 3 budgets",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
}

// hazard:GW-25 control:C-198
func TestMajorIncidentIsSaidOnEveryPage(t *testing.T) {
	b := newBench()
	b.health.Limits = limited()
	for _, path := range []string{"/.matron/", "/.matron/live", "/.matron/health", "/.matron/modes", "/.matron/alerts"} {
		if body := b.get(t, path).Body.String(); !strings.Contains(body, "Major incident: limits are lifted for people until 5 November 2026, 09:30.") {
			t.Errorf("%s does not say so", path)
		}
	}
}
