package fhir

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/matron-epr/matron/policy/care"
)

// Config says what the ids of one server mean.
type Config struct {
	Source        string            // what the evidence calls the server
	Patients      string            // authority of the ids of its Patient resources
	Practitioners string            // authority of the ids of its Practitioner resources, "" if they are those of the staff list
	Systems       map[string]string // authority by identifier system, besides those of the NHS
}

// The errors of reading. None of them holds a value of a resource.
var (
	ErrResource = errors.New("not a FHIR resource that can be read")
	errTime     = errors.New("not a FHIR time")
)

// maxBytes bounds a resource or bundle.
const maxBytes = 16 << 20

// Read returns what a resource says, or each entry of a Bundle; nothing for one
// that says nothing about care. Received is when it came, for one that does not
// say when it was last updated.
func Read(c Config, data []byte, received time.Time) ([]care.Message, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%w: too large", ErrResource)
	}
	r, err := parse(data)
	if err != nil {
		return nil, err
	}
	if r.ResourceType != "Bundle" {
		m, err := c.message(r, received)
		if err != nil || len(m) == 0 {
			return nil, err
		}
		return []care.Message{m}, nil
	}
	var out []care.Message
	for i, e := range r.Entry {
		one, err := parse(e.Resource)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		m, err := c.message(one, received)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		if len(m) > 0 {
			out = append(out, m)
		}
	}
	return out, nil
}

func parse(data []byte) (*resource, error) {
	var kind struct {
		ResourceType string `json:"resourceType"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, fmt.Errorf("%w: not JSON", ErrResource)
	}
	r := &resource{ResourceType: kind.ResourceType}
	switch kind.ResourceType {
	case "Encounter", "Appointment", "CareTeam", "Patient", "Bundle":
		if err := json.Unmarshal(data, r); err != nil {
			return nil, fmt.Errorf("%w: a field has another type", ErrResource)
		}
	case "":
		return nil, fmt.Errorf("%w: no resourceType", ErrResource)
	}
	return r, nil
}

// message returns the changes of one resource.
func (c *Config) message(r *resource, received time.Time) (care.Message, error) {
	read := map[string]func(*resource, care.Change) care.Message{"Encounter": c.encounter, "Appointment": c.appointment, "CareTeam": c.team}[r.ResourceType]
	if read == nil && r.ResourceType != "Patient" || r.Status == "unknown" {
		return nil, nil
	}
	name := r.ResourceType + "/" + r.ID
	base := care.Change{Kind: care.Replace, Source: c.Source, Control: name, Visit: name, Sent: r.Meta.LastUpdated.Time}
	if base.Sent.IsZero() {
		base.Sent = received
	}
	base.At = base.Sent
	if base.Patient = c.patients(r); len(base.Patient) == 0 || r.ID == "" {
		return nil, fmt.Errorf("%w: %s without id or patient", ErrResource, r.ResourceType)
	}
	var m care.Message
	if read == nil {
		m = c.numbers(r, base)
	} else {
		m = append(care.Message{base}, read(r, base)...)
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ResourceType, err)
	}
	return m, nil
}

// numbers reads a Patient: which numbers go with its id. Where the hospital has one of
// its own, the id is another number of that patient, whichever was heard of first.
func (c *Config) numbers(r *resource, base care.Change) care.Message {
	var all []identifier
	_ = json.Unmarshal(r.Identifier, &all) // none, where they cannot be read
	own := base.Patient[0]
	var numbers []care.ID
	for _, i := range all {
		if id, ok := c.identified(i); ok && i.Use != "old" && id != own && len(numbers) < maxNumbers {
			numbers = append(numbers, id)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	base.Kind, base.Visit = care.Identify, ""
	local := slices.IndexFunc(numbers, func(id care.ID) bool { return id.Authority != care.NHS })
	if local < 0 {
		base.Patient = append([]care.ID{own}, numbers...)
		return care.Message{base}
	}
	link := base
	base.Patient = numbers
	link.Kind, link.Patient, link.Prior = care.Merge, numbers[local:local+1], own
	return care.Message{base, link}
}

// maxNumbers bounds those of a patient.
const maxNumbers = 15

// patients returns the numbers of the patient of a resource.
func (c *Config) patients(r *resource) []care.ID {
	if r.ResourceType == "Patient" {
		return []care.ID{{Authority: c.Patients, Value: r.ID}}
	}
	who := []reference{r.Subject}
	for _, p := range r.Participant {
		who = append(who, p.Actor)
	}
	for _, one := range who {
		kind, id := one.names()
		if kind != "Patient" {
			continue
		}
		var out []care.ID
		if id != "" {
			out = append(out, care.ID{Authority: c.Patients, Value: id})
		}
		if known, ok := c.identified(one.Identifier); ok {
			out = append(out, known)
		}
		return out
	}
	return nil
}

// identified returns an identifier whose system has an authority here. An NHS number
// with a wrong check digit is nobody's.
func (c *Config) identified(i identifier) (care.ID, bool) {
	authority, ok := c.Systems[i.System]
	if !ok {
		authority, ok = map[string]string{
			"https://fhir.nhs.uk/Id/nhs-number":          care.NHS,
			"https://fhir.hl7.org.uk/Id/gmc-number":      "GMC",
			"https://fhir.hl7.org.uk/Id/nmc-number":      "NMC",
			"https://fhir.nhs.uk/Id/sds-user-id":         "SDS",
			"https://fhir.hl7.org.uk/Id/hcpc-number":     "HCPC",
			"https://fhir.hl7.org.uk/Id/gphc-number":     "GPHC",
			"https://fhir.nhs.uk/Id/sds-role-profile-id": "SDSROLE",
		}[i.System]
	}
	return care.ID{Authority: authority, Value: i.Value}, ok && i.Value != "" && (authority != care.NHS || care.ValidNHS(i.Value))
}

// people returns the practitioners whom a resource names.
func (c *Config) people(r *resource) []care.Clinician {
	var out []care.Clinician
	for _, p := range r.Participant {
		who := p.who()
		kind, id := who.names()
		if kind != "Practitioner" {
			continue
		}
		one, ok := c.identified(who.Identifier)
		if !ok {
			one = care.ID{Authority: c.Practitioners, Value: id}
		}
		if one.Value != "" {
			out = append(out, care.Clinician{ID: one, Referring: p.refers()})
		}
	}
	return out
}

// place is what a reference to a location is called.
func place(r reference) string {
	if r.Identifier.Value != "" {
		return r.Identifier.Value
	}
	_, id := r.names()
	return id
}

// class is the class of a visit by its code of v3-ActCode.
func class(raw json.RawMessage) care.Class {
	var c coding
	_ = json.Unmarshal(raw, &c) // a class that cannot be read is unknown
	switch c.Code {
	case "IMP", "ACUTE", "NONAC", "OBSENC", "SS":
		return 'I'
	case "EMER":
		return 'E'
	case "AMB", "VR", "HH", "FLD":
		return 'O'
	}
	return 0
}

// encounter reads an Encounter: a stay for each of its places. Cancelled, it was
// none.
func (c *Config) encounter(r *resource, base care.Change) care.Message {
	base.Class, base.People = class(r.Class), clip(c.people(r))
	if !r.Period.Start.IsZero() {
		base.At = r.Period.Start.Time
	}
	places := wards(r.Location)
	switch r.Status {
	case "planned":
		base.Kind, base.At, base.Start, base.End = care.Plan, base.Sent, r.Period.Start.Time, r.Period.End.Time
		if len(places) > 0 {
			base.Ward = place(places[0].Location)
		}
		return care.Message{base}
	case "cancelled", "entered-in-error":
		return nil
	}
	out := stays(base, places)
	switch r.Status {
	case "finished", "discharged", "completed":
		end := base
		end.Kind, end.At, end.People = care.End, end.Sent, nil
		if !r.Period.End.IsZero() {
			end.At = r.Period.End.Time
		}
		out = append(out, end)
	}
	return out
}

// stays returns a stay in each place, in the order of time.
func stays(base care.Change, places []location) care.Message {
	base.Kind = care.Stay
	if len(places) == 0 {
		return care.Message{base}
	}
	var out care.Message
	for i, l := range places {
		s := base
		s.Ward = place(l.Location)
		if !l.Period.Start.IsZero() {
			s.At = l.Period.Start.Time
		}
		if i > 0 { // two places may begin at the same time
			s.Control += "#" + strconv.Itoa(i+1)
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b care.Change) int { return a.At.Compare(b.At) })
	return out
}

// wards returns the places where the patient has been: of wards, rooms and beds
// the wards, where the resource says which is which.
func wards(all []location) []location {
	been := slices.DeleteFunc(slices.Clone(all), func(l location) bool {
		return l.Status == "planned" || l.Status == "reserved" || place(l.Location) == ""
	})
	if slices.ContainsFunc(been, func(l location) bool { return l.Physical.is("wa") }) {
		been = slices.DeleteFunc(been, func(l location) bool { return !l.Physical.is("wa") })
	}
	return been
}

// appointment reads an Appointment. One that is off, or has no time yet, is none.
func (c *Config) appointment(r *resource, base care.Change) care.Message {
	switch r.Status {
	case "cancelled", "noshow", "entered-in-error":
		return nil
	}
	if r.Start.IsZero() {
		return nil
	}
	base.Kind, base.Clinic, base.Class, base.Start, base.End, base.People = care.Plan, true, 'O', r.Start.Time, r.End.Time, clip(c.people(r))
	for _, p := range r.Participant {
		if kind, _ := p.Actor.names(); kind == "Location" {
			base.Ward = place(p.Actor)
		}
	}
	return care.Message{base}
}

// team reads a CareTeam: its practitioners, and the organisations and teams that
// are members or manage it. One that has ended says until when it was.
func (c *Config) team(r *resource, base care.Change) care.Message {
	if r.Status == "entered-in-error" || r.Status == "proposed" || r.Status != "active" && r.Period.End.IsZero() {
		return nil
	}
	base.Kind, base.Start, base.End = care.CareTeam, r.Period.Start.Time, r.Period.End.Time
	var out care.Message
	add := func(change func(*care.Change)) {
		one := base
		if len(out) > 0 {
			one.Control += "#" + strconv.Itoa(len(out)+1)
		}
		change(&one)
		out = append(out, one)
	}
	for people := range slices.Chunk(c.people(r), care.MaxPeople) {
		add(func(one *care.Change) { one.People = people })
	}
	teams := slices.Clone(r.Managing)
	for _, p := range r.Participant {
		if kind, _ := p.Member.names(); kind == "Organization" || kind == "CareTeam" {
			teams = append(teams, p.Member)
		}
	}
	for _, t := range teams {
		if name := place(t); name != "" {
			add(func(one *care.Change) { one.Team = name })
		}
	}
	return out
}

// clip leaves as many people as a change can hold.
func clip(people []care.Clinician) []care.Clinician {
	return people[:min(len(people), care.MaxPeople)]
}
