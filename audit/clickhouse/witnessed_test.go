package clickhouse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// TestWitnessed: people's accesses of one site, oldest first, with where they
// happened and whether the exchange failed; machines and other times are left out.
func TestWitnessed(t *testing.T) {
	s, _ := newStore(t)
	records := hospital()
	records[0].Device, records[0].Session, records[0].Screen = "PC-1", "s1", "results"
	records[8].Detail = []string{audit.DetailMachine}
	load(t, s, records)
	var seqs, failed []uint64
	err := s.Witnessed(t.Context(), "RBA", start(), start().Add(time.Hour), func(r *audit.Record) error {
		seqs = append(seqs, r.Seq)
		if r.Outcome != "" {
			failed = append(failed, r.Seq)
		}
		if r.Seq == 1 && (r.Person != "N1" || r.Patient != "P1" || r.Device != "PC-1" || r.Session != "s1" || r.Screen != "results" || r.Effect != "allow") {
			t.Errorf("%+v", r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]uint64{1, 3, 5, 6, 7}, seqs); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]uint64{3, 5, 6, 7}, failed); d != "" {
		t.Error(d)
	}
	stop := errors.New("stop")
	if err := s.Witnessed(t.Context(), "RBA", start(), start().Add(time.Hour), func(*audit.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}
