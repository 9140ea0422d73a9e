// Package clickhouse makes audit records searchable: it ships them from the
// journal into ClickHouse exactly once, checks that they are all there, and
// answers who looked at what.
//
// It never changes a row, deletes none but for Dispose, and nothing that answers a clinician ever
// waits for it: the journal is the record, ClickHouse an index of it that can
// be rebuilt. A Store is safe for concurrent use. A Shipper is run by one
// goroutine; its Status and Reconcile may be called from others.
package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"sync"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// The errors that callers branch on.
var (
	// ErrConfig says that a configuration makes no sense.
	ErrConfig = errors.New("ClickHouse configuration")
	// ErrSchemaChanged says that a migration that was applied is not the one
	// this program holds.
	ErrSchemaChanged = errors.New("ClickHouse schema differs from this program's")
	// ErrSchemaNewer says that a newer program has migrated the schema.
	ErrSchemaNewer = errors.New("ClickHouse schema is newer than this program")
	// ErrLedger says that the ledger contradicts itself or the journal.
	ErrLedger = errors.New("shipping ledger contradicts itself")
	// ErrContent says that the journal no longer holds what it held when a
	// block was cut.
	ErrContent = errors.New("journal differs from what was shipped")
	// ErrRowsMissing says that rows are missing although the server took them.
	ErrRowsMissing = errors.New("ClickHouse does not hold the rows it acknowledged")
)

// Config says how to reach ClickHouse. Addr and Log are required.
type Config struct {
	Addr     []string // host:port, tried in this order
	Protocol string   // "http" (default) or "native"
	Database string   // default "matron"
	User     string
	Password string
	TLS      *tls.Config
	Cluster  Cluster

	// Dial replaces the network connection, e.g. through a tunnel.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	DialTimeout  time.Duration // default 5 s
	QueryTimeout time.Duration // of one question; default 30 s
	MaxRows      uint64        // of one answer; default 1,000,000
	Log          *slog.Logger
	Now          func() time.Time // default time.Now
}

// Cluster says how tables are spread over servers. The zero value is one server.
//
// Every source belongs to one shard: Addr names the servers of that shard, and
// no other. Records go into that shard's own table, questions to all shards.
type Cluster struct {
	Name       string // as in remote_servers
	Replicated bool   // tables are Replicated*, made on all servers at once through Keeper
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Addr) == 0 || c.Log == nil {
		return c, fmt.Errorf("%w: Addr and Log are required", ErrConfig)
	}
	if c.Protocol == "" {
		c.Protocol = "http"
	}
	if c.Protocol != "http" && c.Protocol != "native" {
		return c, fmt.Errorf("%w: protocol %q is neither http nor native", ErrConfig, c.Protocol)
	}
	if c.Database == "" {
		c.Database = "matron"
	}
	if err := checkIdentifier(c.Database); err != nil {
		return c, err
	}
	if c.Cluster.Name == "" && c.Cluster.Replicated {
		return c, fmt.Errorf("%w: a replicated table needs the name of its cluster", ErrConfig)
	}
	if c.Cluster.Name != "" && !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,62}$`).MatchString(c.Cluster.Name) {
		return c, fmt.Errorf("%w: cluster %q: want letters, digits, underscores and hyphens", ErrConfig, c.Cluster.Name)
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 5 * time.Second
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = 30 * time.Second
	}
	if c.MaxRows == 0 {
		c.MaxRows = 1_000_000
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default of a configurable clock
	}
	return c, nil
}

// checkIdentifier lets through what needs no quoting, because an identifier
// cannot be a bound parameter.
func checkIdentifier(name string) error {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`).MatchString(name) {
		return fmt.Errorf("%w: database %q: want letters, digits and underscores", ErrConfig, name)
	}
	return nil
}

// Store is a connection pool to one ClickHouse server or cluster.
type Store struct {
	cfg  Config
	conn driver.Conn
	http *http.Client // inserts when the protocol is http

	encoders sync.Pool // of *encoder
}

// Open makes a store. It does not wait for the server: Ping does.
func Open(_ context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	protocol := driver.HTTP
	if cfg.Protocol == "native" {
		protocol = driver.Native
	}
	conn, err := driver.Open(&driver.Options{
		Addr:         cfg.Addr,
		Protocol:     protocol,
		Auth:         driver.Auth{Username: cfg.User, Password: cfg.Password},
		TLS:          cfg.TLS,
		DialContext:  cfg.Dial,
		DialTimeout:  cfg.DialTimeout,
		ReadTimeout:  5 * time.Minute,
		Compression:  &driver.Compression{Method: driver.CompressionLZ4},
		MaxOpenConns: 8,
		MaxIdleConns: 4,
	})
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return &Store{cfg: cfg, conn: conn, http: cfg.httpClient()}, nil
}

// Ping asks the server for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping ClickHouse: %w", err)
	}
	return nil
}

// Close closes the connections.
func (s *Store) Close() error {
	s.http.CloseIdleConnections()
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("close ClickHouse: %w", err)
	}
	return nil
}

// bounded limits what one question may cost, on both sides.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	return driver.Context(ctx, driver.WithSettings(driver.Settings{
		"max_execution_time":   s.cfg.QueryTimeout.Seconds(),
		"max_result_rows":      s.cfg.MaxRows,
		"result_overflow_mode": "throw",
	})), cancel
}

// table is the qualified name of a table.
func (s *Store) table(name string) string { return s.cfg.Database + "." + name }

// local is the table that this server or its shard keeps itself.
func (s *Store) local() string {
	if s.cfg.Cluster.Name == "" {
		return "records"
	}
	return "records_local"
}
