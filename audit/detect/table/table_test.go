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
	ID, Person, Patient, Device, Session, Action, Screen string
	At                                                   time.Time
	Counts                                               bool
}

func rows(t *table.Table) []row {
	var out []row
	for i := range t.Len() {
		out = append(out, row{
			t.ID(i), t.People.Text(t.Person[i]), t.Patients.Text(t.Patient[i]), t.Devices.Text(t.Device[i]), t.Sessions.Text(t.Session[i]),
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
		{"a", "ann", "p", "d", "s", "read", "notes", at(0), true},
		{"bb", "bob", "", "", "", "sign-in", "", at(1), false},
		{"ccc", "ann", "q", "", "", "list", "", at(2), false},
		{"", "bob", "p", "", "", "read", "", at(3), false},
		{"e", "bob", "p", "", "", "print", "a b", at(4), true},
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
