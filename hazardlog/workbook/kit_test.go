package workbook_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

func when() time.Time { return time.Date(2026, time.November, 26, 9, 30, 0, 0, time.UTC) }

func engineer() hazardlog.Actor { return hazardlog.Actor{Issuer: "os", Account: "bob", Name: "Bob"} }

func ann() hazardlog.Officer {
	return hazardlog.Officer{Name: "Dr Ann Example", Body: "GMC", Number: "0000001", Expires: "2027-03-31"}
}

func officer() hazardlog.Actor {
	return hazardlog.Actor{
		Issuer: "os", Account: "ann", Name: ann().Name, Officer: ann().String(),
		Proof: &hazardlog.Proof{Method: "test", Evidence: "seen", At: when()},
	}
}

// record makes changes of a log.
func record(t testing.TB, l hazardlog.Log, by hazardlog.Actor, changes ...hazardlog.Change) hazardlog.Log {
	t.Helper()
	n := l.Seq()
	next, _, err := l.Record(when(), by, func() string { n++; return fmt.Sprint("e", n) }, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func change(l hazardlog.Log, act hazardlog.Act, v hazardlog.Value) hazardlog.Change {
	return hazardlog.Change{Act: act, Value: v, Expect: l.Revision(v.Subject()), Why: "test"}
}

func head() hazardlog.Head {
	return hazardlog.Head{Title: "Test", Role: hazardlog.Manufacturer, StandardID: "dcb0129-4.2"}
}

func empty(t testing.TB) hazardlog.Log {
	t.Helper()
	return record(t, hazardlog.Begin("test"), engineer(), hazardlog.Change{Act: hazardlog.OpenLog, Value: head()})
}

func hazard(id string) hazardlog.Hazard {
	return hazardlog.Hazard{
		ID: id, Name: "The record is not there when it is needed", Effect: "The gateway refuses a proper request.",
		Hazard: "Care goes on without the record.", Harm: "A patient is given a drug that they are allergic to.",
		Causes: []string{"A rule refuses more than its author meant", "A cause\nof two lines"}, Owner: "Safety officer", Status: hazardlog.Open,
		Conditions: []hazardlog.Condition{hazardlog.Normal, hazardlog.Fault}, Types: []string{"NoAccessToData"}, Review: "2027-01-31",
		Notes: []string{"Reviewer (Log!AC5): the ward"},
		Initial: hazardlog.Rating{
			Severity: "Major", Likelihood: "Medium", Justification: "As reasoned.", State: hazardlog.RatingProposed,
		},
		Residual: hazardlog.Rating{
			Consequence: "severe", Patients: hazardlog.OnePatient, Severity: "Considerable", Likelihood: "Low", Justification: "[Matron: a reason that looks like a remark]",
			Lowered: "Fewer are reached.", State: hazardlog.RatingProposed,
		},
	}
}

func control(id string, hazards ...string) hazardlog.Control {
	return hazardlog.Control{
		ID: id, Hazards: hazards, Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Verified,
		Text: "Every refusal offers\nC-77: emergency access", CommonCause: "They fail apart.",
		NewHazards: hazardlog.NewHazards{Answer: hazardlog.SomeNewHazards, Hazards: []string{hazards[0]}},
		Documents: []hazardlog.Document{
			{Slot: hazardlog.SlotImplemented, Title: "A report | of a drill", Link: "https://docs.example.test/1", On: "2026-10-01", Review: "2027-10-01"},
			{Slot: hazardlog.SlotEffective, Title: "An audit", Link: "https://docs.example.test/2", On: "2026-10-02", Review: "2027-10-02"},
		},
	}
}

// full is a log with something of every kind, and texts that want to be formulas.
func full(t testing.TB) hazardlog.Log {
	t.Helper()
	l := empty(t)
	raise := func(v hazardlog.Value) { l = record(t, l, engineer(), change(l, hazardlog.Raise, v)) }
	raise(hazard("GW-01"))
	evil := hazard("GW-02")
	evil.Effect, evil.Hazard, evil.Harm = `=HYPERLINK("http://example.test","look")`, "+1+cmd|' /C calc'!A0", "@SUM(1)"
	evil.Causes, evil.Initial, evil.Residual = []string{"-2+3", "=1+1"}, hazardlog.Rating{}, hazardlog.Rating{}
	raise(evil)
	raise(control("C-01", "GW-01", "GW-02"))
	existing := control("C-02", "GW-02")
	existing.Type, existing.Timing, existing.Text = hazardlog.Training, hazardlog.Existing, "Staff are told"
	raise(existing)
	raise(hazardlog.Incident{ID: "I-01", On: "2026-11-01", Text: "Nobody was harmed", Hazards: []string{"GW-01"}, Resolved: true, Resolution: "Mended.", Assessment: "Known."})
	raise(hazardlog.Decision{ID: "D-01", On: "2026-11-02", Text: "Go on", Reason: "It is safer", Hazards: []string{"GW-01", "GW-02"}})
	raise(hazardlog.Transfer{ID: "T-01", Hazard: "GW-01", Control: "C-01", Condition: "Train staff", To: "Example Trust", State: hazardlog.Offered})
	raise(hazardlog.Review{ID: "R-01", Of: "GW-01", Due: "2027-01-31"})
	return l
}

// assessed is the same log once an officer has stood behind a rating and accepted it.
func assessed(t testing.TB) hazardlog.Log {
	t.Helper()
	l := full(t)
	h, _ := l.Find("GW-01")
	h.Initial.State, h.Initial.By = hazardlog.RatingAssessed, ann().String()
	h.Residual.State, h.Residual.By = hazardlog.RatingAssessed, ann().String()
	h.Acceptance = hazardlog.Acceptance{Accepted: true, Reason: "Going lower is impractical.", By: ann().String()}
	return record(t, l, officer(), change(l, hazardlog.Rate, h))
}

func write(t testing.TB, l hazardlog.Log, facts workbook.Facts) []byte {
	t.Helper()
	data, err := workbook.Write(l, facts)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func read(t testing.TB, data []byte, l hazardlog.Log, o workbook.Options) workbook.Plan {
	t.Helper()
	o.Name = "test.xlsx"
	p, err := workbook.Read(data, l, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// made is a workbook that somebody else might keep: rows of a sheet by their first
// cells, "=…" a formula.
type made struct {
	t testing.TB
	f *excelize.File
}

func newMade(t testing.TB) made {
	t.Helper()
	f := excelize.NewFile()
	t.Cleanup(func() { _ = f.Close() })
	return made{t, f}
}

func (m made) rows(sheet string, from int, rows ...[]any) {
	m.t.Helper()
	if i, _ := m.f.GetSheetIndex(sheet); i < 0 {
		if _, err := m.f.NewSheet(sheet); err != nil {
			m.t.Fatal(err)
		}
	}
	for y, row := range rows {
		for x, v := range row {
			cell, _ := excelize.CoordinatesToCellName(x+1, from+y)
			if text, ok := v.(string); ok && strings.HasPrefix(text, "=") {
				if err := m.f.SetCellFormula(sheet, cell, text[1:]); err != nil {
					m.t.Fatal(err)
				}
			} else if v != nil {
				if err := m.f.SetCellValue(sheet, cell, v); err != nil {
					m.t.Fatal(err)
				}
			}
		}
	}
}

func (m made) bytes() []byte {
	m.t.Helper()
	b, err := m.f.WriteToBuffer()
	if err != nil {
		m.t.Fatal(err)
	}
	return b.Bytes()
}

// change changes cells of a workbook.
func edited(t testing.TB, data []byte, sheet string, cells map[string]any) []byte {
	t.Helper()
	f, err := excelize.OpenReader(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	for cell, v := range cells {
		if err := f.SetCellValue(sheet, cell, v); err != nil {
			t.Fatal(err)
		}
	}
	return made{t, f}.bytes()
}

// says expects a finding at a cell with these words.
func says(t testing.TB, p workbook.Plan, at, words string) {
	t.Helper()
	for _, f := range p.Findings {
		if strings.HasPrefix(f.String(), at+": ") && strings.Contains(f.String(), words) {
			return
		}
	}
	var all []string
	for _, f := range p.Findings {
		all = append(all, f.String())
	}
	t.Errorf("nothing says %q of %s:\n%s", words, at, strings.Join(all, "\n"))
}
