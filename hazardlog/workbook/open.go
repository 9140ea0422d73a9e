package workbook

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"
)

// Bounds. A hazard log of a few hundred hazards stays far below all of them.
const (
	mostBytes   = 16 << 20 // of a file
	mostContent = 64 << 20 // of what is packed in it
	mostParts   = 2000
	mostRows    = 20000   // with something in them, of a sheet
	mostCells   = 400_000 // with something in them, of a workbook
	mostMerges  = 20000   // of a sheet
	mostHazards = 1000
)

// sheet is a sheet as it is read.
type sheet struct {
	name   string
	hidden bool
	cells  map[place]cell
	merges []area
	rows   []int         // with something in them, in order
	filled map[int][]int // their columns, in order
	bottom int           // last row with something in it
	right  int           // last column
	hides  map[int]bool
	notes  []excelize.Comment
}

// place is a cell by row and column, from 1.
type place struct{ row, column int }

func (p place) String() string {
	name, _ := excelize.CoordinatesToCellName(p.column, p.row)
	return name
}

// area is a joined range.
type area struct{ from, to place }

func (a area) holds(p place) bool {
	return p.row >= a.from.row && p.row <= a.to.row && p.column >= a.from.column && p.column <= a.to.column
}

// cell is what a cell shows. A formula's is the value that was stored with it.
type cell struct {
	text    string
	formula bool
	number  bool
	failed  bool // an error such as #REF!
}

// opened is a workbook in memory.
type opened struct {
	sheets []sheet
	sum    string // SHA-256 of the file
	links  bool   // to other files; never followed
	macros bool   // never run
	base04 bool   // days are counted from 1904
}

// refuse makes the error of a file that cannot be read.
func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// open reads a file within bounds.
func open(data []byte) (_ *opened, err error) {
	defer func() {
		if p := recover(); p != nil { // the library is not made for hostile files
			err = refuse("its parts contradict each other: %v", p)
		}
	}()
	parts, err := unpack(data)
	if err != nil {
		return nil, err
	}
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{RawCellValue: true, UnzipSizeLimit: mostContent, UnzipXMLSizeLimit: mostContent})
	if err != nil {
		return nil, refuse("it is no workbook that can be read: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.Sum256(data)
	o := &opened{sum: hex.EncodeToString(sum[:])}
	for name := range parts {
		o.links = o.links || strings.HasPrefix(name, "xl/externallinks/")
		o.macros = o.macros || strings.HasSuffix(name, "vbaproject.bin")
	}
	if props, err := f.GetWorkbookProps(); err == nil && props.Date1904 != nil {
		o.base04 = *props.Date1904
	}
	where, err := sheetParts(parts)
	if err != nil {
		return nil, err
	}
	left := limits{cells: mostCells}
	if left.strings, err = countStrings(parts["xl/sharedstrings.xml"]); err != nil {
		return nil, err
	}
	for _, name := range f.GetSheetList() {
		part, ok := parts[strings.ToLower(where[name])]
		if !ok {
			continue // a chart: it has no cells
		}
		s, err := read(f, name, part, &left)
		if err != nil {
			return nil, err
		}
		o.sheets = append(o.sheets, s)
	}
	return o, nil
}

// ole is how older Office files begin, and new ones that are encrypted.
const ole = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// unpack reads the parts of the archive, by their names in lower case.
func unpack(data []byte) (map[string][]byte, error) {
	switch {
	case len(data) > mostBytes:
		return nil, refuse("it has more than %d MB", mostBytes>>20)
	case bytes.HasPrefix(data, []byte(ole)):
		return nil, refuse("it is protected by a password, or in the format of before 2007: open it, take the password off, and save it as .xlsx")
	case !bytes.HasPrefix(data, []byte("PK")):
		return nil, refuse("it is no .xlsx file")
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, refuse("it is no .xlsx file: %w", err)
	}
	if len(archive.File) > mostParts {
		return nil, refuse("it has %d parts, more than %d", len(archive.File), mostParts)
	}
	parts, left := map[string][]byte{}, int64(mostContent)
	for _, f := range archive.File {
		name := strings.ToLower(path.Clean(strings.ReplaceAll(f.Name, `\`, "/")))
		if _, twice := parts[name]; twice {
			return nil, refuse("it has the part %s twice", name)
		}
		r, err := f.Open()
		if err != nil {
			return nil, refuse("part %s: %w", name, err)
		}
		content, err := io.ReadAll(io.LimitReader(r, left+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, refuse("part %s: %w", name, err)
		}
		if left -= int64(len(content)); left < 0 {
			return nil, refuse("it holds more than %d MB once unpacked", mostContent>>20)
		}
		parts[name] = content
	}
	if _, ok := parts["xl/workbook.xml"]; !ok {
		return nil, refuse("it is an archive, but no Excel workbook: xl/workbook.xml is not in it")
	}
	return parts, nil
}

// limits are what is left of a bound, and what references must stay within.
type limits struct {
	cells   int
	strings int // in the table that cells share
}

func countStrings(part []byte) (int, error) {
	d := xml.NewDecoder(bytes.NewReader(part))
	for n := 0; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return 0, refuse("its texts cannot be read: %w", err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "si" {
			n++
		}
	}
}

// sheetParts are the parts that hold the sheets, by the sheets' names.
func sheetParts(parts map[string][]byte) (map[string]string, error) {
	var book struct {
		Sheets []struct {
			Name string `xml:"name,attr"`
			ID   string `xml:"id,attr"` // in whichever namespace for relationships
		} `xml:"sheets>sheet"`
	}
	var links struct {
		Relationships []struct {
			ID     string `xml:"Id,attr"`
			Target string `xml:"Target,attr"`
		} `xml:"Relationship"`
	}
	if err := errors.Join(xml.Unmarshal(parts["xl/workbook.xml"], &book), xml.Unmarshal(parts["xl/_rels/workbook.xml.rels"], &links)); err != nil {
		return nil, refuse("its list of sheets cannot be read: %w", err)
	}
	target := map[string]string{}
	for _, l := range links.Relationships {
		at := path.Join("xl", l.Target)
		if strings.HasPrefix(l.Target, "/") {
			at = strings.TrimPrefix(path.Clean(l.Target), "/")
		}
		target[l.ID] = at
	}
	where := map[string]string{}
	for _, s := range book.Sheets {
		where[s.Name] = target[s.ID]
	}
	return where, nil
}

// read reads a sheet: its values by the library, and what each cell is, which the
// library does not tell, from the sheet's own part. The two must agree on what is
// there.
func read(f *excelize.File, name string, part []byte, left *limits) (sheet, error) {
	s := sheet{name: name, cells: map[place]cell{}, filled: map[int][]int{}, hides: map[int]bool{}}
	if shown, err := f.GetSheetVisible(name); err == nil {
		s.hidden = !shown
	}
	marks, err := marksOf(&s, part, left)
	if err != nil {
		return s, err
	}
	rows, err := f.Rows(name)
	if err != nil {
		return s, refuse("sheet %s: %w", name, err)
	}
	for row := 1; rows.Next(); row++ {
		values, err := rows.Columns()
		if err != nil {
			return s, refuse("sheet %s, row %d: %w", name, row, err)
		}
		for i, text := range values {
			p := place{row, i + 1}
			c, filled := marks[p]
			if !filled && text == "" {
				continue
			}
			c.text = text
			if len(text) > 4*mostText {
				return s, refuse("%s!%s: holds more than a cell may", name, p)
			}
			s.cells[p] = c
		}
	}
	if err := errors.Join(rows.Error(), rows.Close()); err != nil {
		return s, refuse("sheet %s: %w", name, err)
	}
	if s.notes, err = f.GetComments(name); err != nil {
		return s, refuse("sheet %s: comments: %w", name, err)
	}
	s.index()
	return s, nil
}

// index lists what is filled: a cell at the end of the sheet costs no walk to it.
func (s *sheet) index() {
	for _, c := range s.notes {
		if x, y, err := excelize.CellNameToCoordinates(c.Cell); err == nil {
			c := s.cells[place{y, x}] // empty, where only a comment stands
			s.cells[place{y, x}] = c
		}
	}
	s.bottom, s.right = 0, 0
	for p := range s.cells {
		s.filled[p.row] = append(s.filled[p.row], p.column)
		s.bottom, s.right = max(s.bottom, p.row), max(s.right, p.column)
	}
	for _, columns := range s.filled {
		slices.Sort(columns)
	}
	s.rows = slices.Sorted(maps.Keys(s.filled))
}

// marksOf says of each cell with something in it what it is, and which are joined.
func marksOf(s *sheet, part []byte, left *limits) (map[place]cell, error) {
	d := xml.NewDecoder(bytes.NewReader(part))
	marks := map[place]cell{}
	at, rows := place{}, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return marks, nil
		}
		if err != nil {
			return nil, refuse("sheet %s after %s: %w", s.name, at, err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch start.Name.Local {
		case "row":
			at = place{at.row + 1, 0}
			if n, err := strconv.Atoi(attr(start, "r")); err == nil {
				at.row = n
			}
			s.hides[at.row] = attr(start, "hidden") == "1" || attr(start, "hidden") == "true"
		case "c":
			c, filled, err := markOf(d, start, &at, left.strings)
			if err != nil {
				return nil, refuse("sheet %s after %s: %w", s.name, at, err)
			}
			if !filled {
				continue
			}
			if at.row != s.bottom {
				rows++
				s.bottom = at.row
			}
			marks[at] = c
			if left.cells--; rows > mostRows || left.cells < 0 {
				return nil, refuse("%s!%s: more than %d rows or %d cells are filled: this is no hazard log", s.name, at, mostRows, mostCells)
			}
		case "mergeCell":
			if a, ok := areaOf(attr(start, "ref")); ok {
				s.merges = append(s.merges, a)
			}
			if len(s.merges) > mostMerges {
				return nil, refuse("sheet %s: more than %d joined cells", s.name, mostMerges)
			}
		}
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// markOf reads a cell to its end.
func markOf(d *xml.Decoder, start xml.StartElement, at *place, shared int) (c cell, filled bool, err error) {
	var body struct {
		Formula *struct{} `xml:"f"`
		Value   string    `xml:"v"`
		Inline  *struct {
			Text []byte `xml:",innerxml"`
		} `xml:"is"`
	}
	at.column++
	if ref := attr(start, "r"); ref != "" {
		column, row, err := excelize.CellNameToCoordinates(ref)
		if err != nil {
			return c, false, err
		}
		*at = place{row, column}
	}
	if err := d.DecodeElement(&body, &start); err != nil {
		return c, false, err
	}
	t := attr(start, "t")
	if n, err := strconv.Atoi(strings.TrimSpace(body.Value)); t == "s" && body.Value != "" && (err != nil || n < 0 || n >= shared) {
		return c, false, fmt.Errorf("the text of %s is not in the workbook", at)
	}
	c = cell{formula: body.Formula != nil, number: t == "" || t == "n", failed: t == "e"}
	return c, c.formula || body.Value != "" || body.Inline != nil && len(body.Inline.Text) > 0, nil
}

func areaOf(ref string) (area, bool) {
	a, b, ok := strings.Cut(ref, ":")
	if !ok {
		b = a
	}
	x1, y1, err1 := excelize.CellNameToCoordinates(a)
	x2, y2, err2 := excelize.CellNameToCoordinates(b)
	return area{place{min(y1, y2), min(x1, x2)}, place{max(y1, y2), max(x1, x2)}}, err1 == nil && err2 == nil
}
