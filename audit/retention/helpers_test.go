package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/engine"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/audit/verify"
)

// applyArg makes the test binary a process that applies a plan and kills itself.
const applyArg = "apply"

func TestMain(m *testing.M) {
	if enginetest.IsChild() {
		os.Exit(engine.Child(os.Stdin, os.Stderr))
	}
	if len(os.Args) > 6 && os.Args[1] == applyArg {
		applyAndDie(os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6])
		return
	}
	m.Run()
}

// today is the day of every test; the older half of the records is of 2010.
func today() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

const (
	source = "gw1"
	old    = 60 // records that are old enough
	all    = 120
)

// hospital is a gateway's journal with everything around it, in one folder.
type hospital struct {
	dir, addr, password, database string

	store    *clickhouse.Store
	tree     *merkle.Tree
	signer   note.Signer
	key      note.Verifier
	verified uint64
	now      time.Time // when plans are made and applied
}

func (h *hospital) archive() string { return filepath.Join(h.dir, "archive") }
func (h *hospital) journal() string { return filepath.Join(h.dir, "journal") }
func (h *hospital) holds() string   { return filepath.Join(h.dir, "holds.ledger") }
func (h *hospital) plan() string    { return filepath.Join(h.dir, "plan.json") }
func (h *hospital) spool() string   { return filepath.Join(h.dir, "spool") }

func (h *hospital) config() journal.Config {
	return journal.Config{
		Dir: h.journal(), Archive: h.archive(), Source: source, Site: "RBA", Now: today, SegmentBytes: 1024, AppendTimeout: time.Minute,
		KeepPlain: 1, Signer: h.signer, Verifier: h.key,
	}
}

// newHospital fills a journal with exchanges, half of them old, ships it and
// archives it.
func newHospital(t *testing.T, e *engine.Engine) *hospital {
	t.Helper()
	h := &hospital{now: today(), dir: t.TempDir(), addr: e.Addr(), password: e.Password(), database: "m" + filepath.Base(t.TempDir()) + fmt.Sprint(time.Now().UnixNano())}
	origin := merkle.Origin("RBA", source)
	must(t, merkle.GenerateKey(origin, filepath.Join(h.dir, "log.key"), filepath.Join(h.dir, "log.pub")))
	must(t, os.Mkdir(h.archive(), 0o700))
	must(t, CreateHolds(h.holds()))
	must(t, h.keys())
	must(t, journal.Create(h.config()))
	for _, name := range []string{"ann", "bob", "cat"} {
		must(t, merkle.GenerateKey(name, filepath.Join(h.dir, name+".key"), filepath.Join(h.dir, name+".pub")))
	}
	must(t, h.connect())
	t.Cleanup(func() { _ = h.store.Close() })
	must(t, h.store.Migrate(t.Context()))
	j, err := journal.Open(h.config())
	must(t, err)
	h.fill(t, j)
	h.ship(t, j, true)
	must(t, j.Archive(h.verified))
	must(t, j.Close())
	must(t, h.view())
	t.Cleanup(func() { _ = h.tree.Close() })
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *hospital) keys() error {
	secret, err := os.ReadFile(filepath.Join(h.dir, "log.key"))
	if err != nil {
		return err
	}
	public, err := os.ReadFile(filepath.Join(h.dir, "log.pub"))
	if err != nil {
		return err
	}
	if h.signer, err = merkle.ParseSigner(secret); err != nil {
		return err
	}
	h.key, err = merkle.ParseVerifier(public)
	return err
}

func (h *hospital) connect() (err error) {
	h.store, err = clickhouse.Open(context.Background(), clickhouse.Config{
		Addr: []string{h.addr}, Database: h.database, User: "matron", Password: h.password, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	return err
}

func (h *hospital) view() (err error) {
	h.tree, err = merkle.View(journal.TreeDir(h.journal()))
	return err
}

// fill appends exchanges of three records: a decision, a further patient, an
// outcome.
func (h *hospital) fill(t *testing.T, j *journal.Journal) {
	t.Helper()
	at := time.Date(2010, 3, 1, 9, 0, 0, 0, time.UTC)
	for seq := uint64(1); seq <= all; seq += 3 {
		if seq == old+1 {
			at = today().AddDate(0, 0, -20)
		}
		at = at.Add(5 * time.Hour)
		n := seq / 3
		_, err := j.Append(t.Context(),
			&audit.Record{
				Kind: audit.KindDecision, Time: at, Request: fmt.Sprint("r", seq), Patient: fmt.Sprint("P", n%10),
				NHSNumber: fmt.Sprintf("99900000%02d", n%10), Person: fmt.Sprint("S", n%4), Effect: "allow",
			},
			&audit.Record{Kind: audit.KindPatient, Time: at, Request: fmt.Sprint("r", seq), Patient: fmt.Sprint("Q", n%10), Person: fmt.Sprint("S", n%4)},
			&audit.Record{Kind: audit.KindOutcome, Time: at, Request: fmt.Sprint("r", seq), Decision: seq, Outcome: audit.Success, Status: 200})
		must(t, err)
	}
}

// ship brings the journal into ClickHouse and counts everything. An alarm fails
// the test unless fresh is set, when rows are expected to be new.
func (h *hospital) ship(t *testing.T, j clickhouse.Source, fresh bool) {
	t.Helper()
	ledger, entries, err := journal.OpenLedger(filepath.Join(h.dir, "blocks.ledger"))
	must(t, err)
	defer func() { must(t, ledger.Close()) }()
	s, err := clickhouse.NewShipper(clickhouse.ShipperConfig{
		Store: h.store, Source: j, Ledger: ledger, Entries: entries, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		BlockRows: 50, MaxDelay: time.Millisecond, VerifyEvery: 100 * time.Millisecond, BackOff: 5 * time.Millisecond,
	})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for st := s.Status(); st.Verified < st.Committed || st.LastReconcile.IsZero(); st = s.Status() {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-t.Context().Done():
			t.Fatal("not shipped")
		case <-tick.C:
		}
	}
	must(t, s.Reconcile(ctx))
	stop()
	must(t, <-done)
	h.verified = s.Status().Verified
	if st := s.Status(); !fresh && (st.Missing > 0 || st.Duplicates > 0 || st.Beyond > 0) {
		t.Errorf("alarm after a disposal: %+v", st)
	}
	entries, err = journal.ReadLedger(filepath.Join(h.dir, "blocks.ledger"))
	must(t, err)
	for _, e := range entries {
		if strings.Contains(string(e), `"alarm"`) {
			t.Errorf("alarm in the ledger: %s", e)
		}
	}
}

func (h *hospital) log() (Log, error) {
	text, err := os.ReadFile(journal.CheckpointFile(h.journal()))
	if err != nil {
		return Log{}, err
	}
	cp, err := merkle.OpenCheckpoint(text, h.key)
	if err != nil {
		return Log{}, err
	}
	list, bad, err := Disposals(h.archive(), h.key)
	if err == nil && len(bad) > 0 {
		err = bad[0].Err
	}
	return Log{
		Origin: h.key.Name(), Source: source, Archive: h.archive(), Dirs: []string{h.journal(), h.archive()}, Tree: h.tree,
		Checkpoint: cp, Verified: all, Disposed: UpTo(list),
	}, err
}

// makePlan writes a plan that zoe made.
func (h *hospital) makePlan(t *testing.T) Plan {
	t.Helper()
	p, err := h.tryPlan(t)
	must(t, err)
	text, err := p.Encode()
	must(t, err)
	must(t, journal.PutFile(h.plan(), text))
	return p
}

func (h *hospital) tryPlan(t *testing.T) (Plan, error) {
	t.Helper()
	l, err := h.log()
	must(t, err)
	holds, err := ReadHolds(h.holds(), source)
	must(t, err)
	return Make(t.Context(), l, holds, 8, "zoe as matron", h.now)
}

func (h *hospital) approve(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		h.approveAs(t, name, name)
	}
}

func (h *hospital) approveAs(t *testing.T, name, key string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, key+".key"))
	must(t, err)
	signer, err := merkle.ParseSigner(text)
	must(t, err)
	_, err = Approve(h.plan(), name, signer)
	must(t, err)
}

func (h *hospital) apply(step func(string)) (d Disposal, err error) {
	l, err := h.log()
	if err != nil {
		return d, err
	}
	var approvers []Approver
	for _, name := range []string{"ann", "bob", "zoe"} {
		file := name
		if name == "zoe" { // who makes the plans has the key of cat
			file = "cat"
		}
		text, err := os.ReadFile(filepath.Join(h.dir, file+".pub"))
		if err != nil {
			return d, err
		}
		key, err := merkle.ParseVerifier(text)
		if err != nil {
			return d, err
		}
		approvers = append(approvers, Approver{name, key})
	}
	holds, err := OpenHolds(h.holds(), source)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, holds.Close()) }()
	return Applying{
		Log: l, Holds: holds, PlanFile: h.plan(), Approvers: approvers, KeepYears: 8, Signer: h.signer, Verifier: h.key, Rows: h.store,
		Record: func(r *audit.Record) error { return spool.Put(h.spool(), r) }, By: "op", Now: h.now, step: step,
	}.Apply(context.Background())
}

// applyAndDie is the life of a process that is killed at a step of Apply.
func applyAndDie(dir, addr, password, database, at string) {
	h := &hospital{now: today(), dir: dir, addr: addr, password: password, database: database}
	err := errors.Join(h.keys(), h.connect(), h.view())
	if err == nil {
		_, err = h.apply(func(step string) {
			if strings.HasPrefix(step, at) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until it arrives
			}
		})
	}
	fmt.Println("not killed:", err)
}

// hold places a hold as the hold command does.
func (h *hospital) hold(t *testing.T, hold Hold) Hold {
	t.Helper()
	holds, err := OpenHolds(h.holds(), source)
	must(t, err)
	hold.By, hold.At, hold.Reason = "ig", today(), "claim 2026/17"
	hold, err = holds.Place(hold)
	must(t, err)
	must(t, holds.Close())
	return hold
}

// rows is what verify asks of ClickHouse.
type rows struct{ *clickhouse.Store }

func (r rows) Sources(ctx context.Context) ([]verify.Stretch, error) {
	b, err := r.Bounds(ctx, source)
	return []verify.Stretch{{Source: source, First: b.First, Last: b.Last}}, err
}

// verify is "audit verify" with the configuration.
func (h *hospital) verify(t *testing.T) verify.Report {
	t.Helper()
	list, bad, err := Disposals(h.archive(), h.key)
	must(t, err)
	text, err := os.ReadFile(journal.CheckpointFile(h.journal()))
	must(t, err)
	o := verify.Options{
		Tree: h.tree, Key: h.key, Whole: true, Checkpoints: []verify.Note{{Name: "checkpoint", Text: text}},
		Index: &verify.Index{Rows: rows{h.store}, Verified: all, HasLedger: true, Now: today, Committed: func() (uint64, error) { return all, nil }},
		Scan: func(v verify.Visit) (journal.Report, error) {
			return journal.Verify(journal.VerifyOptions{Dirs: []string{h.journal(), h.archive()}, Visit: v})
		},
	}
	for _, b := range bad {
		o.Found = append(o.Found, verify.Finding{Kind: verify.Unsigned, Source: source, Place: b.File, What: b.Err.Error()})
	}
	for _, d := range list {
		o.Disposed = append(o.Disposed, verify.Disposal{
			First: d.Plan.First, Last: d.Plan.Last, Root: d.Plan.Root, Kept: d.Plan.Kept, Who: d.Who(), Place: d.KeptFile(),
			Visit: func(v verify.Visit) error { return d.Kept(v) },
		})
	}
	r, err := verify.Run(t.Context(), o)
	must(t, err)
	return r
}

// kinds are the findings of a report, each once.
func kinds(r verify.Report) (list []verify.Kind) {
	for _, f := range r.Findings {
		if !slices.Contains(list, f.Kind) {
			list = append(list, f.Kind)
		}
	}
	return list
}

// seqs are the numbers that have rows.
func (h *hospital) seqs(t *testing.T, upTo uint64) (list []uint64) {
	t.Helper()
	must(t, h.store.Each(t.Context(), source, 1, upTo, func(r *audit.Record) error {
		list = append(list, r.Seq)
		return nil
	}))
	return list
}
