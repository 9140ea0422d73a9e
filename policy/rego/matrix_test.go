package rego_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

// builtIn is the matrix of the built-in bundle.
var builtIn = sync.OnceValues(func() (rego.Matrix, error) { return rego.Ask(context.Background(), "") })

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
	m, err := builtIn()
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

// Of each class of protected records the matrix says what the engine answers with a
// care relationship, without one and without what opening such a record demands.
func TestMatrixOfProtectedRecords(t *testing.T) {
	t.Parallel()
	m, err := builtIn()
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, rego.Config{})
	answer := func(class, role, area string, action policy.Action) (policy.Effect, bool) {
		c := m.Classes[slices.IndexFunc(m.Classes, func(c rego.Class) bool { return c.Code == class })]
		l := c.Lines[slices.IndexFunc(c.Lines, func(l rego.Line) bool { return l.Role == role && l.Area == area })]
		at := slices.IndexFunc(c.Actions, func(w rego.Word) bool { return w.Code == string(action) })
		return l.Answers[at].Effect, l.Caring[at]
	}
	for _, want := range []struct {
		class, role, area string
		effect            policy.Effect
		caring            bool
	}{
		{"staff", "nurse", "notes", policy.Allow, true},
		{"staff", "clinical-coder", "notes", policy.Allow, false},
		{"staff", "receptionist", "notes", policy.Deny, false},
		{"unlisted", "nurse", "notes", policy.Challenge, false}, // emergency access opens it
		{"sealed", "doctor", "results", policy.Allow, true},
	} {
		if effect, caring := answer(want.class, want.role, want.area, policy.Read); effect != want.effect || caring != want.caring {
			t.Errorf("%+v: %v, caring %v", want, effect, caring)
		}
	}
	sealed := m.Classes[slices.IndexFunc(m.Classes, func(c rego.Class) bool { return c.Code == "sealed" })]
	if sealed.Demands != (rego.Demands{Assurance: 2, SignedInWithin: 60, Purpose: true}) {
		t.Errorf("demands: %+v", sealed.Demands)
	}
	allowed := 0
	for _, c := range m.Classes {
		for _, l := range c.Lines {
			for i, action := range c.Actions {
				q := nurseReads()
				q.Subject.Roles, q.Subject.Activities = []string{l.Role}, nil
				q.Subject.Machine = m.Roles[slices.IndexFunc(m.Roles, func(r rego.Role) bool { return r.Code == l.Role })].Machine
				q.Area, q.Action, q.Resource = policy.Area(l.Area), policy.Action(action.Code), ""
				q.Subject.Assurance, q.Subject.AuthTime, q.Purpose = 3, q.Time, "TREAT"
				q.Sensitivity.Classes = []string{c.Code}
				q.Care = policy.Care{Feed: policy.CurrentFeed}
				if got := l.Answers[i].Effect == policy.Allow && !l.Caring[i]; got != e.Allows(t.Context(), q) {
					t.Errorf("%s, %s, %s, %s: without care the matrix says %v", c.Code, l.Role, l.Area, action.Code, got)
				}
				q.Care.Kinds = []string{"clinic-list", "named-clinician", "referral", "team-handover", "ward-stay"}
				if got := l.Answers[i].Effect == policy.Allow; got != e.Allows(t.Context(), q) {
					t.Errorf("%s, %s, %s, %s: with care the matrix says %v", c.Code, l.Role, l.Area, action.Code, got)
				} else if got {
					allowed++
				}
			}
		}
	}
	if allowed < 100 {
		t.Errorf("only %d cells are allowed: the comparison says little", allowed)
	}
}
