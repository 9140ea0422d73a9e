package cases_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit/detect/cases"
)

// TestCasesAreReadAsTheyAreWritten in the fixed form.
func TestCasesAreReadAsTheyAreWritten(t *testing.T) {
	want := []cases.Case{{
		ID: "c1", Kind: cases.OfPatient, Rank: 1, Score: 2.5, Lane: cases.MustReview, People: []string{"ann", "bob"}, Roles: []string{"nurse"}, Patients: []string{"x"},
		Days: []string{"2026-09-01"}, Detectors: []cases.Detector{{"vip-crowd", 1, 5, .001}}, Explanations: []cases.Explanation{{"T8", "weak", "s", "e"}},
		Sentences: []string{"<one>"}, Accesses: []string{"a1"}, MadeAt: time.Date(2026, 9, 1, 9, 0, 0, 0, time.UTC), Versions: map[string]int{"vip-crowd": 1},
	}}
	var out bytes.Buffer
	if err := cases.Write(&out, want); err != nil {
		t.Fatal(err)
	}
	const line = `{"case":"c1","kind":"patient","rank":1,"score":2.5,"lane":"must-review","people":["ann","bob"],"roles":["nurse"],"patients":["x"],"days":["2026-09-01"],` +
		`"detectors":[{"id":"vip-crowd","version":1,"value":5,"p":0.001}],"explanations":[{"template":"T8","strength":"weak","sentence":"s","evidence":"e"}],` +
		`"sentences":["<one>"],"accesses":["a1"],"made_at":"2026-09-01T09:00:00Z","versions":{"vip-crowd":1}}` + "\n"
	if d := cmp.Diff(line, out.String()); d != "" {
		t.Error(d)
	}
	got, err := cases.Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := cases.Read(strings.NewReader(line + "{")); err == nil || !strings.HasPrefix(err.Error(), "line 2:") {
		t.Errorf("half a line: %v", err)
	}
}
