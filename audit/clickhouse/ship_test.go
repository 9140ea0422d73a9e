package clickhouse_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
)

// sql sends a statement to the engine as the real user, behind the store's back.
func sql(t testing.TB, e *engine.Engine, statement string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.Addr()+"/", strings.NewReader(statement))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(e.User(), e.Password())
	resp, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only the body counts
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s (%v)", statement, resp.StatusCode, body, err)
	}
}

// deleteRows plants a loss.
func deleteRows(t testing.TB, e *engine.Engine, where string) {
	t.Helper()
	sql(t, e, "ALTER TABLE matron.records DELETE WHERE "+where+" SETTINGS mutations_sync = 2")
}

func TestShipsOverBothProtocols(t *testing.T) {
	for _, protocol := range []string{"http", "native"} {
		t.Run(protocol, func(t *testing.T) {
			cfg := enginetest.Config(t, t.TempDir())
			cfg.Native = protocol == "native"
			s := openStore(t, enginetest.Start(t, cfg), protocol)
			d := newDisk(t)
			d.fill(1000)
			shipper := d.shipper(s, nil)
			running(t, shipper)
			verified(t, shipper)
			d.fill(250)
			verified(t, shipper)
			exact(t, s, 2500)
			st := shipper.Status()
			if st.Inserted != 2500 || st.Missing != 0 || st.Duplicates != 0 || st.Lag != 0 || st.LastError != "" || st.LastReconcile.IsZero() {
				t.Errorf("status %+v", st)
			}
		})
	}
}

// The source ends: everything is shipped first, then Run says so.
func TestRunShipsTheRestWhenTheSourceEnds(t *testing.T) {
	s, _ := newStore(t)
	d := newDisk(t)
	d.fill(700)
	src, err := d.journal.Read(1, 2000)
	if err != nil {
		t.Fatal(err)
	}
	shipper := d.shipper(s, func(c *clickhouse.ShipperConfig) { c.Source = &source{records: src, ended: errEnded} })
	if err := shipper.Run(t.Context()); !errors.Is(err, errEnded) {
		t.Errorf("Run: %v", err)
	}
	exact(t, s, 1400)
}

// kill -9 of the engine at random moments while records keep coming.
func TestExactlyOnceWhenEngineIsKilled(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	shipper := d.shipper(s, nil)
	running(t, shipper)
	for range 5 {
		d.fill(1000)
		pid := e.PID()
		time.Sleep(rand.N(250 * time.Millisecond)) // any moment will do
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the engine to come back", func() bool { return e.PID() != pid }, func() any { return e.Err() })
	}
	verified(t, shipper)
	exact(t, s, d.journal.Committed())
	if got := shipper.Status().Missing; got != 0 {
		t.Errorf("%d acknowledged rows were lost", got)
	}
}

// kill -9 of the shipper's process at random moments.
func TestExactlyOnceWhenShipperIsKilled(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(4000)
	total := d.journal.Committed()
	d.close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ship := func(limit time.Duration) bool {
		cmd := exec.CommandContext(t.Context(), exe, shipperArg, d.dir, e.Addr(), e.Password())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		line, _ := bufio.NewReader(out).ReadString('\n')
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if line != "" && line != "shipped\n" {
			t.Fatalf("shipper: %s", line)
		}
		return line != ""
	}
	kills := 0
	for range 12 {
		if ship(30*time.Millisecond + rand.N(250*time.Millisecond)) {
			break
		}
		kills++
	}
	t.Logf("killed %d times", kills)
	if !ship(2 * time.Minute) {
		t.Fatal("the last shipper did not finish")
	}
	exact(t, s, total)
}

// A ledger that is lost altogether, or whose last entry was cut off, costs a
// count and nothing else.
func TestLostLedgerDuplicatesNothing(t *testing.T) {
	s, _ := newStore(t)
	d := newDisk(t)
	d.fill(2000)
	first := d.shipper(s, nil)
	stop := running(t, first)
	verified(t, first)
	stop()
	d.close()
	whole, err := os.ReadFile(d.ledgerPath())
	if err != nil {
		t.Fatal(err)
	}
	for name, keep := range map[string]int{"lost": 0, "torn": len(whole) - 7, "half": len(whole) / 2} {
		t.Run(name, func(t *testing.T) {
			if err := os.Remove(d.ledgerPath()); err != nil {
				t.Fatal(err)
			}
			if keep > 0 {
				if err := os.WriteFile(d.ledgerPath(), whole[:keep], 0o600); err != nil {
					t.Fatal(err)
				}
			}
			d.open()
			d.fill(100)
			again := d.shipper(s, func(c *clickhouse.ShipperConfig) { c.BlockRows = 333 })
			stop := running(t, again)
			verified(t, again)
			stop()
			exact(t, s, d.journal.Committed())
			d.close()
		})
	}
}

// A journal that no longer reaches as far as the ledger was lost or put back.
func TestLedgerBeyondJournalIsRefused(t *testing.T) {
	s, _ := newStore(t)
	_, err := clickhouse.NewShipper(shipperConfig(s, &source{}, nil, nil))
	if !errors.Is(err, clickhouse.ErrConfig) {
		t.Errorf("no ledger: %v", err)
	}
	d := newDisk(t)
	for name, entries := range map[string][]string{
		"beyond":   {`{"v":1,"kind":"block","source":"gw1","first":1,"last":9,"hash":"x"}`},
		"gap":      {`{"v":1,"kind":"block","source":"gw1","first":2,"last":9,"hash":"x"}`},
		"other":    {`{"v":1,"kind":"block","source":"gw2","first":1,"last":9,"hash":"x"}`},
		"version":  {`{"v":2,"kind":"block","source":"gw1","first":1,"last":9,"hash":"x"}`},
		"garbled":  {`{"v":1,`},
		"unknown":  {`{"v":1,"kind":"?","source":"gw1","last":9}`},
		"verified": {`{"v":1,"kind":"verified","source":"gw1","last":9}`},
	} {
		t.Run(name, func(t *testing.T) {
			var payloads [][]byte
			for _, e := range entries {
				payloads = append(payloads, []byte(e))
			}
			if _, err := clickhouse.NewShipper(shipperConfig(s, d.journal, d.ledger, payloads)); !errors.Is(err, clickhouse.ErrLedger) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCondensedLedgerMeansTheSame(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(1500)
	first := d.shipper(s, nil)
	stop := running(t, first)
	verified(t, first)
	stop()
	deleteRows(t, e, "seq BETWEEN 10 AND 12")
	if err := first.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.close()
	d.open()
	short, err := clickhouse.Condense("gw1", d.entries)
	if err != nil {
		t.Fatal(err)
	}
	if len(short) >= len(d.entries) || !strings.Contains(string(short[1]), `"alarm"`) {
		t.Errorf("%d entries of %d: %s", len(short), len(d.entries), short)
	}
	d.entries = short
	d.fill(100)
	again := d.shipper(s, nil)
	running(t, again)
	verified(t, again)
	exact(t, s, d.journal.Committed())
	if got := again.Status().Inserted; got != 200 {
		t.Errorf("inserted %d, want 200", got)
	}
}

func TestReconcileFindsWhatWasPlanted(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(2000)
	shipper := d.shipper(s, func(c *clickhouse.ShipperConfig) { c.VerifyEvery = time.Hour })
	stop := running(t, shipper)
	eventually(t, "shipping", func() bool { return shipper.Status().Shipped == 4000 }, func() any { return shipper.Status() })
	stop()

	// A whole block, parts of others, across the end of the month: its tokens
	// are still known to the server, which would drop the rows again.
	deleteRows(t, e, "seq <= 500 OR seq IN (777, 1500, 1501) OR seq BETWEEN 2990 AND 3100 OR seq = 4000")
	if err := shipper.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	exact(t, s, 4000)
	if got := shipper.Status().Missing; got != 500+3+111+1 {
		t.Errorf("missing %d", got)
	}

	// The same rows vanish once more, after they were verified.
	deleteRows(t, e, "seq <= 500")
	if err := shipper.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	exact(t, s, 4000)

	sql(t, e, "INSERT INTO matron.records SETTINGS insert_deduplicate = 0 SELECT * FROM matron.records WHERE seq BETWEEN 5 AND 14")
	if err := shipper.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := shipper.Status().Duplicates; got != 10 {
		t.Errorf("duplicates %d, want 10", got)
	}
	gaps, err := s.Gaps(t.Context(), "gw1")
	if want := (clickhouse.Gaps{Source: "gw1", First: 1, Last: 4000, Count: 4010, Duplicates: 10}); err != nil || gaps != want {
		t.Errorf("got %+v, %v, want %+v", gaps, err, want)
	}

	sql(t, e, "INSERT INTO matron.records (source, seq, time) VALUES ('gw1', 5000, now64(6))")
	if err := shipper.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := shipper.Status().Beyond; got != 5000 {
		t.Errorf("beyond %d, want 5000", got)
	}
	alarms := d.alarms()
	for _, code := range []string{"rows-missing", "rows-duplicated", "rows-beyond-journal"} {
		if alarms[code] == 0 {
			t.Errorf("the ledger holds no alarm %s: %v", code, alarms)
		}
	}
}

// alarms counts the alarms in the ledger by code.
func (d *disk) alarms() map[string]int {
	d.t.Helper()
	d.close()
	d.open()
	codes := make(map[string]int)
	for _, p := range d.entries {
		var e struct{ Kind, Code string }
		if err := json.Unmarshal(p, &e); err != nil {
			d.t.Fatal(err)
		}
		if e.Kind == "alarm" {
			codes[e.Code]++
		}
	}
	return codes
}

// The table is wiped: the journal is the record and fills it again.
func TestWipedTableIsRebuilt(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(1000)
	shipper := d.shipper(s, nil)
	stop := running(t, shipper)
	verified(t, shipper)
	stop()
	sql(t, e, "TRUNCATE TABLE matron.records")
	if err := shipper.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	exact(t, s, 2000)
}

// A partition is dropped behind the shipper's back, over both protocols: it is
// filled again from the journal and reported.
func TestDroppedPartitionIsRefilled(t *testing.T) {
	for _, protocol := range []string{"http", "native"} {
		t.Run(protocol, func(t *testing.T) {
			cfg := enginetest.Config(t, t.TempDir())
			cfg.Native = protocol == "native"
			e := enginetest.Start(t, cfg)
			s := openStore(t, e, protocol)
			d := newDisk(t)
			d.fill(1700)
			shipper := d.shipper(s, nil)
			stop := running(t, shipper)
			verified(t, shipper)
			stop()
			before, err := s.Bounds(t.Context(), "gw1")
			if err != nil || before.Count != 3400 {
				t.Fatal(before, err)
			}
			sql(t, e, "ALTER TABLE matron.records DROP PARTITION 202610")
			after, err := s.Bounds(t.Context(), "gw1")
			if err != nil || after.Count == 0 || after.Count == before.Count {
				t.Fatal(after, err)
			}
			if err := shipper.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			exact(t, s, 3400)
			if got := shipper.Status().Missing; got != before.Count-after.Count {
				t.Errorf("%d rows missing, want %d", got, before.Count-after.Count)
			}
			if alarms := d.alarms(); alarms["rows-missing"] == 0 {
				t.Errorf("alarms %v", alarms)
			}
		})
	}
}

// A journal that was altered after its block was cut is not shipped.
func TestAlteredJournalIsNotShipped(t *testing.T) {
	s, _ := newStore(t)
	d := newDisk(t)
	d.fill(10)
	records, err := d.journal.Read(1, 20)
	if err != nil {
		t.Fatal(err)
	}
	src := &source{records: records}
	ledger := failing{fail: true}
	cut, err := clickhouse.NewShipper(shipperConfig(s, src, &ledger, nil))
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, cut)
	eventually(t, "the ledger to fail", func() bool { return cut.Status().LastError == clickhouse.CodeLedger }, func() any { return cut.Status() })
	stop()
	counts, err := s.Counts(t.Context())
	if err != nil || len(counts) != 0 {
		t.Errorf("rows were sent that the ledger does not know: %v, %v", counts, err)
	}
	records[3].Person = "somebody else"
	altered, err := clickhouse.NewShipper(shipperConfig(s, src, d.ledger, [][]byte{ledger.last}))
	if err != nil {
		t.Fatal(err)
	}
	running(t, altered)
	eventually(t, "the alteration to be seen", func() bool { return altered.Status().LastError == clickhouse.CodeContent }, func() any { return altered.Status() })
	if counts, err := s.Counts(t.Context()); err != nil || len(counts) != 0 {
		t.Errorf("an altered record was shipped: %v, %v", counts, err)
	}
}

// failing is a ledger whose disk is full: nothing is persisted.
type failing struct {
	fail bool
	last []byte
}

func (f *failing) Append(p []byte) error {
	f.last = p
	if f.fail {
		return syscall.ENOSPC
	}
	return nil
}

// While ClickHouse is down the status says how far behind it is.
// hazard:GW-12 control:C-51
func TestStatusWhileClickHouseIsDown(t *testing.T) {
	s, err := dial("127.0.0.1:"+strconv.Itoa(1), "http", "matron", "")
	if err != nil {
		t.Fatal(err)
	}
	d := newDisk(t)
	d.fill(5)
	shipper := d.shipper(s, func(c *clickhouse.ShipperConfig) {
		c.Now = func() time.Time { return start().Add(time.Hour) }
	})
	running(t, shipper)
	eventually(t, "an error", func() bool { return shipper.Status().LastError != "" && shipper.Status().LagAge > 0 }, func() any { return shipper.Status() })
	st := shipper.Status()
	want := clickhouse.Status{Committed: 10, Lag: 10, LagAge: time.Hour - 20*time.Millisecond, LastError: clickhouse.CodeUnreachable}
	if st != want {
		t.Errorf("got %+v, want %+v", st, want)
	}
	if err := s.Ping(context.Background()); err == nil {
		t.Error("Ping says that nothing is wrong")
	}
}
