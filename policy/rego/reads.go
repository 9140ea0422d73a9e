package rego

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// readFields returns the fields of a question that the rules can look at: those
// that a reference beginning with input names, and all of them as soon as one
// reference leaves open which (hazard GW-08: an answer given for one question
// must never be given for another). Only these are sent to the hot query, and
// only these make up the key of its cache.
func readFields(all []field, rules []*ast.Rule) []field {
	seen := sightings{groups: map[string]bool{}, paths: map[string]bool{}}
	for _, f := range all {
		seen.groups[f.group] = true
	}
	for _, r := range rules {
		seen.walk(r)
	}
	if seen.whole {
		return all
	}
	var fields []field
	for _, f := range all {
		if seen.paths[f.path()] || f.group != "" && seen.paths[f.group] {
			fields = append(fields, f)
		}
	}
	return fields
}

// path is where rules find the field below input.
func (f field) path() string {
	name := strings.Trim(f.name.String(), `"`)
	if f.group != "" {
		return f.group + "." + name
	}
	return name
}

// sightings are the parts of input that rules refer to.
type sightings struct {
	whole  bool // input itself, or a part that is chosen at evaluation
	groups map[string]bool
	paths  map[string]bool
}

func (s *sightings) walk(x any) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Ref:
			if !isInput(x[0].Value) {
				return false
			}
			s.note(x)
			for _, term := range x[1:] {
				s.walk(term)
			}
			return true
		case ast.Var:
			s.whole = s.whole || isInput(x)
		}
		return false
	}).Walk(x)
}

// note records the field that a reference names. A reference to a whole group
// counts for every field of it.
func (s *sightings) note(ref ast.Ref) {
	if len(ref) == 1 {
		s.whole = true
		return
	}
	first, ok := ref[1].Value.(ast.String)
	switch {
	case !ok:
		s.whole = true
	case !s.groups[string(first)] || len(ref) == 2:
		s.paths[string(first)] = true
	default:
		if second, ok := ref[2].Value.(ast.String); ok {
			s.paths[string(first)+"."+string(second)] = true
		} else {
			s.paths[string(first)] = true
		}
	}
}

func isInput(v ast.Value) bool { return ast.InputRootDocument.Value.Compare(v) == 0 }
