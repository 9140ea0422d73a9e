package history_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

// importArg makes the test binary a process that imports its standard input.
const importArg = "import"

func TestMain(m *testing.M) {
	if enginetest.IsChild() {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == importArg {
		if err := importAndWait(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// dial opens a store on an engine.
func dial(addr, protocol, user, password string) (*clickhouse.Store, error) {
	return clickhouse.Open(context.Background(), clickhouse.Config{
		Addr: []string{addr}, Protocol: protocol, Database: "matron", User: user, Password: password,
		DialTimeout: 30 * time.Second, QueryTimeout: time.Minute, Log: slog.New(slog.DiscardHandler), Now: now,
	})
}

func newStore(t testing.TB) (*clickhouse.Store, *engine.Engine) {
	t.Helper()
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	return openStore(t, e.Addr(), "http", e), e
}

func openStore(t testing.TB, addr, protocol string, e *engine.Engine) *clickhouse.Store {
	t.Helper()
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

// run is one import whose rejects are collected.
func run(ctx context.Context, t testing.TB, store history.Store, r io.Reader, change func(*history.Config)) (history.Summary, []intake.Reject, error) {
	t.Helper()
	var rejects []intake.Reject
	c := config(store, hasher(t))
	c.Rejects = func(r intake.Reject) error {
		rejects = append(rejects, r)
		return nil
	}
	if change != nil {
		change(&c)
	}
	s, err := history.Import(ctx, c, r)
	return s, rejects, err
}

func config(store history.Store, h pseudonym.Hasher) history.Config {
	return history.Config{
		Site: "RBA", Hasher: h, Store: store,
		Import: audit.Import{Batch: "b1", File: "hash", At: now(), By: "ig"},
	}
}

// lines are accesses from to until, without until.
func lines(from, until int) string {
	var b strings.Builder
	for n := from; n < until; n++ {
		b.WriteString(line(n))
	}
	return b.String()
}
