package workbook_test

import (
	"archive/zip"
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

func facts() workbook.Facts {
	return workbook.Facts{
		Draft:      "DRAFT: not approved by a clinical safety officer",
		Evidence:   func(c string) string { return "implemented supported; effective not measured (" + c + ")" },
		InQuestion: map[string][]string{"GW-01": {"C-01"}},
	}
}

// A workbook that nobody changed changes nothing in the log that it was written from.
func TestAnUnchangedWorkbookChangesNothing(t *testing.T) {
	starter, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]hazardlog.Log{"starter": starter, "full": full(t), "assessed": assessed(t)} {
		p := read(t, write(t, l, facts()), l, workbook.Options{})
		if len(p.Findings) > 0 || len(p.Changes) > 0 || p.Confirm != "" {
			t.Errorf("%s: findings %v, words %v", name, p.Findings, p.Words)
		}
	}
}

// Export, import into a new log: the same log, byte for byte.
func TestARoundTripGivesTheSameLog(t *testing.T) {
	starter, err := hazardlog.StarterLog()
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]hazardlog.Log{"starter": starter, "full": full(t)} {
		begun := l.Head
		p := read(t, write(t, l, facts()), hazardlog.Begin(l.ID), workbook.Options{Head: &begun})
		if p.Blocked() {
			t.Fatalf("%s: %v", name, p.Findings)
		}
		again := record(t, hazardlog.Begin(l.ID), engineer(), p.Changes...)
		want, _ := l.Snapshot()
		got, _ := again.Snapshot()
		if string(want) != string(got) {
			t.Errorf("%s: %s", name, cmp.Diff(strings.Split(string(want), ","), strings.Split(string(got), ",")))
		}
	}
}

// What an officer signed is not taken over into another log: it is proposed there,
// and the report says so.
func TestASignatureDoesNotTravelInAWorkbook(t *testing.T) {
	l := assessed(t)
	begun := l.Head
	p := read(t, write(t, l, facts()), hazardlog.Begin("other"), workbook.Options{Head: &begun})
	again := record(t, hazardlog.Begin("other"), engineer(), p.Changes...)
	h, _ := again.Find("GW-01")
	if h.Initial.Owned() || h.Residual.Owned() || h.Acceptance.Accepted || h.Initial.Risk() != 3 {
		t.Errorf("taken over: %+v", h)
	}
	says(t, p, "Hazard Log!A5", "an officer accepts it anew")
}

// What people change in the workbook is what changes in the log, and no more.
func TestAnEditInTheWorkbookIsTheOnlyChange(t *testing.T) {
	l := assessed(t)
	data := edited(t, write(t, l, facts()), "Hazard Log", map[string]any{
		"E5": "A patient dies.", "X5": "Medium", "Q5": "C-01: Every refusal offers more\nA new control of somebody", "F6": "-2+3\n=1+1\nA third cause",
	})
	p := read(t, data, l, workbook.Options{})
	if p.Blocked() || p.Confirm == "" {
		t.Fatalf("blocked: %v", p.Findings)
	}
	next := record(t, l, engineer(), p.Changes...)
	want := map[string]bool{}
	for _, d := range hazardlog.Compare(l, next) {
		want[d.Subject.ID+" "+d.Field] = true
	}
	if diff := cmp.Diff(map[string]bool{
		"GW-01 harm": true, "GW-01 residual.likelihood": true, "GW-01 residual.state": true, "GW-01 residual.by": true, "GW-01 acceptance.accepted": true,
		"GW-01 acceptance.reason": true, "GW-01 acceptance.by": true, "C-01 text": true, "C-03 ": true, "GW-02 causes": true,
	}, want); diff != "" {
		t.Error(diff)
	}
	h, _ := next.Find("GW-01")
	if h.Residual.Owned() || h.Residual.Risk() != 3 || !h.Initial.Owned() {
		t.Errorf("the rating that was not touched stays signed, the other is proposed: %+v", h)
	}
	if c, _ := next.Control("C-03"); c.Text != "A new control of somebody" || c.Status != hazardlog.Proposed {
		t.Errorf("new control: %+v", c)
	}
}

// Somebody changed the log after the workbook was written: neither is overwritten.
func TestAWorkbookDoesNotOverwriteWhatCameLater(t *testing.T) {
	l := full(t)
	data := edited(t, write(t, l, facts()), "Hazard Log", map[string]any{"E5": "A patient dies."})
	h, _ := l.Find("GW-01")
	h.Effect = "Changed in the meantime."
	l = record(t, l, engineer(), change(l, hazardlog.Edit, h))
	p := read(t, data, l, workbook.Options{})
	if !p.Blocked() || p.Confirm != "" || len(p.Changes) > 0 {
		t.Errorf("changes %v", p.Words)
	}
	says(t, p, "Hazard Log!A5", "Changed in the meantime")
}

// Equal logs make equal bytes, and no text becomes a formula.
func TestAWorkbookIsTheSameEachTimeAndRunsNothing(t *testing.T) {
	l := full(t)
	data := write(t, l, facts())
	if !bytes.Equal(data, write(t, l, facts())) {
		t.Error("two workbooks of one log differ")
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	formula := regexp.MustCompile(`<f>([^<]*)</f>`)
	formulas := 0
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		part, _ := io.ReadAll(r)
		if strings.Contains(f.Name, "externalLink") || bytes.Contains(part, []byte("hyperlink ")) {
			t.Errorf("%s links to somewhere", f.Name)
		}
		for _, m := range formula.FindAllSubmatch(part, -1) {
			formulas++
			if !bytes.HasPrefix(m[1], []byte("IF(OR(")) {
				t.Errorf("a formula that is not the look-up: %s", m[1])
			}
		}
	}
	if formulas != 2*len(l.Hazards) {
		t.Errorf("%d formulas for %d hazards", formulas, len(l.Hazards))
	}
}
