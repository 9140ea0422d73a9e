package rego_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

// cell is the answer of the matrix, deny where it has no line.
func cell(m rego.Matrix, role, area, resource string, action policy.Action) policy.Effect {
	at := slices.IndexFunc(m.Actions, func(w rego.Word) bool { return w.Code == string(action) })
	for _, l := range m.Lines {
		if l.Role == role && l.Area == area && l.Resource == resource {
			return l.Answers[at].Effect
		}
	}
	return policy.Deny
}

// caring reports whether the matrix allows somebody only for patients whom they care for.
func caring(m rego.Matrix, role, area string, action policy.Action) bool {
	at := slices.IndexFunc(m.Actions, func(w rego.Word) bool { return w.Code == string(action) })
	i := slices.IndexFunc(m.Lines, func(l rego.Line) bool { return l.Role == role && l.Area == area && l.Resource == "" })
	return i >= 0 && m.Lines[i].Caring[at]
}

// The matrix says what the engine answers, for every cell of the default bundle.
func TestMatrixSaysWhatTheRulesAnswer(t *testing.T) {
	t.Parallel()
	m, err := rego.Ask(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, rego.Config{})
	if m.Revision != e.Revision() {
		t.Errorf("revision %s, in force %s", m.Revision, e.Revision())
	}
	allowed := 0
	for _, role := range m.Roles {
		for _, area := range m.Areas {
			for _, action := range m.Actions {
				q := nurseReads()
				q.Subject.Roles, q.Subject.Activities, q.Subject.Machine = []string{role.Code}, nil, role.Machine
				q.Area, q.Action, q.Resource = policy.Area(area.Code), policy.Action(action.Code), ""
				want := policy.Deny
				if e.Allows(t.Context(), q) {
					want = policy.Allow
				}
				if got := cell(m, role.Code, area.Code, "", q.Action); got != want {
					t.Errorf("%s, %s, %s: matrix %v, engine %v", role.Code, action.Code, area.Code, got, want)
				}
				q.Care.Feed = policy.CurrentFeed
				if caring(m, role.Code, area.Code, q.Action) != (want == policy.Allow && !e.Allows(t.Context(), q)) {
					t.Errorf("%s, %s, %s: the matrix is wrong about care", role.Code, action.Code, area.Code)
				}
				if want == policy.Allow {
					allowed++
				}
			}
		}
	}
	if allowed < 100 {
		t.Errorf("only %d cells are allowed: the comparison says little", allowed)
	}
	if cell(m, "nurse", "prescribing", "MedicationAdministration", policy.Create) != policy.Allow {
		t.Error("a nurse charts what was given")
	}
	if cell(m, "B0360", "notes", "", policy.Read) != policy.Allow || cell(m, "B0360", "notes", "", policy.Update) != policy.Deny {
		t.Error("whoever may view detailed health records reads notes and changes none")
	}
}

func TestMatrixFollowsTheRulesNotTheTables(t *testing.T) {
	const tables = "roles:\n  clerk: {title: clerk, may: {notes: [read]}}\nareas: {notes: notes}\nactions: {read: open, search: search}\n"
	dir := bundle(t, map[string]string{"tables.yaml": tables, "access.rego": `package matron

default allow := false

allow if {
	"clerk" in input.subject.roles
	input.action == "search"
}

decision := {"effect": "challenge", "offer": "purpose", "reasons": [{"code": "no", "text": "No.", "remedy": "Ask."}]}
`})
	m, err := rego.Ask(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := cell(m, "clerk", "notes", "", policy.Read); got != policy.Challenge {
		t.Errorf("the table allows and the rules challenge: %v", got)
	}
}

func TestMatrixNeedsTables(t *testing.T) {
	dir := bundle(t, map[string]string{"access.rego": "package matron\n\ndefault allow := false\n" + explained})
	if _, err := rego.Ask(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "roles, areas and actions") {
		t.Errorf("%v", err)
	}
}
