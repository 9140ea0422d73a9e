package workbook_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/matron-epr/matron/hazardlog/workbook"
)

func cellPattern(cell string) *regexp.Regexp {
	return regexp.MustCompile(`<c r="` + cell + `"[^>]*>.*?</c>`)
}

// withPart changes a part of a workbook; one that is not there is added.
func withPart(t testing.TB, data []byte, name string, change func(string) string) []byte {
	t.Helper()
	from, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	put := func(name, content string) {
		w, err := to.Create(name)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	done := false
	for _, f := range from.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(r)
		if f.Name == name {
			content, done = []byte(change(string(content))), true
		}
		put(f.Name, string(content))
	}
	if !done {
		put(name, change(""))
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var storedValue = regexp.MustCompile(`<v>[^<]*</v>`)

func refusedAs(t *testing.T, data []byte, words string) {
	t.Helper()
	_, err := workbook.Read(data, empty(t), workbook.Options{})
	if !errors.Is(err, workbook.ErrRefused) || !strings.Contains(err.Error(), words) {
		t.Errorf("error %v, want %q", err, words)
	}
}

func TestWhatIsNoWorkbookIsRefused(t *testing.T) {
	whole := write(t, full(t), workbook.Facts{})
	refusedAs(t, nil, "no .xlsx")
	refusedAs(t, []byte("No.,Effect,Hazard\n1,a,b\n"), "no .xlsx")
	refusedAs(t, append([]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), make([]byte, 4096)...), "protected by a password")
	refusedAs(t, whole[:len(whole)/2], "no .xlsx file")
	refusedAs(t, make([]byte, 17<<20), "more than 16 MB")
	var other bytes.Buffer
	w := zip.NewWriter(&other)
	_, _ = w.Create("word/document.xml")
	_ = w.Close()
	refusedAs(t, other.Bytes(), "no Excel workbook")
	refusedAs(t, withPart(t, whole, "xl/worksheets/sheet4.xml", func(s string) string { return s[:len(s)/2] }), "sheet Hazard Log after")
	refusedAs(t, withPart(t, whole, "xl/worksheets/sheet4.xml", func(s string) string {
		return strings.Replace(s, `t="s"><v>`, `t="s"><v>9`+strings.Repeat("9", 6), 1)
	}), "is not in the workbook")
}

// A small file that unpacks to very much is refused before it has.
func TestAZipBombIsRefused(t *testing.T) {
	var bomb bytes.Buffer
	w := zip.NewWriter(&bomb)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestCompression) })
	for _, name := range []string{"[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"} {
		part, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		blank := make([]byte, 1<<20)
		for range 30 {
			_, _ = part.Write(blank)
		}
	}
	_ = w.Close()
	if bomb.Len() > 1<<20 {
		t.Fatalf("the bomb has %d bytes", bomb.Len())
	}
	refusedAs(t, bomb.Bytes(), "more than 64 MB once unpacked")
}

func TestTenThousandRowsAreTooMany(t *testing.T) {
	m := template(t)
	stream := strings.Builder{}
	for i := range 10_000 {
		fmt.Fprintf(&stream, `<row r="%d"><c r="A%[1]d"><v>%d</v></c><c r="D%[1]d" t="inlineStr"><is><t>The record is late</t></is></c></row>`, i+5, i+1)
	}
	data := withPart(t, m.bytes(), "xl/worksheets/sheet2.xml", func(part string) string {
		return strings.Replace(part, "</sheetData>", stream.String()+"</sheetData>", 1)
	})
	p := read(t, data, empty(t), workbook.Options{})
	says(t, p, "Hazard Log!A1005", "more than 1000 hazards")
	if !p.Blocked() || p.Confirm != "" {
		t.Error("it could be confirmed")
	}
}

// A sheet that goes on to its last cell costs no walk to it.
func TestAFilledCellAtTheEndOfTheSheetIsRead(t *testing.T) {
	m := template(t)
	m.rows("Hazard Log", 5, row(1, "Major", "Medium", 3))
	data := withPart(t, m.bytes(), "xl/worksheets/sheet2.xml", func(part string) string {
		return strings.Replace(part, "</sheetData>", `<row r="900000"><c r="XFD900000" s="0"/></row><row r="1048576"><c r="XFD1048576"><v>7</v></c></row></sheetData>`, 1)
	})
	if p := read(t, data, empty(t), workbook.Options{}); p.Blocked() || len(p.New) == 0 {
		t.Errorf("findings %v", p.Findings)
	}
}

func TestTwoHazardsWithOneNumberBlock(t *testing.T) {
	m := template(t)
	m.rows("Hazard Log", 5, row("GW-01", "Major", "Medium", 3), row("gw 1", "Major", "Medium", 3), row("none yet", "Major", "Medium", 3), row(nil, "Major", "Medium", 3))
	p := m.plan()
	says(t, p, "Hazard Log!A6", "GW-01 is the number of the hazard in Hazard Log!A5 too")
	says(t, p, "Hazard Log!A7", `"none yet" is no number`)
	says(t, p, "Hazard Log!A8", "has no number")
	if !p.Blocked() || p.Confirm != "" {
		t.Error("it could be confirmed")
	}
}

func TestAWorkbookFromAnotherToolSaysHowNearItComes(t *testing.T) {
	m := newMade(t)
	m.rows("Issues", 1, []any{"ID", "Summary", "Owner", "Status"}, []any{"A-1", "Broken", "me", "Done"})
	p := m.plan()
	says(t, p, "Issues!A1", "only these columns of a hazard log are here: no, owner, status")
	if !p.Blocked() || len(p.Changes) > 0 {
		t.Error("something would be written")
	}
}

// The confirmation is of exactly what was shown.
func TestAConfirmationIsOfThisFileAndThisLog(t *testing.T) {
	m := template(t)
	m.rows("Hazard Log", 5, row(1, "Major", "Medium", 3))
	one := m.plan()
	m.rows("Hazard Log", 5, row(1, "Major", "Low", 3))
	if two := m.plan(); one.Confirm == "" || one.Confirm == two.Confirm {
		t.Errorf("confirmed by %q and %q", one.Confirm, two.Confirm)
	}
	l := record(t, empty(t), engineer(), change(empty(t), "raise", hazard("GW-09")))
	if moved := read(t, m.bytes(), l, workbook.Options{}); moved.Confirm == m.plan().Confirm {
		t.Error("another log has the same confirmation")
	}
}
