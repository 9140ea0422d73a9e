package workbook_test

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/matron-epr/matron/hazardlog"
)

// LibreOffice opens the workbook: what it shows is what the log says, its own
// look-up of each risk is the standard's, and no text runs.
func TestLibreOfficeShowsWhatTheLogSays(t *testing.T) {
	l := full(t)
	for i, severity := range l.Standard.Severities { // every cell of the matrix
		for j, row := range l.Standard.Likelihoods {
			h := hazard("MX-" + string(rune('0'+i)) + string(rune('0'+j)))
			h.Initial = hazardlog.Rating{Severity: severity, Likelihood: row.Word, Justification: "x", State: hazardlog.RatingProposed}
			l = record(t, l, engineer(), change(l, hazardlog.Raise, h))
		}
	}
	// Nothing that was stored with a formula counts: LibreOffice calculates anew.
	data := withPart(t, write(t, l, facts()), "xl/worksheets/sheet4.xml", func(part string) string {
		return cellPattern(`O[0-9]+`).ReplaceAllStringFunc(part, func(c string) string {
			return storedValue.ReplaceAllLiteralString(c, "<v>0</v>")
		})
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "log.xlsx")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	// 44: comma, 34: quote, 76: UTF-8, 1: from row 1, sheet 3.
	convert := exec.CommandContext(t.Context(), "soffice", "-env:UserInstallation=file://"+dir+"/profile", "--headless", "--convert-to",
		"csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,3", "--outdir", dir, file)
	if out, err := convert.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s (Debian: libreoffice-calc)", err, out)
	}
	made, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil || len(made) != 1 {
		t.Fatalf("converted to %v, %v", made, err)
	}
	f, err := os.Open(made[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 4+len(l.Hazards) || len(rows[0]) != 28 {
		t.Fatalf("%d rows of %d columns", len(rows), len(rows[0]))
	}
	if want := []string{"Effect", "Hazard", "Harm", "Possible Causes"}; !slices.Equal(rows[3][2:6], want) {
		t.Errorf("headings %q", rows[3])
	}
	for i, h := range l.Hazards {
		got := rows[4+i]
		want := []string{h.ID, h.Effect, h.Hazard, h.Harm, string(h.Initial.Severity), string(h.Initial.Likelihood), h.Initial.Risk().String(), string(h.Status)}
		if is := []string{got[0], got[2], got[3], got[4], got[12], got[13], got[14], got[27]}; !slices.Equal(is, want) {
			t.Errorf("LibreOffice shows %q, the log says %q", is, want)
		}
	}
}
