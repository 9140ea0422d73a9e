package hazardlog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

// faulty is a sound log after do, as the rules of a log would not let it become:
// an import may.
func faulty(t *testing.T, do func(l *hazardlog.Log)) hazardlog.Log {
	t.Helper()
	l := sound(t).Log
	h, c := l.Hazards[0], l.Controls[0]
	h.Conditions = []hazardlog.Condition{hazardlog.Normal, hazardlog.Fault}
	l.Hazards, l.Controls = []hazardlog.Hazard{h}, []hazardlog.Control{c}
	do(&l)
	for i, h := range l.Hazards {
		l.Hazards[i].Initial, l.Hazards[i].Residual = l.Standard.Rate(h.Initial), l.Standard.Rate(h.Residual)
	}
	return l
}

// Each rule finds its fault, and nothing in a sound log.
func TestLint(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(l *hazardlog.Log)
		facts hazardlog.Facts
		want  []string
	}{
		{"sound", func(*hazardlog.Log) {}, hazardlog.Facts{Today: "2026-11-26"}, nil},
		{"no cause, effect, harm", func(l *hazardlog.Log) {
			l.Hazards[0].Causes, l.Hazards[0].Effect, l.Hazards[0].Harm = nil, "", " "
		}, hazardlog.Facts{}, []string{"incomplete error GW-01 effect", "incomplete error GW-01 harm", "incomplete error GW-01 causes"}},
		{"not rated", func(l *hazardlog.Log) {
			l.Hazards[0].Residual, l.Hazards[0].Acceptance = hazardlog.Rating{}, hazardlog.Acceptance{}
		}, hazardlog.Facts{}, []string{"not-rated error GW-01 residual"}},
		{
			"proposed", func(l *hazardlog.Log) {
				l.Hazards[0].Initial.State, l.Hazards[0].Initial.By = hazardlog.RatingProposed, ""
			},
			hazardlog.Facts{},
			[]string{"not-assessed error GW-01 initial"},
		},
		{
			"words of another matrix", func(l *hazardlog.Log) { l.Hazards[0].Initial.Severity = "Negligible" },
			hazardlog.Facts{},
			[]string{"unknown-word warning GW-01 initial", "not-rated error GW-01 initial"},
		},
		{"severity against consequence", func(l *hazardlog.Log) {
			l.Hazards[0].Initial.Consequence, l.Hazards[0].Initial.Patients = "death", hazardlog.SeveralPatients
		}, hazardlog.Facts{}, []string{"severity-differs error GW-01 initial.severity"}},
		{
			"risk 4 without risk against benefit", func(l *hazardlog.Log) { l.Hazards[0].Residual.Likelihood = "High" },
			hazardlog.Facts{},
			[]string{"no-benefit-record error GW-01 residual"},
		},
		{"risk 4 with it", func(l *hazardlog.Log) {
			l.Hazards[0].Residual.Likelihood, l.Hazards[0].Acceptance.Benefit = "High", "Worth it: D-01"
		}, hazardlog.Facts{}, nil},
		{"risk 3 without a reason", func(l *hazardlog.Log) {
			l.Hazards[0].Residual.Likelihood, l.Hazards[0].Acceptance.Reason = "Low", ""
		}, hazardlog.Facts{}, []string{"no-reason warning GW-01 acceptance.reason"}},
		{
			"nobody accepts", func(l *hazardlog.Log) { l.Hazards[0].Acceptance = hazardlog.Acceptance{} },
			hazardlog.Facts{},
			[]string{"not-accepted warning GW-01 acceptance"},
		},
		{
			"a lesser harm", func(l *hazardlog.Log) { l.Hazards[0].Residual.Severity = "Considerable" },
			hazardlog.Facts{},
			[]string{"severity-lowered warning GW-01 residual.severity"},
		},
		{"a lesser harm, explained", func(l *hazardlog.Log) {
			l.Hazards[0].Residual.Severity, l.Hazards[0].Residual.Lowered = "Considerable", "C-01 takes the refusal away"
		}, hazardlog.Facts{}, nil},
		{
			"training alone", func(l *hazardlog.Log) { l.Controls[0].Type = hazardlog.Training },
			hazardlog.Facts{},
			[]string{"people-only warning GW-01 residual.likelihood"},
		},
		{"three words", func(l *hazardlog.Log) { l.Hazards[0].Hazard = "No record" }, hazardlog.Facts{}, []string{"too-short warning GW-01 hazard"}},
		{"one text for all", func(l *hazardlog.Log) {
			l.Hazards[0].Effect, l.Hazards[0].Causes[0] = l.Hazards[0].Harm, l.Hazards[0].Harm
		}, hazardlog.Facts{}, []string{"same-words warning GW-01 causes[0]", "same-words warning GW-01 harm"}},
		{"harm to staff", func(l *hazardlog.Log) { l.Hazards[0].Harm = "Nurses are bullied by staff." }, hazardlog.Facts{}, []string{"staff-only warning GW-01 harm"}},
		{
			"new hazards not asked for", func(l *hazardlog.Log) { l.Controls[0].NewHazards = hazardlog.NewHazards{} },
			hazardlog.Facts{},
			[]string{"new-hazards error C-01 new_hazards"},
		},
		{"an existing control is not a proposed one", func(l *hazardlog.Log) {
			c := l.Controls[0]
			c.ID, c.Timing, c.NewHazards = "C-02", hazardlog.Existing, hazardlog.NewHazards{}
			l.Controls = append(l.Controls, c)
		}, hazardlog.Facts{}, nil},
		{"one word", func(l *hazardlog.Log) { l.Controls[0].Text = "Training" }, hazardlog.Facts{}, []string{"one-word warning C-01 text"}},
		{
			"one control for all", func(l *hazardlog.Log) { l.Controls[0].Hazards = []string{"GW-01", "GW-02", "GW-03"} },
			hazardlog.Facts{},
			[]string{"common-cause warning C-01 hazards"},
		},
		{"transferred to nobody", func(l *hazardlog.Log) {
			l.Hazards[0].Status = hazardlog.Transferred
			l.Transfers = []hazardlog.Transfer{{ID: "T-01", Hazard: "GW-01", Condition: "Train staff"}}
		}, hazardlog.Facts{}, []string{"no-recipient error GW-01 status"}},
		{"transferred", func(l *hazardlog.Log) {
			l.Hazards[0].Status = hazardlog.Transferred
			l.Transfers = []hazardlog.Transfer{{ID: "T-01", Hazard: "GW-01", Condition: "Train staff", To: "Trust"}}
		}, hazardlog.Facts{}, nil},
		{"declined", func(l *hazardlog.Log) {
			l.Transfers = []hazardlog.Transfer{{ID: "T-01", Hazard: "GW-01", Condition: "Train staff", To: "Trust", State: hazardlog.Declined, Reason: "no staff"}}
		}, hazardlog.Facts{}, []string{"declined warning T-01 state"}},
		{"closed, accepted by nobody", func(l *hazardlog.Log) {
			l.Hazards[0].Status, l.Hazards[0].Acceptance = hazardlog.Closed, hazardlog.Acceptance{}
		}, hazardlog.Facts{}, []string{"not-accepted warning GW-01 acceptance", "closed-unaccepted error GW-01 status"}},
		{
			"closed in doubt", func(l *hazardlog.Log) { l.Hazards[0].Status = hazardlog.Closed },
			hazardlog.Facts{Evidence: map[string]hazardlog.EvidenceState{"C-01": hazardlog.Contradicted}},
			[]string{"closed-doubtful warning GW-01 status", "in-question warning C-01 "},
		},
		{
			"implemented, nobody knows", func(l *hazardlog.Log) { l.Controls[0].Status = hazardlog.Implemented },
			hazardlog.Facts{Implemented: map[string]hazardlog.EvidenceState{}},
			[]string{"no-evidence warning C-01 status"},
		},
		{
			"verified, nobody knows", func(l *hazardlog.Log) { l.Controls[0].Status = hazardlog.Verified },
			hazardlog.Facts{Evidence: map[string]hazardlog.EvidenceState{}, Implemented: map[string]hazardlog.EvidenceState{"C-01": hazardlog.Supported}},
			[]string{"no-evidence warning C-01 status"},
		},
		{"old evidence", func(*hazardlog.Log) {}, hazardlog.Facts{Evidence: map[string]hazardlog.EvidenceState{"C-01": hazardlog.Stale}}, []string{"stale warning C-01 "}},
		{
			"no fault conditions", func(l *hazardlog.Log) { l.Hazards[0].Conditions = []hazardlog.Condition{hazardlog.Normal} },
			hazardlog.Facts{},
			[]string{"conditions warning log test "},
		},
		{"overdue", func(l *hazardlog.Log) {
			l.Hazards[0].Review = "2026-11-25"
			l.Reviews = []hazardlog.Review{{ID: "R-01", Of: "bypass drill", Due: "2026-11-25"}, {ID: "R-02", Of: "GW-01", Due: "2026-11-25", Done: "2026-11-24"}}
		}, hazardlog.Facts{Today: "2026-11-26"}, []string{"review-overdue warning GW-01 review", "review-overdue warning R-01 due"}},
		{"empty", func(l *hazardlog.Log) { l.Hazards, l.Controls = nil, nil }, hazardlog.Facts{}, []string{"no-hazard error log test "}},
		{"issued unapproved", func(*hazardlog.Log) {}, hazardlog.Facts{Issue: true}, []string{"not-approved error log test "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, rules(faulty(t, c.fault).Lint(c.facts))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func rules(findings []hazardlog.Finding) []string {
	var list []string
	for _, f := range findings {
		kind := "warning"
		if f.Error {
			kind = "error"
		}
		list = append(list, strings.Join([]string{f.Rule, kind, f.Subject.String(), f.Field}, " "))
	}
	return list
}

// A log is issued as it was approved, and says when what runs is something else.
func TestLintOfAnApprovedLog(t *testing.T) {
	b := sound(t)
	h, _ := b.Find("GW-01")
	h.Conditions = []hazardlog.Condition{hazardlog.Normal, hazardlog.Fault}
	b.must(engineer(), b.change(hazardlog.Edit, h, ""))
	b.approve("1.0")
	same, other := signOff("1.0").Baseline, hazardlog.Baseline{Program: "1.1", Config: "aaaa"}
	for _, c := range []struct {
		facts hazardlog.Facts
		want  []string
	}{
		{hazardlog.Facts{Issue: true, Today: "2026-11-26", Running: &same}, nil},
		{hazardlog.Facts{Issue: true, Running: &other}, []string{"baseline warning version 1.0 baseline"}},
		{hazardlog.Facts{Issue: true, Today: "2027-04-01"}, []string{"registration warning version 1.0 officer"}},
	} {
		if diff := cmp.Diff(c.want, rules(b.Lint(c.facts))); diff != "" {
			t.Error(diff)
		}
	}
	h.Harm += " And more."
	b.must(engineer(), b.change(hazardlog.Edit, h, ""))
	if diff := cmp.Diff([]string{"not-approved error log test "}, rules(b.Lint(hazardlog.Facts{Issue: true}))); diff != "" {
		t.Error(diff)
	}
	if got := (hazardlog.Log{}).Lint(hazardlog.Facts{}); len(hazardlog.Errors(got)) != 1 {
		t.Errorf("no log at all: %v", got)
	}
}

// A finding says where it is, how bad, and which clause asks for it.
func TestFindingsAreReadable(t *testing.T) {
	l := faulty(t, func(l *hazardlog.Log) { l.Controls[0].NewHazards = hazardlog.NewHazards{} })
	want := "C-01 new_hazards: error: does this control bring hazards of its own or change known risks? Nobody has answered " +
		"[new-hazards; 6.1.2 Each control is assessed for hazards that it introduces]"
	if got := l.Lint(hazardlog.Facts{})[0].String(); got != want {
		t.Errorf("%s", got)
	}
}
