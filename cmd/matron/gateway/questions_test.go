package gateway

import (
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/detect"
	runs "github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// An alert is part of a case when all that it rests on is in that one.
func TestAlertWithinACase(t *testing.T) {
	in := map[string][]int{"gw1-1": {0}, "gw1-2": {0, 1}, "gw1-3": {1}, "my-gw-4": {2}}
	for name, row := range map[string]struct {
		evidence []detect.Ref
		want     bool
	}{
		"one":              {[]detect.Ref{{Source: "gw1", Seq: 1}}, true},
		"two of one case":  {[]detect.Ref{{Source: "gw1", Seq: 2}, {Source: "gw1", Seq: 3}}, true},
		"of two cases":     {[]detect.Ref{{Source: "gw1", Seq: 1}, {Source: "gw1", Seq: 3}}, false},
		"one is in none":   {[]detect.Ref{{Source: "gw1", Seq: 1}, {Source: "gw1", Seq: 9}}, false},
		"another gateway":  {[]detect.Ref{{Source: "gw2", Seq: 1}}, false},
		"hyphen in a name": {[]detect.Ref{{Source: "my-gw", Seq: 4}}, true},
		"rests on nothing": {nil, false},
	} {
		if got := within(&detect.Alert{Evidence: row.evidence}, in); got != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Alerts that a case holds are left out, and older ones take their place in the list.
func TestAlertsOfACaseAreNotListedOnceMore(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+t.TempDir()+"/cases.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := migrate(t.Context(), config.Config{}, db); err != nil {
		t.Fatal(err)
	}
	store := cases.New(db)
	var all []detect.Alert
	for i := range 7 {
		all = append(all, detect.Alert{
			ID: fmt.Sprint("a", i), Made: time.Date(2026, 11, 3, 14, i, 0, 0, time.UTC), Evidence: []detect.Ref{{Source: "gw1", Seq: uint64(i)}},
		})
	}
	if _, err := store.Put(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	made := []runs.Case{{Accesses: []string{"gw1-6", "gw1-5"}}, {Accesses: []string{"gw1-3", "imported"}}}
	for limit, want := range map[int][]string{1: {"a4"}, 2: {"a4", "a2"}, 3: {"a4", "a2", "a1"}, 4: {"a4", "a2", "a1", "a0"}, 9: {"a4", "a2", "a1", "a0"}} {
		got, err := apart(t.Context(), store, made, limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, a := range got {
			ids = append(ids, a.ID)
		}
		if d := cmp.Diff(want, ids); d != "" {
			t.Errorf("at most %d: %s", limit, d)
		}
	}
}

func TestRefOfIsTheOppositeOfAccessID(t *testing.T) {
	for _, r := range []detect.Ref{{Source: "gw1", Seq: 1}, {Source: "my-gw", Seq: 1<<64 - 1}} {
		if got, ok := refOf(accessID(r)); !ok || got != r {
			t.Errorf("%v became %v, %v", r, got, ok)
		}
	}
	for _, id := range []string{"", "-1", "x", "x-", "x-y", "x--1"} {
		if r, ok := refOf(id); ok && accessID(r) != id {
			t.Errorf("%q became %v", id, r)
		}
	}
}

// The cases of another run are seen, and a file that is no list of cases is an error.
func TestCasesOfTheLastRunAreReadAgain(t *testing.T) {
	l := &runCases{path: t.TempDir() + "/cases.ndjson"}
	if got, err := l.read(); len(got) != 0 || err != nil {
		t.Fatalf("without a run: %v, %v", got, err)
	}
	for i, id := range []string{"a", "b"} {
		if err := os.WriteFile(l.path, fmt.Appendf(nil, `{"case":%q,"kind":"incident"}`+"\n", id), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 11, 3, 14, i, 0, 0, time.UTC)
		if err := os.Chtimes(l.path, at, at); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := l.read()
			if d := cmp.Diff([]runs.Case{{ID: id, Kind: runs.OfIncident}}, got); d != "" || err != nil {
				t.Errorf("%v: %s", err, d)
			}
		}
	}
	if err := os.WriteFile(l.path, []byte("no case\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.read(); err == nil {
		t.Error("a damaged file is no error")
	}
}
