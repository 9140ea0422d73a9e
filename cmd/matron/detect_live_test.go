package main

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// TestDetectRunOverTheRecord: what people did through the gateway becomes cases that
// stand in the list beside the live alerts. A dry run leaves nothing behind.
func TestDetectRunOverTheRecord(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	if err := s.hospital.WriteFiles(s.dir); err != nil {
		t.Fatal(err)
	}
	s.edit("applications:", "detection: {staff: staff.ndjson, patients: patients.ndjson, care: care.ndjson, every: 1h}\napplications:")
	s.start()
	owner := s.hospital.Staff[slices.IndexFunc(s.hospital.Staff, func(p hospital.Staff) bool {
		return p.PatientID != "" && (p.Role() == hospital.Nurse || p.Role() == hospital.Doctor)
	})]
	if status, body := s.send(s.enter(owner.Person), http.MethodGet, "/fhir/Patient/"+owner.PatientID, "", nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	s.indexed()
	run := []string{"detect", "run", "-c", s.config, "--from", dayFrom(-1), "--to", dayFrom(1)}
	s.run(append(run, "--dry-run")...)
	if _, err := os.Stat(s.path("data/" + casesFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run left cases: %v", err)
	}
	said := s.run(run...)
	type line struct {
		Case, Lane, Person string
		Patients           []string
		Rank               int
	}
	var found []line
	for text := range strings.Lines(s.run("alerts", "list", "-c", s.config, "--json")) {
		var l line
		decode(t, []byte(text), &l)
		if l.Case != "" && l.Person == owner.Person {
			found = append(found, l)
		}
	}
	if len(found) != 1 || found[0].Lane != "must-review" || found[0].Rank < 1 || !slices.Equal(found[0].Patients, []string{owner.PatientID}) {
		t.Fatalf("%+v: %s", found, said)
	}
	if list := s.run("alerts", "list", "-c", s.config); !strings.Contains(list, found[0].Case) || !strings.Contains(list, "The record is the person's own.") {
		t.Errorf("listed: %s", list)
	}
	s.spoolEmpty()
	s.stop()
	ran := 0
	for _, r := range s.records() {
		if r.Kind == audit.KindAuditViewed && r.Action == "detect" {
			ran++
		}
	}
	if ran != 1 {
		t.Errorf("%d runs are on record, want the one that was no dry run", ran)
	}
	s.write("templates.yaml", "templates:\n- {id: a, state: maybe}\n")
	s.edit("every: 1h", "every: 1h, templates: templates.yaml")
	var stderr strings.Builder
	refused := command(t, run...)
	refused.Stderr = &stderr
	if err := refused.Run(); err == nil || !strings.Contains(stderr.String(), "templates.yaml:2:") {
		t.Errorf("templates of the site are not read: %v: %s", err, stderr.String())
	}
}

// dayFrom is a date some days from now.
func dayFrom(n int) string { return time.Now().AddDate(0, 0, n).Format(time.DateOnly) }
