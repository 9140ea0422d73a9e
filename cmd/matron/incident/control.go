package incident

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// gatewayItself stands for who ended an incident whose time was over.
const gatewayItself = "gateway"

// ControlConfig is what a Control needs. Fields without a stated default are
// required.
type ControlConfig struct {
	Path  string // of the file
	Rules Rules
	Read  func() host.Reading
	Every time.Duration // between two looks at the file; default 1 s
	// Record makes a record durable, or returns an error.
	Record func(ctx context.Context, r *audit.Record) error
	Log    *slog.Logger
}

// Control says whether limits are lifted now.
type Control struct {
	cfg   ControlConfig
	force atomic.Pointer[[]lifted] // never changed, replaced whole

	mu    sync.Mutex      // held by Look
	owed  map[string]bool // ended and recorded, but not in the file yet; guarded by mu
	wrong string          // what was last said to be wrong, so that it is said once; guarded by mu
}

// lifted is an incident in force, and until when by both clocks: the earlier ends it.
type lifted struct {
	Incident
	mono time.Duration
}

func (l *lifted) holds(r host.Reading) bool { return r.Mono < l.mono && r.Wall.Before(l.Until()) }

// NewControl makes a Control under which limits are in force; Look or Run finds what
// was declared.
func NewControl(cfg ControlConfig) *Control {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	c := &Control{cfg: cfg, owed: map[string]bool{}}
	c.force.Store(&[]lifted{})
	return c
}

// Lifted reports whether limits are lifted now. It answers from memory, and by
// itself says no once the time is over, whatever became of Run.
func (c *Control) Lifted() bool {
	force := *c.force.Load()
	if len(force) == 0 {
		return false
	}
	now := c.cfg.Read()
	return slices.ContainsFunc(force, func(l lifted) bool { return l.holds(now) })
}

// InForce lists the incidents in force now.
func (c *Control) InForce() (list []Incident) {
	now := c.cfg.Read()
	for _, l := range *c.force.Load() {
		if l.holds(now) {
			list = append(list, l.Incident)
		}
	}
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

// Look reads the file and brings what is lifted into line with it. On error: limits
// are in force.
func (c *Control) Look(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, err := Read(c.cfg.Path, c.cfg.Rules)
	if err != nil {
		c.abandon(ctx, func(string) bool { return true }, "the file of incidents cannot be believed")
		c.say(ctx, err)
		return
	}
	now := c.cfg.Read()
	var wrong error
	for _, i := range l.List {
		if !i.Closed {
			wrong = errors.Join(wrong, c.settle(ctx, l, i, now))
		}
	}
	c.abandon(ctx, func(id string) bool { return l.Find(id) == nil }, "the file of incidents does not tell of it any more")
	c.say(ctx, wrong)
}

// settle begins or ends one incident.
func (c *Control) settle(ctx context.Context, l *Ledger, i Incident, now host.Reading) error {
	at := slices.IndexFunc(*c.force.Load(), func(f lifted) bool { return f.ID == i.ID })
	why := l.Check(i, now.Wall)
	if at >= 0 && now.Mono >= (*c.force.Load())[at].mono {
		why = errors.New("its time was over")
	}
	switch {
	case why == nil && at >= 0:
		return nil
	case why == nil:
		return c.begin(ctx, i, now)
	case at >= 0 || i.Begun:
		return c.finish(ctx, i, now, why)
	case i.Ended != nil || !now.Wall.Before(i.Until()):
		return c.mark(entry{Link: ledger.Link{ID: i.ID}, Closed: true}) // it never began: nothing to record
	}
	return why
}

// begin makes the record durable and then lifts the limits, in this order.
func (c *Control) begin(ctx context.Context, i Incident, now host.Reading) error {
	left := min(i.For, i.Until().Sub(now.Wall))
	again := i.Begun // after a restart of the gateway
	if !again {
		if err := c.mark(entry{Link: ledger.Link{ID: i.ID}, Begun: true}); err != nil {
			return err
		}
		i.Begun = true
	}
	if err := c.cfg.Record(ctx, i.record("begin", i.DeclaredBy, now.Wall, "left="+left.String(), fmt.Sprintf("again=%t", again))); err != nil {
		return fmt.Errorf("incident %s does not lift limits, since that cannot be recorded: %w", i.ID, err)
	}
	force := append(slices.Clone(*c.force.Load()), lifted{i, now.Mono + left})
	c.force.Store(&force)
	c.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "major incident: limits are lifted for people",
		slog.String("incident", i.ID), slog.Time("until", i.Until()), slog.String("declared_by", i.DeclaredBy))
	return nil
}

// finish puts limits in force again, and then records that, once.
func (c *Control) finish(ctx context.Context, i Incident, now host.Reading, why error) error {
	c.drop(ctx, i.ID)
	end := End{Reason: why.Error(), By: gatewayItself}
	switch {
	case i.Ended != nil:
		end = *i.Ended
	case !now.Wall.Before(i.Until()):
		end.Reason = "its time was over"
	}
	if !c.owed[i.ID] {
		if err := c.cfg.Record(ctx, i.ended(end, now.Wall)); err != nil {
			return fmt.Errorf("the end of incident %s is not recorded yet: %w", i.ID, err)
		}
		c.owed[i.ID] = true
	}
	if err := c.mark(entry{Link: ledger.Link{ID: i.ID}, Closed: true}); err != nil {
		return err
	}
	delete(c.owed, i.ID)
	return nil
}

// drop takes an incident out of force.
func (c *Control) drop(ctx context.Context, id string) {
	force := slices.DeleteFunc(slices.Clone(*c.force.Load()), func(l lifted) bool { return l.ID == id })
	if len(force) == len(*c.force.Load()) {
		return
	}
	c.force.Store(&force)
	c.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "incident is over: limits are in force again", slog.String("incident", id))
}

// abandon stops incidents whose file is gone or damaged, and records that.
func (c *Control) abandon(ctx context.Context, which func(id string) bool, why string) {
	for _, l := range *c.force.Load() {
		if !which(l.ID) {
			continue
		}
		c.drop(ctx, l.ID)
		if err := c.cfg.Record(ctx, l.ended(End{Reason: why, By: gatewayItself}, c.cfg.Read().Wall)); err != nil {
			c.cfg.Log.LogAttrs(ctx, slog.LevelError, "the end of an incident is not recorded", slog.String("incident", l.ID), slog.String("error", err.Error()))
		}
	}
}

// mark adds what the gateway has done to the file.
func (c *Control) mark(e entry) error {
	l, err := Open(c.cfg.Path, c.cfg.Rules)
	if err != nil {
		return err
	}
	return errors.Join(l.append(e), l.Close())
}

// say logs what is wrong, once.
func (c *Control) say(ctx context.Context, err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	if said != c.wrong && err != nil {
		c.cfg.Log.LogAttrs(ctx, slog.LevelError, "a major incident does not do what was asked", slog.String("error", said))
	}
	c.wrong = said
}

// ended is the record of an end.
func (i Incident) ended(e End, at time.Time) *audit.Record {
	by := e.By
	if by == gatewayItself {
		by = ""
	}
	return i.record("end", by, at, "end_reason="+e.Reason)
}

// record is what the journal is told. by is "" for the gateway by itself.
func (i Incident) record(action, by string, at time.Time, detail ...string) *audit.Record {
	r := &audit.Record{
		Kind: audit.KindIncident, Time: at.UTC().Truncate(time.Microsecond), Action: action,
		Detail: append([]string{
			"incident=" + i.ID, "reason=" + i.Reason, "for=" + i.For.String(), "declared_by=" + i.DeclaredBy,
			"declared_at=" + i.DeclaredAt.UTC().Format(time.RFC3339), "until=" + i.Until().UTC().Format(time.RFC3339),
		}, detail...),
	}
	if by != "" {
		r.UserIssuer, r.UserSub, r.UserName = "os", by, by
	}
	r.Bound()
	return r
}
