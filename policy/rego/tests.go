package rego

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// testTimeout bounds one test of a bundle.
const testTimeout = 10 * time.Second

// Trial is what came of the tests and cases of a bundle.
type Trial struct {
	Revision string
	Tests    []Tried // test_ rules of …_test.rego
	Cases    []Tried // rows of …_cases.yaml
	Rules    []Exercised
}

// Tried is one test or case. Problem is nil when it passed.
type Tried struct {
	Place   string // file:line
	Name    string
	Problem *Problem
}

// Exercised is one rule and whether any test or case had it hold.
type Exercised struct {
	Place string // file:line
	Name  string
	Held  bool
}

// Test runs the tests and cases of the bundle in dir ("" means the embedded default)
// and says which rules none of them had hold. Its error is Problems when the bundle
// cannot be tested at all.
func Test(ctx context.Context, dir string) (Trial, error) {
	src, err := readBundle(dir)
	if err != nil {
		return Trial{}, inFolder(dir, err)
	}
	c, err := compile(ctx, src)
	if err != nil {
		return Trial{}, inFolder(dir, err)
	}
	if err := c.refuseDenyingAll(ctx); err != nil {
		return Trial{}, inFolder(dir, err)
	}
	t := Trial{Revision: src.revision}
	covered := cover.New()
	results, failed, err := src.failing(ctx, c, covered)
	if err != nil {
		return Trial{}, inFolder(dir, err)
	}
	for _, r := range results {
		t.Tests = append(t.Tests, failed.tried(fmt.Sprintf("%s:%d", r.Location.File, r.Location.Row), r.Name))
	}
	for i := range src.cases {
		t.Cases = append(t.Cases, failed.tried(src.cases[i].Place(), src.cases[i].Name))
		q := src.cases[i].Question()
		for _, asked := range []*query{c.allow, c.decision} {
			if err := c.traced(ctx, asked, &q, covered); err != nil && failed.of(src.cases[i].Name) == nil {
				return Trial{}, fmt.Errorf("watch case %s: %w", src.cases[i].Place(), err)
			}
		}
	}
	t.Rules = exercised(covered.Report(src.rules), src.rules)
	return t, nil
}

// trouble is what failed, by the name of the test or case. What belongs to no test
// stands under "".
type trouble map[string]Problem

func (t trouble) of(name string) *Problem {
	if p, ok := t[name]; ok {
		return &p
	}
	return nil
}

func (t trouble) tried(place, name string) Tried {
	return Tried{Place: place, Name: name, Problem: t.of(name)}
}

func (t trouble) err() error {
	ps := make(Problems, 0, len(t))
	for _, p := range t {
		ps = append(ps, p)
	}
	return ps.err()
}

// failing runs the bundle's tests, in a compiler of their own, and its cases. A bundle
// without tests has failed: nobody could tell what it was meant to do (GW-11). covered
// notes which rules the tests had hold; nil for nobody.
func (s *source) failing(ctx context.Context, c *compiled, covered *cover.Cover) ([]*tester.Result, trouble, error) {
	failed := trouble{}
	results, err := s.testResults(ctx, covered, "")
	if err != nil {
		return nil, nil, err
	}
	if len(results) == 0 {
		failed[""] = Problem{File: ".", Text: "no tests: expected at least one rule test_… in a file …_test.rego"}
	}
	for _, result := range results {
		if result.Pass() {
			continue
		}
		again := []*tester.Result{result}
		if result.Error == nil && !result.Skip { // once more, to see where
			if again, err = s.testResults(ctx, nil, regexp.QuoteMeta(result.Package+"."+result.Name)+"$"); err != nil {
				return nil, nil, err
			}
		}
		for _, r := range again {
			failed[r.Name] = failure(r)
		}
	}
	for i := range s.cases {
		if p := c.try(ctx, &s.cases[i]); p != nil {
			failed[s.cases[i].Name] = *p
		}
	}
	return results, failed, nil
}

// testResults runs the tests whose name matches only, all of them where it is "". With
// only it traces them, which says where they failed and takes many times as long.
func (s *source) testResults(ctx context.Context, covered *cover.Cover, only string) ([]*tester.Result, error) {
	modules := map[string]*ast.Module{}
	for _, part := range []map[string]*ast.Module{s.rules, s.tests} {
		for name, m := range part {
			modules[name] = m
		}
	}
	store := newStore(s.data)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open policy data: %w", err)
	}
	defer store.Abort(ctx, txn)
	runner := tester.NewRunner().
		SetCompiler(newCompiler(ctx, store, txn)).
		SetStore(store).
		SetModules(modules).
		SetTimeout(testTimeout).
		RaiseBuiltinErrors(true).
		EnableTracing(only != "").
		Filter(only)
	if covered != nil {
		runner = runner.SetCoverageQueryTracer(covered)
	}
	ch, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, problemsOf(".", err).err()
	}
	var results []*tester.Result
	for result := range ch {
		results = append(results, result)
	}
	if err := ctx.Err(); err != nil { // the tests that did not run have not passed
		return nil, fmt.Errorf("run the tests of the bundle: %w", err)
	}
	slices.SortFunc(results, func(a, b *tester.Result) int { return a.Location.Compare(b.Location) })
	return results, nil
}

// exercised lists every rule of a bundle, in the order of its files.
func exercised(report cover.Report, rules map[string]*ast.Module) []Exercised {
	var all []Exercised
	for _, m := range rules {
		ast.WalkRules(m, func(r *ast.Rule) bool {
			if at := r.Head.Location; at.HasFile() && !r.Default {
				all = append(all, Exercised{
					Place: fmt.Sprintf("%s:%d", at.File, at.Row), Name: name(r), Held: report.IsCovered(at.File, at.Row),
				})
			}
			return false
		})
	}
	slices.SortStableFunc(all, func(a, b Exercised) int { return comparePlaces(a.Place, b.Place) })
	return all
}

// comparePlaces orders file:line by file, then by number.
func comparePlaces(a, b string) int {
	fileA, rowA, _ := strings.Cut(a, ":")
	fileB, rowB, _ := strings.Cut(b, ":")
	if c := strings.Compare(fileA, fileB); c != 0 {
		return c
	}
	if len(rowA) != len(rowB) {
		return len(rowA) - len(rowB)
	}
	return strings.Compare(rowA, rowB)
}

// failure says where a test failed and what it expected there.
func failure(result *tester.Result) Problem {
	switch {
	case result.Error != nil:
		return problemAt(result.Location, fmt.Sprintf("%s failed: %v", result.Name, result.Error))
	case result.Skip:
		return problemAt(result.Location, result.Name+" is marked as to do: a bundle in force has no unfinished tests")
	}
	for _, e := range slices.Backward(result.Trace) {
		if e.Op == topdown.FailOp && e.Location != nil && e.QueryID != 0 && e.Location.File == result.Location.File {
			var detail bytes.Buffer
			if err := topdown.PrettyEvent(&detail, e, topdown.PrettyEventOpts{PrettyVars: true}); err != nil {
				detail.WriteString(string(e.Location.Text))
			}
			lines := strings.ReplaceAll(strings.TrimSpace(detail.String()), "\n", "\n\t")
			return problemAt(e.Location, result.Name+" failed, expected:\n\t"+lines)
		}
	}
	return problemAt(result.Location, result.Name+" failed: expected it to hold")
}
