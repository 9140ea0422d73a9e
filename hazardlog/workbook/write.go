package workbook

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"github.com/matron-epr/matron/hazardlog"
)

// Facts are what a workbook says beside the log.
type Facts struct {
	Draft      string                      // why it is a draft, in words on every sheet; "" for an issue
	Evidence   func(control string) string // for each control, never ""; nil: the columns say that none was given
	InQuestion map[string][]string         // by hazard: the controls whose evidence is contradicted
}

// remark is how a line begins that Write put before a justification. Read takes it
// off again.
const remark = "[Matron: "

// Most of a cell, in UTF-16 code units (Excel specifications and limits).
const mostText = 32767

// writer collects the first error, so that what is written reads as a list.
type writer struct {
	file   *excelize.File
	styles map[string]int
	widths map[string]map[int]float64 // by sheet and column
	lines  map[string]map[int]int     // most in a row, by sheet
	err    error
}

func newWriter() *writer {
	w := &writer{file: excelize.NewFile(), styles: map[string]int{}, widths: map[string]map[int]float64{}, lines: map[string]map[int]int{}}
	border := []excelize.Border{{Type: "left", Color: "AEB7BD", Style: 1}, {Type: "right", Color: "AEB7BD", Style: 1}, {Type: "top", Color: "AEB7BD", Style: 1}, {Type: "bottom", Color: "AEB7BD", Style: 1}}
	wrap := &excelize.Alignment{WrapText: true, Vertical: "top"}
	bold := excelize.Font{Family: "Calibri", Bold: true}
	for _, s := range []struct {
		name  string
		style excelize.Style
	}{
		{"text", excelize.Style{Alignment: wrap, Border: border}},
		{"typed", excelize.Style{Alignment: wrap, Border: border, NumFmt: 49}}, // stays text when somebody edits it
		{"head", excelize.Style{Alignment: &excelize.Alignment{WrapText: true, Vertical: "center"}, Border: border, Font: &excelize.Font{Family: "Calibri", Bold: true, Color: "FFFFFF"}, Fill: filled("005EB8")}},
		{"title", excelize.Style{Font: &excelize.Font{Family: "Calibri", Bold: true, Size: 16}}},
		{"draft", excelize.Style{Font: &excelize.Font{Family: "Calibri", Bold: true, Color: "B10E1E"}, Alignment: wrap}},
		{"risk", excelize.Style{Alignment: &excelize.Alignment{Horizontal: "center", Vertical: "top"}, Border: border, Font: &bold}},
	} {
		id, err := w.file.NewStyle(&s.style)
		w.fail(err)
		w.styles[s.name] = id
	}
	return w
}

func filled(colour string) excelize.Fill {
	return excelize.Fill{Type: "pattern", Pattern: 1, Color: []string{colour}}
}

func (w *writer) fail(err error) {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("write workbook: %w", err)
	}
}

// sheet begins a sheet, printed on landscape A3 one page wide under repeated rows.
func (w *writer) sheet(name, draft string, repeat int) {
	w.widths[name], w.lines[name] = map[int]float64{}, map[int]int{}
	if _, err := w.file.NewSheet(name); err != nil {
		w.fail(err)
		return
	}
	a3, landscape, one, many, fit := 8, "landscape", 1, 0, true
	w.fail(w.file.SetSheetProps(name, &excelize.SheetPropsOptions{FitToPage: &fit}))
	w.fail(w.file.SetPageLayout(name, &excelize.PageLayoutOptions{Size: &a3, Orientation: &landscape, FitToWidth: &one, FitToHeight: &many}))
	headline := ""
	if draft != "" {
		headline = "&C&B" + strings.ReplaceAll(draft, "&", "&&")
	}
	w.fail(w.file.SetHeaderFooter(name, &excelize.HeaderFooterOptions{OddHeader: headline, OddFooter: "&L&A&RPage &P of &N"}))
	if repeat == 0 {
		return
	}
	titles := fmt.Sprintf("'%s'!$1:$%d", name, repeat)
	if name == hazardSheet { // too wide for one page: the numbers stand on each
		titles = fmt.Sprintf("'%s'!$A:$A,%s", name, titles)
		three := 3
		w.fail(w.file.SetPageLayout(name, &excelize.PageLayoutOptions{FitToWidth: &three}))
	}
	top, _ := excelize.CoordinatesToCellName(1, repeat+1)
	w.fail(w.file.SetPanes(name, &excelize.Panes{Freeze: true, YSplit: repeat, TopLeftCell: top, ActivePane: "bottomLeft"}))
	w.fail(w.file.SetDefinedName(&excelize.DefinedName{Name: "_xlnm.Print_Titles", RefersTo: titles, Scope: name}))
}

// put writes text as text: whatever it begins with, no program takes it for a
// formula.
func (w *writer) put(sheet string, column, row int, text, style string) {
	cell, err := excelize.CoordinatesToCellName(column, row)
	if err != nil {
		w.fail(err)
		return
	}
	if n := len(utf16.Encode([]rune(text))); n > mostText {
		w.fail(fmt.Errorf("%s!%s: the text has %d characters; a cell holds %d", sheet, cell, n, mostText))
		return
	}
	if style == "text" && startsFormula(text) {
		style = "typed"
	}
	w.lines[sheet][row] = max(w.lines[sheet][row], linesOf(text, w.widths[sheet][column]))
	w.fail(w.file.SetCellStr(sheet, cell, text))
	w.fail(w.file.SetCellStyle(sheet, cell, cell, w.styles[style]))
}

// linesOf is about how many lines a text takes in a column, since not every program
// makes a row as high as its text.
func linesOf(text string, width float64) int {
	n := 0
	for _, line := range strings.Split(text, "\n") {
		n += 1 + int(float64(utf8.RuneCountInString(line))*1.1/max(width, 8))
	}
	return n
}

func startsFormula(text string) bool { return text != "" && strings.ContainsAny(text[:1], "=+-@\t\r") }

func (w *writer) width(sheet string, column int, characters float64) {
	w.widths[sheet][column] = characters
	name, err := excelize.ColumnNumberToName(column)
	w.fail(err)
	w.fail(w.file.SetColWidth(sheet, name, name, characters))
}

// grid writes rows under a headline.
func (w *writer) grid(sheet string, heads []string, widths []float64, rows [][]string) {
	for i, head := range heads {
		w.width(sheet, i+1, widths[i])
		w.put(sheet, i+1, 1, head, "head")
	}
	for y, row := range rows {
		for x, text := range row {
			w.put(sheet, x+1, y+2, text, "text")
		}
	}
}

// bytes are the file: the same for the same content, whenever it is made.
func (w *writer) bytes() ([]byte, error) {
	if w.err != nil {
		return nil, w.err
	}
	if err := w.file.DeleteSheet("Sheet1"); err != nil {
		return nil, fmt.Errorf("write workbook: %w", err)
	}
	w.file.SetActiveSheet(0)
	const line, most = 13.5, 409 // points; Excel's own limit
	for sheet, rows := range w.lines {
		for row, lines := range rows {
			w.fail(w.file.SetRowHeight(sheet, row, min(most, 4+line*float64(lines))))
		}
	}
	recalculate := true
	w.fail(w.file.SetCalcProps(&excelize.CalcPropsOptions{FullCalcOnLoad: &recalculate}))
	w.fail(w.file.SetDocProps(&excelize.DocProperties{Creator: "Matron", Created: "2000-01-01T00:00:00Z", Modified: "2000-01-01T00:00:00Z", Language: "en-GB"}))
	var made bytes.Buffer
	if _, err := w.file.WriteTo(&made); err != nil {
		return nil, fmt.Errorf("write workbook: %w", err)
	}
	if w.err != nil {
		return nil, w.err
	}
	return sorted(made.Bytes())
}

// sorted is an archive with its entries in order and without times.
func sorted(data []byte) ([]byte, error) {
	from, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("write workbook: %w", err)
	}
	slices.SortFunc(from.File, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	to := zip.NewWriter(&out)
	for _, f := range from.File {
		if err := copyEntry(to, f); err != nil {
			return nil, fmt.Errorf("write workbook: %w", err)
		}
	}
	if err := to.Close(); err != nil {
		return nil, fmt.Errorf("write workbook: %w", err)
	}
	return out.Bytes(), nil
}

func copyEntry(to *zip.Writer, f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	entry, err := to.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate})
	if err != nil {
		return err
	}
	if _, err := io.Copy(entry, r); err != nil { //nolint:gosec // made above, by this program
		return err
	}
	return r.Close()
}

// Table is a workbook with one sheet: a headline, and rows under it. widths are in
// characters. draft is as in Facts.
func Table(sheet, draft string, heads []string, widths []float64, rows [][]string) ([]byte, error) {
	w := newWriter()
	if len(widths) != len(heads) {
		return nil, fmt.Errorf("write workbook: %d widths for %d columns", len(widths), len(heads))
	}
	w.sheet(sheet, draft, 1)
	w.grid(sheet, heads, widths, rows)
	if draft != "" {
		w.width(sheet, len(heads)+1, 40)
		w.put(sheet, len(heads)+1, 1, draft, "draft")
	}
	return w.bytes()
}

// Write writes a log as a workbook. The bytes are the same for the same log and
// facts.
func Write(l hazardlog.Log, facts Facts) ([]byte, error) {
	if l.Standard == nil {
		return nil, fmt.Errorf("write workbook: %w: there is no log", hazardlog.ErrInvalid)
	}
	content, err := l.Snapshot()
	if err != nil {
		return nil, err
	}
	w := newWriter()
	w.cover(l, facts, hazardlog.Hash(content))
	w.history(l, facts)
	w.hazards(l, facts)
	w.matrix(l, facts)
	writeTable(w, details(), l.Hazards, l, facts)
	writeTable(w, controls(), l.Controls, l, facts)
	writeTable(w, incidents(), l.Incidents, l, facts)
	writeTable(w, decisions(), l.Decisions, l, facts)
	writeTable(w, transfers(), l.Transfers, l, facts)
	writeTable(w, reviews(), l.Reviews, l, facts)
	w.sources(l, facts)
	return w.bytes()
}

// Labels of the cover that reading looks for.
const (
	labelFormat   = "Format"
	labelLog      = "Log"
	labelSnapshot = "SHA-256 of its content"
)

func (w *writer) cover(l hazardlog.Log, facts Facts, sum string) {
	w.sheet(coverSheet, facts.Draft, 0)
	w.width(coverSheet, 1, 110)
	w.put(coverSheet, 1, 1, l.Title, "title")
	w.width(coverSheet, 1, 30)
	w.width(coverSheet, 2, 110)
	rows := [][2]string{
		{"Organisation", orMissing(l.Organisation, "the organisation whose log it is")},
		{"Standard", l.Standard.Edition + ": " + l.Standard.Title},
		{"State", l.State()},
		{"Hazards", strconv.Itoa(len(l.Hazards))},
		{labelLog, l.ID},
		{"Events", strconv.FormatUint(l.Seq(), 10)},
		{labelSnapshot, sum},
		{labelFormat, Format},
		{"How it is read back", "Change what you like in the sheets Hazard Log, Hazard Details, Controls, Incidents, Decisions, Transfers and Reviews, then have \"matron hazard import\" say what that would change. " +
			"Leave the columns No. and Revision as they are; a row without a revision is new. Risks are looked up, never typed. Evidence, and who assessed, accepted or answered, is not read back: only a clinical safety officer does that, in the log. " +
			"Name no patient and no member of staff."},
	}
	if facts.Draft != "" {
		w.put(coverSheet, 1, 2, "DRAFT", "draft")
		w.put(coverSheet, 2, 2, facts.Draft, "draft")
	}
	for i, row := range rows {
		w.put(coverSheet, 1, i+4, row[0], "head")
		w.put(coverSheet, 2, i+4, row[1], "text")
	}
}

func orMissing(text, what string) string {
	if strings.TrimSpace(text) == "" {
		return "Missing: " + what
	}
	return text
}

func (w *writer) history(l hazardlog.Log, facts Facts) {
	w.sheet(historySheet, facts.Draft, 1)
	var rows [][]string
	for _, a := range l.Versions {
		rows = append(rows, []string{a.Version, hazardlog.DayOf(a.At).String(), a.Officer.String(), a.Statement, a.SHA256})
	}
	if rows == nil {
		rows = [][]string{{"Missing: no version has been approved by a clinical safety officer"}}
	}
	w.grid(historySheet, []string{"Version", "Approved on", "Approved by", "Statement", "SHA-256 of the content"}, []float64{12, 20, 40, 60, 68}, rows)
}

func (w *writer) sources(l hazardlog.Log, facts Facts) {
	w.sheet(sourceSheet, facts.Draft, 1)
	rows := [][]string{
		{l.Standard.Edition, l.Standard.Title},
		{"Hazard log template", "The columns are those of the NHS clinical safety hazard log template, version 3.6 (14 February 2020). This file is no copy of it."},
	}
	if l.Upstream != nil {
		rows = append(rows, []string{"Derived from", fmt.Sprintf("log %s, version %s, SHA-256 %s", l.Upstream.Log, orMissing(l.Upstream.Version, "an approved version"), l.Upstream.SHA256)})
	}
	w.grid(sourceSheet, []string{"Reference", "What it is"}, []float64{30, 110}, rows)
}

func writeTable[V hazardlog.Value](w *writer, t table[V], list []V, l hazardlog.Log, facts Facts) {
	w.sheet(t.sheet, facts.Draft, 1)
	heads, widths := []string{idHead, revisionHead}, []float64{9, 9}
	for _, c := range t.columns {
		heads, widths = append(heads, c.head), append(widths, c.width)
	}
	rows := make([][]string, len(list))
	for i, v := range list {
		rows[i] = []string{v.Subject().ID, strconv.FormatUint(l.Revision(v.Subject()), 10)}
		for _, c := range t.columns {
			rows[i] = append(rows[i], c.get(v))
		}
	}
	w.grid(t.sheet, heads, widths, rows)
}
