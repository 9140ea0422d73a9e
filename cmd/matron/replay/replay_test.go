package replay_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

// decided is a decision of the default rules as it stands in the record.
func decided(seq uint64, role, action, area, resource string, change ...func(*audit.Record)) audit.Record {
	r := audit.Record{
		Source: "gw1", Seq: seq, Kind: audit.KindDecision, Site: "RBA", App: "fhir", Route: "fhir-read", Method: "GET",
		Time: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), Action: action, Area: area, Resource: resource,
		Patient: "P1", Certainty: audit.Authoritative, UserIssuer: "https://id.example", UserSub: role, Person: role,
		Roles: []string{role}, Effect: "allow", PolicyRev: "before",
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func denied(r *audit.Record) { r.Effect, r.Reasons = "deny", []string{"role-not-permitted"} }

// wards knows where one of the people works.
func wards(r *audit.Record) string {
	if r.Person == "pharmacist0" {
		return "Ward 7"
	}
	return ""
}

func from(records []audit.Record) replay.Source {
	return func(_ context.Context, visit func(*audit.Record) error) error {
		for i := range records {
			if err := visit(&records[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// engine has the default rules, with a line of the table of roles changed.
func engine(tb testing.TB, old, changed string) *rego.Engine {
	tb.Helper()
	dir := tb.TempDir()
	fsys := rego.Default()
	if err := os.CopyFS(dir, fsys); err != nil {
		tb.Fatal(err)
	}
	if old != "" {
		path := filepath.Join(dir, "roles.yaml")
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), old) {
			tb.Fatalf("%v, %q is not there", err, old)
		}
		text = []byte(strings.Replace(string(text), old, changed, 1))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	e, err := rego.New(tb.Context(), rego.Config{Dir: dir, Timeout: time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// What was recorded by the rules in force is answered by them in the same way:
// the record holds all that they were asked.
func TestSameRulesChangeNothing(t *testing.T) {
	records := []audit.Record{
		decided(1, "nurse", "read", "notes", "Condition"),
		decided(2, "receptionist", "read", "results", "Observation", denied),
		decided(3, "nurse", "search", "notes", "Condition", func(r *audit.Record) { // whoever the answer names was recorded first
			r.Patient, r.Certainty, r.Detail = "", audit.Unknown, []string{audit.DetailHeld}
		}),
		decided(4, "api-client", "read", "notes", "Condition", func(r *audit.Record) { r.Detail = []string{audit.DetailMachine} }),
		decided(5, "nurse", "update", "prescribing", "Bundle", denied, func(r *audit.Record) { // one of its parts is refused
			r.Detail = []string{"part=read notes Condition", "part=create prescribing MedicationRequest"}
		}),
		decided(6, "nurse", "create", "prescribing", "Bundle", func(r *audit.Record) {
			r.Detail = []string{"part=read notes Condition", "part=create prescribing MedicationAdministration"}
		}),
		decided(7, "receptionist", "read", "results", "Observation", func(r *audit.Record) { // observed: not enforced
			r.WouldDeny, r.Mode, r.Reasons = true, "observe", []string{"role-not-permitted"}
		}),
		decided(8, "nurse", "read", "notes", "Condition", func(r *audit.Record) { // over a limit, in observe mode
			r.WouldDeny, r.Mode, r.Reasons = true, "observe", []string{audit.ReasonLimited}
		}),
		decided(9, "nurse", "read", "notes", "Condition", func(r *audit.Record) { r.Kind = audit.KindPatient }),
		decided(10, "nurse", "read", "notes", "", denied, func(r *audit.Record) { r.Route, r.PolicyRev = "", "" }), // unmapped
		decided(11, "nurse", "read", "notes", "", func(r *audit.Record) { r.Kind = audit.KindOutcome }),
	}
	got, err := replay.Run(t.Context(), from(records), engine(t, "", ""), wards)
	if err != nil {
		t.Fatal(err)
	}
	want := replay.Report{
		Decisions: 9, Skipped: 2, Revisions: []string{"before"}, Groups: []replay.Group{},
		DeniedRoles: []replay.Count{}, DeniedWards: []replay.Count{}, DeniedRoutes: []replay.Count{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// hazard:GW-01 control:C-03
func TestOtherRulesAreCompared(t *testing.T) {
	var records []audit.Record
	for i := range uint64(5) {
		r := decided(1+i, "pharmacist", "create", "notes", "Observation")
		r.Person = fmt.Sprint("pharmacist", i%2)
		if i == 4 {
			r.Detail = append(r.Detail, audit.DetailWard+"ASH") // where the patient was
		}
		records = append(records, r)
	}
	records = append(records,
		decided(6, "pharmacist", "delete", "notes", "Observation", denied),
		decided(7, "nurse", "read", "notes", "Condition"))
	rules := engine(t, "notes: [read, search, list, create]", "notes: [read, search, list, delete]")
	got, err := replay.Run(t.Context(), from(records), rules, wards)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Groups {
		got.Groups[i].Because, _, _ = strings.Cut(got.Groups[i].Because, "@") // the place of the rule is theirs
	}
	want := replay.Report{
		Decisions: 7, NewlyDenied: 5, CareDenied: 5, NewlyAllowed: 1, PeopleDenied: 2, Revisions: []string{"before"},
		DeniedRoles: []replay.Count{{"pharmacist", 5}}, DeniedWards: []replay.Count{{"", 2}, {"Ward 7", 2}, {"ASH", 1}},
		DeniedRoutes: []replay.Count{{"fhir fhir-read", 5}},
		Groups: []replay.Group{
			{"allow", "deny", "pharmacist", "", "fhir", "fhir-read", "create", "notes", "role-not-permitted", 2, 1, []string{"gw1/2", "gw1/4"}},
			{"allow", "deny", "pharmacist", "Ward 7", "fhir", "fhir-read", "create", "notes", "role-not-permitted", 2, 1, []string{"gw1/1", "gw1/3"}},
			{"allow", "deny", "pharmacist", "ASH", "fhir", "fhir-read", "create", "notes", "role-not-permitted", 1, 1, []string{"gw1/5"}},
			{"deny", "allow", "pharmacist", "", "fhir", "fhir-read", "delete", "notes", "role-table", 1, 1, []string{"gw1/6"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// hazard:GW-23 control:C-184
func TestASourceThatFailsGivesNoReport(t *testing.T) {
	broken := errors.New("broken")
	for name, source := range map[string]replay.Source{
		"at once": func(context.Context, func(*audit.Record) error) error { return broken },
		"midway": func(_ context.Context, visit func(*audit.Record) error) error {
			r := decided(1, "nurse", "read", "notes", "Condition")
			for range 2000 {
				if err := visit(&r); err != nil {
					return err
				}
			}
			return broken
		},
	} {
		if _, err := replay.Run(t.Context(), source, engine(t, "", ""), wards); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	records := make([]audit.Record, 5000)
	if _, err := replay.Run(cancelled, from(records), engine(t, "", ""), wards); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every record is of another patient, as in a hospital: nothing is answered from memory.
func BenchmarkRun(b *testing.B) {
	rules := engine(b, "", "")
	records := make([]audit.Record, 100_000)
	roles := []string{"nurse", "doctor", "R8001", "ward-clerk", "pharmacist"}
	areas := []policy.Area{policy.Notes, policy.Results, policy.Demographics, policy.Prescribing}
	for i := range records {
		records[i] = decided(uint64(i+1), roles[i%len(roles)], "read", string(areas[i/7%len(areas)]), "Condition")
		records[i].Patient = fmt.Sprint("P", i)
		if !rules.Allows(b.Context(), replay.Questions(&records[i])[0]) {
			denied(&records[i])
		}
	}
	b.ResetTimer()
	for b.Loop() {
		if _, err := replay.Run(b.Context(), from(records), rules, wards); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "decisions/s")
}
