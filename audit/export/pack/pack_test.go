package pack_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/export/pack"
	"github.com/matron-epr/matron/audit/merkle"
)

// log is a small log of exchanges, in memory but for its tree.
type log struct {
	tree     *merkle.Tree
	signer   note.Signer
	key      string
	records  []audit.Record
	contents [][]byte
}

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func newLog(t *testing.T) *log {
	t.Helper()
	dir := t.TempDir()
	tree, err := merkle.Open(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	secret, public := filepath.Join(dir, "checkpoint.key"), filepath.Join(dir, "checkpoint.pub")
	if err := merkle.GenerateKey(merkle.Origin("RBA", "gw1"), secret, public); err != nil {
		t.Fatal(err)
	}
	signer, err := merkle.ParseSigner(read(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	return &log{tree: tree, signer: signer, key: strings.TrimSpace(string(read(t, public)))}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (l *log) add(r audit.Record) uint64 {
	r.Site, r.Source, r.Seq = "RBA", "gw1", uint64(len(l.records))+1
	r.Nonce = [16]byte{1, byte(r.Seq)}
	if r.Time.IsZero() {
		r.Time = noon.Add(time.Duration(r.Seq) * time.Second)
	}
	b := r.MarshalCanonical()
	l.records, l.contents = append(l.records, r), append(l.contents, b)
	l.tree.Add(audit.Leaf(b))
	return r.Seq
}

// exchange adds a decision, the patients its answer names, and its outcome.
func (l *log) exchange(person, patient string, more ...string) {
	d := l.add(audit.Record{
		Kind: audit.KindDecision, Person: person, UserName: "Name of " + person, Roles: []string{"nurse"}, Action: "read", Area: "results",
		Patient: patient, NHSNumber: "9990000018", Effect: "allow", Basis: "=ward:OBS1", Request: fmt.Sprint("r", len(l.records)),
	})
	for _, p := range more {
		l.add(audit.Record{Kind: audit.KindPatient, Decision: d, Person: person, UserName: "Name of " + person, Patient: p, Effect: "allow"})
	}
	l.add(audit.Record{Kind: audit.KindOutcome, Decision: d, Outcome: audit.Success, Status: 200})
}

// pack writes the answer to q and returns the file.
func (l *log) pack(t *testing.T, q pack.Question) string {
	t.Helper()
	c := pack.NewCollector(q)
	for i := range l.records {
		if err := c.Visit(uint64(i)+1, l.contents[i], &l.records[i]); err != nil {
			t.Fatal(err)
		}
	}
	size, root := l.tree.Root()
	cp := merkle.Checkpoint{Origin: l.signer.Name(), Size: size, Root: root}
	signed, err := cp.Sign(l.signer)
	if err != nil {
		t.Fatal(err)
	}
	first, last, records := c.Read()
	f, err := os.Create(filepath.Join(t.TempDir(), "pack.zip"))
	if err != nil {
		t.Fatal(err)
	}
	err = pack.Write(f, pack.Contents{
		Question: q, Entries: c.Entries(), Read: pack.Read{First: first, Last: last, Records: records}, MadeAt: noon, MadeBy: "ig",
		Program: "matron test", Site: "RBA", Source: "gw1", Checkpoint: cp, Note: signed, Key: l.key, Prove: l.tree.Prove,
	}, l.signer)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func member(t *testing.T, path, name string) string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// hazard:GW-31 control:C-230
func TestPatient(t *testing.T) {
	l := newLog(t)
	l.exchange("S1", "P1")
	l.exchange("S2", "P2")
	l.exchange("S3", "", "P1", "P9") // a search whose answer named P1
	l.add(audit.Record{Kind: audit.KindHeartbeat})
	path := l.pack(t, pack.Question{Patient: "P1"})
	r, err := pack.Verify(path, l.key)
	if err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	// Two exchanges: a decision and its outcome; a decision, one patient, its outcome.
	if r.Records != 5 || r.Manifest.Accesses != 2 || !r.KeyGiven {
		t.Errorf("%+v", r)
	}
	if r.Manifest.Read != (pack.Read{First: 1, Last: 9, Records: 9}) {
		t.Errorf("read %+v", r.Manifest.Read)
	}
	csv := member(t, path, "accesses.csv")
	if !strings.Contains(csv, "'=ward:OBS1") {
		t.Errorf("a cell is left to be taken for a formula:\n%s", csv)
	}
	if strings.Contains(csv, "P9") || strings.Contains(csv, "P2") {
		t.Errorf("somebody else's access:\n%s", csv)
	}
	page := member(t, path, "report.html")
	for _, want := range []string{"Who opened this patient", "Name of S3", "Name of S1", "999 000 0018", "3 November 2026 at 12:00:01 UTC", "gw1/1"} {
		if !strings.Contains(page, want) {
			t.Errorf("report lacks %q", want)
		}
	}
}

func TestNobody(t *testing.T) {
	l := newLog(t)
	l.exchange("S1", "P1")
	path := l.pack(t, pack.Question{Patient: "P7"})
	if r, err := pack.Verify(path, ""); err != nil || r.Err() != nil || r.KeyGiven {
		t.Fatal(err, r)
	}
	if !strings.Contains(member(t, path, "report.html"), "No access is recorded.") {
		t.Error("the report does not say so")
	}
}

// TestAnyByte alters every byte of a pack in turn, and fewer under the race
// detector.
// hazard:GW-31 control:C-230
func TestAnyByte(t *testing.T) {
	l := newLog(t)
	l.exchange("S1", "P1")
	path := l.pack(t, pack.Question{Person: "S1"})
	whole := read(t, path)
	altered := filepath.Join(t.TempDir(), "altered.zip")
	for i := 0; i < len(whole); i += everyNth {
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		if err := os.WriteFile(altered, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := pack.Verify(altered, l.key); err == nil && r.Err() == nil {
			t.Fatalf("byte %d of %d altered and not found", i, len(whole))
		}
	}
	for n := range 20 {
		if err := os.WriteFile(altered, append(bytes.Clone(whole), make([]byte, n)...)[:len(whole)-10+n], 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := pack.Verify(altered, l.key); n != 10 && err == nil && r.Err() == nil {
			t.Fatalf("%d bytes more than there were, and not found", n-10)
		}
	}
}

// TestRewritten has somebody who may sign packs and yet cannot put a record into
// the log make a pack with a record that was never in it.
func TestRewritten(t *testing.T) {
	l := newLog(t)
	l.exchange("S1", "P1")
	l.records[0].Person = "S2"
	l.contents[0] = l.records[0].MarshalCanonical()
	path := l.pack(t, pack.Question{Person: "S2"})
	r, err := pack.Verify(path, l.key)
	if err != nil || !errors.Is(r.Err(), pack.ErrAltered) {
		t.Fatal(err, r.Err())
	}
	if r.Problems[0].Seq != 1 || r.Problems[0].File != "proofs/gw1-1.tlog-proof" {
		t.Errorf("%+v", r.Problems)
	}
}

func TestAnotherKey(t *testing.T) {
	l, other := newLog(t), newLog(t)
	l.exchange("S1", "P1")
	path := l.pack(t, pack.Question{Person: "S1"})
	if r, err := pack.Verify(path, other.key); err != nil || r.Err() == nil {
		t.Fatal("a pack of another log was taken", err)
	}
}

func TestNoPack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no.zip")
	if err := os.WriteFile(path, []byte("PK\x03\x04 not really"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pack.Verify(path, ""); !errors.Is(err, pack.ErrNotPack) {
		t.Error(err)
	}
	if !pack.IsPack(path) || pack.IsPack(filepath.Dir(path)) {
		t.Error("IsPack")
	}
}
