package bypass

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/host"
)

const (
	// leaseSpan is how much time the gateway grants itself at once. A restart
	// costs a bypass what is left of its lease, never adds to it.
	leaseSpan = time.Minute
	// gatewayItself stands for who ended a bypass whose time was over.
	gatewayItself = "gateway"
)

// ControlConfig is what a Control needs. Fields without a stated default are
// required.
type ControlConfig struct {
	Path  string // of the file
	Rules Rules
	Apps  func() []string // the applications that there are now
	Read  func() host.Reading
	Every time.Duration // between two looks at the file; default 1 s
	// Record makes a record durable, or returns an error.
	Record func(ctx context.Context, r *audit.Record) error
	// Stopped is told after the bypass of an application ended; nil for nobody.
	Stopped func(app string)
	Log     *slog.Logger
}

// Control says which applications are bypassed now.
type Control struct {
	cfg   ControlConfig
	force atomic.Pointer[map[string]grant] // by application; never changed, replaced whole

	mu    sync.Mutex      // held by look
	owed  map[string]bool // ended and recorded, but not in the file yet; guarded by mu
	over  map[string]bool // was in force and is not any more: never again; guarded by mu
	wrong string          // what was last said to be wrong, so that it is said once; guarded by mu
}

// grant is a bypass that is in force, and until when: by the wall clock, and by
// the lease in terms of the monotonic one. The earlier of the two ends it.
type grant struct {
	Bypass
	lease time.Duration
}

func (g grant) holds(r host.Reading) bool {
	return r.Mono < g.lease && r.Wall.Before(g.Until())
}

// NewControl makes a Control under which nothing is bypassed; Look or Run finds
// what was approved.
func NewControl(cfg ControlConfig) *Control {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	if cfg.Stopped == nil {
		cfg.Stopped = func(string) {}
	}
	c := &Control{cfg: cfg, owed: map[string]bool{}, over: map[string]bool{}}
	c.force.Store(&map[string]grant{})
	return c
}

// Bypassed reports whether app is bypassed now. It answers from memory, and by
// itself says no once the time is over, whatever became of Run.
func (c *Control) Bypassed(app string) bool {
	force := *c.force.Load()
	if len(force) == 0 {
		return false
	}
	g, ok := force[app]
	return ok && g.holds(c.cfg.Read())
}

// InForce lists the bypasses that are in force now, by application.
func (c *Control) InForce() []Bypass {
	var list []Bypass
	now := c.cfg.Read()
	for _, g := range *c.force.Load() {
		if g.holds(now) {
			list = append(list, g.Bypass)
		}
	}
	slices.SortFunc(list, func(a, b Bypass) int { return strings.Compare(a.App, b.App) })
	return list
}

// Run looks at the file until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		c.Look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look reads the file and brings what is in force into line with it. On error:
// nothing is bypassed (GW-19).
func (c *Control) Look(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := Read(c.cfg.Path, c.cfg.Rules)
	if err != nil {
		c.endAll(ctx, "the file of bypasses cannot be believed")
		c.say(ctx, err)
		return
	}
	now := c.cfg.Read()
	var wrong error
	for _, b := range l.List {
		if b.ApprovedBy == "" || b.Ended != nil && (*c.force.Load())[b.App].ID != b.ID {
			continue
		}
		wrong = errors.Join(wrong, c.settle(ctx, l, b, now))
	}
	c.endOthers(ctx, l)
	c.say(ctx, wrong)
}

// settle begins, prolongs or ends one bypass.
func (c *Control) settle(ctx context.Context, l *Ledger, b Bypass, now host.Reading) error {
	running, on := (*c.force.Load())[b.App]
	mine := on && running.ID == b.ID
	err := l.Check(b, now.Wall)
	if err == nil && c.over[b.ID] {
		err = refused("%s has ended before", b.ID)
	}
	if err == nil && !slices.Contains(c.cfg.Apps(), b.App) {
		err = refused("%s is of %s, which is no application of this gateway", b.ID, b.App)
	}
	switch {
	case err != nil:
		return c.finish(ctx, b, now, mine, err)
	case on && !mine:
		return nil // one at a time
	case mine && now.Mono < running.lease:
		if running.lease-now.Mono < leaseSpan/2 && b.Used < b.For {
			return c.prolong(b, now)
		}
		return nil
	case b.Used >= b.For:
		return c.finish(ctx, b, now, mine, nil)
	case mine:
		return c.prolong(b, now)
	}
	return c.begin(ctx, b, now)
}

// begin makes the first lease and the record of it durable, in this order, and
// only then lets requests through (GW-19).
func (c *Control) begin(ctx context.Context, b Bypass, now host.Reading) error {
	lease, err := c.grant(b)
	if err != nil {
		return err
	}
	left := min(b.For-b.Used, b.Until().Sub(now.Wall))
	if err := c.cfg.Record(ctx, b.begun(now.Wall, left)); err != nil {
		return fmt.Errorf("bypass %s does not begin, since that cannot be recorded: %w", b.ID, err)
	}
	b.Used += lease
	c.set(b.App, &grant{b, now.Mono + lease})
	c.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "bypass begins: decisions are recorded and not enforced",
		slog.String("bypass", b.ID), slog.String("application", b.App), slog.Time("until", b.Until()),
		slog.String("requested_by", b.RequestedBy), slog.String("approved_by", b.ApprovedBy))
	return nil
}

// prolong grants the next lease, which begins where the present one ends. On
// error the present one runs out.
func (c *Control) prolong(b Bypass, now host.Reading) error {
	running := (*c.force.Load())[b.App]
	lease, err := c.grant(b)
	if err != nil {
		return err
	}
	b.Used += lease
	c.set(b.App, &grant{b, max(running.lease, now.Mono) + lease})
	return nil
}

// grant makes the next lease durable and returns its length.
func (c *Control) grant(b Bypass) (span time.Duration, err error) {
	span = min(leaseSpan, b.For-b.Used)
	err = c.change(func(l *Ledger) error { return l.grant(b.ID, b.Used+span) })
	return span, err
}

// finish ends a bypass that is no longer in force, for good: first it lets
// nothing through, then that is recorded. One that a command has ended was
// recorded by it; one that never began for another reason than the time stays as
// it is, and why is returned.
func (c *Control) finish(ctx context.Context, b Bypass, now host.Reading, mine bool, why error) error {
	c.stop(ctx, b, mine)
	over := b.Used >= b.For || !now.Wall.Before(b.Until())
	switch {
	case b.Ended != nil:
		return nil
	case over:
		why = errors.New("its time was over")
	case !mine:
		return why
	}
	b.Ended = &End{Reason: why.Error(), By: gatewayItself, At: now.Wall.UTC().Truncate(time.Microsecond)}
	if !c.owed[b.ID] {
		if err := c.cfg.Record(ctx, b.EndedRecord()); err != nil {
			return fmt.Errorf("the end of bypass %s is not recorded yet: %w", b.ID, err)
		}
		c.owed[b.ID] = true
	}
	if err := c.change(func(l *Ledger) error { _, err := l.End(b.ID, *b.Ended); return err }); err != nil {
		return err
	}
	delete(c.owed, b.ID)
	return nil
}

// stop takes a bypass out of force.
func (c *Control) stop(ctx context.Context, b Bypass, mine bool) {
	if !mine {
		return
	}
	c.set(b.App, nil)
	c.over[b.ID] = true
	c.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "bypass ended: decisions are enforced again",
		slog.String("bypass", b.ID), slog.String("application", b.App))
	c.cfg.Stopped(b.App)
}

// endOthers stops what is in force though the file does not tell of it.
func (c *Control) endOthers(ctx context.Context, l *Ledger) {
	for _, g := range *c.force.Load() {
		if l.Find(g.ID) == nil {
			c.abandon(ctx, g.Bypass, "the file of bypasses does not tell of it any more")
		}
	}
}

// endAll stops everything.
func (c *Control) endAll(ctx context.Context, why string) {
	for _, g := range *c.force.Load() {
		c.abandon(ctx, g.Bypass, why)
	}
}

// abandon stops a bypass whose file is gone or damaged, and records that.
func (c *Control) abandon(ctx context.Context, b Bypass, why string) {
	c.stop(ctx, b, true)
	b.Ended = &End{Reason: why, By: gatewayItself, At: c.cfg.Read().Wall}
	if err := c.cfg.Record(ctx, b.EndedRecord()); err != nil {
		c.cfg.Log.LogAttrs(ctx, slog.LevelError, "the end of a bypass is not recorded", slog.String("bypass", b.ID), slog.String("error", err.Error()))
	}
}

// change opens the file for one change.
func (c *Control) change(do func(*Ledger) error) error {
	l, err := Open(c.cfg.Path, c.cfg.Rules)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

// set replaces what is in force for an application; nil for nothing.
func (c *Control) set(app string, g *grant) {
	force := maps.Clone(*c.force.Load())
	delete(force, app)
	if g != nil {
		force[app] = *g
	}
	c.force.Store(&force)
}

// say logs what is wrong, once.
func (c *Control) say(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != c.wrong && err != nil {
		c.cfg.Log.LogAttrs(ctx, slog.LevelError, "a bypass does not do what was asked", slog.String("error", text))
	}
	c.wrong = text
}
