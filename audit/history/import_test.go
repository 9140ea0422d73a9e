package history_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/history"
	"github.com/matron-epr/matron/audit/intake"
)

// count is how many imported rows there are, and how many of them are different.
func count(t *testing.T, store *clickhouse.Store) (rows, different uint64) {
	t.Helper()
	rows, different, err := store.CountImported(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rows, different
}

func wantRows(t *testing.T, store *clickhouse.Store, want uint64) {
	t.Helper()
	if rows, different := count(t, store); rows != want || different != want {
		t.Errorf("%d rows, %d different, want %d", rows, different, want)
	}
}

// summary compares what is interesting of one.
func wantSummary(t *testing.T, s history.Summary, err error, imported, known, rejected int) {
	t.Helper()
	if err != nil || s.Imported != imported || s.Known != known || s.Rejected != rejected || !s.Complete {
		t.Errorf("%+v, %v; want %d imported, %d known, %d rejected", s, err, imported, known, rejected)
	}
}

// TestNothingTwice: the same file, files that overlap, the same access in
// another format, and one id with other content.
func TestNothingTwice(t *testing.T) {
	store, _ := newStore(t)
	s, _, err := run(t.Context(), t, store, strings.NewReader(lines(0, 1000)), nil)
	wantSummary(t, s, err, 1000, 0, 0)
	s, _, err = run(t.Context(), t, store, strings.NewReader(lines(0, 1000)), nil)
	wantSummary(t, s, err, 0, 1000, 0)
	s, _, err = run(t.Context(), t, store, strings.NewReader(lines(600, 1600)), nil)
	wantSummary(t, s, err, 600, 400, 0)
	wantRows(t, store, 1600)

	changed := strings.Replace(line(7), `"outcome":"success"`, `"outcome":"denied"`, 1)
	later := strings.Replace(line(8), `"time":"2026-09`, `"time":"2026-10`, 1)
	list := `{"id":"l","time":"2026-01-01T00:00:00Z","person":"S1","action":"list","source":"pas","patients":["P1","P2"]}` + "\n"
	other := strings.Replace(list, `"P2"`, `"P3"`, 1)
	s, rejects, err := run(t.Context(), t, store, strings.NewReader(changed+later+list+line(9)), nil)
	wantSummary(t, s, err, 1, 1, 2)
	s, more, err := run(t.Context(), t, store, strings.NewReader(other+list), nil)
	wantSummary(t, s, err, 0, 1, 1)
	if diff := cmp.Diff([]intake.Reject{
		{Line: 1, Reason: "id e000000007 was imported before with other content"},
		{Line: 2, Reason: "id e000000008 was imported before with other content"},
		{Line: 1, Reason: "id l was imported before with other content"},
	}, append(rejects, more...)); diff != "" {
		t.Error(diff)
	}
	wantRows(t, store, 1602)

	mapping := &history.Mapping{Columns: map[string]string{"id": "id", "time": "t", "person": "p", "action": "a", "patients": "ps"}, Constants: map[string]string{"source": "pas"}}
	s, _, err = run(t.Context(), t, store, strings.NewReader("id,t,p,a,ps\nl,2026-01-01T01:00:00+01:00,S1,list,P1;P2\n"), func(c *history.Config) { c.Mapping = mapping })
	wantSummary(t, s, err, 0, 1, 0)
	s, _, err = run(t.Context(), t, store, strings.NewReader(strings.ReplaceAll(line(7), `"pas"`, `"lab"`)), nil)
	wantSummary(t, s, err, 1, 0, 0) // another system may use the same ids
}

// TestBlocksOfOneFile: what comes again within one file is found within a block
// and across blocks.
func TestBlocksOfOneFile(t *testing.T) {
	store, _ := newStore(t)
	const many = 120_000 // more than two blocks
	changed := strings.Replace(line(99_999), `"bytes":`, `"bytes":1`, 1)
	text := lines(0, many) + lines(0, 100) + lines(many-100, many) + changed
	for _, dry := range []bool{true, false} {
		s, rejects, err := run(t.Context(), t, store, strings.NewReader(text), func(c *history.Config) { c.DryRun = dry })
		wantSummary(t, s, err, many, 200, 1)
		if len(rejects) != 1 || rejects[0].Line != many+201 || !strings.HasPrefix(rejects[0].Reason, "id e000099999 ") {
			t.Errorf("%v", rejects)
		}
		if dry {
			wantRows(t, store, 0)
		}
	}
	wantRows(t, store, many)
}

// TestNeverMixed: no question about witnessed accesses is answered with an
// imported one, and the other way round every field comes back.
func TestNeverMixed(t *testing.T) {
	c := enginetest.Config(t, t.TempDir())
	c.Native = true
	e := enginetest.Start(t, c)
	t.Run("native", func(t *testing.T) { neverMixed(t, openStore(t, e.NativeAddr(), "native", e), 1) })
	t.Run("http", func(t *testing.T) { neverMixed(t, openStore(t, e.Addr(), "http", e), 0) }) // it is in already
}

func neverMixed(t *testing.T, store *clickhouse.Store, fresh int) {
	full := `{"id":"full","time":"2026-11-24T10:15:00.5+01:00","person":"S0007","action":"read","source":"pas","app":"epr","role":"nurse","session":"s1",` +
		`"device":"PC2","ip":"10.1.2.3","area":"results","screen":"R","resource":"Observation","patient":"P0042","nhs_number":"999 000 0018","deliberate":false,` +
		`"purpose":"TREAT","break_glass":true,"reason":"r","outcome":"denied","bytes":12,"results":7,"shoe":41}`
	s, _, err := run(t.Context(), t, store, strings.NewReader(full), nil)
	wantSummary(t, s, err, fresh, 1-fresh, 0)
	for _, q := range []audit.Query{{}, {Patient: "P0042"}, {Person: "S0007"}, {NHSNumber: "9990000018"}, {Site: "RBA"}} {
		if found, err := store.Accesses(t.Context(), q); err != nil || len(found) > 0 {
			t.Errorf("accesses %+v: %v, %v", q, found, err)
		}
		if found, err := store.People(t.Context(), q); err != nil || len(found) > 0 {
			t.Errorf("people %+v: %v, %v", q, found, err)
		}
	}
	if counts, err := store.Counts(t.Context()); err != nil || len(counts) > 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	hash := string(hasher(t).NHS("9990000018"))
	want := audit.Imported{
		Import: audit.Import{Batch: "b1", Origin: "accesses", File: "hash", At: now(), By: "ig"},
		Site:   "RBA", Source: "pas", ID: "full", Patient: "P0042", Line: 1, Time: time.Date(2026, 11, 24, 9, 15, 0, 500e6, time.UTC),
		Person: "S0007", Action: "read", App: "epr", Role: "nurse", Session: "s1", Device: "PC2", IP: "10.1.2.3", Area: "results", Screen: "R",
		Resource: "Observation", NHS: hash, Deliberate: "false", Purpose: "TREAT", BreakGlass: true, Reason: "r", Outcome: "denied",
		Bytes: 12, Results: 7, Extra: `{"shoe":41}`,
	}
	for q, n := range map[audit.Query]int{
		{}: 1, {Patient: "P0042"}: 1, {Person: "S0007"}: 1, {NHSNumber: hash}: 1, {Patient: "P0042", NHSNumber: "x"}: 1, {Site: "RBA"}: 1,
		{Patient: "P1"}: 0, {Person: "S1"}: 0, {Site: "RBB"}: 0, {NHSNumber: "9990000018"}: 0,
		{From: want.Time}: 1, {From: want.Time.Add(1000)}: 0, {To: want.Time}: 0, {To: want.Time.Add(1000)}: 1,
	} {
		found, err := store.Imported(t.Context(), q)
		if err != nil || len(found) != n {
			t.Errorf("%+v: %d rows, %v; want %d", q, len(found), err, n)
		}
		for _, got := range found {
			got.Key, got.Content = 0, [16]byte{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%+v:\n%s", q, diff)
			}
		}
	}
}

// TestPages: a list that is read in pages has every row once.
func TestPages(t *testing.T) {
	store, _ := newStore(t)
	text := lines(0, 500)
	for n := range 20 { // many at one time
		text += fmt.Sprintf(`{"id":"x%d","time":"2026-10-01T00:00:00Z","person":"S1","action":"list","patients":["A","B","C"]}`+"\n", n)
	}
	s, _, err := run(t.Context(), t, store, strings.NewReader(text), nil)
	wantSummary(t, s, err, 520, 0, 0)
	seen := make(map[string]bool)
	q := audit.Query{Limit: 7}
	for {
		page, err := store.Imported(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			if q.Before = (audit.Place{Time: r.Time, Source: r.Source, Seq: r.Key}); seen[r.ID+"/"+r.Patient] {
				t.Errorf("%s twice", r.ID)
			}
			seen[r.ID+"/"+r.Patient] = true
		}
		if len(page) < 7 {
			break
		}
	}
	if len(seen) != 560 {
		t.Errorf("%d rows, want 560", len(seen))
	}
}

// TestLateInsert: an insert of a run that was killed reaches the engine after
// the next run has stored the rest of the block. Its rows must not come twice.
func TestLateInsert(t *testing.T) {
	store, _ := newStore(t)
	spy := &lateStore{Store: store}
	text := lines(0, 40) + strings.ReplaceAll(lines(40, 80), `"time":"2026-09`, `"time":"2026-08`)
	if _, _, err := run(t.Context(), t, spy, strings.NewReader(text), nil); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	// One month of the block was stored before the kill, the other was not.
	if err := store.InsertImported(t.Context(), spy.token, spy.rows[:40]); err != nil {
		t.Fatal(err)
	}
	s, _, err := run(t.Context(), t, store, strings.NewReader(text), nil)
	wantSummary(t, s, err, 40, 40, 0)
	if err := store.InsertImported(t.Context(), spy.token, spy.rows); err != nil {
		t.Fatal(err)
	}
	wantRows(t, store, 80)
}

var errKilled = errors.New("killed")

// lateStore keeps an insert back.
type lateStore struct {
	*clickhouse.Store
	token string
	rows  []audit.Imported
}

func (s *lateStore) InsertImported(_ context.Context, token string, rows []audit.Imported) error {
	s.token, s.rows = token, rows
	return errKilled
}

// TestKill kills the importing process at different moments, while the rest of
// the file comes in, runs it again, and counts.
func TestKill(t *testing.T) {
	store, e := newStore(t)
	const many = 160_000
	file := filepath.Join(t.TempDir(), "accesses.ndjson")
	if err := os.WriteFile(file, []byte(lines(0, many)), 0o600); err != nil {
		t.Fatal(err)
	}
	killed := 0
	for _, at := range []uint64{1, 50_001, 100_001} {
		c := exec.CommandContext(t.Context(), os.Args[0], importArg, e.Addr(), e.User(), e.Password())
		c.Stderr = os.Stderr
		stdin, err := c.StdinPipe() // never closed, so that it cannot end by itself
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		text := open(t, file)
		go func() { _, _ = io.Copy(stdin, text) }() // ends with the process
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for waiting := true; waiting; {
			select {
			case err := <-ended:
				t.Fatalf("it ended before it could be killed: %v", err)
			default:
				if rows, _ := count(t, store); rows >= at {
					waiting = false
				}
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			t.Error("it ended well before it could be killed")
		}
		killed++
	}
	s, _, err := run(t.Context(), t, store, open(t, file), nil)
	if err != nil || s.Imported+s.Known != many || s.Known < 100_000 || s.Rejected != 0 {
		t.Errorf("after %d kills: %+v, %v", killed, s, err)
	}
	wantRows(t, store, many)
}

func open(t *testing.T, path string) io.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// importAndWait is the process that is killed.
func importAndWait(addr, user, password string) error {
	store, err := dial(addr, "http", user, password)
	if err != nil {
		return err
	}
	h, err := pseudonymHasher()
	if err != nil {
		return err
	}
	c := config(store, h)
	c.Rejects = func(r intake.Reject) error { return errors.New(r.Reason) }
	_, err = history.Import(context.Background(), c, os.Stdin)
	return err
}

// TestStopped: Ctrl-C ends an import after the block that is being stored, and a
// second run goes on.
func TestStopped(t *testing.T) {
	store, _ := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const many = 160_000
	stopping := &stopStore{Store: store, stop: cancel}
	s, _, err := run(ctx, t, stopping, strings.NewReader(lines(0, many)), nil)
	if !errors.Is(err, context.Canceled) || s.Complete || stopping.inserts.Load() != 1 || s.Imported != 50_000 {
		t.Errorf("%+v, %v", s, err)
	}
	wantRows(t, store, 50_000)
	s, _, err = run(t.Context(), t, store, strings.NewReader(lines(0, many)), nil)
	wantSummary(t, s, err, many-50_000, 50_000, 0)
	wantRows(t, store, many)
}

// stopStore is stopped in the middle of its first insert.
type stopStore struct {
	*clickhouse.Store
	stop    func()
	inserts atomic.Int32
}

func (s *stopStore) InsertImported(ctx context.Context, token string, rows []audit.Imported) error {
	s.inserts.Add(1)
	s.stop()
	return s.Store.InsertImported(ctx, token, rows)
}

// TestCompressed: zstd by content, and what is cut short says so and can go on.
func TestCompressed(t *testing.T) {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, lines(0, 3000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	store := new(nowhere)
	s, _, err := run(t.Context(), t, store, bytes.NewReader(packed.Bytes()), nil)
	wantSummary(t, s, err, 3000, 0, 0)
	s, _, err = run(t.Context(), t, store, bytes.NewReader(packed.Bytes()[:packed.Len()-100]), nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) || s.Complete {
		t.Errorf("%+v, %v", s, err)
	}
}

// nowhere is a store that forgets.
type nowhere struct{}

func (*nowhere) FindImported(context.Context, []audit.Imported) ([]audit.Imported, error) {
	return nil, nil
}
func (*nowhere) InsertImported(context.Context, string, []audit.Imported) error { return nil }

// TestFiles: what a file is is seen from its content, and what cannot be taken
// in says why.
func TestFiles(t *testing.T) {
	event := `{"resourceType":"AuditEvent","id":"1","type":{"code":"rest"},"action":"R","recorded":"2026-01-01T00:00:00Z",` +
		`"agent":[{"who":{"identifier":{"value":"S1"}},"requestor":true}],"source":{"observer":{"display":"pas"}}}`
	for _, c := range []struct {
		name, text string
		format     history.Format
		imported   int
		err        string
	}{
		{"nothing", "", history.Accesses, 0, ""},
		{"blank lines", "\n \r\n\n" + line(1) + "\n\n", history.Accesses, 1, ""},
		{"no line break at the end", strings.TrimSpace(line(1)), history.Accesses, 1, ""},
		{"byte order mark", "\xef\xbb\xbf" + line(1), history.Accesses, 1, ""},
		{"Windows line ends", strings.ReplaceAll(lines(0, 3), "\n", "\r\n"), history.Accesses, 3, ""},
		{"event", event + "\n", history.FHIR, 1, ""},
		{"event with the type at the end", strings.TrimSuffix(strings.Replace(event, `"resourceType":"AuditEvent",`, "", 1), "}") + `,"resourceType" : "AuditEvent"}`, history.FHIR, 1, ""},
		{"an access that speaks of one", strings.Replace(line(1), `"app":"epr"`, `"app":"\"resourceType\""`, 1), history.Accesses, 1, ""},
		{"several lines", "{\n  \"resourceType\": \"Bundle\",\n  \"entry\": []\n}\n", "", 0, "write one object a line"},
		{"UTF-16", "\xff\xfe{\x00", "", 0, "save it as UTF-8"},
		{"CSV without a mapping", "id,time\n1,2\n", history.CSV, 0, "needs a mapping file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, rejects, err := run(t.Context(), t, new(nowhere), strings.NewReader(c.text), nil)
			if c.err != "" {
				if !errors.Is(err, intake.ErrFile) || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %s", err, c.err)
				}
				return
			}
			if err != nil || s.Format != c.format || s.Imported != c.imported || len(rejects) > 0 {
				t.Errorf("%+v, %v, %v", s, rejects, err)
			}
		})
	}
}

// TestLongLines: one line too long, one that is not UTF-8, and the rest goes in;
// a rejected line is shown only where somebody asked for it.
func TestLongLines(t *testing.T) {
	bad := strings.Replace(line(2), "S0062", "S\xff62", 1)
	text := line(1) + `{"id":"` + strings.Repeat("x", 1<<20) + "\"}\n" + bad + line(3)
	for _, keep := range []bool{false, true} {
		s, rejects, err := run(t.Context(), t, new(nowhere), strings.NewReader(text), func(c *history.Config) { c.KeepLines = keep })
		wantSummary(t, s, err, 2, 0, 2)
		want := []intake.Reject{{Line: 2, Reason: "the line is longer than 1 MiB"}, {Line: 3, Reason: "not valid UTF-8"}}
		if keep {
			want[1].Text = strings.TrimSpace(bad)
		}
		if diff := cmp.Diff(want, rejects); diff != "" {
			t.Error(diff)
		}
	}
}

// TestUnclosedQuote: what follows a quote that is never closed is not swallowed
// without a word.
func TestUnclosedQuote(t *testing.T) {
	m := &history.Mapping{Columns: map[string]string{"id": "i", "time": "t", "person": "p", "action": "a"}}
	text := "i,t,p,a\n1,2026-01-01T00:00:00Z,S1,read\n2,\"2026-01-01T00:00:00Z,S1,read\n" + strings.Repeat("3,2026-01-01T00:00:00Z,S1,read\n", 50_000)
	s, rejects, err := run(t.Context(), t, new(nowhere), strings.NewReader(text), func(c *history.Config) { c.Mapping = m })
	wantSummary(t, s, err, 1, 0, 1)
	if len(rejects) != 1 || rejects[0].Line != 3 || !strings.Contains(rejects[0].Reason, "quote") {
		t.Errorf("%v", rejects)
	}
}
