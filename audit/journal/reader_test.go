package journal

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/matron-epr/matron/audit"
)

// A reader beside a writing gateway sees what is certainly on disk, goes on in
// segments that were begun later, and changes nothing.
func TestReaderBesideAWriter(t *testing.T) {
	cfg := config(t)
	cfg.SegmentBytes = 4096
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("9000001"), sample("9000001"))
	r, err := OpenReader(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it was only read
	expect := func(want uint64) {
		t.Helper()
		if last, err := r.Durable(); err != nil || last != want {
			t.Fatalf("last %d, %v, want %d", last, err, want)
		}
	}
	expect(0) // the only group commit may not be synced yet, as far as a reader knows
	next := uint64(1)
	for range 40 {
		mustAppend(t, j, sample("9000001"))
		last, err := r.Durable()
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Read(next, int(last-next+1))
		if err != nil || uint64(len(got)) != last-next+1 {
			t.Fatalf("%d records from %d to %d: %v", len(got), next, last, err)
		}
		for i := range got {
			if got[i].Seq != next+uint64(i) {
				t.Fatalf("record %d stands where %d belongs", got[i].Seq, next)
			}
		}
		next = last + 1
	}
	if next < 41 || j.Stats().Segments < 3 {
		t.Fatalf("read up to %d of 42 in %d segments", next, j.Stats().Segments)
	}
	if got, err := r.Read(5, 7); err != nil || len(got) != 7 || got[0].Seq != 5 {
		t.Errorf("going back: %d records, %v", len(got), err)
	}
	mustClose(t, j)
	expect(42) // at rest, all of it counts
	if r.Source() != cfg.Source || r.First() != 1 {
		t.Errorf("source %q, first %d", r.Source(), r.First())
	}
}

// Segments may lie in several folders; one that is missing or damaged is named.
func TestReaderOfSeveralFolders(t *testing.T) {
	cfg := config(t)
	cfg.SegmentBytes = 4096
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for range 40 {
		mustAppend(t, j, sample("9000001"))
	}
	mustClose(t, j)
	names, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg"))
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	other := t.TempDir()
	moved := filepath.Join(other, filepath.Base(names[1]))
	if err := os.Rename(names[1], moved); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReader(t.TempDir()); !errors.Is(err, ErrMissing) {
		t.Errorf("an empty folder: %v", err)
	}
	readAll := func(dirs ...string) ([]audit.Record, error) {
		r, err := OpenReader(dirs...)
		if err != nil {
			return nil, err
		}
		defer r.Close() //nolint:errcheck // it was only read
		last, err := r.Durable()
		if err != nil {
			return nil, err
		}
		var all []audit.Record
		for uint64(len(all)) < last {
			more, err := r.Read(uint64(len(all))+1, 1000)
			if err != nil {
				return all, err
			}
			all = append(all, more...)
		}
		return all, nil
	}
	if got, err := readAll(cfg.Dir); err == nil {
		t.Errorf("a missing segment, and %d records", len(got))
	}
	if got, err := readAll(other, cfg.Dir); err != nil || len(got) != 40 {
		t.Errorf("%d records, %v", len(got), err)
	}
	b, err := os.ReadFile(moved)
	if err != nil {
		t.Fatal(err)
	}
	b[segmentHead+frameHead+20] ^= 1
	if err := os.WriteFile(moved, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var damage *Damage
	if _, err := readAll(other, cfg.Dir); !errors.As(err, &damage) || damage.File != filepath.Base(moved) || damage.Offset != segmentHead {
		t.Errorf("a flipped bit: %v", err)
	}
}

// Walk gives the bytes that were hashed, over the ends of segments and past one
// that is moved meanwhile; it stops when told, at its limit, and at damage only
// after what stands before.
func TestWalk(t *testing.T) {
	cfg := config(t)
	cfg.SegmentBytes = 4096
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for range 40 {
		mustAppend(t, j, sample("9000001"))
	}
	mustClose(t, j)
	away := t.TempDir()
	r, err := OpenReader(cfg.Dir, away)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // it was only read
	names, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg"))
	if err != nil || len(names) < 4 {
		t.Fatal(names, err)
	}
	var seen uint64
	visit := func(stop uint64) func(*audit.Record, []byte) bool {
		return func(record *audit.Record, canonical []byte) bool {
			if seen++; record.Seq != seen || string(canonical) != string(record.MarshalCanonical()) {
				t.Fatalf("record %d as number %d: %x", record.Seq, seen, canonical)
			}
			if seen == 2 {
				if err := os.Rename(names[1], filepath.Join(away, filepath.Base(names[1]))); err != nil {
					t.Fatal(err)
				}
			}
			return seen != stop
		}
	}
	for _, step := range []struct {
		from, stop uint64
		limit      int
		want       uint64
	}{{0, 0, 30, 30}, {31, 35, 30, 35}, {36, 0, 30, 40}, {41, 0, 30, 40}, {1, 0, 0, 40}} {
		if err := r.Walk(step.from, step.limit, visit(step.stop)); err != nil || seen != step.want {
			t.Fatalf("%+v: up to %d, %v", step, seen, err)
		}
	}
	last := names[len(names)-1]
	b, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	b[segmentHead+frameHead+20] ^= 1
	if err := os.WriteFile(last, b, 0o600); err != nil {
		t.Fatal(err)
	}
	id, _, _, err := parseName(filepath.Base(last))
	if err != nil {
		t.Fatal(err)
	}
	seen = 4
	var damage *Damage
	if err := r.Walk(5, 100, visit(0)); !errors.As(err, &damage) || seen != id.first-1 {
		t.Errorf("damage of %d: up to %d, %v", id.first, seen, err)
	}
}
