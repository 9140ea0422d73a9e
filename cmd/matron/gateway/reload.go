package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// reloads remembers how the last reload ended. The zero value has seen none.
type reloads struct {
	mu  sync.Mutex
	at  time.Time // guarded by mu
	bad bool      // guarded by mu
}

func (r *reloads) last() (at time.Time, bad bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at, r.bad
}

func (r *reloads) ended(at time.Time, bad bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.bad = at, bad
}

// reloadOn reloads at each signal until ctx ends. A reload that fails is
// reported and never ends the gateway (GW-11).
func (g *Gateway) reloadOn(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
		}
		err := g.reload(ctx)
		g.reloads.ended(g.now(), err != nil)
		if err != nil {
			g.metrics.reloadOK.Set(0)
			g.log.LogAttrs(ctx, slog.LevelError, "reload refused, the old configuration stays in force", slog.String("error", err.Error()))
			continue
		}
		g.metrics.reloaded(g.now())
		g.log.LogAttrs(ctx, slog.LevelInfo, "reloaded", slog.String("policy", g.policy.Revision()))
	}
}

// reload takes in applications, limits, machine clients, policy and certificates. Everything is read and
// checked before anything is swapped; settings that need a restart are refused
// by name rather than ignored.
func (g *Gateway) reload(ctx context.Context) error {
	c, hash, err := config.Load(g.opts.ConfigPath)
	if err != nil {
		return err
	}
	if err := needsRestart(*g.settings.Load(), c); err != nil {
		return err
	}
	apps, err := g.applications(c)
	if err != nil {
		return err
	}
	fresh, err := readProtection(c.Sensitivity)
	if err != nil {
		return fmt.Errorf("sensitivity: %w", err)
	}
	renewed, err := g.care.reread()
	if err != nil {
		return err
	}
	// Certificates stand on their own: fresh ones are right whatever becomes of
	// the rest. The policy comes last of what may fail, so that nothing is half
	// taken in.
	if err := g.certs.Reload(); err != nil {
		return err
	}
	before := g.policy.Revision()
	if err := g.reloadRules(ctx); err != nil {
		return err
	}
	if err := g.proxy.Swap(apps); err != nil {
		return err
	}
	if err := errors.Join(g.limiter.SetRules(limitRules(c)), g.setMachines(c)); err != nil {
		return err
	}
	if g.protected != nil {
		g.protected.list.Store(fresh)
	}
	renewed()
	old := g.settings.Swap(&c)
	g.authorities.Store(patientAuthorities(c))
	g.hash.Store(&hash)
	now := g.now()
	changes := modeChanges(*old, c, g.opts.ConfigPath, hash, g.policy.Revision(), now)
	if len(changes) > 0 {
		g.modesAt.Store(&now)
	}
	g.recordReload(ctx, before, hash, changes)
	return nil
}

// recordReload records what is in force from now on (GW-17). On error: it stays
// in force, since a journal that takes no record lets no request through either.
func (g *Gateway) recordReload(ctx context.Context, before, hash string, modes []*audit.Record) {
	records := []*audit.Record{{
		Time: g.now(), Kind: audit.KindConfigChange, PolicyRev: g.policy.Revision(), Detail: []string{"config_sha256=" + hash},
	}}
	if after := g.policy.Revision(); after != before {
		records = append(records, &audit.Record{
			Time: g.now(), Kind: audit.KindPolicyChange, PolicyRev: after, Detail: []string{"policy_before=" + before},
		})
	}
	if err := g.journal.Add(append(records, modes...)...); err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "reload not recorded", slog.String("error", err.Error()))
	}
}

// needsRestart names the settings that a reload cannot take in: all but the
// applications, the limits and the machine clients. A setting that is added later counts by itself, so that none is
// ever ignored without a word.
func needsRestart(old, fresh config.Config) error {
	var errs []error
	if !reflect.DeepEqual(old.Limits.Incident, fresh.Limits.Incident) {
		errs = append(errs, errors.New("limits.incident has changed: that needs a restart"))
	}
	before, after := reflect.ValueOf(old), reflect.ValueOf(fresh)
	for i := range before.NumField() {
		name := before.Type().Field(i).Tag.Get("yaml")
		if !slices.Contains([]string{"applications", "limits", "machines"}, name) && !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			errs = append(errs, fmt.Errorf("%s has changed: that needs a restart", name))
		}
	}
	return errors.Join(errs...)
}
