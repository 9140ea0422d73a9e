package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/journal"
)

// site is a journal in dir that is shipped into ClickHouse.
type site struct {
	journal *journal.Journal
	ledger  *journal.Ledger
	entries [][]byte
	store   *clickhouse.Store
}

// server is how a ClickHouse is reached.
type server struct {
	addr, user, password string
	dial                 func(context.Context, string) (net.Conn, error)
}

func reach(e *engine.Engine) server {
	return server{addr: e.Addr(), user: e.User(), password: e.Password()}
}

// openSite opens the journal, which must exist, the ledger and the store.
func openSite(dir string, s server) (*site, error) {
	j, err := journal.Open(journalConfig(dir, 1<<16))
	if err != nil {
		return nil, err
	}
	l, entries, err := journal.OpenLedger(filepath.Join(dir, "shipping.ledger"))
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	store, err := clickhouse.Open(context.Background(), clickhouse.Config{
		Addr: []string{s.addr}, User: s.user, Password: s.password, Dial: s.dial,
		DialTimeout: 30 * time.Second, QueryTimeout: time.Minute, Log: discard(),
	})
	if err == nil {
		err = store.Migrate(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, j.Close(), l.Close())
	}
	return &site{journal: j, ledger: l, entries: entries, store: store}, nil
}

// close gives everything up, as well as a disk that has failed allows.
func (s *site) close() { _, _, _ = s.journal.Close(), s.ledger.Close(), s.store.Close() }

func (s *site) config() clickhouse.ShipperConfig {
	return clickhouse.ShipperConfig{
		Store: s.store, Source: s.journal, Ledger: s.ledger, Entries: s.entries, Log: discard(), Now: time.Now,
		BlockRows: 300, MaxDelay: time.Millisecond, VerifyEvery: 200 * time.Millisecond, BackOff: 5 * time.Millisecond,
	}
}

// ship runs a shipper until stop, which waits for it.
func (s *site) ship(t *testing.T, cfg clickhouse.ShipperConfig) (shipper *clickhouse.Shipper, stop func()) {
	t.Helper()
	shipper, err := clickhouse.NewShipper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = shipper.Run(ctx) // an error says that the journal has failed, which the trial sees by itself
	}()
	return shipper, func() {
		cancel()
		<-done
	}
}

// shipRest ships what is left and waits until all of it has been counted.
func (s *site) shipRest(t *testing.T, cfg clickhouse.ShipperConfig) {
	t.Helper()
	shipper, stop := s.ship(t, cfg)
	defer stop()
	eventually(t, "everything to be verified", func() bool {
		st := shipper.Status()
		return st.Verified == st.Committed
	}, func() any { return shipper.Status() })
}

// compare says how ClickHouse differs from the journal.
func (s *site) compare(ctx context.Context) error {
	last := s.journal.Committed()
	gaps, err := s.store.Gaps(ctx, source)
	if err != nil {
		return err
	}
	if want := (clickhouse.Gaps{Source: source, First: 1, Last: last, Count: last}); gaps != want {
		return fmt.Errorf("the journal holds 1 to %d, ClickHouse %+v", last, gaps)
	}
	const step = 5000
	for from := uint64(1); from <= last; from += step {
		want, err := s.journal.Read(from, step)
		if err != nil {
			return err
		}
		got, err := s.store.Records(ctx, source, from, step)
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("%d rows from %d on, want %d", len(got), from, len(want))
		}
		for i := range want {
			want[i].Nonce = [16]byte{} // only the journal has it
			if !bytes.Equal(got[i].MarshalCanonical(), want[i].MarshalCanonical()) {
				return fmt.Errorf("row %d is not the record of that number", want[i].Seq)
			}
		}
	}
	return nil
}

// eventually waits for something that must happen, however slow the machine is.
func eventually(t *testing.T, what string, happened func() bool, state func() any) {
	t.Helper()
	limit := time.After(3 * time.Minute)
	for tick := time.NewTicker(5 * time.Millisecond); !happened(); {
		select {
		case <-limit:
			t.Fatalf("waited too long for %s: %+v", what, state())
		case <-tick.C:
		}
	}
}

// sql sends a statement behind the store's back and returns the answer.
func sql(t *testing.T, s server, statement string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(s.user, s.password)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only the body counts
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s (%v)", statement, resp.StatusCode, body, err)
	}
	return strings.TrimSpace(string(body))
}

// ship is the life of a gateway's back half: it appends and ships until it is
// killed.
func ship(args []string) {
	go endWithParent()
	line("pid %d", os.Getpid())
	s, err := openSite(args[0], server{addr: args[1], user: args[2], password: args[3]})
	if err != nil {
		refused("open", err)
		return
	}
	shipper, err := clickhouse.NewShipper(s.config())
	if err != nil {
		refused("ship", err)
		return
	}
	go appendForEver(s.journal, args[4], false)
	if err := shipper.Run(context.Background()); err != nil {
		refused("ship", err)
	}
}

// TestKill9ShipsExactlyOnce kills the process that writes and ships, the engine,
// or both at once, while records keep coming. Afterwards ClickHouse holds the
// journal, record by record.
func TestKill9ShipsExactlyOnce(t *testing.T) {
	rounds := 5
	if *full {
		rounds = 40
	}
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	dir, said := newJournal(t)
	begin(t, "kill -9: writer, shipper, engine", "").each(rounds, func(n int) error {
		c := start(t, said, nil, shipDriver, dir, e.Addr(), e.User(), e.Password(), fmt.Sprint(n))
		c.until(100, 400*time.Millisecond)
		victims := rand.IntN(3)
		if pid := e.PID(); victims > 0 {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if victims > 1 {
				c.until(20, 200*time.Millisecond) // care goes on
			}
			defer eventually(t, "the engine to come back", func() bool { return e.PID() != pid }, func() any { return e.Err() })
		}
		c.kill()
		return said.check(dir)
	})
	eventually(t, "the engine to answer", func() bool { return engineAnswers(t, e) }, func() any { return e.Err() })
	s, err := openSite(dir, reach(e))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.shipRest(t, s.config())
	if err := s.compare(t.Context()); err != nil {
		t.Errorf("after %d rounds: %v", rounds, err)
	}
	t.Logf("%d records in ClickHouse", s.journal.Committed())
	differing := begin(t, "kill -9: writer, shipper, engine", "a row lost, doubled, altered")
	for _, statement := range []string{
		"ALTER TABLE matron.records UPDATE person = 'X' WHERE seq = 40 SETTINGS mutations_sync = 2",
		"INSERT INTO matron.records SETTINGS insert_deduplicate = 0 SELECT * FROM matron.records WHERE seq = 70",
		"ALTER TABLE matron.records DELETE WHERE seq = 70 SETTINGS mutations_sync = 2",
	} {
		sql(t, reach(e), statement)
		differing.trial(s.compare(t.Context()))
	}
	if differing.row.caught < 3 {
		t.Errorf("only %d of 3 differences were seen", differing.row.caught)
	}
}

func engineAnswers(t *testing.T, e *engine.Engine) bool {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", e.Addr())
	return err == nil && conn.Close() == nil
}
