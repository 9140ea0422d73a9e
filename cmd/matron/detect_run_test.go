package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	for _, file := range []string{casesFile, runsFile} {
		if _, err := os.Stat(filepath.Join(dir, file)); !os.IsNotExist(err) {
			t.Errorf("a dry run left %s: %v", file, err)
		}
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
	templates := map[string]bool{}
	for i := range all {
		for _, e := range all[i].Explanations {
			templates[e.Template] = true
		}
	}
	if !templates["T10"] && !templates["T11"] && !templates["T9"] {
		t.Errorf("what the other looks say is in no case: %v", templates)
	}
	run("detect", "run", "--run", dir)
	checkRuns(t, dir, len(all))
	if again := run("alerts", "export", "--json", "--run", dir); again != first {
		t.Error("the same input gave other cases")
	}
	if report := run("detect", "evaluate", "--run", dir, "--cases", casesFile); !strings.Contains(report, "PRECISION") {
		t.Errorf("evaluated: %s", report)
	}
}

// checkRuns looks at the record of two runs over a folder: who, what and over which
// bytes.
func checkRuns(t *testing.T, dir string, made int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, runsFile))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), b)
	}
	for _, line := range lines {
		var r runRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if who, _ := account(); r.By != who || r.Command != "detect run" || r.Cases != made || r.Detectors["own-record"] == 0 || r.Options["seed"] != "1" || r.At.IsZero() {
			t.Errorf("%+v", r)
		}
		if len(r.Inputs) != 6 {
			t.Errorf("inputs %v", r.Inputs)
		}
		for name, sum := range r.Inputs {
			in, err := os.ReadFile(filepath.Join(dir, name))
			if is := sha256.Sum256(in); err != nil || hex.EncodeToString(is[:]) != sum {
				t.Errorf("%s: %v, or another hash", name, err)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(dir, runsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestNoCasesWithoutARecordOfTheRun when the record cannot be written.
func TestNoCasesWithoutARecordOfTheRun(t *testing.T) {
	dir := t.TempDir()
	c := simulate.Default(1, time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC))
	c.Staff, c.Days = 60, 7
	if _, err := simulate.Run(t.Context(), c, dir, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, runsFile), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"run", "baseline"} {
		root := newRoot()
		root.SetOut(&bytes.Buffer{})
		root.SetErr(&bytes.Buffer{})
		root.SetArgs([]string{"detect", command, "--run", dir})
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "record the run") {
			t.Errorf("%s: %v", command, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*cases*"))
	more, _ := filepath.Glob(filepath.Join(dir, "baseline-*"))
	if err != nil || len(left)+len(more) != 0 {
		t.Errorf("written all the same: %v %v %v", left, more, err)
	}
}
