package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// errReindexing says that another process rebuilds the index already.
var errReindexing = errors.New("another \"matron audit reindex\" is running")

// Reindex rebuilds the index from the journal in dirs, or in the configured
// folders when there are none. It works beside a running gateway, through its
// engine or the configured server, and starts the embedded engine for the time
// being when no gateway runs.
func Reindex(ctx context.Context, c config.Config, dirs, engineArgs []string, progress func(done, total uint64)) (clickhouse.Rebuilt, error) {
	p := paths{c.DataDir}
	lock, err := lockFile(filepath.Join(p.dir, "reindex.lock"))
	if err != nil {
		return clickhouse.Rebuilt{}, err
	}
	defer lock.Close() //nolint:errcheck // nothing was written to it
	if len(dirs) == 0 {
		dirs = JournalDirs(c)
	}
	records, err := journal.OpenReader(dirs...)
	if err != nil {
		return clickhouse.Rebuilt{}, err
	}
	defer records.Close() //nolint:errcheck // it was only read
	store, stop, err := openOrStart(ctx, c, engineArgs)
	if err != nil {
		return clickhouse.Rebuilt{}, err
	}
	done, err := store.Rebuild(ctx, clickhouse.RebuildConfig{Source: records, Progress: progress})
	return done, errors.Join(err, stop())
}

// openOrStart connects to the index, and starts the embedded engine when it
// does not run. stop undoes both.
func openOrStart(ctx context.Context, c config.Config, engineArgs []string) (store *clickhouse.Store, stop func() error, err error) {
	store, err = OpenIndex(ctx, c)
	if err == nil {
		if err = store.Ping(ctx); err == nil {
			if err = store.Migrate(ctx); err == nil {
				return store, store.Close, nil
			}
			return nil, nil, errors.Join(err, store.Close())
		}
		err = errors.Join(err, store.Close())
	}
	if !c.ClickHouse.Embedded {
		return nil, nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	e, err := startEngine(ctx, c, engineArgs, quiet)
	if err != nil {
		return nil, nil, err
	}
	a := embeddedAccount(engine.Endpoint{Addr: e.Addr(), User: e.User(), Password: e.Password()})
	a.Log, a.Now = quiet, time.Now
	if store, err = clickhouse.Open(ctx, a); err == nil {
		if err = store.Migrate(ctx); err == nil {
			return store, func() error { return errors.Join(store.Close(), e.Close()) }, nil
		}
		err = errors.Join(err, store.Close())
	}
	return nil, nil, errors.Join(err, e.Close())
}

// lockFile keeps a second process out until the file is closed.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // in the data folder
	if err != nil {
		return nil, fmt.Errorf("lock the index: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errReindexing
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
