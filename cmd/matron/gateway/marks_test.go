package gateway

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/cmd/matron/config"
)

// TestMarksLagBehind: a restart goes on from the marks before the last ones, and
// from the last day when they cannot be read.
func TestMarksLagBehind(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	d := &detection{
		cfg: config.Config{DataDir: t.TempDir()}, log: slog.New(slog.DiscardHandler),
		marks: map[string]uint64{"gw": 10}, before: map[string]uint64{}, kept: at,
	}
	for i, want := range []map[string]uint64{{}, {"gw": 10}, {"gw": 20}} {
		at = at.Add(markEvery)
		if err := d.keepMarks(at); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, d.readMarks()); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
		d.marks["gw"] += 10
		if err := d.keepMarks(at.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(paths{d.cfg.DataDir}.detectionMarks(), []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.readMarks(); got == nil || len(got) != 0 {
		t.Errorf("marks of nothing: %v", got)
	}
}
