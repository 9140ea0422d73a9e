package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
)

// killDir names the folder in which a re-executed test binary writes until it is
// killed.
const killDir = "MATRON_TEST_JOURNAL_DIR"

// TestWriteUntilKilled is the child of TestKill9LosesNothing. On its own it has
// nothing to do.
func TestWriteUntilKilled(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return
	}
	cfg := Config{Dir: dir, Source: "gw1", Now: at, SegmentBytes: 1 << 16, AppendTimeout: time.Minute}
	j := mustOpen(t, cfg)
	var out sync.Mutex
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for {
				receipt, err := j.Append(t.Context(), sample("1"), sample("2"))
				if err != nil {
					t.Error(err)
					return
				}
				out.Lock()
				_, _ = fmt.Fprintln(os.Stdout, receipt)
				out.Unlock()
				if err := j.Add(&audit.Record{Kind: audit.KindOutcome, Decision: receipt.Seq}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
}

// TestKill9LosesNothing kills a process that writes, again and again, and finds
// every record that was acknowledged, none twice and none missing between.
func TestKill9LosesNothing(t *testing.T) {
	cfg := config(t)
	cfg.SegmentBytes = 1 << 16
	mustCreate(t, cfg)
	acked := map[string]bool{}
	for round := range 8 {
		before := len(acked)
		writeAndKill(t, cfg.Dir, 40+97*round, acked)
		if len(acked) < before+40 {
			t.Fatalf("round %d: only %d records were acknowledged", round, len(acked)-before)
		}
		report, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
		if err := errors.Join(err, report.Err()); err != nil {
			t.Fatalf("round %d: verify: %v", round, err)
		}
	}
	j := mustOpen(t, cfg)
	found := map[string]bool{}
	last := j.Committed()
	for i, r := range mustRead(t, j, 1, 1<<30) {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d in place %d", r.Seq, i+1)
		}
		found[audit.Receipt{Source: r.Source, Seq: r.Seq, Leaf: audit.Leaf(r.MarshalCanonical())}.String()] = true
	}
	if uint64(len(found)) != last {
		t.Errorf("%d records were read of %d", len(found), last)
	}
	for receipt := range acked {
		if !found[receipt] {
			t.Errorf("acknowledged and lost: %s", receipt)
		}
	}
}

// writeAndKill runs the child until it has acknowledged n runs, kills it, and
// notes every receipt that it printed.
func writeAndKill(t *testing.T, dir string, n int, acked map[string]bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel() // kill -9
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestWriteUntilKilled$")
	child.Env = append(os.Environ(), killDir+"="+dir)
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for i := 0; lines.Scan(); i++ {
		if i == n {
			cancel()
		}
		acked[lines.Text()] = true
	}
	_ = child.Wait() // killed
}
