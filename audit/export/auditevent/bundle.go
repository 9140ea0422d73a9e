package auditevent

import "time"

// MediaType is what FHIR resources in JSON are sent as.
const MediaType = "application/fhir+json; charset=utf-8"

// Bundle is a page of a search.
type Bundle struct {
	ResourceType string  `json:"resourceType"`
	Type         string  `json:"type"`
	Timestamp    string  `json:"timestamp,omitempty"`
	Link         []Link  `json:"link,omitempty"`
	Entry        []Entry `json:"entry,omitempty"`
}

// Link leads to another page.
type Link struct {
	Relation string `json:"relation"`
	URL      string `json:"url"`
}

// Entry is one resource of a page.
type Entry struct {
	FullURL  string     `json:"fullUrl,omitempty"`
	Resource any        `json:"resource"`
	Search   SearchMode `json:"search"`
}

// SearchMode says why an entry is there: match, or outcome for a notice.
type SearchMode struct {
	Mode string `json:"mode"`
}

// SearchSet begins a page of a search, made at a time.
func SearchSet(at time.Time, links ...Link) Bundle {
	return Bundle{ResourceType: "Bundle", Type: "searchset", Timestamp: instant(at), Link: links}
}

// Add adds an event that the search found.
func (b *Bundle) Add(base string, e Event) {
	b.Entry = append(b.Entry, Entry{base + "/AuditEvent/" + e.ID, e, SearchMode{"match"}})
}

// Warn adds a notice about the page.
func (b *Bundle) Warn(notice string) {
	b.Entry = append(b.Entry, Entry{"", Outcome("warning", "incomplete", notice), SearchMode{"outcome"}})
}

// OperationOutcome is an error or a notice in the form of FHIR.
type OperationOutcome struct {
	ResourceType string  `json:"resourceType"`
	Issue        []Issue `json:"issue"`
}

// Issue is one thing to tell.
type Issue struct {
	Severity string          `json:"severity"`
	Code     string          `json:"code"`
	Details  CodeableConcept `json:"details"`
}

// Outcome makes an OperationOutcome of one issue; code is of the value set
// issue-type.
func Outcome(severity, code, say string) OperationOutcome {
	return OperationOutcome{"OperationOutcome", []Issue{{severity, code, CodeableConcept{Text: text(say)}}}}
}

// Capabilities says what a server of events can do.
type Capabilities struct {
	ResourceType   string         `json:"resourceType"`
	Status         string         `json:"status"`
	Date           string         `json:"date"`
	Kind           string         `json:"kind"`
	Software       Software       `json:"software"`
	Implementation Implementation `json:"implementation"`
	FHIRVersion    string         `json:"fhirVersion"`
	Format         []string       `json:"format"`
	Rest           []Rest         `json:"rest"`
}

// Software names the program.
type Software struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Implementation names the installation.
type Implementation struct {
	Description string `json:"description"`
	URL         string `json:"url,omitempty"`
}

// Rest is the REST side of a server.
type Rest struct {
	Mode     string     `json:"mode"`
	Resource []Resource `json:"resource"`
}

// Resource is what a server can do with one type.
type Resource struct {
	Type             string        `json:"type"`
	SupportedProfile []string      `json:"supportedProfile,omitempty"`
	Interaction      []Interaction `json:"interaction"`
	SearchParam      []SearchParam `json:"searchParam"`
}

// Interaction is one thing that a server can do.
type Interaction struct {
	Code string `json:"code"`
}

// SearchParam is one parameter of a search.
type SearchParam struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	Documentation string `json:"documentation"`
}

// Statement is the CapabilityStatement of a server at base, in force since a
// day.
func Statement(base, version string, since time.Time) Capabilities {
	events := Resource{
		Type:        "AuditEvent",
		Interaction: []Interaction{{"read"}, {"search-type"}},
		SearchParam: []SearchParam{
			{"patient", "reference", "One patient: Patient/ID, ID, or " + SystemNHSNumber + "|number."},
			{"agent", "reference", "One member of staff, by the id that the record has."},
			{"date", "date", "When it was recorded, with the prefixes eq, ge, gt, le and lt. May be repeated."},
		},
	}
	for _, kind := range []string{"Read", "Query", "Create", "Update", "Delete"} {
		events.SupportedProfile = append(events.SupportedProfile, profileBase+kind, profileBase+"Patient"+kind)
	}
	return Capabilities{
		ResourceType: "CapabilityStatement", Status: "active", Date: since.UTC().Format(time.DateOnly), Kind: "instance",
		Software:       Software{"Matron", text(version)},
		Implementation: Implementation{"The record of accesses to the patient record", base},
		FHIRVersion:    "4.0.1", Format: []string{"json"},
		Rest: []Rest{{"server", []Resource{events}}},
	}
}
