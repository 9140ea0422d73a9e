package hazardlog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

// Every cell of the matrix, written out.
func TestMatrixCells(t *testing.T) {
	for _, c := range []struct {
		likelihood hazardlog.Likelihood
		severity   hazardlog.Severity
		risk       hazardlog.Risk
	}{
		{"Very High", "Minor", 3},
		{"Very High", "Significant", 4},
		{"Very High", "Considerable", 4},
		{"Very High", "Major", 5},
		{"Very High", "Catastrophic", 5},
		{"High", "Minor", 2},
		{"High", "Significant", 3},
		{"High", "Considerable", 3},
		{"High", "Major", 4},
		{"High", "Catastrophic", 5},
		{"Medium", "Minor", 2},
		{"Medium", "Significant", 2},
		{"Medium", "Considerable", 3},
		{"Medium", "Major", 3},
		{"Medium", "Catastrophic", 4},
		{"Low", "Minor", 1},
		{"Low", "Significant", 2},
		{"Low", "Considerable", 2},
		{"Low", "Major", 3},
		{"Low", "Catastrophic", 4},
		{"Very Low", "Minor", 1},
		{"Very Low", "Significant", 1},
		{"Very Low", "Considerable", 2},
		{"Very Low", "Major", 2},
		{"Very Low", "Catastrophic", 3},
	} {
		if got := (hazardlog.Rating{Severity: c.severity, Likelihood: c.likelihood}).Risk(); got != c.risk {
			t.Errorf("%s x %s = %d, want %d", c.likelihood, c.severity, got, c.risk)
		}
	}
}

// A rating that lacks a word, or has another, is not rated: never 1.
func TestUnratedIsNeverOne(t *testing.T) {
	for _, r := range []hazardlog.Rating{
		{},
		{Severity: "Minor"},
		{Likelihood: "Very Low"},
		{Severity: "minor", Likelihood: "Very Low"},
		{Severity: "Negligible", Likelihood: "Rare"},
		{Severity: "Very Low", Likelihood: "Minor"},
	} {
		risk := r.Risk()
		if risk.Rated() || risk.String() != "not rated" || risk.Level().Acceptability != hazardlog.NotRated {
			t.Errorf("%+v: %v, %+v", r, risk, risk.Level())
		}
	}
	for _, r := range []hazardlog.Risk{-1, 6, 25} {
		if r.Rated() || r.Level().Acceptability != hazardlog.NotRated {
			t.Errorf("risk %d counts as rated", int(r))
		}
	}
}

func TestLevels(t *testing.T) {
	var got []string
	for _, l := range hazardlog.Levels() {
		got = append(got, fmt.Sprintf("%s %s", l.Risk, l.Acceptability))
	}
	want := []string{
		"5 unacceptable",
		"4 unacceptable",
		"3 acceptable with a stated reason",
		"2 acceptable with a stated reason",
		"1 acceptable",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStarterIsADraftOfTwentyHazards(t *testing.T) {
	l, err := hazardlog.Starter()
	if err != nil {
		t.Fatal(err)
	}
	if want := (hazardlog.Approval{State: "draft", Note: "proposed; not approved by a clinical safety officer"}); l.Approval != want {
		t.Errorf("approval %+v", l.Approval)
	}
	var got []string
	for _, h := range l.Hazards {
		got = append(got, fmt.Sprintf("%s %d %d %s", h.ID, h.Initial.Risk(), h.Residual.Risk(), h.Status))
		for _, c := range h.Controls {
			if c.Timing == hazardlog.Additional && c.Status != hazardlog.Proposed {
				t.Errorf("%s claims a control that nobody has verified: %+v", h.ID, c)
			}
		}
	}
	want := []string{
		"GW-01 3 3 Open", "GW-02 4 3 Open", "GW-03 3 2 Open", "GW-04 3 2 Open", "GW-05 3 2 Open", "GW-06 3 3 Open",
		"GW-07 3 2 Open", "GW-08 3 2 Open", "GW-09 3 2 Open", "GW-10 3 3 Open", "GW-11 3 2 Open", "GW-12 4 2 Open",
		"GW-13 2 2 Open", "GW-14 3 1 Open", "GW-15 3 2 Open", "GW-16 3 3 Open", "GW-17 3 2 Open", "GW-18 4 3 Open",
		"GW-19 3 2 Open", "GW-20 3 2 Open",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEncodedLogDecodesToItself(t *testing.T) {
	want, err := hazardlog.Starter()
	if err != nil {
		t.Fatal(err)
	}
	want.Hazards[0].Residual = hazardlog.Rating{}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := hazardlog.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMatrixCountsEveryHazardOnce(t *testing.T) {
	l, err := hazardlog.Starter()
	if err != nil {
		t.Fatal(err)
	}
	l.Hazards[2].Residual = hazardlog.Rating{}
	got := map[string][]string{}
	m := l.ResidualMatrix()
	for _, row := range m.Rows {
		for _, c := range row.Cells {
			if len(c.Hazards) > 0 {
				got[fmt.Sprintf("%s/%s/%d", c.Severity, c.Likelihood, c.Risk)] = c.Hazards
			}
		}
	}
	want := map[string][]string{
		"Major/Low/3":             {"GW-01", "GW-10", "GW-16"},
		"Catastrophic/Very Low/3": {"GW-02", "GW-18"},
		"Considerable/Low/2":      {"GW-04", "GW-07", "GW-09", "GW-11", "GW-12", "GW-20"},
		"Major/Very Low/2":        {"GW-05", "GW-08", "GW-15"},
		"Considerable/Medium/3":   {"GW-06"},
		"Considerable/Very Low/2": {"GW-13", "GW-17", "GW-19"},
		"Significant/Very Low/1":  {"GW-14"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m.Unrated != 1 || l.InitialMatrix().Unrated != 0 {
		t.Errorf("unrated: residual %d, initial %d", m.Unrated, l.InitialMatrix().Unrated)
	}
}

// Each mistake is refused and named by hazard and field.
func TestDecodeRefuses(t *testing.T) {
	l, err := hazardlog.Starter()
	if err != nil {
		t.Fatal(err)
	}
	l.Hazards = l.Hazards[:2]
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	for _, c := range []struct{ name, old, new, want string }{
		{"stated risk", `"likelihood":"Medium","risk":3`, `"likelihood":"Medium","risk":2`, "GW-01 initial.risk: states 2, but the matrix gives 3"},
		{"risk of nothing", `"severity":"Major","likelihood":"Medium","risk":3`, `"severity":"","likelihood":"","risk":1`, "GW-01 initial.risk: states 1, but the matrix gives not rated"},
		{"half rated", `"severity":"Major","likelihood":"Medium","risk":3`, `"severity":"Major","likelihood":""`, `GW-01 initial.likelihood: is ""`},
		{"foreign word", `"severity":"Major","likelihood":"Medium","risk":3`, `"severity":"Negligible","likelihood":"Medium"`, `GW-01 initial.severity: is "Negligible"`},
		{"unknown field", `"owner":`, `"ower":`, `GW-01 json: unknown field "ower"`},
		{"unknown field in rating", `"justification":`, `"why":`, `GW-01 initial: json: unknown field "why"`},
		{"given twice", `"status":"Open"`, `"status":"Open","status":"Closed"`, `"status" is given twice`},
		{"status", `"status":"Open"`, `"status":"Done"`, `GW-01 status: is "Done"`},
		{"control type", `"type":"design"`, `"type":"hope"`, `GW-01 controls[0].type: is "hope"`},
		{"empty owner", `"owner":"clinical safety officer of the manufacturer (not yet appointed)"`, `"owner":""`, "GW-01 owner: is empty"},
		{"id twice", `"id":"GW-02"`, `"id":"GW-01"`, "GW-01 id: is taken by another hazard"},
		{"id form", `"id":"GW-02"`, `"id":"2"`, `2 id: "2" is not of the form GW-01`},
		{"no id", `"id":"GW-02",`, ``, `hazard 2 id: ""`},
		{"format", `matron-hazard-log/1`, `matron-hazard-log/2`, `format: is "matron-hazard-log/2"`},
		{"approval by nobody", `"state":"draft"`, `"state":"approved"`, "approval.by: is empty"},
		{"unsigned state", `"state":"draft"`, `"state":"final"`, `approval.state: is "final"`},
		{"something after", "", "", "there is something after the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			if c.old == "" {
				bad = good + "{}"
			}
			got, err := hazardlog.Decode([]byte(bad))
			if !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if diff := cmp.Diff(hazardlog.Log{}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []string{"", "null", "[]", `{"hazards":[7]}`, "{"} {
		if _, err := hazardlog.Decode([]byte(bad)); !errors.Is(err, hazardlog.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
