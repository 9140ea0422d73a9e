// Command trail measures the audit trail from journal to ClickHouse: what a
// record costs on disk and in processor time, how fast a backlog is shipped and
// an index rebuilt, and how long the two questions take. Each figure stands
// beside something in the same run.
//
// It changes nothing outside its own temporary folder. Times of a machine that
// does something else as well are too long; processor time and bytes hold.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/clickhouse/workload"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/journal"
)

const (
	childArg = "engine-child"
	source   = "gw1"
	days     = 10
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run. It belongs to one goroutine.
type bench struct {
	dir     string
	rows    int // of the table that is asked
	backlog int // records that are shipped and rebuilt
	engine  *engine.Engine
	store   *clickhouse.Store
	journal *journal.Journal
	records *workload.Generator
	start   time.Time
}

func run(ctx context.Context) error {
	b := &bench{start: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}
	flag.IntVar(&b.rows, "rows", 4_000_000, "rows of the table that is asked, decision and outcome each one")
	flag.IntVar(&b.backlog, "backlog", 1_200_000, "records of the backlog that is shipped")
	library := flag.String("library", "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so", "the ClickHouse engine")
	skip := flag.Bool("skip-journal", false, "leave the journal's own benchmarks out")
	flag.Parse()
	b.records = workload.New(1, b.start, max(b.rows, b.backlog)/2/days)
	if !*skip {
		if err := benchJournal(ctx); err != nil {
			return err
		}
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "matron-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // a temporary folder
	if b.engine, err = engine.Start(ctx, engine.Config{
		Dir: filepath.Join(b.dir, "engine"), Library: *library, Args: []string{childArg}, Log: slog.New(slog.DiscardHandler),
	}); err != nil {
		return err
	}
	defer b.engine.Close() //nolint:errcheck // its data goes as well
	if b.store, err = b.open(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{b.store.Migrate, b.fillJournal, b.bare, b.ship, b.merge, b.rebuild, b.merge, b.grow, b.merge, b.size, b.ask} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.journal.Close()
}

// benchJournal runs the benchmarks that the journal has.
func benchJournal(ctx context.Context) error {
	fmt.Println("journal: 256 writers beside bare fdatasync, then 1,000 exchanges a second")
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Append256|Append1000", "-benchtime", "5s", "./audit/journal")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func (b *bench) open(ctx context.Context) (*clickhouse.Store, error) {
	return clickhouse.Open(ctx, clickhouse.Config{
		Addr: []string{b.engine.Addr()}, User: b.engine.User(), Password: b.engine.Password(),
		QueryTimeout: 10 * time.Minute, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.start.AddDate(0, 0, days) },
	})
}

func (b *bench) journalDir() string { return filepath.Join(b.dir, "journal") }

func (b *bench) fillJournal(ctx context.Context) error {
	cfg := journal.Config{Dir: b.journalDir(), Source: source, Site: "RBA", Now: time.Now, AppendTimeout: time.Minute}
	if err := journal.Create(cfg); err != nil {
		return err
	}
	var err error
	if b.journal, err = journal.Open(cfg); err != nil {
		return err
	}
	return b.watch("journal filled, 1,000 records a group commit", b.backlog, func() error {
		batch := make([]audit.Record, 1000)
		pointers := make([]*audit.Record, len(batch))
		for i := range batch {
			pointers[i] = &batch[i]
		}
		for n := 0; n < b.backlog; n += len(batch) {
			b.records.Fill(batch)
			if _, err := b.journal.Append(ctx, pointers...); err != nil {
				return err
			}
		}
		return nil
	})
}

// ship carries the backlog into an empty table.
func (b *bench) ship(ctx context.Context) error {
	ledger, entries, err := journal.OpenLedger(filepath.Join(b.dir, "blocks.ledger"))
	if err != nil {
		return err
	}
	defer ledger.Close() //nolint:errcheck // a temporary folder
	return b.watch("shipped through the shipper, counted", b.backlog, func() error {
		return b.shipAll(ctx, clickhouse.ShipperConfig{Source: b.journal, Ledger: ledger, Entries: entries})
	})
}

// shipAll runs a shipper until all that its source holds has been counted.
func (b *bench) shipAll(ctx context.Context, cfg clickhouse.ShipperConfig) error {
	cfg.Store, cfg.Log, cfg.Now = b.store, slog.New(slog.DiscardHandler), time.Now
	cfg.VerifyEvery = time.Second
	shipper, err := clickhouse.NewShipper(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- shipper.Run(ctx) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if errors.Is(err, errEnded) {
				return nil
			}
			return errors.Join(errors.New("shipping ended early"), err)
		case <-tick.C:
		}
		if st := shipper.Status(); st.Verified == st.Committed {
			cancel()
			return <-done
		}
	}
}

// rebuild makes the table anew from the journal's folder.
func (b *bench) rebuild(ctx context.Context) error {
	in, err := journal.OpenReader(b.journalDir())
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	return b.watch("rebuilt from the journal (audit reindex)", b.backlog, func() error {
		_, err := b.store.Rebuild(ctx, clickhouse.RebuildConfig{Source: in})
		return err
	})
}

// grow adds records until the table has its size.
func (b *bench) grow(ctx context.Context) error {
	have, err := b.store.Bounds(ctx, source)
	if err != nil {
		return err
	}
	more := b.rows - int(have.Count)
	if more <= 0 {
		return nil
	}
	return b.watch("added for the questions", more, func() error {
		return b.shipAll(ctx, clickhouse.ShipperConfig{Source: &made{from: b.records, first: have.Last, total: uint64(b.rows)}, Ledger: forgetful{}})
	})
}

// merge merges all parts into one, so that what comes next has the processor
// for itself, and shows what that costs.
func (b *bench) merge(ctx context.Context) error {
	have, err := b.store.Counts(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, rows := range have {
		n += int(rows)
	}
	return b.watch("  merged into one part", n, func() error { return b.exec(ctx, "OPTIMIZE TABLE matron.records FINAL") })
}

func (b *bench) size(ctx context.Context) error {
	var rows, bytes uint64
	conn, err := b.connect()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was only read
	err = conn.QueryRow(ctx, "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'matron' AND table = 'records'").Scan(&rows, &bytes)
	if err != nil {
		return err
	}
	fmt.Printf("%-46s %6.1f bytes an access (decision and outcome), %d rows, indexes included; target 55\n",
		"size in ClickHouse", 2*float64(bytes)/float64(rows), rows)
	return nil
}

// ask times the newest 100 accesses of patients and of people.
func (b *bench) ask(ctx context.Context) error {
	sample, err := b.store.Accesses(ctx, audit.Query{Limit: 500})
	if err != nil {
		return err
	}
	for _, q := range []struct {
		name   string
		target string
		query  func(*audit.Record) audit.Query
	}{
		{"newest 100 accesses to a patient", "15 ms", func(r *audit.Record) audit.Query { return audit.Query{Patient: r.Patient} }},
		{"newest 100 accesses by a person", "30 ms", func(r *audit.Record) audit.Query { return audit.Query{Person: r.Person} }},
	} {
		var took []time.Duration
		found := 0
		cpu := b.cpu()
		for i := 0; i < len(sample); i += 10 {
			began := time.Now()
			got, err := b.store.Accesses(ctx, q.query(&sample[i].Record))
			if err != nil {
				return err
			}
			took = append(took, time.Since(began))
			found += len(got)
		}
		slices.Sort(took)
		n := len(took)
		fmt.Printf("%-46s p50 %s, p95 %s, %s processor time each, %d rows each; target p50 %s\n", q.name,
			took[n/2].Round(100*time.Microsecond), took[n*95/100].Round(100*time.Microsecond),
			((b.cpu().total() - cpu.total()) / time.Duration(n)).Round(100*time.Microsecond), found/n, q.target)
	}
	return nil
}
