package rego

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// testTimeout bounds one test of a bundle.
const testTimeout = 10 * time.Second

// Test runs the tests of the bundle in dir ("" means the embedded default) and
// writes what failed, where and what was expected; with verbose, what passed as
// well. What cannot be written is lost; the counts are right all the same. Its
// error is Problems when the bundle cannot be tested at all.
func Test(ctx context.Context, dir string, out io.Writer, verbose bool) (passed, failed int, err error) {
	src, err := readBundle(dir)
	if err != nil {
		return 0, 0, inFolder(dir, err)
	}
	if _, err := compile(ctx, src); err != nil {
		return 0, 0, inFolder(dir, err)
	}
	report, err := runTests(ctx, src, out, verbose)
	return report.passed, report.failed, inFolder(dir, err)
}

// report is what came of the tests of a bundle.
type report struct {
	passed, failed int
	problems       Problems
}

// runTests runs the bundle's tests in a compiler of their own. A bundle without
// tests has failed: nobody could tell what it was meant to do (hazard GW-11).
func runTests(ctx context.Context, src *source, out io.Writer, verbose bool) (report, error) {
	results, err := testResults(ctx, src)
	if err != nil {
		return report{}, err
	}
	var r report
	for _, result := range results {
		if result.Pass() {
			r.passed++
			if verbose {
				_, _ = fmt.Fprintf(out, "%s:%d: %s passed\n", result.Location.File, result.Location.Row, result.Name)
			}
			continue
		}
		r.failed++
		p := failure(result)
		r.problems = append(r.problems, p)
		_, _ = fmt.Fprintln(out, p)
	}
	if len(results) == 0 {
		r.problems = append(r.problems, Problem{File: ".", Text: "no tests: expected at least one rule test_… in a file …_test.rego"})
	}
	return r, nil
}

func testResults(ctx context.Context, src *source) ([]*tester.Result, error) {
	modules := map[string]*ast.Module{}
	for _, part := range []map[string]*ast.Module{src.rules, src.tests} {
		for name, m := range part {
			modules[name] = m
		}
	}
	store := newStore(src.data)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open policy data: %w", err)
	}
	defer store.Abort(ctx, txn)
	ch, err := tester.NewRunner().
		SetCompiler(newCompiler(ctx, store, txn)).
		SetStore(store).
		SetModules(modules).
		SetTimeout(testTimeout).
		RaiseBuiltinErrors(true).
		EnableTracing(true).
		RunTests(ctx, txn)
	if err != nil {
		return nil, problemsOf(".", err).err()
	}
	var results []*tester.Result
	for result := range ch {
		results = append(results, result)
	}
	slices.SortFunc(results, func(a, b *tester.Result) int { return a.Location.Compare(b.Location) })
	return results, nil
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
