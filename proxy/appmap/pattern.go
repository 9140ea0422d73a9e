package appmap

import (
	"fmt"
	"strings"
)

// table is a lookup table of a map.
type table map[string]string

// pattern is a path pattern, cut into segments: literals, captures such as
// {id}, {id:uid} or {type:TABLE}, and "**" at the end for any rest.
type pattern struct {
	text     string
	segments []segment
	open     bool // ends with **
}

type segment struct {
	literal string
	capture string // name, "" for a literal
	class   string // "", a built-in class or the name of a table
	table   table
}

func parsePattern(text string, tables map[string]table) (pattern, error) {
	p := pattern{text: text}
	if !strings.HasPrefix(text, "/") {
		return p, fmt.Errorf("path %q must start with /", text)
	}
	for _, part := range splitPath(text, nil) {
		if p.open {
			return p, fmt.Errorf("path %q: ** may only stand at the end", text)
		}
		if part == "**" {
			p.open = true
			continue
		}
		s, err := parseSegment(part, tables)
		if err != nil {
			return p, fmt.Errorf("path %q: %w", text, err)
		}
		if s.capture != "" && p.index(s.capture) >= 0 {
			return p, fmt.Errorf("path %q captures %q twice", text, s.capture)
		}
		p.segments = append(p.segments, s)
	}
	return p, nil
}

func parseSegment(part string, tables map[string]table) (segment, error) {
	inner, braced := strings.CutPrefix(part, "{")
	if !braced {
		if part == "" || strings.ContainsAny(part, "{}*") {
			return segment{}, fmt.Errorf("segment %q: write a literal, {name}, {name:class} or **", part)
		}
		return segment{literal: part}, nil
	}
	inner, closed := strings.CutSuffix(inner, "}")
	name, class, classed := strings.Cut(inner, ":")
	if !closed || name == "" || classed && class == "" {
		return segment{}, fmt.Errorf("segment %q: write {name} or {name:class}", part)
	}
	s := segment{capture: name, class: class}
	if class == "" || isClass(class) {
		return s, nil
	}
	t, ok := tables[class]
	if !ok {
		return s, fmt.Errorf("segment %q: there is no class or table %q%s", part, class,
			didYouMean(class, append(keys(tables), classes()...)))
	}
	s.table = t
	return s, nil
}

// classes are the built-in kinds of a captured segment.
func classes() []string { return []string{"fhir-id", "number", "uid", "hex", "uuid"} }

func isClass(name string) bool {
	for _, c := range classes() {
		if c == name {
			return true
		}
	}
	return false
}

// splitPath appends the segments of an absolute path; "/" has none.
func splitPath(path string, to []string) []string {
	rest := strings.TrimPrefix(path, "/")
	for rest != "" {
		part, more, found := strings.Cut(rest, "/")
		to = append(to, part)
		if found && more == "" {
			return append(to, "")
		}
		rest = more
	}
	return to
}

func (p *pattern) match(segments []string) bool {
	if len(segments) < len(p.segments) || len(segments) > len(p.segments) && !p.open {
		return false
	}
	for i := range p.segments {
		if !p.segments[i].match(segments[i]) {
			return false
		}
	}
	return true
}

func (s *segment) match(text string) bool {
	switch {
	case s.capture == "":
		return s.literal == text
	case s.table != nil:
		_, ok := s.table[text]
		return ok
	}
	return inClass(s.class, text)
}

func inClass(class, text string) bool {
	if text == "" || len(text) > 256 {
		return false
	}
	switch class {
	case "fhir-id":
		return isFHIRID(text)
	case "number":
		return only(text, "0123456789")
	case "uid":
		return len(text) <= 64 && only(text, "0123456789.")
	case "hex":
		return only(text, "0123456789abcdefABCDEF-")
	case "uuid":
		return isUUID(text)
	}
	return true
}

// isUUID reports whether text is a UUID in the one form in which applications write
// it. Those that read others as well would take two texts for one patient.
func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash && text[i] != '-' || !dash && !only(text[i:i+1], "0123456789abcdef") {
			return false
		}
	}
	return true
}

func only(text, allowed string) bool {
	for i := range len(text) {
		if strings.IndexByte(allowed, text[i]) < 0 {
			return false
		}
	}
	return true
}

// index says which segment a capture is, -1 for none.
func (p *pattern) index(capture string) int {
	for i := range p.segments {
		if p.segments[i].capture == capture {
			return i
		}
	}
	return -1
}

// covers reports whether every path that q matches is matched by p.
func (p *pattern) covers(q *pattern) bool {
	if q.open && !p.open || len(p.segments) > len(q.segments) || len(p.segments) < len(q.segments) && !p.open {
		return false
	}
	for i := range p.segments {
		if !p.segments[i].covers(&q.segments[i]) {
			return false
		}
	}
	return true
}

func (s *segment) covers(o *segment) bool {
	if o.capture == "" {
		return s.match(o.literal)
	}
	return s.capture != "" && (s.class == "" || s.class == o.class)
}

// first returns the literal that every matching path starts with, if any.
func (p *pattern) first() (string, bool) {
	if len(p.segments) == 0 || p.segments[0].capture != "" {
		return "", false
	}
	return p.segments[0].literal, true
}
