package crashtest

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/journal"
)

// TestPowerCutShipsExactlyOnce cuts the power of the disk on which ClickHouse
// keeps its data, every second time with the journal on it too. Afterwards the
// shipper makes ClickHouse equal to the journal again: nothing lost, nothing
// twice. What ClickHouse had acknowledged before the cut was on its disk.
func TestPowerCutShipsExactlyOnce(t *testing.T) {
	t.Run("Matron as it is", func(t *testing.T) {
		begin(t, "power cut: ClickHouse", "").each((powerTrials(3)+1)/2, func(n int) error { return indexPowerCut(t, n, "") })
	})
	t.Run("no fsync", func(t *testing.T) {
		begin(t, "power cut: ClickHouse", "table without fsync").until(3, func(n int) error {
			return indexPowerCut(t, n, "ALTER TABLE matron.records MODIFY SETTING fsync_after_insert = 0, fsync_part_directory = 0")
		})
	})
}

// indexPowerCut is one trial. The statement plants a bug.
func indexPowerCut(t *testing.T, n int, statement string) error {
	t.Helper()
	d := newDisk(t, 400)
	defer d.unmount()
	dir := t.TempDir()
	if n%2 == 1 {
		dir = filepath.Join(d.dir, "site")
	}
	if err := journal.Create(journalConfig(dir, 1<<16)); err != nil {
		t.Fatal(err)
	}
	said := newTold()
	shipped := untilPowerCut(t, d, dir, said, statement)
	if err := said.check(dir); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	e, err := engine.Start(t.Context(), enginetest.Config(t, filepath.Join(d.dir, "engine")))
	if err != nil {
		return fmt.Errorf("after the cut: %w", err)
	}
	defer e.Close() //nolint:errcheck // all is said by then
	there, err := strconv.ParseUint(sql(t, reach(e), fmt.Sprintf("SELECT uniqExact(seq) FROM matron.records WHERE seq <= %d", shipped)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSite(dir, reach(e))
	if err != nil {
		return fmt.Errorf("after the cut: %w", err)
	}
	defer s.close()
	s.shipRest(t, s.config())
	if err := s.compare(t.Context()); err != nil {
		return err
	}
	if there < shipped {
		return fmt.Errorf("ClickHouse had acknowledged %d rows and had lost %d of them, which the journal replaced", shipped, shipped-there)
	}
	return nil
}

// untilPowerCut fills the journal and ships it until the power is cut, and
// returns up to which record ClickHouse had acknowledged all by then.
func untilPowerCut(t *testing.T, d *disk, dir string, said *told, statement string) (shipped uint64) {
	t.Helper()
	e, err := engine.Start(t.Context(), enginetest.Config(t, filepath.Join(d.dir, "engine")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSite(dir, reach(e))
	if err != nil {
		t.Fatal(err)
	}
	if statement != "" {
		sql(t, reach(e), statement)
	}
	shipper, stop := s.ship(t, s.config())
	enough := 1000 + rand.Uint64N(4000)
	over := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() { fill(s.journal, said, over) })
	eventually(t, "rows to be shipped", func() bool { return shipper.Status().Shipped > enough }, func() any { return shipper.Status() })
	shipped = shipper.Status().Shipped
	said.cut.Store(true)
	d.cutPower()
	_ = syscall.Kill(e.PID(), syscall.SIGKILL) // with its disk gone it may have ended by itself
	close(over)
	writers.Wait()
	stop()
	s.close()
	_ = e.Close() // it was killed
	d.powerOn()
	return shipped
}

// fill appends until over is closed or the disk is gone.
func fill(j *journal.Journal, said *told, over <-chan struct{}) {
	for n := uint64(1); ; n += 20 {
		records := events(n, 20)
		if err := appendOne(j, false, records); err != nil {
			return
		}
		for _, text := range lines("ack", records) {
			_ = said.hear(text) // it is one of ours
		}
		select {
		case <-over:
			return
		case <-time.After(time.Millisecond):
		}
	}
}
