package workbook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

// template is an empty workbook in the layout of the template, as people keep it:
// joined headings, odd spaces and line breaks, other cases.
func template(t testing.TB) made {
	t.Helper()
	m := newMade(t)
	m.rows(
		"Hazard Log", 1,
		[]any{nil, nil, "Hazard Assessment", nil, nil, nil, "Initial Risk", nil, nil, nil, nil, nil, nil, nil, nil, nil, "Residual  Risk ", nil, nil, nil, nil, nil, nil, nil, nil, nil, "Owner", "Status"},
		[]any{"No.", "Date Added", "Hazard Description", nil, nil, nil, "Existing Controls", nil, nil, nil, nil, nil, "\nInitial Risk Assessment", nil, nil, nil, "Additional Controls", nil, nil, nil, nil, nil, "\nResidual Risk Assessment"},
		[]any{nil, nil, nil, nil, nil, nil, "HIT Design", nil, "User Training", nil, "Business Process", nil, nil, nil, nil, nil, "HIT Design", nil, "User Training", nil, "Business Process Change"},
		[]any{nil, nil, "Effect", " hazard", "Harm", "Possible  Causes", "Description", "Evidence", "Description", "Evidence", "Description", "Evidence", "Consequence", "Likelihood", "Risk", "Justification", "Description", "Evidence", "Description", "Evidence", "Description", "Evidence", "Severity", "Likelihood", "RISK", "Justification"},
	)
	for _, joined := range [][2]string{
		{"C1", "F1"},
		{"G1", "P1"},
		{"Q1", "Z1"},
		{"AA1", "AA4"},
		{"AB1", "AB4"},
		{"A2", "A4"},
		{"B2", "B4"},
		{"C2", "F3"},
		{"G2", "L2"},
		{"M2", "P3"},
		{"Q2", "V2"},
		{"W2", "Z3"},
		{"G3", "H3"},
		{"I3", "J3"},
		{"K3", "L3"},
		{"Q3", "R3"},
		{"S3", "T3"},
		{"U3", "V3"},
	} {
		if err := m.f.MergeCell("Hazard Log", joined[0], joined[1]); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// row is a hazard in that layout.
func row(no any, severity, likelihood, risk any) []any {
	return []any{
		no, time.Date(2020, 2, 3, 0, 0, 0, 0, time.UTC), "The page is slow.", "The clinician waits for the record.", "A patient is treated late.", "1. Load\n2) A slow disk\nin the cellar",
		"Caching", "Tested in March", nil, nil, "Staff ring", nil, severity, likelihood, risk, "It happens.",
		"More servers", "Build 12", "Staff are shown", nil, nil, nil, "Minor", "Very Low", 1, "Rare now.", "Ward manager", "open",
	}
}

func (m made) plan() workbook.Plan {
	m.t.Helper()
	return read(m.t, m.bytes(), empty(m.t), workbook.Options{})
}

func TestTheTemplateIsRead(t *testing.T) {
	m := template(t)
	m.rows("Hazard Log", 5, row(1, "MAJOR", " very  low", 2), []any{nil, nil, nil, nil, nil, "A cause in a row of its own"})
	if err := m.f.MergeCell("Hazard Log", "A5", "A6"); err != nil {
		t.Fatal(err)
	}
	if err := m.f.SetCellValue("Hazard Log", "AC4", "Reviewer"); err != nil {
		t.Fatal(err)
	}
	if err := m.f.SetCellValue("Hazard Log", "AC5", "The ward"); err != nil {
		t.Fatal(err)
	}
	if err := m.f.AddComment("Hazard Log", excelize.Comment{Cell: "F5", Author: "X", Text: "ask IT"}); err != nil {
		t.Fatal(err)
	}
	p := m.plan()
	if p.Blocked() {
		t.Fatal(p.Findings)
	}
	l := record(t, empty(t), engineer(), p.Changes...)
	got, _ := l.Find("HZ-01")
	want := hazardlog.Hazard{
		ID: "HZ-01", Name: "The clinician waits for the record.", Effect: "The page is slow.", Hazard: "The clinician waits for the record.",
		Harm: "A patient is treated late.", Causes: []string{"Load", "A slow disk\nin the cellar", "A cause in a row of its own"}, Owner: "Ward manager", Status: hazardlog.Open,
	}
	notes := strings.Join(got.Notes, "\n")
	for _, kept := range []string{"Tested in March", "Build 12", "Reviewer (Hazard Log!AC5): The ward", "2020-02-03", "Comment on Hazard Log!F5: ask IT"} {
		if !strings.Contains(notes, kept) {
			t.Errorf("%q is lost: %s", kept, notes)
		}
	}
	if got.Initial.String() != "Major x Very Low = 2" || got.Residual.String() != "Minor x Very Low = 1" || got.Initial.State != hazardlog.RatingProposed {
		t.Errorf("ratings %s, %s, %s", got.Initial, got.Residual, got.Initial.State)
	}
	got.Initial, got.Residual, got.Notes = hazardlog.Rating{}, hazardlog.Rating{}, nil
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hazardlog.Rating{})); diff != "" {
		t.Error(diff)
	}
	var controls []string
	for _, c := range l.Controls {
		controls = append(controls, fmt.Sprintf("%s %s %s %s: %s", c.ID, c.Timing, c.Type, c.Status, c.Text))
	}
	if diff := cmp.Diff([]string{
		"C-01 existing design in place: Caching", "C-02 existing business process in place: Staff ring",
		"C-03 additional design proposed: More servers", "C-04 additional training proposed: Staff are shown",
	}, controls); diff != "" {
		t.Error(diff)
	}
	says(t, p, "Hazard Log!AC4", `"Reviewer"`)
	says(t, p, "Hazard Log!A5", `"1" becomes HZ-01`)
}

// The layout before version 3.6.
func TestTheOlderLayoutIsRead(t *testing.T) {
	m := newMade(t)
	m.rows(
		"Log", 2,
		[]any{nil, nil, nil, nil, nil, nil, "Initial Hazard Risk Rating", nil, nil, "Risk controls", nil, nil, nil, "Residual Hazard Risk Rating"},
		[]any{"Hazard number", "Hazard name", "Hazard description", "Potential clinical impact", "Possible causes", "Existing controls", "Likelihood", "Consequence", "Risk", "Design", "Test", "Training", "Business process change", "Likelihood", "Consequence", "Risk"},
		[]any{"FHIR003", "Wrong version", "An old resource is read as current", "A patient gets an old dose", "- Cache\n- Clock", "Checks by staff", "Medium", "Major", 3, "Versions are compared", "Suite 4", "E-learning", "Second check", "Very Low", "Major", 4},
	)
	p := m.plan()
	if p.Blocked() {
		t.Fatal(p.Findings)
	}
	l := record(t, empty(t), engineer(), p.Changes...)
	got, _ := l.Find("FHIR-03")
	if got.Name != "Wrong version" || got.Hazard != "An old resource is read as current" || got.Harm != "A patient gets an old dose" || got.Effect != "" || len(got.Causes) != 2 {
		t.Errorf("hazard %+v", got)
	}
	if got.Initial.String() != "Major x Medium = 3" || got.Residual.String() != "Major x Very Low = 2" {
		t.Errorf("ratings %s, %s", got.Initial, got.Residual)
	}
	if len(l.Controls) != 4 || !strings.Contains(strings.Join(got.Notes, "\n"), "Suite 4") {
		t.Errorf("controls %+v, notes %v", l.Controls, got.Notes)
	}
	says(t, p, "Log!D3", "somebody must write the effect")
	says(t, p, "Log!F3", "does not tell design, training and process apart")
	says(t, p, "Log!P4", "says 4, higher than the matrix")
	says(t, p, "Log!I4", "no justification")
}

// The wrong matrices that are about (reference 1.4): each is named by cell, and no
// rating is taken from one.
func TestWrongMatricesAreNamedByCell(t *testing.T) {
	grid := func(m made, cols []any, rows [][]any) {
		m.rows("Risk Matrix", 1, append([]any{nil, nil}, cols...))
		for i, r := range rows {
			m.rows("Risk Matrix", 2+i, append([]any{nil}, r...))
		}
	}
	multiplied := [][]any{{"Very High", 5, 10, 15, 20, 25}, {"High", 4, 8, 12, 16, 20}, {"Medium", 3, 6, 9, 12, 15}, {"Low", 2, 4, 6, 8, 10}, {"Very Low", 1, 2, 3, 4, 5}}
	official := []any{"Minor", "Significant", "Considerable", "Major", "Catastrophic"}
	for name, c := range map[string]struct {
		fill func(m made)
		want [][2]string
	}{
		"multiplied, in bands": {func(m made) {
			grid(m, []any{"Negligible", "Minor", "Considerable", "Major", "Catastrophic"}, multiplied)
			m.rows("Hazard Log", 5, row(1, "Catastrophic", "Low", "10 (tolerable)"), row(2, "Negligible", "Low", "acceptable"))
		}, [][2]string{
			{"Risk Matrix!C1", `"Negligible" is no word`},
			{"Risk Matrix!C2", "multiplies, up to 25"},
			{"Hazard Log!O5", "looks multiplied: Catastrophic x Low = 4"},
			{"Hazard Log!M6", `"Negligible": is no word`},
			{"Hazard Log!O6", "stays not rated"},
		}},
		"four levels, too low": {func(m made) {
			grid(m, []any{"Negligible", "Minor", "Considerable", "Major", "Catastrophic"}, [][]any{{"Very High", 2, 2, 3, 4, 4}, {"High", 1, 2, 3, 3, 4}, {"Medium", 1, 2, 2, 3, 3}, {"Low", 1, 1, 2, 2, 3}, {"Very Low", 1, 1, 1, 2, 2}})
			m.rows("Hazard Log", 5, row(1, "Major", "Low", 2))
		}, [][2]string{{"Risk Matrix!C2", "of them lower"}, {"Risk Matrix!C2", "only 20 of the 25 cells"}, {"Risk Matrix!G5", "says 3 for Low and Catastrophic: 4"}, {"Hazard Log!O5", "says 2, lower than the matrix: Major x Low = 3"}}},
		"seven cells differ": {func(m made) {
			grid(m, official, [][]any{{"Very High", 3, 3, 4, 5, 5}, {"High", 2, 3, 4, 4, 5}, {"Medium", 2, 2, 3, 4, 4}, {"Low", 1, 2, 2, 3, 3}, {"Very Low", 1, 1, 1, 2, 2}})
			m.rows("Hazard Log", 5, row(1, "Major", "Medium", 4))
		}, [][2]string{{"Risk Matrix!C2", "6 of 25 cells are other"}, {"Hazard Log!O5", "says 4, higher than the matrix: Major x Medium = 3"}}},
		"multiplied from 5 to 25, sides turned": {func(m made) {
			grid(m, []any{"Very Low", "Low", "Medium", "High", "Very High"}, [][]any{{"Catastrophic", 5, 10, 15, 20, 25}, {"Major", 5, 8, 12, 16, 20}, {"Considerable", 5, 6, 9, 12, 15}, {"Significant", 5, 5, 6, 8, 10}, {"Minor", 5, 5, 5, 5, 5}})
			m.rows("Hazard Log", 5, row(1, "Minor", "Very High", 5))
		}, [][2]string{{"Risk Matrix!C2", "multiplies"}, {"Risk Matrix!C2", "says 5 for Catastrophic and Very Low: 3"}, {"Hazard Log!O5", "says 5, higher than the matrix: Minor x Very High = 3"}}},
		"rare to almost certain": {func(m made) {
			grid(m, official, [][]any{{"Almost certain", 5, 10, 15, 20, 25}, {"Likely", 4, 8, 12, 16, 20}, {"Possible", 3, 6, 9, 12, 15}, {"Unlikely", 2, 4, 6, 8, 10}, {"Rare", 1, 2, 3, 4, 5}})
			m.rows("Hazard Log", 5, row(1, "Major", "Rare", 4))
		}, [][2]string{{"Risk Matrix!B2", `"Almost certain" is no word`}, {"Risk Matrix!C2", "only 0 of the 25"}, {"Hazard Log!N5", `"Rare": is no word of the matrix`}, {"Hazard Log!O5", "stays not rated"}}},
		"numbered sides": {func(m made) {
			grid(m, []any{"1 - Catastrophic", "2 - Major", "3 - Considerable", "4 - Significant", "5 - Minor"}, [][]any{{"1 Very High", 5, 5, 4, 4, 3}, {"2 High", 5, 4, 3, 3, 2}, {"3 Medium", 4, 3, 3, 2, 2}, {"4 Low", 4, 3, 2, 2, 1}, {"5 Very Low", 3, 2, 2, 1, 1}})
			m.rows("Hazard Log", 5, row(1, "2 - Major", "Medium", 3), row(2, 2, 3, 6))
		}, [][2]string{{"Risk Matrix!C1", "have words only"}, {"Risk Matrix!C2", "this is the matrix of"}, {"Hazard Log!M5", "the sides of the matrix have words only"}, {"Hazard Log!M6", "which end is the worse"}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := template(t)
			c.fill(m)
			p := m.plan()
			if p.Blocked() {
				t.Fatal(p.Findings)
			}
			for _, want := range c.want {
				says(t, p, want[0], want[1])
			}
			l := record(t, empty(t), engineer(), p.Changes...)
			for _, h := range l.Hazards {
				if h.Initial.Risk() != l.Standard.Risk(h.Initial.Severity, h.Initial.Likelihood) {
					t.Errorf("%s: %s", h.ID, h.Initial)
				}
			}
		})
	}
}

// Formulas are not evaluated and say so; errors, missing reasons and odd words are
// named by cell; whatever has no place stays as a note.
func TestWhatIsWrongIsNamedByCell(t *testing.T) {
	m := template(t)
	wrong := row("GW-07", "Major", "Medium", 3)
	wrong[1], wrong[15], wrong[26], wrong[27] = "last spring", nil, nil, "Parked"
	closed := row("GW-08", "Major", "Medium", 3)
	closed[27] = "Closed"
	m.rows("Hazard Log", 5, wrong, closed)
	m.rows("Staff", 1, []any{"Name", "Telephone"}, []any{"somebody", "a number"})
	p := m.plan()
	if p.Blocked() {
		t.Fatal(p.Findings)
	}
	says(t, p, "Hazard Log!B5", `"last spring" is text, not a date`)
	says(t, p, "Hazard Log!P5", "has no justification")
	says(t, p, "Hazard Log!AA5", "has no owner")
	says(t, p, "Hazard Log!AB5", `"Parked" is no status`)
	says(t, p, "Hazard Log!AB6", "nobody has accepted its risk")
	says(t, p, "Staff", "4 filled cells are not read")
	l := record(t, empty(t), engineer(), p.Changes...)
	h, _ := l.Find("GW-07")
	if notes := strings.Join(h.Notes, "\n"); !strings.Contains(notes, "last spring") || !strings.Contains(notes, "Parked") {
		t.Errorf("lost: %s", notes)
	}
	if h.Initial.Justification != "The workbook gives no reason (Hazard Log!P5)." {
		t.Errorf("justification %q", h.Initial.Justification)
	}
}

func TestFormulasAreNotEvaluated(t *testing.T) {
	m := template(t)
	m.rows("Hazard Log", 5, row(1, "Major", "Medium", 3), row(2, "Major", "Medium", 3))
	data := withPart(t, m.bytes(), "xl/worksheets/sheet2.xml", func(part string) string {
		for _, c := range [][2]string{
			{"O5", `<c r="O5"><f>WEBSERVICE("http://192.0.2.1/")</f><v>1</v></c>`},
			{"E5", `<c r="E5" t="str"><f>[1]Other!A1</f><v>A patient waits.</v></c>`},
			{"M6", `<c r="M6" t="e"><f>NA()</f><v>#N/A</v></c>`},
			{"D6", `<c r="D6"><f>1+1</f></c>`},
		} {
			part = cellPattern(c[0]).ReplaceAllLiteralString(part, c[1])
		}
		return part
	})
	p := read(t, data, empty(t), workbook.Options{})
	says(t, p, "Hazard Log!O5", "says 1, lower than the matrix")
	says(t, p, "Hazard Log!E5", "is not evaluated, and the value that was stored with it")
	says(t, p, "Hazard Log!M6", "shows the error #N/A")
	says(t, p, "Hazard Log!D6", "formula without a stored value")
	says(t, p, "Hazard Log", "1 risks are formulas")
	l := record(t, empty(t), engineer(), p.Changes...)
	if h, _ := l.Find("HZ-01"); h.Harm != "A patient waits." {
		t.Errorf("harm %q", h.Harm)
	}
	if h, _ := l.Find("HZ-02"); h.Initial != (hazardlog.Rating{}) || h.Name != "The page is slow." {
		t.Errorf("hazard %+v", h)
	}
}

// A second workbook with numbers of its own does not change what is there unasked.
func TestANumberThatIsTakenIsNotChangedUnasked(t *testing.T) {
	m := template(t)
	m.rows("Hazard Log", 5, row(1, "Major", "Medium", 3))
	l := empty(t)
	first := read(t, m.bytes(), l, workbook.Options{})
	l = record(t, l, engineer(), first.Changes...)
	p := read(t, m.bytes(), l, workbook.Options{})
	says(t, p, "Hazard Log!A5", "HZ-01 is in the log already")
	if !p.Blocked() || p.Confirm != "" {
		t.Error("it could be confirmed")
	}
	p = read(t, m.bytes(), l, workbook.Options{Update: true})
	if p.Blocked() || len(p.Changes) > 0 {
		t.Errorf("the same again changes %v %v", p.Words, p.Findings)
	}
	p = read(t, m.bytes(), l, workbook.Options{Prefix: "RBA"})
	if p.Blocked() || !strings.Contains(strings.Join(p.New, " "), "RBA-01") {
		t.Errorf("another prefix: %v %v", p.New, p.Findings)
	}
}
