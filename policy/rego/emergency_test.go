package rego_test

import (
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

// Where the rules give no answer, emergency access to one known patient is offered
// to who may have it, and lets through what the table of roles has; nothing else is.
// hazard:GW-01 control:C-02
func TestEmergencyAccessDoesNotNeedTheRules(t *testing.T) {
	files := map[string]string{"rules.rego": "package matron\n\nallow if {\n\tinput.resource != \"\"\n\ttime.parse_rfc3339_ns(input.resource) > 0\n}\n\n" +
		"allow if {\n\tinput.resource == \"\"\n\tinput.subject.roles == [\"doctor\"]\n}\n" + explained}
	for _, name := range []string{"roles.yaml", "reasons.yaml", "job-roles.csv", "activities.csv"} {
		text, err := fs.ReadFile(rego.Default(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	e := newEngine(t, rego.Config{Dir: bundle(t, files)})
	for name, c := range map[string]struct {
		change func(*policy.Request)
		covers bool
	}{
		"as asked":           {func(*policy.Request) {}, true},
		"a national code":    {func(q *policy.Request) { q.Subject.Roles = []string{"", "R8000"} }, true},
		"learned":            {func(q *policy.Request) { q.Certainty = "learned" }, true},
		"another role":       {func(q *policy.Request) { q.Subject.Roles = []string{"receptionist"} }, false},
		"no role":            {func(q *policy.Request) { q.Subject.Roles = nil }, false},
		"nobody":             {func(q *policy.Request) { q.Subject.Sub = "" }, false},
		"a system":           {func(q *policy.Request) { q.Subject.Machine = true }, false},
		"the probe":          {func(q *policy.Request) { q.Subject.Roles = []string{"break-glass-probe"} }, false},
		"no known route":     {func(q *policy.Request) { q.Rule = "" }, false},
		"no patient":         {func(q *policy.Request) { q.Patients = nil }, false},
		"a nameless patient": {func(q *policy.Request) { q.Patients = []string{""} }, false},
		"two patients":       {func(q *policy.Request) { q.Patients = []string{"1", "2"} }, false},
		"a guess":            {func(q *policy.Request) { q.Certainty = "unknown" }, false},
		"not in the table":   {func(q *policy.Request) { q.Action = policy.Export }, false},
		"no area":            {func(q *policy.Request) { q.Area = "" }, false},
	} {
		q := nurseReads()
		c.change(&q)
		refused := e.Decide(t.Context(), q)
		q.Grant = "g-1"
		granted := e.Decide(t.Context(), q)
		if refused.Effect != policy.Deny || (refused.Offer == policy.BreakGlass) != c.covers || refused.Reasons[0].Code != "policy-error" {
			t.Errorf("%s: without a grant %+v", name, refused)
		}
		want := policy.Decision{Effect: policy.Allow, Rules: []string{"break-glass-without-rules"}, Revision: e.Revision()}
		if c.covers {
			if diff := cmp.Diff(want, granted); diff != "" {
				t.Errorf("%s: with a grant %s", name, diff)
			}
		} else if granted.Allowed() || granted.Offer != "" {
			t.Errorf("%s: with a grant %+v", name, granted)
		}
	}
}
