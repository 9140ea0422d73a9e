package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/fetch"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/policy/rego"
)

// fetched follows the server that offers rules. Its zero value has none.
type fetched struct {
	from     *fetch.Fetcher         // nil without a server
	answered atomic.Int64           // unix seconds of the last answer that was good
	wrong    atomic.Pointer[string] // what a banner says; nil for nothing
	refused  string                 // what was last recorded as refused; of the goroutine that fetches
}

func openFetcher(c config.Config) (*fetch.Fetcher, error) {
	b := c.Policy.Bundle
	if b.URL == "" {
		return nil, nil
	}
	transport, err := transportFor(b.CAFile)
	if err != nil {
		return nil, err
	}
	return fetch.New(fetch.Config{
		URL: b.URL, Client: &http.Client{Transport: transport, Timeout: fetch.Timeout},
		Signing: func() (rego.Signing, error) { return signing(b) },
		Cache:   filepath.Join(paths{c.DataDir}.policy(), "fetched.tar.gz"),
	}), nil
}

// signing says which signatures count.
func signing(b config.PolicyBundle) (rego.Signing, error) {
	text, err := os.ReadFile(b.KeyFile)
	if err != nil {
		return rego.Signing{}, fmt.Errorf("read key of bundles: %w", err)
	}
	keys, err := rego.PublicKeys(text)
	if err != nil {
		return rego.Signing{}, fmt.Errorf("%s: %w", b.KeyFile, err)
	}
	return rego.Signing{Keys: keys, Algorithm: b.Algorithm, Scope: b.Scope}, nil
}

// keepFetched puts a signed bundle into the store, once it compiles and passes its
// tests.
func (g *Gateway) keepFetched(ctx context.Context, b *fetch.Bundle) (*rego.Bundle, error) {
	dir, err := os.MkdirTemp("", "matron-rules-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := b.Extract(dir); err != nil {
		return nil, err
	}
	rules, err := rego.Load(ctx, dir)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), dir, "bundle"))
	}
	kept, err := Bundles(g.cfg).Keep(dir)
	if err == nil && kept != rules.Revision() {
		err = errors.New("the bundle changed while it was kept")
	}
	return rules, err
}

// startFetched is the folder of the rules that a gateway starts with whose rules come
// from a server: the last good bundle or, before there is one, that of the server. On
// error there are no rules, and the gateway does not start (GW-11).
func (g *Gateway) startFetched(ctx context.Context) (string, error) {
	b, err := g.fetched.from.Cached()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			g.log.LogAttrs(ctx, slog.LevelError, "the last good bundle of rules does not count any more", slog.String("error", err.Error()))
		}
		var fetchErr error
		if b, fetchErr = g.fetched.from.Fetch(ctx); fetchErr != nil || b == nil {
			return "", fmt.Errorf("no rules: %w", errors.Join(fetchErr, err))
		}
	}
	rules, err := g.keepFetched(ctx, b)
	if err != nil {
		return "", err
	}
	if err := g.fetched.from.Good(b); err != nil {
		return "", err
	}
	return Bundles(g.cfg).Path(rules.Revision()), nil
}

// pollRules asks the server at each interval until ctx ends.
func (g *Gateway) pollRules(ctx context.Context) error {
	if g.fetched.from == nil {
		return nil
	}
	tick := time.NewTicker(g.cfg.Policy.Bundle.Poll)
	defer tick.Stop()
	for {
		g.pollOnce(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// pollOnce takes in what the server offers. On error what is in force stays (GW-02,
// GW-11).
func (g *Gateway) pollOnce(ctx context.Context) {
	b, err := g.fetched.from.Fetch(ctx)
	if err == nil && b != nil {
		err = g.takeFetched(ctx, b)
	}
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		g.fetched.answered.Store(g.now().Unix())
		g.fetched.wrong.Store(nil)
		g.fetched.refused = ""
		return
	}
	g.refuseFetched(ctx, err)
}

// takeFetched puts a bundle in force or, where two people must, makes it a candidate.
func (g *Gateway) takeFetched(ctx context.Context, b *fetch.Bundle) error {
	rules, err := g.keepFetched(ctx, b)
	if err != nil {
		return err
	}
	before := g.policy.Revision()
	action := "fetch"
	if g.promotion != nil {
		action = "candidate"
	}
	if err := g.recordFetched(ctx, action, rules.Revision(), "policy_before="+before, "bundle_revision="+b.Revision); err != nil {
		return err
	}
	if err := g.fetched.from.Good(b); err != nil {
		return err
	}
	if g.promotion != nil {
		if err := g.shadow.try(ctx, Bundles(g.cfg).Path(rules.Revision())); err != nil {
			return err
		}
	} else {
		g.policy.Use(ctx, rules)
	}
	g.pruneRules(ctx, before, rules.Revision())
	return nil
}

// keptBundles is how many bundles from a server are kept, for explanations, besides
// those that something refers to.
const keptBundles = 5

// pruneRules removes old bundles that came from the server. needed are kept, and all
// that a promotion names: what was in force, what a rollback leads to, what is proposed.
// On error nothing is removed.
func (g *Gateway) pruneRules(ctx context.Context, needed ...string) {
	needed = append(needed, g.policy.Revision(), filepath.Base(g.cfg.Policy.Candidate))
	if g.promotion != nil {
		l, err := promotion.Read(PromotionsFile(g.cfg))
		if err != nil {
			g.log.LogAttrs(ctx, slog.LevelWarn, "old bundles of rules are not removed", slog.String("error", err.Error()))
			return
		}
		needed = append(needed, l.Revisions()...)
	}
	if err := Bundles(g.cfg).Prune(keptBundles, needed...); err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "old bundles of rules are not removed", slog.String("error", err.Error()))
	}
}

// refuseFetched says why nothing new is in force: in the log and on pages each time,
// in the record once.
func (g *Gateway) refuseFetched(ctx context.Context, err error) {
	text := err.Error()
	line := "A bundle of rules was refused; the rules in force stay: see the log."
	if errors.Is(err, fetch.ErrUnreachable) {
		line = "The server of rules does not answer; the rules in force stay."
	}
	g.fetched.wrong.Store(&line)
	if text == g.fetched.refused {
		return
	}
	g.fetched.refused = text
	g.log.LogAttrs(ctx, slog.LevelError, "no rules are taken from the server, those in force stay", slog.String("error", text))
	if errors.Is(err, fetch.ErrUnreachable) {
		return
	}
	g.metrics.refusedRules.Inc()
	if err := g.recordFetched(ctx, "refused", g.policy.Revision(), "why="+text); err != nil {
		g.fetched.refused = "" // again at the next poll
		g.log.LogAttrs(ctx, slog.LevelError, "that a bundle was refused is not recorded", slog.String("error", err.Error()))
	}
}

func (g *Gateway) recordFetched(ctx context.Context, action, revision string, detail ...string) error {
	r := &audit.Record{
		Time: g.now(), Kind: audit.KindPolicyChange, Action: action, PolicyRev: revision,
		Detail: append(detail, "from="+g.cfg.Policy.Bundle.URL),
	}
	r.Bound()
	return g.record(ctx, r)
}

// watchFetched shows on /metrics since when the server gave no good answer.
func (g *Gateway) watchFetched() {
	if g.fetched.from == nil {
		return
	}
	g.metrics.watch("matron_policy_bundle_answered_timestamp_seconds", "When the server of rules last gave a good answer, 0 for never since the start.", func() float64 {
		return float64(g.fetched.answered.Load())
	})
}
