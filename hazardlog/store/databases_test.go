package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	_ "modernc.org/sqlite"

	"github.com/matron-epr/matron/hazardlog/store"
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
	dir, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := open(context.Background(), "pgx", "host="+dir+" user=postgres dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	name := fmt.Sprintf("test%d", databaseNumber())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return migrated(t, "pgx", "host="+dir+" user=postgres dbname="+name, database.DialectPostgres)
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

// The cluster of this test run: one server, a database per test.
var (
	startOnce      sync.Once
	clusterDir     string
	clusterErr     error
	stopCluster    = func() {}
	databaseNumber = sync.OnceValue(func() func() int {
		var mu sync.Mutex
		n := 0
		return func() int { mu.Lock(); defer mu.Unlock(); n++; return n }
	})()
)

// cluster starts PostgreSQL, on a socket in a folder of its own.
func cluster() (string, error) {
	startOnce.Do(func() { clusterDir, clusterErr = startCluster() })
	return clusterDir, clusterErr
}

func startCluster() (string, error) {
	bin, err := postgresBin()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "hazardlog-pg")
	if err != nil {
		return "", err
	}
	as, err := unprivileged(dir)
	if err != nil {
		return "", err
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.Background(), filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C").CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	if err := server.Start(); err != nil {
		return "", err
	}
	stopCluster = func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = server.Wait()
		_ = os.RemoveAll(dir)
	}
	for range 600 {
		db, err := open(context.Background(), "pgx", "host="+dir+" user=postgres dbname=postgres")
		if err == nil {
			return dir, db.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", errors.New("PostgreSQL does not answer")
}

func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: run make test-deps")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged gives dir to an account that PostgreSQL runs as: it refuses root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(child(context.Background(), os.Args[2:]))
	}
	code := m.Run()
	stopCluster()
	os.Exit(code)
}
