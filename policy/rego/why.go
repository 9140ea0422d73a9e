package rego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/matron-epr/matron/policy"
)

// Explanation is a decision and all that led to it.
type Explanation struct {
	Decision policy.Decision
	Rules    []Considered // every rule that the answer rests on, by file and line
	Facts    []Fact       // what the rules of allow can read of the question
	Changes  []Change     // what would make it allowed; empty when it is, or nothing simple would
}

// Considered is one rule and what came of it.
type Considered struct {
	Name    string // its label, its value where it is a basis, or its name
	Place   string // file:line
	Reached bool   // the evaluation got to it
	Held    bool
	Stopped string // file:line of the last condition that was not met, when it did not hold
}

// Fact is one part of a question that rules can read.
type Fact struct {
	Name  string        // below input, such as "subject.roles"
	Value string        // as the rules see it
	Age   time.Duration // how long before the question; 0 for what is not a time or not known
}

// Change is one thing, or two together, that would make a question allowed.
type Change []string

// Why decides q and says how the rules came to it. It costs a hundred times a
// decision: it is for people who ask, not for the way of a request. Its error
// means that the rules gave no answer, which refuses.
func (e *Engine) Why(ctx context.Context, q policy.Request) (Explanation, error) {
	c := e.current.Load()
	if c == nil {
		return Explanation{Decision: refuseOnError("")}, errors.New("no policy is in force")
	}
	return c.why(ctx, &q, e.cfg.Timeout)
}

func (c *compiled) why(ctx context.Context, q *policy.Request, timeout time.Duration) (Explanation, error) {
	d, err := c.decide(ctx, q, timeout)
	if err != nil {
		return Explanation{Decision: refuseOnError(c.revision)}, err
	}
	seen, err := c.watch(ctx, q)
	if err != nil {
		return Explanation{Decision: refuseOnError(c.revision)}, err
	}
	x := Explanation{Decision: d, Rules: c.considered(seen), Facts: c.facts(q)}
	if !d.Allowed() {
		x.Changes, err = c.changes(ctx, q, timeout)
	}
	return x, err
}

// watch evaluates allow and the decision without shortcuts and notes each rule.
func (c *compiled) watch(ctx context.Context, q *policy.Request) (*watcher, error) {
	w := &watcher{rules: map[*ast.Rule]*Considered{}, queries: map[uint64]*ast.Rule{}}
	for _, asked := range []*query{c.allow, c.decision} {
		clear(w.queries) // each evaluation numbers its queries from the start
		if err := c.traced(ctx, asked, q, w); err != nil {
			return nil, fmt.Errorf("watch the rules: %w", err)
		}
	}
	return w, nil
}

// traced evaluates one query without shortcuts and tells tracer of every step.
func (c *compiled) traced(ctx context.Context, asked *query, q *policy.Request, tracer topdown.QueryTracer) error {
	return topdown.NewQuery(asked.body).
		WithQueryCompiler(asked.compiler).
		WithCompiler(c.rules).
		WithStore(c.store).
		WithTransaction(c.txn).
		WithInput(ast.NewTerm(question(c.words, c.all, q))).
		WithMetrics(metrics.NoOp()).
		WithStrictBuiltinErrors(true).
		WithIndexing(false).
		WithEarlyExit(false).
		WithQueryTracer(tracer).
		Iter(ctx, func(topdown.QueryResult) error { return nil })
}

// watcher is a topdown.QueryTracer that notes which rules were tried, which held
// and where the others stopped.
type watcher struct {
	rules   map[*ast.Rule]*Considered
	queries map[uint64]*ast.Rule // which rule's body a query is
}

// Enabled is part of topdown.QueryTracer.
func (*watcher) Enabled() bool { return true }

// Config is part of topdown.QueryTracer.
func (*watcher) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent is part of topdown.QueryTracer.
func (w *watcher) TraceEvent(e topdown.Event) {
	switch node := e.Node.(type) {
	case *ast.Rule:
		seen := w.rules[node]
		if seen == nil {
			seen = &Considered{Reached: true}
			w.rules[node] = seen
		}
		w.queries[e.QueryID] = node
		seen.Held = seen.Held || e.Op == topdown.ExitOp
	case *ast.Expr:
		rule := w.queries[e.QueryID]
		if e.Op == topdown.FailOp && rule != nil && e.Location != nil {
			w.rules[rule].Stopped = fmt.Sprintf("%s:%d", e.Location.File, e.Location.Row)
		}
	}
}

// considered lists the rules that the answer rests on. Defaults are not
// conditions and are left out.
func (c *compiled) considered(w *watcher) []Considered {
	rules := closure(c.rules, "allow", "decision", "obligations")
	slices.SortFunc(rules, func(a, b *ast.Rule) int { return a.Location.Compare(b.Location) })
	list := make([]Considered, 0, len(rules))
	for _, r := range rules {
		if r.Default {
			continue
		}
		var entry Considered
		if seen := w.rules[r]; seen != nil {
			entry = *seen
		}
		if entry.Held {
			entry.Stopped = ""
		}
		entry.Name, entry.Place = name(r), fmt.Sprintf("%s:%d", r.Location.File, r.Location.Row)
		list = append(list, entry)
	}
	return list
}

// name is what staff find a rule by: its value where that is a word, as in
// basis, or its name.
func name(r *ast.Rule) string {
	of := strings.TrimPrefix(r.Head.Ref().String(), "data.matron.")
	if r.Head.Value != nil {
		if word, ok := r.Head.Value.Value.(ast.String); ok && len(r.Head.Args) == 0 && word != "" {
			return of + " " + string(word)
		}
	}
	if r.Head.Key != nil {
		if word, ok := r.Head.Key.Value.(ast.String); ok {
			return of + " " + string(word)
		}
	}
	return of
}

// facts are what the rules of allow can read of q, and how old they are: that of the
// register of care relationships stands beside what it knows.
func (c *compiled) facts(q *policy.Request) []Fact {
	list := make([]Fact, 0, len(c.reads)+1)
	read := map[string]bool{}
	for _, f := range c.reads {
		read[f.path()] = true
		read[f.group] = f.group == "care"
	}
	for _, f := range c.all {
		if !read[f.path()] && !read[f.group] {
			continue
		}
		value := f.term(c.words, q)
		fact := Fact{Name: f.path(), Value: value.String()}
		if text, ok := value.Value.(ast.String); ok && !q.Time.IsZero() {
			if at, err := time.Parse(time.RFC3339, string(text)); err == nil {
				fact.Age = max(q.Time.Sub(at), 0)
			}
		}
		list = append(list, fact)
	}
	return list
}

// changes finds what would make q allowed: one thing, or else two together.
func (c *compiled) changes(ctx context.Context, q *policy.Request, timeout time.Duration) ([]Change, error) {
	others, err := c.alternatives(ctx, q)
	if err != nil {
		return nil, err
	}
	var found []Change
	try := func(picked ...alternative) error {
		changed := *q
		said := make(Change, 0, len(picked))
		for _, a := range picked {
			a.make(&changed)
			said = append(said, a.said)
		}
		d, err := c.decide(ctx, &changed, timeout)
		if err == nil && d.Allowed() {
			found = append(found, said)
		}
		return err
	}
	for _, a := range others {
		if err := try(a); err != nil {
			return nil, err
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	for i, a := range others {
		for _, b := range others[i+1:] {
			if a.of == b.of {
				continue
			}
			if err := try(a, b); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// alternative is another value for one part of a question.
type alternative struct {
	of   string
	said string
	make func(*policy.Request)
}

// alternatives are what could truly be otherwise: who is signed in, in which
// role, whether it is known whose record it is, and who cares for them.
func (c *compiled) alternatives(ctx context.Context, q *policy.Request) ([]alternative, error) {
	list := []alternative{
		{"subject", "somebody is signed in", func(q *policy.Request) {
			q.Subject.Issuer = cmp.Or(q.Subject.Issuer, "somebody")
			q.Subject.Sub = cmp.Or(q.Subject.Sub, "somebody")
		}},
		{"patient", "the map tells for certain which one patient it is about", func(q *policy.Request) {
			q.Patients, q.Certainty = []string{"one"}, "authoritative"
		}},
		{"map", "the map has a rule for the request", func(q *policy.Request) { q.Rule = cmp.Or(q.Rule, "some") }},
		{"sign-in", "a fresh sign-in at level 3", func(q *policy.Request) { q.Subject.Assurance, q.Subject.AuthTime = 3, q.Time }},
		{"purpose", "saying what for (treatment)", func(q *policy.Request) { q.Purpose = cmp.Or(q.Purpose, "TREAT") }},
		{"grant", "emergency access to the patient", func(q *policy.Request) { q.Grant = cmp.Or(q.Grant, "some") }},
	}
	t, err := c.tables(ctx)
	if err != nil {
		if errors.Is(err, errNoTables) {
			return list, nil
		}
		return nil, err
	}
	if kinds := t.Relationships.Counts[string(q.Area)]; q.Care.Feed != policy.NoFeed && len(kinds) > 0 {
		list = append(list, alternative{"care", "a care relationship with the patient (" + strings.Join(kinds, ", ") + ")", func(q *policy.Request) {
			q.Care.Feed, q.Care.Kinds = policy.CurrentFeed, kinds
		}})
	}
	for _, r := range t.roles() {
		if r.Machine == q.Subject.Machine {
			list = append(list, alternative{"role", "with the role " + cmp.Or(r.Title, r.Code), func(q *policy.Request) {
				q.Subject.Roles = append(slices.Clone(q.Subject.Roles), r.Code)
			}})
		}
	}
	return list, nil
}
