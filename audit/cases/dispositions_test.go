package cases

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What was made of an alert is kept beside what was made of it before.
func TestDispositionsAreKept(t *testing.T) {
	s := New(open(t))
	at := time.Date(2026, 11, 22, 12, 0, 0, 1000, time.UTC)
	first := Disposition{Alert: "a", Made: at, Issuer: "i", Sub: "s", Name: "Pat", Outcome: "insufficient", Note: "No rota yet."}
	second, other := first, first
	second.Made, second.Outcome = at.Add(time.Hour), "justified"
	other.Alert, other.Made = "b", at.Add(time.Minute)
	for _, d := range []Disposition{second, first, other} {
		if err := s.Judge(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	for alert, want := range map[string][]Disposition{"a": {first, second}, "b": {other}, "": {first, other, second}, "none": nil} {
		got, err := s.Dispositions(t.Context(), alert)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%q: %s", alert, d)
		}
	}
}
