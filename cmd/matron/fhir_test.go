package main

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/signin"
)

// fhirAnswer is what a test reads of an answer in the form of FHIR.
type fhirAnswer struct {
	ResourceType string
	Link         []struct{ Relation, URL string }
	Entry        []struct {
		FullURL  string
		Resource fhirEvent
		Search   struct{ Mode string }
	}
	Issue []struct {
		Code    string
		Details struct{ Text string }
	}
}

type fhirEvent struct {
	ResourceType, ID, Action, Outcome string
	Agent                             []struct{ AltID, Name string }
}

// TestRecordAsFHIR reads a patient as a doctor and finds that access as a
// privacy officer, in a browser session, with a token and by the command. A
// nurse finds nothing, and every look at the record is on record itself.
func TestRecordAsFHIR(t *testing.T) {
	t.Parallel()
	s := newRecordSite(t)
	s.edit("bearer: {audiences: [matron]}", "bearer: {audiences: ["+signin.APIAudience+"], types: [JWT]}")
	s.start()
	patient := s.hospital.Patients[0]
	doctor := s.hospital.WithRole("doctor")[0].Person
	if status, body := s.send(s.enter(doctor), http.MethodGet, "/fhir/Patient/"+patient.ID, "", nil); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	officer := s.as("privacy-officer")
	search := "/.matron/fhir/AuditEvent?patient=Patient/" + patient.ID
	found := s.findEvent(officer, search, doctor)

	status, body := s.send(officer, http.MethodGet, "/.matron/fhir/AuditEvent/"+found.ID, "", nil)
	var one fhirEvent
	decode(t, body, &one)
	if status != http.StatusOK || one.ID != found.ID || one.Action != "R" || one.Outcome != "0" {
		t.Errorf("%s: %d %s", found.ID, status, body)
	}
	form := url.Values{"patient": {"https://fhir.nhs.uk/Id/nhs-number|" + patient.NHSNumber}, "date": {"ge" + time.Now().Format(time.DateOnly)}}
	status, body = s.send(officer, http.MethodPost, "/.matron/fhir/AuditEvent/_search", "application/x-www-form-urlencoded", []byte(form.Encode()))
	if status != http.StatusOK || !strings.Contains(string(body), "hospital number") {
		t.Errorf("by POST: %d %s", status, body)
	}
	for what, c := range map[string]struct {
		client *http.Client
		path   string
		status int
		want   string
	}{
		"a nurse searches":  {s.as("nurse"), search, http.StatusForbidden, "Your role"},
		"a nurse reads":     {s.as("nurse"), "/.matron/fhir/AuditEvent/" + found.ID, http.StatusForbidden, "Your role"},
		"nobody searches":   {s.stranger(), search, http.StatusUnauthorized, "who you are"},
		"a mistake":         {officer, search + "&colour=red", http.StatusBadRequest, "colour"},
		"no such place":     {officer, "/.matron/fhir/Observation", http.StatusForbidden, "does not know"},
		"what it offers":    {officer, "/.matron/fhir/metadata", http.StatusOK, "CapabilityStatement"},
		"an event that was": {officer, "/.matron/fhir/AuditEvent/gw9-1", http.StatusNotFound, "no event"},
	} {
		status, body := s.send(c.client, http.MethodGet, c.path, "", nil)
		if status != c.status || !strings.Contains(string(body), c.want) || strings.Contains(string(body), `"Bundle"`) {
			t.Errorf("%s: %d %s", what, status, body)
		}
		if c.status != http.StatusOK && c.status != http.StatusUnauthorized && !strings.Contains(string(body), `"OperationOutcome"`) {
			t.Errorf("%s: no OperationOutcome: %s", what, body)
		}
	}
	s.findEventByToken(search, doctor)
	s.exportHas(patient.ID, doctor)
	s.stop()
	s.wantViews(patient)
}

// findEvent asks until the access of person is found.
func (s *site) findEvent(client *http.Client, path, person string) (found fhirEvent) {
	s.t.Helper()
	s.eventually("the access is found", func() error {
		status, body := s.send(client, http.MethodGet, path, "", nil)
		var page fhirAnswer
		decode(s.t, body, &page)
		if status != http.StatusOK || page.ResourceType != "Bundle" {
			return fmt.Errorf("%d %s", status, body)
		}
		for _, e := range page.Entry {
			for _, a := range e.Resource.Agent {
				if a.AltID == person && e.Resource.Outcome == "0" && e.FullURL == s.url+"/.matron/fhir/AuditEvent/"+e.Resource.ID {
					found = e.Resource
					return nil
				}
			}
		}
		return fmt.Errorf("%d entries, none of them of %s", len(page.Entry), person)
	})
	return found
}

// findEventByToken searches with the token of a person's program.
func (s *site) findEventByToken(path, person string) {
	s.t.Helper()
	_, claims := s.apiToken()
	claims = maps.Clone(claims)
	maps.Copy(claims, map[string]any{"sub": "user-ig", "client_id": "reports", "person": "IG01", "roles": []string{"privacy-officer"}})
	client := s.stranger()
	client.Transport = withToken{client.Transport, s.token("JWT", claims)}
	s.findEvent(client, path, person)
}

type withToken struct {
	next  http.RoundTripper
	token string
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.token)
	return w.next.RoundTrip(r)
}

// exportHas exports the record of a patient into a file, which is never
// overwritten, and finds the access of person in it.
func (s *site) exportHas(patient, person string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "patient.ndjson")
	s.run("audit", "export", "--format", "fhir-ndjson", "--patient", patient, "--from", "2026-01-01", "--out", path, "-c", s.config)
	file, err := os.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err != nil || info.Mode().Perm() != 0o600 {
		s.t.Errorf("mode %v, %v", info.Mode(), err)
	}
	seen := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var e fhirEvent
		decode(s.t, lines.Bytes(), &e)
		for _, a := range e.Agent {
			seen = seen || a.AltID == person
		}
	}
	if !seen {
		s.t.Errorf("no access of %s is in the export", person)
	}
	again := command(s.t, "audit", "export", "--patient", patient, "--out", path, "-c", s.config)
	again.Stderr = nil
	if out, err := again.CombinedOutput(); again.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "is there already") {
		s.t.Errorf("a second time: %v %s", err, out)
	}
}

// wantViews holds the journal to what was looked at: every search names the
// patient and the query, and comes before its own outcome.
func (s *site) wantViews(patient hospital.Patient) {
	s.t.Helper()
	kinds := map[string]int{}
	for _, r := range s.records() {
		if r.Kind != audit.KindAuditViewed || !strings.HasPrefix(r.Screen, "fhir-") {
			continue
		}
		kinds[r.Screen]++
		if r.Patient != patient.ID && r.NHSNumber != patient.NHSNumber || r.Certainty != audit.Authoritative || r.UserSub == "" || r.Request == "" || r.ClientIP == "" {
			s.t.Errorf("record %d does not say who looked at whom: %+v", r.Seq, r)
		}
		if r.Screen != "fhir-read" && !strings.Contains(r.Query, "patient=") {
			s.t.Errorf("record %d does not say what was asked: %+v", r.Seq, r)
		}
		if strings.Contains(strings.Join(r.Roles, " "), "nurse") {
			s.t.Errorf("record %d: a nurse looked", r.Seq)
		}
	}
	if kinds["fhir-search"] < 2 || kinds["fhir-search-post"] != 1 || kinds["fhir-read"] != 1 {
		s.t.Errorf("looks on record: %v", kinds)
	}
}
