package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// TestKillGateway kills the gateway in the middle of its work, again and again:
// no record that a receipt names is lost, none is there twice, and no engine is
// left behind.
// hazard:GW-02 control:C-08
func TestKillGateway(t *testing.T) {
	s := newRecordSite(t)
	s.unlimited()
	s.start()
	w := s.work(6)
	for range 4 {
		w.until(20 + rand.IntN(150))
		child := s.engine()
		s.kill()
		s.eventually("the engine has ended with its gateway", func() error {
			if alive(child) {
				return fmt.Errorf("process %d is alive", child)
			}
			return nil
		})
		s.verify()
		s.start()
	}
	w.until(50)
	w.stop()
	s.indexed()
	if got := s.run("audit", "verify", gateway.JournalDir(s.settings())); !strings.HasPrefix(got, "gw1: ") {
		t.Errorf("matron audit verify says %q", got)
	}
	s.stop()
	records := s.records()
	for i, r := range records {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d stands at place %d", r.Seq, i+1)
		}
	}
	w.compare(records)
	if got := kinds(records)[audit.KindStart]; got != 5 {
		t.Errorf("%d starts are recorded, want 5", got)
	}
	w.asUsual()
}

// TestKillEngine kills ClickHouse in the middle of its work: nobody who cares
// for patients notices, and the index heals.
// hazard:GW-12 control:C-51
func TestKillEngine(t *testing.T) {
	s := newRecordSite(t)
	s.unlimited()
	s.start()
	s.engineAfter(0)
	w := s.work(4)
	for range 3 {
		w.until(40)
		child := s.engine()
		if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.until(20) // care goes on while it is away
		if status, body := s.ready(); status != http.StatusOK {
			t.Errorf("/readyz: %d %s", status, body)
		}
		s.engineAfter(child)
	}
	w.stop()
	w.undisturbed()
	s.indexed()
	s.eventually("the index is said to be well", func() error {
		if got := s.metric("matron_index_healthy"); got != "1" {
			return fmt.Errorf("matron_index_healthy %s", got)
		}
		return nil
	})
	s.stop()
	w.compare(s.records())
}

// TestStopFinishesRequests sends SIGTERM while a request is on its way: its
// answer arrives, the stop is recorded, and the next start goes on behind it.
// hazard:GW-05 control:C-22
func TestStopFinishesRequests(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "the slow answer")
	}))
	s := newSite(t, "- {name: epr, prefix: /ui, upstream: \""+upstream+"/ui\", map: pages-map.yaml}\n")
	s.copyPagesMap()
	s.start()
	doctor := s.as("doctor")
	type result struct {
		status int
		body   []byte
		err    error
	}
	answered := make(chan result, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/ui/patients/P1/notes", strings.NewReader("note"))
		if err != nil {
			answered <- result{err: err}
			return
		}
		res, err := doctor.Do(r)
		if err != nil {
			answered <- result{err: err}
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		answered <- result{res.StatusCode, body, err}
	}()
	<-arrived
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.eventually("the gateway takes no new connection", func() error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/.matron/keys", nil)
		if err != nil {
			return err
		}
		res, err := s.stranger().Do(r)
		if err != nil {
			return nil //nolint:nilerr // refused, as it should be
		}
		return errors.Join(errors.New("it does"), res.Body.Close())
	})
	close(release)
	got := <-answered
	if got.err != nil || got.status != http.StatusOK || string(got.body) != "the slow answer" {
		t.Errorf("answer %d %q %v", got.status, got.body, got.err)
	}
	if err := s.process.Wait(); err != nil {
		t.Fatalf("exit: %v", err)
	}
	first := s.verify()
	if len(first.Unsettled) > 0 {
		t.Errorf("decisions without outcome: %v", first.Unsettled)
	}
	s.start()
	s.stop()
	records := s.records()
	last, next := records[first.Last-1], records[first.Last]
	if last.Kind != audit.KindStop || next.Kind != audit.KindStart || next.Seq != first.Last+1 {
		t.Errorf("record %d is %s, record %d is %s", last.Seq, last.Kind, next.Seq, next.Kind)
	}
}

func kinds(records []audit.Record) map[audit.Kind]int {
	n := map[audit.Kind]int{}
	for _, r := range records {
		n[r.Kind]++
	}
	return n
}

// kill ends the gateway as a power cut does.
func (s *site) kill() {
	s.t.Helper()
	if err := s.process.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := s.process.Wait(); !errors.As(err, &killed) {
		s.t.Fatalf("kill: %v", err)
	}
}

// engine is the process id of the gateway's ClickHouse.
func (s *site) engine() int {
	s.t.Helper()
	return s.engineAfter(0)
}

// engineAfter waits for a ClickHouse that is not the old one.
func (s *site) engineAfter(old int) (pid int) {
	s.t.Helper()
	s.eventually("the engine runs", func() error {
		for _, child := range children(s.t, s.process.Process.Pid) {
			if child != old && alive(child) {
				pid = child
				return nil
			}
		}
		return errors.New("no engine")
	})
	return pid
}

// children lists the engines among the children of a process.
func children(t *testing.T, parent int) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, dir := range all {
		stat, _ := os.ReadFile(filepath.Join(dir, "stat")) // a process that has gone is no child
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		_, rest, ok := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 || fields[1] != strconv.Itoa(parent) || !bytes.Contains(line, []byte(engineChildName)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest != "" && rest[0] != 'Z'
}
