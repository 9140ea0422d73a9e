package workbook

import "github.com/matron-epr/matron/hazardlog"

// Books makes the workbooks of an issue pack.
type Books struct{}

// Log writes the log as Write does.
func (Books) Log(l hazardlog.Log, draft string, evidence func(control string) string, inQuestion map[string][]string) ([]byte, error) {
	return Write(l, Facts{Draft: draft, Evidence: evidence, InQuestion: inQuestion})
}

// Table writes one sheet as Table does.
func (Books) Table(sheet, draft string, heads []string, widths []float64, rows [][]string) ([]byte, error) {
	return Table(sheet, draft, heads, widths, rows)
}
