package cases

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"github.com/matron-epr/matron/audit/detect"
)

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "cases.db")+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	names, err := fs.Glob(Migrations(), "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations %v: %v", names, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), string(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return db
}

func alert(id string, minute int) detect.Alert {
	return detect.Alert{
		ID: id, Made: time.Date(2026, 11, 22, 12, minute, 0, 1000, time.UTC), Kind: "household",
		Detector: detect.Detector{ID: "household", Version: 1}, Site: "DEM01", Person: "p1", People: []string{"p1"}, Patients: []string{"h1"},
		Days: []string{"2026-11-22"}, Sentences: []string{"One.", "Two."},
		Explanations: []detect.Explanation{{Template: "ward-stay", Strength: "strong", Sentence: "S.", Evidence: "e"}},
		Evidence:     []detect.Ref{{Source: "gw", Seq: 1<<63 + 1}},
	}
}

func TestPutIsIdempotent(t *testing.T) {
	s := New(open(t))
	first := []detect.Alert{alert("a", 1), alert("b", 2)}
	changed := alert("b", 9)
	changed.Person = "somebody else"
	for i, step := range []struct {
		alerts []detect.Alert
		added  int
	}{{first, 2}, {first, 0}, {[]detect.Alert{changed, alert("c", 3)}, 1}, {nil, 0}} {
		added, err := s.Put(t.Context(), step.alerts)
		if err != nil || len(added) != step.added {
			t.Errorf("step %d: added %d, want %d (%v)", i, len(added), step.added, err)
		}
	}
	got, err := s.Get(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first[1], got); d != "" {
		t.Errorf("a stored alert was changed:\n%s", d)
	}
	if n, err := s.Count(t.Context()); n != 3 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
}

func TestListPagesNewestFirst(t *testing.T) {
	s := New(open(t))
	var all []detect.Alert
	for i := range 25 {
		all = append(all, alert(fmt.Sprintf("%02d", i), i/3)) // three of each minute: ids break the tie
	}
	if _, err := s.Put(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	var got []string
	before := ""
	for {
		page, err := s.List(t.Context(), 4, before)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			got = append(got, a.ID)
		}
		before = page[len(page)-1].ID
	}
	var want []string
	for i := len(all) - 1; i >= 0; i-- {
		want = append(want, all[i].ID)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestUnknownAlert(t *testing.T) {
	s := New(open(t))
	if _, err := s.Get(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.List(t.Context(), 1, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("List: %v", err)
	}
}

func TestPutIsAllOrNothing(t *testing.T) {
	db := open(t)
	s := New(db)
	if _, err := db.ExecContext(t.Context(), `CREATE TRIGGER no BEFORE INSERT ON alerts WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END`); err != nil {
		t.Fatal(err)
	}
	if added, err := s.Put(t.Context(), []detect.Alert{alert("good", 1), alert("bad", 2)}); err == nil || len(added) != 0 {
		t.Errorf("added %d, %v", len(added), err)
	}
	if n, err := s.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("count %d, %v: half was stored", n, err)
	}
}

func TestManyWritersStoreEachAlertOnce(t *testing.T) {
	s := New(open(t))
	var group sync.WaitGroup
	sum := make(chan int, 8)
	for range 8 {
		group.Go(func() {
			added, err := s.Put(t.Context(), []detect.Alert{alert("a", 1), alert("b", 2), alert("c", 3)})
			if err != nil {
				t.Error(err)
			}
			sum <- len(added)
		})
	}
	group.Wait()
	close(sum)
	total := 0
	for n := range sum {
		total += n
	}
	if total != 3 {
		t.Errorf("%d added, want 3", total)
	}
}
