package clickhouse_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/journal"
)

// TestDisposeDeletesAllButWhatIsKept with more kept numbers than one statement
// names; rows of other sources and behind the stretch stay.
func TestDisposeDeletesAllButWhatIsKept(t *testing.T) {
	s, e := newStore(t)
	sql(t, e, "INSERT INTO matron.records (source, seq, time) SELECT 'gw1', number + 1, toDateTime64('2010-01-01 00:00:00', 6, 'UTC') + number * 60 FROM numbers(60000)")
	sql(t, e, "INSERT INTO matron.records (source, seq, time) SELECT 'gw2', number + 1, toDateTime64('2010-01-01 00:00:00', 6, 'UTC') FROM numbers(100)")
	var kept []uint64
	for seq := uint64(2); seq <= 50_000; seq += 2 {
		kept = append(kept, seq)
	}
	for range 2 { // again is no harm
		if err := s.Dispose(t.Context(), "gw1", 1, 50_001, kept); err != nil {
			t.Fatal(err)
		}
		var got []uint64
		if err := s.Each(t.Context(), "gw1", 1, 60_000, func(r *audit.Record) error { got = append(got, r.Seq); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(got) != 25_000+9_999 {
			t.Fatalf("%d rows", len(got))
		}
		for i, seq := range got {
			if want := uint64(i+1) * 2; i < 25_000 && seq != want || i >= 25_000 && seq != uint64(i-25_000)+50_002 {
				t.Fatalf("row %d is %d", i, seq)
			}
		}
	}
	if b, err := s.Bounds(t.Context(), "gw2"); err != nil || b.Count != 100 {
		t.Errorf("another source: %+v, %v", b, err)
	}
}

// disposing is a journal of which a stretch is disposed of while its rows are
// being counted.
type disposing struct {
	*journal.Journal
	store  *clickhouse.Store
	asked  atomic.Int64
	t      *testing.T
	oldest uint64
}

func (d *disposing) Oldest() uint64 {
	if d.asked.Add(1) > 1 {
		return d.oldest
	}
	if err := d.store.Dispose(d.t.Context(), "gw1", 1, d.oldest-1, nil); err != nil {
		d.t.Error(err)
	}
	return 1
}

// TestRowsDisposedOfAreNotMissing: neither alarm nor refill, whenever the
// shipper looks.
func TestRowsDisposedOfAreNotMissing(t *testing.T) {
	s, _ := newStore(t)
	d := newDisk(t)
	d.fill(300)
	shipper := d.shipper(s, nil)
	stop := running(t, shipper)
	verified(t, shipper)
	stop()
	entries, err := journal.ReadLedger(d.ledgerPath())
	if err != nil {
		t.Fatal(err)
	}
	d.entries = entries
	source := &disposing{Journal: d.journal, store: s, t: t, oldest: 201}
	again := d.shipper(s, func(c *clickhouse.ShipperConfig) { c.Source = source })
	for range 2 {
		if err := again.Reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if st := again.Status(); st.Missing > 0 || source.asked.Load() < 3 {
		t.Errorf("%+v after %d questions", st, source.asked.Load())
	}
	if b, err := s.Bounds(t.Context(), "gw1"); err != nil || b.First != 201 || b.Count != 400 {
		t.Errorf("%+v, %v", b, err)
	}
	entries, err = journal.ReadLedger(d.ledgerPath())
	if err != nil || strings.Contains(fmt.Sprintf("%s", entries), "alarm") {
		t.Errorf("alarm in %s, %v", entries, err)
	}
}
