package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/store"
)

func snapshot(t *testing.T, l hazardlog.Log) string {
	t.Helper()
	b, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is stored is what is read, by this store and by another on the same
// database.
func TestALogIsReadAsItWasWritten(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		l := begin(t, s)
		l, made, err := s.Change(t.Context(), "matron", engineer(), renamed(l, "GW-01", "A clinician is turned away: <now> & “then”"))
		if err != nil || len(made) != 1 {
			t.Fatalf("%d events, %v", len(made), err)
		}
		for name, other := range map[string]*store.Store{"same": s, "other": store.New(d.db, when)} {
			got, err := other.Log(t.Context(), "matron")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(snapshot(t, l), snapshot(t, got)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if diff := cmp.Diff(l.Events(), got.Events()); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if ids, err := s.IDs(t.Context()); err != nil || len(ids) != 1 || ids[0] != "matron" {
			t.Errorf("logs %v, %v", ids, err)
		}
	})
}

// A refused change leaves nothing behind, and says why.
func TestARefusedChangeLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		l := begin(t, s)
		if _, err := s.Log(t.Context(), "trust"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("no log: %v", err)
		}
		if _, _, err := s.Change(t.Context(), "trust", engineer(), renamed(l, "GW-01", "x")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a change of no log: %v", err)
		}
		if _, err := s.Begin(t.Context(), "matron", engineer(), hazardlog.Change{Act: hazardlog.OpenLog, Value: l.Head}); !errors.Is(err, store.ErrExists) {
			t.Errorf("a second beginning: %v", err)
		}
		if _, _, err := s.Change(t.Context(), "matron", engineer()); !errors.Is(err, hazardlog.ErrInvalid) {
			t.Errorf("no change: %v", err)
		}
		good := renamed(l, "GW-01", "Fine")
		bad := renamed(l, "GW-02", "")
		if _, _, err := s.Change(t.Context(), "matron", engineer(), good, bad); !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), "GW-02 name: is empty") {
			t.Errorf("half a change: %v", err)
		}
		now, err := s.Log(t.Context(), "matron")
		if err != nil || now.Seq() != l.Seq() {
			t.Errorf("%d events, had %d: %v", now.Seq(), l.Seq(), err)
		}
		if _, _, err := s.Change(t.Context(), "matron", engineer(), good); err != nil {
			t.Errorf("the log does not go on: %v", err)
		}
	})
}

// TestConcurrentEdits has several gateways change the same hazards at once. Each
// change is either stored or refused with what the others did; none is lost, none
// overwritten, and the log folds.
// hazard:GW-32 control:C-236
func TestConcurrentEdits(t *testing.T) {
	const people, rounds = 5, 6
	onEach(t, func(t *testing.T, d place) {
		l := begin(t, store.New(d.db, when))
		before := l.Seq()
		stores := []*store.Store{store.New(d.db, when), store.New(d.db, when)}
		var mu sync.Mutex
		var stored, conflicts int
		names := map[string]string{} // by hazard: what was stored last
		var wait sync.WaitGroup
		for person := range people {
			wait.Go(func() {
				s := stores[person%len(stores)]
				for round := range rounds {
					id := fmt.Sprintf("GW-%02d", 1+round%3)
					now, err := s.Log(t.Context(), "matron")
					if err != nil {
						t.Error(err)
						return
					}
					name := fmt.Sprintf("Name %d by person %d", round, person)
					after, _, err := s.Change(t.Context(), "matron", hazardlog.Actor{Issuer: "os", Account: fmt.Sprint("person", person)}, renamed(now, id, name))
					var conflict hazardlog.Conflict
					mu.Lock()
					switch {
					case err == nil:
						stored++
						if h, _ := after.Find(id); h.Name != name {
							t.Errorf("stored %q, holds %q", name, h.Name)
						}
					case errors.As(err, &conflict) && len(conflict.Since) > 0 && strings.Contains(err.Error(), "by person"):
						conflicts++
					default:
						t.Errorf("neither stored nor told: %v", err)
					}
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		now, err := store.New(d.db, when).Log(t.Context(), "matron")
		if err != nil {
			t.Fatal(err)
		}
		if stored+conflicts != people*rounds || now.Seq() != before+uint64(stored) {
			t.Errorf("%d stored, %d conflicts, %d events after %d", stored, conflicts, now.Seq(), before)
		}
		for _, e := range now.Events()[before:] {
			v, err := e.Content()
			if err != nil {
				t.Fatal(err)
			}
			names[e.Subject.ID] = v.(hazardlog.Hazard).Name
		}
		for id, want := range names {
			if h, _ := now.Find(id); h.Name != want {
				t.Errorf("%s is %q, the last event says %q", id, h.Name, want)
			}
		}
		t.Logf("%d stored, %d conflicts", stored, conflicts)
	})
}

// Whatever is altered in the database is noticed when the log is read.
// hazard:GW-32 control:C-233
func TestAlteredEventsAreNoticed(t *testing.T) {
	for _, c := range []struct{ name, query string }{
		{"a word", `UPDATE hazard_event SET body = replace(body, 'Matron', 'Nobody') WHERE seq = 1`},
		{"the last one", `UPDATE hazard_event SET body = replace(body, 'additional', 'existing') WHERE seq = (SELECT max(seq) FROM hazard_event)`},
		{"one is gone", `DELETE FROM hazard_event WHERE seq = 50`},
		{"another number", `UPDATE hazard_event SET seq = seq + 1 WHERE seq = (SELECT max(seq) FROM hazard_event)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, d place) {
				l := begin(t, store.New(d.db, when))
				if _, err := d.db.ExecContext(t.Context(), c.query); err != nil {
					t.Fatal(err)
				}
				if got, err := store.New(d.db, when).Log(t.Context(), l.ID); !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("read %d events, %v", got.Seq(), err)
				}
			})
		})
	}
}

// A log that was made elsewhere comes in with its history, and goes on.
func TestImport(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		whole, err := hazardlog.StarterLog()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Import(t.Context(), whole.Events()[:30]); err != nil {
			t.Fatal(err)
		}
		if err := s.Import(t.Context(), whole.Events()); err != nil {
			t.Fatal(err)
		}
		got, err := store.New(d.db, when).Log(t.Context(), "matron")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(snapshot(t, whole), snapshot(t, got)); diff != "" {
			t.Error(diff)
		}
		if err := s.Import(t.Context(), whole.Events()); !errors.Is(err, store.ErrExists) {
			t.Errorf("the same again: %v", err)
		}
		if _, _, err := s.Change(t.Context(), "matron", engineer(), renamed(got, "GW-01", "Here")); err != nil {
			t.Fatal(err)
		}
		there, _, err := whole.Record(when(), engineer(), func() string { return "x1" }, renamed(whole, "GW-01", "There"))
		if err != nil {
			t.Fatal(err)
		}
		there, _, err = there.Record(when(), engineer(), func() string { return "x2" }, renamed(there, "GW-02", "There"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Import(t.Context(), there.Events()); !errors.Is(err, store.ErrExists) || !strings.Contains(err.Error(), "another way") {
			t.Errorf("what went another way: %v", err)
		}
		altered := there.Events()
		altered[3].Why = "not so"
		if err := s.Import(t.Context(), altered); !errors.Is(err, hazardlog.ErrInvalid) {
			t.Errorf("altered events: %v", err)
		}
	})
}

// Each event is in the journal once, whatever the journal says of an append:
// lost, or there although it was said to have failed.
// hazard:GW-32 control:C-233
func TestEachEventIsRecordedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		l := begin(t, s)
		tr := newTrail(t)
		failures := map[string]int{}
		tr.fault = func(at string) error {
			if failures[at]++; failures[at] <= 2 {
				return errors.New("the journal fails " + at)
			}
			return nil
		}
		p := store.NewPublisher(s, tr)
		var failed, published int
		for range 12 {
			n, err := p.Publish(t.Context())
			published += n
			if err != nil {
				failed++
			}
			for range 64 { // the journal goes on, past what was lost
				if err := tr.Add(heartbeat()); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := tr.Journal.Append(t.Context(), heartbeat()); err != nil {
				t.Fatal(err)
			}
		}
		if failed != 4 {
			t.Errorf("%d failures", failed)
		}
		if err := tr.check(t.Context(), s, l); err != nil {
			t.Error(err)
		}
		l, _, err := s.Change(t.Context(), "matron", engineer(), renamed(l, "GW-01", "Later"))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.Publish(t.Context()); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := tr.check(t.Context(), s, l); err != nil {
			t.Error(err)
		}
	})
}

// A record that becomes durable after its append was given up is waited for, and
// not written again.
func TestALateRecordIsNotWrittenAgain(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		l := begin(t, s)
		tr := newTrail(t)
		late := &lateTrail{trail: tr}
		p := store.NewPublisher(s, late)
		if _, err := p.Publish(t.Context()); err == nil {
			t.Fatal("the append was to be given up")
		}
		for range 3 {
			if n, err := p.Publish(t.Context()); n != 0 || err != nil {
				t.Errorf("while nobody knows: %d, %v", n, err)
			}
		}
		if _, _, err := tr.Append(t.Context(), late.waiting); err != nil { // now it becomes durable
			t.Fatal(err)
		}
		if _, err := p.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tr.check(t.Context(), s, l); err != nil {
			t.Error(err)
		}
	})
}

// TestKilledBetweenJournalAndStore kills a gateway before the record is appended
// and after, before the store knows. The next start records what is missing, and
// nothing again.
func TestKilledBetweenJournalAndStore(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		l := begin(t, s)
		dir := filepath.Join(t.TempDir(), "journal")
		for round, point := range []string{"before", "after", "after", "before"} {
			killedAt(t, d, dir, point)
			var err error
			if l, _, err = s.Change(t.Context(), "matron", engineer(), renamed(l, "GW-01", fmt.Sprint("Round ", round))); err != nil {
				t.Fatal(err)
			}
		}
		tr, err := openTrail(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tr.Close() }()
		if _, err := store.NewPublisher(s, tr).Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tr.check(t.Context(), s, l); err != nil {
			t.Error(err)
		}
	})
}

// Two gateways on one database record each event in one journal alone.
func TestTwoGatewaysShareTheWork(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		s := store.New(d.db, when)
		l := begin(t, s)
		one, two := newTrail(t), newTrail(t)
		var wait sync.WaitGroup
		for i, tr := range []trail{one, two} {
			wait.Go(func() {
				p := store.NewPublisher(store.New(d.db, when), named{tr, fmt.Sprint("gw", i+1)})
				for range 6 {
					if _, err := p.Publish(context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		places, err := s.Places(t.Context(), l.ID)
		if err != nil {
			t.Fatal(err)
		}
		taken := map[store.Place]bool{}
		for _, e := range l.Events() {
			p := places[e.ID]
			if p.Seq == 0 || taken[p] {
				t.Errorf("event %d is recorded at %+v", e.Seq, p)
			}
			taken[p] = true
		}
		if n := one.Committed() + two.Committed(); n != l.Seq() {
			t.Errorf("%d records of %d events", n, l.Seq())
		}
	})
}

// A gateway that claims events and never comes back is waited for, and then not any
// more: whether it died before or after its records, another one makes them. When it
// does come back, it neither records them again nor says that they are its own.
// hazard:GW-32 control:C-233
func TestAGatewayThatNeverComesBack(t *testing.T) {
	onEach(t, func(t *testing.T, d place) {
		for _, point := range []string{"before", "after"} {
			now := when()
			s := store.New(d.db, func() time.Time { return now })
			log := "log-" + point
			changes, err := hazardlog.Starter()
			if err != nil {
				t.Fatal(err)
			}
			l, err := s.Begin(t.Context(), log, engineer(), changes[:8]...)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "journal")
			killedAt(t, d, dir, point)
			other := newTrail(t)
			p := store.NewPublisher(s, named{other, "gw2"})
			now = now.Add(store.ClaimLasts)
			if n, err := p.Publish(t.Context()); n != 0 || err != nil {
				t.Errorf("%s: another one may still come back: %d, %v", point, n, err)
			}
			now = now.Add(time.Second)
			if n, err := p.Publish(t.Context()); n != 8 || err != nil {
				t.Errorf("%s: %d, %v", point, n, err)
			}
			held := func() map[string]store.Place {
				places, err := s.Places(t.Context(), log)
				if err != nil {
					t.Fatal(err)
				}
				return places
			}
			before := held()
			for _, e := range l.Events() {
				if got := before[e.ID]; got.Source != "gw2" || got.Seq == 0 {
					t.Errorf("%s: event %d is at %+v", point, e.Seq, got)
				}
			}
			back, err := openTrail(dir)
			if err != nil {
				t.Fatal(err)
			}
			was := back.Committed()
			if n, err := store.NewPublisher(s, back).Publish(t.Context()); n != 0 || err != nil || back.Committed() != was {
				t.Errorf("%s: it came back and recorded %d: %v", point, n, err)
			}
			if err := back.Close(); err != nil {
				t.Error(err)
			}
			if !maps.Equal(before, held()) {
				t.Errorf("%s: the places are others: %v", point, held())
			}
		}
	})
}

// named is a trail under another name.
type named struct {
	trail
	name string
}

func (n named) Source() string { return n.name }
