package rego

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Class is a protection of records beyond the usual, and who may do what with a
// record that has it.
type Class struct {
	Word
	Areas   []Word  `json:"areas"`   // where it counts, in the order of their titles
	Actions []Word  `json:"actions"` // for which it counts
	Demands Demands `json:"demands"` // of a person who opens such a record
	Lines   []Line  `json:"-"`       // by area, then role; Answers are in the order of Actions
}

// Demands is what opening a record demands of a person.
type Demands struct {
	Assurance      int  `json:"assurance"`        // lowest level of authentication, 0 for any
	SignedInWithin int  `json:"signed_in_within"` // minutes, 0 for any
	Purpose        bool `json:"purpose"`          // whether they must say what for
}

// sensitivity is the part of a bundle's data that says which records are protected.
type sensitivity struct {
	Classes map[string]struct {
		Title   string   `json:"title"`
		Areas   []string `json:"areas"`
		Actions []string `json:"actions"`
		Cleared struct {
			Care []string `json:"care"`
		} `json:"cleared"`
		Demands Demands `json:"demands"`
	} `json:"classes"`
	Purposes map[string]string `json:"purposes"`
}

// classes asks about a record of each class: of people who did all that opening it
// demands, where a register says that they care for the patient in every way that
// counts. What is still refused may be open to emergency access.
func (c *compiled) classes(ctx context.Context, m Matrix, t tables) ([]Class, error) {
	list := make([]Class, 0, len(t.Sensitivity.Classes))
	for code, row := range t.Sensitivity.Classes {
		in := func(codes []string) func(Word) bool {
			return func(w Word) bool { return !slices.Contains(codes, w.Code) }
		}
		class := Class{
			Word: Word{code, row.Title}, Demands: row.Demands,
			Areas:   slices.DeleteFunc(slices.Clone(m.Areas), in(row.Areas)),
			Actions: slices.DeleteFunc(slices.Clone(m.Actions), in(row.Actions)),
		}
		for _, area := range class.Areas {
			kinds := append(slices.Clone(row.Cleared.Care), t.Relationships.Counts[area.Code]...)
			slices.Sort(kinds)
			for _, role := range m.Roles {
				l, err := c.classLine(ctx, class, role, Line{Area: area.Code, Role: role.Code}, func(q *policy.Request) {
					q.Care = policy.Care{Feed: policy.CurrentFeed, Kinds: slices.Compact(kinds)}
					q.Purpose = cmp.Or(slices.Sorted(maps.Keys(t.Sensitivity.Purposes))...)
				})
				if err != nil {
					return nil, err
				}
				class.Lines = append(class.Lines, l)
			}
		}
		list = append(list, class)
	}
	slices.SortFunc(list, func(a, b Class) int { return compare(a.Word, b.Word) })
	return list, nil
}

// classLine asks one question for each action that the class counts for.
func (c *compiled) classLine(ctx context.Context, class Class, role Role, l Line, with func(*policy.Request)) (Line, error) {
	for _, a := range class.Actions {
		q := asking(role, a.Code, l)
		q.Sensitivity.Classes = []string{class.Code}
		q.Time = time.Unix(0, 0)
		q.Subject.Assurance, q.Subject.AuthTime = 3, q.Time
		with(&q)
		if err := c.answer(ctx, &l, q); err != nil {
			return Line{}, fmt.Errorf("ask whether %s may %s %s of a patient of class %s: %w", l.Role, a.Code, l.Area, class.Code, err)
		}
	}
	return l, nil
}
