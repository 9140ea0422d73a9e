package cases_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// ward is a made-up month: a hundred people who look at what is explained, one who
// looks at their own record, one who comes back to the same patient, one who was
// let go, and a crowd.
func ward() (*table.Table, detectors.Found) {
	t := table.New()
	var strength []detectors.Strength
	add := func(person, patient string, day int, s detectors.Strength) {
		t.Add(&audit.Imported{ID: fmt.Sprint("a", t.Len()), Person: person, Patient: patient, Time: time.Date(2026, 9, 1+day, 10, 0, t.Len()%60, 0, time.UTC), Action: "read"})
		strength = append(strength, s)
	}
	var c feeds.Context
	c.Patients = []feeds.Patient{{ID: "self", NHS: "n7"}}
	for i := range 100 {
		s := feeds.Staff{Person: fmt.Sprint("s", i), Roles: []string{"nurse"}, Team: fmt.Sprint("t", i), NHS: feeds.Hash(fmt.Sprint("n", i))}
		if i == 99 {
			s.End = time.Date(2026, 9, 5, 0, 0, 0, 0, time.UTC)
		}
		c.Staff = append(c.Staff, s)
	}
	for day := range 28 {
		for i := range 99 {
			add(fmt.Sprint("s", i), fmt.Sprint("p", i, "-", day), day, detectors.Strong)
		}
		for i := range 99 {
			if (i+day)%3 == 0 {
				add(fmt.Sprint("s", i), fmt.Sprint("q", i, "-", day), day, detectors.Unexplained)
			}
		}
		if day >= 9 && day < 19 {
			add("s8", "again", day, detectors.Unexplained)
		}
		if day == 6 {
			add("s7", "self", day, detectors.Strong)
			for i := 20; i < 30; i++ {
				add(fmt.Sprint("s", i), "famous", day, detectors.Unexplained)
			}
		}
	}
	add("s99", "any", 27, detectors.Unexplained)
	return t, detectors.Run(detectors.Input{Accesses: t, Explained: strength, Context: c, Location: time.UTC})
}

func made(budget int) []cases.Case {
	t, f := ward()
	return cases.Make(&f, t, cases.Settings{
		Budget: budget, People: 100, Days: 28, Seed: 1, Scoring: cases.DefaultScoring(),
		Explain: func(string, string, time.Time) []cases.Explanation {
			return []cases.Explanation{{Template: "T9", Strength: "weak"}}
		},
	})
}

func of(all []cases.Case, person string) []cases.Case {
	return slices.DeleteFunc(slices.Clone(all), func(c cases.Case) bool { return c.Person != person || c.Lane == cases.Random })
}

func TestGroupedByPersonAndByPatient(t *testing.T) {
	all := made(20)
	again := slices.DeleteFunc(of(all, "s8"), func(c cases.Case) bool { return !slices.Contains(c.Patients, "again") })
	if len(again) != 1 || again[0].Kind != cases.OfPerson || len(again[0].Days) < 9 {
		t.Errorf("the same patient again and again: %+v", again)
	}
	crowd := slices.IndexFunc(all, func(c cases.Case) bool { return c.Kind == cases.OfPatient })
	if crowd < 0 || len(all[crowd].People) != 10 || len(all[crowd].Patients) != 1 || all[crowd].Person != "" {
		t.Errorf("the crowd: %+v", all)
	}
	for i, c := range all {
		if c.Rank != i+1 || len(c.Accesses) == 0 || len(c.Sentences) == 0 || c.Versions["grouping"] == 0 {
			t.Errorf("case %d: %+v", i, c)
		}
		if c.Lane != cases.Random && (len(c.Detectors) == 0 || len(c.Explanations) != 1 || c.Score <= 0) {
			t.Errorf("case %d says not why: %+v", i, c)
		}
	}
}

// TestMustReviewIsOutsideTheBudget, however small that is.
func TestMustReviewIsOutsideTheBudget(t *testing.T) {
	all := made(0)
	if len(of(all, "s7")) != 1 || len(of(all, "s99")) != 1 || len(all) != 2 {
		t.Errorf("%+v", all)
	}
	for _, c := range all {
		if c.Lane == cases.Budget {
			t.Errorf("in no budget: %+v", c)
		}
	}
}

func TestSameInputSameCases(t *testing.T) {
	if d := cmp.Diff(made(20), made(20)); d != "" {
		t.Error(d)
	}
}

// TestSilenceIsForSecurityAndAboutNobody: an application that stops recording must be
// reviewed whatever the budget, before anything else, and names no person.
func TestSilenceIsForSecurityAndAboutNobody(t *testing.T) {
	accesses := table.New()
	for hour := range 24 * 14 {
		for i := range 20 {
			if day := hour / 24; day != 8 || hour%24 < 10 || hour%24 > 12 {
				accesses.Add(&audit.Imported{
					ID: fmt.Sprint("a", accesses.Len()), Person: fmt.Sprint("s", i), Patient: fmt.Sprint("p", i), Action: "read", Source: "epr", App: "notes",
					Time: time.Date(2026, 9, 1+day, hour%24, i, 0, 0, time.UTC),
				})
			}
		}
	}
	f := detectors.Run(detectors.Input{Accesses: accesses, Explained: make([]detectors.Strength, accesses.Len()), Location: time.UTC})
	all := cases.Make(&f, accesses, cases.Settings{Budget: 20, People: 100, Days: 14, Seed: 1, Scoring: cases.DefaultScoring()})
	if len(all) == 0 || all[0].Rank != 1 {
		t.Fatalf("%+v", all)
	}
	got := all[0]
	want := cases.Case{
		ID: got.ID, Kind: cases.OfIncident, Rank: 1, Score: got.Score, Lane: cases.MustReview, Days: []string{"2026-09-09"},
		People: []string{}, Roles: []string{}, Patients: []string{}, Explanations: []cases.Explanation{}, Accesses: []string{},
		Detectors: []cases.Detector{{ID: "audit-silence", Version: 1, Value: 3, P: 1. / 238 / 238 / 238}},
		Sentences: []string{
			"The application notes of the source epr recorded nothing from 9 September 2026 10:00 to 9 September 2026 13:00 UTC, when 60 records are usual.",
			"This is for security: it is about what records and about nobody's work.",
			"Planned downtime, a move or records that arrive late would explain it.",
		},
		MadeAt: time.Date(2026, 9, 9, 13, 0, 0, 0, time.UTC), Versions: map[string]int{"audit-silence": 1, "scoring": 1, "grouping": 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got.Score <= 0 || len(got.ID) != 24 {
		t.Errorf("score %v, id %q", got.Score, got.ID)
	}
}

// TestWeightsLowerNothingProtected: not an own record, not a crowd, and no other part of
// such a case; and what a case says of its score is enough to try other weights.
func TestWeightsLowerNothingProtected(t *testing.T) {
	tab, f := ward()
	low := cases.DefaultScoring()
	low.Weights = map[string]map[string]float64{}
	for _, d := range detectors.Definitions() {
		low.Weights[d.ID] = map[string]float64{cases.AnyRole: .25}
	}
	with := func(s cases.Scoring) map[string]cases.Case {
		out := map[string]cases.Case{}
		for _, c := range cases.Make(&f, tab, cases.Settings{Budget: 1000, People: 100, Days: 28, Seed: 1, Scoring: s}) {
			out[c.ID] = c
		}
		return out
	}
	plain, lowered, kept, fell := with(cases.DefaultScoring()), with(low), 0, 0
	for id, c := range plain {
		if c.Lane == cases.Random {
			continue
		}
		protected := c.Kind == cases.OfPatient || c.Person == "s7" && slices.Contains(c.Patients, "self")
		switch got := lowered[id].Score; {
		case protected && got != c.Score:
			t.Errorf("protected: %v instead of %v", got, c.Score)
		case low.Score(&c) != got:
			t.Errorf("%s: %v with other weights, foretold %v", c.Person, got, low.Score(&c))
		case protected:
			kept++
		case got < c.Score:
			fell++
		}
	}
	if kept != 2 || fell < 2 {
		t.Errorf("%d kept, %d fell", kept, fell)
	}
}

// TestWeightsLowerNothingProtectedLive: a question of a day with a household in it has
// the score that it has without weights, another one has less.
func TestWeightsLowerNothingProtectedLive(t *testing.T) {
	low := cases.DefaultScoring()
	low.Weights = map[string]map[string]float64{"post-care": {cases.AnyRole: .25}, "off-ward": {cases.AnyRole: .25}}
	scores := func(s cases.Scoring, signals ...detectors.Signal) (out []float64) {
		day := detectors.Day{
			Person: "ann", Role: "nurse", Signals: []detectors.Signal{{Detector: "off-ward", P: .0001}},
			Visits: []detectors.Visit{{Patient: "x", Signals: append(signals, detectors.Signal{Detector: "post-care", P: .0001})}},
		}
		for _, q := range (&cases.Settings{Scoring: s}).Questions(&detectors.Fresh{Days: []detectors.Day{day}}) {
			out = append(out, q.Score)
		}
		return out
	}
	kin := detectors.Signal{Detector: "household", P: .001}
	if d := cmp.Diff(scores(cases.DefaultScoring(), kin), scores(low, kin)); d != "" {
		t.Error(d)
	}
	plain, lowered := scores(cases.DefaultScoring()), scores(low)
	if len(plain) != 2 || len(lowered) != 2 || lowered[0] >= plain[0] || lowered[1] >= plain[1] {
		t.Errorf("%v, %v", plain, lowered)
	}
}
