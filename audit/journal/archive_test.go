package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// archived is a journal of many segments.
func archived(t *testing.T, folder string) (cfg Config, j *Journal, acked []audit.Record) {
	t.Helper()
	cfg = small(t)
	cfg.Archive = folder
	mustCreate(t, cfg)
	j = mustOpen(t, cfg)
	for range 40 {
		r := sample("1")
		mustAppend(t, j, r)
		acked = append(acked, *r)
	}
	return cfg, j, acked
}

func names(t *testing.T, dir, suffix string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			found = append(found, e.Name())
		}
	}
	return found
}

func sameRecords(t *testing.T, got, want []audit.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-acknowledged +read):\n%s", diff)
	}
}

// TestArchivedSegmentsAreReadLikeOthers: wherever they are, by Read, after Open,
// by Verify and by a Reader.
func TestArchivedSegmentsAreReadLikeOthers(t *testing.T) {
	for _, apart := range []bool{false, true} {
		folder := ""
		if apart {
			folder = t.TempDir()
		}
		cfg, j, acked := archived(t, folder)
		plain := len(names(t, cfg.Dir, segmentSuffix))
		if err := j.Archive(20); err != nil {
			t.Fatal(err)
		}
		some := len(names(t, cfg.Dir, segmentSuffix))
		if err := j.Archive(1 << 40); err != nil {
			t.Fatal(err)
		}
		left := len(names(t, cfg.Dir, segmentSuffix))
		if left != defaultKeepPlain+1 || some <= left || some >= plain {
			t.Errorf("%d plain segments, %d after record 20 was verified, %d in the end", plain, some, left)
		}
		in := cfg.Dir
		if apart {
			in = folder
		}
		if got := len(names(t, in, packedSuffix)); got != plain-left {
			t.Errorf("%d compressed segments, want %d", got, plain-left)
		}
		sameRecords(t, mustRead(t, j, 1, 100), acked)
		for _, from := range []uint64{1, 5, 17, 3} {
			sameRecords(t, mustRead(t, j, from, 3), acked[from-1:from+2])
		}
		mustClose(t, j)
		j = mustOpen(t, cfg)
		sameRecords(t, mustRead(t, j, 1, 100), acked)
		mustClose(t, j)
		if report := whole(t, cfg); report.Records != 40 || report.Segments != plain {
			t.Errorf("%+v", report)
		}
		r, err := OpenReader(dirs(cfg)...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Read(1, 100)
		if err != nil || r.Last() != 40 {
			t.Errorf("last %d, %v", r.Last(), err)
		}
		sameRecords(t, got, acked)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestArchivingIsNeverHalfDone lets every call on the archive folder fail: the
// plain segment stays until the compressed one has been compared, and a later
// call completes the work.
func TestArchivingIsNeverHalfDone(t *testing.T) {
	for name, how := range map[string]fault{"lost": {lost: true}, "half": {half: true}, "persisted": {}} {
		t.Run(name, func(t *testing.T) {
			for op := 1; ; op++ {
				cfg, j, acked := archived(t, t.TempDir())
				d := newDisk(t, cfg.Archive)
				d.inject = how
				d.inject.op = op
				j.packs.d.wrap = d.wrap
				err := j.Archive(1 << 40)
				done := d.ops < op
				if (err == nil) != done {
					t.Fatalf("call %d: %v", op, err)
				}
				sameRecords(t, mustRead(t, j, 1, 100), acked)
				if report := whole(t, cfg); report.Records != 40 {
					t.Fatalf("call %d: %+v", op, report)
				}
				if err := j.Archive(1 << 40); err != nil {
					t.Fatalf("call %d: again: %v", op, err)
				}
				if got := len(names(t, cfg.Dir, segmentSuffix)); got != defaultKeepPlain+1 {
					t.Fatalf("call %d: %d plain segments", op, got)
				}
				mustClose(t, j)
				if report := whole(t, cfg); report.Records != 40 {
					t.Fatalf("call %d: %+v", op, report)
				}
				if done {
					if op < 10 {
						t.Fatalf("only %d calls were tried", op)
					}
					return
				}
			}
		})
	}
}

// TestArchiveComparesBeforeItRemoves: a compressed file that is not the segment
// is damage, and the plain one stays.
func TestArchiveComparesBeforeItRemoves(t *testing.T) {
	cfg, j, acked := archived(t, t.TempDir())
	first := segmentID{first: 1}
	other := filepath.Join(cfg.Archive, first.stem()+packedSuffix)
	f, err := os.Create(other)
	if err != nil {
		t.Fatal(err)
	}
	wrong := make([]byte, 3000)
	if err := errors.Join(compress(f, strings.NewReader(string(wrong)), 3000), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := j.Archive(1 << 40); !errors.Is(err, ErrCorrupt) {
		t.Errorf("archive: %v", err)
	}
	if !slices.Contains(names(t, cfg.Dir, segmentSuffix), first.name()) {
		t.Error("the plain segment was removed")
	}
	sameRecords(t, mustRead(t, j, 1, 100), acked)
}

// TestDamageInAnArchivedSegmentIsFound by Verify, and does not keep a gateway
// from starting.
func TestDamageInAnArchivedSegmentIsFound(t *testing.T) {
	cfg, j, _ := archived(t, "")
	if err := j.Archive(1 << 40); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	path := filepath.Join(cfg.Dir, names(t, cfg.Dir, packedSuffix)[2])
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range b {
		c := slices.Clone(b)
		c[at] ^= 0x10
		if err := os.WriteFile(path, c, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Verify(VerifyOptions{Dirs: dirs(cfg)})
		if err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
		if report.Err() == nil && report.Records == 40 {
			continue // a bit that means nothing: every record was read and is right
		}
		if report.Last != 40 || !errors.Is(report.Err(), ErrCorrupt) {
			t.Fatalf("byte %d: %+v", at, report)
		}
	}
	j = mustOpen(t, cfg)
	mustAppend(t, j, sample("2"))
	mustClose(t, j)
}
