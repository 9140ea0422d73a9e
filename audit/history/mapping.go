package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/matron-epr/matron/audit/intake"
)

// Mapping says which column of a CSV file is which field of an access. Its
// comments are the manual of the mapping file.
type Mapping struct {
	// Delimiter is one character, or tab. Default: a comma.
	Delimiter string `yaml:"delimiter"`
	// Columns names the column of each field, for example person: USER_ID. The
	// fields are those of the accesses file; id, time, person and action are
	// needed, here or among the constants. A column that stands nowhere is kept.
	Columns map[string]string `yaml:"columns"`
	// Constants are the same in every line, for example source: pas. A column
	// that has a value wins.
	Constants map[string]string `yaml:"constants"`
	// Ignore names columns that are not kept.
	Ignore []string     `yaml:"ignore"`
	Time   intake.Clock `yaml:"time"`
	// Actions and Outcomes translate the file's words, for example VIEW: read.
	// A word that is not listed is taken as it is, in lower case.
	Actions  map[string]string `yaml:"actions"`
	Outcomes map[string]string `yaml:"outcomes"`
	// Yes and No are words of yes-or-no columns besides yes, y, true, 1 and no,
	// n, false, 0.
	Yes []string `yaml:"yes"`
	No  []string `yaml:"no"`
	// Separator stands between the patients of a list. Default: a semicolon.
	Separator string `yaml:"separator"`
}

// Problem is one mistake in a mapping.
type Problem struct{ Path, Text string }

// fieldNames lists the fields of an access.
func fieldNames() []string {
	return []string{
		"id", "time", "person", "action", "source", "app", "role", "session", "device", "ip", "area", "screen", "resource", "patient",
		"nhs_number", "patients", "deliberate", "purpose", "break_glass", "reason", "outcome", "bytes", "results",
	}
}

// text is the field of that name that takes any text.
func (f *fields) text(name string) *string {
	switch name {
	case "id":
		return &f.ID
	case "person":
		return &f.Person
	case "source":
		return &f.Source
	case "app":
		return &f.App
	case "role":
		return &f.Role
	case "session":
		return &f.Session
	case "device":
		return &f.Device
	case "ip":
		return &f.IP
	case "area":
		return &f.Area
	case "screen":
		return &f.Screen
	case "resource":
		return &f.Resource
	case "patient":
		return &f.Patient
	case "nhs_number":
		return &f.NHSNumber
	case "purpose":
		return &f.Purpose
	case "reason":
		return &f.Reason
	}
	return new(string) // Validate lets no other name through
}

// Validate reports every mistake.
func (m *Mapping) Validate() []Problem {
	var ps []Problem
	add := func(path, format string, args ...any) { ps = append(ps, Problem{path, fmt.Sprintf(format, args...)}) }
	if m.Delimiter != "" && m.Delimiter != "tab" && utf8.RuneCountInString(m.Delimiter) != 1 || strings.ContainsAny(m.Delimiter, "\"\r\n") {
		add("delimiter", "must be one character, or tab")
	}
	for _, part := range []struct {
		path string
		has  map[string]string
	}{{"columns", m.Columns}, {"constants", m.Constants}} {
		for _, field := range slices.Sorted(maps.Keys(part.has)) {
			if !slices.Contains(fieldNames(), field) {
				add(part.path+"."+field, "is no field of an access: the fields are %s", strings.Join(fieldNames(), ", "))
			}
		}
	}
	for _, field := range fieldNames()[:4] {
		if m.Columns[field] == "" && m.Constants[field] == "" {
			add("columns", "%s is missing: name the column that holds it", field)
		}
	}
	columns := make(map[string]string)
	for _, field := range slices.Sorted(maps.Keys(m.Columns)) {
		if other, ok := columns[m.Columns[field]]; ok {
			add("columns."+field, "column %q is %s already", m.Columns[field], other)
		}
		columns[m.Columns[field]] = field
	}
	for _, part := range []struct {
		path    string
		has     map[string]string
		allowed []string
	}{{"actions", m.Actions, actions()}, {"outcomes", m.Outcomes, outcomes()}} {
		for _, word := range slices.Sorted(maps.Keys(part.has)) {
			if !slices.Contains(part.allowed, part.has[word]) {
				add(part.path+"."+word, "%q must be one of %s", part.has[word], strings.Join(part.allowed, ", "))
			}
		}
	}
	if _, err := m.Time.Moments(); err != nil {
		add("time", "%s", err)
	}
	return ps
}

func (m *Mapping) separator() string {
	if m.Separator == "" {
		return ";"
	}
	return m.Separator
}

func (m *Mapping) yesNo(name, value string) (*bool, error) {
	answer := true
	switch lower := strings.ToLower(value); {
	case slices.Contains(m.Yes, value) || slices.Contains([]string{"yes", "y", "true", "1"}, lower):
		return &answer, nil
	case slices.Contains(m.No, value) || slices.Contains([]string{"no", "n", "false", "0"}, lower):
		answer = false
		return &answer, nil
	}
	return nil, fmt.Errorf("%s: %w", name, errYesNo)
}
