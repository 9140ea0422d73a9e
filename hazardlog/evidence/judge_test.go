package evidence_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func now() time.Time { return time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC) }

func number(v float64) *float64 { return &v }

func measured(v float64, sample int) evidence.Measurement {
	return evidence.Measurement{Value: &v, Sample: sample, At: now()}
}

func TestStatesFollowFromTheNumbersAlone(t *testing.T) {
	rate := evidence.Definition{ID: "SPI-01", AtMost: number(2), MinSample: 150, Unit: "%", Hours: 168}
	count := evidence.Definition{ID: "SPI-06", AtMost: number(0), MinSample: 1000, Any: true, Unit: "refusals", Hours: 720}
	least := evidence.Definition{ID: "SPI-22", AtLeast: number(99.9), MinSample: 100, Unit: "%"}
	for name, c := range map[string]struct {
		d    evidence.Definition
		m    evidence.Measurement
		want hazardlog.EvidenceState
		says string
	}{
		"nothing measured":      {rate, evidence.Measurement{}, hazardlog.NotMeasured, "not measured it yet"},
		"nothing to count":      {rate, evidence.Measurement{At: now()}, hazardlog.NotEnough, "Nothing was there"},
		"no value, and why":     {rate, evidence.Measurement{At: now(), Why: "ClickHouse does not answer."}, hazardlog.NotMeasured, "does not answer"},
		"good":                  {rate, measured(2, 150), hazardlog.Supported, "2 % in 7 days, at most 2 % is claimed (sample 150)"},
		"good, few":             {rate, measured(0, 3), hazardlog.NotEnough, "95 % confidence"},
		"bad":                   {rate, measured(2.01, 150), hazardlog.Contradicted, "but at most 2 % is claimed"},
		"bad, few":              {rate, measured(33, 3), hazardlog.NotEnough, "at least 150"},
		"one is enough":         {count, measured(1, 3), hazardlog.Contradicted, "1 refusals in 30 days"},
		"none, few":             {count, measured(0, 3), hazardlog.NotEnough, "at least 1000"},
		"none, many":            {count, measured(0, 1000), hazardlog.Supported, ""},
		"high enough":           {least, measured(99.9, 100), hazardlog.Supported, ""},
		"too low":               {least, measured(99.89, 100), hazardlog.Contradicted, "99.89 %"},
		"no number":             {least, measured(math.NaN(), 100), hazardlog.Contradicted, ""},
		"old":                   {rate, evidence.Measurement{Value: number(1), Sample: 900, At: now().Add(-25 * time.Hour)}, hazardlog.Stale, "25 November 2026"},
		"cannot be measured":    {evidence.Definition{Missing: "No canary.", AtMost: number(0)}, measured(0, 9999), hazardlog.NotMeasured, "No canary."},
		"without any threshold": {evidence.Definition{Unit: "%"}, measured(3, 9999), hazardlog.NotMeasured, "no threshold"},
	} {
		got := c.d.Judge(c.m, now())
		if got.State != c.want || !strings.Contains(got.Reason, c.says) {
			t.Errorf("%s: %q (%s), want %q and %q", name, got.State, got.Reason, c.want, c.says)
		}
	}
}

// A rate that must be at most 3 in n is not shown by fewer than n.
func TestEveryIndicatorIsWholeAndItsSampleLargeEnoughForItsClaim(t *testing.T) {
	all, err := evidence.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 40 {
		t.Errorf("%d indicators, not 40", len(all))
	}
	l, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	per := map[string]float64{"%": 100, "per 100,000": 1e5, "per 50,000": 5e4, "per 20,000 writes": 2e4}
	seen := map[string]bool{}
	for _, d := range all {
		for name, text := range map[string]string{"name": d.Name, "claim": d.Claim, "definition": d.Definition, "unit": d.Unit, "owner": d.Owner, "action": d.Action} {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: no %s", d.ID, name)
			}
		}
		if c, ok := l.Control(d.Control); !ok || seen[d.ID] {
			t.Errorf("%s: control %s, twice %t", d.ID, d.Control, seen[d.ID])
		} else if !strings.Contains(strings.Join(c.Hazards, " "), d.Hazard) {
			t.Errorf("%s: %s is no control of %s", d.ID, d.Control, d.Hazard)
		}
		seen[d.ID] = true
		if n := per[d.Unit]; n > 0 && d.AtMost != nil && float64(d.MinSample) < min(3*n / *d.AtMost, 1000) && !d.Any {
			t.Errorf("%s: a sample of %d cannot show %s", d.ID, d.MinSample, d.Threshold())
		}
		if set := btoi(d.Query != "") + btoi(d.Reading != "") + btoi(d.Missing != ""); set != 1 {
			t.Errorf("%s has %d sources", d.ID, set)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestTestsThatVanishOrFailMakeTheirControlStale(t *testing.T) {
	passed := now().Add(-time.Hour)
	tag := func(control string, r evidence.Result) evidence.Tag {
		return evidence.Tag{Control: control, Kind: evidence.TestTag, Name: "proxy.Test" + control, Result: r, Passed: passed, Commit: "abc"}
	}
	l := hazardlog.Log{}
	for _, id := range []string{"C-01", "C-02", "C-03", "C-04", "C-05", "C-06", "C-07", "C-08"} {
		l.Controls = append(l.Controls, hazardlog.Control{ID: id})
	}
	document := hazardlog.Document{Slot: hazardlog.SlotImplemented, Title: "Drill", Link: "https://x.example/drill", On: "2026-10-01", Review: "2026-12-01"}
	l.Controls[4].Documents = []hazardlog.Document{document}
	document.Review = "2026-11-25"
	l.Controls[5].Documents = []hazardlog.Document{document}
	in := evidence.Input{
		Now: now(), Running: hazardlog.Baseline{Program: "v1"},
		Trace: &evidence.Trace{Build: "v1", Commit: "abc", Tags: []evidence.Tag{
			tag("C-01", evidence.Passed), tag("C-02", evidence.Passed), tag("C-02", evidence.Failed), tag("C-03", evidence.Gone),
			{Control: "C-04", Kind: evidence.RuleTag, Name: "care.rego"},
			tag("C-06", evidence.Passed), tag("C-08", evidence.Skipped),
		}},
		Before: &evidence.Report{Controls: map[string]evidence.Control{"C-07": {Implemented: evidence.Slot{State: hazardlog.Supported, Sources: []string{"proxy.TestOld"}}}}},
	}
	check := func(name string, want map[string]hazardlog.EvidenceState) {
		t.Helper()
		r, err := evidence.Make(l, in)
		if err != nil {
			t.Fatal(err)
		}
		for id, state := range want {
			if got := r.Controls[id].Implemented; got.State != state || got.Reason == "" {
				t.Errorf("%s: %s is %q (%s), want %q", name, id, got.State, got.Reason, state)
			}
		}
	}
	check("of this build", map[string]hazardlog.EvidenceState{
		"C-01": hazardlog.Supported, "C-02": hazardlog.Stale, "C-03": hazardlog.Stale, "C-04": hazardlog.NotMeasured,
		"C-05": hazardlog.Supported, "C-06": hazardlog.Stale, "C-07": hazardlog.Stale, "C-08": hazardlog.Stale,
	})
	in.Running.Program = "v2"
	check("of another build", map[string]hazardlog.EvidenceState{"C-01": hazardlog.Stale})
	in.Trace, in.Before = nil, nil
	check("without results", map[string]hazardlog.EvidenceState{"C-01": hazardlog.NotMeasured, "C-05": hazardlog.Supported})
}

func TestTheWorstIndicatorOfAControlSpeaksForIt(t *testing.T) {
	all, err := evidence.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	l, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]evidence.Measurement{}
	for _, d := range all {
		m := measured(0, 1_000_000)
		if d.AtLeast != nil {
			m.Value = d.AtLeast
		}
		good[d.ID] = m
	}
	good["SPI-06"] = measured(4, 10)
	r, err := evidence.Make(l, evidence.Input{Now: now(), Measured: good})
	if err != nil {
		t.Fatal(err)
	}
	for control, want := range map[string]hazardlog.EvidenceState{
		"C-14": hazardlog.Contradicted, "C-13": hazardlog.Supported, "C-36": hazardlog.NotMeasured, "C-12": hazardlog.NotMeasured,
	} {
		if got := r.Controls[control].Effective; got.State != want {
			t.Errorf("%s: %q (%s), want %q", control, got.State, got.Reason, want)
		}
	}
	if doubted := evidence.InQuestion(l, r); len(doubted) != 1 || doubted["GW-03"][0] != "C-14" {
		t.Errorf("in question: %v", doubted)
	}
}

func TestWhatWasKnownWhenAVersionWasApprovedIsFrozen(t *testing.T) {
	frozen, err := hazardlog.Freeze(evidence.Report{Build: "v1 <a&b>", Controls: map[string]evidence.Control{"C-01": {Implemented: evidence.Slot{State: hazardlog.Supported}}}})
	if err != nil {
		t.Fatal(err)
	}
	a := hazardlog.Approval{Version: "1.0", Evidence: frozen}
	if !strings.Contains(a.Text("log"), "evidence sha256 "+frozen.SHA256) {
		t.Error("what is signed does not name it")
	}
	stored, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back hazardlog.Approval
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	if r, err := evidence.Frozen(&back); err != nil || r.Build != "v1 <a&b>" || r.Controls["C-01"].Implemented.State != hazardlog.Supported {
		t.Errorf("%+v, %v", r, err)
	}
	back.Evidence.Report = []byte(strings.Replace(string(back.Evidence.Report), "supported", "stale", 1))
	if _, err := evidence.Frozen(&back); err == nil || back.Evidence.Whole() {
		t.Error("altered evidence is taken")
	}
}
