package staff

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

const fhirJSON = "application/fhir+json"

type object = map[string]any

// task is one thing that the person's role does.
func (w *worker) task(ctx context.Context) {
	switch w.person.Role() {
	case hospital.Nurse:
		w.nurse(ctx)
	case hospital.Doctor:
		w.doctor(ctx)
	case hospital.AlliedHealth:
		w.therapist(ctx)
	case hospital.Pharmacist:
		w.pharmacist(ctx)
	case hospital.Receptionist:
		w.receptionist(ctx)
	case hospital.WardClerk, hospital.MedicalSecretary:
		w.clerk(ctx)
	default:
		w.office(ctx)
	}
}

// patient picks whom to see: nearly always somebody on the person's own ward. Anybody
// else's record is refused to most, for want of a care relationship.
func (w *worker) patient() hospital.Patient {
	if len(w.person.Wards) > 0 && w.rng.IntN(100) != 0 {
		if on := w.cfg.Hospital.OnWard(w.person.Wards[0], w.cfg.Now()); len(on) > 0 {
			if p, ok := w.cfg.Hospital.Patient(on[w.rng.IntN(len(on))]); ok {
				return p
			}
		}
	}
	return w.anybody()
}

func (w *worker) anybody() hospital.Patient {
	return w.cfg.Hospital.Patients[w.rng.IntN(len(w.cfg.Hospital.Patients))]
}

// look opens a patient's record, by the pages or by the interface.
func (w *worker) look(ctx context.Context, p hospital.Patient, parts ...string) {
	if w.rng.IntN(3) == 0 {
		w.page(ctx, w.cfg.UI+"/patients/"+p.ID)
		w.page(ctx, w.cfg.UI+"/patients/"+p.ID+"/results")
		return
	}
	w.fetch(ctx, "/Patient/"+p.ID)
	for _, part := range parts {
		w.fetch(ctx, "/"+part+"?patient="+url.QueryEscape(p.ID))
	}
}

func (w *worker) nurse(ctx context.Context) {
	if len(w.person.Wards) > 0 && w.rng.IntN(4) == 0 {
		w.page(ctx, w.cfg.UI+"/wards/"+w.person.Wards[0])
	}
	p := w.patient()
	w.look(ctx, p, "Observation", "MedicationRequest")
	switch w.rng.IntN(3) {
	case 0:
		w.write(ctx, "Observation", w.pulse(p.ID))
	case 1:
		w.round(ctx, p)
	}
}

// round sends a set of observations as one transaction.
func (w *worker) round(ctx context.Context, p hospital.Patient) {
	var entries []any
	for range 3 {
		entries = append(entries, object{
			"resource": w.pulse(p.ID), "request": object{"method": http.MethodPost, "url": "Observation"},
		})
	}
	w.write(ctx, "", object{"resourceType": "Bundle", "type": "transaction", "entry": entries})
}

func (w *worker) doctor(ctx context.Context) {
	p := w.patient()
	w.look(ctx, p, "Encounter", "Observation", "AllergyIntolerance")
	switch w.rng.IntN(4) {
	case 0:
		w.write(ctx, "MedicationRequest", w.medication(p.ID))
	case 1:
		w.submit(ctx, w.cfg.UI+"/patients/"+p.ID+"/notes", url.Values{"text": {"Seen on the ward round. Plan unchanged."}})
	}
}

func (w *worker) therapist(ctx context.Context) {
	p := w.patient()
	w.look(ctx, p, "Encounter", "DocumentReference")
	if w.rng.IntN(3) == 0 {
		w.submit(ctx, w.cfg.UI+"/patients/"+p.ID+"/notes", url.Values{"text": {"Mobilised with one. Stairs tomorrow."}})
	}
}

func (w *worker) pharmacist(ctx context.Context) {
	w.look(ctx, w.patient(), "MedicationRequest", "AllergyIntolerance", "Observation")
}

// receptionist finds somebody by name, in the body so that the name stays out of
// the address, and now and then corrects a telephone number.
func (w *worker) receptionist(ctx context.Context) {
	p := w.patient()
	w.post(ctx, http.MethodPost, "/Patient/_search", "application/x-www-form-urlencoded",
		url.Values{"family": {p.Name.Family}, "birthdate": {p.BirthDate}}.Encode(), nil)
	got := w.fetch(ctx, "/Patient/"+p.ID)
	w.fetch(ctx, "/Encounter?patient="+url.QueryEscape(p.ID))
	if w.rng.IntN(4) == 0 {
		w.correctPhone(ctx, p, got)
	}
}

func (w *worker) correctPhone(ctx context.Context, p hospital.Patient, got answer) {
	var body object
	if got.status != http.StatusOK || json.Unmarshal(got.body, &body) != nil {
		return
	}
	body["telecom"] = []any{object{"system": "phone", "use": "mobile", "value": fmt.Sprintf("07700 900%03d", w.rng.IntN(1000))}}
	data, err := json.Marshal(body)
	if err != nil {
		return
	}
	w.post(ctx, http.MethodPut, "/Patient/"+p.ID, fhirJSON, string(data), map[string]string{"If-Match": got.header.Get("ETag")})
}

func (w *worker) clerk(ctx context.Context) {
	p := w.patient()
	if len(w.person.Wards) > 0 && w.rng.IntN(2) == 0 {
		w.fetch(ctx, "/Encounter?location="+w.person.Wards[0]+"&_count=20")
	}
	w.fetch(ctx, "/Patient/"+p.ID)
	w.fetch(ctx, "/DocumentReference?patient="+url.QueryEscape(p.ID))
}

// office opens one of Matron's own pages.
func (w *worker) office(ctx context.Context) {
	if n := len(w.cfg.Dashboards); n > 0 {
		w.page(ctx, w.cfg.Dashboards[w.rng.IntN(n)])
	}
	idle(ctx, 2*time.Second)
}

func (w *worker) write(ctx context.Context, typ string, body object) {
	data, err := json.Marshal(body)
	if err != nil {
		return
	}
	path := ""
	if typ != "" {
		path = "/" + typ
	}
	w.post(ctx, http.MethodPost, path, fhirJSON, string(data), nil)
}

func (w *worker) pulse(patient string) object {
	return object{
		"resourceType": "Observation", "status": "final", "subject": object{"reference": "Patient/" + patient},
		"category":          []any{object{"coding": []any{object{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}}}},
		"code":              object{"coding": []any{object{"system": "http://loinc.org", "code": "8867-4"}}, "text": "Heart rate"},
		"effectiveDateTime": w.cfg.Now().UTC().Format(time.RFC3339),
		"valueQuantity":     object{"value": 60 + w.rng.IntN(50), "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
	}
}

func (w *worker) medication(patient string) object {
	return object{
		"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": object{"reference": "Patient/" + patient},
		"medicationCodeableConcept": object{"text": "Paracetamol 1 g four times a day"}, "authoredOn": w.cfg.Now().UTC().Format(time.RFC3339),
	}
}
