package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
)

func when() time.Time { return time.Date(2026, time.November, 26, 9, 30, 0, 0, time.UTC) }

func engineer() hazardlog.Actor {
	return hazardlog.Actor{Issuer: "os", Account: "bob", Name: "Bob"}
}

// begin stores the beginning of the starter log: its hazards and the first controls,
// more than go into one batch.
func begin(t *testing.T, s *store.Store) hazardlog.Log {
	t.Helper()
	return beginWith(t, s, 80)
}

// beginWith stores the first events of the starter log, 0 all of them.
func beginWith(t *testing.T, s *store.Store, events int) hazardlog.Log {
	t.Helper()
	changes, err := hazardlog.Starter()
	if events > 0 {
		changes = changes[:min(events, len(changes))]
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Begin(t.Context(), "matron", hazardlog.Actor{Issuer: hazardlog.SoftwareIssuer, Account: "matron"}, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// renamed is a change of the name of a hazard as l holds it.
func renamed(l hazardlog.Log, id, name string) hazardlog.Change {
	h, _ := l.Find(id)
	h.Name = name
	return hazardlog.Change{Act: hazardlog.Edit, Value: h, Expect: l.Revision(h.Subject()), Why: "clearer"}
}

// trail is the real journal as a publisher sees it. fault, when set, is asked at
// the start and at the end of Append.
type trail struct {
	*journal.Journal
	fault func(at string) error
}

func openTrail(dir string) (trail, error) {
	cfg := journal.Config{Dir: dir, Source: "gw1", Site: "RBA", Now: time.Now, SegmentBytes: 1 << 20, AppendTimeout: time.Minute}
	if _, err := os.Stat(dir); err != nil {
		if err := journal.Create(cfg); err != nil {
			return trail{}, err
		}
	}
	j, err := journal.Open(cfg)
	return trail{Journal: j}, err
}

func newTrail(t *testing.T) trail {
	t.Helper()
	tr, err := openTrail(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func (tr trail) at(point string) error {
	if tr.fault == nil {
		return nil
	}
	return tr.fault(point)
}

func (tr trail) Append(ctx context.Context, entries []store.Entry) (first, last uint64, err error) {
	if err := tr.at("before"); err != nil {
		return 0, tr.Committed() + uint64(len(entries)), err
	}
	var records []*audit.Record
	for _, e := range entries {
		records = append(records, &audit.Record{Kind: "hazard", Time: e.Event.At, Request: e.Event.ID, Detail: []string{"sha256=" + e.Hash}})
	}
	receipt, err := tr.Journal.Append(ctx, records...)
	if err == nil {
		err = tr.at("after")
	}
	return receipt.Seq, records[len(records)-1].Seq, err
}

func (tr trail) Find(_ context.Context, after uint64, events map[string]bool) (map[string]uint64, error) {
	found := map[string]uint64{}
	err := tr.Walk(after+1, int(tr.Committed()), func(r *audit.Record, _ []byte) bool {
		if events[r.Request] {
			found[r.Request] = r.Seq
		}
		return true
	})
	return found, err
}

// check holds that each event of the log is in the journal exactly once, with its
// hash, in order, and that the store knows where.
func (tr trail) check(ctx context.Context, s *store.Store, l hazardlog.Log) error {
	var recorded []string
	places := map[string]uint64{}
	if err := tr.Walk(1, int(tr.Committed()), func(r *audit.Record, _ []byte) bool {
		if r.Kind == "hazard" {
			recorded = append(recorded, r.Request+" "+strings.Join(r.Detail, ""))
			places[r.Request] = r.Seq
		}
		return true
	}); err != nil {
		return err
	}
	known, err := s.Places(ctx, l.ID)
	if err != nil {
		return err
	}
	var want []string
	for _, e := range l.Events() {
		body, err := e.Encode()
		if err != nil {
			return err
		}
		want = append(want, e.ID+" sha256="+hazardlog.Hash(body))
		if p := known[e.ID]; p.Source != "gw1" || p.Seq == 0 || p.Seq != places[e.ID] {
			return fmt.Errorf("event %d: the store says %+v, the journal %d", e.Seq, p, places[e.ID])
		}
	}
	if got, want := strings.Join(recorded, "\n"), strings.Join(want, "\n"); got != want {
		return fmt.Errorf("the journal holds\n%s\nthe store\n%s", got, want)
	}
	return nil
}

// childArg makes the test binary a gateway that publishes and is killed:
// child DATABASE JOURNAL POINT.
const childArg = "publish"

func child(ctx context.Context, args []string) int {
	driver, dsn, _ := strings.Cut(args[0], " ")
	db, err := open(ctx, driver, dsn)
	if err != nil {
		return failed(err)
	}
	tr, err := openTrail(args[1])
	if err != nil {
		return failed(err)
	}
	tr.fault = func(at string) error {
		if at == args[2] {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal comes
		}
		return nil
	}
	if _, err := store.NewPublisher(store.New(db, when), tr).Publish(ctx); err != nil {
		return failed(err)
	}
	return 0
}

func failed(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, err)
	return 1
}

// killedAt runs a child that is killed at a point of Append.
func killedAt(t *testing.T, d place, journalDir, point string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], childArg, d.dsn, journalDir, point)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child was not killed %s Append: %v: %s", point, err, out)
	}
}

func heartbeat() *audit.Record { return &audit.Record{Kind: audit.KindHeartbeat, Time: when()} }

// lateTrail gives up its first append, and leaves what it was to write.
type lateTrail struct {
	trail
	waiting []store.Entry
}

func (l *lateTrail) Append(ctx context.Context, entries []store.Entry) (first, last uint64, err error) {
	if l.waiting == nil {
		l.waiting = entries
		return 0, l.Committed() + uint64(len(entries)), errors.New("too late")
	}
	return l.trail.Append(ctx, entries)
}
