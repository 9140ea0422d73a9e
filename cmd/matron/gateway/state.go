package gateway

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the relational store of several gateways
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"golang.org/x/mod/sumdb/note"
	_ "modernc.org/sqlite" // the default relational store

	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/retention"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/hazardlog/store"
	"github.com/matron-epr/matron/proxy/breakglass"
	"github.com/matron-epr/matron/proxy/signin"
)

// ErrNotInitialised says that the data folder lacks what Init makes. Nothing
// that holds records is ever made silently: a second, empty journal would hide
// the loss of the first.
var ErrNotInitialised = errors.New("not initialised: run \"matron init\" with this configuration once")

// paths are the places below the data folder.
type paths struct{ dir string }

func (p paths) journal() string        { return filepath.Join(p.dir, "journal") }
func (p paths) ledger() string         { return filepath.Join(p.dir, "journal", "blocks.ledger") }
func (p paths) detectionMarks() string { return filepath.Join(p.dir, "detection.json") }
func (p paths) syslogCursor() string   { return filepath.Join(p.dir, "syslog.cursor") }
func (p paths) engine() string         { return filepath.Join(p.dir, "clickhouse") }
func (p paths) tls() string            { return filepath.Join(p.dir, "tls") }
func (p paths) witness() string        { return filepath.Join(p.dir, "witness") }
func (p paths) database() string       { return filepath.Join(p.dir, "matron.db") }
func (p paths) held() string           { return filepath.Join(p.dir, "held") }
func (p paths) policy() string         { return filepath.Join(p.dir, "policy") }
func (p paths) bundles() string        { return filepath.Join(p.policy(), "bundles") }
func (p paths) promotions() string     { return filepath.Join(p.policy(), "promotions.ledger") }
func (p paths) keys() string           { return filepath.Join(p.dir, "keys") }
func (p paths) voucherKey() string     { return filepath.Join(p.keys(), "voucher.pem") }
func (p paths) linkKey() string        { return filepath.Join(p.keys(), "links.key") }
func (p paths) matchKey() string       { return filepath.Join(p.keys(), "match.key") }

// checkpointKey signs the record; others check that with the public key, which
// stands beside the journal so that it travels with it.
func (p paths) checkpointKey() string { return filepath.Join(p.keys(), "checkpoint.key") }
func (p paths) checkpointPub() string { return filepath.Join(p.journal(), "checkpoint.pub") }

// Init makes the data folder, journal, databases and keys, each with access for
// its owner alone. What is there already stays as it is.
func Init(ctx context.Context, c config.Config) error {
	p := paths{c.DataDir}
	for _, dir := range []string{p.dir, p.keys(), p.engine(), p.tls()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
	}
	if err := once(p.journal(), func() error { return journal.Create(journalConfig(c)) }); err != nil {
		return fmt.Errorf("make journal: %w", err)
	}
	if err := once(p.checkpointKey(), func() error {
		return merkle.GenerateKey(merkle.Origin(c.Site, c.Source), p.checkpointKey(), p.checkpointPub())
	}); err != nil {
		return fmt.Errorf("make checkpoint key: %w", err)
	}
	if err := once(p.voucherKey(), func() error { return signin.GenerateKey(p.voucherKey()) }); err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	if err := once(p.holds(), func() error { return retention.CreateHolds(p.holds()) }); err != nil {
		return err
	}
	for _, key := range []string{p.linkKey(), p.matchKey()} {
		if err := once(key, func() error { return writeKey(key) }); err != nil {
			return fmt.Errorf("make key: %w", err)
		}
	}
	if err := initWitness(c, time.Now()); err != nil {
		return err
	}
	db, err := openDatabase(ctx, c, true)
	if err != nil {
		return err
	}
	if err = migrate(ctx, c, db); err == nil {
		_, err = openHazardLog(ctx, db)
	}
	return errors.Join(err, db.Close())
}

// Initialised reports whether Init has been run.
func Initialised(c config.Config) bool {
	_, err := os.Stat(paths{c.DataDir}.journal())
	return err == nil
}

func once(path string, do func() error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return do()
}

func writeKey(path string) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return os.WriteFile(path, key, 0o600)
}

// readKey reads a key that Init made.
func readKey(path string) ([]byte, error) {
	key, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: %w", path, ErrNotInitialised)
	}
	return key, err
}

// checkpointKeys reads the key that signs the record and makes the one that checks
// it.
func checkpointKeys(c config.Config) (note.Signer, note.Verifier, string, error) {
	path := paths{c.DataDir}.checkpointKey()
	secret, err := readKey(path)
	if err != nil {
		return nil, nil, "", err
	}
	public, err := merkle.PublicKey(secret)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", path, err)
	}
	signer, err := merkle.ParseSigner(secret)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", path, err)
	}
	verifier, err := merkle.ParseVerifier([]byte(public))
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", path, err)
	}
	if want := merkle.Origin(c.Site, c.Source); signer.Name() != want {
		return nil, nil, "", fmt.Errorf("%s is the key of %s, not of %s: put the right file back, it cannot be made again", path, signer.Name(), want)
	}
	return signer, verifier, public, nil
}

// publishKey sees to it that the public key stands beside the journal. One that
// went missing is made again; another key there means that the two do not belong
// together.
func publishKey(c config.Config, public string) error {
	path := paths{c.DataDir}.checkpointPub()
	text, err := os.ReadFile(path) //nolint:gosec // below the data folder
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := merkle.ParseVerifier(text); err != nil {
		return replaceFile(path, []byte(public+"\n"))
	}
	if strings.TrimSpace(string(text)) != public {
		return fmt.Errorf("%s is not the key that %s signs with: put the right files back, neither can be made again",
			path, paths{c.DataDir}.checkpointKey())
	}
	return nil
}

// readPrivate reads a file that nobody else may read.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: run chmod 600 on it", path)
	}
	return os.ReadFile(path) //nolint:gosec // below the data folder, or named by the operator
}

// openDatabase opens the relational store: SQLite in the data folder, or the
// PostgreSQL that c names.
func openDatabase(ctx context.Context, c config.Config, create bool) (*sql.DB, error) {
	if c.Database.URLFile == "" {
		return openSQLite(ctx, paths{c.DataDir}.database(), create)
	}
	url, err := readSecret(c.Database.URLFile)
	if err != nil {
		return nil, fmt.Errorf("read address of the database: %w", err)
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, fmt.Errorf("the address in %s cannot be read", c.Database.URLFile) // err may quote the password
	}
	db.SetMaxOpenConns(16)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("the database that %s names does not answer: %w", c.Database.URLFile, err), db.Close())
	}
	return db, nil
}

// openSQLite opens a file. Pragmas stand in the DSN, so that every connection gets
// them.
func openSQLite(ctx context.Context, path string, create bool) (*sql.DB, error) {
	mode := "rw"
	if create {
		mode = "rwc"
	}
	if _, err := os.Stat(path); err != nil && !create {
		return nil, fmt.Errorf("%s: %w", path, ErrNotInitialised)
	}
	dsn := "file:" + path + "?mode=" + mode +
		"&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(ON)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if create {
		if err := db.PingContext(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
		}
		return db, os.Chmod(path, 0o600)
	}
	return db, nil
}

// migrate brings every part's tables up to date, each part with a history of
// its own.
func migrate(ctx context.Context, c config.Config, db *sql.DB) error {
	dialect := database.DialectSQLite3
	if c.Database.URLFile != "" {
		dialect = database.DialectPostgres
	}
	for part, files := range map[string]fs.FS{"signin": signin.Migrations(), "cases": cases.Migrations(), "breakglass": breakglass.Migrations(), "hazardlog": store.Migrations()} {
		history, err := database.NewStore(dialect, part+"_migrations")
		if err != nil {
			return fmt.Errorf("migrate %s: %w", part, err)
		}
		provider, err := goose.NewProvider("", db, files, goose.WithStore(history))
		if err != nil {
			return fmt.Errorf("migrate %s: %w", part, err)
		}
		if _, err := provider.Up(ctx); err != nil {
			return fmt.Errorf("migrate %s: %w", part, err)
		}
	}
	return nil
}
