package clickhouse_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSinceGivesWhatStandsBehindAPlace of a source that is known, and what is not
// too old of the others.
func TestSinceGivesWhatStandsBehindAPlace(t *testing.T) {
	s, _ := newStore(t)
	load(t, s, hospital())
	for name, row := range map[string]struct {
		after map[string]uint64
		from  time.Time
		limit int
		want  []uint64
	}{
		"nothing known":     {nil, start(), 100, []uint64{1, 3, 5, 6, 7, 9, 11}},
		"from a time on":    {nil, start().Add(5 * time.Second), 100, []uint64{6, 7, 9, 11}},
		"behind a place":    {map[string]uint64{"gw1": 5}, start().Add(time.Hour), 100, []uint64{6, 7, 9, 11}},
		"another is known":  {map[string]uint64{"gw2": 5}, start(), 2, []uint64{1, 3}},
		"all has been seen": {map[string]uint64{"gw1": 11, "gw2": 1}, start(), 100, nil},
		"a part of it":      {map[string]uint64{"gw1": 2}, start(), 3, []uint64{3, 5, 6}},
	} {
		got, err := s.Since(t.Context(), row.after, row.from, row.limit)
		if err != nil {
			t.Fatal(err)
		}
		var seqs []uint64
		for i := range got {
			seqs = append(seqs, got[i].Seq)
		}
		if d := cmp.Diff(row.want, seqs); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
