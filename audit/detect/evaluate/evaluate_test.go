package evaluate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/detect/evaluate"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
)

func day(n int) string {
	return time.Date(2026, 9, 1+n, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// TestAgainstTenLines compares with the definition, written down once more as
// plainly as it can be, over lists made up at random.
// hazard:GW-28 control:C-217
func TestAgainstTenLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func(kind string, n int) string { return fmt.Sprintf("%s%d", kind, rng.IntN(n)) }
	for range 200 {
		var labels []feeds.Label
		for range 1 + rng.IntN(40) {
			l := feeds.Label{Person: word("p", 12), Day: day(rng.IntN(9)), Kind: word("k", 3)}
			if rng.IntN(2) == 0 {
				l.Patient = word("x", 9)
			}
			if !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
		}
		var cases []evaluate.Case
		for i := range rng.IntN(80) {
			c := evaluate.Case{Rank: i + 1, Person: word("p", 12), Lane: []string{"budget", "must-review", "random"}[rng.IntN(3)]}
			for range 1 + rng.IntN(3) {
				c.Days, c.Patients, c.People = append(c.Days, day(rng.IntN(9))), append(c.Patients, word("x", 9)), append(c.People, word("p", 12))
			}
			cases = append(cases, c)
		}
		rng.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
		staff, days := 100+rng.IntN(900), 9
		r := evaluate.Evaluate(labels, cases, staff, days)
		for _, at := range r.At {
			precision, recall := tenLines(labels, cases, at.Budget*days*staff/1000)
			if !same(precision, at.Precision.Share()) || !same(recall, at.Recall.Share()) {
				t.Fatalf("budget %d: precision %v, want %v; recall %v, want %v", at.Budget, at.Precision, precision, at.Recall, recall)
			}
		}
	}
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// tenLines is the definition.
func tenLines(labels []feeds.Label, cases []evaluate.Case, shown int) (precision, recall float64) {
	hits, of, found := 0., 0., map[feeds.Label]bool{}
	for _, c := range cases {
		covers := slices.DeleteFunc(slices.Clone(labels), func(l feeds.Label) bool {
			return c.Rank > shown || l.Person != c.Person && !slices.Contains(c.People, l.Person) || !slices.Contains(c.Days, l.Day) || l.Patient != "" && !slices.Contains(c.Patients, l.Patient)
		})
		if c.Rank <= shown && c.Lane != "random" {
			of, hits = of+1, hits+float64(min(1, len(covers)))
		}
		for _, l := range covers {
			found[l] = true
		}
	}
	return hits / of, float64(len(found)) / float64(len(labels))
}

// TestByHand: a list that can be reckoned on paper.
// hazard:GW-28 control:C-217
func TestByHand(t *testing.T) {
	labels := []feeds.Label{
		{Person: "ann", Day: day(0), Kind: "own-record", Patient: "a"},
		{Person: "ann", Day: day(0), Kind: "own-record", Patient: "a"}, // said twice, counted once
		{Person: "bob", Day: day(1), Kind: "low-and-slow"},
		{Person: "bob", Day: day(3), Kind: "low-and-slow"},
		{Person: "bob", Day: day(5), Kind: "low-and-slow"},
		{Person: "cat", Day: day(2), Kind: "vip", Patient: "v"},
		{Person: "dan", Day: day(2), Kind: "vip", Patient: "v"},
	}
	cases := []evaluate.Case{
		{Rank: 3, Kind: "person", Person: "bob", Days: []string{day(1), day(4)}},                                                   // right, and open until day 4
		{Rank: 1, Kind: "own", Person: "ann", Patients: []string{"a"}, Days: []string{day(0)}},                                     // right
		{Rank: 2, Kind: "own", Person: "ann", Patients: []string{"b"}, Days: []string{day(0)}},                                     // another patient
		{Rank: 4, Kind: "crowd", People: []string{"cat", "eve"}, Patients: []string{"v"}, Days: []string{day(2)}},                  // right
		{Rank: 5, Kind: "lot", Lane: "random", Person: "dan", Patients: []string{"v"}, Days: []string{day(2)}},                     // not in precision, but found
		{Rank: 6, Kind: "person", Person: "bob", Patients: []string{"a"}, Days: []string{day(2)}},                                  // another day
		{Rank: 7, Kind: "person", Person: "bob", Patients: []string{"z"}, Days: []string{day(5), day(6)}, People: []string{"bob"}}, // right; later than the first
	}
	r := evaluate.Evaluate(labels, cases, 100, 10) // 1, 5, 15 and 20 cases
	want := evaluate.Report{
		Staff: 100, Days: 10, Labels: 6, Cases: 7,
		At: []evaluate.AtBudget{
			{Budget: 1, Shown: 1, Precision: evaluate.Ratio{Hits: 1, Of: 1}, Recall: evaluate.Ratio{Hits: 1, Of: 6}, PerHit: 1, Offenders: evaluate.Ratio{Hits: 0, Of: 1}},
			{Budget: 5, Shown: 5, Precision: evaluate.Ratio{Hits: 3, Of: 4}, Recall: evaluate.Ratio{Hits: 4, Of: 6}, PerHit: 4. / 3, Offenders: evaluate.Ratio{Hits: 1, Of: 1}, Wait: 3, Longest: 3},
			{Budget: 15, Shown: 7, Precision: evaluate.Ratio{Hits: 4, Of: 6}, Recall: evaluate.Ratio{Hits: 5, Of: 6}, PerHit: 1.5, Offenders: evaluate.Ratio{Hits: 1, Of: 1}, Wait: 3, Longest: 3},
			{Budget: 20, Shown: 7, Precision: evaluate.Ratio{Hits: 4, Of: 6}, Recall: evaluate.Ratio{Hits: 5, Of: 6}, PerHit: 1.5, Offenders: evaluate.Ratio{Hits: 1, Of: 1}, Wait: 3, Longest: 3},
		},
		Kinds: []evaluate.Kind{
			{Kind: "low-and-slow", People: 1, Recall: []evaluate.Ratio{{Hits: 0, Of: 3}, {Hits: 1, Of: 3}, {Hits: 2, Of: 3}, {Hits: 2, Of: 3}}},
			{Kind: "own-record", People: 1, Recall: []evaluate.Ratio{{Hits: 1, Of: 1}, {Hits: 1, Of: 1}, {Hits: 1, Of: 1}, {Hits: 1, Of: 1}}},
			{Kind: "vip", People: 2, Recall: []evaluate.Ratio{{Hits: 0, Of: 2}, {Hits: 2, Of: 2}, {Hits: 2, Of: 2}, {Hits: 2, Of: 2}}},
		},
		Made: []evaluate.CaseKind{
			{Kind: "crowd", Precision: evaluate.Ratio{Hits: 1, Of: 1}},
			{Kind: "own", Precision: evaluate.Ratio{Hits: 1, Of: 2}},
			{Kind: "person", Precision: evaluate.Ratio{Hits: 2, Of: 3}},
		},
		Serial: []evaluate.Serial{{Person: "bob", Kind: "low-and-slow", Days: 3, First: day(1), Waits: []int{-1, 3, 3, 3}}},
		Bands: []evaluate.Band{
			{From: 1, To: 1, Precision: evaluate.Ratio{Hits: 1, Of: 1}},
			{From: 2, To: 2, Precision: evaluate.Ratio{Hits: 0, Of: 1}},
			{From: 3, To: 4, Precision: evaluate.Ratio{Hits: 2, Of: 2}},
			{From: 5, To: 5},
			{From: 6, To: 7, Precision: evaluate.Ratio{Hits: 1, Of: 2}},
		},
	}
	want.At[1].Recall.Hits = 4
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
}

func TestExplainedRates(t *testing.T) {
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	e := evaluate.NewExplained([]feeds.Label{
		{Person: "ann", Day: "2026-09-02", Kind: "own-record", Patient: "a"}, {Person: "bob", Day: "2026-09-02", Kind: "bulk"},
	}, london)
	at := time.Date(2026, 9, 1, 22, 30, 0, 0, time.UTC)
	yes, no := explain.By(explain.OnWard, explain.Strong), explain.By(explain.Handover, explain.Weak)
	e.Add("ann", "a", at, yes)                 // the day before, in London
	e.Add("ann", "a", at.Add(time.Hour), yes)  // the labelled day, not a first access
	e.Add("ann", "a", at.Add(2*time.Hour), no) // again
	e.Add("bob", "a", at.Add(25*time.Hour), 0) // no patient is labelled: says nothing
	e.Add("bob", "b", at.Add(26*time.Hour), yes)
	want := evaluate.ExplainedReport{
		All: evaluate.Ratio{Hits: 3, Of: 5}, First: evaluate.Ratio{Hits: 2, Of: 3}, Misuse: evaluate.Ratio{Hits: 1, Of: 2},
		Kinds: []evaluate.ExplainedUsage{{Kind: "own-record", Misuse: evaluate.Ratio{Hits: 1, Of: 2}, Templates: map[string]int{"T3": 1}}},
	}
	got := e.Report()
	for _, u := range got.Templates {
		if n := map[string]int{"T3": 3, "T10": 1}[u.Template]; u.Accesses != n {
			t.Errorf("%s could explain %d, want %d", u.Template, u.Accesses, n)
		}
	}
	got.Templates = nil
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if e.Days() != 3 {
		t.Errorf("%d days", e.Days())
	}
}

func TestCasesThatAreNoneAreNamed(t *testing.T) {
	good := `{"case":"c","rank":1,"person":"ann","days":["2026-09-01"],"detectors":[],"colour":"red"}` + "\n"
	for text, want := range map[string]string{
		good + "{": "line 2: not one JSON object",
		good + `{"case":"d","person":"ann","days":[]}`: "line 2: a case needs rank",
		`{"rank":1,"days":["2026-09-01"]}`:             "line 1: a case needs rank",
	} {
		if _, err := evaluate.ReadCases(strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	nobody := `{"rank":1,"lane":"must-review","people":[],"days":["2026-09-01"]}` // an application that did not record
	if got, err := evaluate.ReadCases(strings.NewReader(nobody)); err != nil || len(got) != 1 {
		t.Errorf("a case about nobody: %v, %v", got, err)
	}
	if got, err := evaluate.ReadCases(strings.NewReader(good)); err != nil || len(got) != 1 || got[0].Person != "ann" {
		t.Errorf("%v, %v", got, err)
	}
}

// TestSpread over seeds.
func TestSpread(t *testing.T) {
	s := evaluate.NewSpread([]float64{.5, .7, .6, math.NaN()})
	if d := cmp.Diff(evaluate.Spread{Mean: .6, Least: .5, Most: .7, Runs: 3}, s, cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); d != "" {
		t.Error(d)
	}
	if got := evaluate.NewSpread(nil); got.Runs != 0 {
		t.Errorf("%+v", got)
	}
}
