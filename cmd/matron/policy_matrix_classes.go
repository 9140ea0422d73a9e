package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/matron-epr/matron/policy/rego"
)

// protected are the sections that say who may open a record beyond the usual
// protection: a column for each area, for the first of the actions that the class counts
// for, which is reading in the built-in tables.
func protected(m rego.Matrix) []section {
	roles := titles(m)
	list := make([]section, 0, len(m.Classes))
	for _, class := range m.Classes {
		if len(class.Actions) == 0 {
			continue
		}
		s := section{Title: fmt.Sprintf("%s what is protected: %s", class.Actions[0].Code, cmp.Or(class.Title, class.Code)), Note: demanded(class.Demands)}
		for _, area := range class.Areas {
			s.Heads = append(s.Heads, area.Code)
		}
		for _, role := range m.Roles {
			if l := across(class, role.Code); slices.ContainsFunc(l.Each(), func(a shown) bool { return mark(a) != "·" }) {
				l.Title = roles[role.Code]
				s.Lines = append(s.Lines, l)
			}
		}
		list = append(list, s)
	}
	return list
}

// across is what a role may do first with a record of a class, area by area.
func across(class rego.Class, role string) titled {
	var t titled
	for _, l := range class.Lines {
		if l.Role == role {
			t.Answers, t.Caring = append(t.Answers, l.Answers[0]), append(t.Caring, l.Caring[0])
		}
	}
	return t
}

// demanded says what opening a record of a class demands.
func demanded(d rego.Demands) string {
	var list []string
	if d.Assurance > 0 {
		list = append(list, fmt.Sprintf("a sign-in of level %d", d.Assurance))
	}
	if d.SignedInWithin > 0 {
		list = append(list, fmt.Sprintf("within the last %d minutes", d.SignedInWithin))
	}
	if d.Purpose {
		list = append(list, "a stated purpose")
	}
	if len(list) == 0 {
		return ""
	}
	return "Demands " + strings.Join(list, ", ") + "."
}
