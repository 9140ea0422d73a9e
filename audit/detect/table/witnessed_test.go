package table_test

import (
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
)

// TestWitness: what a record says decides whether it counts as a look.
func TestWitness(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*audit.Record)
		counts bool
		flags  table.Flag
	}{
		"a look":                {func(*audit.Record) {}, true, 0},
		"denied":                {func(r *audit.Record) { r.Effect = "deny" }, false, table.Refused},
		"asked for more":        {func(r *audit.Record) { r.Effect = "challenge" }, false, table.Refused},
		"failed":                {func(r *audit.Record) { r.Outcome = audit.SeriousFailure }, false, table.Refused},
		"fetched by a page":     {func(r *audit.Record) { r.Deliberate = "false" }, false, table.Incidental},
		"break-glass":           {func(r *audit.Record) { r.Basis = audit.BasisBreakGlass + "7" }, true, table.BreakGlass},
		"among results":         {func(r *audit.Record) { r.Action, r.PatientSource = "search", audit.SourceResponse }, false, table.Incidental},
		"entries of one person": {func(r *audit.Record) { r.Action, r.PatientSource = "search", audit.SourceURL }, true, 0},
		"nobody named":          {func(r *audit.Record) { r.Patient = "" }, false, 0},
		"from the internet":     {func(r *audit.Record) { r.ClientIP = "::ffff:81.2.69.142" }, true, table.Outside},
		"from within":           {func(r *audit.Record) { r.ClientIP = "10.1.2.3" }, true, 0},
		"a provider's network":  {func(r *audit.Record) { r.ClientIP = "100.64.0.1" }, true, 0},
		"from a local link":     {func(r *audit.Record) { r.ClientIP = "fe80::1" }, true, 0},
		"a part by its area":    {func(r *audit.Record) { r.Screen, r.Area = "", "notes" }, true, 0},
		"a screen of an area":   {func(r *audit.Record) { r.Area = "clinical" }, true, 0},
	} {
		r := audit.Record{Source: "gw1", Seq: 7, Person: "ann", Patient: "p", Action: "read", Screen: "notes", Roles: []string{"nurse"}, Effect: "allow"}
		row.change(&r)
		got := table.New()
		got.Witness(&r)
		got.Settle()
		if got.Counts(0) != row.counts || got.Flags[0] != row.flags || got.ID(0) != "gw1-7" || got.Role(got.Person[0]) != "nurse" || got.Screen(0) != "notes" {
			t.Errorf("%s: counts %v, flags %v, %s", name, got.Counts(0), got.Flags[0], got.ID(0))
		}
	}
}
