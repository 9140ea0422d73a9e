package main

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/staff"
)

// sealedSite has one patient whose record is sealed, and the doctor who treats them,
// signed in with a password.
type sealedSite struct {
	*careSite
	doctor  string
	client  *http.Client
	patient string
	notes   string // page of the record
}

func newSealedSite(t *testing.T) *sealedSite {
	t.Helper()
	s := &sealedSite{careSite: newCareSite(t)}
	s.doctor, s.patient = s.hospital.WithRole(hospital.Doctor)[0].Person, s.hospital.Patients[0].ID
	s.notes = "/ui/patients/" + s.patient + "/notes"
	s.edit("userinfo: true", "userinfo: true\n  parameters: {acr_values: AAL1_ANY}\n  step_up: {acr: [AAL3_ANY]}")
	s.edit("applications:\n", "sensitivity: {patients: patients.ndjson}\napplications:\n")
	s.edit("map: pages-map.yaml}", "map: pages-map.yaml, patient_authority: RZZ}")
	s.write("patients.ndjson", fmt.Sprintf("{\"patient\":%q,\"flags\":[\"sealed\"]}\n", s.patient))
	s.write("staff.csv", "person,roles,ids\n"+s.doctor+",doctor,RZZ|D1\n")
	s.start()
	if answer := s.event("A01", s.patient, "PV1|1|I|ASH||||D1^^^^^^^^RZZ"+strings.Repeat("|", 12)+"V1\r"); !strings.Contains(answer, "MSA|AA|") {
		t.Fatalf("an admission is answered %q", answer)
	}
	s.feed("1")
	s.client = s.enter(s.doctor)
	return s
}

// later restarts the gateway when everybody has been signed in for so much longer.
func (s *sealedSite) later(by time.Duration) {
	s.t.Helper()
	s.stop()
	db, err := sql.Open("sqlite", filepath.Join(s.dir, "data/matron.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := db.ExecContext(s.t.Context(), `UPDATE signin_session SET created = created - $1,
		subject = json_set(subject, '$.AuthTime', strftime('%Y-%m-%dT%H:%M:%SZ', json_extract(subject, '$.AuthTime'), $2))`,
		by.Microseconds(), fmt.Sprintf("-%d seconds", int(by.Seconds()))); err != nil {
		s.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
	s.feed("1")
}

// mustSignInAgain opens the record as a browser and as a program, and goes as far as
// the sign-in service leads back to. It returns the page there.
func (s *sealedSite) mustSignInAgain(when string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/fhir/Observation?patient="+s.patient, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/fhir+json")
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	if told := res.Header.Get("WWW-Authenticate"); res.StatusCode != http.StatusUnauthorized ||
		!strings.Contains(told, `error="insufficient_user_authentication"`) || !strings.Contains(told, `acr_values="AAL3_ANY", max_age="300"`) {
		s.t.Errorf("%s: a program is answered %d %q", when, res.StatusCode, told)
	}
	got, _ := s.navigate(s.client, s.notes, nil)
	to := got.Header.Get("Location")
	if got.StatusCode != http.StatusSeeOther || to != "/.matron/sign-in?return="+url.QueryEscape(s.notes)+"&again=stronger" {
		s.t.Fatalf("%s: a browser is answered %d to %q", when, got.StatusCode, to)
	}
	page, at, err := staff.Choose(s.t.Context(), s.client, s.url+to, s.doctor)
	if err != nil || at.String() != s.url+s.notes {
		s.t.Fatalf("%s: signing in again ends at %v: %v", when, at, err)
	}
	return page
}

// saves writes a note as a browser does and an observation as a program does, and changes it.
func (s *sealedSite) saves(when string) {
	s.t.Helper()
	if res, body := s.navigate(s.client, s.notes, url.Values{"text": {"written " + when}}); res.StatusCode != http.StatusSeeOther || strings.Contains(res.Header.Get("Location"), ".matron") {
		s.t.Errorf("%s: a note is answered %d to %q: %.300s", when, res.StatusCode, res.Header.Get("Location"), body)
	}
	const text = `{"resourceType":"Observation",%s"status":"final","code":{"text":"Pulse"},"subject":{"reference":"Patient/%s"},"valueQuantity":{"value":71}}`
	at := s.savesUnshown(when, http.MethodPost, "/fhir/Observation", http.StatusCreated, fmt.Sprintf(text, "", s.patient))
	_, id, _ := strings.Cut(at, "/Observation/")
	id, _, _ = strings.Cut(id, "/")
	s.savesUnshown(when, http.MethodPut, "/fhir/Observation/"+id, http.StatusOK, fmt.Sprintf(text, fmt.Sprintf(`"id":%q,`, id), s.patient))
}

// savesUnshown saves a resource of the sealed record with a sign-in that does not open
// it, and returns its address: it is saved, and not shown.
func (s *sealedSite) savesUnshown(when, method, path string, want int, body string) string {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/fhir+json")
	r.Header.Set("Accept", "application/fhir+json")
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	said, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want || !strings.Contains(string(said), "saved-not-shown") || strings.Contains(string(said), `"value":71`) {
		s.t.Fatalf("%s: %s is answered %d %.600s (%v)", when, method, res.StatusCode, said, err)
	}
	return res.Header.Get("Location")
}

// TestStepUp has the doctor who treats a patient open their sealed record by the rules
// that come with Matron and a real sign-in service: with too weak a sign-in, with one
// that is too long ago, and without saying what for. What is being saved goes through
// with whatever sign-in there is.
// hazard:GW-06 control:C-26
func TestStepUp(t *testing.T) {
	t.Parallel()
	s := newSealedSite(t)
	s.later(2 * time.Hour)
	s.saves("with a weak and old sign-in")
	page := s.mustSignInAgain("too weak and too old")
	if !strings.Contains(page, "What you choose is recorded with each access.") {
		t.Fatalf("what for is not asked: %.2000s", page)
	}
	if res, _ := s.navigate(s.client, s.action(page), url.Values{"reason": {"TREAT"}}); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != s.notes {
		t.Fatalf("said what for: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	s.opens("signed in and said what for")

	s.later(2 * time.Hour)
	s.saves("with a strong and old sign-in")
	if page := s.mustSignInAgain("too old"); !strings.Contains(page, "written with a weak and old sign-in") {
		t.Errorf("the record is not shown: %.2000s", page)
	}
	s.opens("signed in again")
	s.stop()
	s.stepUpIsRecorded()
}

func (s *sealedSite) opens(when string) {
	s.t.Helper()
	if res, body := s.navigate(s.client, s.notes, nil); res.StatusCode != http.StatusOK {
		s.t.Errorf("%s: %d %.1000s", when, res.StatusCode, body)
	}
}

// stepUpIsRecorded reads what was demanded, proved and written meanwhile.
func (s *sealedSite) stepUpIsRecorded() {
	s.t.Helper()
	demanded := map[string]int{}
	proved, saved, opened := 0, 0, 0
	for _, r := range s.records() {
		switch {
		case r.Kind == audit.KindStepUp && r.Person == s.doctor:
			proved++
		case r.Kind != audit.KindDecision || r.Person != s.doctor || r.Patient != s.patient:
		case r.Effect == "challenge":
			for _, code := range r.Reasons {
				demanded[code]++
			}
		case r.Action == "create", r.Action == "update":
			saved++
		case r.Effect == "allow" && r.Purpose == "TREAT" && r.Area == "notes":
			opened++
		}
	}
	if demanded["assurance-too-low"] == 0 || demanded["sign-in-too-old"] <= demanded["assurance-too-low"] || demanded["purpose-not-stated"] == 0 || proved != 2 || saved != 6 || opened == 0 {
		s.t.Errorf("demanded %v, proved %d, saved %d, opened %d", demanded, proved, saved, opened)
	}
}
