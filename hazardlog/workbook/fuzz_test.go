package workbook_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/workbook"
)

// Whatever a sheet holds, reading ends, and what it would change the log accepts.
func FuzzWorkbook(f *testing.F) {
	m := template(f)
	m.rows("Hazard Log", 5, row(1, "Major", "Medium", 3), row("GW-02", 2, "Rare", "#REF!"))
	theirs, ours := m.bytes(), write(f, full(f), workbook.Facts{})
	l := empty(f)
	for _, data := range [][]byte{theirs, ours} {
		for _, part := range []string{"xl/worksheets/sheet2.xml", "xl/worksheets/sheet4.xml", "xl/sharedStrings.xml", "xl/workbook.xml", "xl/styles.xml"} {
			withPart(f, data, part, func(s string) string { f.Add(part, s, true); f.Add(part, s, false); return s })
		}
	}
	f.Fuzz(func(t *testing.T, part, content string, own bool) {
		data := theirs
		if own {
			data = ours
		}
		if !strings.HasPrefix(part, "xl/") {
			part = "xl/worksheets/sheet2.xml"
		}
		p, err := workbook.Read(withPart(t, data, part, func(string) string { return content }), l, workbook.Options{Name: "fuzz.xlsx"})
		if err != nil {
			if !errors.Is(err, workbook.ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		if p.Confirm == "" {
			return
		}
		for _, h := range record(t, l, engineer(), p.Changes...).Hazards {
			if h.Initial.Owned() || h.Residual.Owned() || h.Acceptance.Accepted || h.Status == hazardlog.Closed {
				t.Fatalf("a workbook signed for somebody: %+v", h)
			}
		}
	})
}
