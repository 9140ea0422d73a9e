package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
)

// TestProtectedRecords runs a gateway whose list of protected patients is wrong at the
// start, put right, wrong again and gone: clinical records are asked more for, never
// closed for good, and what was known stays known.
// hazard:GW-11 control:C-47
func TestProtectedRecords(t *testing.T) {
	s := newRecordSite(t)
	s.edit("applications:", "sensitivity: {patients: patients.ndjson, staff: staff.ndjson}\npolicy: {dir: rules}\napplications:")
	s.copyRules()
	plain, vip, colleague := s.hospital.Patients[0], s.hospital.Patients[1], s.hospital.Patients[2]
	good := fmt.Sprintf("{\"patient\":%q,\"nhs_number\":%q}\n{\"patient\":%q,\"flags\":[\"vip\"],\"name\":{\"family\":\"Example\"}}\n{\"patient\":%q,\"nhs_number\":%q}\n",
		plain.ID, plain.NHSNumber, vip.ID, colleague.ID, colleague.NHSNumber)
	bad := strings.Replace(good, `["vip"]`, `["royal"]`, 1)
	s.write("staff.ndjson", fmt.Sprintf("{\"person\":\"S1\",\"roles\":[\"nurse\"],\"nhs_number\":%q}\n", colleague.NHSNumber))
	s.write("patients.ndjson", bad)
	s.start()
	doctor := s.as("doctor")
	asks := func(when, id, code string) {
		t.Helper()
		status, body := s.send(doctor, http.MethodGet, "/fhir/Observation?patient="+id, "", nil)
		if allowed := status == http.StatusOK; allowed != (code == "") || code != "" && !strings.Contains(string(body), code) {
			t.Errorf("%s: observations of %s: %d %.200s, want %q", when, id, status, body, code)
		}
	}
	known := func(when, want string) {
		t.Helper()
		if got := s.metric("matron_sensitivity_known"); got != want {
			t.Errorf("%s: matron_sensitivity_known %s", when, got)
		}
	}

	known("at the start", "0")
	asks("at the start", plain.ID, "sensitivity-unknown")
	if status, _ := s.send(doctor, http.MethodGet, "/fhir/Patient/"+plain.ID, "", nil); status != http.StatusOK {
		t.Errorf("patient details while nobody knows: %d", status)
	}
	if said := s.log.with("nobody knows which records are protected"); len(said) != 1 || !strings.Contains(said[0], "patients.ndjson:2:1") || strings.Contains(said[0], "royal") {
		t.Errorf("the log says %q", said)
	}
	if rejects := s.read("patients.ndjson.sensitivity-rejects.ndjson"); !strings.Contains(rejects, `"line":2`) {
		t.Errorf("rejects %s", rejects)
	}
	_, page := s.send(s.as("privacy-officer"), http.MethodGet, "/.matron/", "", nil)
	if !strings.Contains(string(page), "not known which records are protected") {
		t.Error("no banner says so")
	}

	s.write("patients.ndjson", good)
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		t.Fatal(line)
	}
	stays := func(when string) {
		t.Helper()
		known(when, "1")
		asks(when, plain.ID, "")
		asks(when, vip.ID, "sensitive-record")
		asks(when, colleague.ID, "sensitive-record")
	}
	stays("mended")
	for when, change := range map[string]func(){
		"a bad line":       func() { s.write("patients.ndjson", bad) },
		"the file is gone": func() { s.remove("patients.ndjson") },
	} {
		change()
		if line := s.reload(); !strings.Contains(line, "reload refused") || !strings.Contains(line, "patients") {
			t.Errorf("%s: %s", when, line)
		}
		stays(when)
		s.write("patients.ndjson", good)
	}

	s.closesTheRecord(func() { stays("rules that deny everybody") })
	s.stop()
	var number uint64
	for _, r := range s.records() {
		if r.Patient == vip.ID && r.Kind == audit.KindDecision {
			number = r.Seq
		}
	}
	explained := s.run("policy", "explain", fmt.Sprint("gw1/", number), "-c", s.config)
	if !strings.Contains(explained, "sensitivity.classes") || !strings.Contains(explained, `["vip"]`) || !strings.Contains(explained, "sensitive-record") {
		t.Errorf("explained without what was known then:\n%s", explained)
	}
}

// closesTheRecord puts rules in place whose own tests hold and by which nobody may do
// anything: they are refused, with their place, on the page and in the metric, and the
// ones before stay.
func (s *site) closesTheRecord(stays func()) {
	s.t.Helper()
	s.withoutTests()
	s.write("rules/access.rego", strings.Replace(s.read("rules/access.rego"), "input.subject.known == true", "input.subject.known == \"never\"", 1))
	line := s.reload()
	if !strings.Contains(line, "reload refused") || !regexp.MustCompile(`rules/access\.rego:\d+:\d+: nobody in any role may do anything`).MatchString(line) {
		s.t.Error(line)
	}
	if got := s.metric("matron_config_last_reload_successful"); got != "0" {
		s.t.Errorf("matron_config_last_reload_successful %s", got)
	}
	stays()
	_, page := s.send(s.as("privacy-officer"), http.MethodGet, "/.matron/", "", nil)
	if !strings.Contains(string(page), "The last change of configuration or policy was refused") {
		s.t.Error("no banner says that the rules were refused")
	}
}

// withoutTests takes the tests of the rules away, so that rules can change.
func (s *site) withoutTests() {
	s.t.Helper()
	for _, pattern := range []string{"*_test.rego", "*_cases.yaml"} {
		files, err := filepath.Glob(filepath.Join(s.dir, "rules", pattern))
		if err != nil || len(files) == 0 {
			s.t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			s.remove(filepath.Join("rules", filepath.Base(file)))
		}
	}
	s.write("rules/some_test.rego", "package some_test\n\ntest_nothing if 1 == 1\n")
}
