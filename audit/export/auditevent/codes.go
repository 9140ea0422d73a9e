package auditevent

// Code systems and identifier systems.
const (
	systemDCM         = "http://dicom.nema.org/resources/ontology/DCM"
	systemEventType   = "http://terminology.hl7.org/CodeSystem/audit-event-type"
	systemInteraction = "http://hl7.org/fhir/restful-interaction"
	systemEntityType  = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	systemObjectRole  = "http://terminology.hl7.org/CodeSystem/object-role"
	systemLifecycle   = "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle"
	systemSourceType  = "http://terminology.hl7.org/CodeSystem/security-source-type"
	systemPart        = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
	systemRoleClass   = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
	systemSecRole     = "http://terminology.hl7.org/CodeSystem/extra-security-role-type"
	systemProvenance  = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
	systemReason      = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	systemBALPEntity  = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
	systemAuthZ       = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
	systemJobRole     = "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName"
	systemAlertReason = "https://fhir.nhs.uk/CodeSystem/SCR-AlertReason"
	systemODS         = "https://fhir.nhs.uk/Id/ods-organization-code"

	// SystemNHSNumber is the identifier system of NHS numbers.
	SystemNHSNumber = "https://fhir.nhs.uk/Id/nhs-number"
	// SystemKind has the kinds and actions of Matron's records that no
	// standard has a code for.
	SystemKind = "https://github.com/matron-epr/matron/fhir/kind"
	// SystemReceipt has the places of records in journals, as source/seq.
	SystemReceipt = "https://github.com/matron-epr/matron/fhir/receipt"
	// SystemSource has the names of gateways.
	SystemSource = "https://github.com/matron-epr/matron/fhir/source"
	systemPolicy = "https://github.com/matron-epr/matron/fhir/policy-revision"

	extensionAbsent    = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
	extensionAssurance = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/ihe-assuranceLevel"
	profileBase        = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
)

func dcm(code, display string) Coding { return Coding{systemDCM, code, display} }

// own is a code of Matron's own. Its display is the code: it is made of words.
func own(code string) Coding { return Coding{SystemKind, code, code} }

func interaction(code string) Coding { return Coding{systemInteraction, code, code} }

func restType() Coding { return Coding{systemEventType, "rest", "Restful Operation"} }

func securityAlert() Coding { return dcm("110113", "Security Alert") }

// Types of agents.
func destination() Coding { return dcm("110152", "Destination Role ID") }
func sourceRole() Coding  { return dcm("110153", "Source Role ID") }
func application() Coding { return dcm("110150", "Application") }

func custodian() Coding { return Coding{systemProvenance, "custodian", "Custodian"} }
func recipient() Coding { return Coding{systemPart, "IRCP", "information recipient"} }
func author() Coding    { return Coding{systemPart, "AUT", "author (originator)"} }
func provider() Coding  { return Coding{systemRoleClass, "PROV", "healthcare provider"} }
func authServer() Coding {
	return Coding{systemSecRole, "authserver", "authorization server"}
}

// Types and roles of entities.
func person() *Coding       { return &Coding{systemEntityType, "1", "Person"} }
func systemObject() *Coding { return &Coding{systemEntityType, "2", "System Object"} }
func other() *Coding        { return &Coding{systemEntityType, "4", "Other"} }

func rolePatient() *Coding  { return &Coding{systemObjectRole, "1", "Patient"} }
func roleResource() *Coding { return &Coding{systemObjectRole, "4", "Domain Resource"} }
func roleSecurity() *Coding { return &Coding{systemObjectRole, "13", "Security Resource"} }
func roleQuery() *Coding    { return &Coding{systemObjectRole, "24", "Query"} }

func webServer() Coding      { return Coding{systemSourceType, "3", "Web Server"} }
func securityServer() Coding { return Coding{systemSourceType, "6", "Security Server"} }

func concept(c Coding) *CodeableConcept { return &CodeableConcept{Coding: []Coding{c}} }
