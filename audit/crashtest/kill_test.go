package crashtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/journal"
)

// TestKill9LosesNothing kills a process that writes a journal, again and again.
func TestKill9LosesNothing(t *testing.T) {
	rounds := 8
	if *full {
		rounds = 50
	}
	t.Run("Matron as it is", func(t *testing.T) {
		dir, said := newJournal(t)
		begin(t, "kill -9: journal", "").each(rounds, func(n int) error { return killed(t, dir, said, n, "") })
	})
	// kill -9 leaves the kernel's pages alone, so that it cannot see a missing
	// fsync, only what was still in the process.
	t.Run("early", func(t *testing.T) {
		begin(t, "kill -9: journal", "acknowledged before it was written").until(20, func(n int) error {
			dir, said := newJournal(t)
			return killed(t, dir, said, n, "early")
		})
	})
}

func newJournal(t *testing.T) (string, *told) {
	t.Helper()
	dir := t.TempDir()
	if err := journal.Create(journalConfig(dir, 1<<16)); err != nil {
		t.Fatal(err)
	}
	return dir, newTold()
}

// killed is one round: the journal goes on, is killed, and is looked at.
func killed(t *testing.T, dir string, said *told, round int, variant string) error {
	t.Helper()
	c := start(t, said, nil, loadDriver, dir, fmt.Sprint(round), variant)
	c.until(20, 50*time.Millisecond)
	c.kill()
	return said.check(dir)
}
