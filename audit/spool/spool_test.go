package spool_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/spool"
)

func record(n int, details ...string) *audit.Record {
	return &audit.Record{
		Time: time.Date(2026, 11, 25, 12, 0, n, 0, time.UTC), Kind: audit.KindImport, App: "matron", UserName: "ig", Detail: details,
	}
}

// openJournal is a real journal.
func openJournal(t *testing.T) (*journal.Journal, string) {
	t.Helper()
	c := journal.Config{Dir: filepath.Join(t.TempDir(), "journal"), Source: "gw1", Site: "RBA", Now: time.Now, AppendTimeout: time.Minute}
	if err := journal.Create(c); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, c.Dir
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func put(t *testing.T, dir string, r *audit.Record) {
	t.Helper()
	if err := spool.Put(dir, r); err != nil {
		t.Fatal(err)
	}
}

// TestRoundTrip: what commands leave is in the journal, in the order of its
// times, and the files are gone.
func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	j, journalDir := openJournal(t)
	if n, err := spool.Drain(t.Context(), dir, j); n != 0 || err != nil {
		t.Fatalf("a folder that is not there: %d, %v", n, err)
	}
	put(t, dir, record(2, "stage=ended", "rows=3"))
	put(t, dir, record(1, "stage=begun"))
	for _, name := range files(t, dir) {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if n, err := spool.Drain(t.Context(), dir, j); n != 2 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := journal.Verify(journal.VerifyOptions{Dirs: []string{journalDir}})
	if err != nil || report.Kinds[audit.KindImport] != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

// fault is a log that takes nothing, or takes it and says that it has not.
type fault struct {
	audit.Log
	persisted bool
	got       []audit.Record
}

func (f *fault) Append(ctx context.Context, records ...*audit.Record) (audit.Receipt, error) {
	for _, r := range records {
		f.got = append(f.got, *r)
	}
	if f.persisted {
		_, _ = f.Log.Append(ctx, records...)
	}
	return audit.Receipt{}, audit.ErrNotDurable
}

// TestNothingIsLost: a record stays until it is durable. One that was durable
// although the log said no comes again with the same Request.
func TestNothingIsLost(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		dir := t.TempDir()
		j, _ := openJournal(t)
		put(t, dir, record(1, "batch=b"))
		bad := &fault{Log: j, persisted: persisted}
		if n, err := spool.Drain(t.Context(), dir, bad); n != 0 || !errors.Is(err, audit.ErrNotDurable) {
			t.Errorf("%d, %v", n, err)
		}
		if left := files(t, dir); len(left) != 1 {
			t.Fatalf("left: %v", left)
		}
		again := &fault{Log: j}
		if _, err := spool.Drain(t.Context(), dir, again); !errors.Is(err, audit.ErrNotDurable) {
			t.Error(err)
		}
		if bad.got[0].Request == "" || bad.got[0].Request != again.got[0].Request {
			t.Errorf("requests %q and %q", bad.got[0].Request, again.got[0].Request)
		}
		want := *record(1, "batch=b")
		got := again.got[0]
		got.Request = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if n, err := spool.Drain(t.Context(), dir, j); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
}

// TestForgedExchanges: nobody can put an access that the gateway has not
// witnessed into its journal.
func TestForgedExchanges(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []audit.Kind{"", audit.KindDecision, audit.KindPatient, audit.KindOutcome, audit.KindSignIn, audit.KindStart, audit.KindHeartbeat} {
		r := record(1)
		r.Kind = kind
		if err := spool.Put(dir, r); err == nil {
			t.Errorf("%s was taken", kind)
		}
	}
	write := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	good := `{"Time":"2026-11-25T12:00:00Z","Kind":"import"}`
	write("1-decision.json", `{"Time":"2026-11-25T12:00:00Z","Kind":"decision","Person":"S1"}`, 0o600)
	write("2-garbage.json", "not JSON", 0o600)
	write("3-unknown.json", `{"Kind":"import","Colour":"red"}`, 0o600)
	write("4-large.json", `{"Kind":"import","App":"`+strings.Repeat("x", 70_000)+`"}`, 0o600)
	write("5-open.json", good, 0o644)
	if err := os.Symlink(filepath.Join(dir, "7-good.json"), filepath.Join(dir, "6-link.json")); err != nil {
		t.Fatal(err)
	}
	write("7-good.json", good, 0o600)
	write(".8-unfinished.json", good[:10], 0o600)
	j, _ := openJournal(t)
	n, err := spool.Drain(t.Context(), dir, j)
	if n != 1 || !errors.Is(err, spool.ErrBad) {
		t.Errorf("%d, %v", n, err)
	}
	want := []string{".8-unfinished.json", "1-decision.json.bad", "2-garbage.json.bad", "3-unknown.json.bad", "4-large.json.bad", "5-open.json.bad", "6-link.json.bad"}
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Error(diff)
	}
	if n, err := spool.Drain(t.Context(), dir, j); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
}
