package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
)

func TestExportSaysWhatIsMissing(t *testing.T) {
	for args, want := range map[string]string{
		"":                              "at least one of the flags",
		"--patient P1 --case 9":         "none of the others can be",
		"--patient P1":                  "name it with --out",
		"--case 9 --format fhir-ndjson": "--case is for packs",
		"--patient P1 --format carrier": "--format carrier is not one of: pack, fhir-ndjson",
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{"audit", "export"}, strings.Fields(args)...), nil, &out, &errs)
		if code != exitUsage || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: code %d, %q", args, code, errs.String())
		}
	}
}

func TestExportPeriod(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 11, d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		from, to  string
		begin     time.Time
		end       time.Time
		wantError string
	}{
		{"", "", time.Time{}, time.Time{}, ""},
		{"2026-11-01", "2026-11-02", day(1), day(3), ""}, // the last day counts
		{"2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", day(1), day(2), ""},
		{"2026-11", "2026-11", day(1), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), ""},
		{"1.11.2026", "", time.Time{}, time.Time{}, "--from 1.11.2026: write it like 2026-11-25"},
		{"", "soon", time.Time{}, time.Time{}, "--to soon: write it like 2026-11-25"},
		{"2026-11-03", "2026-11-02", time.Time{}, time.Time{}, "--to 2026-11-02 is not after --from 2026-11-03"},
	} {
		e := exporting{cfg: config.Config{Site: "RZZ"}, from: tt.from, to: tt.to}
		err := e.narrow()
		if tt.wantError != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantError) {
				t.Errorf("%s to %s: %v", tt.from, tt.to, err)
			}
			continue
		}
		if err != nil || !e.query.From.Equal(tt.begin) || !e.query.To.Equal(tt.end) || e.query.Site != "RZZ" {
			t.Errorf("%s to %s: %s to %s, %v", tt.from, tt.to, e.query.From, e.query.To, err)
		}
	}
}

// TestExportFileIsWholeOrNotThere never overwrites a file and leaves none that
// is cut off.
func TestExportFileIsWholeOrNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.ndjson")
	write := func(text string, fail error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return errors.Join(err, fail)
		}
	}
	broken := errors.New("index lost")
	if err := intoFile(path, nil, write("half", broken)); !errors.Is(err, broken) {
		t.Errorf("a failure: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("a failure left %v", left)
	}
	if err := intoFile(path, nil, write("whole", nil)); err != nil {
		t.Fatal(err)
	}
	if err := intoFile(path, nil, write("other", nil)); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over a file: %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "whole" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(path+"2.partial", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := intoFile(path+"2", nil, write("x", nil)); err == nil || !strings.Contains(err.Error(), "cut off or still runs") {
		t.Errorf("over an unfinished file: %v", err)
	}
	var out bytes.Buffer
	if err := intoFile("", &out, write("printed", nil)); err != nil || out.String() != "printed" {
		t.Errorf("%q, %v", &out, err)
	}
}
