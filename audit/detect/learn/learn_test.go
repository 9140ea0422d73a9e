package learn_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/learn"
)

func noon() time.Time { return time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC) }

// raised is a case that detectors raised, each as rare as the others, in their
// versions of today.
func raised(id, role string, by ...string) cases.Case {
	c := cases.Case{ID: id, Kind: cases.OfIncident, Lane: cases.Budget, Person: "p" + id, People: []string{"p" + id}, Roles: []string{role}, Score: 1, MadeAt: noon(), Accesses: []string{"a" + id}}
	part := cases.Part{Role: role}
	for _, d := range detectors.Definitions() {
		for _, name := range by {
			if d.ID == name {
				c.Detectors = append(c.Detectors, cases.Detector{ID: name, Version: d.Version, Value: 3, P: .0001})
				part.Day = append(part.Day, cases.Rarity{ID: name, P: .0001})
			}
		}
	}
	c.Parts = []cases.Part{part}
	return c
}

// judged is n cases, of which the first right were worth asking about.
func judged(n, right int, name, role string, by ...string) (list []cases.Case, given []learn.Disposition) {
	for i := range n {
		c := raised(fmt.Sprint(name, i), role, by...)
		d := learn.Disposition{Case: c.ID, Outcome: learn.Justified, By: "rev", At: noon().Add(time.Hour)}
		if i < right {
			d.Outcome = learn.Misuse
		}
		list, given = append(list, c), append(given, d)
	}
	return list, given
}

func learnt(t *testing.T, list []cases.Case, given []learn.Disposition) learn.Version {
	t.Helper()
	known := learn.Cases{}
	known.Add(list)
	counts, notes := learn.Settle(given, known, noon().AddDate(1, 0, 0))
	if len(notes) > 0 {
		t.Fatalf("%+v", notes)
	}
	return learn.Learn(learn.Input{Dispositions: counts, Cases: known, Scoring: cases.DefaultScoring()})
}

// TestWhatIsSeldomRightWeighsLess in its role, and less of it in roles of few.
func TestWhatIsSeldomRightWeighsLess(t *testing.T) {
	a, givenA := judged(60, 2, "a", "doctor", "out-of-hours")
	b, givenB := judged(40, 30, "b", "nurse", "out-of-hours")
	c, givenC := judged(1, 0, "c", "porter", "out-of-hours")
	v := learnt(t, append(append(a, b...), c...), append(append(givenA, givenB...), givenC...))
	doctor, nurse, porter, cook := v.Weight("out-of-hours", "doctor"), v.Weight("out-of-hours", "nurse"), v.Weight("out-of-hours", "porter"), v.Weight("out-of-hours", "cook")
	if doctor > .75 || nurse < .95 {
		t.Errorf("doctor %v, nurse %v", doctor, nurse)
	}
	if porter <= doctor || porter >= nurse || math.Abs(porter-cook) > .1 {
		t.Errorf("one case says little: porter %v, nobody's %v", porter, cook)
	}
	if got := v.Weight("bulk", "nurse"); got != 1 {
		t.Errorf("nothing was learnt, but it weighs %v", got)
	}
	for _, g := range v.Groups {
		if !(g.Low < g.Precision && g.Precision < g.High) || math.Abs(g.Precision-g.A/(g.A+g.B)) > 1e-9 {
			t.Errorf("%+v", g)
		}
	}
}

// TestProtectedCasesAreNeverLowered, whatever reviewers say, and neither is anything
// else in them. What is not protected keeps a weight above nothing.
func TestProtectedCasesAreNeverLowered(t *testing.T) {
	var list []cases.Case
	var given []learn.Disposition
	for _, d := range detectors.Definitions() {
		l, g := judged(50, 0, d.ID, "nurse", d.ID)
		list, given = append(list, l...), append(given, g...)
	}
	l, g := judged(800, 800, "right", "nurse", "bulk", "exfiltration")
	list, given = append(list, l...), append(given, g...)
	v := learnt(t, list, given)
	s := v.Apply(cases.DefaultScoring())
	for _, g := range v.Groups {
		switch protected := map[string]bool{"own-record": true, "household": true, "vip-crowd": true}[g.Detector]; {
		case protected != g.Protected:
			t.Errorf("%s: protected %v", g.Detector, g.Protected)
		case protected && (g.Weight != 1 || s.Weights[g.Detector] != nil):
			t.Errorf("%s weighs %v and %v", g.Detector, g.Weight, s.Weights[g.Detector])
		case g.Weight < learn.Floor || g.Weight > 1:
			t.Errorf("%s weighs %v", g.Detector, g.Weight)
		case !protected && g.Right == 0 && g.Weight > .5:
			t.Errorf("%s was never right and weighs %v", g.Detector, g.Weight)
		}
	}
	if len(s.Weights) < 15 {
		t.Errorf("only %d detectors have a weight", len(s.Weights))
	}
}

// TestCasesDrawnByLotSayWhatIsMissed and nothing about detectors.
func TestCasesDrawnByLotSayWhatIsMissed(t *testing.T) {
	list, given := judged(10, 10, "a", "nurse", "bulk")
	lots, more := judged(20, 1, "lot", "nurse", "bulk")
	for i := range lots {
		lots[i].Lane, lots[i].StandsFor = cases.Random, 50
	}
	v := learnt(t, append(list, lots...), append(given, more...))
	u := v.Unflagged
	if u.Looked != 20 || u.Misuse != 1 || u.Of != 1000 || u.Found != 10 || math.Abs(u.Share-.05) > 1e-9 || math.Abs(u.Recall-10./60) > 1e-9 || u.Least >= u.Recall {
		t.Errorf("%+v", u)
	}
	if v.Flagged.N() != 10 || v.Cases.N() != 30 {
		t.Errorf("%+v, %+v", v.Flagged, v.Cases)
	}
	for _, g := range v.Groups {
		if g.N() != 10 {
			t.Errorf("learnt from what was drawn by lot: %+v", g)
		}
	}
}

// TestAnotherVersionOfADetectorIsAnotherDetector.
func TestAnotherVersionOfADetectorIsAnotherDetector(t *testing.T) {
	list, given := judged(30, 0, "a", "nurse", "bulk")
	if v := learnt(t, list, given); len(v.Apply(cases.DefaultScoring()).Weights) != 1 {
		t.Errorf("%+v", v.Groups)
	}
	v := learnt(t, list, given)
	for i := range v.Groups {
		v.Groups[i].Version++
	}
	if got := v.Apply(cases.DefaultScoring()).Weights; len(got) != 0 {
		t.Errorf("learnt of another version, used all the same: %v", got)
	}
	for i := range list {
		list[i].Detectors[0].Version++
	}
	if v := learnt(t, list, given); len(v.Groups) != 0 {
		t.Errorf("%+v", v.Groups)
	}
}

// TestCompareSaysWhatEntersAndLeaves.
func TestCompareSaysWhatEntersAndLeaves(t *testing.T) {
	list := []cases.Case{raised("poor", "nurse", "bulk", "off-ward"), raised("good", "nurse", "exfiltration"), raised("lot", "nurse", "bulk")}
	list[2].Lane = cases.Random
	before, after := cases.DefaultScoring(), cases.DefaultScoring()
	after.Weights = map[string]map[string]float64{"bulk": {"nurse": .25}, "off-ward": {cases.AnyRole: .25}}
	for i := range list {
		list[i].Score = before.Score(&list[i])
	}
	got := learn.Compare(list, before, after, 5, 1)
	if len(got.Enter) != 1 || len(got.Leave) != 1 || got.Enter[0].Case != "good" || got.Leave[0].Case != "poor" || got.Leave[0].Then >= got.Leave[0].Score {
		t.Errorf("%+v", got)
	}
	if same := learn.Compare(list, before, before, 5, 1); len(same.Enter)+len(same.Leave) != 0 {
		t.Errorf("%+v", same)
	}
}

// TestBeta against what can be reckoned by hand.
func TestBeta(t *testing.T) {
	for _, row := range []struct {
		a, b, p, want float64
	}{
		{1, 1, .05, .05},                                // even
		{2, 1, .25, .5},                                 // x²
		{1, 10, .9, 1 - math.Pow(.1, .1)},               // 1-(1-x)^10
		{3, 3, .5, .5},                                  // symmetric
		{200, 1, .05, math.Pow(.05, 1./200)},            // x^200
		{.5, .5, .25, math.Pow(math.Sin(math.Pi/8), 2)}, // 2/π arcsin √x
	} {
		if got := (learn.Beta{A: row.a, B: row.b}).Quantile(row.p); math.Abs(got-row.want) > 1e-9 {
			t.Errorf("Beta(%v, %v) at %v: %v, want %v", row.a, row.b, row.p, got, row.want)
		}
	}
}

const file = `{"case":"a0","disposition":"misuse","by":"ann","at":"2026-11-03T09:00:00Z","hat":"red"}
{"case":"a1","disposition":"justified","by":"ann","at":"2026-11-03T09:00:00Z"}
{"case":"a1","disposition":"justified","by":"ann","at":"2026-11-03T09:30:00Z"}
{"case":"a2","disposition":"misuse","by":"ann","at":"2026-11-03T09:00:00Z"}
{"case":"a2","disposition":"justified","by":"bob","at":"2026-11-03T10:00:00Z"}
{"case":"a3","disposition":"misuse","by":"ann","at":"2027-03-03T09:00:00Z"}
{"case":"zz","disposition":"misuse","by":"ann","at":"2026-11-03T09:00:00Z"}
{"case":"a4","disposition":"guilty","by":"ann","at":"yesterday"}
{"case":"a4"
{"case":"a5","disposition":"misuse","by":"ann","at":"2026-11-03T09:00:00Z"}
{"case":"a5","disposition":"justified","by":"ann","at":"2026-11-04T09:00:00Z"}
{"case":"a6","disposition":"justified","by":"ann","at":"2026-11-01T09:00:00Z"}
{"case":"a6","disposition":"justified","by":"ann","at":"2031-11-01T09:00:00Z"}
{"case":"a7","disposition":"insufficient","by":"ann","at":"2026-11-03T09:00:00Z"}
{"case":"a8","disposition":"training","by":"ann","at":"2026-11-03T09:00:00Z"}
{"case":"a8","disposition":"misuse","by":"bob","at":"2026-11-03T09:00:00Z"}
`

// TestLinesThatDoNotCountAreNamed and the rest goes in.
func TestLinesThatDoNotCountAreNamed(t *testing.T) {
	list, _ := judged(9, 0, "a", "nurse", "bulk")
	known := learn.Cases{}
	known.Add(list)
	given, bad, unknown, err := learn.Read(strings.NewReader(file), "f")
	if err != nil || len(unknown) != 1 || unknown[0] != "hat" {
		t.Fatalf("%v, %v", unknown, err)
	}
	counts, notes := learn.Settle(given, known, noon().AddDate(1, 0, 0))
	var got []string
	for _, n := range append(bad, notes...) {
		got = append(got, fmt.Sprintf("%d %v %s", n.Line, n.Counts, n.Reason))
	}
	want := []string{
		"8 false disposition: not one of misuse, policy-breach, training, justified, systemic, insufficient and duplicate\nat: not a time of RFC 3339 with its offset",
		"9 false not one JSON object: mistake at byte 12 of the line",
		"2 false said again by the same reviewer (f line 3)",
		"4 false another reviewer says otherwise (f line 5): neither counts until they agree",
		"5 false another reviewer says otherwise (f line 4): neither counts until they agree",
		"6 true late: more than 90 days after the newest access of the case; it counts",
		"7 false case: not among the cases; name the run that made it with --cases",
		"10 false replaced by what the same reviewer said later (f line 11)",
		"12 false at: before the newest access of the case",
		"13 false at: lies in the future",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var in []string
	for _, d := range counts {
		in = append(in, fmt.Sprint(d.Case, " ", d.Outcome, " ", d.Line))
	}
	if d := cmp.Diff([]string{"a0 misuse 1", "a1 justified 3", "a3 misuse 6", "a5 justified 11", "a8 training 15"}, in); d != "" {
		t.Error(d)
	}
}
