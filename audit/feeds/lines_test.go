package feeds_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/feeds"
)

// TestCareLinesComeBackAsTheyWere, whatever they leave out.
func TestCareLinesComeBackAsTheyWere(t *testing.T) {
	at := time.Date(2026, 9, 1, 8, 30, 0, 123_456_789, time.UTC)
	want := []feeds.Care{
		{Patient: "p", Kind: "inpatient", Start: at, End: at.Add(time.Hour), Ward: "ASH", Bed: "4", Specialty: "surgery", Team: "blue", People: []string{"ann", "bob"}, Visit: "v1", Evidence: "adt:1", Extra: `{"a":1}`},
		{Patient: "q", Kind: "order", Start: at.AddDate(-60, 0, 0), Visit: "v2", Evidence: "v2"},
		{},
		{Patient: "p", Kind: "task", Start: at, People: []string{"bob"}, Evidence: "e"},
	}
	lines := feeds.CareOf(want...)
	var got []feeds.Care
	for i := range lines.Len() {
		got = append(got, lines.At(i))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i, c := range lines.All() {
		one := want[i]
		one.Visit, one.Evidence, one.Extra = "", "", ""
		if d := cmp.Diff(one, *c, cmp.Transformer("none", func(p []string) []string { return append([]string{}, p...) })); d != "" {
			t.Error(d)
		}
	}
}

// TestNoLinesAreAFeedThatIsMissing, and empty ones are not.
func TestNoLinesAreAFeedThatIsMissing(t *testing.T) {
	missing, empty := feeds.Context{}, feeds.Context{Care: feeds.CareOf()}
	if missing.Care.Len() != 0 || empty.Care.Len() != 0 || missing.NotEvaluated(time.Time{}, feeds.CareFeed) == "" || empty.NotEvaluated(time.Time{}, feeds.CareFeed) != "" {
		t.Error("a feed that is missing and one that says nothing are taken for one another")
	}
}
