// Package rego answers policy questions with rules written in Rego v1.
//
// It never allows on an error, a timeout or a missing fact, never changes the
// rules of a decision that is under way, and never writes a question or its
// values to a log. An Engine is safe for concurrent use: decisions read one
// immutable bundle, and Reload swaps it whole.
//
// A bundle is a folder of rules (.rego), tables (.yaml, .json and the national
// job-roles.csv and activities.csv), tests (_test.rego) and tables of cases
// (_cases.yaml). Rules find the question under input: the fields of
// policy.Request in lower case, those of its subject under input.subject. The
// engine asks for
//
//   - data.matron.allow: true or not. It may not rest on a "not".
//   - data.matron.decision, when the answer was no: effect ("deny" or
//     "challenge"), offer ("step-up", "purpose" or "break-glass" with a challenge)
//     and reasons, each with code, text and remedy.
//   - data.matron.basis, where there is one: the name of the rule that the
//     permission rests on. It must hold whenever allow does.
//   - data.matron.obligations, where there are any: a set of names.
package rego

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/policy"
)

// Config says where the rules are. The zero value takes the embedded bundle.
type Config struct {
	Dir     string           // folder of the bundle; "" means the embedded default
	Timeout time.Duration    // longest evaluation; 0 means 250 ms
	Now     func() time.Time // clock; nil means time.Now
	Log     *slog.Logger     // nil discards
}

func (cfg Config) withDefaults() Config {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 250 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of an injected clock
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// Engine answers questions from one bundle of rules at a time. The zero Engine
// refuses everything.
type Engine struct {
	cfg     Config
	current atomic.Pointer[compiled]
	rooms   rooms
	// remembered counts answers that the rules were not asked for again.
	remembered atomic.Uint64
	reload     sync.Mutex // one reload at a time, so that the last one asked for wins
}

// New compiles the bundle, runs its own tests and returns an engine that
// decides by it. Its error is a Problems value where the bundle is to blame.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	e := &Engine{cfg: cfg.withDefaults()}
	if err := e.Reload(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Reload reads the bundle again and swaps it in whole, or leaves the old one
// and says everything that is wrong with the new one (hazards GW-02, GW-11).
func (e *Engine) Reload(ctx context.Context) error {
	e.reload.Lock()
	defer e.reload.Unlock()
	next, err := Load(ctx, e.cfg.Dir)
	if err != nil {
		return err
	}
	e.use(ctx, next)
	return nil
}

// Use puts a bundle in force, whole. Reload goes on reading the folder of Config.
func (e *Engine) Use(ctx context.Context, b *Bundle) {
	e.reload.Lock()
	defer e.reload.Unlock()
	e.use(ctx, b)
}

func (e *Engine) use(ctx context.Context, b *Bundle) {
	e.current.Store(b.compiled)
	e.cfg.Log.InfoContext(ctx, "policy in force", slog.String("revision", b.Revision()))
}

// Bundle is a bundle that compiles and passes its tests. It does not change.
type Bundle struct{ compiled *compiled }

// Revision is the hash of its contents.
func (b *Bundle) Revision() string { return b.compiled.revision }

// Load reads, compiles and tests the bundle in dir ("" means the embedded default).
// Its error is a Problems value where the bundle is to blame.
func Load(ctx context.Context, dir string) (*Bundle, error) {
	c, err := load(ctx, dir)
	if err != nil {
		return nil, inFolder(dir, err)
	}
	return &Bundle{c}, nil
}

// load reads, compiles and tests a bundle.
func load(ctx context.Context, dir string) (*compiled, error) {
	src, err := readBundle(dir)
	if err != nil {
		return nil, err
	}
	c, err := compile(ctx, src)
	if err != nil {
		return nil, err
	}
	_, failed, err := src.failing(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	if err := failed.err(); err != nil {
		return nil, err
	}
	return c, c.refuseDenyingAll(ctx)
}

// Revision is the hash of the contents of the bundle in force.
func (e *Engine) Revision() string {
	if c := e.current.Load(); c != nil {
		return c.revision
	}
	return ""
}

// Remembered is how many questions were answered from memory since the start.
func (e *Engine) Remembered() uint64 { return e.remembered.Load() }

// Decide answers q. It never fails: an error or a timeout is a deny, out of which
// only emergency access leads (withoutRules).
func (e *Engine) Decide(ctx context.Context, q policy.Request) policy.Decision {
	c := e.current.Load()
	if c == nil {
		return refuseOnError("")
	}
	a := e.rooms.take(q)
	defer e.rooms.giveBack(a)
	a.key = appendKey(a.key, c.reads, &a.q)
	now := e.cfg.Now()
	if d, ok := c.cache.get(a.key, now); ok {
		e.remembered.Add(1)
		return d
	}
	d, err := c.decide(ctx, &a.q, e.cfg.Timeout)
	if err != nil {
		e.cfg.Log.ErrorContext(ctx, "policy evaluation failed; only emergency access is let through", slog.String("at", place(err)))
		return c.withoutRules(&a.q)
	}
	c.cache.put(a.key, d, now)
	return d
}

// keyed is a question while it is being answered, and its bytes in the cache.
type keyed struct {
	q   policy.Request
	key []byte
}

// rooms lends room for questions, which would otherwise be most of what a remembered
// answer costs.
type rooms struct{ pool sync.Pool } // of *keyed

func (r *rooms) take(q policy.Request) *keyed {
	a, ok := r.pool.Get().(*keyed)
	if !ok {
		a = &keyed{key: make([]byte, 0, 512)}
	}
	a.q = q
	return a
}

// giveBack keeps nothing of the question.
func (r *rooms) giveBack(a *keyed) {
	if cap(a.key) > cacheKey {
		return
	}
	clear(a.key)
	a.q, a.key = policy.Request{}, a.key[:0]
	r.pool.Put(a)
}

// refuseOnError is the refusal when the rules gave no answer.
func refuseOnError(revision string) policy.Decision {
	return policy.Refuse(revision, policy.Reason{
		Code:   "policy-error",
		Text:   "Matron's access rules gave no answer, so the request was refused.",
		Remedy: "Try once more. If it happens again, ring the service desk and read out the reference; for a patient who cannot wait, use your area's downtime procedure.",
	})
}
