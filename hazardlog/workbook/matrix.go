package workbook

import (
	"slices"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// compareMatrix compares a risk matrix that a sheet holds with the one of the
// standard, cell by cell. It reports whether there was one.
func (m *merge) compareMatrix(s *sheet) bool {
	for row := 1; row <= min(s.bottom, 200); row++ {
		for column := 1; column <= min(s.right, 60); column++ {
			if g, ok := m.gridAt(s, place{row, column}); ok {
				m.compareGrid(s, g)
				return true
			}
		}
	}
	return false
}

// grid is a matrix on a sheet: its numbers, and where its words stand.
type grid struct {
	corner     place // the first cell with a risk
	rows, cols []string
	rowsAt     int // column of the words of the rows
	colsAt     int // row of the words of the columns
	turned     bool
}

// gridAt looks whether a matrix begins at a cell: a block of risks, three or more in
// each direction, with words before it and over or under it.
func (m *merge) gridAt(s *sheet, p place) (grid, bool) {
	if !isRisk(s, p) || isRisk(s, place{p.row - 1, p.column}) || isRisk(s, place{p.row, p.column - 1}) {
		return grid{}, false
	}
	g := grid{corner: p}
	height, width := 0, 0
	for isRisk(s, place{p.row + height, p.column}) {
		height++
	}
	for isRisk(s, place{p.row, p.column + width}) {
		width++
	}
	if height < 3 || width < 3 || height > 10 || width > 10 || p.column == 1 {
		return g, false
	}
	g.rowsAt = p.column - 1
	for y := range height {
		g.rows = append(g.rows, clean(s.cells[place{p.row + y, g.rowsAt}].text))
	}
	for _, at := range []int{p.row - 1, p.row + height} {
		var words []string
		for x := range width {
			words = append(words, clean(s.cells[place{at, p.column + x}].text))
		}
		if !slices.Contains(words, "") {
			g.cols, g.colsAt = words, at
			break
		}
	}
	if g.cols == nil || slices.Contains(g.rows, "") {
		return g, false
	}
	g.turned = m.matches(g.rows, axis(m.standard, 0)) > m.matches(g.rows, axis(m.standard, 1))
	return g, true
}

// matches counts the words that are on a side of the standard's matrix.
func (m *merge) matches(said, words []string) int {
	n := 0
	for _, text := range said {
		if word, _ := wordOf([]string{text}, words); word != "" {
			n++
		}
	}
	return n
}

// isRisk reports whether a cell holds what somebody may take for a risk: a small
// number, or a word for one.
func isRisk(s *sheet, p place) bool {
	text := folded(s.cells[p].text)
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n >= 0 && n <= 25
	}
	first, _, _ := strings.Cut(text, " ")
	return slices.Contains([]string{"acceptable", "tolerable", "undesirable", "unacceptable", "moderate", "medium", "low", "high", "extreme", "severe"}, first) && p.column > 1
}

// compareGrid says of each word and each cell where it is another than in the
// standard.
func (m *merge) compareGrid(s *sheet, g grid) {
	of := [2][]string{axis(m.standard, 1), axis(m.standard, 0)} // rows are likelihoods
	if g.turned {
		of[0], of[1] = of[1], of[0]
	}
	rows := m.sides(s, g.rows, of[0], func(i int) place { return place{g.corner.row + i, g.rowsAt} })
	cols := m.sides(s, g.cols, of[1], func(i int) place { return place{g.colsAt, g.corner.column + i} })
	compared, other, lower, most := 0, 0, 0, 0.0
	for y, row := range rows {
		for x, col := range cols {
			p := place{g.corner.row + y, g.corner.column + x}
			stated := clean(s.cells[p].text)
			n, err := strconv.ParseFloat(stated, 64)
			if err == nil {
				most = max(most, n)
			}
			if row == "" || col == "" {
				continue
			}
			if g.turned {
				row, col = col, row
			}
			want := m.standard.Risk(hazardlog.Severity(col), hazardlog.Likelihood(row))
			if g.turned {
				row, col = col, row
			}
			compared++
			if err == nil && n == float64(want) {
				continue
			}
			if other++; err == nil && n < float64(want) {
				lower++
			}
			m.say(s.name, p, "matrix", "says %s for %s and %s: %s in %s", stated, row, col, want, m.standard.Edition)
		}
	}
	m.sumUp(s, g, compared, other, lower, most)
}

func (m *merge) sumUp(s *sheet, g grid, compared, other, lower int, most float64) {
	switch {
	case most > 5:
		m.say(s.name, g.corner, "matrix", "this matrix multiplies, up to %s: the one of %s is a table from 1 to 5", strconv.FormatFloat(most, 'f', -1, 64), m.standard.Edition)
	case other > 0:
		m.say(s.name, g.corner, "matrix", "%d of %d cells are other than in %s, %d of them lower", other, compared, m.standard.Edition, lower)
	case compared == 25 && !m.own:
		m.say(s.name, g.corner, "matrix", "this is the matrix of %s", m.standard.Edition)
	}
	if compared < 25 {
		m.say(s.name, g.corner, "matrix", "only %d of the 25 cells of %s can be compared: the other words are not its words", compared, m.standard.Edition)
	}
}

// sides are the standard's words for those on one side, "" for the unknown.
func (m *merge) sides(s *sheet, said, words []string, at func(int) place) []string {
	list := make([]string, len(said))
	for i, text := range said {
		word, problem := wordOf([]string{text}, words)
		if problem != "" {
			m.say(s.name, at(i), "matrix", "%q %s", text, problem)
		}
		list[i] = word
	}
	return list
}
