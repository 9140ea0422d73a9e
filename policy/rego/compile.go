package rego

import (
	"context"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// compiled is a bundle that is ready to decide. It is immutable but for its cache
// and room, which guard themselves.
type compiled struct {
	revision  string
	rules     *ast.Compiler
	store     storage.Store
	txn       storage.Transaction // one read transaction for good: the store never changes
	documents documents
	room      room
	allow     *query
	decision  *query
	labels    map[string]string // rule id to id@file:line
	all       []field           // the whole question
	reads     []field           // what the rules of allow can look at
	words     vocabulary
	emergency emergency
	cache     *cache
}

// compile turns the source into prepared queries and refuses a bundle that
// could allow on the absence of evidence.
func compile(ctx context.Context, src *source) (*compiled, error) {
	store := newStore(src.data)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open policy data: %w", err)
	}
	compiler := newCompiler(ctx, store, txn)
	compiler.Compile(src.rules)
	if compiler.Failed() {
		return nil, problemsOf(".", compiler.Errors).err()
	}
	deciding := closure(compiler, "allow", "obligations")
	ids, ps := ruleIDs(compiler)
	ps = append(ps, entryPoints(compiler)...)
	ps = append(ps, refuseNegation(closure(compiler, "allow"))...)
	if err := ps.err(); err != nil {
		return nil, err
	}
	data, err := ast.InterfaceToValue(src.data)
	if err != nil {
		return nil, fmt.Errorf("read policy data: %w", err)
	}
	words := vocabularyOf(data, deciding)
	c := &compiled{
		revision: src.revision, rules: compiler, store: store, txn: txn, documents: documents{data}, labels: ids,
		all: facts(), reads: readFields(facts(), deciding), words: words, cache: newCache(),
	}
	c.emergency = c.emergencyOf(ctx)
	return c, c.prepare(compiler)
}

// prepare compiles the queries that the engine asks.
func (c *compiled) prepare(compiler *ast.Compiler) error {
	var err error
	allow := "data.matron.allow"
	if len(rulesNamed(compiler, "basis")) > 0 {
		allow += "; data.matron.basis = basis"
	}
	if len(rulesNamed(compiler, "obligations")) > 0 {
		allow += "; data.matron.obligations = obligations"
	}
	if c.allow, err = compileQuery(allow, compiler); err != nil {
		return err
	}
	c.decision, err = compileQuery("data.matron.decision = decision", compiler)
	return err
}

// query is one compiled question to the bundle.
type query struct {
	body     ast.Body
	compiler ast.QueryCompiler
}

func compileQuery(text string, compiler *ast.Compiler) (*query, error) {
	body, err := ast.ParseBodyWithOpts(text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", text, err)
	}
	q := &query{compiler: compiler.QueryCompiler()}
	if q.body, err = q.compiler.Compile(body); err != nil {
		return nil, fmt.Errorf("compile %s: %w", text, err)
	}
	return q, nil
}

func newStore(data map[string]any) storage.Store {
	return inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
}

// newCompiler is strict and knows no function whose answer may differ from one
// call to the next: rules reach no network, clock or random numbers, so that
// the same question always has the same answer.
func newCompiler(ctx context.Context, store storage.Store, txn storage.Transaction) *ast.Compiler {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return b.IsNondeterministic() })
	return ast.NewCompiler().
		WithCapabilities(c).
		WithStrict(true).
		WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
}

func rulesNamed(c *ast.Compiler, name string) []*ast.Rule {
	return c.GetRulesExact(ast.Ref{ast.DefaultRootDocument, ast.StringTerm("matron"), ast.StringTerm(name)})
}

// entryPoints checks that the bundle answers what the engine asks.
func entryPoints(c *ast.Compiler) Problems {
	var ps Problems
	for _, name := range []string{"allow", "decision"} {
		if len(rulesNamed(c, name)) == 0 {
			ps = append(ps, Problem{File: ".", Text: fmt.Sprintf("no rule data.matron.%s: the bundle cannot answer", name)})
		}
	}
	for _, r := range rulesNamed(c, "allow") {
		ps = append(ps, refuseUnconditional(r)...)
	}
	for _, r := range rulesNamed(c, "obligations") {
		if r.Head.RuleKind() != ast.MultiValue { // one that is undefined would be a refusal without a reason
			ps = append(ps, problemAt(r.Location, "obligations is a set: write obligations contains NAME if ..."))
		}
	}
	return ps
}

// refuseUnconditional refuses a rule that allows whatever is asked.
func refuseUnconditional(r *ast.Rule) Problems {
	if r.Head.Value == nil || !r.Head.Value.Equal(ast.InternedTerm(true)) {
		return nil
	}
	switch {
	case r.Default:
		return Problems{problemAt(r.Location, "allow is true by default: write default allow := false")}
	case r.Body.Equal(ast.NewBody(ast.NewExpr(ast.InternedTerm(true)))):
		return Problems{problemAt(r.Location, "allow holds without any condition")}
	}
	return nil
}

// refuseNegation refuses "not" in every rule that allow rests on: a condition
// of allow must be a fact that is there, because "not sealed" holds as well
// when nobody knows (hazard GW-11). Ways around it, such as counting a set of
// objections, are for the reviewer of the rules.
func refuseNegation(deciding []*ast.Rule) Problems {
	var ps Problems
	for _, r := range deciding {
		ast.WalkExprs(r, func(e *ast.Expr) bool {
			if e.Negated {
				ps = append(ps, problemAt(e.Location, "allow rests on this \"not\": state the fact that must be there instead"))
			}
			return false
		})
	}
	return ps
}

// closure returns the named rules and all that they depend on.
func closure(c *ast.Compiler, names ...string) []*ast.Rule {
	var rules []*ast.Rule
	seen := map[*ast.Rule]bool{}
	var visit func(*ast.Rule)
	visit = func(r *ast.Rule) {
		if seen[r] {
			return
		}
		seen[r] = true
		rules = append(rules, r)
		for dep := range c.Graph.Dependencies(r) {
			if next, ok := dep.(*ast.Rule); ok {
				visit(next)
			}
		}
	}
	for _, name := range names {
		for _, r := range rulesNamed(c, name) {
			visit(r)
		}
	}
	return rules
}

// ruleIDs maps the names that decisions give for rules to name@file:line. A
// rule is named by its label id; the branches of basis and allow by their
// value and their own name.
func ruleIDs(c *ast.Compiler) (map[string]string, Problems) {
	ids := map[string]string{}
	var ps Problems
	add := func(id string, loc *ast.Location) {
		if _, taken := ids[id]; taken {
			ps = append(ps, problemAt(loc, fmt.Sprintf("rule id %q is taken", id)))
			return
		}
		ids[id] = fmt.Sprintf("%s@%s:%d", id, loc.File, loc.Row)
	}
	for _, ref := range c.GetAnnotationSet().Flatten() {
		if id, ok := ref.Annotations.Labels["id"].(string); ok && ref.GetRule() != nil {
			add(id, ref.GetRule().Location)
		}
	}
	for _, r := range rulesNamed(c, "basis") {
		for ; r != nil; r = r.Else {
			if id, ok := r.Head.Value.Value.(ast.String); ok && !r.Default {
				add(string(id), r.Location)
			}
		}
	}
	return ids, ps
}
