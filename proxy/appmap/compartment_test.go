package appmap

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// compartment is the R4 patient compartment: by type, the element that says whom
// it is about, and the search parameters that put it there, the subject's first.
// A Patient is itself what it is about.
const compartment = `
Account subject subject
AdverseEvent subject subject
AllergyIntolerance patient patient recorder asserter
Appointment participant.actor actor patient
AppointmentResponse actor actor patient
AuditEvent entity.what patient
Basic subject patient author
BodyStructure patient patient
CarePlan subject patient performer
CareTeam subject patient participant
ChargeItem subject subject patient
Claim patient patient payee
ClaimResponse patient patient
ClinicalImpression subject subject patient
Communication subject subject sender recipient
CommunicationRequest subject subject sender recipient requester
Composition subject subject author attester
Condition subject patient asserter
Consent patient patient
Coverage beneficiary beneficiary policy-holder subscriber payor
CoverageEligibilityRequest patient patient
CoverageEligibilityResponse patient patient
DetectedIssue patient patient
DeviceRequest subject subject performer
DeviceUseStatement subject subject patient
DiagnosticReport subject subject patient
DocumentManifest subject subject author recipient
DocumentReference subject subject author
Encounter subject patient subject
EnrollmentRequest candidate subject patient
EpisodeOfCare patient patient
ExplanationOfBenefit patient patient payee
FamilyMemberHistory patient patient
Flag subject patient subject
Goal subject patient subject
Group member.entity member
ImagingStudy subject patient subject
Immunization patient patient
ImmunizationEvaluation patient patient
ImmunizationRecommendation patient patient
Invoice subject subject patient recipient
List subject subject source
MeasureReport subject patient subject
Media subject subject patient
MedicationAdministration subject patient performer subject
MedicationDispense subject subject patient receiver
MedicationRequest subject subject patient
MedicationStatement subject subject patient
MolecularSequence patient patient
NutritionOrder patient patient
Observation subject subject performer
Patient - _id link
Person link.target patient
Procedure subject patient performer
Provenance target patient
QuestionnaireResponse subject subject author
RelatedPerson patient patient
RequestGroup subject subject participant
ResearchSubject individual individual patient
RiskAssessment subject subject patient
Schedule actor actor
ServiceRequest subject subject performer
Specimen subject subject patient
SupplyDelivery patient patient
SupplyRequest deliverTo subject
Task for patient focus
VisionPrescription patient patient
`

type compartmentType struct {
	kind, element, param string
	others               []string // parameters
}

func compartmentTypes(t *testing.T) []compartmentType {
	t.Helper()
	var all []compartmentType
	for line := range strings.Lines(strings.TrimSpace(compartment)) {
		f := strings.Fields(line)
		all = append(all, compartmentType{f[0], f[1], f[2], f[3:]})
	}
	if len(all) != 67 {
		t.Fatalf("%d types, the R4 patient compartment has 67", len(all))
	}
	return all
}

// about is a resource of a type whose subject is a patient.
func (m compartmentType) about(reference string) string {
	body := fmt.Sprintf(`{"reference":%q}`, reference)
	parts := strings.Split(m.element, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		body = fmt.Sprintf(`{%q:%s}`, parts[i], body)
		if i > 0 {
			body = "[" + body + "]"
		}
	}
	return fmt.Sprintf(`{"resourceType":%q,`, m.kind) + body[1:]
}

// TestEveryTypeOfTheCompartment takes each type through every way in which its
// patient shows.
func TestEveryTypeOfTheCompartment(t *testing.T) {
	m := mounted(t)
	for _, c := range compartmentTypes(t) {
		if _, ok := m.tables["areas"][c.kind]; !ok {
			t.Errorf("%s has no area", c.kind)
			continue
		}
		for _, param := range c.others {
			// Whoever performed or asserted something is not whom it is about.
			named := hasWord(m.tables["params"][c.kind], param)
			got := try(t, m, "GET", "/"+c.kind+"?"+param+"=Patient/p1", "", "")
			if got.Unmapped != nil || !got.Access.Hold || (got.Access.Certainty == audit.Authoritative) != named {
				t.Errorf("%s by %s: %+v", c.kind, param, got)
			}
		}
		if c.kind == "Patient" {
			continue // TestCorpus has it in every way
		}
		t.Run(c.kind, func(t *testing.T) {
			attributed := func(how string, got Trial, hold bool) {
				t.Helper()
				if got.Refused != nil || got.Unmapped != nil || got.Access.Certainty != audit.Authoritative || got.Access.Hold != hold ||
					!cmp.Equal(ids(got.Access.Patients), []string{"p1"}) {
					t.Errorf("%s: %v %v %+v", how, got.Refused, got.Unmapped, got.Access)
				}
			}
			attributed("search", try(t, m, "GET", "/"+c.kind+"?"+c.param+"=Patient/p1", "", ""), true)
			attributed("posted search", try(t, m, "POST", "/"+c.kind+"/_search", "application/x-www-form-urlencoded", c.param+"=p1"), true)
			attributed("compartment search", try(t, m, "GET", "/Patient/p1/"+c.kind, "", ""), true)
			attributed("chain", try(t, m, "GET", "/"+c.kind+"?"+c.param+":Patient._id=p1", "", ""), true)
			attributed("create", try(t, m, "POST", "/"+c.kind, fhirType, c.about("Patient/p1")), false)
			attributed("update", try(t, m, "PUT", "/"+c.kind+"/x", fhirType, c.about("Patient/p1")), false)
			attributed("conditional delete", try(t, m, "DELETE", "/"+c.kind+"?"+c.param+"=p1", "", ""), true)
			c.settled(t, m)
		})
	}
}

// settled: a read is of unknown patients until the answer names them.
func (m compartmentType) settled(t *testing.T, by *Map) {
	t.Helper()
	for reference, want := range map[string]audit.Certainty{"Patient/p1": audit.Authoritative, "Group/g1": audit.Unknown, "#nobody": audit.Unknown} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://epr.example/"+m.kind+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := Try(by, Exchange{
			Request: r, ResponseBody: []byte(m.about(reference)),
			Response: &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {fhirType}}, Request: r},
		})
		if got.Access.Certainty != audit.Unknown || !got.Settled || got.Withheld != nil || got.Settlement.Certainty != want {
			t.Errorf("read of %s: %+v", reference, got)
		}
	}
}

// Every type that the map knows says whom it is about, or is reference data that
// was looked at and names nobody.
func TestReferenceDataIsKnown(t *testing.T) {
	m := mounted(t)
	reference := map[string]bool{
		"Patient": true, "Practitioner": true, "PractitionerRole": true, "Organization": true, "Location": true,
		"HealthcareService": true, "Slot": true, "Medication": true, "Questionnaire": true, "ValueSet": true,
		"CodeSystem": true, "StructureDefinition": true,
	}
	for _, kind := range keys(m.tables["areas"]) {
		if _, about := m.tables["subjects"][kind]; about == reference[kind] {
			t.Errorf("%s: has a subject: %v, is reference data: %v", kind, about, reference[kind])
		}
		if _, searched := m.tables["params"][kind]; searched == reference[kind] {
			t.Errorf("%s: has parameters: %v, is reference data: %v", kind, searched, reference[kind])
		}
	}
}
