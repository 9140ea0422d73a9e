package gateway

import (
	"path/filepath"
	"testing"

	"github.com/matron-epr/matron/audit/clickhouse"
)

func TestLongLedgerIsCondensed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	same, err := clickhouse.Condense("gw1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeLedger(path, append(append(same, same...), same...)); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ limit, entries int }{{3, 3}, {2, len(same)}, {2, len(same)}} {
		ledger, entries, err := openLedger(path, "gw1", row.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != row.entries {
			t.Errorf("limit %d: %d entries, want %d", row.limit, len(entries), row.entries)
		}
		if err := ledger.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLedgerThatCannotBeReplacedStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	same, err := clickhouse.Condense("gw1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeLedger(path, append(same, same...)); err != nil {
		t.Fatal(err)
	}
	tooLarge := make([]byte, 64<<20)
	if err := replaceLedger(path, [][]byte{same[0], tooLarge}); err == nil {
		t.Fatal("an entry that no ledger takes was taken")
	}
	if _, entries, err := openLedger(path, "gw1", 2); err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v, want the 2 that were there", len(entries), err)
	}
}
