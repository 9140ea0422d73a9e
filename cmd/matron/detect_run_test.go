package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/cmd/matron/demo/simulate"
)

// TestDetectRunOverAFolder writes cases that can be shown, exported and evaluated.
func TestDetectRunOverAFolder(t *testing.T) {
	dir := t.TempDir()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	c := simulate.Default(1, time.Date(2026, 9, 1, 0, 0, 0, 0, zone))
	c.Staff, c.Days = 120, 14
	if _, err := simulate.Run(t.Context(), c, dir, func(int) {}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		root := newRoot()
		root.SetOut(&out)
		root.SetErr(&bytes.Buffer{})
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out.String()
	}
	run("detect", "run", "--run", dir, "--dry-run")
	if _, err := os.Stat(filepath.Join(dir, casesFile)); !os.IsNotExist(err) {
		t.Errorf("a dry run left cases: %v", err)
	}
	run("detect", "run", "--run", dir)
	first := run("alerts", "export", "--json", "--run", dir)
	all, err := cases.Read(strings.NewReader(first))
	if err != nil || len(all) < 5 {
		t.Fatalf("%d cases, %v", len(all), err)
	}
	if shown := run("alerts", "show", all[0].ID, "--run", dir); !strings.Contains(shown, "Why flagged") || !strings.Contains(shown, all[0].Sentences[0]) {
		t.Errorf("shown: %s", shown)
	}
	run("detect", "run", "--run", dir)
	if again := run("alerts", "export", "--json", "--run", dir); again != first {
		t.Error("the same input gave other cases")
	}
	if report := run("detect", "evaluate", "--run", dir, "--cases", casesFile); !strings.Contains(report, "PRECISION") {
		t.Errorf("evaluated: %s", report)
	}
}
