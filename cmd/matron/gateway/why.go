package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/rego"
)

// explainWithin bounds one evaluation of the rules for a person who asks why: it
// watches every rule, and nobody waits for it at a bedside.
const explainWithin = 10 * time.Second

// RulesThatDecided is the folder of the rules of a revision where c's gateway keeps
// them; otherwise, with today, of those in force now.
func RulesThatDecided(c config.Config, revision string) (dir string, today bool, err error) {
	store := Bundles(c)
	if store.Holds(revision) {
		return store.Path(revision), false, nil
	}
	if c.Policy.Promotion != config.PromotionRequired {
		is, err := rego.Revision(c.Policy.Dir)
		return c.Policy.Dir, is != revision, err
	}
	l, err := promotion.Read(PromotionsFile(c))
	if err != nil || l.Active() == "" {
		return c.Policy.Dir, true, err
	}
	return store.Path(l.Active()), true, nil
}

// Explain asks the rules in dir how they come to their answer. Each part of an
// exchange must be allowed: the first that is not decides.
func Explain(ctx context.Context, dir string, questions []policy.Request) (dashboards.Explanation, error) {
	rules, err := rego.New(ctx, rego.Config{Dir: dir, Timeout: explainWithin})
	if err != nil {
		return dashboards.Explanation{}, err
	}
	return explainRules(ctx, rules, questions)
}

func explainRules(ctx context.Context, rules *rego.Engine, questions []policy.Request) (dashboards.Explanation, error) {
	var x rego.Explanation
	for _, q := range questions {
		var err error
		if x, err = rules.Why(ctx, q); err != nil {
			return dashboards.Explanation{}, err
		}
		if !x.Decision.Allowed() {
			break
		}
	}
	return explanation(x), nil
}

// explanation is what the command and the page show, in the words of the pages.
func explanation(x rego.Explanation) dashboards.Explanation {
	out := dashboards.Explanation{
		Effect: x.Decision.Effect.String(), Revision: x.Decision.Revision, DecidedBy: x.Decision.Rules,
		Reasons: x.Decision.Reasons, Obligations: x.Decision.Obligations,
	}
	for _, r := range x.Rules {
		out.Rules = append(out.Rules, dashboards.ConsideredRule(r))
	}
	for _, f := range x.Facts {
		out.Facts = append(out.Facts, dashboards.Fact(f))
	}
	for _, c := range x.Changes {
		out.Changes = append(out.Changes, c)
	}
	return out
}

// decisions explains decisions to pages. It remembers the rules of the last one that
// other rules than those in force had made. It is safe for concurrent use.
type decisions struct {
	cfg   config.Config
	index index
	now   *rego.Engine // in force

	mu   sync.Mutex
	dir  string       // guarded by mu
	then *rego.Engine // of dir; guarded by mu
}

// Decision implements dashboards.DecisionReader.
func (d *decisions) Decision(ctx context.Context, source string, seq uint64) (dashboards.Decision, error) {
	r, err := d.record(ctx, source, seq)
	if err != nil {
		return dashboards.Decision{}, err
	}
	if r.Site != d.cfg.Site || r.Kind != audit.KindDecision && r.Kind != audit.KindPatient {
		return dashboards.Decision{}, dashboards.ErrNoDecision
	}
	out := dashboards.Decision{Record: r}
	questions := replay.Questions(&r)
	if len(questions) == 0 {
		out.Unasked = "The rules were not asked: no map knew this request."
		return out, nil
	}
	rules, today, err := d.rules(ctx, r.PolicyRev)
	if err != nil {
		return dashboards.Decision{}, err
	}
	out.Today = today
	out.Why, err = explainRules(ctx, rules, questions)
	return out, err
}

// record reads this gateway's own records from the journal, and those of others from
// the index that they share.
func (d *decisions) record(ctx context.Context, source string, seq uint64) (audit.Record, error) {
	if source == d.cfg.Source {
		return RecordedDecision(d.cfg, seq)
	}
	a, err := d.index.Event(ctx, source, seq)
	if errors.Is(err, clickhouse.ErrNoRecord) {
		return audit.Record{}, dashboards.ErrNoDecision
	}
	return a.Record, err
}

// rules are those of a revision, or with today those in force.
func (d *decisions) rules(ctx context.Context, revision string) (rules *rego.Engine, today bool, err error) {
	if revision == d.now.Revision() {
		return d.now, false, nil
	}
	if !Bundles(d.cfg).Holds(revision) {
		return d.now, true, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if dir := Bundles(d.cfg).Path(revision); d.dir != dir {
		then, err := rego.New(ctx, rego.Config{Dir: dir, Timeout: explainWithin})
		if err != nil {
			return nil, false, fmt.Errorf("rules that decided then: %w", err)
		}
		d.dir, d.then = dir, then
	}
	return d.then, false, nil
}
