package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/policy/care/fhir/fhirtest"
)

// admit keeps an Encounter of a patient in a ward on a FHIR server; one that is known
// by its id is moved.
func admit(server *fhirtest.Server, id any, patient, ward string) any {
	at := time.Now().Add(-time.Hour).Format(time.RFC3339)
	e := map[string]any{
		"resourceType": "Encounter", "status": "in-progress", "class": map[string]any{"code": "IMP"},
		"subject": map[string]any{"reference": "Patient/" + patient}, "period": map[string]any{"start": at},
		"location": []any{map[string]any{"location": map[string]any{"reference": "Location/" + ward}, "status": "active"}},
	}
	if id != nil {
		e["id"] = id
	}
	return server.Put(e)["id"]
}

// becomes waits until a patient's results are shown, or refused.
func (s *careSite) becomes(c *http.Client, patient string, seen bool) {
	s.t.Helper()
	s.eventually("the FHIR server is asked", func() error {
		if status, body := s.site.send(c, http.MethodGet, "/fhir/Observation?patient="+patient, "", nil); (status == http.StatusOK) != seen {
			return fmt.Errorf("%d %.200s", status, body)
		}
		return nil
	})
}

// fhirSection is how a FHIR server is configured.
func (s *careSite) fhirSection(server *fhirtest.Server, silence string) string {
	s.t.Helper()
	s.write("fhir.token", fhirtest.Token+"\n")
	return fmt.Sprintf("  fhir: {base: %q, ca_file: %q, token_file: fhir.token, patients: RZZ, every: 200ms, silence: %s}\n", server.Base, server.CAFile, silence)
}

// TestFHIRServerIsASecondSource puts a FHIR server that we did not write beside the
// messages: who it says is in a ward is seen there, an entry that cannot be read stops
// nothing, and a patient who has gone elsewhere is not seen any more.
func TestFHIRServerIsASecondSource(t *testing.T) {
	t.Parallel()
	s := newCareSite(t)
	server := fhirtest.Start(t)
	s.edit("  silence: 1h\n", "  silence: 1h\n"+s.fhirSection(server, "1h"))
	patient := s.hospital.Patients[0].ID
	server.Put(map[string]any{"resourceType": "Encounter", "status": "in-progress"}) // of nobody
	encounter := admit(server, nil, patient, "ASH")
	s.start()
	s.event("A08", s.hospital.Patients[2].ID, inWard("ITU"))
	s.feed("1")
	ash, beech := s.enter(s.nurse("ASH")), s.enter(s.nurse("BEECH"))
	s.becomes(ash, patient, true)
	s.sees(beech, patient, false) // nothing is silent within an hour
	admit(server, encounter, patient, "BEECH")
	s.becomes(beech, patient, true)
	s.sees(ash, patient, false) // its newer version says that she never was there
	if got := s.metric(`matron_care_messages_total{result="fhir-garbled"}`); got == "" || got == "0" {
		t.Errorf("what cannot be read is counted %q times", got)
	}
	s.stop()
}

// TestFHIRServerAloneGoesAndComesBack decides by a FHIR server alone, without a
// listener for messages. It stops: soon nobody is refused for want of a relationship,
// and pages, metrics and record say so. It answers again: what it says counts again.
// hazard:GW-11 control:C-45
func TestFHIRServerAloneGoesAndComesBack(t *testing.T) {
	t.Parallel()
	s := &careSite{site: newRecordSite(t)}
	server := fhirtest.Start(t)
	s.write("staff.csv", s.staffList())
	s.edit("map: fhir-r4}", "map: fhir-r4, patient_authority: RZZ}")
	s.edit("applications:\n", "care:\n  staff: staff.csv\n"+s.fhirSection(server, "3s")+"applications:\n")
	s.run("check-config", "-c", s.config)
	patient := s.hospital.Patients[0].ID
	admit(server, nil, patient, "ASH")
	s.start()
	s.feed("1")
	ash, beech := s.enter(s.nurse("ASH")), s.enter(s.nurse("BEECH"))
	security := s.as(hospital.SecurityAnalyst)
	s.becomes(beech, patient, false)
	s.sees(ash, patient, true)

	server.Stop()
	s.feed("0")
	s.sees(beech, patient, true) // nobody is locked out
	status, page := s.site.send(security, http.MethodGet, "/.matron/health", "", nil)
	if status != http.StatusOK || !strings.Contains(string(page), "Nothing is heard of admissions and transfers; the last message came at") || !strings.Contains(string(page), server.Base) {
		t.Errorf("the health page: %d %.300s", status, page)
	}
	if got := s.metric("matron_care_fhir_timestamp_seconds"); got == "" || got == "0" {
		t.Errorf("last asked with success: %q", got)
	}
	if got := s.metric(`matron_care_messages_total{result="fhir-failed"}`); got == "" || got == "0" {
		t.Errorf("failures are counted %q times", got)
	}
	s.stop() // and start while it is away: what is on disk counts, as far as that goes
	s.start()
	s.feed("0")

	server.Start() // empty; but what it said still holds
	s.feed("1")
	ash, beech = s.enter(s.nurse("ASH")), s.enter(s.nurse("BEECH"))
	s.becomes(beech, patient, false)
	s.sees(ash, patient, true)
	other := s.hospital.Patients[1].ID
	admit(server, nil, other, "BEECH")
	s.becomes(beech, other, true)
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		t.Errorf("a reload: %s", line)
	}
	s.stop()
	s.silenceIsRecorded(server.Base, s.nurse("BEECH"), patient)
}

// silenceIsRecorded reads of the journal that the source was silent and was heard
// again, and that a person was let in meanwhile, with notice.
func (s *careSite) silenceIsRecorded(source, person, patient string) {
	s.t.Helper()
	var states []string
	noticed := false
	for _, r := range s.records() {
		if r.Kind == audit.KindFeed && len(r.Detail) > 0 {
			states = append(states, strings.Join(r.Detail, " "))
		}
		if slices.Contains(r.Detail, "obligation=notify-care-silent") && r.Person == person && r.Patient == patient {
			noticed = true
		}
	}
	want := []string{"feed=current", "feed=silent silent=" + source, "feed=current"}
	for _, state := range states {
		if len(want) > 0 && state == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 || !noticed {
		s.t.Errorf("states %q; let in with notice: %t", states, noticed)
	}
}
