package table

import (
	"strconv"
	"strings"

	"github.com/matron-epr/matron/audit"
)

// Witness takes in an access that the gateway has seen itself, as
// clickhouse.Store.Witnessed has it. Its id is its place in the journal.
func (t *Table) Witness(r *audit.Record) {
	a := audit.Imported{
		ID: r.Source + "-" + strconv.FormatUint(r.Seq, 10), Source: r.Source, App: r.App, Time: r.Time, Person: r.Person, Patient: r.Patient,
		Device: r.Device, Session: r.Session, Action: r.Action, Screen: r.Screen, Area: r.Area, IP: r.ClientIP, Deliberate: r.Deliberate,
		BreakGlass: strings.HasPrefix(r.Basis, audit.BasisBreakGlass),
	}
	if len(r.Roles) > 0 {
		a.Role = r.Roles[0]
	}
	switch {
	case r.Effect == "deny" || r.Effect == "challenge":
		a.Outcome = "denied"
	case r.Outcome != "" && r.Outcome != audit.Success:
		a.Outcome = "failed"
	}
	if a.Patient != "" && (a.Action == "search" || a.Action == "list") {
		if r.PatientSource == audit.SourceResponse {
			a.Deliberate = "false" // named in a list, not opened
		} else {
			a.Action = "read" // of one patient, whom the request names
		}
	}
	t.Add(&a)
}
