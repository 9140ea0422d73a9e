package main

import (
	"bytes"
	"context"
	bigendian "encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// What docs/journal-format.md says of a segment.
const (
	headBytes  = 128
	frameBytes = 12
)

// altered is a copy of a journal in the hands of somebody with every right on
// the machine, who knows the format.
type altered struct {
	t    *testing.T
	dir  string
	segs []string // by first record
}

// alter copies the journal in dir.
func alter(t *testing.T, dir string) *altered {
	t.Helper()
	a := &altered{t: t, dir: filepath.Join(t.TempDir(), "journal")}
	if err := os.CopyFS(a.dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.segs, err = filepath.Glob(filepath.Join(a.dir, "*.seg")); err != nil || len(a.segs) < 4 {
		t.Fatalf("segments %v, %v", a.segs, err)
	}
	return a
}

// frames hands the frames of one segment, heads included, to change and writes
// them back with checksums that fit. Frames must keep their length.
func (a *altered) frames(path string, change func(frames [][]byte)) {
	a.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		a.t.Fatal(err)
	}
	var all [][]byte
	for at := headBytes; at+frameBytes < len(b); {
		n := int(bigendian.BigEndian.Uint32(b[at:]))
		if n == 0 {
			break
		}
		all = append(all, b[at:at+frameBytes+n:at+frameBytes+n])
		at += frameBytes + n
	}
	change(all)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	for _, f := range all {
		if n := bigendian.BigEndian.Uint32(f); n > 0 {
			sum := crc32.Update(crc32.Checksum(f[:8], castagnoli), castagnoli, f[frameBytes:])
			bigendian.BigEndian.PutUint32(f[8:], sum)
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// first is the number of a segment's first record.
func (a *altered) first(segment int) (n uint64) {
	if _, err := fmt.Sscanf(filepath.Base(a.segs[segment]), "%d.seg", &n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

// somebodyElse makes another person of the third record of a segment.
func (a *altered) somebodyElse() {
	a.frames(a.segs[1], func(f [][]byte) { copy(f[2], bytes.Replace(f[2], []byte("S0001"), []byte("S0002"), 1)) })
}

// tree makes the hashes again, so that they fit the records.
func (a *altered) tree() merkle.Checkpoint {
	a.t.Helper()
	if err := os.RemoveAll(journal.TreeDir(a.dir)); err != nil {
		a.t.Fatal(err)
	}
	tree, err := merkle.Open(journal.TreeDir(a.dir))
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := journal.Verify(journal.VerifyOptions{Dirs: []string{a.dir}, Visit: func(_ uint64, canonical []byte, _ *audit.Record) error {
		tree.Add(audit.Leaf(canonical))
		return nil
	}}); err != nil {
		a.t.Fatal(err)
	}
	size, root := tree.Root()
	if err := errors.Join(tree.Sync(), tree.Close()); err != nil {
		a.t.Fatal(err)
	}
	return merkle.Checkpoint{Origin: merkle.Origin("RZZ", "gw1"), Size: size, Root: root}
}

// sign signs a checkpoint with a key of one's own, which takes the place of the
// hospital's, and removes the checkpoints that were kept.
func (a *altered) sign(c merkle.Checkpoint) {
	a.t.Helper()
	secret, public := filepath.Join(a.t.TempDir(), "key"), filepath.Join(a.dir, gateway.PublicKeyName)
	if err := errors.Join(os.Remove(public), os.Remove(journal.HistoryFile(a.dir)), merkle.GenerateKey(c.Origin, secret, public)); err != nil {
		a.t.Fatal(err)
	}
	text, err := os.ReadFile(secret)
	if err != nil {
		a.t.Fatal(err)
	}
	signer, err := merkle.ParseSigner(text)
	if err != nil {
		a.t.Fatal(err)
	}
	note, err := c.Sign(signer)
	if err == nil {
		err = os.WriteFile(journal.CheckpointFile(a.dir), note, 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// longRecord runs a gateway for a while and goes on with its journal in small
// segments until there are some.
func longRecord(t *testing.T) *site {
	t.Helper()
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	s := newSite(t, fmt.Sprintf("- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml}\n", upstream))
	s.copyPagesMap()
	s.edit("applications:", "journal: {emergency: 0}\napplications:")
	s.start()
	doctor := s.as("doctor")
	for range 5 {
		s.ask(doctor, http.MethodGet, "/ui/patients/P1", asPerson, "")
	}
	s.stop()
	c := s.settings()
	signer, err := gateway.CheckpointSigner(c)
	if err != nil {
		t.Fatal(err)
	}
	key, err := merkle.ParseVerifier([]byte(s.read("data/journal/checkpoint.pub")))
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Config{
		Dir: gateway.JournalDir(c), Source: c.Source, Site: c.Site, Now: time.Now, SegmentBytes: 4096, Signer: signer, Verifier: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		if _, err := j.Append(t.Context(), &audit.Record{Kind: audit.KindHeartbeat, Time: time.Now(), Person: "S0001"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// signedSizes are the sizes of all checkpoints of the journal in dir, ascending.
func signedSizes(t *testing.T, dir string) []uint64 {
	t.Helper()
	p, err := openProofs([]string{dir}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	var sizes []uint64
	for _, n := range p.notes {
		c, err := merkle.OpenCheckpoint(n.Text, p.key)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, c.Size)
	}
	slices.Sort(sizes)
	return sizes
}

// TestJournalAltered: somebody with every right on the machine, who makes
// checksums and hashes fit, is found out, and the gateway does not go on with a
// record that is not what was signed.
// hazard:GW-13 control:C-53
func TestJournalAltered(t *testing.T) {
	t.Parallel()
	s := longRecord(t)
	dir := gateway.JournalDir(s.settings())
	key := filepath.Join(dir, gateway.PublicKeyName)
	sizes := signedSizes(t, dir)
	last := sizes[len(sizes)-1]
	untouched := alter(t, dir)
	if r, code := verifies(t, untouched.dir, "--key", key); code != exitOK || r.Journal.Last != last || r.Signed != last {
		t.Fatalf("untouched: exit code %d, %d of %d records signed, %v", code, r.Signed, last, r.Findings)
	}
	first, end := untouched.first(1), untouched.first(2)-1
	at := slices.IndexFunc(sizes, func(size uint64) bool { return size >= first+2 })
	if at == 0 {
		t.Fatalf("the first checkpoint covers %d records", sizes[0])
	}
	for _, tt := range []struct {
		name   string
		alter  func(*altered)
		finds  []string
		refuse string // what "matron serve" says; "" when it is not the start that finds it
	}{
		{"a person changed", (*altered).somebodyElse, []string{fmt.Sprintf("altered gw1/%d-%[1]d", first+2)}, ""},
		{"a person changed, hashes made again", func(a *altered) { a.somebodyElse(); a.tree() }, []string{fmt.Sprintf("forked gw1/%d-%d", sizes[at-1]+1, sizes[at])}, "do not lead to the root in checkpoint"},
		{"a person changed, all of it signed with another key", func(a *altered) { a.somebodyElse(); a.sign(a.tree()) }, []string{"unsigned matron/RZZ/gw1/0-0"}, ""},
		{"records cut off", func(a *altered) {
			a.frames(a.segs[len(a.segs)-1], func(f [][]byte) {
				for _, cut := range f[len(f)-2:] {
					clear(cut)
				}
			})
		}, []string{fmt.Sprintf("truncated gw1/%d-%d", last-1, last)}, fmt.Sprintf("records %d to %d are missing at its end", last-1, last)},
		{"a segment removed", func(a *altered) {
			if err := os.Remove(a.segs[1]); err != nil {
				a.t.Fatal(err)
			}
		}, []string{fmt.Sprintf("missing gw1/%d-%d", first, end)}, fmt.Sprintf("the segment before is missing, with records %d to %d", first, end)},
		{"two records change places", func(a *altered) {
			a.frames(a.segs[1], func(f [][]byte) { swap(f[2], f[3]) })
		}, []string{"damaged gw1/0-0", fmt.Sprintf("missing gw1/%d-%[1]d", first+2)}, ""},
		{"two records change places and numbers", func(a *altered) {
			a.frames(a.segs[1], func(f [][]byte) {
				swap(f[2], f[3])
				renumber(a.t, f[2], first+2)
				renumber(a.t, f[3], first+3)
			})
		}, []string{fmt.Sprintf("altered gw1/%d-%d", first+2, first+3)}, ""},
		{
			"a segment of another gateway", func(a *altered) { a.ofAnother(a.segs[1]) },
			[]string{fmt.Sprintf("altered gw1/%d-%d", first, end), "damaged gw1/0-0"},
			`is of "gw2", not of "gw1"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := alter(t, dir)
			tt.alter(a)
			r, code := verifies(t, a.dir, "--key", key)
			if got := findings(r); code != exitIntegrity || !slices.Equal(got, tt.finds) {
				t.Errorf("exit code %d, found %q, want %q\n%+v", code, got, tt.finds, r.Findings)
			}
			if tt.refuse != "" {
				s.refuses(t, a.dir, tt.refuse)
			}
		})
	}
	t.Run("with the key beside it, a record signed anew looks right", func(t *testing.T) {
		a := alter(t, dir)
		a.somebodyElse()
		a.sign(a.tree())
		if r, code := verifies(t, a.dir); code != exitOK {
			t.Errorf("exit code %d, %v: then docs/proving-the-record.md need not warn of it", code, r.Findings)
		}
	})
}

// swap exchanges what two frames of one length hold.
func swap(a, b []byte) {
	payload := bytes.Clone(a[frameBytes:])
	copy(a[frameBytes:], b[frameBytes:])
	copy(b[frameBytes:], payload)
}

// renumber gives the record in a frame another number.
func renumber(t *testing.T, frame []byte, seq uint64) {
	t.Helper()
	r, err := audit.UnmarshalCanonical(frame[frameBytes:])
	if err != nil {
		t.Fatal(err)
	}
	r.Seq = seq
	if n := copy(frame[frameBytes:], r.MarshalCanonical()); n != len(frame)-frameBytes {
		t.Fatalf("record %d has another length now", seq)
	}
}

// ofAnother makes a segment what gateway gw2 would have written.
func (a *altered) ofAnother(path string) {
	a.t.Helper()
	a.frames(path, func(f [][]byte) {
		for _, frame := range f {
			copy(frame, bytes.Replace(frame, []byte("gw1"), []byte("gw2"), 1))
		}
	})
	b, err := os.ReadFile(path)
	if err != nil {
		a.t.Fatal(err)
	}
	copy(b, bytes.Replace(b[:headBytes], []byte("gw1"), []byte("gw2"), 1))
	bigendian.BigEndian.PutUint32(b[headBytes-4:], crc32.Checksum(b[:headBytes-4], crc32.MakeTable(crc32.Castagnoli)))
	if err := os.WriteFile(path, b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// refuses starts the gateway with the journal in dir: it must not serve, and must
// say what is wrong and what to do.
func (s *site) refuses(t *testing.T, dir, want string) {
	t.Helper()
	place := gateway.JournalDir(s.settings())
	if err := errors.Join(os.Rename(place, place+".good"), os.Rename(dir, place)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary(t), "serve", "-c", s.config)
	said, _ := c.CombinedOutput()
	if code := c.ProcessState.ExitCode(); code != exitIntegrity || !strings.Contains(string(said), want) || !strings.Contains(string(said), "matron audit verify") {
		t.Errorf("exit code %d, said %s\nwant %q and what to do", code, said, want)
	}
	if err := errors.Join(os.RemoveAll(place), os.Rename(place+".good", place)); err != nil {
		t.Fatal(err)
	}
}
