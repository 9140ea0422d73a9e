package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/journal"
)

// shipperArg makes the test binary a process that ships a journal.
const shipperArg = "ship"

func TestMain(m *testing.M) {
	if enginetest.IsChild() {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == shipperArg {
		shipAll(os.Args[2], os.Args[3], os.Args[4])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == rebuildArg {
		rebuildAll(os.Args[2], os.Args[3], os.Args[4])
		return
	}
	m.Run()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start is the time of the first record of every test.
func start() time.Time { return time.Date(2026, 10, 31, 23, 59, 0, 123456000, time.UTC) }

// openStore opens a store on an engine, migrated.
func openStore(t testing.TB, e *engine.Engine, protocol string) *clickhouse.Store {
	t.Helper()
	addr := e.Addr()
	if protocol == "native" {
		addr = e.NativeAddr()
	}
	s, err := dial(addr, protocol, e.User(), e.Password())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func dial(addr, protocol, user, password string) (*clickhouse.Store, error) {
	return clickhouse.Open(context.Background(), clickhouse.Config{
		Addr: []string{addr}, Protocol: protocol, User: user, Password: password,
		DialTimeout: 30 * time.Second, QueryTimeout: time.Minute, Log: discard(),
		Now: func() time.Time { return start().Add(time.Hour) },
	})
}

// newStore is a migrated store on an engine of its own.
func newStore(t testing.TB) (*clickhouse.Store, *engine.Engine) {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	return openStore(t, e, "http"), e
}

// disk is a real journal and a real ledger in a folder.
type disk struct {
	t       testing.TB
	dir     string
	journal *journal.Journal
	ledger  *journal.Ledger
	entries [][]byte
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	d := &disk{t: t, dir: t.TempDir()}
	if err := journal.Create(d.config()); err != nil {
		t.Fatal(err)
	}
	d.open()
	t.Cleanup(d.close)
	return d
}

func journalConfig(dir string) journal.Config {
	return journal.Config{Dir: filepath.Join(dir, "journal"), Source: "gw1", Site: "RBA", Now: time.Now, AppendTimeout: time.Minute}
}

func (d *disk) config() journal.Config { return journalConfig(d.dir) }

func (d *disk) ledgerPath() string { return filepath.Join(d.dir, "shipping.ledger") }

func (d *disk) open() {
	d.t.Helper()
	var err error
	if d.journal, err = journal.Open(d.config()); err != nil {
		d.t.Fatal(err)
	}
	if d.ledger, d.entries, err = journal.OpenLedger(d.ledgerPath()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) close() {
	if d.journal != nil {
		_ = d.journal.Close()
		_ = d.ledger.Close()
		d.journal = nil
	}
}

// fill appends n accesses, a decision and an outcome each, spread over a month's end.
func (d *disk) fill(n int) {
	d.t.Helper()
	first := d.journal.Committed() + 1
	batch := make([]*audit.Record, 0, 2*n)
	for i := range n {
		seq := first + uint64(2*i)
		at := start().Add(time.Duration(seq) * 20 * time.Millisecond)
		batch = append(batch,
			&audit.Record{
				Kind: audit.KindDecision, Time: at, Request: fmt.Sprintf("r%d", seq), App: "epr", Action: "read", Area: "notes",
				Patient: fmt.Sprintf("P%d", i%50), Person: fmt.Sprintf("N%d", i%7), UserName: "Nurse", Roles: []string{"nurse"}, Effect: "allow",
			},
			&audit.Record{Kind: audit.KindOutcome, Time: at, Request: fmt.Sprintf("r%d", seq), Decision: seq, Outcome: audit.Success, Status: 200, Duration: uint64(i)})
	}
	if _, err := d.journal.Append(d.t.Context(), batch...); err != nil {
		d.t.Fatal(err)
	}
}

// shipper is one over the disk's journal and ledger that loses no time.
func (d *disk) shipper(s *clickhouse.Store, change func(*clickhouse.ShipperConfig)) *clickhouse.Shipper {
	d.t.Helper()
	cfg := shipperConfig(s, d.journal, d.ledger, d.entries)
	if change != nil {
		change(&cfg)
	}
	shipper, err := clickhouse.NewShipper(cfg)
	if err != nil {
		d.t.Fatal(err)
	}
	return shipper
}

func shipperConfig(s *clickhouse.Store, j clickhouse.Source, l clickhouse.Ledger, entries [][]byte) clickhouse.ShipperConfig {
	return clickhouse.ShipperConfig{
		Store: s, Source: j, Ledger: l, Entries: entries, Log: discard(), Now: time.Now,
		BlockRows: 500, MaxDelay: time.Millisecond, VerifyEvery: 300 * time.Millisecond, BackOff: 5 * time.Millisecond,
	}
}

// running runs a shipper until stop, which waits for it.
func running(t testing.TB, s *clickhouse.Shipper) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("shipper: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// verified waits until the shipper has counted everything that is in the journal.
func verified(t testing.TB, s *clickhouse.Shipper) {
	t.Helper()
	eventually(t, "everything to be verified", func() bool {
		st := s.Status()
		return st.Verified == st.Committed
	}, func() any { return s.Status() })
}

// eventually waits for something that must happen, however slow the machine is.
func eventually(t testing.TB, what string, happened func() bool, state func() any) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for !happened() {
		select {
		case <-limit.C:
			t.Fatalf("waited too long for %s: %+v", what, state())
		case <-tick.C:
		}
	}
}

// exact fails unless ClickHouse holds 1..n, each once.
func exact(t testing.TB, s *clickhouse.Store, n uint64) {
	t.Helper()
	got, err := s.Gaps(t.Context(), "gw1")
	if err != nil {
		t.Fatal(err)
	}
	if want := (clickhouse.Gaps{Source: "gw1", First: 1, Last: n, Count: n}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// shipAll is the life of a shipper process: it ships the journal in dir, says
// so, and stays until it is killed.
func shipAll(dir, addr, password string) {
	err := func() error {
		j, err := journal.Open(journalConfig(dir))
		if err != nil {
			return err
		}
		l, entries, err := journal.OpenLedger(filepath.Join(dir, "shipping.ledger"))
		if err != nil {
			return err
		}
		s, err := dial(addr, "http", "matron", password)
		if err != nil {
			return err
		}
		shipper, err := clickhouse.NewShipper(shipperConfig(s, j, l, entries))
		if err != nil {
			return err
		}
		go func() {
			for st := shipper.Status(); st.Verified < st.Committed; st = shipper.Status() {
				time.Sleep(time.Millisecond)
			}
			fmt.Println("shipped")
		}()
		return shipper.Run(context.Background())
	}()
	if err != nil {
		fmt.Println(err)
	}
}

// source is a journal in memory, for what a real one cannot do.
type source struct {
	records []audit.Record
	ended   error
}

var errEnded = errors.New("source ended")

func (s *source) Source() string    { return "gw1" }
func (s *source) Committed() uint64 { return uint64(len(s.records)) }

func (*source) Oldest() uint64 { return 1 }

func (s *source) Walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	for i := from - 1; i < min(from-1+uint64(limit), s.Committed()); i++ {
		if !visit(&s.records[i], s.records[i].MarshalCanonical()) {
			break
		}
	}
	return nil
}

func (s *source) Wait(ctx context.Context, after uint64) error {
	if s.Committed() > after {
		return nil
	}
	if s.ended != nil {
		return s.ended
	}
	<-ctx.Done()
	return ctx.Err()
}
