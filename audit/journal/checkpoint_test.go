package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/merkle"
)

// signedConfig is a journal that signs every few milliseconds.
func signedConfig(t *testing.T) Config {
	t.Helper()
	cfg := config(t)
	keys := t.TempDir()
	secret, public := filepath.Join(keys, "checkpoint.key"), filepath.Join(keys, "checkpoint.pub")
	if err := merkle.GenerateKey(merkle.Origin("RBA", cfg.Source), secret, public); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Signer, err = merkle.ParseSigner(text); err != nil {
		t.Fatal(err)
	}
	if text, err = os.ReadFile(public); err != nil {
		t.Fatal(err)
	}
	if cfg.Verifier, err = merkle.ParseVerifier(text); err != nil {
		t.Fatal(err)
	}
	cfg.CheckpointEvery = 5 * time.Millisecond
	return cfg
}

// signed waits until a checkpoint covers size records.
func signed(t *testing.T, j *Journal, size uint64) merkle.Checkpoint {
	t.Helper()
	for {
		if c, _ := j.Checkpoint(); c.Size >= size {
			return c
		}
		time.Sleep(time.Millisecond)
	}
}

// filled is a closed journal of 20 records, signed, in small segments.
func filled(t *testing.T) Config {
	t.Helper()
	cfg := signedConfig(t)
	cfg.SegmentBytes = 2000
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for range 20 {
		mustAppend(t, j, sample("9000001"))
	}
	mustClose(t, j)
	return cfg
}

// hazard:GW-13 control:C-53
func TestCheckpointCoversEverything(t *testing.T) {
	cfg := signedConfig(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	receipt := mustAppend(t, j, sample("9000001"), sample("9000002"))
	c := signed(t, j, 2)
	hashes, err := j.Tree().Prove(receipt.Seq-1, c)
	if err != nil {
		t.Fatal(err)
	}
	_, note := j.Checkpoint()
	if _, err := (merkle.Proof{Index: receipt.Seq - 1, Hashes: hashes, Checkpoint: note}).Verify(receipt.Leaf, cfg.Verifier); err != nil {
		t.Fatalf("a receipt cannot be proved: %v", err)
	}
	if err := j.Add(sample("9000003")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, j) // signs once more
	j = mustOpen(t, cfg)
	if c, _ := j.Checkpoint(); c.Size != 3 {
		t.Errorf("the checkpoint at the end covers %d of 3", c.Size)
	}
	history, err := ReadLedger(HistoryFile(cfg.Dir))
	if err != nil || len(history) < 2 {
		t.Fatalf("%d checkpoints were kept: %v", len(history), err)
	}
	if c, err := merkle.OpenCheckpoint(history[len(history)-1], cfg.Verifier); err != nil || c.Size != 3 {
		t.Errorf("the last one that was kept covers %d: %v", c.Size, err)
	}
	mustClose(t, j)
}

// TestTruncatedJournal loses the end of a journal that was signed: its numbers
// must not be given to other records.
func TestTruncatedJournal(t *testing.T) {
	cfg := filled(t)
	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(slices.Max(segments), segmentHead); err != nil {
		t.Fatal(err)
	}
	_, err = Open(cfg)
	if !errors.Is(err, ErrForked) || !strings.Contains(err.Error(), "to 20 are missing") {
		t.Fatalf("opened, or not by name: %v", err)
	}
}

// TestHashesAreMadeAgain opens journals whose tree is gone, torn or wrong.
func TestHashesAreMadeAgain(t *testing.T) {
	cfg := filled(t)
	for name, harm := range map[string]func(dir string) error{
		"gone":  os.RemoveAll,
		"torn":  func(dir string) error { return os.Truncate(filepath.Join(dir, "0"), 100) },
		"wrong": func(dir string) error { return os.WriteFile(filepath.Join(dir, "0"), make([]byte, 20*32), 0o600) },
	} {
		if err := harm(TreeDir(cfg.Dir)); err != nil {
			t.Fatal(err)
		}
		j := mustOpen(t, cfg)
		mustAppend(t, j, sample("9000001"))
		if c := signed(t, j, 21); c.Size < 21 {
			t.Error(name)
		}
		mustClose(t, j)
	}
}

// TestOtherRecords gives a journal other records than were signed, with hashes
// that fit them.
func TestOtherRecords(t *testing.T) {
	cfg, other := filled(t), filled(t)
	if err := os.RemoveAll(TreeDir(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(TreeDir(other.Dir), TreeDir(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, cfg) // the records are right: the tree is made again
	mustClose(t, j)
	if err := os.Rename(CheckpointFile(cfg.Dir), CheckpointFile(other.Dir)); err != nil {
		t.Fatal(err)
	}
	other.Signer, other.Verifier = cfg.Signer, cfg.Verifier
	if _, err := Open(other); !errors.Is(err, ErrForked) {
		t.Fatalf("another history was opened: %v", err)
	}
}

// TestCheckpointMissing goes on, and says so in the record.
func TestCheckpointMissing(t *testing.T) {
	for name, harm := range map[string]func(file string) error{
		"missing":    os.Remove,
		"unreadable": func(file string) error { return os.WriteFile(file, []byte("nothing"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := filled(t)
			if err := harm(CheckpointFile(cfg.Dir)); err != nil {
				t.Fatal(err)
			}
			j := mustOpen(t, cfg)
			signed(t, j, 20)
			if err := j.Wait(t.Context(), 20); err != nil {
				t.Fatal(err)
			}
			r, err := j.Read(21, 1)
			if err != nil || len(r) != 1 || r[0].Kind != audit.KindCheckpointGap || r[0].Detail[1] != "covered_after=20" {
				t.Errorf("%+v, %v", r, err)
			}
			mustClose(t, j)
			aside, err := filepath.Glob(CheckpointFile(cfg.Dir) + ".unreadable-*")
			if err != nil || (len(aside) == 1) != (name == "unreadable") {
				t.Errorf("kept aside: %q, %v", aside, err)
			}
		})
	}
}

// TestUnprovable has an old segment that cannot be read and no hashes: care goes
// on, without checkpoints (GW-12).
func TestUnprovable(t *testing.T) {
	cfg := filled(t)
	if err := os.RemoveAll(TreeDir(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(cfg.Dir, segmentName(1)), segmentHead+20); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("9000001"))
	if s := j.Stats(); s.Unsigned == nil || s.Failed != nil {
		t.Errorf("%+v", s)
	}
	mustClose(t, j)
}
