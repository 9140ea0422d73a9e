package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
)

// TestRandomFaults lets calls on both disks fail at random over several lives:
// what was acknowledged is there, in its place, in the same boot and after a
// power cut, and no number is used twice.
// hazard:GW-12 control:C-52
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			luck := rand.New(rand.NewPCG(seed, 7))
			cfg, first, second := pair(t)
			mustCreate(t, cfg)
			if luck.IntN(2) == 0 {
				cfg.ProbeEvery = 100 * time.Microsecond
			}
			var acked []audit.Record
			for range 4 {
				acked = append(acked, unluckyLife(t, cfg, luck, first, second)...)
				first.heals()
				second.heals()
				whole(t, cfg)
			}
			holdsAll(t, anew(cfg, first, second), acked)
			holdsAll(t, cfg, acked)
		})
	}
}

// unluckyLife opens the journal, appends, lets calls fail, and closes it.
func unluckyLife(t *testing.T, cfg Config, luck *rand.Rand, disks ...*disk) (acked []audit.Record) {
	t.Helper()
	fail := func() {
		how := fault{lost: luck.IntN(3) == 0, half: luck.IntN(3) == 0, onward: luck.IntN(4) == 0}
		d := disks[luck.IntN(len(disks))]
		d.heals()
		n := 1 + luck.IntN(6)
		d.mu.Lock()
		how.op = d.ops + n
		d.inject = how
		d.mu.Unlock()
	}
	if luck.IntN(3) == 0 {
		fail()
	}
	j, err := Open(cfg)
	if err != nil {
		return nil // both places failed
	}
	for range 12 {
		if luck.IntN(3) == 0 {
			fail()
		}
		r := &audit.Record{Kind: audit.KindDecision, Patient: fmt.Sprint(luck.Uint32()), UserAgent: "0123456789abcdef0123456789abcdef0123456789abcdef"}
		_ = j.Add(&audit.Record{Kind: audit.KindOutcome})
		switch _, err := j.Append(t.Context(), r, &audit.Record{Kind: audit.KindPatient}); {
		case err == nil:
			acked = append(acked, *r)
		case !errors.Is(err, audit.ErrNotDurable):
			t.Error(err)
		}
		if cfg.ProbeEvery > 0 && luck.IntN(3) == 0 {
			time.Sleep(time.Duration(luck.IntN(3)) * time.Millisecond)
		}
	}
	_ = j.Close() // an injected fault may surface here
	return acked
}

// holdsAll opens the journal and reads it from many places.
func holdsAll(t *testing.T, cfg Config, acked []audit.Record) {
	t.Helper()
	cfg.ProbeEvery = 0
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	all := mustRead(t, j, 1, 1<<20)
	for i, r := range all {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d in place %d", r.Seq, i+1)
		}
		if got := mustRead(t, j, r.Seq, 2); len(got) == 0 || got[0].Seq != r.Seq {
			t.Fatalf("from %d: %d records", r.Seq, len(got))
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
	mustAppend(t, j, sample("after"))
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != uint64(len(all)+1) {
		t.Fatalf("%+v", report)
	}
}
