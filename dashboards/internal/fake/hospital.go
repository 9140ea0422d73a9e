package fake

import (
	"cmp"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// Site is the made-up hospital's code.
const Site = "RXX"

// The patients and staff of the made-up hospital.
const (
	Patient      = "9990000018" // viewed by many
	OtherPatient = "9990000026"
	Nobody       = "9990000034" // viewed by nobody
	Nurse        = "S1001"
	Reviewer     = "S9001"
)

// Now is the moment at which the made-up hospital stands still.
func Now() time.Time { return time.Date(2026, time.November, 3, 14, 2, 11, 0, time.UTC) }

// Subject is somebody with every role of the dashboards.
func Subject() policy.Subject {
	return policy.Subject{
		Issuer: "https://id.example", Sub: "u-9001", Person: Reviewer, Name: "Alex Okafor",
		Roles: []string{"privacy-officer"}, Organisation: Site, Assurance: 2,
	}
}

// Healthy is the state of a gateway in which everything works.
func Healthy() dashboards.Health {
	return dashboards.Health{
		Mode: "enforce", Modes: []dashboards.AppMode{{App: "fhir", Mode: "enforce"}, {App: "ui", Mode: "enforce"}}, ModeSince: Now().Add(-26 * time.Hour), PolicyRev: "rev-41c9",
		Journal: dashboards.StateOK, JournalSeq: 1_204_881, JournalAt: Now().Add(-time.Second),
		Index: dashboards.StateOK, IndexedTo: Now().Add(-3 * time.Second), Waiting: 12,
		ReloadAt: Now().Add(-26 * time.Hour), DetectedAt: Now().Add(-2 * time.Minute), DetectEvery: time.Minute,
		Disk:    dashboards.Disk{State: dashboards.StateOK, Used: .412, Free: 312_480_000_000, Since: Now().Add(-26 * time.Hour)},
		Witness: dashboards.Copy{Set: true, State: dashboards.StateOK},
	}
}

// member is somebody who works in the made-up hospital.
type member struct {
	id, name, role, basis string
}

func members() []member {
	return []member{
		{Nurse, "Sam Whitlock", "nurse", "ward:OBS1"},
		{"S1002", "Priya Raman", "doctor", "ward:OBS1"},
		{"S1003", "Tomasz Zielinski", "pharmacist", "order:RX-5512"},
		{"S1004", "Grace Adeyemi", "ward-clerk", ""},
		{"S1005", "Huw Bevan-Llewellyn", "doctor", "break-glass:BG-7"},
	}
}

// New returns a Reader with three hours of accesses, one every 20 seconds.
func New() *Reader {
	staff := members()
	areas := []string{"notes", "results", "demographics", "prescribing"}
	actions := []string{"read", "read", "search", "update", "print"}
	f := &Reader{Found: alerts()}
	for i := range 540 {
		who := staff[i%len(staff)]
		a := audit.Access{Settled: i%41 != 7, Record: audit.Record{
			Site: Site, Source: "gw1", Seq: uint64(100_000 - i), Time: Now().Add(-time.Duration(i) * 20 * time.Second),
			Kind: audit.KindDecision, App: "epr", Action: actions[i%len(actions)], Area: areas[i%len(areas)],
			Resource: "Patient", Certainty: audit.Authoritative, NHSNumber: Patient,
			Person: who.id, UserName: who.name, Roles: []string{who.role}, Org: Site, Purpose: "TREAT",
			Effect: "allow", Basis: who.basis, Outcome: audit.Success,
		}}
		vary(&a, i)
		f.Rows = append(f.Rows, a)
	}
	return f
}

// vary makes some of the accesses less ordinary.
func vary(a *audit.Access, i int) {
	switch {
	case i%13 == 4:
		a.Effect, a.Outcome, a.Reasons, a.Basis = "deny", audit.MinorFailure, []string{"role-not-permitted"}, ""
	case i%17 == 5:
		a.Effect, a.Outcome, a.Reasons, a.Basis = "challenge", audit.MinorFailure, []string{"no-care-relationship"}, ""
	case i%7 == 3:
		a.NHSNumber = OtherPatient
	case i%11 == 6:
		a.NHSNumber, a.Certainty = "", audit.Unknown
	case i%19 == 8:
		a.NHSNumber, a.Certainty = "", audit.None
	}
}

func alerts() []dashboards.Alert {
	return []dashboards.Alert{
		{
			ID: "A-1", Time: Now().Add(-40 * time.Minute), Person: "S1004", PersonName: "Grace Adeyemi", NHSNumber: OtherPatient,
			Detector: "household v1", Severity: dashboards.High,
			Sentences: []string{"The member of staff and the patient have the same surname and live at the same address."},
		},
		{
			ID: "A-2", Time: Now().Add(-3 * time.Hour), Person: "S1005", PersonName: "Huw Bevan-Llewellyn",
			Detector: "bulk v1", Severity: dashboards.Medium,
			Sentences:    []string{"Viewed 94 records in an hour.", "Others in the role view 11 in an hour at most times."},
			Explanations: []dashboards.AlertReason{{Template: "T8", Sentence: "On call for the whole hospital from 08:00 to 20:00."}},
			Patients:     []string{"H0044821", "H0044822", "H0044823", "H0044824"}, Days: []string{"2026-11-03"},
			Detectors: []dashboards.AlertDetector{{ID: "bulk", Version: 2, Share: .0004}, {ID: "out-of-hours", Version: 1, Share: .12}, {ID: "search", Version: 1}},
			Evidence:  restsOn(), Partial: "41 more accesses are not shown here. \"matron alerts list --json\" names all of them.",
			Reviews: []dashboards.AlertReview{{Made: Now().Add(-time.Hour), Name: "Pat Officer", Verdict: "insufficient", Note: "Asked for the rota of that night."}}, Verdict: "insufficient",
		},
		{
			ID: "A-3", Time: Now().Add(-30 * time.Hour), Person: Nurse, PersonName: "Sam Whitlock", Patient: "H0044821",
			Detector: "own-record v1", Severity: dashboards.Low,
			Sentences: []string{"The member of staff viewed a record that carries their own NHS number."},
		},
		{
			ID: "C-1", Time: Now().Add(-50 * time.Hour), Rank: 1, People: []string{Nurse, "S1002", "S1003"}, Patient: "H0044829", Patients: []string{"H0044829"},
			Detector: "vip-crowd v1", Severity: dashboards.Medium, Detectors: []dashboards.AlertDetector{{ID: "vip-crowd", Version: 1, Share: .002}},
			Sentences: []string{"People of 3 departments looked at one patient within days."}, Days: []string{"2026-11-01", "2026-11-02"},
		},
	}
}

// restsOn is a few accesses, one of them imported.
func restsOn() []audit.Access {
	var out []audit.Access
	for i, patient := range []string{"H0044821", "H0044822", "H0044823"} {
		a := audit.Access{Settled: true, Record: audit.Record{
			Site: Site, Source: "gw1", Seq: uint64(40 - i), Time: Now().Add(-time.Duration(180+i) * time.Minute), Person: "S1005", UserName: "Huw Bevan-Llewellyn",
			Roles: []string{"doctor"}, Patient: patient, Action: "read", Area: "notes", Effect: "allow", Outcome: audit.Success, Certainty: audit.Authoritative,
		}}
		if i == 2 {
			a.Source = ""
		}
		out = append(out, a)
	}
	return out
}

// Bypassed is an application that two people have bypassed.
func Bypassed() dashboards.AppMode {
	return dashboards.AppMode{
		App: "fhir", Mode: "bypass", Since: Now().Add(-20 * time.Minute), Until: Now().Add(40 * time.Minute),
		Reason: "charts do not open", RequestedBy: "ann", ApprovedBy: "bob",
	}
}

// Observed is the health of a gateway of which one application is observed and
// another bypassed.
func Observed() dashboards.Health {
	h := Healthy()
	h.Mode, h.Modes = "bypass", []dashboards.AppMode{Bypassed(), {App: "ui", Mode: "observe"}}
	h.ModeSince = h.Modes[0].Since
	return h
}

// Waiving is a Reader of such a gateway: what would have been refused in it is of
// two routes and two roles, and of a route that the map does not know.
func Waiving() *Reader {
	f := New()
	for i := range 90 {
		r := audit.Record{
			Kind: audit.KindDecision, Source: "gw1", Seq: uint64(9_000_000 - i), Site: Site, Time: Now().Add(-time.Duration(i)*time.Hour - time.Minute), App: "ui", Mode: "observe", Route: "notes",
			Method: "GET", Target: "/patients/" + Patient, Patient: Patient, Person: Nurse, UserName: "Ada Nightshift", Roles: []string{"nurse"},
		}
		switch {
		case i%9 == 0:
			r.Route, r.WouldDeny, r.Reasons = "", true, []string{audit.ReasonUnmapped}
		case i%4 == 0:
			r.Roles, r.WouldDeny, r.Reasons, r.Person = []string{"ward-clerk"}, true, []string{"role-not-permitted"}, Reviewer
		case i == 1:
			r.App, r.Mode, r.Route, r.WouldDeny, r.Reasons = "fhir", "bypass", "fhir-read", true, []string{"no-relationship"}
		}
		f.Rows = append(f.Rows, audit.Access{Record: r})
	}
	return f
}

// HospitalNumber is the dashboards' Config.HospitalNumber.
func HospitalNumber(nhsNumber string) string { return "H" + nhsNumber[len(nhsNumber)-4:] }

// Ward is the dashboards' Config.Ward: nurses and doctors work on one.
func Ward(person string) string {
	if person == Nurse || person == "S1002" {
		return "OBS1"
	}
	return ""
}

// Explain is the dashboards' Config.Explain: the patient lies on the ward.
func Explain(l dashboards.Look) []dashboards.Ground {
	if Ward(l.Person) == "" {
		return nil
	}
	return []dashboards.Ground{{
		Reviewer: "The patient was cared for on ward OBS1, where the person works, from 1 November 2026 09:00 on.",
		Patient:  "You were cared for on ward OBS1, where this member of staff works.",
	}}
}

// Unjudged are detectors that lack a feed, or a newer one.
func Unjudged() []dashboards.Unjudged {
	var out []dashboards.Unjudged
	for id, why := range map[string]string{"out-of-hours": "no rota feed", "off-ward": "no rota feed", "post-care": "the care feed ends on 1 November 2026 09:00"} {
		out = append(out, dashboards.Unjudged{Detector: id, Reason: "not evaluated: " + why, Since: Now().Add(-time.Hour)})
	}
	slices.SortFunc(out, func(a, b dashboards.Unjudged) int { return cmp.Compare(a.Reason, b.Reason) })
	return out
}
