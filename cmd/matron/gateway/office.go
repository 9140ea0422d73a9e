package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// errNoIndex says that ClickHouse does not answer. Care goes on.
var errNoIndex = errors.New("the index is not available now: care goes on, records wait on disk")

// backOffice keeps the records searchable: engine, connection, tables and
// shipper. Whatever happens here, care does not wait for it: run retries for
// ever and returns an error never. Once a shipper runs, it is the only one.
type backOffice struct {
	cfg        config.Config
	journal    *journal.Journal
	ledger     *journal.Ledger // nil while it cannot be opened; run opens it then
	entries    [][]byte        // what the ledger held when it was opened
	engineArgs []string
	log        *slog.Logger
	now        func() time.Time

	store   atomic.Pointer[clickhouse.Store]   // nil while there is none
	shipper atomic.Pointer[clickhouse.Shipper] // nil until first connected
}

func newBackOffice(c config.Config, j *journal.Journal, engineArgs []string, log *slog.Logger, now func() time.Time) (*backOffice, error) {
	o := &backOffice{cfg: c, journal: j, engineArgs: engineArgs, log: log, now: now}
	err := o.openLedger()
	if errors.Is(err, journal.ErrCorrupt) || errors.Is(err, journal.ErrLocked) {
		return nil, err
	}
	if err != nil { // its disk takes no writes: care goes on, and run tries again (GW-12)
		log.LogAttrs(context.Background(), slog.LevelError, "records do not become searchable", slog.String("error", err.Error()))
	}
	return o, nil
}

func (o *backOffice) openLedger() (err error) {
	o.ledger, o.entries, err = openLedger(paths{o.cfg.DataDir}.ledger(), o.cfg.Source, condenseAbove)
	if err != nil {
		o.ledger = nil
		return fmt.Errorf("open block ledger: %w", err)
	}
	return nil
}

func (o *backOffice) close() error {
	if o.ledger == nil {
		return nil
	}
	return o.ledger.Close()
}

// open returns the connection for a query.
func (o *backOffice) open() (*clickhouse.Store, error) {
	if store := o.store.Load(); store != nil {
		return store, nil
	}
	return nil, errNoIndex
}

// ready reports whether records become searchable now.
func (o *backOffice) ready() bool {
	s := o.shipper.Load()
	return o.store.Load() != nil && s != nil && s.Status().LastError == ""
}

func (o *backOffice) note() string {
	s := o.status()
	if s.LastError != "" {
		return fmt.Sprintf("%d records wait: %s", s.Lag, s.LastError)
	}
	return fmt.Sprintf("%d records wait", s.Lag)
}

// status is the shipper's, or that of a shipper that has not begun.
func (o *backOffice) status() clickhouse.Status {
	if s := o.shipper.Load(); s != nil {
		return s.Status()
	}
	return clickhouse.Status{Lag: o.journal.Committed()}
}

// indexedTo is the time until which every record can be searched; zero while
// nobody knows.
func (o *backOffice) indexedTo() time.Time {
	if o.shipper.Load() == nil {
		return time.Time{}
	}
	return o.now().Add(-o.status().LagAge)
}

// run keeps the back office going until ctx ends.
func (o *backOffice) run(ctx context.Context) error {
	wait := time.Second
	for ctx.Err() == nil {
		began := o.now()
		err := o.session(ctx)
		o.store.Store(nil)
		if ctx.Err() != nil {
			return nil
		}
		if o.now().Sub(began) > time.Minute {
			wait = time.Second
		}
		o.log.LogAttrs(ctx, slog.LevelWarn, "index lost, records wait on disk", slog.Any("error", err), slog.Duration("retry", wait))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 30*time.Second)
	}
	return nil
}

// session runs from one connection to its loss.
func (o *backOffice) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.ledger == nil {
		if err := o.openLedger(); err != nil {
			return err
		}
	}
	target := o.cfg.ClickHouse
	account, err := account(target)
	if err != nil {
		return err
	}
	if target.Embedded {
		e, err := startEngine(ctx, o.cfg, o.engineArgs, o.log)
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }() // it starts again by itself until then
		account = embeddedAccount(engine.Endpoint{Addr: e.Addr(), User: e.User(), Password: e.Password()})
	}
	return o.ship(ctx, account)
}

func (o *backOffice) ship(ctx context.Context, account clickhouse.Config) error {
	account.Log, account.Now = o.log, o.now
	store, err := clickhouse.Open(ctx, account)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	shipper, err := clickhouse.NewShipper(clickhouse.ShipperConfig{
		Store: store, Source: o.records(), Ledger: o.ledger, Entries: o.entries, Log: o.log, Now: o.now,
	})
	if err != nil {
		return err
	}
	o.shipper.Store(shipper)
	o.store.Store(store)
	var mending sync.WaitGroup
	defer mending.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mending.Go(func() { o.mend(ctx, store, shipper) })
	if err := shipper.Run(ctx); err != nil {
		// The journal takes no more records and all of them are searchable. A
		// second shipper would begin at a place in the ledger that is past.
		o.log.LogAttrs(ctx, slog.LevelWarn, "nothing more to make searchable", slog.String("error", err.Error()))
		<-ctx.Done()
	}
	return nil
}

// mend looks for an index that vanished while the gateway ran: its tables are
// made anew and filled from the journal, which is the record (GW-13). The
// shipper alone would wait for them for ever.
func (o *backOffice) mend(ctx context.Context, store *clickhouse.Store, shipper *clickhouse.Shipper) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	gone, told := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !gone && !vanished(shipper.Status().LastError) {
			continue
		}
		if !gone {
			gone, told = true, false
			o.log.LogAttrs(ctx, slog.LevelError, "the tables of the index are gone: they are made anew and filled from the journal")
		}
		if err := store.Migrate(ctx); err != nil { // its error quotes no row
			if !told {
				told = true
				o.log.LogAttrs(ctx, slog.LevelError, "the tables of the index cannot be made, tried again each second", slog.Any("error", err))
			}
			continue
		}
		// Not only what waits: all that was shipped before is gone as well.
		if err := shipper.Reconcile(ctx); err != nil {
			continue // the shipper meets the same and reports its code
		}
		gone = false
		o.log.LogAttrs(ctx, slog.LevelInfo, "the index is whole again")
	}
}

// vanished reports whether a shipper failed because database (81) or table (60)
// are not there.
func vanished(code string) bool { return code == "clickhouse-81" || code == "clickhouse-60" }

func startEngine(ctx context.Context, c config.Config, args []string, log *slog.Logger) (*engine.Engine, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	library, err := findLibrary(c.ClickHouse.Library)
	if err != nil {
		return nil, err
	}
	return engine.Start(ctx, engine.Config{
		Dir: paths{c.DataDir}.engine(), Library: library, Executable: self, Args: args, Log: log,
	})
}

// findLibrary returns the engine's shared library: the configured one, or the
// one that "npm ci" installed beside the binary or the working folder.
func findLibrary(configured string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	const inModules = "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
	var candidates []string
	if self, err := os.Executable(); err == nil {
		dir := filepath.Dir(self)
		candidates = append(candidates, filepath.Join(dir, "libchdb.so"), filepath.Join(dir, "..", inModules))
	}
	candidates = append(candidates, inModules)
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("the embedded engine's libchdb.so is not in %v: run \"make deps\", or set clickhouse.library", candidates)
}

func embeddedAccount(e engine.Endpoint) clickhouse.Config {
	return clickhouse.Config{Addr: []string{e.Addr}, Protocol: "http", Database: "matron", User: e.User, Password: e.Password}
}

// account is the account of an external server; for the embedded engine it is
// empty until that has started.
func account(c config.ClickHouse) (clickhouse.Config, error) {
	if c.Embedded {
		return clickhouse.Config{}, nil
	}
	password, err := readSecret(c.PasswordFile)
	if err != nil {
		return clickhouse.Config{}, fmt.Errorf("read ClickHouse password: %w", err)
	}
	a := clickhouse.Config{
		Addr: c.Address, Protocol: c.Protocol, Database: c.Database, User: c.User, Password: password,
		Cluster: clickhouse.Cluster{Name: c.Cluster.Name, Replicated: c.Cluster.Replicated},
	}
	if c.TLS {
		transport, err := transportFor(c.CAFile)
		if err != nil {
			return clickhouse.Config{}, err
		}
		a.TLS = transport.TLSClientConfig
	}
	return a, nil
}

// OpenIndex connects a command to the index of a gateway that runs on this
// machine, or to the configured server.
func OpenIndex(ctx context.Context, c config.Config) (*clickhouse.Store, error) {
	a, err := account(c.ClickHouse)
	if err != nil {
		return nil, err
	}
	if c.ClickHouse.Embedded {
		endpoint, err := engine.Find(paths{c.DataDir}.engine())
		if err != nil {
			return nil, fmt.Errorf("find the embedded engine (is \"matron serve\" running?): %w", err)
		}
		a = embeddedAccount(endpoint)
	}
	a.Log, a.Now = slog.New(slog.DiscardHandler), time.Now
	store, err := clickhouse.Open(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("ask the index (is \"matron serve\" running?): %w", err)
	}
	return store, nil
}
