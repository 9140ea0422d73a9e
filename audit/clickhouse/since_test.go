package clickhouse_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
)

// TestAheadSaysWhatIsBehindAPlace of a source that is known, and what is not too old
// of the others.
func TestAheadSaysWhatIsBehindAPlace(t *testing.T) {
	s, _ := newStore(t)
	load(t, s, hospital())
	for name, row := range map[string]struct {
		after map[string]uint64
		from  time.Time
		want  map[string]clickhouse.Stretch
	}{
		"nothing known":     {nil, start(), map[string]clickhouse.Stretch{"gw1": {After: 0, UpTo: 11}}},
		"behind a place":    {map[string]uint64{"gw1": 5}, start().Add(time.Hour), map[string]clickhouse.Stretch{"gw1": {After: 5, UpTo: 11}}},
		"another is known":  {map[string]uint64{"gw2": 5}, start(), map[string]clickhouse.Stretch{"gw1": {After: 0, UpTo: 11}}},
		"all has been seen": {map[string]uint64{"gw1": 11}, start(), map[string]clickhouse.Stretch{}},
		"too old, but one":  {nil, start().Add(time.Hour), map[string]clickhouse.Stretch{"gw1": {After: 10, UpTo: 11}}},
	} {
		got, err := s.Ahead(t.Context(), row.after, row.from)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(row.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestFollowLeavesOutWhatIsAlike and tells of people's accesses and of failures.
func TestFollowLeavesOutWhatIsAlike(t *testing.T) {
	s, _ := newStore(t)
	records := hospital()
	records[0].Device, records[0].Session, records[0].Screen = "PC-1", "s1", "results"
	last := uint64(len(records))
	for range 50 { // one record again and again
		records = append(records, records[0])
	}
	machine := records[0]
	machine.Detail = []string{audit.DetailMachine}
	records = append(records, machine)
	load(t, s, records)
	visit := func(out *[]uint64) func(*audit.Record) {
		return func(r *audit.Record) {
			seq := r.Seq
			if r.Kind == audit.KindOutcome {
				seq = r.Decision * 1000
			}
			*out = append(*out, seq)
			if r.Seq == 1 && (r.Person != "N1" || r.Patient != "P1" || r.Device != "PC-1" || r.Session != "s1" || r.Screen != "results" || r.Effect != "allow") {
				t.Errorf("%+v", r)
			}
		}
	}
	var got []uint64
	if err := s.Follow(t.Context(), "RBA", map[string]clickhouse.Stretch{"gw1": {After: 0, UpTo: last}}, visit(&got)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]uint64{1, 3, 3000, 5, 6, 7, 5000, 9}, got); d != "" { // 11 is of another site
		t.Error(d)
	}
	var again []uint64
	if err := s.Follow(t.Context(), "RBA", map[string]clickhouse.Stretch{"gw1": {After: last, UpTo: last + 51}}, visit(&again)); err != nil {
		t.Fatal(err)
	}
	if len(again) != 20 || slices.Contains(again, last+51) {
		t.Errorf("one record fifty times, and by a machine: %v", again)
	}
	if err := s.Follow(t.Context(), "RBA", nil, func(*audit.Record) { t.Error("visited of nothing") }); err != nil {
		t.Error(err)
	}
	var day []uint64
	if err := s.Recall(t.Context(), "RBA", start(), start().Add(time.Hour), map[string]uint64{"gw1": 5}, visit(&day)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]uint64{1, 3, 3000, 5}, day); d != "" {
		t.Error(d)
	}
}

// TestLastSeen of each person, before a time.
func TestLastSeen(t *testing.T) {
	s, _ := newStore(t)
	load(t, s, hospital())
	seen, since, err := s.LastSeen(t.Context(), "RBA", start().Add(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]time.Time{"N1": start().Add(4 * time.Second), "N2": start().Add(2 * time.Second)}
	if d := cmp.Diff(want, seen); d != "" || !since.Equal(start()) {
		t.Errorf("since %s: %s", since, d)
	}
}
