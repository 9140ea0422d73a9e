package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/cobra"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/evaluate"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/demo/simulate"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

const learnStaff, learnDays = 200, 28

// madeUp is a made-up hospital, read.
func madeUp(t *testing.T, seed uint64) (*folder, []feeds.Label) {
	t.Helper()
	dir := t.TempDir()
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	c := simulate.Default(seed, time.Date(2026, 9, 1, 0, 0, 0, 0, zone))
	c.Staff, c.Days = learnStaff, learnDays
	if _, err := simulate.Run(t.Context(), c, dir, func(int) {}); err != nil {
		t.Fatal(err)
	}
	f, err := openFolder(quiet(t), dir, zone, nil)
	if err != nil {
		t.Fatal(err)
	}
	labels, err := f.labels()
	if err != nil {
		t.Fatal(err)
	}
	return f, labels
}

// quiet is a command that shows no progress.
func quiet(t *testing.T) *cobra.Command {
	t.Helper()
	root := newRoot()
	root.SetErr(io.Discard)
	root.SetContext(t.Context())
	return root
}

// listOf makes the cases of a hospital.
func listOf(t *testing.T, f *folder, s cases.Scoring) []cases.Case {
	t.Helper()
	list, _, _, err := f.cases(quiet(t), 20, 1, s)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// forEvaluation are cases as evaluation reads them.
func forEvaluation(t *testing.T, all []cases.Case) []evaluate.Case {
	t.Helper()
	var text bytes.Buffer
	if err := cases.Write(&text, all); err != nil {
		t.Fatal(err)
	}
	out, err := evaluate.ReadCases(&text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLearningKeepsPrecision in a hospital that it was not learnt from, of reviewers
// who are wrong once in ten times, and lowers nothing that is protected.
// hazard:GW-28 control:C-217
func TestLearningKeepsPrecision(t *testing.T) {
	here, labels := madeUp(t, 1)
	list := listOf(t, here, cases.DefaultScoring())
	rng := rand.New(rand.NewPCG(7, 7))
	var given []learn.Disposition
	for i, c := range forEvaluation(t, list) {
		d := learn.Disposition{Case: c.ID, Outcome: learn.Justified, By: "reviewer", At: list[i].MadeAt}
		if covers := evaluate.Evaluate(labels, []evaluate.Case{c}, 1000, 1).Made; len(covers) > 0 && (covers[0].Precision.Hits > 0) != (rng.IntN(10) == 0) {
			d.Outcome = learn.Misuse
		}
		given = append(given, d)
	}
	known := learn.Cases{}
	known.Add(list)
	counts, notes := learn.Settle(given, known, time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC))
	if len(notes) > 0 {
		t.Fatalf("%+v", notes)
	}
	v := learn.Learn(learn.Input{Dispositions: counts, Cases: known, Scoring: cases.DefaultScoring()})
	v.Number = 2

	there, labels := madeUp(t, 2)
	plain := listOf(t, there, cases.DefaultScoring())
	weighed := listOf(t, there, v.Apply(cases.DefaultScoring()))
	at5 := func(all []cases.Case) evaluate.Ratio {
		return evaluate.Evaluate(labels, forEvaluation(t, all), learnStaff, learnDays).At[1].Precision
	}
	before, after := at5(plain), at5(weighed)
	t.Logf("precision at 5: %v before, %v after", before, after)
	if before.Of < 20 || after.Share() < before.Share() {
		t.Errorf("precision at 5 was %v and is %v", before, after)
	}
	protectedAreKept(t, plain, weighed)
}

// protectedAreKept: what is protected keeps its score, and nothing is raised above it.
func protectedAreKept(t *testing.T, plain, weighed []cases.Case) {
	t.Helper()
	then := map[string]cases.Case{}
	for _, c := range weighed {
		then[c.ID] = c
	}
	protected, lower := 0, 0
	for _, c := range plain {
		w, ok := then[c.ID]
		named := slices.ContainsFunc(c.Detectors, func(d cases.Detector) bool {
			return slices.Contains([]string{"own-record", "household", "vip-crowd"}, d.ID)
		})
		switch {
		case c.Lane == cases.MustReview && !ok:
			t.Errorf("case %s must be reviewed and is gone", c.ID)
		case !ok || c.Lane == cases.Random:
		case named && w.Score != c.Score:
			t.Errorf("case %s is protected and scores %v instead of %v", c.ID, w.Score, c.Score)
		case w.Score > c.Score:
			t.Errorf("case %s was raised from %v to %v", c.ID, c.Score, w.Score)
		case w.Versions["scoring"] != 2:
			t.Errorf("case %s does not say which weights it has: %v", c.ID, w.Versions)
		case named:
			protected++
		case w.Score < c.Score:
			lower++
		}
	}
	if protected == 0 || lower == 0 {
		t.Errorf("%d protected, %d lowered: nothing was seen", protected, lower)
	}
}

// TestCandidatesAreTemplatesOfTheSite: the file is read as the configuration reads it.
func TestCandidatesAreTemplatesOfTheSite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "candidates.yaml")
	found := []learn.Candidate{
		{Role: "medical-secretary", Kind: "inpatient", Ward: "ASH", Before: 1, After: 20, Cases: []string{"a", "b"}},
		{Team: "Heart: team", Kind: "outpatient", Ward: "OAK", After: 2, Cases: []string{"c"}},
	}
	if err := writeTemplates(path, found); err != nil {
		t.Fatal(err)
	}
	got, err := gateway.SiteTemplates(config.Detection{Templates: path})
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range got {
		if d := cmp.Diff(found[i].Template(), got[i], cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
	}
}
