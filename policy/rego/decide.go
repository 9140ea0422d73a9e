package rego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/matron-epr/matron/policy"
)

// errUnreadable is an answer of the rules in a form that is not understood.
var errUnreadable = errors.New("unreadable answer from the rules")

// decide asks allow first and the explanation only when the answer is no.
func (c *compiled) decide(ctx context.Context, q *policy.Request, timeout time.Duration) (d policy.Decision, err error) {
	defer recovered(&err)
	cancel := topdown.NewCancel()
	defer time.AfterFunc(timeout, cancel.Cancel).Stop()
	answer, err := c.ask(ctx, c.allow, question(c.words, c.reads, q), cancel, nil)
	if err != nil {
		return policy.Decision{}, err
	}
	if answer == nil {
		return c.explain(ctx, q, cancel)
	}
	d = policy.Decision{Effect: policy.Allow, Rules: c.basisOf(answer["basis"]), Revision: c.revision}
	d.Obligations, err = obligations(answer["obligations"])
	if err != nil {
		return policy.Decision{}, err
	}
	return d, nil
}

// Allows answers only whether q is allowed, for who asks many questions and wants
// to hear why of few. It remembers nothing and, like Decide, never fails.
func (e *Engine) Allows(ctx context.Context, q policy.Request) bool {
	c := e.current.Load()
	if c == nil {
		return false
	}
	allowed, err := c.allows(ctx, &q, e.cfg.Timeout)
	if err != nil {
		e.cfg.Log.ErrorContext(ctx, "policy evaluation failed; counted as refused", slog.String("at", place(err)))
	}
	return allowed && err == nil
}

func (c *compiled) allows(ctx context.Context, q *policy.Request, timeout time.Duration) (allowed bool, err error) {
	defer recovered(&err)
	cancel := topdown.NewCancel()
	defer time.AfterFunc(timeout, cancel.Cancel).Stop()
	answer, err := c.ask(ctx, c.allow, question(c.words, c.reads, q), cancel, nil)
	return answer != nil, err
}

// recovered makes a panic in the evaluator an error like any other (GW-12): it must
// not take down the requests of other people (GW-02).
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic during evaluation: %T", r)
	}
}

// ask evaluates one query and returns what its variables are bound to, nil when the
// query has no result.
func (c *compiled) ask(ctx context.Context, q *query, input ast.Value, cancel topdown.Cancel, tracker *topdown.EvaluatedRuleTracker) (answer topdown.QueryResult, err error) {
	rules := c.room.take()
	defer c.room.giveBack(rules)
	err = topdown.NewQuery(q.body).
		WithQueryCompiler(q.compiler).
		WithCompiler(c.rules).
		WithStore(c.store).
		WithTransaction(c.txn).
		WithBaseCache(c.documents).
		WithVirtualCache(rules).
		WithInput(ast.NewTerm(input)).
		WithMetrics(metrics.NoOp()).
		WithCancel(cancel).
		WithEvaluatedRuleTracker(tracker).
		// A built-in function that meets garbage is an error, and an error
		// is a deny; without this the expression would just be undefined.
		WithStrictBuiltinErrors(true).
		Iter(ctx, func(result topdown.QueryResult) error {
			answer = result
			return nil
		})
	return answer, err
}

// explain evaluates the whole decision for a question that is not allowed.
// Whatever it says, the effect is never allow.
func (c *compiled) explain(ctx context.Context, q *policy.Request, cancel topdown.Cancel) (policy.Decision, error) {
	var tracker topdown.EvaluatedRuleTracker
	answer, err := c.ask(ctx, c.decision, question(c.words, c.all, q), cancel, &tracker)
	if err != nil {
		return policy.Decision{}, err
	}
	if answer == nil {
		return policy.Decision{}, fmt.Errorf("%w: no decision", errUnreadable)
	}
	d, err := readDecision(answer["decision"])
	if err != nil {
		return policy.Decision{}, err
	}
	d.Rules, d.Revision = c.places(&tracker), c.revision
	return d, nil
}

// readDecision takes the explanation apart. Only "challenge" is anything but a
// deny, and says what it offers. A refusal without a reason is an error: staff must
// be told why.
func readDecision(answer *ast.Term) (policy.Decision, error) {
	var doc struct {
		Effect string       `json:"effect"`
		Offer  policy.Offer `json:"offer"`
		// Emergency may be left out: nothing is offered then.
		Emergency bool `json:"emergency"`
		Reasons   []struct {
			Code   string `json:"code"`
			Text   string `json:"text"`
			Remedy string `json:"remedy"`
		} `json:"reasons"`
	}
	if err := decode(answer, &doc); err != nil {
		return policy.Decision{}, fmt.Errorf("%w: decision: %w", errUnreadable, err)
	}
	d := policy.Decision{Effect: policy.Deny}
	if doc.Effect == policy.Challenge.String() {
		if !doc.Offer.Known() {
			return policy.Decision{}, fmt.Errorf("%w: a challenge needs an offer", errUnreadable)
		}
		d.Effect, d.Offer = policy.Challenge, doc.Offer
		d.Emergency = doc.Emergency && doc.Offer != policy.BreakGlass
	}
	for _, r := range doc.Reasons {
		if r.Code == "" || r.Text == "" || r.Remedy == "" {
			return policy.Decision{}, fmt.Errorf("%w: a reason needs code, text and remedy", errUnreadable)
		}
		d.Reasons = append(d.Reasons, policy.Reason{Code: r.Code, Text: r.Text, Remedy: r.Remedy})
	}
	if len(d.Reasons) == 0 {
		return policy.Decision{}, fmt.Errorf("%w: refusal without a reason", errUnreadable)
	}
	return d, nil
}

// decode converts a term; a set becomes a list.
func decode(t *ast.Term, into any) error {
	v, err := ast.JSON(t.Value)
	if err != nil {
		return err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// obligations are what an allowed request brings with it, where the bundle has
// rules for that. An error is a deny: an obligation must not be lost (GW-09).
func obligations(answer *ast.Term) ([]string, error) {
	if answer == nil {
		return nil, nil
	}
	if set, ok := answer.Value.(ast.Set); ok && set.Len() == 0 {
		return nil, nil
	}
	var names []string
	if err := decode(answer, &names); err != nil {
		return nil, fmt.Errorf("%w: obligations: %w", errUnreadable, err)
	}
	slices.Sort(names)
	return slices.Clip(names), nil
}

// basisOf names the rule that a permission rests on. The capacity is the
// length, because a remembered decision is shared.
func (c *compiled) basisOf(basis *ast.Term) []string {
	if basis == nil {
		return []string{"allow"}
	}
	name, ok := basis.Value.(ast.String)
	if !ok {
		return []string{"allow"}
	}
	if at, ok := c.labels[string(name)]; ok {
		return []string{at}
	}
	return []string{string(name)}
}

// places names the labelled rules that held, with file and line.
func (c *compiled) places(tracker *topdown.EvaluatedRuleTracker) []string {
	places := make([]string, 0, len(tracker.Labels))
	for _, labels := range tracker.Labels {
		id, _ := labels["id"].(string)
		if at, ok := c.labels[id]; ok {
			places = append(places, at)
		}
	}
	slices.Sort(places)
	return places
}

// place says what went wrong without the values that it went wrong with: the
// message of a built-in function may quote them.
func place(err error) string {
	if e, ok := errors.AsType[*topdown.Error](err); ok {
		if e.Location != nil {
			return fmt.Sprintf("%s %s:%d", e.Code, e.Location.File, e.Location.Row)
		}
		return e.Code
	}
	return err.Error()
}
