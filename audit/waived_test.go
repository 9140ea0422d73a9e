package audit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// hazard:GW-20 control:C-80
// hazard:GW-20 control:C-81
func TestWaivedCountsByRouteAndRole(t *testing.T) {
	day := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	tally := audit.NewWaivedTally(audit.WaivedQuery{Site: "RBA", From: day, To: day.AddDate(0, 0, 1)})
	var seq uint64
	add := func(change func(*audit.Record)) {
		seq++
		r := audit.Record{
			Kind: audit.KindDecision, Site: "RBA", App: "fhir", Mode: "observe", Time: day.Add(time.Hour), Route: "read", Method: "GET",
			Source: "gw1", Seq: seq, Target: "/Patient/4711", Patient: "4711", Person: "p1", UserName: "Ann Nurse", Roles: []string{"nurse"},
		}
		change(&r)
		tally.Add(&r)
	}
	refuse := func(r *audit.Record) { r.WouldDeny, r.Reasons = true, []string{"role-not-permitted"} }
	unmapped := func(method, target string) func(*audit.Record) {
		return func(r *audit.Record) {
			r.WouldDeny, r.Reasons, r.Route, r.Method, r.Target = true, []string{audit.ReasonUnmapped}, "", method, target
		}
	}
	add(func(*audit.Record) {})
	add(refuse)
	add(refuse)
	add(func(r *audit.Record) { refuse(r); r.Person = "p2" })
	add(func(r *audit.Record) { refuse(r); r.Roles = []string{"doctor", "tutor"}; r.Mode = "bypass" })
	add(unmapped("GET", "/Thing/1"))
	add(unmapped("GET", "/Thing/ab2c"))
	add(unmapped("PUT", "/Thing/1"))
	add(func(r *audit.Record) { refuse(r); r.App = "ui"; r.Person, r.UserSub = "", "sub" })
	// A patient of an exchange that counts already, and one whom only the response
	// shows to be somebody else's.
	add(func(r *audit.Record) { refuse(r); r.Kind, r.Decision = audit.KindPatient, 2 })
	add(func(r *audit.Record) {
		refuse(r)
		r.Kind, r.Decision, r.Reasons = audit.KindPatient, 1, []string{"patient-unknown"}
	})
	for _, not := range []func(*audit.Record){
		func(r *audit.Record) { r.Mode = "enforce" },
		func(r *audit.Record) { r.Kind = audit.KindOutcome },
		func(r *audit.Record) { r.Site = "RZZ" },
		func(r *audit.Record) { r.Time = day.Add(-time.Microsecond) },
		func(r *audit.Record) { r.Time = day.AddDate(0, 0, 1) },
	} {
		add(func(r *audit.Record) { refuse(r); not(r) })
	}
	got := tally.Waived()
	want := audit.Waived{
		Apps: []audit.WaivedApp{
			{App: "fhir", Requests: 8, Refusals: 8, People: 2, Unmapped: 3, Routes: 2},
			{App: "ui", Requests: 1, Refusals: 1, People: 1},
		},
		Rows: []audit.WaivedRow{
			{App: "fhir", Mode: "observe", Role: "nurse", Reason: "unmapped-route", Requests: 3, People: 1},
			{App: "fhir", Mode: "observe", Route: "read", Role: "nurse", Reason: "role-not-permitted", Requests: 3, People: 2},
			{App: "fhir", Mode: "bypass", Route: "read", Role: "doctor, tutor", Reason: "role-not-permitted", Requests: 1, People: 1},
			{App: "fhir", Mode: "observe", Route: "read", Role: "nurse", Reason: "patient-unknown", Requests: 1, People: 1},
			{App: "ui", Mode: "observe", Route: "read", Role: "nurse", Reason: "role-not-permitted", Requests: 1, People: 1},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, row := range got.Rows {
		if s := strings.Join([]string{row.App, row.Mode, row.Route, row.Role, row.Reason}, " "); strings.Contains(s, "4711") || strings.Contains(s, "Ann") || strings.Contains(s, "p1") {
			t.Errorf("names somebody: %s", s)
		}
	}
}
