package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// reply is an answer without its body.
type reply struct {
	StatusCode int
	Header     http.Header
}

// navigate asks for a page as a browser does, or sends a form, and follows nothing.
func (s *site) navigate(c *http.Client, path string, form url.Values) (reply, string) {
	s.t.Helper()
	still := *c
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", asPerson)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := still.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		s.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header}, string(body)
}

// action is where the form of a page goes.
func (s *site) action(page string) string {
	s.t.Helper()
	m := regexp.MustCompile(`action="(/\.matron/emergency/[^"]+)"`).FindStringSubmatch(page)
	if m == nil {
		s.t.Fatalf("no form in %.600s", page)
	}
	return m[1]
}

// TestBreakGlass goes through the whole of it: refused, two interactions later in the
// record, known to the officer, explained by care, and over with the session.
// hazard:GW-01 control:C-01
// hazard:GW-10 control:C-41
// hazard:GW-10 control:C-43
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	s := newCareSite(t)
	probed := "/fhir/Patient/" + s.hospital.Patients[4].ID
	s.edit("applications:\n", "break_glass: {probe: {path: "+probed+", every: 1s}}\napplications:\n")
	s.start()
	patient, other := s.hospital.Patients[0].ID, s.hospital.Patients[1].ID
	for _, p := range []string{patient, other} {
		if answer := s.event("A01", p, inWard("ASH")); !strings.Contains(answer, "MSA|AA|") {
			t.Fatalf("an admission is answered %q", answer)
		}
	}
	s.feed("1")
	beech, path := s.enter(s.nurse("BEECH")), "/fhir/Patient/"+patient

	res, page := s.navigate(beech, path, nil)
	if res.StatusCode != http.StatusForbidden || !strings.Contains(page, "Why do you need it now?") || strings.Contains(res.Header.Get("Content-Security-Policy"), "unsafe") {
		t.Fatalf("refused with %d %.600s", res.StatusCode, page)
	}
	if status, body := s.site.send(beech, http.MethodGet, path, "", nil); status != http.StatusForbidden || !strings.Contains(string(body), s.url+"/.matron/emergency/") {
		t.Errorf("a program is refused with %d %s", status, body)
	}
	if status, body := s.site.send(s.as("receptionist"), http.MethodGet, "/fhir/Observation?patient="+patient, "", nil); status != http.StatusForbidden || strings.Contains(string(body), "emergency") {
		t.Errorf("a receptionist is offered it: %d %s", status, body)
	}
	res, _ = s.navigate(beech, s.action(page), url.Values{"reason": {"emergency"}})
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != path {
		t.Fatalf("granted with %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	res, _ = s.navigate(beech, path, nil)
	if res.StatusCode != http.StatusOK || res.Header.Get("Matron-Break-Glass-Until") == "" {
		t.Errorf("let through with %d %v", res.StatusCode, res.Header)
	}
	s.sees(beech, other, false)
	s.sees(s.enter(s.nurse("CEDAR")), patient, false)
	if _, home := s.navigate(beech, "/.matron/", nil); !strings.Contains(home, "You have emergency access to a patient") {
		t.Error("their own pages do not say so")
	}

	s.stop()
	s.start() // what was granted outlives a restart
	s.feed("1")
	s.sees(beech, patient, true)
	s.judged(beech, patient)
	s.probeWorks()

	s.navigate(beech, "/.matron/sign-out", url.Values{})
	if res, _ := s.navigate(s.enter(s.nurse("BEECH")), path, nil); res.StatusCode != http.StatusOK || res.Header.Get("Matron-Break-Glass-Until") != "" {
		t.Errorf("after the session: %d %q", res.StatusCode, res.Header.Get("Matron-Break-Glass-Until"))
	}
	s.stop()
	s.breakGlassIsRecorded(patient)
}

// judged has the officer look at the one emergency access, once care explains it.
func (s *careSite) judged(beech *http.Client, patient string) {
	s.t.Helper()
	officer := s.as(hospital.PrivacyOfficer)
	_, list := s.navigate(officer, "/.matron/emergencies", nil)
	if strings.Count(list, ">BG-") != 1 || strings.Contains(list, "Explained by care") || !strings.Contains(list, "1 emergency access waits") {
		_, main, _ := strings.Cut(list, "<main")
		s.t.Fatalf("the list: %.3000s", main)
	}
	s.event("A02", patient, inWard("BEECH"))
	s.eventually("care explains it", func() error {
		if _, list = s.navigate(officer, "/.matron/emergencies", nil); !strings.Contains(list, "Explained by care") {
			return errors.New("it does not")
		}
		return nil
	})
	address := regexp.MustCompile(`href="(/\.matron/emergencies/BG-[^"]+)"`).FindStringSubmatch(list)[1]
	if res, _ := s.navigate(beech, address, url.Values{"verdict": {"justified"}}); res.StatusCode != http.StatusForbidden {
		s.t.Errorf("who broke the glass judges it: %d", res.StatusCode)
	}
	if res, _ := s.navigate(officer, address, url.Values{"verdict": {"justified"}}); res.StatusCode != http.StatusSeeOther {
		s.t.Errorf("judged with %d", res.StatusCode)
	}
	if _, list := s.navigate(officer, "/.matron/emergencies", nil); !strings.Contains(list, "Nothing waits to be looked at.") {
		s.t.Errorf("the list: %.3000s", list)
	}
}

// probeWorks waits for a trial of emergency access.
func (s *careSite) probeWorks() {
	s.t.Helper()
	s.eventually("the probe works", func() error {
		if ok := s.metric("matron_break_glass_probe_ok"); ok != "1" {
			return fmt.Errorf("ok is %q: %v", ok, s.log.with("emergency access does not work"))
		}
		return nil
	})
}

// breakGlassIsRecorded reads the journal: the start before what it let through, the
// end with the session, the verdict.
func (s *careSite) breakGlassIsRecorded(patient string) {
	s.t.Helper()
	var grant string
	var let, ended, judged bool
	for _, r := range s.records() {
		switch {
		case slices.Contains(r.Roles, "break-glass-probe"):
		case r.Kind == audit.KindBreakGlassStart && r.Patient == patient:
			grant = r.Basis
		case r.Kind == audit.KindDecision && r.Basis != "":
			let = let || grant != "" && r.Basis == grant && r.Effect == "allow" && r.Purpose == "BTG" && r.Patient == patient
		case r.Kind == audit.KindBreakGlassEnd && r.Basis == grant:
			ended = slices.Contains(r.Detail, "cause=session")
		case r.Kind == audit.KindAuditViewed && slices.Contains(r.Detail, "verdict=justified"):
			judged = true
		}
	}
	if grant == "" || !let || !ended || !judged {
		s.t.Errorf("grant %q, let through %v, ended %v, judged %v", grant, let, ended, judged)
	}
}
