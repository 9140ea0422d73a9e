package clickhouse

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var embedded embed.FS

// migration is one numbered step of the schema.
type migration struct {
	version  uint32
	name     string
	checksum string
	sql      string
}

// applied is the table of migrations that were run.
const appliedTable = `CREATE TABLE IF NOT EXISTS {{database}}.migrations {{on_cluster}}
(
    version  UInt32,
    name     String,
    checksum FixedString(64),
    applied  DateTime64(3, 'UTC')
)
ENGINE = {{engine}} ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

// readMigrations returns the migrations in files, which must be numbered from 1
// without a gap.
func readMigrations(files fs.FS) ([]migration, error) {
	paths, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	list := make([]migration, 0, len(paths))
	for i, path := range paths { // Glob sorts
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", path, err)
		}
		name := strings.TrimPrefix(path, "migrations/")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if err != nil || version != uint64(i)+1 {
			return nil, fmt.Errorf("migration %s: want number %d", path, i+1)
		}
		sum := sha256.Sum256(b)
		list = append(list, migration{uint32(version), name, hex.EncodeToString(sum[:]), string(b)})
	}
	return list, nil
}

// statements splits a migration at semicolons that end a line. A statement that
// is nothing but {{distributed}} makes the table that spans the shards, where
// there are any.
func (m migration) statements(fill *strings.Replacer) []string {
	var list []string
	for _, s := range strings.Split(fill.Replace(m.sql)+"\n", ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// Migrate brings the schema up to date. A user that may only read gets no
// further than the check, which is all that is needed when nothing is missing.
// Statements are idempotent, so that a migration that was cut off runs again.
func (s *Store) Migrate(ctx context.Context) error {
	list, err := readMigrations(embedded)
	if err != nil {
		return err
	}
	return s.migrate(ctx, list)
}

func (s *Store) migrate(ctx context.Context, list []migration) error {
	done, err := s.appliedMigrations(ctx)
	if err != nil {
		return err
	}
	if err := compareMigrations(list, done); err != nil {
		return err
	}
	// A table that somebody dropped while the list of migrations stayed: the list
	// is not believed, and every statement runs again.
	if there, err := s.hasTable(ctx, "records"); err != nil {
		return err
	} else if !there {
		done = nil
	}
	for _, m := range list {
		if _, ok := done[m.version]; ok {
			continue
		}
		if err := s.apply(ctx, m); err != nil {
			return err
		}
		s.cfg.Log.InfoContext(ctx, "ClickHouse schema migrated", slog.String("migration", m.name))
	}
	return nil
}

// compareMigrations refuses a schema that this program does not know.
func compareMigrations(list []migration, done map[uint32]string) error {
	for _, m := range list {
		if sum, ok := done[m.version]; ok && sum != m.checksum {
			return fmt.Errorf("%w: migration %s was applied with checksum %s and is now %s; run the program that applied it",
				ErrSchemaChanged, m.name, sum, m.checksum)
		}
	}
	for version := range done {
		if version > uint32(len(list)) { //nolint:gosec // a handful
			return fmt.Errorf("%w: it has migration %d, this program knows %d; run the newer program", ErrSchemaNewer, version, len(list))
		}
	}
	return nil
}

// appliedMigrations returns the checksums of the migrations that were run,
// none when the database or the table is not there yet.
func (s *Store) appliedMigrations(ctx context.Context) (map[uint32]string, error) {
	done := make(map[uint32]string)
	if there, err := s.hasTable(ctx, "migrations"); err != nil || !there {
		return done, err
	}
	rows, err := s.conn.Query(ctx, "SELECT version, checksum FROM "+s.table("migrations"))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	for rows.Next() {
		var version uint32
		var sum string
		if err := rows.Scan(&version, &sum); err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		done[version] = sum
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return done, nil
}

// hasTable reports whether the database has a table, no when there is no database.
func (s *Store) hasTable(ctx context.Context, name string) (bool, error) {
	var tables uint64
	err := s.conn.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = ? AND name = ?", s.cfg.Database, name).Scan(&tables)
	if err != nil {
		return false, fmt.Errorf("look for table %s: %w", name, err)
	}
	return tables > 0, nil
}

func (s *Store) apply(ctx context.Context, m migration) error {
	fill := s.placeholders(s.local())
	prelude := []string{fill.Replace("CREATE DATABASE IF NOT EXISTS {{database}} {{on_cluster}}"), fill.Replace(appliedTable)}
	for _, statement := range append(prelude, m.statements(fill)...) {
		if err := s.conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("migrate %s: %w", m.name, err)
		}
	}
	err := s.conn.Exec(ctx, "INSERT INTO "+s.table("migrations")+" (version, name, checksum, applied) SELECT ?, ?, ?, now64(3)",
		m.version, m.name, m.checksum)
	if err != nil {
		return fmt.Errorf("note migration %s: %w", m.name, err)
	}
	return nil
}

// placeholders are what a migration leaves open: one set of files serves one
// server, shards and replicas. The table of records is called local.
func (s *Store) placeholders(local string) *strings.Replacer {
	cluster := s.cfg.Cluster
	onCluster, engine, distributed := "", "MergeTree", ""
	deduplication := "non_replicated_deduplication_window = 10000"
	if cluster.Replicated {
		onCluster = "ON CLUSTER '" + cluster.Name + "'"
		// The path holds the table's UUID, so that a table that was rebuilt and
		// exchanged for this one keeps a place of its own in Keeper.
		engine = "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')"
		// Two weeks of outage may be sent again; a month of blocks is counted.
		deduplication = "replicated_deduplication_window = 1000000, replicated_deduplication_window_seconds = 1209600"
	}
	if cluster.Name != "" && local == s.local() {
		distributed = "CREATE TABLE IF NOT EXISTS {{database}}.records " + onCluster + " AS {{database}}." + s.local() +
			" ENGINE = Distributed('" + cluster.Name + "', '{{database}}', '" + s.local() + "', rand())"
		distributed = strings.ReplaceAll(distributed, "{{database}}", s.cfg.Database)
	}
	return strings.NewReplacer("{{database}}", s.cfg.Database, "{{local}}", local, "{{on_cluster}}", onCluster,
		"{{engine}}", engine, "{{deduplication}}", deduplication, "{{distributed}}", distributed)
}
