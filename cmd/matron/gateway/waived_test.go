package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// TestGW20EachDayIsReportedByRouteAndRole: the log says what would have been
// refused on that day, from the journal where there is no index, and names nobody.
// hazard:GW-20 control:C-80
func TestGW20EachDayIsReportedByRouteAndRole(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 6, 1, 0, 0, 0, 0, london)
	c := config.Defaults()
	c.DataDir, c.Site, c.Source = t.TempDir(), "RZZ", "gw1"
	if err := journal.Create(journalConfig(c)); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journalConfig(c))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	for i, at := range []time.Time{day.AddDate(0, 0, -3), day.Add(-time.Second), day, day.Add(24*time.Hour - time.Second), day.Add(24 * time.Hour), day.AddDate(0, 0, 3)} {
		_, err := j.Append(t.Context(), &audit.Record{
			Kind: audit.KindDecision, Site: "RZZ", Time: at.UTC(), App: "fhir", Mode: "observe", Route: []string{"read", "read", "search", "search", "read", "read"}[i],
			Target: "/Patient/4711", Patient: "4711", Person: "S0007", UserName: "Ann Nurse", Roles: []string{"nurse"}, WouldDeny: true, Reasons: []string{"role-not-permitted"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	g := &Gateway{cfg: c, office: &backOffice{now: time.Now}, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := g.reportDay(t.Context(), day); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`msg="not enforced" day=2026-06-01 application=fhir requests=2 would_have_been_refused=2 people=1 unmapped=0 unmapped_routes=0`,
		`msg="would have been refused" day=2026-06-01 application=fhir mode=observe route=search role=nurse reason=role-not-permitted requests=2 people=1`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in the log:\n%s", want, log.String())
		}
	}
	for _, not := range []string{"4711", "S0007", "Ann", "route=read"} {
		if strings.Contains(log.String(), not) {
			t.Errorf("%s is in the log:\n%s", not, log.String())
		}
	}
}

// TestDayBeforeIsADayOfTheHospital: on the days of 23 and 25 hours too.
// hazard:GW-14 control:C-59
func TestDayBeforeIsADayOfTheHospital(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ at, want string }{
		{"2026-03-30T00:05:00+01:00", "2026-03-29T00:00:00Z"},
		{"2026-03-29T23:30:00Z", "2026-03-29T00:00:00Z"}, // half past midnight in London
		{"2026-10-26T00:05:00Z", "2026-10-25T00:00:00+01:00"},
		{"2026-01-01T12:00:00Z", "2025-12-31T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, row.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := dayBefore(at, london).Format(time.RFC3339); got != row.want {
			t.Errorf("%s: %s, want %s", row.at, got, row.want)
		}
	}
}
