package main

import (
	"errors"
	"fmt"
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
	s.importAgain(owner)
	run := []string{"detect", "run", "-c", s.config, "--from", dayFrom(-1), "--to", dayFrom(1)}
	s.run(append(run, "--dry-run")...)
	if _, err := os.Stat(s.path("data/" + casesFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dry run left cases: %v", err)
	}
	said := s.run(run...)
	if !strings.HasPrefix(said, "2 accesses, ") {
		t.Errorf("an access that was imported as well is counted twice, or one is missing: %s", said)
	}
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
	s.judges(found[0].Case, owner.Person)
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

// importAgain imports the look at somebody's own record that the gateway saw itself,
// and another one an hour before.
func (s *site) importAgain(owner hospital.Staff) {
	s.t.Helper()
	var lines strings.Builder
	for text := range strings.Lines(s.run("audit", "user", owner.Person, "-c", s.config, "--json")) {
		var seen struct {
			Time    time.Time
			Patient string
		}
		if decode(s.t, []byte(text), &seen); seen.Patient != owner.PatientID {
			continue
		}
		for i, at := range []time.Time{seen.Time, seen.Time.Add(-time.Hour)} {
			fmt.Fprintf(&lines, `{"id":"e%d","time":%q,"person":%q,"action":"read","source":"pas","patient":%q,"deliberate":true}`+"\n",
				i, at.Format(time.RFC3339Nano), owner.Person, owner.PatientID)
		}
	}
	s.write("again.ndjson", lines.String())
	s.run("audit", "import", s.path("again.ndjson"), "-c", s.config)
}

// judges looks at a case on the pages as a privacy officer does, with the accesses of
// both sources, and says what it was.
func (s *site) judges(id, person string) {
	s.t.Helper()
	officer := s.as("privacy-officer")
	if a := s.ask(officer, http.MethodGet, "/.matron/alerts", asPerson, ""); strings.Count(a.body, `href="/.matron/alerts/`+id+`"`) != 1 {
		s.t.Errorf("the page does not list the case once: %d %s", a.status, a.body)
	}
	a := s.ask(officer, http.MethodGet, "/.matron/alerts/"+id, asPerson, "")
	for _, want := range []string{"The record is the person&#39;s own.", "Why it is listed", "Accesses that it rests on", "Own record"} {
		if !strings.Contains(a.body, want) {
			s.t.Errorf("the page of the case lacks %q: %s", want, a.body)
		}
	}
	if _, rows, _ := strings.Cut(a.body, "Accesses that it rests on"); strings.Count(rows, "who viewed this record") != 2 {
		s.t.Errorf("the accesses of the case are not all there: %s", rows)
	}
	s.ask(officer, http.MethodPost, "/.matron/alerts/"+id, asPerson, "verdict=training&note=A+talk+was+enough")
	var said struct{ Case, Disposition string }
	decode(s.t, []byte(s.run("alerts", "dispositions", "-c", s.config)), &said)
	if said.Case != id || said.Disposition != "training" {
		s.t.Errorf("handed out for %s: %+v", person, said)
	}
	if out := s.run("detect", "learn", "-c", s.config); !strings.Contains(out, "version 2 made, in shadow; 1 cases judged, 1 of them worth asking about; 0 lines left out") {
		s.t.Errorf("learnt from what was said on the page: %s", out)
	}
	if out := s.run("alerts", "show", id, "-c", s.config); !strings.Contains(out, "own-record, version") {
		s.t.Errorf("shown: %s", out)
	}
}

// dayFrom is a date some days from now.
func dayFrom(n int) string { return time.Now().AddDate(0, 0, n).Format(time.DateOnly) }
