package rego

import (
	"fmt"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// The cache of one evaluation answers like the one of OPA, whatever is put into it.
func TestAnswersAreThoseOfOPA(t *testing.T) {
	var r room
	for round := range 2 { // the second time in room that was used before
		ours, theirs := r.take(), topdown.NewVirtualCache()
		for i := range 3 * fewAnswers {
			switch i {
			case fewAnswers / 2, 2 * fewAnswers:
				ours.Push()
				theirs.Push()
			case 2*fewAnswers + 5:
				ours.Pop()
				theirs.Pop()
			}
			ref := ast.MustParseRef(fmt.Sprintf("data.matron.r%d", i%(fewAnswers+9)))
			if i%3 == 0 {
				ref = append(ref, ast.InternedTerm(i), ast.StringTerm("deep"))
			}
			var value *ast.Term
			if i%4 > 0 {
				value = ast.InternedTerm(i)
			}
			for _, c := range []topdown.VirtualCache{ours, theirs} {
				if had, undefined := c.Get(ref); had == nil && !undefined {
					c.Put(ref, value)
				}
			}
			ref[2] = ast.StringTerm("changed by its owner")
			for j := range i + 1 {
				ref := ast.MustParseRef(fmt.Sprintf("data.matron.r%d", j))
				if j%3 == 0 {
					ref = append(ref, ast.InternedTerm(j), ast.StringTerm("deep"))
				}
				a, undefinedA := ours.Get(ref)
				b, undefinedB := theirs.Get(ref)
				if a != b || undefinedA != undefinedB {
					t.Fatalf("round %d, after %d: %v is %v %v, want %v %v", round, i, ref, a, undefinedA, b, undefinedB)
				}
			}
		}
		r.giveBack(ours)
	}
}

func TestDocumentsAreThoseOfTheStore(t *testing.T) {
	c := loadDefault(t)
	for text, want := range map[string]bool{
		`data.roles.nurse.machine`: true, `data.roles["no such"]`: false, `data.reasons[0]`: false, `data`: false, `data.matron.allow`: false,
	} {
		got := c.documents.Get(ast.MustParseRef(text))
		if (got != nil) != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
