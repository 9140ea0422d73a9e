package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	_ "modernc.org/sqlite"

	"github.com/matron-epr/matron/hazardlog/store"
	"github.com/matron-epr/matron/hazardlog/store/pgtest"
)

// databases are what the store must work on, each the same way.
var databases = map[string]func(t *testing.T) place{"SQLite": newSQLite, "PostgreSQL": newPostgres}

// place is one empty, migrated database, and how other processes open it.
type place struct {
	db  *sql.DB
	dsn string // "sqlite …" or "pgx …"
}

// onEach runs a test on every database.
func onEach(t *testing.T, test func(t *testing.T, d place)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func open(ctx context.Context, driver, dsn string) (*sql.DB, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	return db, db.PingContext(ctx)
}

func newSQLite(t *testing.T) place {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "matron.db") +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(20000)&_pragma=foreign_keys(ON)&_txlock=immediate"
	return migrated(t, "sqlite", dsn, database.DialectSQLite3)
}

func newPostgres(t *testing.T) place {
	t.Helper()
	startOnce.Do(func() { server, startErr = pgtest.Start(context.Background()) })
	if startErr != nil {
		t.Fatal(startErr)
	}
	dsn, err := server.Create(t.Context(), fmt.Sprintf("test%d", databaseN.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return migrated(t, "pgx", dsn, database.DialectPostgres)
}

func migrated(t *testing.T, driver, dsn string, dialect database.Dialect) place {
	t.Helper()
	db, err := open(t.Context(), driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	history, err := database.NewStore(dialect, "hazardlog_migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider("", db, store.Migrations(), goose.WithStore(history))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return place{db, driver + " " + dsn}
}

// The server of this test run: a database per test.
var (
	startOnce sync.Once
	server    *pgtest.Server
	startErr  error
	databaseN atomic.Int32
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(child(context.Background(), os.Args[2:]))
	}
	code := m.Run()
	if server != nil {
		_ = server.Close()
	}
	os.Exit(code)
}
