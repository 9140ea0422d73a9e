package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/policy/rego"
)

// TestRecordedDecisionsAreAskedAgain records reads, searches and refusals and asks
// the same questions again: of the same rules, which change nothing, and of others.
// hazard:GW-01 control:C-03
// hazard:GW-23 control:C-184
func TestRecordedDecisionsAreAskedAgain(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.start()
	patient := s.hospital.Patients[0].ID
	doctor, clerk := s.as("doctor"), s.as("receptionist")
	for _, path := range []string{"/fhir/Patient/" + patient, "/fhir/Patient?family=Smith", "/fhir/Observation?patient=" + patient} {
		if status, body := s.send(doctor, http.MethodGet, path, "", nil); status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := s.send(clerk, http.MethodGet, "/fhir/Observation?patient="+patient, "", nil); status != http.StatusForbidden {
		t.Fatalf("a receptionist reads results: %d", status)
	}
	same, other := filepath.Join(s.dir, "same"), filepath.Join(s.dir, "other")
	for _, dir := range []string{same, other} {
		if err := os.CopyFS(dir, rego.Default()); err != nil {
			t.Fatal(err)
		}
	}
	roles, err := os.ReadFile(filepath.Join(other, "roles.yaml"))
	if err != nil || !strings.Contains(string(roles), searches) {
		t.Fatalf("%v: the table of roles has another form", err)
	}
	s.write("other/roles.yaml", strings.Replace(string(roles), searches, noSearches, 1))

	var r replay.Report
	s.eventually("the decisions are in ClickHouse", func() error {
		r = s.replayed(same)
		if r.Decisions < 4 {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	if r.NewlyDenied+r.NewlyAllowed != 0 || len(r.Revisions) != 1 {
		t.Errorf("the same rules change something: %+v", r)
	}
	// Whoever the search found was decided about as well.
	if r = s.replayed(other); r.NewlyDenied < 1 || r.NewlyAllowed != 0 || r.Groups[0].Roles != "doctor" || r.Groups[0].Action != "search" {
		t.Errorf("other rules: %+v", r)
	}
	s.stop()
	if again := s.replayed(other); again.NewlyDenied != r.NewlyDenied { // from the journal
		t.Errorf("%d in ClickHouse, %d in the journal", r.NewlyDenied, again.NewlyDenied)
	}
	for _, rec := range s.records() {
		if rec.Kind == audit.KindDecision && rec.Effect == "deny" && rec.Area == "results" {
			text := s.run("policy", "explain", fmt.Sprintf("%s/%d", rec.Source, rec.Seq), "-c", s.config)
			for _, want := range []string{`^DENY, by role-not-permitted@explain\.rego:`, `subject\.roles +\["receptionist"\]`, "with the role doctor"} {
				if !regexp.MustCompile(want).MatchString(text) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
			return
		}
	}
	t.Error("the refusal is not on record")
}

func (s *site) replayed(against string) (r replay.Report) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.run("policy", "replay", "-c", s.config, "--against", against, "--json")), &r); err != nil {
		s.t.Fatal(err)
	}
	return r
}
