package auditevent_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The rules of IHE Basic Audit Log Patterns, written from the profiles and not
// from the converter: what is checked is the JSON, by its own types.

type (
	coding  struct{ System, Code string }
	concept struct{ Coding []coding }
	agent   struct {
		Type      concept
		Who       map[string]any
		AltID     string `json:"altId"`
		Requestor *bool
		Policy    []string
		Network   map[string]any
		Media     map[string]any
	}
	entity struct {
		What      map[string]any
		Type      coding
		Role      coding
		Lifecycle *coding
		Name      string
		Query     string
		Detail    []any
	}
	event struct {
		Meta     struct{ Profile []string }
		Type     coding
		Subtype  []coding
		Action   string
		Recorded string
		Outcome  string
		Agent    []agent
		Entity   []entity
	}
	// rules are those of one BALP profile.
	rules struct {
		action         string
		subtypes       []string
		client, server coding
		user           []string
		query          bool
	}
)

const (
	dicom   = "http://dicom.nema.org/resources/ontology/DCM"
	profile = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
	types   = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
	roles   = "http://terminology.hl7.org/CodeSystem/object-role"
)

func balp() map[string]rules {
	source, destination := coding{dicom, "110153"}, coding{dicom, "110152"}
	writers := []string{"AUT", "INF", "CST"}
	return map[string]rules{
		"Read":   {"R", []string{"read", "vread"}, destination, source, []string{"IRCP"}, false},
		"Query":  {"E", []string{"search", "search-type", "search-system"}, source, destination, []string{"IRCP"}, true},
		"Create": {"C", []string{"create"}, source, destination, writers, false},
		"Update": {"U", []string{"update", "patch"}, source, destination, writers, false},
		"Delete": {
			"D",
			[]string{"delete"},
			coding{dicom, "110150"},
			coding{"http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian"},
			writers, false,
		},
	}
}

func isUser(a agent) bool {
	return slices.ContainsFunc(a.Type.Coding, func(c coding) bool {
		return c.System == "http://terminology.hl7.org/CodeSystem/v3-ParticipationType" && slices.Contains([]string{"IRCP", "AUT", "INF", "CST"}, c.Code)
	})
}

// check lists what an event in JSON does wrong.
func check(text []byte) (wrong []string) {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return []string{err.Error()}
	}
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if len(e.Agent) == 0 {
		bad("no agent")
	}
	for i, a := range e.Agent {
		switch {
		case a.Requestor == nil:
			bad("agent %d has no requestor", i)
		case isUser(a) && !*a.Requestor:
			bad("the user is not the requestor")
		}
		if isUser(a) && (a.Network != nil || a.Media != nil) {
			bad("the user has a network or media")
		}
	}
	if n := len(entities(e, coding{types, "1"})); n > 1 {
		bad("%d patients in one event", n)
	}
	for _, q := range e.Entity {
		if q.Name != "" && q.Query != "" {
			bad("an entity has both name and query (sev-1)")
		}
		if q.Role == (coding{roles, "24"}) {
			if raw, err := base64.StdEncoding.DecodeString(q.Query); err != nil || len(raw) == 0 {
				bad("the query is not base64: %v", err)
			}
		}
	}
	for _, p := range e.Meta.Profile {
		name, patient := strings.CutPrefix(strings.TrimPrefix(p, profile), "Patient")
		r, ok := balp()[name]
		if !ok || !strings.HasPrefix(p, profile) {
			bad("unknown profile %s", p)
			continue
		}
		wrong = append(wrong, checkProfile(e, r, name, patient)...)
	}
	return wrong
}

func entities(e event, kind coding) (found []entity) {
	for _, x := range e.Entity {
		if x.Type == kind {
			found = append(found, x)
		}
	}
	return found
}

func checkProfile(e event, r rules, name string, patient bool) (wrong []string) {
	bad := func(format string, args ...any) {
		wrong = append(wrong, name+": "+fmt.Sprintf(format, args...))
	}
	if e.Type != (coding{"http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"}) {
		bad("type %v", e.Type)
	}
	if !slices.ContainsFunc(e.Subtype, func(c coding) bool {
		return c.System == "http://hl7.org/fhir/restful-interaction" && slices.Contains(r.subtypes, c.Code)
	}) {
		bad("subtype %v", e.Subtype)
	}
	if e.Action != r.action || e.Outcome != "0" || e.Recorded == "" {
		bad("action %q, outcome %q, recorded %q", e.Action, e.Outcome, e.Recorded)
	}
	for what, kind := range map[string]coding{"client": r.client, "server": r.server} {
		var found []agent
		for _, a := range e.Agent {
			if slices.Contains(a.Type.Coding, kind) {
				found = append(found, a)
			}
		}
		if len(found) != 1 || len(found[0].Who) == 0 || len(found[0].Network) == 0 || found[0].Media != nil {
			bad("%s: %+v", what, found)
		}
	}
	users := 0
	for _, a := range e.Agent {
		if !isUser(a) {
			continue
		}
		users++
		if !slices.Contains(r.user, a.Type.Coding[0].Code) || len(a.Who) == 0 {
			bad("user %+v", a)
		}
		if name == "Delete" && (a.AltID != "" || a.Policy != nil) {
			bad("the user has another id or a policy")
		}
	}
	if users > 1 {
		bad("%d users", users)
	}
	things := entities(e, coding{types, "2"})
	switch {
	case len(things) != 1:
		bad("%d system objects", len(things))
	case r.query:
		q := things[0]
		if q.Role != (coding{roles, "24"}) || q.Query == "" || q.What != nil || q.Detail != nil || q.Lifecycle != nil {
			bad("query %+v", q)
		}
	default:
		d := things[0]
		if !slices.Contains([]string{"3", "4", "20"}, d.Role.Code) || len(d.What) == 0 {
			bad("data %+v", d)
		}
		if d.Lifecycle != nil || d.Name != "" || d.Query != "" || d.Detail != nil {
			bad("data has more than its reference: %+v", d)
		}
	}
	persons := entities(e, coding{types, "1"})
	switch {
	case !patient && len(persons) > 0:
		bad("a patient in a profile without one")
	case patient && len(persons) != 1:
		bad("%d patients", len(persons))
	case patient:
		p := persons[0]
		ref, _ := p.What["reference"].(string)
		if p.Role != (coding{roles, "1"}) || !strings.HasPrefix(ref, "Patient/") && p.What["type"] != "Patient" {
			bad("patient %+v", p)
		}
		if p.Lifecycle != nil || p.Name != "" || p.Query != "" || p.Detail != nil {
			bad("the patient has more than a reference: %+v", p)
		}
	}
	for _, x := range entities(e, coding{"https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId"}) {
		if id, _ := x.What["identifier"].(map[string]any); id["value"] == nil {
			bad("request id %+v", x)
		}
	}
	return wrong
}

// TestCheckerKnowsMistakes keeps the checker honest: each of these mistakes,
// some of them made by other products, must be found.
func TestCheckerKnowsMistakes(t *testing.T) {
	good := string(marshal(t, sample("read")))
	if wrong := check([]byte(good)); len(wrong) > 0 {
		t.Fatalf("the good event: %v", wrong)
	}
	for name, change := range map[string][2]string{
		"network on the user":    {`"name":"Nurse Test","requestor":true`, `"name":"Nurse Test","requestor":true,"network":{"address":"10.0.0.1","type":"2"}`},
		"user not requestor":     {`"name":"Nurse Test","requestor":true`, `"name":"Nurse Test","requestor":false`},
		"client without network": {`"requestor":false,"network":{"address":"10.20.30.40","type":"2"}`, `"requestor":false`},
		"roles the wrong way":    {`"code":"110152"`, `"code":"110151"`},
		"failure as success":     {`"outcome":"0"`, `"outcome":"4"`},
		"wrong action":           {`"action":"R"`, `"action":"E"`},
		"patient is no patient":  {`"reference":"Patient/`, `"reference":"Person/`},
		"wrong profile":          {`IHE.BasicAudit.PatientRead`, `IHE.BasicAudit.Read`},
		"unknown profile":        {`IHE.BasicAudit.PatientRead`, `IHE.BasicAudit.PatientPeek`},
		"detail on data":         {`"what":{"reference":"DiagnosticReport/887"}`, `"what":{"reference":"DiagnosticReport/887"},"detail":[{"type":"a","valueString":"b"}]`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: %q is not in %s", name, change[0], good)
		} else if len(check([]byte(bad))) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
