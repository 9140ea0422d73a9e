package hazardlog_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

func standard(t *testing.T, id string) *hazardlog.Standard {
	t.Helper()
	s, err := hazardlog.LoadStandard(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Every cell of the matrix, written out, in both standards.
// hazard:GW-32 control:C-234
func TestMatrixCells(t *testing.T) {
	for _, id := range hazardlog.StandardIDs() {
		s := standard(t, id)
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
			if got := s.Risk(c.severity, c.likelihood); got != c.risk {
				t.Errorf("%s: %s x %s = %d, want %d", id, c.likelihood, c.severity, got, c.risk)
			}
		}
		if n := len(s.Severities) * len(s.Likelihoods); n != 25 {
			t.Errorf("%s: %d cells", id, n)
		}
	}
}

// A rating that lacks a word, or has another, is not rated: never 1.
func TestUnratedIsNeverOne(t *testing.T) {
	s := standard(t, "dcb0129-4.2")
	for _, r := range []hazardlog.Rating{
		{},
		{Severity: "Minor"},
		{Likelihood: "Very Low"},
		{Severity: "minor", Likelihood: "Very Low"},
		{Severity: "Negligible", Likelihood: "Rare"},
		{Severity: "Very Low", Likelihood: "Minor"},
	} {
		risk := s.Rate(r).Risk()
		if risk.Rated() || risk.String() != "not rated" || s.Level(risk).Acceptability != hazardlog.NotRated {
			t.Errorf("%+v: %v, %+v", r, risk, s.Level(risk))
		}
	}
	for _, r := range []hazardlog.Risk{-1, 6, 25} {
		if r.Rated() || s.Level(r).Acceptability != hazardlog.NotRated {
			t.Errorf("risk %d counts as rated", int(r))
		}
	}
	if r := (hazardlog.Rating{Severity: "Minor", Likelihood: "Very Low"}); r.Risk().Rated() {
		t.Error("a rating that no standard has looked up has a risk")
	}
}

func TestLevels(t *testing.T) {
	var got []string
	for _, l := range standard(t, "dcb0129-4.2").Levels {
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

// How severe a consequence is depends on how many patients it reaches.
func TestSeverityOfConsequences(t *testing.T) {
	s := standard(t, "dcb0129-4.2")
	got := map[string][2]hazardlog.Severity{}
	for _, c := range s.Consequences {
		got[c.ID] = [2]hazardlog.Severity{s.Severity(c.ID, hazardlog.OnePatient), s.Severity(c.ID, hazardlog.SeveralPatients)}
	}
	want := map[string][2]hazardlog.Severity{
		"death":              {"Major", "Catastrophic"},
		"severe-lasting":     {"Major", "Catastrophic"},
		"severe":             {"Considerable", "Major"},
		"severe-trauma":      {"Considerable", "Major"},
		"minor-lasting":      {"Significant", "Considerable"},
		"significant-trauma": {"Significant", "Considerable"},
		"minor":              {"Minor", "Significant"},
		"upset":              {"Minor", "Significant"},
		"negligible":         {"Minor", ""}, // the table gives none
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.Severity("death", "") != "" || s.Severity("", "one") != "" {
		t.Error("a severity without a question answered")
	}
}

// Clauses of DCB0160 are named by their titles: their numbers have not been
// checked against its text.
func TestClausesAreNumberedWhereTheirNumberIsKnown(t *testing.T) {
	for id, want := range map[string]string{
		"dcb0129-4.2": "6.1.2 Each control is assessed for hazards that it introduces",
		"dcb0160-3.2": "Each control is assessed for hazards that it introduces",
	} {
		if got := standard(t, id).Clause("new-hazards").String(); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	for _, c := range standard(t, "dcb0160-3.2").Clauses {
		if c.Ref != "" {
			t.Errorf("DCB0160 has a number for %q", c.Title)
		}
	}
	for _, bad := range []string{"", "dcb0129-9", "../starter", "standard/dcb0129-4.2"} {
		if s, err := hazardlog.LoadStandard(bad); err == nil {
			t.Errorf("%q is a standard: %+v", bad, s)
		}
	}
}
