package merkle_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/merkle"
)

// entry is the record at index i, of a size that varies.
func entry(i uint64) []byte { return []byte(fmt.Sprintf("record %0*d", 1+i%50, i)) }

func leaf(i uint64) merkle.Hash {
	return merkle.Hash(rfc6962.DefaultHasher.HashLeaf(entry(i)))
}

func grow(t *testing.T, tree *merkle.Tree, to uint64) {
	t.Helper()
	for i := tree.Size(); i < to; i++ {
		tree.Add(leaf(i))
	}
}

func open(t *testing.T, dir string) *merkle.Tree {
	t.Helper()
	tree, err := merkle.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

// rootOf computes a root with code that is not ours.
func rootOf(t *testing.T, size uint64) merkle.Hash {
	t.Helper()
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i := range size {
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(entry(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if size == 0 {
		return merkle.Hash(rfc6962.DefaultHasher.EmptyRoot())
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	return merkle.Hash(root)
}

func keys(t *testing.T) (note.Signer, note.Verifier, string) {
	t.Helper()
	secret, public := filepath.Join(t.TempDir(), "checkpoint.key"), filepath.Join(t.TempDir(), "checkpoint.pub")
	if err := merkle.GenerateKey(merkle.Origin("RBA", "gw1"), secret, public); err != nil {
		t.Fatal(err)
	}
	s, err := merkle.ParseSigner(read(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	v, err := merkle.ParseVerifier(read(t, public))
	if err != nil {
		t.Fatal(err)
	}
	return s, v, public
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func checkpoint(t *testing.T, tree *merkle.Tree, s note.Signer) (merkle.Checkpoint, []byte) {
	t.Helper()
	size, root := tree.Root()
	c := merkle.Checkpoint{Origin: s.Name(), Size: size, Root: root}
	signed, err := c.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	return c, signed
}

// TestRoot compares roots with an independent implementation, whether the tree
// grew in one go, was reopened or was cut back.
// hazard:GW-13 control:C-53
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, dir)
	for _, size := range []uint64{0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 1000, 65535, 65536, 65537, 70000} {
		grow(t, tree, size)
		want := rootOf(t, size)
		if _, got := tree.Root(); got != want {
			t.Fatalf("root of %d leaves is %v, want %v", size, got, want)
		}
		if size%2 == 0 { // some stay in memory
			if err := tree.Flush(); err != nil {
				t.Fatal(err)
			}
			again := open(t, dir)
			if n, got := again.Root(); n != size || got != want {
				t.Fatalf("reopened: root of %d leaves is %v, want %v of %d", n, got, want, size)
			}
		}
		if got, err := tree.RootAt(size / 3); err != nil || got != rootOf(t, size/3) {
			t.Fatalf("root at %d of %d: %v, %v", size/3, size, got, err)
		}
	}
	if err := tree.Truncate(65536); err != nil {
		t.Fatal(err)
	}
	grow(t, tree, 66000)
	if _, got := tree.Root(); got != rootOf(t, 66000) {
		t.Fatal("root after cutting back and growing again")
	}
}

// TestTornFiles cuts the files of a tree at random places, as a crash may: what
// opens is the beginning of the same tree.
func TestTornFiles(t *testing.T) {
	whole := t.TempDir()
	tree := open(t, whole)
	grow(t, tree, 70000)
	if err := tree.Sync(); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		dir := t.TempDir()
		for _, name := range []string{"0", "1", "2"} {
			b := read(t, filepath.Join(whole, name))
			if err := os.WriteFile(filepath.Join(dir, name), b[:rnd.IntN(len(b)+1)], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again := open(t, dir)
		size, root := again.Root()
		if root != rootOf(t, size) {
			t.Fatalf("a torn tree of %d leaves has another root", size)
		}
	}
}

// TestProofs checks proofs with an independent implementation, and that a
// changed leaf, index, hash or signature is refused.
func TestProofs(t *testing.T) {
	s, v, _ := keys(t)
	tree := open(t, t.TempDir())
	grow(t, tree, 5000)
	c, signed := checkpoint(t, tree, s)
	for _, i := range []uint64{0, 1, 255, 256, 2500, 4095, 4096, 4999} {
		hashes, err := tree.Prove(i, c)
		if err != nil {
			t.Fatal(err)
		}
		theirs := make([][]byte, len(hashes))
		for n := range hashes {
			theirs[n] = hashes[n][:]
		}
		l := leaf(i)
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, c.Size, l[:], theirs, c.Root[:]); err != nil {
			t.Fatalf("their verifier refuses our proof of %d: %v", i, err)
		}
		p := merkle.Proof{Index: i, Hashes: hashes, Checkpoint: signed}
		back, err := merkle.ParseProof(p.Format())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := back.Verify(l, v); err != nil || got != c {
			t.Fatalf("our own: %v, %v", got, err)
		}
		if _, err := back.Verify(leaf(i+1), v); !errors.Is(err, merkle.ErrProof) {
			t.Fatalf("another leaf: %v", err)
		}
	}
	for _, old := range []uint64{1, 255, 256, 1000, 4096, 4999} {
		hashes, err := tree.ProveGrowth(old, c)
		if err != nil {
			t.Fatal(err)
		}
		theirs := make([][]byte, len(hashes))
		for n := range hashes {
			theirs[n] = hashes[n][:]
		}
		before := rootOf(t, old)
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old, c.Size, theirs, before[:], c.Root[:]); err != nil {
			t.Fatalf("their verifier refuses our growth from %d: %v", old, err)
		}
	}
	if _, err := tree.Prove(5000, c); !errors.Is(err, merkle.ErrSize) {
		t.Errorf("proof of a record that is not there: %v", err)
	}
}

// TestAnyByteOfAProof alters each byte of a proof file in turn.
func TestAnyByteOfAProof(t *testing.T) {
	s, v, _ := keys(t)
	tree := open(t, t.TempDir())
	grow(t, tree, 300)
	c, signed := checkpoint(t, tree, s)
	hashes, err := tree.Prove(77, c)
	if err != nil {
		t.Fatal(err)
	}
	text := merkle.Proof{Index: 77, Hashes: hashes, Checkpoint: signed}.Format()
	for i := range text {
		for _, flip := range []byte{1, 0x20, 0x80} {
			bad := bytes.Clone(text)
			bad[i] ^= flip
			p, err := merkle.ParseProof(bad)
			if err != nil {
				continue
			}
			if _, err := p.Verify(leaf(77), v); err == nil {
				t.Fatalf("byte %d altered with %#x and still proved:\n%s", i, flip, bad)
			}
		}
	}
}

func TestCheckpointOfAnother(t *testing.T) {
	s, v, _ := keys(t)
	_, other, _ := keys(t)
	tree := open(t, t.TempDir())
	grow(t, tree, 3)
	_, signed := checkpoint(t, tree, s)
	if _, err := merkle.OpenCheckpoint(signed, other); !errors.Is(err, merkle.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	wrong, err := merkle.Checkpoint{Origin: "elsewhere", Size: 3}.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := merkle.OpenCheckpoint(wrong, v); !errors.Is(err, merkle.ErrCheckpoint) {
		t.Errorf("another origin: %v", err)
	}
}

// TestTiles has an exported log checked by tessera's fsck, and a damaged one
// refused. fsck may hang on a bad tile, which counts as refusing it.
func TestTiles(t *testing.T) {
	s, _, public := keys(t)
	tree := open(t, t.TempDir())
	grow(t, tree, 70_000)
	c, signed := checkpoint(t, tree, s)
	dir := filepath.Join(t.TempDir(), "log")
	if err := tree.Export(t.Context(), dir, c, signed, all(70_010)); err != nil {
		t.Fatal(err)
	}
	tool := buildFsck(t)
	if out, err := fsck(t, tool, dir, public, time.Minute); err != nil {
		t.Fatalf("fsck refuses the log: %v\n%s", err, out)
	}
	bundle := filepath.Join(dir, "tile", "entries", "100")
	b := read(t, bundle)
	b[binary.BigEndian.Uint16(b)] ^= 1 // within the first entry
	if err := os.WriteFile(bundle, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := fsck(t, tool, dir, public, 10*time.Second); err == nil {
		t.Fatalf("fsck takes an altered record:\n%s", out)
	}
	if err := tree.Export(t.Context(), dir, c, signed, all(70_000)); err == nil {
		t.Error("an export overwrote another")
	}
	if err := tree.Export(t.Context(), t.TempDir(), c, signed, all(69_000)); err == nil || !strings.Contains(err.Error(), "record 69001 of 70000") {
		t.Errorf("records are missing: %v", err)
	}
}

// all yields n entries, some of which came after the checkpoint.
func all(n uint64) merkle.Entries {
	return func(visit func(uint64, []byte) error) error {
		for i := range n {
			if err := visit(i, entry(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

func buildFsck(t *testing.T) string {
	t.Helper()
	tool := filepath.Join(t.TempDir(), "fsck")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-modfile=../../fsck.mod", "-o", tool, "github.com/transparency-dev/tessera/cmd/fsck")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build fsck: %v\n%s", err, out)
	}
	return tool
}

func fsck(t *testing.T, tool, dir, public string, limit time.Duration) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return exec.CommandContext(ctx, tool, "-storage_url=file://"+dir+"/", "-public_key="+public, "-ui=false").CombinedOutput()
}

// BenchmarkAdd is what a record costs the tree.
func BenchmarkAdd(b *testing.B) {
	tree, err := merkle.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	h := leaf(1)
	n := 0
	for b.Loop() {
		tree.Add(h)
		if n++; n%10000 == 0 {
			if err := tree.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	_ = tree.Close()
}
