package gateway

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// TestALookIsBounded: of what has come it reads so much, with an overlap, and says
// that there is more.
func TestALookIsBounded(t *testing.T) {
	marks := map[string]uint64{"calm": 10_000, "flood": 1000, "quiet": 7}
	read, upTo, more := stretches(map[string]clickhouse.Stretch{
		"calm": {After: 10_000, UpTo: 10_100}, "flood": {After: 1000, UpTo: 100_000_000}, "new": {After: 50, UpTo: 60},
	}, marks)
	want := map[string]clickhouse.Stretch{
		"calm": {After: 10_000 - detect.Overlap, UpTo: 10_100}, "flood": {After: 1000 - detect.Overlap, UpTo: 1000 + tickRecords}, "new": {After: 0, UpTo: 60},
	}
	if diff := cmp.Diff(want, read); diff != "" || !more {
		t.Error(more, diff)
	}
	if diff := cmp.Diff(map[string]uint64{"calm": 10_100, "flood": 1000 + tickRecords, "new": 60, "quiet": 7}, upTo); diff != "" {
		t.Error(diff)
	}
	if _, _, more = stretches(map[string]clickhouse.Stretch{"calm": {After: 10_000, UpTo: 10_100}}, marks); more {
		t.Error("there is more when everything is read")
	}
}

// TestWeightsThatCannotBeRead leave those before, and start nothing anew.
func TestWeightsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	d := &detection{cfg: config.Config{DataDir: dir}, log: slog.New(slog.DiscardHandler), scoring: cases.Scoring{Version: 1}}
	kept := learn.Folder(filepath.Join(dir, WeightsFolder))
	v, _, err := kept.Add(learn.Version{Parent: learn.First})
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Activate(v.Number, "somebody", time.Now()); err != nil {
		t.Fatal(err)
	}
	if d.weigh(t.Context()); d.scoring.Version != v.Number || d.scoring.Bases == nil {
		t.Errorf("the active weights are not used: %+v", d.scoring)
	}
	if err := os.WriteFile(filepath.Join(string(kept), "active.ndjson"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.weigh(t.Context()); d.scoring.Version != v.Number {
		t.Errorf("the weights before did not stay: %+v", d.scoring)
	}
}

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
