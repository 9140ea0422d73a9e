package clickhouse_test

import (
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
)

// Whoever checks ClickHouse sees what is really there: rows that came twice,
// rows beyond the journal, holes and values that were changed.
func TestEachShowsWhatIsReallyThere(t *testing.T) {
	s, e := newStore(t)
	load(t, s, hospital())
	sql(t, e, "INSERT INTO matron.records SETTINGS insert_deduplicate = 0 SELECT * FROM matron.records WHERE seq = 3")
	sql(t, e, "INSERT INTO matron.records (source, seq, time, person) VALUES ('gw1', 18446744073709551615, now64(6), 'planted'), ('gw1', 700000, now64(6), 'far')")
	sql(t, e, "ALTER TABLE matron.records UPDATE person = 'changed' WHERE seq = 7 SETTINGS mutations_sync = 2")
	deleteRows(t, e, "seq = 9")
	type seen struct {
		Seq    uint64
		Person string
	}
	var got []seen
	collect := func(r *audit.Record) error {
		got = append(got, seen{r.Seq, r.Person})
		return nil
	}
	if err := s.Each(t.Context(), "gw1", 1, math.MaxUint64, collect); err != nil {
		t.Fatal(err)
	}
	want := []seen{
		{1, "N1"},
		{2, ""},
		{3, "N2"},
		{3, "N2"},
		{4, ""},
		{5, "N1"},
		{6, "N1"},
		{7, "changed"},
		{8, ""},
		{10, "N1"},
		{11, "N1"},
		{700000, "far"},
		{math.MaxUint64, "planted"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	if err := s.Each(t.Context(), "gw1", 3, 4, collect); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[2:5], got); diff != "" {
		t.Error(diff)
	}
	stop := errors.New("stop")
	if err := s.Each(t.Context(), "gw1", 1, 9, func(*audit.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of visit: %v", err)
	}

	sources, err := s.Sources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := clickhouse.Bounds{Source: "gw1", First: 1, Last: math.MaxUint64, Count: 13}
	if diff := cmp.Diff([]clickhouse.Bounds{all}, sources); diff != "" {
		t.Error(diff)
	}
	for source, want := range map[string]clickhouse.Bounds{"gw1": all, "gw2": {Source: "gw2"}} {
		if got, err := s.Bounds(t.Context(), source); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}
