package fhirepr

import (
	"encoding/json"
	"fmt"
	"strings"
)

// fields is what can be searched of a resource.
type fields struct {
	patient string // id of the patient it is about; for a Patient their own
	tokens  map[string][]string
	words   map[string][]string // lower case, matched from their beginning
}

// types are the resource types that this server holds.
func types() []string {
	return []string{"Patient", "Encounter", "Observation", "MedicationRequest", "DocumentReference", "AllergyIntolerance"}
}

// subjectField is where a type names its patient.
func subjectField(typ string) string {
	if typ == "AllergyIntolerance" {
		return "patient"
	}
	return "subject"
}

func indexed(v version) (fields, error) {
	f := fields{tokens: map[string][]string{}, words: map[string][]string{}}
	if v.Deleted {
		return f, nil
	}
	var m map[string]any
	if err := json.Unmarshal(v.Body, &m); err != nil {
		return f, fmt.Errorf("index %s: %w", v.Type, err)
	}
	f.tokens["status"] = texts(m["status"])
	f.tokens["identifier"] = identifiers(m["identifier"])
	f.tokens["category"] = codings(m["category"])
	if v.Type == "Patient" {
		f.patient = v.ID
		f.person(m)
		return f, nil
	}
	reference, _ := dig(m, subjectField(v.Type), "reference").(string)
	f.patient = patientID(reference)
	f.tokens["code"] = codings(m["code"])
	f.tokens["type"] = codings(m["type"])
	f.tokens["class"] = codings([]any{map[string]any{"coding": []any{m["class"]}}})
	for _, l := range slice(m["location"]) {
		f.tokens["location"] = append(f.tokens["location"], identifiers([]any{dig(l, "location", "identifier")})...)
	}
	return f, nil
}

func (f fields) person(m map[string]any) {
	f.tokens["birthdate"] = texts(m["birthDate"])
	f.tokens["gender"] = texts(m["gender"])
	for _, n := range slice(m["name"]) {
		f.words["family"] = append(f.words["family"], lower(texts(dig(n, "family")))...)
		for _, g := range slice(dig(n, "given")) {
			f.words["given"] = append(f.words["given"], lower(texts(g))...)
		}
	}
	f.words["name"] = append(append([]string{}, f.words["family"]...), f.words["given"]...)
}

// patientID takes the id out of a reference to a patient, relative or absolute.
func patientID(reference string) string {
	at := strings.LastIndex(reference, "Patient/")
	if at < 0 {
		return ""
	}
	id, _, _ := strings.Cut(reference[at+len("Patient/"):], "/")
	return id
}

func dig(v any, path ...string) any {
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[p]
	}
	return v
}

// slice makes one value and many look alike.
func slice(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

func texts(v any) []string {
	if s, ok := v.(string); ok && s != "" {
		return []string{s}
	}
	return nil
}

func lower(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}

// identifiers yields "value" and "system|value" of each.
func identifiers(v any) []string {
	var out []string
	for _, i := range slice(v) {
		out = append(out, pair(dig(i, "system"), dig(i, "value"))...)
	}
	return out
}

// codings yields "code" and "system|code" of each coding of each concept.
func codings(v any) []string {
	var out []string
	for _, concept := range slice(v) {
		for _, c := range slice(dig(concept, "coding")) {
			out = append(out, pair(dig(c, "system"), dig(c, "code"))...)
		}
	}
	return out
}

func pair(system, value any) []string {
	v, _ := value.(string)
	if v == "" {
		return nil
	}
	s, _ := system.(string)
	return []string{v, s + "|" + v}
}
