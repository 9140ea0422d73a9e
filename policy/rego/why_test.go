package rego_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

func considered(x rego.Explanation, name string) (c rego.Considered) {
	i := slices.IndexFunc(x.Rules, func(c rego.Considered) bool { return c.Name == name })
	if i >= 0 {
		c = x.Rules[i]
	}
	return c
}

func TestWhyNamesEveryRuleOnce(t *testing.T) {
	e := newEngine(t, rego.Config{})
	q := nurseReads()
	q.Action, q.Area = "create", "prescribing"
	x, err := e.Why(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Decide(t.Context(), q), x.Decision); diff != "" {
		t.Errorf("explained is another decision: %s", diff)
	}
	places := map[string]bool{}
	for _, r := range x.Rules {
		if places[r.Place] {
			t.Errorf("%s twice", r.Place)
		}
		places[r.Place] = true
	}
	table, allow, refusal := considered(x, "basis role-table"), considered(x, "allow"), considered(x, "reasons role-not-permitted")
	if table.Held || !table.Reached || !strings.HasPrefix(table.Stopped, "access.rego:") {
		t.Errorf("role table: %+v", table)
	}
	if allow.Held || !allow.Reached || !refusal.Held || refusal.Stopped != "" {
		t.Errorf("allow %+v, refusal %+v", allow, refusal)
	}
	want := []rego.Change{{"with the role doctor"}, {"with the role pharmacist"}}
	if diff := cmp.Diff(want, x.Changes); diff != "" {
		t.Errorf("changes: %s", diff)
	}
}

func TestWhyAllowed(t *testing.T) {
	x, err := newEngine(t, rego.Config{}).Why(t.Context(), nurseReads())
	if err != nil {
		t.Fatal(err)
	}
	table, code := considered(x, "basis role-table"), considered(x, "basis role-code")
	if !x.Decision.Allowed() || !table.Held || code.Reached || len(x.Changes) != 0 {
		t.Errorf("%+v", x)
	}
}

// Two things together are found where one is not enough.
func TestWhyFindsTwoChanges(t *testing.T) {
	q := nurseReads()
	q.Subject.Roles, q.Subject.Activities = []string{"receptionist"}, nil
	q.Patients, q.Certainty = nil, "unknown"
	x, err := newEngine(t, rego.Config{}).Why(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Changes) == 0 || len(x.Changes[0]) != 2 {
		t.Errorf("%v", x.Changes)
	}
	q.Action = "fly"
	if x, err = newEngine(t, rego.Config{}).Why(t.Context(), q); err != nil || len(x.Changes) != 0 {
		t.Errorf("nothing makes that right: %v %v", x.Changes, err)
	}
}

func TestWhyTellsHowOldFactsAre(t *testing.T) {
	dir := bundle(t, map[string]string{"access.rego": "package matron\n\ndefault allow := false\n\nallow if input.subject.auth_time == \"never\"\n" + explained})
	x, err := newEngine(t, rego.Config{Dir: dir}).Why(t.Context(), nurseReads())
	if err != nil {
		t.Fatal(err)
	}
	want := []rego.Fact{{Name: "subject.auth_time", Value: `"2026-11-22T02:00:00Z"`, Age: time.Hour}}
	if diff := cmp.Diff(want, x.Facts); diff != "" {
		t.Error(diff)
	}
}

func TestWhyOfNothingInForceRefuses(t *testing.T) {
	x, err := new(rego.Engine).Why(t.Context(), nurseReads())
	if err == nil || x.Decision.Allowed() || new(rego.Engine).Allows(t.Context(), nurseReads()) {
		t.Errorf("%+v, %v", x, err)
	}
}

// Where a register of care relationships is kept, what it knows is among the facts,
// with its age, and what it does not among what would make it right.
func TestWhyTellsOfCare(t *testing.T) {
	q := nurseReads()
	q.Care = policy.Care{Feed: policy.CurrentFeed, AsOf: q.Time.Add(-time.Minute)}
	x, err := newEngine(t, rego.Config{}).Why(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var facts []rego.Fact
	for _, f := range x.Facts {
		if strings.HasPrefix(f.Name, "care.") {
			facts = append(facts, f)
		}
	}
	want := []rego.Fact{
		{Name: "care.feed", Value: `"current"`},
		{Name: "care.kinds", Value: "[]"},
		{Name: "care.each", Value: "[]"},
		{Name: "care.as_of", Value: `"2026-11-22T02:59:00Z"`, Age: time.Minute},
	}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Error(diff)
	}
	care := func(c rego.Change) bool {
		return len(c) == 1 && strings.HasPrefix(c[0], "a care relationship with the patient (ward-stay, ")
	}
	if x.Decision.Allowed() || !slices.ContainsFunc(x.Changes, care) {
		t.Errorf("%v", x.Changes)
	}
}
