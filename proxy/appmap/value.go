package appmap

import (
	"fmt"
	"strings"
)

// sourceKind says which part of an exchange a source reads.
type sourceKind uint8

const (
	fromPath sourceKind = iota + 1
	fromQuery
	fromHeader
	fromForm
	fromJSON
	fromDICOM
	fromContent // media type of the request body; conditions only
)

// source is a place in an exchange, written "kind:name" in a map.
type source struct {
	kind    sourceKind
	name    string  // capture, parameter, header or field
	pointer pointer // of fromJSON
}

// String returns the source as it is written in a map.
func (s *source) String() string {
	kinds := [...]string{"", "path", "query", "header", "form", "json", "dicom", "content"}
	return kinds[s.kind] + ":" + s.name
}

// value is a literal, a source, or a lookup of a source in a table.
type value struct {
	text    string // as written
	literal string
	from    *source
	table   table // nil unless looked up
}

// reader is one side of an exchange: a request or a response.
type reader interface {
	// read returns the distinct texts at a source, in order; none when it is
	// absent. Its error wraps ErrMalformed or ErrUnreadable.
	read(s *source) ([]string, error)
	// refuse returns the error of this side for something that could be read in
	// two ways.
	refuse(why string) error
}

func parseSource(text string) (*source, error) {
	kind, name, ok := strings.Cut(text, ":")
	if !ok || name == "" {
		return nil, fmt.Errorf("%q names no place: write for example path:id, query:patient, header:X-Patient, form:pid, json:/patient/id or dicom:PatientID", text)
	}
	switch kind {
	case "path":
		return &source{kind: fromPath, name: name}, nil
	case "query":
		return &source{kind: fromQuery, name: name}, nil
	case "header":
		return &source{kind: fromHeader, name: name}, nil
	case "form":
		return &source{kind: fromForm, name: name}, nil
	case "dicom":
		if name != "PatientID" {
			return nil, fmt.Errorf("dicom:%s cannot be read: only dicom:PatientID can", name)
		}
		return &source{kind: fromDICOM, name: name}, nil
	case "json":
		p, err := parsePointer(name)
		return &source{kind: fromJSON, name: name, pointer: p}, err
	}
	return nil, fmt.Errorf("%q is no place in an exchange%s", kind,
		didYouMean(kind, []string{"path", "query", "header", "form", "json", "dicom"}))
}

// looksLikeSource keeps literals such as "Ward: list" out: a source has no space
// and starts with a word that names a part of an exchange.
func looksLikeSource(text string) bool {
	kind, rest, ok := strings.Cut(text, ":")
	return ok && rest != "" && !strings.ContainsAny(text, " \t") && kind == strings.ToLower(kind)
}

// parseValue reads a literal, "kind:name" or "table:NAME[kind:name]".
func parseValue(text string, tables map[string]table) (value, error) {
	if lookup, ok := strings.CutPrefix(text, "table:"); ok {
		name, inner, ok := strings.Cut(lookup, "[")
		if !ok || !strings.HasSuffix(inner, "]") {
			return value{}, fmt.Errorf("%q is no lookup: write table:NAME[path:id]", text)
		}
		t, known := tables[name]
		if !known {
			return value{}, fmt.Errorf("there is no table %q%s", name, didYouMean(name, keys(tables)))
		}
		from, err := parseSource(strings.TrimSuffix(inner, "]"))
		return value{text: text, from: from, table: t}, err
	}
	if looksLikeSource(text) {
		from, err := parseSource(text)
		return value{text: text, from: from}, err
	}
	return value{text: text, literal: text}, nil
}

// String returns the value as it is written in a map.
func (v value) String() string { return v.text }

// get returns the value in one side of an exchange, "" when it is absent.
// Several different texts at one place could be read in two ways: an error.
func (v *value) get(x reader) (string, error) {
	if v.from == nil {
		return v.literal, nil
	}
	texts, err := x.read(v.from)
	if err != nil || len(texts) == 0 {
		return "", err
	}
	if len(texts) > 1 {
		return "", x.refuse(v.from.name + " is given more than once")
	}
	if v.table != nil {
		return v.table[texts[0]], nil
	}
	return texts[0], nil
}
