package learn_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/audit/feeds"
)

// TestPatternsOfJustifiedCases become candidates when enough cases share them and no
// case of misuse does; protected cases make none.
func TestPatternsOfJustifiedCases(t *testing.T) {
	var care []feeds.Care
	at := time.Date(2026, 10, 20, 9, 0, 0, 0, time.UTC)
	around := func(n, right int, name, role, ward string, by ...string) ([]cases.Case, []learn.Disposition) {
		list, given := judged(n, right, name, role, by...)
		for i := range list {
			patient := fmt.Sprint(name, "-patient", i)
			list[i].Patients, list[i].Days = []string{patient}, []string{"2026-10-25"}
			care = append(care, feeds.Care{Patient: patient, Kind: "inpatient", Ward: ward, Start: at, End: at.AddDate(0, 0, 1)})
		}
		return list, given
	}
	known := learn.Cases{}
	var all []learn.Disposition
	add := func(list []cases.Case, given []learn.Disposition) {
		known.Add(list)
		all = append(all, given...)
	}
	add(around(6, 0, "ash", "secretary", "ASH", "post-care"))
	add(around(4, 0, "few", "secretary", "ELM", "post-care"))
	add(around(9, 1, "bad", "doctor", "OAK", "post-care"))
	kin, given := around(9, 0, "kin", "nurse", "FIR", "household", "post-care")
	for i := range kin {
		kin[i].Parts = nil // as the scoring writes protected cases
	}
	add(kin, given)
	counts, _ := learn.Settle(all, known, noon().AddDate(1, 0, 0))
	context := feeds.Context{Care: feeds.CareOf(care...)}
	got := learn.Mine(learn.Input{Dispositions: counts, Cases: known, Scoring: cases.DefaultScoring()}, &context, 5)
	want := []learn.Candidate{{Role: "secretary", Kind: "inpatient", Ward: "ASH", After: 5, Cases: []string{"ash0", "ash1", "ash2", "ash3", "ash4", "ash5"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	file := explain.SiteFile{Templates: []explain.SiteTemplate{got[0].Template()}}
	if problems := file.Validate(); len(problems) > 0 || file.Templates[0].State != "shadow" || file.Templates[0].Strength != explain.Weak {
		t.Errorf("%v, %+v", problems, file.Templates[0])
	}
}
