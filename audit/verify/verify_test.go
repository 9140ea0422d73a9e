package verify_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/verify"
)

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

// log is a log whose records, hashes and checkpoints a test alters.
type log struct {
	records     []audit.Record
	tree        *merkle.Tree
	dir         string
	signer      note.Signer
	key         note.Verifier
	checkpoints []verify.Note
}

func newLog(t *testing.T, n int) *log {
	t.Helper()
	dir := t.TempDir()
	secret, public := filepath.Join(dir, "checkpoint.key"), filepath.Join(dir, "checkpoint.pub")
	if err := merkle.GenerateKey(merkle.Origin("RBA", "gw1"), secret, public); err != nil {
		t.Fatal(err)
	}
	l := &log{dir: filepath.Join(dir, "tree")}
	var err error
	if l.signer, err = merkle.ParseSigner(read(t, secret)); err != nil {
		t.Fatal(err)
	}
	if l.key, err = merkle.ParseVerifier(read(t, public)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		l.records = append(l.records, audit.Record{
			Source: "gw1", Seq: uint64(i) + 1, Time: noon.Add(time.Duration(i) * time.Second), Nonce: [16]byte{9, byte(i)},
			Kind: audit.KindHeartbeat, Person: "S1", Roles: []string{"nurse"},
		})
	}
	l.grow(t)
	return l
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// grow makes the tree anew from the records.
func (l *log) grow(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(l.dir); err != nil {
		t.Fatal(err)
	}
	tree, err := merkle.Open(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	for i := range l.records {
		tree.Add(audit.Leaf(l.records[i].MarshalCanonical()))
	}
	l.tree = tree
}

// sign adds a checkpoint of the first size records.
func (l *log) sign(t *testing.T, size uint64) {
	t.Helper()
	root, err := l.tree.RootAt(size)
	if err != nil {
		t.Fatal(err)
	}
	text, err := merkle.Checkpoint{Origin: l.signer.Name(), Size: size, Root: root}.Sign(l.signer)
	if err != nil {
		t.Fatal(err)
	}
	l.checkpoints = append(l.checkpoints, verify.Note{Name: fmt.Sprint("checkpoint-", size), Text: text})
}

func (l *log) scan(v verify.Visit) (journal.Report, error) {
	r := journal.Report{Source: "gw1"}
	next := l.records[0].Seq
	for i := range l.records {
		rec := l.records[i]
		if rec.Seq > next {
			r.Gaps = append(r.Gaps, journal.Gap{First: next, Last: rec.Seq - 1})
		}
		next = rec.Seq + 1
		if err := v(rec.Seq, rec.MarshalCanonical(), &rec); err != nil {
			return r, err
		}
		r.Last = rec.Seq
	}
	return r, nil
}

func (l *log) verify(t *testing.T, rows *table) verify.Report {
	t.Helper()
	o := verify.Options{Scan: l.scan, Tree: l.tree, Checkpoints: l.checkpoints, Key: l.key}
	if rows != nil {
		o.Index = &verify.Index{
			Rows: rows, Alone: rows.alone, Verified: rows.verified, HasLedger: true, Now: func() time.Time { return noon },
			Committed: func() (uint64, error) { return uint64(len(l.records)), nil },
		}
	}
	r, err := verify.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want checks the findings, each as "kind first-last".
func want(t *testing.T, r verify.Report, findings ...string) {
	t.Helper()
	var got []string
	for _, f := range r.Findings {
		if !slices.Contains([]string{"gw1", "gw9", "matron/RBA/gw1"}, f.Source) || f.Place == "" || f.What == "" {
			t.Errorf("a finding that does not say where or what: %+v", f)
		}
		got = append(got, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last))
	}
	if !slices.Equal(got, findings) {
		t.Fatalf("found %q, want %q\nnotes: %q", got, findings, r.Notes)
	}
	if (r.Err() == nil) != (len(findings) == 0) {
		t.Errorf("Err is %v", r.Err())
	}
}

// hazard:GW-31 control:C-228
func TestWhole(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 100)
	l.sign(t, 512)
	r := l.verify(t, nil)
	want(t, r)
	if r.Checkpoints != 2 || r.Signed != 512 {
		t.Errorf("%d checkpoints up to %d", r.Checkpoints, r.Signed)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "513 to 600") }) {
		t.Errorf("what no checkpoint covers is not said: %q", r.Notes)
	}
}

func TestAlteredRecord(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 512)
	l.records[299].Person = "S2"
	l.records[300].Person = "S2"
	want(t, l.verify(t, nil), "altered 300-301")
}

// TestRewritten has whoever altered a record make the hashes anew: without the
// key that leads to no signed root.
func TestRewritten(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 100)
	l.sign(t, 512)
	l.records[299].Person = "S2"
	l.grow(t)
	want(t, l.verify(t, nil), "forked 101-512")
}

// hazard:GW-14 control:C-57
func TestReordered(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 512)
	a, b := &l.records[9], &l.records[10]
	*a, *b = *b, *a
	a.Seq, b.Seq = 10, 11
	want(t, l.verify(t, nil), "altered 10-11")
}

// hazard:GW-13 control:C-55
func TestMissing(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 512)
	l.records = slices.Delete(l.records, 20, 25)
	want(t, l.verify(t, nil), "missing 21-25")
}

func TestTruncated(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 512)
	l.records = l.records[:400]
	want(t, l.verify(t, nil), "truncated 401-512")
}

// TestDamagedHashes has the tree lie where the records are what was signed.
func TestDamagedHashes(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 512)
	good := slices.Clone(l.records)
	l.records[50].Person = "S9"
	l.grow(t)
	l.records = good
	want(t, l.verify(t, nil))
}

func TestAnotherKey(t *testing.T) {
	l, other := newLog(t, 10), newLog(t, 10)
	l.sign(t, 10)
	l.key = other.key
	want(t, l.verify(t, nil), "unsigned 0-0")
}

// TestBeginning verifies a journal whose first part is archived elsewhere.
func TestBeginning(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 100)
	l.sign(t, 512)
	l.records = l.records[300:]
	r := l.verify(t, nil)
	want(t, r)
	if r.Checkpoints != 1 {
		t.Errorf("%d checkpoints", r.Checkpoints)
	}
	l.records[0].Person = "S2"
	want(t, l.verify(t, nil), "altered 301-301")
}

// TestLaterCheckpoints: what one checkpoint proves is not said again of each that
// follows.
func TestLaterCheckpoints(t *testing.T) {
	l := newLog(t, 60)
	for _, size := range []uint64{20, 40, 60, 60} {
		l.sign(t, size)
	}
	l.records[29].Person = "S2"
	want(t, l.verify(t, nil), "altered 30-30")
	l.grow(t)
	want(t, l.verify(t, nil), "forked 21-40")
	l.records = l.records[:10]
	want(t, l.verify(t, nil), "truncated 11-60")
}

// TestWitnesses: where witnesses are known, a checkpoint without them is not taken
// for one of theirs.
func TestWitnesses(t *testing.T) {
	l := newLog(t, 60)
	l.sign(t, 40)
	missing := errors.New("too few witnesses have cosigned")
	cosigned := func(is bool, err error) verify.Report {
		l.checkpoints[0].Cosigned = is
		r, err := verify.Run(t.Context(), verify.Options{
			Scan: l.scan, Tree: l.tree, Checkpoints: l.checkpoints, Key: l.key, Witnesses: func([]byte) error { return err },
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := cosigned(true, nil)
	want(t, r)
	if r.Cosigned != 40 || !strings.HasPrefix(r.Notes[0], "Records 41 to 60 came after") {
		t.Errorf("%d records cosigned, %q", r.Cosigned, r.Notes)
	}
	if r = cosigned(true, missing); r.Cosigned != 0 || r.Findings[0].What != missing.Error() {
		t.Errorf("%d records cosigned, %v", r.Cosigned, r.Findings)
	}
	want(t, r, "unsigned 0-0")
	want(t, cosigned(false, nil), "unsigned 0-0")
}

// TestNumberUsedTwice: what the journal finds of its segments is found here too.
func TestNumberUsedTwice(t *testing.T) {
	l := newLog(t, 3)
	r, err := verify.Run(t.Context(), verify.Options{Scan: func(v verify.Visit) (journal.Report, error) {
		found, err := l.scan(v)
		found.Forks = []journal.Fork{{Seq: 2, File: "x.seg", Offset: 128}}
		return found, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, "forked 2-2")
}

// table stands for ClickHouse: rows in any state.
type table struct {
	rows     []audit.Record
	others   []verify.Stretch
	alone    bool
	verified uint64
}

func (l *log) table() *table {
	rows := slices.Clone(l.records)
	for i := range rows {
		rows[i].Nonce = [16]byte{}
	}
	return &table{rows: rows, verified: uint64(len(rows))}
}

func (x *table) Sources(context.Context) ([]verify.Stretch, error) {
	list := slices.Clone(x.others)
	if n := len(x.rows); n > 0 {
		list = append(list, verify.Stretch{Source: "gw1", First: x.rows[0].Seq, Last: x.rows[n-1].Seq})
	}
	return list, nil
}

func (x *table) Each(_ context.Context, source string, first, last uint64, visit func(*audit.Record) error) error {
	if !slices.IsSortedFunc(x.rows, func(a, b audit.Record) int { return int(a.Seq) - int(b.Seq) }) {
		return fmt.Errorf("the rows of %s are out of order", source)
	}
	for _, r := range x.rows {
		if r.Seq >= first && r.Seq <= last {
			if err := visit(&r); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestRows(t *testing.T) {
	l := newLog(t, 600)
	l.sign(t, 600)
	r := l.verify(t, l.table())
	want(t, r)
	if r.Rows != 600 {
		t.Errorf("%d rows compared", r.Rows)
	}

	x := l.table()
	x.rows[9].Person = "S2"
	x.rows[9].Roles = nil
	r = l.verify(t, x)
	want(t, r, "altered 10-10")
	if !strings.HasSuffix(r.Findings[0].What, ": Person, Roles") {
		t.Errorf("which fields: %q", r.Findings[0].What)
	}

	x = l.table()
	x.rows = slices.Delete(x.rows, 100, 300)
	want(t, l.verify(t, x), "missing 101-300")

	x = l.table()
	x.rows = slices.Insert(x.rows, 5, x.rows[5])
	want(t, l.verify(t, x), "duplicated 6-6")

	x = l.table()
	x.rows = append(x.rows, audit.Record{Source: "gw1", Seq: 900})
	want(t, l.verify(t, x), "inserted 900-900")

	x = l.table()
	x.others = []verify.Stretch{{Source: "gw9", First: 7, Last: 8}}
	if r = l.verify(t, x); len(r.Notes) == 0 || !strings.Contains(r.Notes[len(r.Notes)-1], "gw9 (7 to 8)") {
		t.Errorf("another source: %q", r.Notes)
	}
	want(t, r)
	x.alone = true
	want(t, l.verify(t, x), "inserted 7-8")

	x = l.table()
	x.rows, x.verified = x.rows[:500], 400
	want(t, l.verify(t, x)) // 100 are still to be shipped
	x.verified = 450
	x.rows = x.rows[:400]
	want(t, l.verify(t, x), "missing 401-450")

	x = l.table()
	x.rows = nil // the partition was dropped
	want(t, l.verify(t, x), "missing 1-600")

	gap := newLog(t, 600)
	x = gap.table()
	gap.records = slices.Delete(gap.records, 20, 25)
	gap.checkpoints = nil
	want(t, gap.verify(t, x), "inserted 21-25", "missing 21-25")
}
