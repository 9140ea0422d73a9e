package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
)

// TestForgottenSegments: what was disposed of is not looked for any more, what
// follows is read as before, also after another start.
func TestForgottenSegments(t *testing.T) {
	cfg, j, acked := archived(t, t.TempDir())
	if err := j.Archive(1 << 40); err != nil {
		t.Fatal(err)
	}
	list, err := Segments(dirs(cfg)...)
	if err != nil || len(list) < 5 || list[len(list)-1].Last != 0 || list[len(list)-1].Packed {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, s := range list[:len(list)-1] {
		if s.Last+1 != list[i+1].First || len(s.Files) != 1 || s.Stray || s.Packed != strings.HasSuffix(s.Files[0], packedSuffix) {
			t.Errorf("segment %+v", s)
		}
	}
	upTo := list[1].Last
	j.Forget(upTo - 1) // half a segment: that one stays
	sameRecords(t, mustRead(t, j, list[1].First, 100), acked[list[1].First-1:])
	j.Forget(upTo)
	if err := errors.Join(RemoveFile(list[0].Files[0]), RemoveFile(list[1].Files[0])); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if j.Oldest() != upTo+1 {
			t.Errorf("oldest %d, want %d", j.Oldest(), upTo+1)
		}
		if got, err := j.Read(upTo, 1); err == nil {
			t.Errorf("a record that was disposed of: %+v", got)
		}
		sameRecords(t, mustRead(t, j, upTo+1, 100), acked[upTo:])
		mustClose(t, j)
		j = mustOpen(t, cfg)
		j.Forget(upTo)
	}
	j.Forget(1 << 40) // never what is not in the archive
	plain := list[slices.IndexFunc(list, func(s Segment) bool { return !s.Packed })].First
	sameRecords(t, mustRead(t, j, plain, 100), acked[plain-1:])
	mustClose(t, j)
}

// TestTreeKeepsWhatNoRecordTells: a tree that does not fit is made again from the
// records, but hashes of records that are gone stay, and a signed root is still
// reached. Where those are gone as well, care goes on without checkpoints.
func TestTreeKeepsWhatNoRecordTells(t *testing.T) {
	cfg := signedConfig(t)
	cfg.SegmentBytes, cfg.Archive = 2048, t.TempDir()
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for range 40 {
		mustAppend(t, j, sample("1"))
	}
	if err := j.Archive(1 << 40); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j)
	list, err := Segments(cfg.Dir, cfg.Archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(RemoveFile(list[0].Files[0]), RemoveFile(list[1].Files[0])); err != nil {
		t.Fatal(err)
	}
	level := filepath.Join(TreeDir(cfg.Dir), "0")
	whole, err := os.ReadFile(level)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(at uint64) {
		t.Helper()
		bad := slices.Clone(whole)
		bad[at*32] ^= 1
		if err := os.WriteFile(level, bad, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(35) // of a record that is here
	j = mustOpen(t, cfg)
	if j.Tree() == nil {
		t.Fatal("the tree was not mended")
	}
	if c, _ := j.Checkpoint(); c.Size != 40 {
		t.Errorf("checkpoint %+v", c)
	}
	mustClose(t, j)
	before := list[2].First - 1 // later ones are written with the next checkpoint
	if got, err := os.ReadFile(level); err != nil || uint64(len(got)) < before*32 || !slices.Equal(got, whole[:len(got)]) {
		t.Errorf("hashes differ: %v", err)
	}
	damage(0) // of one that is gone
	j = mustOpen(t, cfg)
	if j.Tree() != nil {
		t.Error("a tree that leads nowhere is in use")
	}
	mustAppend(t, j, sample("1"))
	mustClose(t, j)
}

// TestKeptFile: what is written is read, and nothing else is taken for it.
func TestKeptFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1-9.kept.zst")
	var records [][]byte
	for _, seq := range []uint64{2, 3, 70_000} {
		r := sample("1")
		r.Seq = seq
		records = append(records, r.MarshalCanonical())
	}
	write := func(list ...[]byte) error {
		_, err := WriteKept(path, func(add func([]byte) error) error {
			for _, r := range list {
				if err := add(r); err != nil {
					return err
				}
			}
			return nil
		})
		return err
	}
	if err := write(records[1], records[0]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("out of order: %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("a failure left %v", left)
	}
	if err := write(records...); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	sum, err := ReadKept(path, func(_ uint64, canonical []byte, _ *audit.Record) error {
		got = append(got, slices.Clone(canonical))
		return nil
	})
	if err != nil || !slices.EqualFunc(got, records, slices.Equal[[]byte]) {
		t.Fatalf("%d records, %v", len(got), err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if other, err := ReadKept(path, func(uint64, []byte, *audit.Record) error { return nil }); err == nil && other == sum {
			t.Fatalf("byte %d may be another", i)
		}
	}
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKept(path, func(uint64, []byte, *audit.Record) error { return nil }); err == nil {
		t.Error("a file that is cut short")
	}
}
