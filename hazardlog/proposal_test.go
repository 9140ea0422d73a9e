package hazardlog_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

func starter(t *testing.T) hazardlog.Log {
	t.Helper()
	l, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The starter log is a draft: nobody has assessed, accepted or approved it.
func TestStarterIsProposedByNobodyInParticular(t *testing.T) {
	l := starter(t)
	if l.Role != hazardlog.Manufacturer || l.StandardID != "dcb0129-4.2" || l.Approved() != nil {
		t.Errorf("%+v", l.Head)
	}
	if want := "Draft: no version has been approved by a clinical safety officer."; l.State() != want {
		t.Errorf("state %q", l.State())
	}
	var got []string
	for _, h := range l.Hazards {
		got = append(got, fmt.Sprintf("%s %d %d %s", h.ID, h.Initial.Risk(), h.Residual.Risk(), h.Status))
		for _, r := range []hazardlog.Rating{h.Initial, h.Residual} {
			if r.State != hazardlog.RatingProposed || r.Owned() || h.Acceptance.Accepted {
				t.Errorf("%s: somebody stands behind %+v", h.ID, r)
			}
		}
		for _, c := range l.ControlsOf(h.ID) {
			if c.Timing == hazardlog.Additional && c.Status == hazardlog.Verified {
				t.Errorf("%s claims a control that nobody has verified: %+v", h.ID, c)
			}
		}
	}
	want := []string{
		"GW-01 3 3 Open", "GW-02 4 3 Open", "GW-03 3 2 Open", "GW-04 3 2 Open", "GW-05 3 2 Open", "GW-06 3 3 Open",
		"GW-07 3 2 Open", "GW-08 3 2 Open", "GW-09 3 2 Open", "GW-10 3 3 Open", "GW-11 3 2 Open", "GW-12 4 2 Open",
		"GW-13 2 2 Open", "GW-14 3 1 Open", "GW-15 3 2 Open", "GW-16 3 3 Open", "GW-17 3 2 Open", "GW-18 4 3 Open",
		"GW-19 3 2 Open", "GW-20 3 2 Open", "GW-21 3 3 Open", "GW-22 3 2 Open", "GW-23 3 2 Open", "GW-24 3 2 Open",
		"GW-25 2 2 Open", "GW-26 3 2 Open", "GW-27 3 3 Open", "GW-28 3 2 Open", "GW-29 3 2 Open", "GW-30 3 2 Open",
		"GW-31 2 2 Open", "GW-32 2 2 Open",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c, _ := l.Control("C-02"); !slices.Equal(c.Hazards, []string{"GW-01", "GW-10", "GW-21", "GW-22"}) {
		t.Errorf("a control that stands under several hazards is one: %v", c.Hazards)
	}
}

func TestMatrixCountsEveryHazardOnce(t *testing.T) {
	l := starter(t)
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
		"Major/Low/3":             {"GW-01", "GW-10", "GW-16", "GW-21", "GW-27"},
		"Catastrophic/Very Low/3": {"GW-02", "GW-18"},
		"Considerable/Low/2":      {"GW-04", "GW-07", "GW-09", "GW-11", "GW-12", "GW-20", "GW-23", "GW-24"},
		"Major/Very Low/2":        {"GW-05", "GW-08", "GW-15", "GW-22", "GW-26", "GW-29", "GW-30"},
		"Considerable/Medium/3":   {"GW-06"},
		"Considerable/Very Low/2": {"GW-13", "GW-17", "GW-19", "GW-25", "GW-31", "GW-32"},
		"Significant/Very Low/1":  {"GW-14"},
		"Significant/Medium/2":    {"GW-28"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m.Unrated != 1 || l.InitialMatrix().Unrated != 0 {
		t.Errorf("unrated: residual %d, initial %d", m.Unrated, l.InitialMatrix().Unrated)
	}
}

// Each mistake is refused and named by hazard and field.
// hazard:GW-32 control:C-234
func TestProposalsAreReadStrictly(t *testing.T) {
	text, err := os.ReadFile("starter.json")
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	rating := "\"severity\": \"Major\",\n    \"likelihood\": \"Medium\",\n    \"risk\": 3"
	for _, c := range []struct{ name, old, new, want string }{
		{"stated risk", rating, strings.Replace(rating, "3", "2", 1), "GW-01 initial.risk: states 2, but the matrix gives 3"},
		{"risk of nothing", rating, `"severity":"","likelihood":"","risk":1`, "GW-01 initial.risk: states 1, but the matrix gives not rated"},
		{"half rated", rating, `"severity":"Major","likelihood":""`, `GW-01 initial.likelihood: is ""`},
		{"foreign word", rating, `"severity":"Negligible","likelihood":"Medium"`, `GW-01 initial.severity: is "Negligible"`},
		{"unknown field", `"owner":`, `"ower":`, `hazard 1: json: unknown field "ower"`},
		{"unknown field in rating", `"justification":`, `"why":`, `hazard 1: json: unknown field "why"`},
		{"given twice", `"status": "Open"`, `"status":"Open","status":"Closed"`, `"status" is given twice`},
		{"status", `"status": "Open"`, `"status":"Done"`, `GW-01 status: is "Done"`},
		{"control type", `"type": "design"`, `"type":"hope"`, `type: is "hope"`},
		{"empty cause", `"The process crashes or stalls"`, `"The process crashes or stalls", ""`, `GW-02 causes[1]: is empty`},
		{"control differs", "hash tree whose signed heads are kept elsewhere", "hash", "GW-18 C-53: is not the same control as under GW-13"},
		{"control without an id", `"id": "C-01",`, "", ` id: "" is not of the form C-01`},
		{"transfer of no control", `"control": "C-93"`, `"control": "C-999"`, "T-33 control: there is no control C-999"},
		{"transfer twice", `"id": "T-33"`, `"id": "T-01"`, "GW-01 T-01: is taken by another transfer"},
		{"transfer that is answered", `"control": "C-93"`, `"control": "C-93", "state": "accepted"`, "GW-01 T-33: cannot be answered in a proposal"},
		{"empty owner", `"owner": "clinical safety officer of the manufacturer (not yet appointed)"`, `"owner":""`, "GW-01 owner: is empty"},
		{"id twice", `"id": "GW-02"`, `"id":"GW-01"`, "GW-01 id: is taken by another hazard"},
		{"id form", `"id": "GW-02"`, `"id":"2"`, `2 id: "2" is not of the form GW-01`},
		{"format", `matron-hazard-log/1`, `matron-hazard-log/2`, `format: is "matron-hazard-log/2"`},
		{"approves itself", `"state": "draft"`, `"state":"approved"`, `a file cannot approve itself`},
		{"something after", "", "", "there is something after the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := strings.Replace(good, c.old, c.new, 1)
			switch {
			case c.old == "":
				bad = good + "{}"
			case bad == good:
				t.Fatalf("%q is not there", c.old)
			}
			_, err := hazardlog.Propose([]byte(bad))
			if !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	for _, bad := range []string{"", "null", "[]", `{"hazards":[7]}`, "{"} {
		if _, err := hazardlog.Propose([]byte(bad)); !errors.Is(err, hazardlog.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
