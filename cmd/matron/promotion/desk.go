package promotion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy/rego"
)

// DeskConfig is what a Desk needs. All fields are required.
type DeskConfig struct {
	Path   string // of the file of promotions
	Store  Store
	Engine *rego.Engine
	// Record makes a record durable, or returns an error.
	Record func(ctx context.Context, r *audit.Record) error
	Now    func() time.Time
	Log    *slog.Logger
}

// Desk is where signed-in people promote rules. Whether they may is for its caller to
// ask; that they are two is the Desk's.
type Desk struct {
	cfg DeskConfig

	mu    sync.Mutex // one act at a time
	wrong string     // what was last said to be wrong; guarded by mu
}

// NewDesk makes a Desk. Run lets it follow what commands change.
func NewDesk(cfg DeskConfig) *Desk { return &Desk{cfg: cfg} }

// Propose puts a staged candidate forward.
func (d *Desk) Propose(ctx context.Context, id string, by Act) error {
	return d.act(ctx, by, func(l *Ledger, by Act) (entry, *audit.Record, error) { return l.propose(id, by) })
}

// Mark says that a clinical safety officer has looked at what would be refused.
func (d *Desk) Mark(ctx context.Context, id string, by Act) error {
	return d.act(ctx, by, func(l *Ledger, by Act) (entry, *audit.Record, error) { return l.mark(id, by) })
}

// Withdraw takes a candidate back.
func (d *Desk) Withdraw(ctx context.Context, id string, by Act) error {
	return d.act(ctx, by, func(l *Ledger, by Act) (entry, *audit.Record, error) { return l.end(id, by) })
}

// Approve puts a candidate in force.
func (d *Desk) Approve(ctx context.Context, id string, by Act) error {
	return d.act(ctx, by, func(l *Ledger, by Act) (entry, *audit.Record, error) { return l.approve(id, by) })
}

// RollBack puts the bundle before the active one in force again.
func (d *Desk) RollBack(ctx context.Context, by Act) error {
	return d.act(ctx, by, (*Ledger).rollback)
}

// act does one thing: it is checked, the bundle that it puts in force is loaded, it
// is recorded, it is written, and only then in force.
func (d *Desk) act(ctx context.Context, by Act, do func(*Ledger, Act) (entry, *audit.Record, error)) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	by.At = d.cfg.Now().UTC().Truncate(time.Microsecond)
	l, err := Open(d.cfg.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	e, r, err := do(l, by)
	if err != nil {
		return err
	}
	var next *rego.Bundle
	if e.Approve != nil || e.Rollback != nil {
		if next, err = d.load(ctx, r.PolicyRev); err != nil {
			return err
		}
	}
	if err := d.cfg.Record(ctx, r); err != nil {
		return fmt.Errorf("record %s: %w", r.Action, err)
	}
	if err := l.append(e); err != nil {
		return errors.Join(err, d.takeBack(ctx, r))
	}
	if next != nil {
		d.cfg.Engine.Use(ctx, next)
	}
	return nil
}

// takeBack records that what was just recorded did not come about.
func (d *Desk) takeBack(ctx context.Context, r *audit.Record) error {
	failed := *r
	failed.Detail = append([]string{"failed=" + r.Action}, r.Detail...)
	failed.Action = "failed"
	failed.Bound()
	return d.cfg.Record(ctx, &failed)
}

// load reads a bundle of the store, as it was when it was staged.
func (d *Desk) load(ctx context.Context, revision string) (*rego.Bundle, error) {
	b, err := rego.Load(ctx, d.cfg.Store.Path(revision))
	if err != nil {
		return nil, refused("the rules %s are at fault: %v", revision, err)
	}
	if b.Revision() != revision {
		return nil, refused("the kept rules %s were altered: they are %s now", revision, b.Revision())
	}
	return b, nil
}

// Run follows what commands write into the file until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		d.look(ctx)
	}
}

// look puts in force what the file says to be. On error what is in force stays
// (GW-02), and that is said once.
func (d *Desk) look(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.follow(ctx)
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != d.wrong && err != nil {
		d.cfg.Log.LogAttrs(ctx, slog.LevelError, "the rules in force are not those that were promoted last", slog.String("error", text))
	}
	d.wrong = text
}

func (d *Desk) follow(ctx context.Context) error {
	l, err := Read(d.cfg.Path)
	if err != nil {
		return err
	}
	before := d.cfg.Engine.Revision()
	if l.Active() == "" || l.Active() == before {
		return nil
	}
	next, err := d.load(ctx, l.Active())
	if err != nil {
		return err
	}
	last := l.Changes[len(l.Changes)-1]
	r := record("in-force", Act{At: d.cfg.Now().UTC().Truncate(time.Microsecond), Reason: last.Reason}, before, Proposal{Revision: l.Active()})
	r.Detail = append(r.Detail, "how="+last.How, "by="+last.By.String())
	r.Bound()
	if err := d.cfg.Record(ctx, r); err != nil {
		return err
	}
	d.cfg.Engine.Use(ctx, next)
	return nil
}

// Wrong is why what is in force is not what was promoted last, "" when it is.
func (d *Desk) Wrong() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wrong
}

// Adopt makes the bundle in dir the first that is in force, when nothing was
// promoted yet, and returns what the file then says. It records that.
func Adopt(ctx context.Context, cfg DeskConfig, dir string) (*Ledger, error) {
	l, err := Read(cfg.Path)
	if err != nil || l.Active() != "" {
		return l, err
	}
	if _, err := rego.Load(ctx, dir); err != nil { // never the first with a fault in it
		return nil, err
	}
	revision, err := cfg.Store.Keep(dir)
	if err != nil {
		return nil, err
	}
	by := Act{At: cfg.Now().UTC().Truncate(time.Microsecond), Reason: "configured when promotion was first demanded"}
	if err := cfg.Record(ctx, record(adopt, by, "", Proposal{Revision: revision})); err != nil {
		return nil, fmt.Errorf("record the first rules: %w", err)
	}
	if l, err = Open(cfg.Path); err != nil {
		return nil, err
	}
	return l, errors.Join(l.append(entry{Adopt: &change{Revision: revision, Act: by}}), l.Close())
}

// Start finds the newest bundle of the file that is in the store unchanged and
// without a fault, so that a damaged one does not lock a hospital out (GW-02). fault
// says what is wrong with those that were passed over.
func Start(ctx context.Context, l *Ledger, s Store) (dir string, fault, err error) {
	for i := len(l.Changes) - 1; i >= 0; i-- {
		revision := l.Changes[i].Revision
		b, loadErr := rego.Load(ctx, s.Path(revision))
		if loadErr == nil && b.Revision() == revision {
			return s.Path(revision), fault, nil
		}
		if loadErr == nil {
			loadErr = refused("the kept rules %s were altered", revision)
		}
		fault = errors.Join(fault, loadErr)
	}
	return "", nil, fmt.Errorf("%w: none of the rules that were promoted can be read: %w", ErrFile, fault)
}
