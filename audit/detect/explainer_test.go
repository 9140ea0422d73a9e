package detect

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/feeds"
)

// hazard:GW-28 control:C-214
func TestExplainerExplainsSingleAccesses(t *testing.T) {
	e := NewExplainer(Config{}, hospital(t))
	stay := []Explanation{{
		Template: "ward-stay", Strength: "strong", Evidence: "adt:1",
		Sentence: "The patient was cared for on ward ASH, where the person works, from 20 November 2026 09:00 on.",
	}}
	for name, row := range map[string]struct {
		person, patient string
		at              time.Time
		want            []Explanation
	}{
		"on the ward":         {"nurse", "onward", noon(), stay},
		"works elsewhere":     {"desk", "onward", noon(), nil},
		"not on any ward":     {"nurse", "lodger", noon(), nil},
		"long before":         {"nurse", "onward", noon().AddDate(-1, 0, 0), nil},
		"person not known":    {"stranger", "onward", noon(), nil},
		"patient not known":   {"nurse", "stranger", noon(), nil},
		"neither is anything": {"", "", noon(), nil},
	} {
		if d := cmp.Diff(row.want, e.Explain(row.person, row.patient, row.at)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestFindByNHSNumber(t *testing.T) {
	h := hasher(t)
	patients := []feeds.Patient{
		{ID: "old", NHS: h.NHS("9990000018"), MergedInto: "new"},
		{ID: "nameless"},
		{ID: "self", NHS: h.NHS("9990000069")},
		{ID: "new"},
	}
	for number, want := range map[string]string{"999 000 0069": "self", "9990000018": "new", "9990000026": "", "": ""} {
		if got := h.Find(patients, number); got != want {
			t.Errorf("%q: %q, want %q", number, got, want)
		}
	}
}
