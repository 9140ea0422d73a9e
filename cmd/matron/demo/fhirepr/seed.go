package fhirepr

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Systems of identifiers and codes.
const (
	nhsNumberSystem = "https://fhir.nhs.uk/Id/nhs-number"
	hospitalSystem  = "https://demo.matron.invalid/id/hospital-number"
	wardSystem      = "https://demo.matron.invalid/id/ward"
	visitSystem     = "https://demo.matron.invalid/id/visit"
	loinc           = "http://loinc.org"
)

type object = map[string]any

// sower draws the made-up clinical content, the same for the same hospital.
type sower struct {
	rng *rand.Rand
	h   *hospital.Hospital
	n   int
}

// seed is every resource of the made-up hospital.
func seed(h *hospital.Hospital) []object {
	//nolint:gosec // the same hospital must give the same record; nothing here is secret
	s := &sower{rng: rand.New(rand.NewPCG(h.Seed, 0x657072)), h: h}
	var out []object
	for _, p := range h.Patients {
		out = append(out, patientResource(p))
	}
	for _, c := range h.Care {
		out = append(out, s.encounter(c))
	}
	for _, p := range h.Patients {
		out = append(out, s.clinical(p)...)
	}
	return out
}

func patientResource(p hospital.Patient) object {
	r := object{
		"resourceType": "Patient", "id": p.ID, "active": true,
		"identifier": []any{
			object{"system": nhsNumberSystem, "value": p.NHSNumber},
			object{"system": hospitalSystem, "value": p.ID},
		},
		"name":   []any{object{"use": "official", "family": p.Name.Family, "given": []any{p.Name.Given}}},
		"gender": p.Sex, "birthDate": p.BirthDate,
		"telecom": []any{object{"system": "phone", "value": p.Phone, "use": "mobile"}},
		"address": []any{object{"use": "home", "line": []any{p.Address.Line}, "postalCode": p.Address.Postcode}},
	}
	var contacts []any
	for _, k := range p.NextOfKin {
		contacts = append(contacts, object{
			"relationship": []any{object{"text": k.Relationship}}, "name": object{"text": k.Name},
			"telecom": []any{object{"system": "phone", "value": k.Phone}},
		})
	}
	if contacts != nil {
		r["contact"] = contacts
	}
	return r
}

func (s *sower) id(prefix string) string {
	s.n++
	return fmt.Sprintf("%s-%d", prefix, s.n)
}

func subjectOf(id string) object { return object{"reference": "Patient/" + id} }

func (s *sower) encounter(c hospital.Care) object {
	status, class := "in-progress", "IMP"
	switch c.Kind {
	case "emergency":
		class = "EMER"
	case "outpatient", "theatre":
		class, status = "AMB", "planned"
	}
	period := object{"start": c.Start.Format(time.RFC3339)}
	if !c.End.IsZero() {
		period["end"] = c.End.Format(time.RFC3339)
	}
	w, _ := s.h.Ward(c.Ward)
	return object{
		"resourceType": "Encounter", "id": s.id("enc"), "status": status,
		"class":      object{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": class},
		"identifier": []any{object{"system": visitSystem, "value": c.Visit}},
		"subject":    subjectOf(c.Patient), "period": period, "serviceType": object{"text": c.Specialty},
		"location": []any{object{"location": object{
			"identifier": object{"system": wardSystem, "value": c.Ward}, "display": w.Name,
		}}},
	}
}

// measure is something that is measured.
type measure struct {
	code, name, unit, category string
	low, spread                float64
}

func measures() []measure {
	return []measure{
		{"8867-4", "Heart rate", "/min", "vital-signs", 55, 60},
		{"8310-5", "Body temperature", "Cel", "vital-signs", 36, 3},
		{"9279-1", "Respiratory rate", "/min", "vital-signs", 12, 12},
		{"59408-5", "Oxygen saturation", "%", "vital-signs", 90, 10},
		{"718-7", "Haemoglobin", "g/L", "laboratory", 80, 90},
		{"2160-0", "Creatinine", "umol/L", "laboratory", 50, 150},
		{"2823-3", "Potassium", "mmol/L", "laboratory", 3, 3},
		{"1988-5", "C-reactive protein", "mg/L", "laboratory", 1, 200},
	}
}

func drugs() []string {
	return []string{
		"Paracetamol 1 g four times a day", "Amlodipine 5 mg once a day", "Ramipril 2.5 mg once a day",
		"Omeprazole 20 mg once a day", "Enoxaparin 40 mg once a day", "Salbutamol 2 puffs as needed",
		"Co-amoxiclav 625 mg three times a day", "Morphine sulfate 5 mg as needed",
	}
}

func notes() []string {
	return []string{
		"Reviewed on the ward round. Comfortable, eating and drinking. Plan: continue.",
		"Mobilised with one. Occupational therapy to see before discharge.",
		"Seen in clinic. Symptoms improved. Review in three months.",
		"Observations stable overnight. Family updated by telephone.",
	}
}

func draw[T any](s *sower, from []T) T { return from[s.rng.IntN(len(from))] }

// clinical is everything about one patient besides their visits.
func (s *sower) clinical(p hospital.Patient) []object {
	var out []object
	for range 3 + s.rng.IntN(5) {
		m := draw(s, measures())
		out = append(out, observation(s.id("obs"), p.ID, m, m.low+s.rng.Float64()*m.spread, s.past()))
	}
	for range s.rng.IntN(4) {
		out = append(out, prescription(s.id("med"), p.ID, draw(s, drugs()), s.past()))
	}
	for range 1 + s.rng.IntN(2) {
		out = append(out, document(s.id("doc"), p.ID, "note", "Clinical note", draw(s, notes()), s.past()))
	}
	if s.rng.IntN(2) == 0 {
		out = append(out, document(s.id("doc"), p.ID, "letter", "Letter to the general practitioner", draw(s, notes()), s.past()))
	}
	if s.rng.IntN(3) == 0 {
		out = append(out, object{
			"resourceType": "AllergyIntolerance", "id": s.id("all"), "patient": subjectOf(p.ID),
			"clinicalStatus": object{"coding": []any{object{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}}},
			"code":           object{"text": draw(s, []string{"Penicillin", "Latex", "Peanuts", "Ibuprofen", "Elastoplast"})},
		})
	}
	return out
}

func (s *sower) past() time.Time {
	return s.h.Day.Add(-time.Duration(s.rng.IntN(14*24*60)) * time.Minute)
}

func observation(id, patient string, m measure, value float64, at time.Time) object {
	return object{
		"resourceType": "Observation", "id": id, "status": "final", "subject": subjectOf(patient),
		"category":          []any{object{"coding": []any{object{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": m.category}}}},
		"code":              object{"coding": []any{object{"system": loinc, "code": m.code}}, "text": m.name},
		"effectiveDateTime": at.Format(time.RFC3339),
		"valueQuantity":     object{"value": float64(int(value*10)) / 10, "unit": m.unit, "system": "http://unitsofmeasure.org", "code": m.unit},
	}
}

func prescription(id, patient, text string, at time.Time) object {
	return object{
		"resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order", "subject": subjectOf(patient),
		"medicationCodeableConcept": object{"text": text}, "authoredOn": at.Format(time.RFC3339),
	}
}

func document(id, patient, kind, title, text string, at time.Time) object {
	return object{
		"resourceType": "DocumentReference", "id": id, "status": "current", "subject": subjectOf(patient),
		"type": object{"coding": []any{object{"system": "https://demo.matron.invalid/document-type", "code": kind}}, "text": title},
		"date": at.Format(time.RFC3339),
		"content": []any{object{"attachment": object{
			"contentType": "text/plain; charset=utf-8", "title": title, "data": base64.StdEncoding.EncodeToString([]byte(text)),
		}}},
	}
}
