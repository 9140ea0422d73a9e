package table_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/table"
)

// row is a row as one reads it back.
type row struct {
	ID, Person, Patient, Device string
	Session                     uint32
	Action, Screen              string
	At                          time.Time
	Counts                      bool
}

func rows(t *table.Table) []row {
	var out []row
	for i := range t.Len() {
		out = append(out, row{
			t.ID(i), t.People.Text(t.Person[i]), t.Patients.Text(t.Patient[i]), t.Devices.Text(t.Device[i]), t.Session[i],
			t.Action(i), t.Screen(i), t.Time(i), t.Counts(i),
		})
	}
	return out
}

func at(second int) time.Time { return time.Date(2026, 9, 1, 12, 0, second, 0, time.UTC) }

// TestRowsStayWhole, in whatever order they come, and however often they are sorted.
func TestRowsStayWhole(t *testing.T) {
	all := []audit.Imported{
		{ID: "a", Time: at(0), Person: "ann", Patient: "p", Device: "d", Session: "s", Action: "read", Screen: "notes", Deliberate: "true"},
		{ID: "bb", Time: at(1), Person: "bob", Action: "sign-in"},
		{ID: "ccc", Time: at(2), Person: "ann", Patient: "q", Action: "list", Deliberate: "false"},
		{ID: "", Time: at(3), Person: "bob", Patient: "p", Action: "read", Outcome: "denied"},
		{ID: "e", Time: at(4), Person: "bob", Patient: "p", Action: "print", Screen: "a b", Outcome: "success"},
	}
	want := []row{
		{"a", "ann", "p", "d", 1, "read", "notes", at(0), true},
		{"bb", "bob", "", "", 0, "sign-in", "", at(1), false},
		{"ccc", "ann", "q", "", 0, "list", "", at(2), false},
		{"", "bob", "p", "", 0, "read", "", at(3), false},
		{"e", "bob", "p", "", 0, "print", "a b", at(4), true},
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		tab := table.New()
		for _, i := range rng.Perm(len(all)) {
			tab.Add(&all[i])
		}
		tab.Sort()
		tab.Sort()
		if d := cmp.Diff(want, rows(tab)); d != "" {
			t.Fatal(d)
		}
	}
}

// TestSortedAgain after more came.
func TestSortedAgain(t *testing.T) {
	tab := table.New()
	for _, second := range []int{5, 3, 4, 1, 2} {
		tab.Add(&audit.Imported{ID: string(rune('0' + second)), Time: at(second), Role: "nurse", Person: "ann"})
		tab.Sort()
	}
	got := ""
	for i := range tab.Len() {
		got += tab.ID(i)
	}
	if got != "12345" || tab.Role(tab.Person[0]) != "nurse" {
		t.Errorf("%s, %s", got, tab.Role(tab.Person[0]))
	}
}

// TestKeptRowsKeepTheirIDs, sorted before or not.
func TestKeptRowsKeepTheirIDs(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3, 4, 5}, {5, 3, 4, 1, 2}} {
		tab := table.New()
		for _, second := range order {
			tab.Add(&audit.Imported{ID: string(rune('0' + second)), Time: at(second), Person: "ann"})
		}
		tab.Sort()
		tab.Keep(at(2), at(5))
		tab.Keep(at(3), time.Time{})
		if tab.Len() != 2 || tab.ID(0) != "3" || tab.ID(1) != "4" {
			t.Errorf("%v: %d rows, first %s", order, tab.Len(), tab.ID(0))
		}
	}
}
