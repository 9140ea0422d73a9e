package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/policy/rego"
)

// BuiltIn names the bundle that comes with Matron where a folder may be named.
const BuiltIn = "built-in"

// Bundles are the bundles that c's gateway keeps.
func Bundles(c config.Config) promotion.Store {
	return promotion.Store{Dir: paths{c.DataDir}.bundles()}
}

// PromotionsFile is where the promotions of c's gateway are.
func PromotionsFile(c config.Config) string { return paths{c.DataDir}.promotions() }

// VerdictKey is the secret with which c's gateway seals verdicts.
func VerdictKey(c config.Config) ([]byte, error) { return readKey(paths{c.DataDir}.linkKey()) }

// RulesDir is the folder of rules that a person names: a folder, "built-in", or the
// revision of a bundle that c's gateway keeps. "" is the built-in one.
func RulesDir(c config.Config, name string) (string, error) {
	if name == BuiltIn {
		return "", nil
	}
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if store := Bundles(c); store.Holds(name) {
		return store.Path(name), nil
	}
	return "", fmt.Errorf("%s is neither the folder of a bundle, nor \"built-in\", nor the revision of one in %s", name, Bundles(c).Dir)
}

// RulesInForce is the revision that a gateway with the configuration c decides by:
// what was promoted last or, where that is not demanded, what is configured.
func RulesInForce(c config.Config) (string, error) {
	if c.Policy.Promotion == config.PromotionRequired {
		l, err := promotion.Read(PromotionsFile(c))
		if err != nil {
			return "", err
		}
		if l.Active() != "" {
			return l.Active(), nil
		}
	}
	return rego.Revision(c.Policy.Dir)
}

// openPolicy loads the rules that decide from the first request on.
func (g *Gateway) openPolicy(ctx context.Context) error {
	var err error
	if g.fetched.from, err = openFetcher(g.cfg); err != nil {
		return fmt.Errorf("load policy: %w", err)
	}
	dir, err := g.startingRules(ctx)
	if err != nil {
		return fmt.Errorf("load policy: %w", err)
	}
	g.policy, err = rego.New(ctx, rego.Config{Dir: dir, Timeout: g.cfg.Policy.Timeout, Now: g.now, Log: g.log})
	if err != nil {
		return fmt.Errorf("load policy: %w", err)
	}
	if g.cfg.Policy.Promotion == config.PromotionRequired {
		desk := g.deskConfig()
		desk.Engine = g.policy
		g.promotion = promotion.NewDesk(desk)
		g.compareRules(ctx)
		return nil
	}
	if g.fetched.from == nil {
		g.keepRules(ctx)
	}
	return nil
}

func (g *Gateway) deskConfig() promotion.DeskConfig {
	return promotion.DeskConfig{Path: PromotionsFile(g.cfg), Store: Bundles(g.cfg), Record: g.record, Now: g.now, Log: g.log}
}

// startingRules is the folder of the rules that were in force when the gateway
// stopped or, where promotion is not demanded, of those configured.
func (g *Gateway) startingRules(ctx context.Context) (string, error) {
	switch required := g.cfg.Policy.Promotion == config.PromotionRequired; {
	case !required && g.fetched.from != nil:
		return g.startFetched(ctx)
	case !required:
		return g.cfg.Policy.Dir, nil
	}
	l, torn := promotion.Adopt(ctx, g.deskConfig(), g.cfg.Policy.Dir)
	if errors.Is(torn, promotion.ErrFile) {
		var err error
		if l, err = promotion.ReadEarlier(PromotionsFile(g.cfg)); err != nil {
			return "", err
		}
	} else if torn != nil {
		return "", torn
	}
	dir, fault, err := promotion.Start(ctx, l, Bundles(g.cfg))
	if fault = errors.Join(torn, fault); fault != nil {
		g.metrics.refusedRules.Inc()
		g.log.LogAttrs(ctx, slog.LevelError, "the rules that were promoted last are not in force, older ones are", slog.String("error", fault.Error()))
	}
	return dir, err
}

// keepRules keeps a copy of the configured rules in force, so that what they decide
// can be explained later. On error they are in force all the same.
func (g *Gateway) keepRules(ctx context.Context) {
	if Bundles(g.cfg).Holds(g.policy.Revision()) {
		return
	}
	if _, err := Bundles(g.cfg).Keep(g.cfg.Policy.Dir); err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "the rules in force are not kept for later explanations", slog.String("error", err.Error()))
	}
}

// reloadRules takes the configured rules in, where two people need not.
func (g *Gateway) reloadRules(ctx context.Context) error {
	if g.promotion != nil {
		g.compareRules(ctx)
		return nil
	}
	if g.fetched.from != nil { // the server says when there are others
		return nil
	}
	if err := g.policy.Reload(ctx); err != nil {
		g.metrics.refusedRules.Inc()
		return fmt.Errorf("policy: %w", err)
	}
	g.keepRules(ctx)
	return nil
}

// compareRules says so when the configured rules are not, and never were, in force:
// an edit there waits for promotion.
func (g *Gateway) compareRules(ctx context.Context) {
	note := ""
	where := g.cfg.Policy.Dir
	if where == "" {
		where = "Matron itself"
	}
	is, err := rego.Revision(g.cfg.Policy.Dir)
	l, readErr := promotion.Read(PromotionsFile(g.cfg))
	switch {
	case err != nil:
		note = "The rules in " + where + " cannot be read. What was promoted stays in force."
	case readErr != nil:
		note = "The file of promotions cannot be read. The rules in force stay."
	case !slices.ContainsFunc(l.Changes, func(c promotion.Change) bool { return c.Revision == is }):
		note = "The rules in " + where + " are not in force: two people must promote them first."
	}
	g.rulesNote.Store(&note)
	if note != "" {
		g.log.LogAttrs(ctx, slog.LevelWarn, "the configured rules are not in force", slog.String("why", note), slog.String("configured", is), slog.String("in_force", g.policy.Revision()))
	}
}
