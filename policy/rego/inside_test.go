package rego

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/matron-epr/matron/policy"
)

// asked is a question that the default bundle allows.
func asked() policy.Request {
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

// loadDefault returns the default bundle, compiled once for all tests;
// TestDefaultBundlePassesItsTests runs its own.
func loadDefault(tb testing.TB) *compiled {
	tb.Helper()
	c, err := defaultOnce()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

var defaultOnce = sync.OnceValues(func() (*compiled, error) {
	src, err := readBundle("")
	if err != nil {
		return nil, err
	}
	return compile(context.Background(), src)
})

// compileRules compiles rules that hold for nothing but their test.
func compileRules(tb testing.TB, rules string) *compiled {
	tb.Helper()
	const decision = "\ndecision := {\"effect\": \"deny\", \"reasons\": [{\"code\": \"no\", \"text\": \"No.\", \"remedy\": \"Ask.\"}]}\n"
	src := &source{rules: map[string]*ast.Module{}, data: map[string]any{}}
	if ps := src.addModule("rules.rego", []byte("package matron\n\n"+rules+decision)); ps != nil {
		tb.Fatal(ps)
	}
	c, err := compile(tb.Context(), src)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// factsOf lists every field of a question by its name in Go.
func factsOf() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[policy.Request]()) {
		if f.Type.Kind() != reflect.Struct || f.Type == reflect.TypeFor[time.Time]() {
			names = append(names, f.Name)
			continue
		}
		for _, s := range reflect.VisibleFields(f.Type) {
			names = append(names, f.Name+"."+s.Name)
		}
	}
	return names
}

// changed is q with another value in one field.
func changed(q policy.Request, fact string) policy.Request {
	v := reflect.ValueOf(&q).Elem()
	for name := range strings.SplitSeq(fact, ".") {
		v = v.FieldByName(name)
	}
	switch x := v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(x.Add(time.Second)))
	case []string:
		v.Set(reflect.ValueOf(append(slices.Clone(x), "another")))
	case [][]string:
		v.Set(reflect.ValueOf(append(slices.Clone(x), []string{"another"})))
	case bool:
		v.SetBool(!x)
	case int:
		v.SetInt(int64(x) + 1)
	default:
		v.SetString("another")
	}
	return q
}

// Every field of a question reaches the rules and the key: a field that is
// added to policy.Request and forgotten here fails this test.
func TestEveryFactIsInInputAndKey(t *testing.T) {
	all, words := facts(), vocabulary{}
	q := asked()
	input, key := question(words, all, &q), appendKey(nil, all, &q)
	if got, want := len(all), len(factsOf())+2; got != want { // known and signed_in_within are made of others
		t.Errorf("%d facts, but a question has %d", got, want)
	}
	for _, fact := range factsOf() {
		other := changed(q, fact)
		if question(words, all, &other).Compare(input) == 0 {
			t.Errorf("%s does not reach the rules", fact)
		}
		if string(appendKey(nil, all, &other)) == string(key) {
			t.Errorf("%s is not in the key", fact)
		}
	}
}

// No two questions share a key by moving text from one field to the next.
func TestKeyKeepsFieldsApart(t *testing.T) {
	all := facts()
	keys := map[string]bool{}
	for _, roles := range [][]string{nil, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}} {
		for _, activities := range [][]string{nil, {""}, {"a"}, {"a", "b"}} {
			q := policy.Request{Subject: policy.Subject{Roles: roles, Activities: activities}}
			keys[string(appendKey(nil, all, &q))] = true
		}
	}
	if len(keys) != 32 {
		t.Errorf("%d keys for 32 questions", len(keys))
	}
}

// Whatever way a rule looks at a fact, an answer is never remembered for a
// question that differs in it.
func TestNothingARuleReadsIsLeftOutOfTheKey(t *testing.T) {
	t.Parallel()
	for _, f := range facts() {
		path := "input." + f.path()
		whole := `"ELSE"`
		if f.group != "" {
			whole = "input." + f.group
		}
		for _, rules := range []string{
			"allow if " + path + " == data.nothing\nallow if is_null(" + path + ") == false",
			"allow if seen\nseen if is_null(" + path + ") == false",
			"allow if f(1)\nf(x) if {\n\tx == 1\n\tis_null(" + path + ") == false\n}",
			"allow if count([x | x := " + path + "]) == 1",
			"allow if {\n\tx := input\n\tcount(x) > 0\n}",
			"allow if {\n\tx := " + whole + "\n\tcount(x) > 0\n\tis_null(" + path + ") == false\n}",
			"allow if {\n\tsome k in [\"" + strings.Split(f.path(), ".")[0] + "\"]\n\tis_null(input[k]) == false\n}",
			"allow if data.helper[\"x\"] == 1\nallow if walked\nwalked if count([1 | walk(input)]) > 0",
		} {
			c := compileRules(t, rules)
			paths := map[string]bool{}
			for _, read := range c.reads {
				paths[read.path()] = true
			}
			if !paths[f.path()] {
				t.Errorf("%s is read unseen by:\n%s", f.path(), rules)
			}
		}
	}
}

// The default bundle reads these and no more, so that what one nurse was
// allowed need not be worked out again for the next.
func TestFactsThatTheDefaultBundleReads(t *testing.T) {
	paths := map[string]bool{}
	for _, f := range loadDefault(t).reads {
		paths[f.path()] = true
	}
	want := []string{
		"action", "area", "care.each", "care.feed", "care.kinds", "certainty", "grant", "held", "patients", "purpose", "resource", "rule", "sensitivity.classes", "sensitivity.known",
		"subject.activities", "subject.assurance", "subject.known", "subject.machine", "subject.roles", "subject.signed_in_within",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(paths))); diff != "" {
		t.Error(diff)
	}
}

// hazard:GW-04 control:C-18
func TestCache(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	allow := policy.Decision{Effect: policy.Allow, Rules: []string{"allow"}}
	for _, row := range []struct {
		key  string
		at   time.Duration
		want bool
	}{
		{"a", 0, true},
		{"a", cacheFor/2 - 1, true},
		{"a", cacheFor / 2, true},
		{"a", cacheFor - 1, true},
		{"a", cacheFor, false},
		{"a", -1, false},
		{"b", 0, false},
		{"denied", 0, false},
		{"challenged", 0, false},
	} {
		c := newCache()
		c.put([]byte("a"), allow, now)
		c.put([]byte("denied"), policy.Decision{}, now)
		c.put([]byte("challenged"), policy.Decision{Effect: policy.Challenge}, now)
		if _, ok := c.get([]byte(row.key), now.Add(row.at)); ok != row.want {
			t.Errorf("%s after %v: %v", row.key, row.at, ok)
		}
	}
}

// TestCacheForgetsInTime: however often and when it is used meanwhile, nothing is
// remembered for longer than cacheFor.
func TestCacheForgetsInTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	allow := policy.Decision{Effect: policy.Allow}
	for _, step := range []time.Duration{cacheFor / 7, cacheFor / 3, cacheFor/2 + 1, cacheFor - 1} {
		c := newCache()
		c.put([]byte("before"), allow, now)
		c.put([]byte("a"), allow, now.Add(step/2))
		for at := step / 2; at < 3*cacheFor; at += step {
			if _, ok := c.get([]byte("a"), now.Add(at)); ok && at-step/2 >= cacheFor {
				t.Errorf("used every %v: remembered for %v", step, at-step/2)
			}
			c.put(fmt.Append(nil, at), allow, now.Add(at))
		}
	}
}

// TestCacheIsBounded: it holds no more than cacheEntries, the newest among them.
func TestCacheIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	c := newCache()
	for i := range 5 * cacheEntries / 2 {
		c.put(fmt.Append(nil, i), policy.Decision{Effect: policy.Allow}, now)
		if n := len(c.young) + len(c.old); n > cacheEntries {
			t.Fatalf("%d entries", n)
		}
		for _, back := range []int{0, cacheEntries/2 - 1} {
			if _, ok := c.get(fmt.Append(nil, max(i-back, 0)), now); !ok {
				t.Fatalf("%d of the newest is forgotten", back)
			}
		}
	}
}

// A remembered decision is shared: adding to it must not change it for others.
func TestRememberedDecisionIsNotChanged(t *testing.T) {
	e, err := New(t.Context(), Config{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := e.Decide(t.Context(), asked())
	got := e.Decide(t.Context(), asked())
	_ = append(got.Rules, "added")
	got = e.Decide(t.Context(), asked())
	if diff := cmp.Diff(want, got); diff != "" || cap(got.Rules) != len(got.Rules) {
		t.Errorf("changed: %s", diff)
	}
}

// A panic in the evaluator is an error, and an error is a deny.
func TestPanicDenies(t *testing.T) {
	c := compileRules(t, "allow if input.rule == \"x\"")
	c.store = nil
	c.allow = nil
	q := asked()
	d, err := c.decide(t.Context(), &q, time.Minute)
	if err == nil || d.Allowed() {
		t.Errorf("%+v, %v", d, err)
	}
}

// What one evaluation may allocate; the time is for the benchmarks. The race
// detector adds allocations of its own.
func TestAllowAllocates(t *testing.T) {
	c := loadDefault(t)
	const bound = 150 + racing
	for _, role := range []string{"nurse", "R8001"} {
		q := asked()
		q.Subject.Roles, q.Care = []string{role}, policy.Care{Feed: policy.CurrentFeed, Kinds: []string{"ward-stay"}}
		got := testing.AllocsPerRun(100, func() {
			if d, err := c.decide(t.Context(), &q, time.Minute); err != nil || !d.Allowed() {
				t.Fatal(d, err)
			}
		})
		if got > bound {
			t.Errorf("%s: %v allocations, at most %d", role, got, bound)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	c := loadDefault(b)
	q := asked()
	b.ReportAllocs()
	for b.Loop() {
		if d, err := c.decide(b.Context(), &q, time.Minute); err != nil || !d.Allowed() {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkAllowByCode(b *testing.B) {
	c := loadDefault(b)
	q := asked()
	q.Subject.Roles = []string{"R8001"}
	b.ReportAllocs()
	for b.Loop() {
		if d, err := c.decide(b.Context(), &q, time.Minute); err != nil || !d.Allowed() {
			b.Fatal(d, err)
		}
	}
}

func BenchmarkAllowRemembered(b *testing.B) {
	e, err := New(b.Context(), Config{})
	if err != nil {
		b.Fatal(err)
	}
	q := asked()
	b.ReportAllocs()
	for b.Loop() {
		if !e.Decide(b.Context(), q).Allowed() {
			b.Fatal("refused")
		}
	}
}

func BenchmarkExplain(b *testing.B) {
	c := loadDefault(b)
	q := asked()
	q.Action = policy.Export
	b.ReportAllocs()
	for b.Loop() {
		if d, err := c.decide(b.Context(), &q, time.Minute); err != nil || d.Allowed() {
			b.Fatal(d, err)
		}
	}
}

// TestLongQuestionsAreNotRemembered: a cache full of lists of patients would take
// hundreds of megabytes.
func TestLongQuestionsAreNotRemembered(t *testing.T) {
	c, now := newCache(), time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)
	for _, length := range []int{1, cacheKey, cacheKey + 1} {
		key := make([]byte, length)
		c.put(key, policy.Decision{Effect: policy.Allow}, now)
		if _, ok := c.get(key, now); ok != (length <= cacheKey) {
			t.Errorf("a question of %d bytes is remembered: %t", length, ok)
		}
	}
}

// BenchmarkAllowMany asks about as many patients as a list and the longest
// response that is held may name: one question each.
func BenchmarkAllowMany(b *testing.B) {
	c := loadDefault(b)
	for _, n := range []int{500, 5000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			q := asked()
			q.Certainty, q.Patients = "several", make([]string, n)
			for i := range q.Patients {
				q.Patients[i] = "p" + strconv.Itoa(i)
			}
			b.ReportAllocs()
			for b.Loop() {
				if d, err := c.decide(b.Context(), &q, time.Minute); err != nil || !d.Allowed() {
					b.Fatal(d, err)
				}
			}
		})
	}
}
