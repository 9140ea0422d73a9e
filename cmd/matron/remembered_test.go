package main

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// glassSite asks one question again and again: the results of a patient in ASH.
type glassSite struct {
	*careSite
	patient, path string
}

// warm asks as somebody who may, until the gateway answers from memory.
func (s *glassSite) warm(c *http.Client, when string) {
	s.t.Helper()
	s.eventually(when, func() error {
		before := s.metric("matron_decisions_remembered_total")
		if status, body := s.site.send(c, http.MethodGet, s.path, "", nil); status != http.StatusOK {
			s.t.Fatalf("%s: %d %.300s", when, status, body)
		}
		if s.metric("matron_decisions_remembered_total") == before {
			return errors.New("the rules are asked each time")
		}
		return nil
	})
}

// cold asks twice as somebody who may not.
func (s *glassSite) cold(c *http.Client, when string, status int, why string) {
	s.t.Helper()
	for range 2 {
		if got, body := s.site.send(c, http.MethodGet, s.path, "", nil); got != status || !strings.Contains(string(body), why) {
			s.t.Errorf("%s: %d %.300s", when, got, body)
		}
	}
}

// breakGlass is refused, gives a reason, and is let in until the time returned.
func (s *glassSite) breakGlass(c *http.Client) (until time.Time) {
	s.t.Helper()
	res, page := s.navigate(c, s.path, nil)
	if res.StatusCode != http.StatusForbidden {
		s.t.Fatalf("refused with %d", res.StatusCode)
	}
	if res, _ = s.navigate(c, s.action(page), url.Values{"reason": {"emergency"}}); res.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("granted with %d", res.StatusCode)
	}
	res, _ = s.navigate(c, s.path, nil)
	until, err := time.Parse(time.RFC3339, res.Header.Get("Matron-Break-Glass-Until"))
	if err != nil {
		s.t.Fatalf("let in with %d: %v", res.StatusCode, err)
	}
	return until
}

// endGrant ends the one that is in force, as the person does on their own list.
func (s *glassSite) endGrant(c *http.Client) {
	s.t.Helper()
	_, list := s.navigate(c, "/.matron/emergency", nil)
	grant := regexp.MustCompile(`name="grant" value="([^"]+)"`).FindStringSubmatch(list)
	if grant == nil {
		s.t.Fatalf("nothing to end: %.2000s", list)
	}
	if res, _ := s.navigate(c, "/.matron/emergency/end", url.Values{"grant": {grant[1]}}); res.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("ended with %d", res.StatusCode)
	}
}

// TestWhatIsRememberedEndsWithWhatItRestsOn asks one question before, during and after
// emergency access that is ended by the person, with the session, by the sign-in service
// and by its time, and across reloads of rules, protected patients and staff: remembered answers never
// outlive what they rest on.
func TestWhatIsRememberedEndsWithWhatItRestsOn(t *testing.T) {
	t.Parallel()
	s := &glassSite{careSite: newCareSite(t)}
	s.edit("applications:\n", "policy: {dir: rules}\nsensitivity: {patients: patients.ndjson}\nbreak_glass: {lasts: 1h}\napplications:\n")
	s.copyRules()
	s.write("patients.ndjson", "")
	s.patient = s.hospital.Patients[0].ID
	s.path = "/fhir/Observation?patient=" + s.patient
	s.start()
	if answer := s.event("A01", s.patient, inWard("ASH")); !strings.Contains(answer, "MSA|AA|") {
		t.Fatalf("an admission is answered %q", answer)
	}
	s.feed("1")
	ash, beech := s.enter(s.nurse("ASH")), s.enter(s.nurse("BEECH"))

	s.cold(beech, "before", http.StatusForbidden, "no-relationship")
	s.breakGlass(beech)
	s.warm(beech, "during")
	s.endGrant(beech)
	s.cold(beech, "ended by the person", http.StatusForbidden, "no-relationship")

	s.breakGlass(beech)
	s.warm(beech, "once more")
	s.reloads(ash, beech)
	s.navigate(beech, "/.matron/sign-out", url.Values{})
	s.cold(beech, "signed out", http.StatusUnauthorized, "no-session")
	beech = s.enter(s.nurse("BEECH"))
	s.cold(beech, "ended with the session", http.StatusForbidden, "no-relationship")

	s.breakGlass(beech)
	s.warm(beech, "in a session that the sign-in service will end")
	signedIn := time.Now() // at the latest: the next whole second is after it
	time.Sleep(time.Until(signedIn.Truncate(time.Second).Add(time.Second)))
	s.providerEnds("user-" + s.nurse("BEECH"))
	s.cold(beech, "ended by the sign-in service", http.StatusUnauthorized, "session-expired")
	beech = s.enter(s.nurse("BEECH"))
	s.cold(beech, "ended with the session by the sign-in service", http.StatusForbidden, "no-relationship")

	s.stop()
	s.edit("lasts: 1h", "lasts: 10s")
	s.start()
	s.feed("1")
	s.endsByItself(beech)
	s.stop()
}

// reloads changes what decides while somebody in ASH and somebody with emergency access
// are answered from memory.
func (s *glassSite) reloads(ash, beech *http.Client) {
	s.t.Helper()
	roles, staff := s.read("rules/roles.yaml"), s.read("staff.csv")
	s.withoutTests()
	for _, row := range []struct {
		what, file, good, bad string
		who                   *http.Client
		why                   string
	}{
		{
			"rules by which nurses may not see results", "rules/roles.yaml", roles,
			strings.Replace(roles, "      results: [read, search, list, create, update, print]\n      prescribing: [read, search, list, print]", "      prescribing: [read, search, list, print]", 1),
			beech, "role-not-permitted",
		},
		{"the patient had the record sealed", "patients.ndjson", "", `{"patient":"` + s.patient + `","flags":["sealed"]}` + "\n", ash, "sensitive-record"},
		{"the nurse works elsewhere", "staff.csv", staff, strings.Replace(staff, s.nurse("ASH")+",nurse,ASH", s.nurse("ASH")+",nurse,ELDER", 1), ash, "no-relationship"},
	} {
		if row.bad == row.good {
			s.t.Fatalf("%s: nothing changes", row.what)
		}
		s.warm(row.who, "before: "+row.what)
		for _, text := range []string{row.bad, row.good} {
			s.write(row.file, text)
			if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
				s.t.Fatalf("%s: %s", row.what, line)
			}
			if text == row.bad {
				s.cold(row.who, row.what, http.StatusForbidden, row.why)
			}
		}
		s.warm(row.who, "after: "+row.what)
	}
}

// endsByItself asks until emergency access is over: nothing that was asked for after
// its end is answered.
func (s *glassSite) endsByItself(c *http.Client) {
	s.t.Helper()
	until := s.breakGlass(c)
	s.eventually("it ends", func() error {
		for range 20 {
			asked := time.Now()
			status, _ := s.site.send(c, http.MethodGet, s.path, "", nil)
			if status == http.StatusForbidden {
				return nil
			}
			if asked.After(until.Add(time.Second)) { // the header has whole seconds
				s.t.Fatalf("asked %s after its end: %d", asked.Sub(until), status)
			}
		}
		return errors.New("it is in force")
	})
	s.cold(c, "ended by its time", http.StatusForbidden, "no-relationship")
}
