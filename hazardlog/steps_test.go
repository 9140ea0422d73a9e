package hazardlog_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

// Words, ratings and status change one act at a time, and what an officer accepted
// is not carried over to another rating.
func TestStepsTakeOneActAtATime(t *testing.T) {
	b := sound(t)
	old, _ := b.Find("GW-01")
	next := old
	next.Name, next.Status, next.Notes = "Another name for the hazard", hazardlog.Transferred, []string{"Reviewer: the ward"}
	next.Residual = rating("Major", "Low")
	next.Acceptance = hazardlog.Acceptance{Accepted: true, Reason: "made up", By: "nobody"}
	steps := hazardlog.Steps(old, next, b.Revision(old.Subject()), "workbook")
	var acts []hazardlog.Act
	for _, s := range steps {
		acts = append(acts, s.Act)
	}
	if diff := cmp.Diff([]hazardlog.Act{hazardlog.Edit, hazardlog.Rate, hazardlog.Move}, acts); diff != "" {
		t.Fatal(diff)
	}
	b.must(engineer(), steps...)
	got, _ := b.Find("GW-01")
	if got.Acceptance != (hazardlog.Acceptance{}) || got.Status != hazardlog.Transferred || got.Residual.Likelihood != "Low" || len(got.Notes) != 1 {
		t.Errorf("after all steps: %+v", got)
	}
	if more := hazardlog.Steps(got, got, 9, ""); more != nil {
		t.Errorf("nothing is other, yet there are steps: %+v", more)
	}
}

// What only an officer answers does not change on the way.
func TestStepsLeaveAnswersAlone(t *testing.T) {
	old := hazardlog.Transfer{ID: "T-01", Hazard: "GW-01", Condition: "Train staff", State: hazardlog.Offered}
	next := old
	next.Condition, next.State, next.By = "Train all staff", hazardlog.Accepted, "nobody"
	steps := hazardlog.Steps(old, next, 1, "")
	if len(steps) != 1 || steps[0].Act != hazardlog.Edit || steps[0].Value.(hazardlog.Transfer).State != hazardlog.Offered {
		t.Errorf("steps: %+v", steps)
	}
}
