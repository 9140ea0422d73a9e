package evidence_test

import (
	"testing"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

func TestNoEvidenceIsNeverGoodEvidence(t *testing.T) {
	good := evidence.Slot{State: hazardlog.Supported}
	r := evidence.Report{Controls: map[string]evidence.Control{
		"C-01": {Implemented: good, Effective: good},
		"C-02": {Implemented: good},
		"C-03": {Implemented: good, Effective: evidence.Slot{State: hazardlog.Contradicted}},
		"C-04": {Implemented: evidence.Slot{State: hazardlog.Stale}, Effective: evidence.Slot{State: hazardlog.NotEnough}},
	}}
	for control, want := range map[string]hazardlog.EvidenceState{
		"C-01": hazardlog.Supported, "C-02": hazardlog.NotMeasured, "C-03": hazardlog.Contradicted, "C-04": hazardlog.Stale, "C-99": hazardlog.NotMeasured,
	} {
		if got := r.State(control); got != want {
			t.Errorf("%s is %q, want %q", control, got, want)
		}
	}
}

func TestOnlyTheRatingsThatRestOnAContradictedControlAreInQuestion(t *testing.T) {
	l := hazardlog.Log{Controls: []hazardlog.Control{
		{ID: "C-01", Hazards: []string{"GW-01", "GW-02"}}, {ID: "C-02", Hazards: []string{"GW-03"}},
	}}
	r := evidence.Report{Controls: map[string]evidence.Control{
		"C-01": {Effective: evidence.Slot{State: hazardlog.Contradicted}}, "C-02": {Effective: evidence.Slot{State: hazardlog.Stale}},
	}}
	got := evidence.InQuestion(l, r)
	if len(got) != 2 || got["GW-01"][0] != "C-01" || got["GW-02"][0] != "C-01" {
		t.Errorf("in question: %v", got)
	}
}
