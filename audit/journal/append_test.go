package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

func TestAppendStampsRecords(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	first := &audit.Record{Kind: audit.KindStart, Source: "forged", Seq: 99}
	second := &audit.Record{Kind: audit.KindSignIn, Site: "RDZ", Time: time.Date(2026, 1, 2, 3, 4, 5, 6789, time.FixedZone("", 3600))}
	receipt := mustAppend(t, j, first, second)
	got := mustRead(t, j, 1, 10)
	want := []audit.Record{
		{Site: "RBA", Source: "gw1", Seq: 1, Time: at().Truncate(time.Microsecond), Kind: audit.KindStart, Nonce: got[0].Nonce},
		{Site: "RDZ", Source: "gw1", Seq: 2, Time: time.Date(2026, 1, 2, 2, 4, 5, 6000, time.UTC), Kind: audit.KindSignIn, Nonce: got[1].Nonce},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, []audit.Record{*first, *second}); diff != "" {
		t.Errorf("the caller's records differ from what was written:\n%s", diff)
	}
	if want := (audit.Receipt{Source: "gw1", Seq: 1, Leaf: audit.Leaf(got[0].MarshalCanonical())}); receipt != want {
		t.Errorf("receipt %v, want %v", receipt, want)
	}
}

func TestNoncesAreNeverUsedTwice(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	seen := map[[16]byte]bool{{}: true}
	for range 1000 {
		r := &audit.Record{}
		if err := j.Add(r); err != nil {
			t.Fatal(err)
		}
		if seen[r.Nonce] {
			t.Fatalf("record %d: nonce %x again", r.Seq, r.Nonce)
		}
		seen[r.Nonce] = true
	}
}

// TestTooLargeIsRefusedWhole: nothing of a run with a record that is too large
// is written, and no sequence number is used up.
func TestTooLargeIsRefusedWhole(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	huge := &audit.Record{Query: strings.Repeat("q", audit.MaxBytes)}
	_, err := j.Append(t.Context(), &audit.Record{}, huge)
	if !errors.Is(err, ErrTooLarge) || !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("append: %v", err)
	}
	if err := j.Add(huge); !errors.Is(err, ErrTooLarge) {
		t.Errorf("add: %v", err)
	}
	if _, err := j.Append(t.Context()); !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("append of nothing: %v", err)
	}
	if got := mustAppend(t, j, &audit.Record{}).Seq; got != 1 {
		t.Errorf("next record is %d", got)
	}
	large := &audit.Record{Query: strings.Repeat("q", audit.MaxBytes-200)}
	if got := mustAppend(t, j, large, large).Seq; got != 2 {
		t.Errorf("next record is %d", got)
	}
	if got := mustRead(t, j, 1, 10); len(got) != 3 || got[2].Query != large.Query {
		t.Errorf("read %d records", len(got))
	}
}

func TestCloseDrainsAdd(t *testing.T) {
	cfg := small(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for i := range 100 {
		if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Status: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, j)
	if err := j.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if err := j.Add(&audit.Record{}); !errors.Is(err, ErrClosed) || !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("add after close: %v", err)
	}
	if _, err := j.Append(t.Context(), &audit.Record{}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := j.Wait(t.Context(), 100); !errors.Is(err, ErrClosed) {
		t.Errorf("wait after close: %v", err)
	}
	j = mustOpen(t, cfg)
	if got := j.Committed(); got != 100 {
		t.Errorf("%d of 100 added records are there", got)
	}
}

// TestAddIsCommittedWithoutAppend: nobody has to wait for it.
func TestAddIsCommittedWithoutAppend(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for seq := range uint64(3) {
		if err := j.Add(&audit.Record{}); err != nil {
			t.Fatal(err)
		}
		if err := j.Wait(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyWritersAndAReader: runs stay contiguous, every acknowledged record is
// readable at once, and a reader that follows sees each record once, in order.
func TestManyWritersAndAReader(t *testing.T) {
	const writers, rounds = 16, 60
	cfg := config(t)
	cfg.SegmentBytes = 1 << 15
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range rounds {
				request := fmt.Sprintf("%d-%d", w, i)
				run := []*audit.Record{{Request: request, Kind: audit.KindDecision}, {Request: request, Kind: audit.KindPatient}, {Request: request, Kind: audit.KindPatient}}
				receipt, err := j.Append(t.Context(), run...)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := j.Read(receipt.Seq, 3)
				if err != nil || len(got) != 3 || got[0].Request != request || got[2].Request != request {
					t.Errorf("run %s of three is %v, %v", request, got, err)
				}
				if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Decision: receipt.Seq}); err != nil {
					t.Error(err)
				}
				j.Stats()
				if err := j.Healthy(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for next := uint64(1); next <= writers*rounds*4; {
		if err := j.Wait(t.Context(), next-1); err != nil {
			t.Fatal(err)
		}
		for _, r := range mustRead(t, j, next, 100) {
			if r.Seq != next {
				t.Fatalf("read %d, want %d", r.Seq, next)
			}
			next++
		}
	}
	all.Wait()
	mustClose(t, j)
	report, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err := errors.Join(err, report.Err()); err != nil || len(report.Unsettled) > 0 {
		t.Errorf("verify: %v, %d unsettled", err, len(report.Unsettled))
	}
	want := map[audit.Kind]uint64{audit.KindDecision: writers * rounds, audit.KindPatient: 2 * writers * rounds, audit.KindOutcome: writers * rounds}
	if diff := cmp.Diff(want, report.Kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func TestReadFromAnywhere(t *testing.T) {
	cfg := config(t)
	cfg.SegmentBytes = 1 << 17
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	const n = 5000
	for range n {
		if err := j.Add(&audit.Record{Kind: audit.KindOutcome}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Wait(t.Context(), n-1); err != nil {
		t.Fatal(err)
	}
	for _, from := range []uint64{0, 1, 4999, 5000, 5001, 9999, 1023, 1024, 1025, 2, 3000, 2999, 3001} {
		for _, limit := range []int{0, 1, 7, 1500, 9000} {
			got := mustRead(t, j, from, limit)
			first := max(from, 1)
			want := min(limit, max(0, n-int(first)+1))
			if len(got) != want {
				t.Fatalf("read(%d, %d): %d records, want %d", from, limit, len(got), want)
			}
			for i, r := range got {
				if r.Seq != first+uint64(i) {
					t.Fatalf("read(%d, %d): record %d in place %d", from, limit, r.Seq, i)
				}
			}
		}
	}
}

// slow opens a journal whose disk does not answer until release is called.
func slow(t *testing.T) (j *Journal, d *disk, release func()) {
	t.Helper()
	cfg := config(t)
	cfg.AppendTimeout = 0 // the default, 250 ms
	cfg.Now = time.Now
	d = newDisk(t, cfg.Dir)
	cfg.wrap = d.wrap
	mustCreate(t, cfg)
	j = mustOpen(t, cfg)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.block = make(chan struct{})
	return j, d, sync.OnceFunc(func() { close(d.block) })
}

// inTime says whether Append gave up when it should: after its limit, and not
// more than a slot later.
func inTime(took, limit time.Duration) bool { return took >= limit && took <= limit+limit/slots }

// TestSlowDiskIsNotDurable: Append gives up after the time it was given and never
// says durable before the disk has.
func TestSlowDiskIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, release := slow(t)
		defer release()
		began := time.Now()
		_, err := j.Append(t.Context(), &audit.Record{})
		if took := time.Since(began); !errors.Is(err, audit.ErrNotDurable) || !inTime(took, 250*time.Millisecond) {
			t.Errorf("append: %v after %v", err, took)
		}
		if err := j.Healthy(); !errors.Is(err, audit.ErrNotDurable) {
			t.Errorf("healthy while the disk hangs: %v", err)
		}
		if got := j.Committed(); got != 0 {
			t.Errorf("committed %d", got)
		}
		release()
		if err := j.Wait(t.Context(), 0); err != nil {
			t.Error(err)
		}
		if err := j.Healthy(); err != nil {
			t.Errorf("unhealthy after the disk answered: %v", err)
		}
		if got := mustAppend(t, j, &audit.Record{}).Seq; got != 2 {
			t.Errorf("the late record is not counted: next is %d", got)
		}
		mustClose(t, j)
	})
}

func TestAppendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, release := slow(t)
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
		defer cancel()
		_, err := j.Append(ctx, &audit.Record{})
		if !errors.Is(err, audit.ErrNotDurable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("append: %v", err)
		}
		if err := j.Wait(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait: %v", err)
		}
		release()
		mustClose(t, j)
	})
}

// TestBacklogIsBounded: a disk that hangs does not fill the memory.
func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, _, release := slow(t)
		defer release()
		large := &audit.Record{Query: strings.Repeat("q", audit.MaxBytes-1000)}
		var err error
		n := 0
		for ; err == nil && n < 2000; n++ {
			err = j.Add(large)
		}
		if !errors.Is(err, audit.ErrNotDurable) || n > 2*maxPending/audit.MaxBytes {
			t.Errorf("add %d: %v", n, err)
		}
		if err := j.Healthy(); err == nil {
			t.Error("healthy with a full backlog")
		}
		release()
		mustClose(t, j)
		if got := j.Committed(); got != uint64(n-1) {
			t.Errorf("%d of %d accepted records are there", got, n-1)
		}
	})
}

// TestSealedJournalRefuses: after a failed sync nothing is taken, everybody who
// waits is told, and what was durable before can still be read.
func TestSealedJournalRefuses(t *testing.T) {
	cfg := small(t)
	d := newDisk(t, cfg.Dir)
	cfg.wrap = d.wrap
	mustCreate(t, cfg)
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, &audit.Record{})
	d.mu.Lock()
	d.inject = fault{op: d.ops + 2, lost: true}
	d.mu.Unlock()
	waited := make(chan error, 1)
	go func() { waited <- j.Wait(t.Context(), 1) }()
	if _, err := j.Append(t.Context(), &audit.Record{}); !errors.Is(err, audit.ErrNotDurable) || !errors.Is(err, errInjected) {
		t.Errorf("append: %v", err)
	}
	if err := <-waited; !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("wait: %v", err)
	}
	if err := j.Add(&audit.Record{}); !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("add: %v", err)
	}
	if err := j.Healthy(); !errors.Is(err, audit.ErrNotDurable) {
		t.Errorf("healthy: %v", err)
	}
	if s := j.Stats(); !s.Sealed || s.Failed == nil || s.Committed != 1 {
		t.Errorf("stats %+v", s)
	}
	if got := mustRead(t, j, 1, 10); len(got) != 1 {
		t.Errorf("read %d records", len(got))
	}
	if err := j.Close(); !errors.Is(err, errInjected) {
		t.Errorf("close: %v", err)
	}
}

// TestEverybodyWaitingIsTold: those whose records wait for the next commit learn
// of a failed one at once, not when their time is up.
func TestEverybodyWaitingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, d, release := slow(t)
		defer release()
		var waiting sync.WaitGroup
		for range 2 {
			waiting.Go(func() {
				if _, err := j.Append(t.Context(), &audit.Record{}); !errors.Is(err, errInjected) {
					t.Errorf("append: %v", err)
				}
			})
			synctest.Wait() // the first is in the commit that hangs
		}
		d.mu.Lock()
		d.inject = fault{op: d.ops + 1, lost: true}
		d.mu.Unlock()
		release()
		waiting.Wait()
		if err := j.Close(); !errors.Is(err, errInjected) {
			t.Errorf("close: %v", err)
		}
	})
}

func TestStats(t *testing.T) {
	cfg := small(t)
	fill(t, cfg, 30)
	j := mustOpen(t, cfg)
	mustAppend(t, j, &audit.Record{}, &audit.Record{})
	if err := j.Add(&audit.Record{}); err != nil {
		t.Fatal(err)
	}
	if err := j.Wait(t.Context(), 32); err != nil {
		t.Fatal(err)
	}
	got := j.Stats()
	mustClose(t, j)
	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, path := range segments {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if len(segments) < 3 || got.Segments != len(segments) || got.Bytes != size {
		t.Errorf("%d segments of %d bytes, on disk %d of %d", got.Segments, got.Bytes, len(segments), size)
	}
	got.Segments, got.Bytes = 0, 0
	want := Stats{Committed: 33, Appended: 2, Added: 1, Syncs: 2, OldestSegment: 1, Place: cfg.Dir}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if j.Source() != "gw1" {
		t.Error(j.Source())
	}
}

// TestManyRecordsOneSync appends a search of 500 patients.
// hazard:GW-04 control:C-17
func TestManyRecordsOneSync(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	records := make([]*audit.Record, 500)
	for i := range records {
		records[i] = sample("9000001")
	}
	before := j.Stats().Syncs
	mustAppend(t, j, records...)
	if n := j.Stats().Syncs - before; n != 1 {
		t.Errorf("500 records cost %d syncs", n)
	}
	mustClose(t, j)
}
