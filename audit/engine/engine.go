// Package engine runs an embedded ClickHouse engine as a child process, for
// hospitals that have no ClickHouse server of their own.
//
// It listens on the loopback interface only and keeps everything under one
// folder of the gateway's own user. It never outlives the process that started
// it, kill -9 included, and it never holds anything that the journal does not
// hold: the engine is an index. When it dies it is started again, at the same
// address and with the same password. An Engine is safe for concurrent use.
package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The errors that callers branch on.
var (
	// ErrLibrary says that the engine library is missing or cannot be loaded.
	ErrLibrary = errors.New("ClickHouse engine library cannot be used; \"make deps\" installs it")
	// ErrStart says that the engine did not come up in time.
	ErrStart = errors.New("ClickHouse engine did not start")
	// ErrExit says that the engine ended although nobody had asked it to.
	ErrExit = errors.New("ClickHouse engine ended unexpectedly")
	// ErrNotRunning says that no engine has announced itself in a folder.
	ErrNotRunning = errors.New("no ClickHouse engine has been started in this folder")
)

const userName = "matron"

// Config is what an engine needs. Dir, Library and Log are required.
type Config struct {
	Dir        string   // all state: configuration, data, log; mode 0700
	Library    string   // path of libchdb.so
	Executable string   // the binary that calls Child; default: this one
	Args       []string // its arguments, e.g. engine-child

	// Native opens the native port too, for tests of the native protocol only:
	// a wrong password on it aborts this engine, and through the engine's own
	// passwordless account every user of the machine could read files.
	Native bool

	MemoryLimit  uint64        // bytes; default 2 GiB
	StartTimeout time.Duration // until it answers; default 60 s
	StopTimeout  time.Duration // until it is killed; default 10 s
	BackOff      time.Duration // before the first restart, doubled up to 64-fold; default 100 ms
	Log          *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" || c.Library == "" || c.Log == nil {
		return c, errors.New("engine: Dir, Library and Log are required")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("engine folder %s: %w", c.Dir, err)
	}
	library, err := filepath.Abs(c.Library)
	if err != nil {
		return c, fmt.Errorf("engine library %s: %w", c.Library, err)
	}
	c.Dir, c.Library = dir, library
	if c.Executable == "" {
		if c.Executable, err = os.Executable(); err != nil {
			return c, fmt.Errorf("find own executable: %w", err)
		}
	}
	c.MemoryLimit = orDefault(c.MemoryLimit, 2<<30)
	c.StartTimeout = orDefault(c.StartTimeout, time.Minute)
	c.StopTimeout = orDefault(c.StopTimeout, 10*time.Second)
	c.BackOff = orDefault(c.BackOff, 100*time.Millisecond)
	return c, nil
}

func orDefault[T uint64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Engine is a running engine together with the goroutine that starts it again
// when it dies.
type Engine struct {
	cfg      Config
	password string
	http     *reservation
	native   *reservation // nil without Config.Native

	stop     chan struct{} // closed by Close
	stopOnce sync.Once
	done     chan struct{} // closed when the engine has ended for good

	mu       sync.Mutex // guards the rest
	pid      int
	restarts uint64
	lastExit error // the latest unexpected end
	closeErr error
}

// Start starts an engine and returns when it answers. ctx bounds the start
// only; Close ends the engine.
func Start(ctx context.Context, cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(cfg.Library); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLibrary, err)
	}
	e := &Engine{cfg: cfg, password: rand.Text(), stop: make(chan struct{}), done: make(chan struct{})}
	if err := e.reserve(ctx); err != nil {
		return nil, err
	}
	c, err := e.launchUntil(ctx)
	if err != nil {
		e.release()
		return nil, err
	}
	go e.supervise(c) //nolint:gosec // it outlives ctx, which bounds the start only
	return e, nil
}

// reserve takes the ports for as long as the engine lives, restarts included.
func (e *Engine) reserve(ctx context.Context) error {
	var err error
	if e.http, err = reserve(); err != nil {
		return fmt.Errorf("reserve a port for the engine: %w", err)
	}
	if !e.cfg.Native {
		return nil
	}
	if e.native, err = reserve(); err != nil {
		e.release()
		return fmt.Errorf("reserve a port for the engine: %w", err)
	}
	e.cfg.Log.WarnContext(ctx, "engine listens on its native port, which is for tests only")
	return nil
}

func (e *Engine) release() {
	for _, r := range []*reservation{e.http, e.native} {
		if r != nil {
			r.close()
		}
	}
}

// Addr is where the engine serves HTTP. It does not change while e lives.
func (e *Engine) Addr() string { return e.http.addr() }

// NativeAddr is where the engine serves the native protocol, or "".
func (e *Engine) NativeAddr() string {
	if e.native == nil {
		return ""
	}
	return e.native.addr()
}

// User is the name of the only user that may read or write.
func (e *Engine) User() string { return userName }

// Password is that user's password, made at random by Start.
func (e *Engine) Password() string { return e.password }

// PID is the process id of the current child.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pid
}

// Restarts counts how often the engine died and was started again.
func (e *Engine) Restarts() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.restarts
}

// Done is closed when the engine has ended for good, which only Close brings about.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Err is the reason of the latest unexpected end, nil if there was none. The
// engine may be up again.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastExit
}

// Run waits for ctx to end and then closes the engine.
func (e *Engine) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-e.done:
	}
	return e.Close()
}

// Close ends the engine and waits until it is gone.
func (e *Engine) Close() error {
	e.stopOnce.Do(func() { close(e.stop) })
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closeErr
}

// Endpoint is how another process of the same user reaches a running engine.
type Endpoint struct {
	Addr     string `json:"addr"`
	User     string `json:"user"`
	Password string `json:"password"`
}

const endpointFile = "endpoint.json"

// Find reads what the engine in dir announced when it started. Without one it
// returns an error that wraps ErrNotRunning.
func Find(dir string) (Endpoint, error) {
	path := filepath.Join(dir, endpointFile)
	b, err := os.ReadFile(path) //nolint:gosec // the operator names the folder
	if errors.Is(err, os.ErrNotExist) {
		return Endpoint{}, fmt.Errorf("%w: %s", ErrNotRunning, dir)
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("read engine endpoint: %w", err)
	}
	var p Endpoint
	if err := json.Unmarshal(b, &p); err != nil {
		return Endpoint{}, fmt.Errorf("read %s: %w", path, err)
	}
	if _, _, err := net.SplitHostPort(p.Addr); err != nil {
		return Endpoint{}, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}
