package witness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// crashDir names the folder that a re-executed test binary serves until it is
// killed.
const crashDir = "MATRON_TEST_WITNESS_DIR"

// TestServeUntilKilled is the child of TestKill9NeverSignsTwoRoots. On its own
// it has nothing to do.
func TestServeUntilKilled(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return
	}
	s, err := Open(Config{Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	_, _ = fmt.Fprintln(os.Stdout, "serving "+srv.URL)
	<-t.Context().Done()
}

// liar is a log that signs every history it is asked to, and remembers which of
// them the witness has cosigned.
type liar struct {
	*stand

	mu       sync.Mutex
	asked    []*grown         // since the last start
	cosigned map[int64]*grown // by size, over all lives of the witness
	tip      *grown           // the largest of them
	left     int              // cosignatures until the witness is killed
	delay    time.Duration    // between that and the kill; work goes on
	kill     func()
}

// TestKill9NeverSignsTwoRoots kills a witness again and again, right after an
// answer and under a load of rival histories of one log. What it has cosigned in
// all its lives must be one history, and its state must know all of it.
func TestKill9NeverSignsTwoRoots(t *testing.T) {
	l := &liar{stand: newStand(t), cosigned: map[int64]*grown{}, tip: &grown{}}
	if err := l.server.Close(); err != nil {
		t.Fatal(err)
	}
	unanswered := 0
	for round := range 40 {
		url := l.start(t)
		if l.recognise(t) {
			unanswered++
		}
		l.left, l.delay = 1+round%9, time.Duration(round%4)*1500*time.Microsecond
		var workers sync.WaitGroup
		for w := range 4 {
			workers.Go(func() {
				for n, alive := 0, true; alive; n++ {
					alive = l.compete(t, url, fmt.Sprintf("round %d worker %d try %d", round, w, n), 1+n%3)
				}
			})
		}
		workers.Wait()
		l.kill()
	}
	l.recognise(t)
	for size, g := range l.cosigned {
		if g.root(t, size) != l.tip.root(t, size) {
			t.Errorf("size %d is of another history than the last", size)
		}
	}
	if len(l.cosigned) < 150 {
		t.Errorf("only %d checkpoints were cosigned", len(l.cosigned))
	}
	t.Logf("%d checkpoints cosigned, up to size %d; %d kills between the write and the answer", len(l.cosigned), l.tip.size(), unanswered)
}

// start runs the child and returns its address.
func (l *liar) start(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context()) // cancel is kill -9
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestServeUntilKilled$")
	child.Env = append(os.Environ(), crashDir+"="+l.dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	l.kill = func() { once.Do(func() { cancel(); _ = child.Wait() }) }
	t.Cleanup(l.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "serving "); ok {
			return url
		}
		t.Log(lines.Text())
	}
	t.Fatal("the witness did not start again")
	return ""
}

// recognise compares the state with what was answered. It reports whether the
// witness died between writing a state and answering: then the state is one
// that was asked for, and nobody has seen its cosignature.
func (l *liar) recognise(t *testing.T) bool {
	t.Helper()
	_, logs, err := Show(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	size, root := logs[0].Size, logs[0].Root
	asked := l.asked
	l.asked = nil
	if best := l.tip.size(); size < best {
		t.Fatalf("size %d was cosigned, and after kill -9 the witness knows %d", best, size)
	}
	if size == l.tip.size() {
		if got := l.tip.root(t, size).String(); size > 0 && got != root {
			t.Fatalf("size %d: root %s was cosigned, and the witness knows %s", size, got, root)
		}
		return false
	}
	for _, g := range asked {
		if g.size() == size && g.root(t, size).String() == root {
			l.tip = g
			return true
		}
	}
	t.Fatalf("the witness knows size %d with a root that nobody has sent", size)
	return false
}

// compete has a history of its own cosigned beyond the tip, and tries two that
// must never be: another root for the size of the tip, and the same again as if
// the tip did not exist. It reports whether the witness still lives.
func (l *liar) compete(t *testing.T, url, label string, n int) bool {
	l.mu.Lock()
	tip := l.tip
	next := tip.branch()
	next.grow(t, n, label)
	l.asked = append(l.asked, next)
	l.mu.Unlock()
	if !l.ask(t, url, tip.size(), next) {
		return false
	}
	if tip.size() == 0 {
		return true
	}
	lie := &grown{}
	lie.grow(t, int(tip.size()), label)
	return l.ask(t, url, tip.size(), lie) && l.ask(t, url, tip.size()-1, lie)
}

// ask notes what the witness cosigns, and kills it when it is time.
func (l *liar) ask(t *testing.T, url string, old int64, g *grown) bool {
	size := g.size()
	signed := checkpoint(t, g, size, origin, l.signer)
	b := request{old: old, proof: g.mustProve(t, old, size), note: signed}.body()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+endpoint, bytes.NewReader(b))
	if err != nil {
		t.Error(err)
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false // killed
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch resp.StatusCode {
	case http.StatusConflict:
		return l.left > 0 || l.delay > 0
	case http.StatusOK:
	default:
		t.Errorf("status %d: %s", resp.StatusCode, got)
		return false
	}
	if l.left--; l.left == 0 && l.delay == 0 {
		l.kill() // before the next instruction of the witness, if it can be
	} else if l.left == 0 {
		time.AfterFunc(l.delay, l.kill)
	}
	if _, err := note.Open(append(signed, got...), note.VerifierList(l.own)); err != nil {
		t.Errorf("size %d: %v", size, err)
	}
	if before, ok := l.cosigned[size]; ok && before.root(t, size) != g.root(t, size) {
		t.Errorf("size %d: TWO ROOTS were cosigned", size)
	}
	l.cosigned[size] = g
	if size > l.tip.size() {
		l.tip = g
	}
	return l.left > 0 || l.delay > 0
}
