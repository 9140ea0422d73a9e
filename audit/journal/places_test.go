package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// pair is a journal with a second place, each on a disk of its own.
func pair(t *testing.T) (cfg Config, first, second *disk) {
	t.Helper()
	cfg = small(t)
	cfg.SameDevice = true
	first = newDisk(t, cfg.Dir)
	cfg.wrap = first.wrap
	dir := t.TempDir()
	second = newDisk(t, dir)
	cfg.Second = []Place{&Dir{path: dir, wrap: second.wrap}}
	return cfg, first, second
}

// anew is the same journal as another process opens it after a power cut.
func anew(cfg Config, first, second *disk) Config {
	again := on(first.cutPower(nil))
	again.SameDevice = true
	again.Second = []Place{&Dir{path: second.cutPower(nil), wrap: unsynced}}
	if err := renamePlace(again.Dir, cfg.Second[0].Name(), again.Second[0].Name()); err != nil {
		panic(err)
	}
	return again
}

// renamePlace puts the new name of the second place into the file elsewhere.
func renamePlace(dir, old, fresh string) error {
	path := filepath.Join(dir, elsewhereName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(strings.Replace(string(b), old, fresh, 1)), 0o600) // of another length, which is fine
}

// dirs are the folders of a journal.
func dirs(cfg Config) []string {
	all := []string{cfg.Dir}
	for _, p := range cfg.Second {
		all = append(all, p.Name())
	}
	if cfg.Archive != "" {
		all = append(all, cfg.Archive)
	}
	return all
}

// whole verifies all folders of a journal and returns the report.
func whole(t testing.TB, cfg Config) Report {
	t.Helper()
	next := uint64(1)
	report, err := Verify(VerifyOptions{Dirs: dirs(cfg), Visit: func(seq uint64, canonical []byte, r *audit.Record) error {
		if seq != next || r.Seq != seq || string(r.MarshalCanonical()) != string(canonical) {
			return fmt.Errorf("record %d in place %d", seq, next)
		}
		next++
		return nil
	}})
	if err := errors.Join(err, report.Err()); err != nil {
		t.Fatalf("verify: %v", err)
	}
	return report
}

// twoDisks is disk.holds of two.
type twoDisks struct{ first, second *disk }

func (d twoDisks) holds(b []byte) bool { return d.first.holds(b) || d.second.holds(b) }

// wholeLife makes a journal, opens, uses and closes it, twice. Not one record
// may be refused.
func wholeLife(t *testing.T, cfg Config, d twoDisks) (acked []audit.Record, created bool) {
	t.Helper()
	if err := Create(cfg); err != nil {
		return nil, false
	}
	for life := range 2 {
		j, err := Open(cfg)
		if err != nil {
			t.Fatalf("life %d: open: %v", life, err)
		}
		for i := range 8 {
			records := make([]*audit.Record, 1+i%3)
			for n := range records {
				records[n] = &audit.Record{Kind: audit.KindDecision, Patient: fmt.Sprintf("%d-%d", i, n), UserAgent: "0123456789abcdef"}
			}
			if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Detail: []string{"added"}}); err != nil {
				t.Fatalf("add: %v", err)
			}
			mustAppend(t, j, records...)
			for _, r := range records {
				if !d.holds(r.MarshalCanonical()) {
					t.Errorf("record %d was acknowledged and is on no stable storage", r.Seq)
				}
				acked = append(acked, *r)
			}
			if err := j.Healthy(); err != nil {
				t.Errorf("unhealthy: %v", err)
			}
		}
		_ = j.Close() // an injected fault may surface here
	}
	return acked, true
}

// TestEveryCallFailsWithASecondPlace lets each call on the primary's files fail
// in turn, from then on or once: not one record is refused, and all of them are
// there when the journal is opened again, in the same boot and after a power cut.
func TestEveryCallFailsWithASecondPlace(t *testing.T) {
	for name, how := range map[string]fault{
		"lost": {lost: true}, "half": {half: true}, "persisted": {},
		"lost for good": {lost: true, onward: true}, "persisted, for good": {onward: true},
	} {
		t.Run(name, func(t *testing.T) {
			failedOver := 0
			for op := 1; ; op++ {
				cfg, first, second := pair(t)
				first.inject = how
				first.inject.op = op
				acked, created := wholeLife(t, cfg, twoDisks{first, second})
				done := first.ops < op
				first.inject = fault{}
				if !created {
					continue
				}
				report := whole(t, cfg)
				failedOver += len(report.Tails)
				survivesPair(t, anew(cfg, first, second), acked)
				survivesPair(t, cfg, acked)
				if t.Failed() {
					t.Fatalf("call %d", op)
				}
				if done {
					if op < 40 || failedOver == 0 {
						t.Fatalf("only %d calls were tried, with %d superseded tails", op, failedOver)
					}
					return
				}
			}
		})
	}
}

// survivesPair is survives for a journal of several folders.
func survivesPair(t *testing.T, cfg Config, acked []audit.Record) {
	t.Helper()
	j, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	all := mustRead(t, j, 1, 1<<20)
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
	if report := whole(t, cfg); report.Records != uint64(len(all)+1) || report.Torn != 0 {
		t.Fatalf("verify found %d records and %d torn bytes", report.Records, report.Torn)
	}
}

// breaks lets every call on a disk fail from now on.
func (d *disk) breaks(how fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how.op, how.onward = d.ops+1, true
	d.inject = how
}

// failsOnce lets the nth call from now on fail.
func (d *disk) failsOnce(n int, how fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	how.op = d.ops + n
	d.inject = how
}

func (d *disk) heals() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inject = fault{}
}

// TestSlowPrimaryIsAbandoned: a sync that hangs costs 250 ms once; the record is
// durable in the second place with the same bytes, and what the first says in the
// end counts no more.
// hazard:GW-12 control:C-48
// hazard:GW-12 control:C-52
func TestSlowPrimaryIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, first, second := pair(t)
		cfg.AppendTimeout, cfg.Now = 0, time.Now
		mustCreate(t, cfg)
		j := mustOpen(t, cfg)
		mustAppend(t, j, sample("1"))
		first.mu.Lock()
		first.block = make(chan struct{})
		release := sync.OnceFunc(func() { close(first.block) })
		first.mu.Unlock()
		defer release()
		began := time.Now()
		r := sample("2")
		mustAppend(t, j, r)
		if took := time.Since(began); took != 250*time.Millisecond {
			t.Errorf("append took %v", took)
		}
		if !second.holds(r.MarshalCanonical()) {
			t.Error("acknowledged and not on the second disk")
		}
		began = time.Now()
		mustAppend(t, j, sample("3"))
		if took := time.Since(began); took != 0 {
			t.Errorf("the next append took %v", took)
		}
		s := j.Stats()
		if !s.Second || s.Place != cfg.Second[0].Name() || s.FailOvers != 1 || len(s.Unwell) != 1 || j.Healthy() != nil {
			t.Errorf("stats %+v, healthy %v", s, j.Healthy())
		}
		syncs := s.Syncs
		release()
		synctest.Wait() // the late sync has returned
		if s := j.Stats(); s.Committed != 3 || s.Syncs != syncs {
			t.Errorf("a late result counts: %+v", s)
		}
		if got := mustRead(t, j, 1, 9); len(got) != 3 || got[1].Patient != "2" {
			t.Errorf("read %d records", len(got))
		}
		mustClose(t, j)
		report := whole(t, cfg)
		if want := []Tail{{File: segmentName(1), Records: 1}}; report.Records != 3 || !slices.Equal(report.Tails, want) {
			t.Errorf("%+v", report)
		}
	})
}

// TestBothSlow: where the last place hangs as well, records are refused after
// the time of both, and those that come through late are durable all the same.
func TestBothSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, first, second := pair(t)
		cfg.AppendTimeout, cfg.Now = 0, time.Now
		mustCreate(t, cfg)
		j := mustOpen(t, cfg)
		block := make(chan struct{})
		for _, d := range []*disk{first, second} {
			d.mu.Lock()
			d.block = block
			d.mu.Unlock()
		}
		began := time.Now()
		_, err := j.Append(t.Context(), sample("1"))
		if took := time.Since(began); !errors.Is(err, audit.ErrNotDurable) || !inTime(took, 500*time.Millisecond) {
			t.Errorf("append: %v after %v", err, took)
		}
		if j.Committed() != 0 {
			t.Error("committed without a sync")
		}
		close(block)
		if err := j.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if got := mustAppend(t, j, sample("2")).Seq; got != 2 {
			t.Errorf("next is %d", got)
		}
		mustClose(t, j)
		if report := whole(t, cfg); report.Records != 2 {
			t.Errorf("%+v", report)
		}
	})
}

// TestEverythingComesHome: when the primary has proven itself, writing goes on
// there, and the second place's segments are moved, so that the primary alone is
// the whole record.
func TestEverythingComesHome(t *testing.T) {
	cfg, first, second := pair(t)
	cfg.ProbeEvery = 2 * time.Millisecond
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	var acked []audit.Record
	appendOne := func() {
		r := sample("1")
		mustAppend(t, j, r)
		acked = append(acked, *r)
	}
	for round := range 3 {
		appendOne()
		first.breaks(fault{lost: round%2 == 0})
		for range 7 { // several segments
			appendOne()
		}
		if s := j.Stats(); !s.Second {
			t.Fatalf("round %d: %+v", round, s)
		}
		first.heals()
		for j.Stats().Second {
			appendOne()
			time.Sleep(time.Millisecond)
		}
	}
	empty := func() bool {
		names, err := cfg.Second[0].List()
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, segmentSuffix) })
	}
	for !empty() {
		if got := mustRead(t, j, 1, 1<<20); len(got) != len(acked) { // in the middle of moving
			t.Fatalf("read %d of %d records", len(got), len(acked))
		}
		time.Sleep(time.Millisecond)
	}
	for i, r := range mustRead(t, j, 1, 1<<20) {
		if diff := cmp.Diff(acked[i], r); diff != "" {
			t.Fatal(diff)
		}
	}
	for _, r := range acked {
		if !first.holds(r.MarshalCanonical()) {
			t.Fatalf("record %d is not on the primary's stable storage", r.Seq)
		}
	}
	mustClose(t, j)
	_ = second
	alone := cfg
	alone.Second = nil
	if report := whole(t, alone); report.Records != uint64(len(acked)) {
		t.Errorf("the primary alone holds %d of %d records", report.Records, len(acked))
	}
	j = mustOpen(t, alone) // everything is home: the second place is not asked for
	mustClose(t, j)
}

// TestNoPlaceLeft: records are refused, never taken in hope; those that were
// taken keep their bytes and come first when a place has proven itself again.
func TestNoPlaceLeft(t *testing.T) {
	cfg, first, second := pair(t)
	cfg.ProbeEvery = 2 * time.Millisecond
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	first.breaks(fault{half: true})
	second.breaks(fault{})
	doubted := sample("2")
	if _, err := j.Append(t.Context(), doubted); !errors.Is(err, audit.ErrNotDurable) {
		t.Fatalf("append: %v", err)
	}
	if err := j.Add(sample("3")); !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("add: %v", err)
	}
	if err := j.Healthy(); !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("healthy: %v", err)
	}
	if s := j.Stats(); s.Failed == nil || s.Committed != 1 || len(s.Unwell) != 2 {
		t.Errorf("stats %+v", s)
	}
	second.heals()
	if err := j.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := mustAppend(t, j, sample("4")).Seq; got != doubted.Seq+1 {
		t.Errorf("next is %d", got)
	}
	if got := mustRead(t, j, 2, 1); len(got) != 1 || cmp.Diff(got[0], *doubted) != "" {
		t.Errorf("the record in doubt changed: %v", cmp.Diff(got[0], *doubted))
	}
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != 3 {
		t.Errorf("%+v", report)
	}
}

// TestCrashWhileNothingCouldBeWritten: records that were written, not
// acknowledged and then left in an abandoned segment get no other's number.
func TestCrashWhileNothingCouldBeWritten(t *testing.T) {
	cfg, first, second := pair(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	first.breaks(fault{})                  // all of it gets there and is reported failed
	second.failsOnce(5, fault{half: true}) // the segment is made, and does not hold all of it
	if _, err := j.Append(t.Context(), sample("2"), sample("3")); !errors.Is(err, audit.ErrNotDurable) {
		t.Fatalf("append: %v", err)
	}
	_ = j.Close()
	first.heals()
	second.heals()
	if got := names(t, cfg.Second[0].Name(), segmentSuffix); !slices.Equal(got, []string{segmentName(2)}) {
		t.Fatalf("the second place holds %v", got)
	}
	if report := whole(t, cfg); report.Beyond == 0 || report.Records+report.Beyond != 3 {
		t.Errorf("%+v", report)
	}
	j = mustOpen(t, cfg)
	if got := j.Committed(); got != 3 {
		t.Errorf("committed %d", got)
	}
	if got := mustAppend(t, j, sample("4")).Seq; got != 4 {
		t.Errorf("next is %d", got)
	}
	mustClose(t, j)
	whole(t, cfg)
}

// TestNumberUsedTwiceIsAFork: two segments that give one number to different
// records are told apart from a superseded tail, by Open and by Verify.
func TestNumberUsedTwiceIsAFork(t *testing.T) {
	cfg, first, _ := pair(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	first.breaks(fault{lost: true})
	mustAppend(t, j, sample("2"))
	_ = j.Close()
	first.heals()
	alone := cfg
	alone.Second = nil
	j = mustOpen(t, alone) // the primary took no write that could have told of the second place
	mustAppend(t, j, sample("another 2"))
	mustClose(t, j)
	report, err := Verify(VerifyOptions{Dirs: dirs(cfg)}) // and then it is there again
	if err != nil || len(report.Forks) != 1 || report.Forks[0].Seq != 2 || !errors.Is(report.Err(), ErrCorrupt) {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := Open(cfg); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "record 2") {
		t.Errorf("open: %v", err)
	}
}

// TestAbandonedSegmentMustHoldWhatCounts: its tail may be torn, nothing before.
func TestAbandonedSegmentMustHoldWhatCounts(t *testing.T) {
	cfg, first, _ := pair(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	mustAppend(t, j, sample("2"))
	first.breaks(fault{half: true})
	mustAppend(t, j, sample("3"))
	_ = j.Close()
	first.heals()
	if report := whole(t, cfg); len(report.Tails) != 1 || report.Tails[0].Torn == 0 {
		t.Errorf("%+v", report)
	}
	path := filepath.Join(cfg.Dir, segmentName(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[segmentHead+frameHead+800] ^= 1 // in record 2
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Verify(VerifyOptions{Dirs: dirs(cfg)})
	if err != nil || len(report.Damage) == 0 && len(report.Gaps) == 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestSegmentOfLateCallIsHarmless: a call that was given up while it made a
// segment may still finish that; nothing follows it.
func TestSegmentOfLateCallIsHarmless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _, _ := pair(t)
		cfg.AppendTimeout, cfg.Now = 0, time.Now
		release := make(chan struct{})
		cfg.wrap = func(name string, f file) file {
			if name == segmentName(4)+newSuffix {
				return hangs{f, release}
			}
			return volatile{f}
		}
		mustCreate(t, cfg)
		j := mustOpen(t, cfg)
		for range 9 { // the fourth needs another segment
			mustAppend(t, j, sample("1"))
		}
		if s := j.Stats(); !s.Second || s.Committed != 9 {
			t.Fatalf("%+v", s)
		}
		close(release)
		synctest.Wait()
		late := filepath.Join(cfg.Dir, segmentName(4))
		if _, err := os.Stat(late); err != nil {
			t.Fatalf("the late call made no segment: %v", err)
		}
		mustClose(t, j)
		whole(t, cfg)
		j = mustOpen(t, cfg)
		if got := mustAppend(t, j, sample("10")).Seq; got != 10 {
			t.Errorf("next is %d", got)
		}
		for from := uint64(1); from <= 10; from++ {
			if got := mustRead(t, j, from, 99); uint64(len(got)) != 11-from || got[0].Seq != from {
				t.Errorf("from %d: read %d records", from, len(got))
			}
		}
		mustClose(t, j)
		if report := whole(t, cfg); report.Records != 10 {
			t.Errorf("%+v", report)
		}
	})
}

// hangs is a file whose Sync waits.
type hangs struct {
	file
	release chan struct{}
}

func (f hangs) Sync() error {
	<-f.release
	return f.file.Sync()
}
