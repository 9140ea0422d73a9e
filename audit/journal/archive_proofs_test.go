package journal

import (
	"testing"

	"github.com/matron-epr/matron/audit/merkle"
)

// TestArchiveProvesItself brings hashes and checkpoints along, as often as it is
// asked, and nothing of records that are not there yet.
func TestArchiveProvesItself(t *testing.T) {
	cfg := signedConfig(t)
	cfg.SegmentBytes, cfg.KeepPlain, cfg.Archive = 2000, 1, t.TempDir()
	mustCreate(t, cfg)
	var size, covered uint64
	for range 6 { // each stop keeps a checkpoint
		j := mustOpen(t, cfg)
		for range 7 {
			mustAppend(t, j, sample("9000001"))
		}
		if err := j.Archive(j.Committed()); err != nil {
			t.Fatal(err)
		}
		last := j.archived()
		mustClose(t, j)
		if last == 0 {
			continue
		}
		tree, err := merkle.View(TreeDir(cfg.Archive))
		if err != nil {
			t.Fatal(err)
		}
		if size = tree.Size(); size != last {
			t.Fatalf("%d hashes of %d archived records", size, last)
		}
		notes, err := ReadLedger(HistoryFile(cfg.Archive))
		if err != nil {
			t.Fatal(err)
		}
		covered = 0
		for _, note := range notes {
			c, err := merkle.OpenCheckpoint(note, cfg.Verifier)
			if err != nil || c.Size <= covered || c.Size > last {
				t.Fatalf("a checkpoint over %d of %d records after one over %d: %v", c.Size, last, covered, err)
			}
			covered = c.Size
			if root, err := tree.RootAt(c.Size); err != nil || root != c.Root {
				t.Fatalf("the hashes do not lead to the checkpoint over %d: %v", c.Size, err)
			}
		}
		_ = tree.Close()
	}
	if size < 20 || covered < 14 {
		t.Errorf("%d hashes, checkpoints over %d", size, covered)
	}
}
