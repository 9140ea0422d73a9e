package clickhouse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
)

// rebuildArg makes the test binary a process that rebuilds the table.
const rebuildArg = "rebuild"

func rebuildConfig(t testing.TB, dir string) clickhouse.RebuildConfig {
	t.Helper()
	r, err := journal.OpenReader(journalConfig(dir).Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return clickhouse.RebuildConfig{Source: r, BlockRows: 500}
}

// sameAsJournal fails unless every row is what the journal has, the nonce aside.
func (d *disk) sameAsJournal(s *clickhouse.Store, n uint64) {
	d.t.Helper()
	want, err := d.journal.Read(1, int(n))
	if err != nil {
		d.t.Fatal(err)
	}
	seq := uint64(0)
	err = s.Each(d.t.Context(), "gw1", 1, n, func(r *audit.Record) error {
		seq++
		w := want[seq-1]
		w.Nonce = [16]byte{}
		if string(w.MarshalCanonical()) != string(r.MarshalCanonical()) {
			return fmt.Errorf("record %d: %s", seq, cmp.Diff(w, *r))
		}
		return nil
	})
	if err != nil || seq != n {
		d.t.Fatalf("%d rows of %d are the journal's: %v", seq, n, err)
	}
}

// Every sort of damage is undone beside a running shipper; rows of another
// gateway stay; what comes after the exchange is shipped into the new table.
func TestRebuildUndoesDamageBesideARunningShipper(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(1600)
	d.fill(1) // what is not followed by another group commit is not certain
	shipper := d.shipper(s, nil)
	running(t, shipper)
	verified(t, shipper)
	sql(t, e, "INSERT INTO matron.records (source, seq, time, person) SELECT 'gw2', number + 1, now64(6), 'other' FROM numbers(100)")
	sql(t, e, "ALTER TABLE matron.records UPDATE person = 'nobody' WHERE source = 'gw1' AND seq BETWEEN 100 AND 900 SETTINGS mutations_sync = 2")
	sql(t, e, "INSERT INTO matron.records SETTINGS insert_deduplicate = 0 SELECT * FROM matron.records WHERE seq BETWEEN 5 AND 14")
	deleteRows(t, e, "source = 'gw1' AND seq BETWEEN 2000 AND 2600")
	var shown []uint64
	cfg := rebuildConfig(t, d.dir)
	cfg.Progress = func(done, total uint64) {
		if len(shown) == 0 {
			sql(t, e, "SELECT throwIf("+held+" != 1) FROM system.tables WHERE database = 'matron' AND name = 'records_rebuild'")
		}
		shown = append(shown, done, total)
	}
	got, err := s.Rebuild(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.fill(50)
	verified(t, shipper)
	n := d.journal.Committed()
	eventually(t, "the shipper to notice the new table", func() bool {
		b, err := s.Bounds(t.Context(), "gw1")
		return err == nil && b.Count == n
	}, func() any { return shipper.Status() })
	exact(t, s, n)
	d.sameAsJournal(s, d.journal.Committed())
	if len(shown) < 4 || shown[0] != 0 || shown[len(shown)-2] != shown[len(shown)-1] {
		t.Errorf("progress %v", shown)
	}
	if got.Inserted != got.Last || !got.Replaced || got.Kept != 110 && got.Kept != 100 {
		t.Errorf("did %+v", got)
	}
	other, err := s.Bounds(t.Context(), "gw2")
	if want := (clickhouse.Bounds{Source: "gw2", First: 1, Last: 100, Count: got.Kept}); err != nil || other != want {
		t.Errorf("got %+v, %v, want %+v", other, err, want)
	}
	sql(t, e, "SELECT throwIf(count() > 0) FROM system.tables WHERE database = 'matron' AND (name = 'records_rebuild' OR comment != '' OR "+held+")")
}

// held is true of a table whose parts are not merged.
const held = "create_table_query LIKE '%max_bytes_to_merge_at_max_space_in_pool = 1%'"

// kill -9 at any moment, again and again: the next run goes on, and the end is exact.
func TestRebuildGoesOnAfterKill(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(6000)
	d.close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(limit time.Duration) bool {
		cmd := exec.CommandContext(t.Context(), exe, rebuildArg, d.dir, e.Addr(), e.Password())
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
		_ = cmd.Wait()
		if line != "" && line != "rebuilt\n" {
			t.Fatalf("rebuild: %s", line)
		}
		return line != ""
	}
	kills := 0
	for range 12 {
		if run(50*time.Millisecond + rand.N(400*time.Millisecond)) {
			break
		}
		kills++
	}
	t.Logf("killed %d times", kills)
	if !run(2 * time.Minute) {
		t.Fatal("the last run did not finish")
	}
	exact(t, s, 12000)
	sql(t, e, "SELECT throwIf(count() > 0) FROM system.tables WHERE database = 'matron' AND "+held)
	d.open()
	d.sameAsJournal(s, 12000)
}

// rebuildAll is the life of a process that rebuilds the table.
func rebuildAll(dir, addr, password string) {
	err := func() error {
		r, err := journal.OpenReader(journalConfig(dir).Dir)
		if err != nil {
			return err
		}
		s, err := dial(addr, "http", "matron", password)
		if err != nil {
			return err
		}
		_, err = s.Rebuild(context.Background(), clickhouse.RebuildConfig{Source: r, BlockRows: 500})
		return err
	}()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("rebuilt")
}

// Cut off on either side of the exchange, and with the table gone altogether.
func TestRebuildKnowsWhichTableIsNew(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(700)
	d.fill(1)
	cfg := rebuildConfig(t, d.dir)
	if got, err := s.Rebuild(t.Context(), cfg); err != nil || got.Inserted != 1400 {
		t.Fatal(got, err)
	}
	const comment = "'matron: rebuilt from the journal, not yet confirmed'"
	// Behind the exchange: the old table, damaged, is beside.
	sql(t, e, "CREATE TABLE matron.records_rebuild AS matron.records")
	sql(t, e, "ALTER TABLE matron.records MODIFY COMMENT "+comment)
	if got, err := s.Rebuild(t.Context(), cfg); err != nil || got.Inserted != 0 || !got.Replaced {
		t.Fatal(got, err)
	}
	exact(t, s, 1400)
	// The table is lost, and half of a new one is there.
	sql(t, e, "DROP TABLE matron.records SYNC")
	sql(t, e, "CREATE TABLE matron.records_rebuild (x UInt8) ENGINE = MergeTree ORDER BY x")
	if got, err := s.Rebuild(t.Context(), cfg); err != nil || got.Inserted != 1400 {
		t.Fatal(got, err)
	}
	d.sameAsJournal(s, 1400)
}

// short is a journal that lacks its end.
type short struct {
	clickhouse.RebuildSource
	have uint64
}

func (s short) Walk(from uint64, limit int, visit func(*audit.Record, []byte) bool) error {
	if from+uint64(limit) > s.have {
		return journal.ErrCorrupt
	}
	return s.RebuildSource.Walk(from, limit, visit)
}

// A journal that cannot be read, a cancelled run and rows that came twice leave
// the table in use as it was.
func TestRebuildThatFailsChangesNothing(t *testing.T) {
	s, e := newStore(t)
	d := newDisk(t)
	d.fill(1000)
	d.fill(1)
	shipper := d.shipper(s, nil)
	stop := running(t, shipper)
	verified(t, shipper)
	stop()
	cfg := rebuildConfig(t, d.dir)
	broken := cfg
	broken.Source = short{cfg.Source, 1200}
	if _, err := s.Rebuild(t.Context(), broken); !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("damaged journal: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := cfg
	cancelled.Progress = func(_, _ uint64) { cancel() }
	if _, err := s.Rebuild(ctx, cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	sql(t, e, "INSERT INTO matron.records_rebuild SETTINGS insert_deduplicate = 0 SELECT * EXCEPT (twice) FROM matron.records ARRAY JOIN [1, 2] AS twice WHERE seq <= 3")
	if _, err := s.Rebuild(t.Context(), cfg); !errors.Is(err, clickhouse.ErrRebuild) {
		t.Errorf("twice: %v", err)
	}
	exact(t, s, 2002)
	if got, err := s.Rebuild(t.Context(), cfg); err != nil || !got.Replaced {
		t.Errorf("got %+v, %v", got, err)
	}
	exact(t, s, 2000)
}
