package rego_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

// nurseReads is a question that the default bundle allows.
func nurseReads() policy.Request {
	return policy.Request{
		Subject: policy.Subject{
			Issuer: "https://id.example", Sub: "u-1", Person: "S1001", Name: "Example, Pat", Roles: []string{"nurse"},
			Activities: []string{"B0360"}, Organisation: "RBA", Assurance: 2, Session: "5e55",
			AuthTime: time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC),
		},
		Site: "RBA", App: "fhir", Rule: "fhir-read", Action: policy.Read, Area: policy.Notes, Resource: "Condition",
		Patients: []string{"1001"}, Certainty: "authoritative", Method: "GET",
		Time:        time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC),
		Sensitivity: policy.Sensitivity{Known: true},
	}
}

// newEngine makes an engine. That of the default bundle is one for all tests, since
// it runs the tests of the bundle.
func newEngine(tb testing.TB, cfg rego.Config) *rego.Engine {
	tb.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute // no answer here depends on how busy the machine is
	}
	made := defaultEngine
	if cfg.Dir != "" || cfg.Now != nil || cfg.Log != nil || cfg.Timeout != time.Minute {
		made = func() (*rego.Engine, error) { return rego.New(tb.Context(), cfg) }
	}
	e, err := made()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

var defaultEngine = sync.OnceValues(func() (*rego.Engine, error) {
	return rego.New(context.Background(), rego.Config{Timeout: time.Minute})
})

// bundle writes a folder with a test that holds, and the given files.
func bundle(tb testing.TB, files map[string]string) string {
	tb.Helper()
	dir := tb.TempDir()
	writeFile(tb, dir, "some_test.rego", "package some_test\n\ntest_nothing if 1 == 1\n")
	for name, text := range files {
		writeFile(tb, dir, name, text)
	}
	return dir
}

func writeFile(tb testing.TB, dir, name, text string) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// explained is a decision for bundles whose subject is something else.
const explained = `
decision := {"effect": "deny", "reasons": [{"code": "no", "text": "No.", "remedy": "Ask."}]}
`

// hazard:GW-11 control:C-44
func TestAllowNamesTheRuleAndTheRevision(t *testing.T) {
	e := newEngine(t, rego.Config{})
	want := policy.Decision{Effect: policy.Allow, Rules: []string{"role-table@access.rego:65"}, Revision: e.Revision()}
	if diff := cmp.Diff(want, e.Decide(t.Context(), nurseReads())); diff != "" {
		t.Error(diff)
	}
	if len(e.Revision()) != 32 {
		t.Errorf("revision %q", e.Revision())
	}
}

// hazard:GW-01 control:C-05
func TestRefusalSaysWhyAndWhatToDo(t *testing.T) {
	e := newEngine(t, rego.Config{})
	q := nurseReads()
	q.Action, q.Area, q.Resource = policy.Create, policy.Prescribing, "MedicationRequest"
	want := policy.Decision{
		Effect: policy.Deny,
		Reasons: []policy.Reason{{
			Code:   "role-not-permitted",
			Text:   "Your role (nurse) may not add to prescriptions.",
			Remedy: "Ask somebody who may: doctor, pharmacist. If your role is wrong, ring the service desk and read out the reference.",
		}},
		Rules:    []string{"role-not-permitted@explain.rego:70"},
		Revision: e.Revision(),
	}
	if diff := cmp.Diff(want, e.Decide(t.Context(), q)); diff != "" {
		t.Error(diff)
	}
}

// Whatever a request holds, none of it gets into what staff are shown.
// hazard:GW-01 control:C-05
func TestReasonsHoldNothingOfTheRequest(t *testing.T) {
	e := newEngine(t, rego.Config{})
	const secret = "Zzyzx-4857773456"
	for _, fact := range factNames() {
		q := nurseReads()
		q.Subject.Roles, q.Subject.Activities = []string{"receptionist"}, nil
		v := reflect.ValueOf(&q).Elem()
		for name := range strings.SplitSeq(fact, ".") {
			v = v.FieldByName(name)
		}
		switch v.Interface().(type) {
		case []string:
			v.Set(reflect.ValueOf([]string{secret}))
		case [][]string:
			v.Set(reflect.ValueOf([][]string{{secret}}))
		case bool, int, time.Time:
			continue
		default:
			v.SetString(secret)
		}
		d := e.Decide(t.Context(), q)
		if d.Allowed() || strings.Contains(fmt.Sprint(d), secret) {
			t.Errorf("%s: %+v", fact, d)
		}
	}
}

func TestZeroEngineRefuses(t *testing.T) {
	var e rego.Engine
	d := e.Decide(t.Context(), nurseReads())
	if d.Allowed() || d.Reasons[0].Code != "policy-error" || e.Revision() != "" {
		t.Errorf("%+v", d)
	}
}

// Each of these is an error of the rules, and an error is a deny. The log says
// where and not with what values.
func TestErrorsDeny(t *testing.T) {
	for name, rules := range map[string]string{
		"a built-in function meets garbage": "allow if time.parse_rfc3339_ns(input.resource) > 0\n" + explained,
		"two answers at once":               "allow if level == 1\nlevel := 1 if input.rule != \"\"\nlevel := 2 if input.app != \"\"\n" + explained,
		"the explanation fails":             "allow if input.rule == \"x\"\ndecision := {\"effect\": \"deny\", \"reasons\": [{\"code\": time.parse_rfc3339_ns(input.resource), \"text\": \"t\", \"remedy\": \"r\"}]}",
		"no explanation":                    "allow if input.rule == \"x\"\ndecision := {\"effect\": \"allow\"} if input.rule == \"x\"",
		"an explanation without a reason":   "allow if input.rule == \"x\"\ndecision := {\"effect\": \"allow\", \"reasons\": []}",
		"an explanation of another form":    "allow if input.rule == \"x\"\ndecision := [1]",
		"a reason without a remedy":         "allow if input.rule == \"x\"\ndecision := {\"effect\": \"deny\", \"reasons\": [{\"code\": \"c\", \"text\": \"t\"}]}",
		"a challenge without an offer":      "allow if input.rule == \"x\"\ndecision := {\"effect\": \"challenge\", \"reasons\": [{\"code\": \"c\", \"text\": \"t\", \"remedy\": \"r\"}]}",
		"obligations of another form":       "allow if input.rule != \"\"\nobligations contains 7\n" + explained,
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			e := newEngine(t, rego.Config{
				Dir: bundle(t, map[string]string{"rules.rego": "package matron\n\n" + rules}),
				Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			q := nurseReads()
			q.Resource = "garbage-4857773456"
			for range 2 {
				d := e.Decide(t.Context(), q)
				if d.Effect != policy.Deny || len(d.Reasons) != 1 || d.Reasons[0].Code != "policy-error" || d.Reasons[0].Remedy == "" || d.Revision != e.Revision() {
					t.Errorf("%+v", d)
				}
			}
			if !strings.Contains(log.String(), "policy evaluation failed") || strings.Contains(log.String(), "4857773456") {
				t.Errorf("log %s", log.String())
			}
		})
	}
}

// slow is a rule that would take hours.
const slow = `
allow if {
	some a in numbers.range(1, 1000000)
	some b in numbers.range(1, 1000000)
	a + b == count(input.patients) - 7
}
` + explained

// hazard:GW-04 control:C-18
func TestTimeoutDenies(t *testing.T) {
	e := newEngine(t, rego.Config{Dir: bundle(t, map[string]string{"rules.rego": "package matron\n\n" + slow}), Timeout: 20 * time.Millisecond})
	d := e.Decide(t.Context(), nurseReads())
	if d.Effect != policy.Deny || d.Reasons[0].Code != "policy-error" {
		t.Errorf("%+v", d)
	}
}

// A client that has gone away changes nothing: the answer is recorded all the same.
func TestCancelledRequestGetsTheSameAnswer(t *testing.T) {
	e := newEngine(t, rego.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d := e.Decide(ctx, nurseReads()); !d.Allowed() {
		t.Errorf("%+v", d)
	}
}

func TestChallengeAndObligations(t *testing.T) {
	e := newEngine(t, rego.Config{Dir: bundle(t, map[string]string{"rules.rego": `package matron

allow if input.action == "read"

obligations contains "notify" if input.area == "notes"

obligations contains "mark" if input.area == "notes"

decision := {"effect": "challenge", "offer": "step-up", "reasons": [{"code": "step-up", "text": "Why.", "remedy": "How."}]}
`})})
	q := nurseReads()
	want := policy.Decision{Effect: policy.Allow, Rules: []string{"allow"}, Revision: e.Revision(), Obligations: []string{"mark", "notify"}}
	if diff := cmp.Diff(want, e.Decide(t.Context(), q)); diff != "" {
		t.Error(diff)
	}
	q.Action = policy.Update
	want = policy.Decision{Effect: policy.Challenge, Offer: policy.StepUp, Reasons: []policy.Reason{{Code: "step-up", Text: "Why.", Remedy: "How."}}, Revision: e.Revision(), Rules: []string{}}
	if diff := cmp.Diff(want, e.Decide(t.Context(), q)); diff != "" {
		t.Error(diff)
	}
}

// Every mistake of a bundle is told with its place, and the old bundle stays.
// hazard:GW-02 control:C-07
// hazard:GW-11 control:C-46
func TestBadBundleKeepsTheOld(t *testing.T) {
	const rules = "package matron\n\nallow if input.rule != \"\"\n" + explained
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"syntax in two files": {
			map[string]string{"a.rego": "package matron\n\nallow if if\n", "b.rego": "package x\n\ny = {\n"},
			[]string{"a.rego:3:10: rego_parse_error", "b.rego:"},
		},
		"unknown functions in two files": {
			map[string]string{"a.rego": rules + "x if one(1)\n\ny if two(2)\n", "b.rego": "package b\n\nz if three(3)\n"},
			[]string{"a.rego:6:6: rego_type_error: undefined function one", "a.rego:8:6: rego_type_error: undefined function two", "b.rego:3:6: rego_type_error: undefined function three"},
		},
		"the network":            {map[string]string{"a.rego": rules + "x if http.send({})\n"}, []string{"a.rego:6:6: rego_type_error: undefined function http.send"}},
		"the clock":              {map[string]string{"a.rego": rules + "x if time.now_ns() > 1\n"}, []string{"undefined function time.now_ns"}},
		"chance":                 {map[string]string{"a.rego": rules + "x if rand.intn(\"a\", 2) == 1\n"}, []string{"undefined function rand.intn"}},
		"allow rests on not":     {map[string]string{"a.rego": "package matron\n\nallow if ok\n\nok if not denied\n\ndenied if input.app == \"x\"\n" + explained}, []string{`a.rego:5:7: allow rests on this "not"`}},
		"obligations no set":     {map[string]string{"a.rego": rules + "obligations := [\"x\"] if input.rule == \"x\"\n"}, []string{"a.rego:6:1: obligations is a set"}},
		"allow by default":       {map[string]string{"a.rego": "package matron\n\ndefault allow := true\n" + explained}, []string{"a.rego:3:1: allow is true by default"}},
		"allow whatever":         {map[string]string{"a.rego": "package matron\n\nallow := true\n" + explained}, []string{"a.rego:3:1: allow holds without any condition"}},
		"no allow, no decision":  {map[string]string{"a.rego": "package matron\n\nx := 1\n"}, []string{"no rule data.matron.allow", "no rule data.matron.decision"}},
		"data in place of rules": {map[string]string{"a.rego": rules, "d.yaml": "matron:\n  allow: true\n"}, []string{"a.rego:3:1: rego_compile_error: conflicting rule"}},
		"no rules at all":        {map[string]string{}, []string{":1:1: no rules"}},
		"data that cannot be read": {
			map[string]string{"a.rego": rules, "d.yaml": "a: 1\nb: [\n", "e.json": "[1]"},
			[]string{"d.yaml:", "e.json:1:1: expected a table"},
		},
		"an entry twice":  {map[string]string{"a.rego": rules, "d.yaml": "a: 1\n", "e.yaml": "a: 2\n"}, []string{`e.yaml:1:1: entry "a" is in another file`}},
		"a role twice":    {map[string]string{"a.rego": rules, "d.yaml": "a: 1\na: 2\n"}, []string{"d.yaml:2:1: mapping key \"a\" already defined"}},
		"two documents":   {map[string]string{"a.rego": rules, "d.yaml": "a: 1\n---\nb: 2\n"}, []string{"d.yaml:1:1: more than one document"}},
		"nothing in it":   {map[string]string{"a.rego": rules, "d.yaml": ""}, []string{"d.yaml:1:1: "}},
		"a test fails":    {map[string]string{"a.rego": rules, "a_test.rego": "package a_test\n\ntest_x if data.matron.allow with input as {\"rule\": \"\"}\n"}, []string{"a_test.rego:3:11: test_x failed, expected:"}},
		"a test is to do": {map[string]string{"a.rego": rules, "a_test.rego": "package a_test\n\ntodo_test_x if 1 == 2\n"}, []string{"a_test.rego:3:1: todo_test_x is marked as to do"}},
		"a test errs":     {map[string]string{"a.rego": rules, "a_test.rego": "package a_test\n\ntest_x if time.parse_rfc3339_ns(\"x\") > 0\n"}, []string{"a_test.rego:3:1: test_x failed: "}},
		"no tests at all": {map[string]string{"a.rego": rules, "some_test.rego": "package some_test\n"}, []string{":1:1: no tests"}},
		"a rule id twice": {map[string]string{"a.rego": rules + "# METADATA\n# labels:\n#   id: same\nx if input.app == \"\"\n\n# METADATA\n# labels:\n#   id: same\ny if input.app == \"\"\n"}, []string{`rule id "same" is taken`}},
		"nobody may do anything": {
			map[string]string{"a.rego": "package matron\n\nallow if input.rule == \"never\"\n" + explained, "d.yaml": "roles: {nurse: {title: nurse, machine: false}}\nareas: {notes: notes}\nactions: {read: open}\n"},
			[]string{"a.rego:3:1: nobody in any role may do anything"},
		},
		"systems alone may do anything": {
			map[string]string{"a.rego": "package matron\n\nallow if input.subject.machine\n" + explained, "d.yaml": "roles: {nurse: {title: nurse}, feed: {title: feed, machine: true}}\nareas: {notes: notes}\nactions: {read: open}\n"},
			[]string{"a.rego:3:1: nobody in any role may do anything"},
		},
		"what everybody may without a role is nothing": {
			map[string]string{"a.rego": "package matron\n\nallow if input.area == \"home\"\n" + explained, "d.yaml": "roles: {nurse: {title: nurse}}\nareas: {home: home}\nactions: {read: open}\n"},
			[]string{"a.rego:3:1: nobody in any role may do anything"},
		},
		"a case is answered otherwise": {
			map[string]string{"a.rego": rules, "x_cases.yaml": "cases:\n- case: all is well\n  asks: {area: notes}\n  expect: {decision: allow}\n- case: no route\n  asks: {area: notes}\n  expect: {decision: deny, because: [unmapped]}\n"},
			[]string{"x_cases.yaml:5:3: case \"no route\": expected deny because of unmapped, the rules answer allow"},
		},
		"a case wants nothing besides": {
			map[string]string{"a.rego": rules + "obligations contains \"notify\" if input.area == \"notes\"\n", "x_cases.yaml": "cases:\n- case: whatever\n  asks: {area: notes}\n  expect: {decision: allow}\n- case: plain\n  asks: {area: notes}\n  expect: {decision: allow, obligations: []}\n"},
			[]string{"x_cases.yaml:5:3: case \"plain\": expected allow, the rules answer allow with the obligation notify"},
		},
		"a case says something else": {
			map[string]string{"a.rego": rules, "x_cases.yaml": "cases:\n- case: no route\n  asks: {area: notes, mapped: false}\n  expect: {decision: deny, because: [no], says: [Please]}\n"},
			[]string{"x_cases.yaml:2:3: case \"no route\": \"Please\" is not said; the rules say: No. Ask."},
		},
		"a case for which the rules give no answer": {
			map[string]string{"a.rego": "package matron\n\nallow if time.parse_rfc3339_ns(input.resource) > 0\n" + explained, "x_cases.yaml": "cases:\n- case: garbage\n  asks: {area: notes, kind: garbage}\n  expect: {decision: deny, because: [no]}\n"},
			[]string{"x_cases.yaml:2:3: case \"garbage\": the rules give no answer: eval_builtin_error a.rego:3"},
		},
		"cases with unknown words": {
			map[string]string{"a.rego": rules, "x_cases.yaml": "cases:\n- case: one\n  facts: {role: nurse}\n  expect: {decision: allow}\n- case: two\n  asks: {area: notes, patients: 7}\n- case: three\n  asks: {area: notes}\n  expect:\n    decission: allow\n"},
			[]string{"x_cases.yaml:3:11: unknown field \"role\"", "x_cases.yaml:6:33: ", "x_cases.yaml:10:5: unknown field \"decission\""},
		},
		"cases that say too little": {
			map[string]string{"a.rego": rules, "x_cases.yaml": "cases:\n- asks: {area: notes}\n  expect: {decision: maybe}\n- case: x\n  expect: {decision: challenge}\n- case: x\n  facts: {register: broken}\n  asks: {area: notes}\n  expect: {decision: allow, because: [no]}\n"},
			[]string{
				"x_cases.yaml:2:3: the case has no name", "x_cases.yaml:2:3: expect.decision is allow, deny or challenge",
				"x_cases.yaml:4:3: asks.area is missing", "x_cases.yaml:4:3: expect.because is missing", "x_cases.yaml:4:3: expect.offer of a challenge",
				"x_cases.yaml:6:3: what is allowed has no reasons", "x_cases.yaml:6:3: facts.register is none", `x_cases.yaml:6:3: the case "x" stands at x_cases.yaml:4 as well`,
			},
		},
		"no cases in a table of cases": {map[string]string{"a.rego": rules, "x_cases.yaml": "roles: {}\n", "y_cases.yaml": "cases: []\n", "z_cases.yml": "a: [\n"}, []string{"x_cases.yaml:1:", "expected \"cases:\"", "y_cases.yaml:1:1: expected", "z_cases.yml:1:"}},
		"the old language":             {map[string]string{"a.rego": "package matron\n\nallow { input.rule }\n"}, []string{"a.rego:3:1: rego_parse_error"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := bundle(t, map[string]string{"a.rego": rules})
			e := newEngine(t, rego.Config{Dir: dir})
			before, want := e.Revision(), e.Decide(t.Context(), nurseReads())
			if err := os.Remove(filepath.Join(dir, "a.rego")); err != nil {
				t.Fatal(err)
			}
			for file, text := range c.files {
				writeFile(t, dir, file, text)
			}
			err := e.Reload(t.Context())
			if _, ok := errors.AsType[rego.Problems](err); !ok {
				t.Fatalf("error %v", err)
			}
			for _, line := range c.want {
				if !strings.Contains(err.Error(), line) {
					t.Errorf("not told %q:\n%v", line, err)
				}
			}
			if diff := cmp.Diff(want, e.Decide(t.Context(), nurseReads())); diff != "" || e.Revision() != before || !want.Allowed() {
				t.Errorf("the old bundle is gone: %s", diff)
			}
		})
	}
}

func TestMissingFolderIsRefused(t *testing.T) {
	if _, err := rego.New(t.Context(), rego.Config{Dir: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// Decisions go on while bundles change; each is wholly by one of them.
func TestReloadUnderDecide(t *testing.T) {
	one := "package matron\n\nallow if input.area == \"notes\"\n" + explained
	two := "package matron\n\nallow if input.area == \"results\"\n" + explained
	dir := bundle(t, map[string]string{"a.rego": one})
	e := newEngine(t, rego.Config{Dir: dir})
	first := e.Revision()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d := e.Decide(t.Context(), nurseReads())
				if d.Allowed() != (d.Revision == first) || !d.Allowed() && d.Reasons[0].Code != "no" {
					t.Errorf("%+v", d)
					return
				}
			}
		})
	}
	for i := range 10 {
		writeFile(t, dir, "a.rego", []string{two, one}[i%2])
		if err := e.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if e.Revision() != first {
		t.Error("the same contents have another revision")
	}
}

// A change of rules is in force at once, whatever was remembered before.
func TestReloadForgetsWhatWasAllowed(t *testing.T) {
	dir := bundle(t, map[string]string{"a.rego": "package matron\n\nallow if input.area == \"notes\"\n" + explained})
	e := newEngine(t, rego.Config{Dir: dir})
	if !e.Decide(t.Context(), nurseReads()).Allowed() {
		t.Fatal("refused")
	}
	writeFile(t, dir, "a.rego", "package matron\n\nallow if input.area == \"results\"\n"+explained)
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e.Decide(t.Context(), nurseReads()).Allowed() {
		t.Error("still allowed")
	}
}

// hazard:GW-11 control:C-46
// hazard:GW-23 control:C-185
func TestDefaultBundlePassesItsTests(t *testing.T) {
	trial, err := rego.Test(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tried := range slices.Concat(trial.Tests, trial.Cases) {
		if tried.Problem != nil {
			t.Error(tried.Problem)
		}
	}
	if len(trial.Tests) < 60 || len(trial.Cases) < 30 {
		t.Errorf("%d tests, %d cases", len(trial.Tests), len(trial.Cases))
	}
	for _, r := range trial.Rules {
		if !r.Held {
			t.Errorf("%s: no test or case has %s hold", r.Place, r.Name)
		}
	}
}

// A copy of the default bundle with one wrong line fails with place and value.
func TestFailureSaysWhatWasExpected(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, rego.Default()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "roles.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "roles.yaml", strings.Replace(string(text), "[read, search, list]", "[raed, search, list]", 1))
	trial, err := rego.Test(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, tried := range trial.Tests {
		if tried.Problem != nil {
			said += tried.Problem.String() + "\n"
		}
	}
	if !strings.Contains(said, "test_tables_use_known_actions failed, expected:\n\tunknown == set()") || !strings.Contains(said, `{"raed"}`) {
		t.Error(said)
	}
}

// FuzzDecide asks the default bundle anything. It never panics, an error is a
// deny, a deny has a reason, and only known words are ever allowed.
func FuzzDecide(f *testing.F) {
	e := newEngine(f, rego.Config{})
	f.Add("https://id.example", "u-1", "nurse", "fhir-read", "read", "notes", "Condition", "1001", "authoritative", false, false)
	f.Add("i", "s", "R8000", "r", "create", "prescribing", "MedicationRequest", "1", "several", false, true)
	f.Add("", "", "", "", "", "", "", "", "", true, false)
	f.Add("i", "s", "api-client", "r", "read", "results", "", "\xff", "unknown", true, true)
	f.Fuzz(func(t *testing.T, issuer, sub, role, rule, action, area, resource, patient, certainty string, machine, held bool) {
		q := policy.Request{
			Subject: policy.Subject{Issuer: issuer, Sub: sub, Roles: strings.Split(role, ","), Machine: machine},
			Rule:    rule, Action: policy.Action(action), Area: policy.Area(area), Resource: resource,
			Patients: strings.Fields(patient), Certainty: certainty, Held: held, Sensitivity: policy.Sensitivity{Known: true},
		}
		d := e.Decide(t.Context(), q)
		switch {
		case d.Allowed() && (issuer == "" || sub == "" || rule == "" || action == "" || area == "" || certainty == ""):
			t.Errorf("allowed without evidence: %+v", q)
		case d.Allowed() == (len(d.Reasons) > 0):
			t.Errorf("reasons do not fit the effect: %+v", d)
		case !d.Allowed() && d.Reasons[0].Code == "policy-error":
			t.Errorf("the default bundle errs on %+v", q)
		}
	})
}

// The rule that docs/application-maps.md gives for filtered lists works beside the
// default rules, and asks for nothing more.
func TestFilterOfTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/application-maps.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile("`(obligations contains \"filter\" if \\{.*\\})`").FindSubmatch(text)
	if rule == nil {
		t.Fatal("the documentation gives no rule")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, rego.Default()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "filter.rego", "package matron\n\n"+string(rule[1])+"\n")
	e := newEngine(t, rego.Config{Dir: dir})
	one, search := nurseReads(), nurseReads()
	search.Action, search.Patients, search.Certainty, search.Held = "search", nil, "unknown", true
	for q, want := range map[*policy.Request]string{&one: "", &search: "filter"} {
		d := e.Decide(t.Context(), *q)
		if got := strings.Join(d.Obligations, " "); !d.Allowed() || got != want {
			t.Errorf("%s: %+v", q.Action, d)
		}
	}
}
