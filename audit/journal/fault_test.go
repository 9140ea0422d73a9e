package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// small makes several segments out of few records.
func small(t testing.TB) Config {
	t.Helper()
	cfg := config(t)
	cfg.SegmentBytes = 2048
	cfg.wrap = unsynced
	return cfg
}

// work appends and adds records until the end or the first error. It returns
// copies of those that were acknowledged, and checks each at once.
func work(t testing.TB, j *Journal, d *disk, rounds int) (acked []audit.Record) {
	t.Helper()
	for i := range rounds {
		records := make([]*audit.Record, 1+i%3)
		for n := range records {
			records[n] = &audit.Record{Kind: audit.KindDecision, Patient: fmt.Sprintf("%d-%d", i, n), UserAgent: "0123456789abcdef"}
		}
		if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Detail: []string{"added"}}); err != nil {
			return acked
		}
		receipt, err := j.Append(t.Context(), records...)
		if err != nil {
			if !errors.Is(err, audit.ErrNotDurable) || strings.Count(err.Error(), audit.ErrNotDurable.Error()) != 1 {
				t.Errorf("append: %v does not wrap ErrNotDurable, or says it twice", err)
			}
			if j.Healthy() == nil {
				t.Error("healthy after a failed append")
			}
			return acked
		}
		if want := (audit.Receipt{Source: "gw1", Seq: records[0].Seq, Leaf: audit.Leaf(records[0].MarshalCanonical())}); receipt != want {
			t.Errorf("receipt %v, want %v", receipt, want)
		}
		for _, r := range records {
			if d != nil && !d.holds(r.MarshalCanonical()) {
				t.Errorf("record %d was acknowledged and is not on stable storage", r.Seq)
			}
			acked = append(acked, *r)
		}
	}
	return acked
}

// survives opens the journal again and checks that it is whole, holds every
// acknowledged record, takes more, and verifies.
func survives(t testing.TB, cfg Config, acked []audit.Record) {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	all, err := j.Read(1, 1<<20)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	for i, r := range all {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d in place %d", r.Seq, i+1)
		}
	}
	for _, r := range acked {
		if r.Seq > uint64(len(all)) {
			t.Fatalf("acknowledged record %d is lost: the last is %d", r.Seq, len(all))
		}
		if diff := cmp.Diff(r, all[r.Seq-1]); diff != "" {
			t.Fatalf("record %d (-acknowledged +read):\n%s", r.Seq, diff)
		}
	}
	if got := mustAppend(t, j, sample("after")).Seq; got != uint64(len(all)+1) {
		t.Fatalf("next record is %d, want %d", got, len(all)+1)
	}
	mustClose(t, j)
	report, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err := errors.Join(err, report.Err()); err != nil {
		t.Fatalf("verify: %v", err)
	}
	if report.Records != uint64(len(all)+1) || report.Torn != 0 {
		t.Fatalf("verify found %d records and %d torn bytes", report.Records, report.Torn)
	}
}

// session is a whole life of a journal: made, opened, used, closed, twice.
func session(t testing.TB, cfg Config, d *disk) (acked []audit.Record, created bool) {
	t.Helper()
	if err := Create(cfg); err != nil {
		return nil, false
	}
	for range 2 {
		j, err := Open(cfg)
		if err != nil {
			return acked, true
		}
		acked = append(acked, work(t, j, d, 8)...)
		_ = j.Close() // an injected fault may surface here
	}
	return acked, true
}

// on is a journal in another folder.
func on(dir string) Config {
	return Config{Dir: dir, Source: "gw1", Now: at, SegmentBytes: 2048, AppendTimeout: time.Minute, wrap: unsynced}
}

// reopened opens the journal in the same boot and returns what it then calls
// committed. It is left as a crash would leave it.
func reopened(t testing.TB, cfg Config) []audit.Record {
	t.Helper()
	j := mustOpen(t, cfg)
	records := mustRead(t, j, 1, 1<<20)
	if err := j.lock.Close(); err != nil {
		t.Fatal(err)
	}
	return records
}

// TestEveryCallFails lets each write, sync, truncate, reserve and folder sync of
// a journal's life fail in turn: lost, half done, and done but reported failed.
// Whatever was acknowledged is there when the journal is opened again, in the
// same boot and after a power cut.
func TestEveryCallFails(t *testing.T) {
	for name, how := range map[string]fault{"lost": {lost: true}, "half": {half: true}, "persisted": {}} {
		t.Run(name, func(t *testing.T) {
			for op := 1; ; op++ {
				cfg := small(t)
				d := newDisk(t, cfg.Dir)
				cfg.wrap = d.wrap
				d.inject = how
				d.inject.op = op
				acked, created := session(t, cfg, d)
				done := d.ops < op
				d.inject = fault{}
				if created {
					survives(t, on(d.cutPower(nil)), acked)
				} else if err := Create(cfg); err != nil && !errors.Is(err, ErrExists) {
					t.Fatalf("call %d: create again: %v", op, err)
				}
				known := reopened(t, cfg)
				survives(t, on(d.cutPower(nil)), known)
				survives(t, cfg, append(known, acked...))
				if t.Failed() {
					t.Fatalf("call %d", op)
				}
				if done {
					if op < 50 {
						t.Fatalf("only %d calls were tried", op)
					}
					return
				}
			}
		})
	}
}

// TestPowerCutTearsTheLastCommit leaves any subset of the sectors that were not
// synced, so that valid frames may stand behind a hole of the same commit.
func TestPowerCutTearsTheLastCommit(t *testing.T) {
	luck := rand.New(rand.NewPCG(1, 2))
	torn := 0
	for range 60 {
		cfg := config(t)
		cfg.SegmentBytes = 1 << 16
		d := newDisk(t, cfg.Dir)
		cfg.wrap = d.wrap
		mustCreate(t, cfg)
		j, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		acked := work(t, j, d, 3)
		d.mu.Lock()
		d.inject = fault{op: d.ops + 2, lost: true} // the sync of the next commit
		d.mu.Unlock()
		lost := make([]*audit.Record, 12)
		for i := range lost {
			lost[i] = sample("in doubt")
		}
		if _, err := j.Append(t.Context(), lost...); !errors.Is(err, audit.ErrNotDurable) {
			t.Fatalf("append: %v", err)
		}
		_ = j.Close()
		dirty := d.cutPower(luck)
		report, err := Verify(VerifyOptions{Dirs: []string{dirty}})
		if err := errors.Join(err, report.Err()); err != nil {
			t.Fatalf("verify before open: %v", err)
		}
		if report.Torn > 0 {
			torn++
		}
		survives(t, on(dirty), acked)
	}
	if torn < 30 {
		t.Errorf("only %d of 60 cuts tore the last commit", torn)
	}
}
