package workbook

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/matron-epr/matron/hazardlog"
)

// entry is a hazard as a workbook has it: the row with its number and those under
// it that have none.
type entry struct {
	sheet string
	heads headings
	at    map[role]place
	texts map[role][]string // from each of its rows, the first one first
	notes []string
}

// text is what one column says of the hazard.
func (e entry) text(r role) string { return strings.Join(e.texts[r], "\n") }

// where is the cell of a column, or of the number where there is no such column.
func (e entry) where(r role) place {
	if p, ok := e.at[r]; ok {
		return p
	}
	if column, ok := e.heads.at[r]; ok {
		return place{e.at[roleID].row, column}
	}
	return e.at[roleID]
}

// reader collects what is said of a workbook.
type reader struct {
	book  *opened
	own   bool // made by Write
	same  bool // from the log that it is read for
	risks int  // formulas for risks, which are looked up anyhow
	found []Finding
}

func (r *reader) say(sheet string, at place, rule, format string, args ...any) {
	r.found = append(r.found, Finding{Sheet: sheet, Cell: cellName(at), Rule: rule, Text: fmt.Sprintf(format, args...)})
}

func (r *reader) block(sheet string, at place, rule, format string, args ...any) {
	r.found = append(r.found, Finding{Sheet: sheet, Cell: cellName(at), Rule: rule, Blocks: true, Text: fmt.Sprintf(format, args...)})
}

func cellName(at place) string {
	if at == (place{}) {
		return ""
	}
	return at.String()
}

// entries reads the hazards of a sheet.
func (r *reader) entries(s *sheet, h headings) []entry {
	r.told(s, h)
	var list []entry
	comments := map[place]string{}
	for _, c := range s.notes {
		if x, y, err := excelize.CellNameToCoordinates(c.Cell); err == nil {
			comments[place{y, x}] = clean(c.Text)
		}
	}
	for _, row := range s.rows {
		if row <= h.row {
			continue
		}
		line := r.line(s, h, row, comments)
		switch {
		case len(line.at) == 0 && len(line.notes) == 0:
			continue
		case line.text(roleID) == "" && len(list) == 0, line.text(roleID) == "" && (line.text(roleHazard) != "" || line.text(roleName) != ""):
			r.block(s.name, place{row, max(1, h.at[roleID])}, "no-number", "this hazard has no number: give it one")
		case line.text(roleID) == "":
			list[len(list)-1].add(line)
		case len(list) == mostHazards:
			r.block(s.name, place{row, h.at[roleID]}, "too-many", "more than %d hazards: nothing from here on is read", mostHazards)
			return list
		default:
			list = append(list, line)
		}
	}
	if r.risks > 0 && !r.own {
		r.say(s.name, place{}, "formula", "%d risks are formulas: none is evaluated, the values that were stored with them are compared with the matrix", r.risks)
		r.risks = 0
	}
	return list
}

// told says what the sheet as a whole is.
func (r *reader) told(s *sheet, h headings) {
	if r.own {
		return
	}
	name := "the 28 columns of the hazard log template"
	if h.older {
		name = "the older hazard log layout"
	} else if h.understood() < len(layout()) {
		name = fmt.Sprintf("a hazard log with %d of the template's 28 columns", h.understood())
	}
	r.say(s.name, place{h.row, 1}, "layout", "read as %s", name)
	if s.hidden {
		r.say(s.name, place{}, "hidden", "the sheet is hidden; it is read all the same")
	}
	if _, ok := h.at[roleID]; !ok {
		r.block(s.name, place{h.row, 1}, "no-number", "no column holds the numbers of the hazards: head one \"No.\"")
	}
	if _, ok := h.at[roleImpact]; ok {
		r.say(s.name, place{h.row, h.at[roleImpact]}, "impact", "says effect and harm in one: it is taken for the harm, and somebody must write the effect")
	}
	if _, ok := h.at[roleName]; !ok {
		r.say(s.name, place{h.row, 1}, "name", "the layout has no names of hazards: the first sentence of each hazard becomes its name")
	}
	for _, of := range []role{existingControls, additionalControls} {
		if column, ok := h.at[of]; ok {
			r.say(s.name, place{h.row, column}, "kinds", "does not tell design, training and process apart: its controls are taken for business process, and somebody must say which are another kind")
		}
	}
	for _, column := range slices.Sorted(maps.Keys(h.other)) {
		r.say(s.name, place{h.row, column}, "unmapped", "%q is no column of a hazard log: its cells are kept as notes of their hazards", h.other[column])
	}
}

// line reads one row.
func (r *reader) line(s *sheet, h headings, row int, comments map[place]string) entry {
	e := entry{sheet: s.name, heads: h, at: map[role]place{}, texts: map[role][]string{}}
	mapped := map[int]role{}
	for of, column := range h.at {
		mapped[column] = of
	}
	for _, column := range s.filled[row] {
		p := place{row, column}
		if comment := comments[p]; comment != "" {
			e.notes = append(e.notes, fmt.Sprintf("Comment on %s!%s: %s", s.name, p, comment))
		}
		c, ok := s.cells[p]
		text := clean(c.text)
		if !ok || text == "" && !c.formula {
			continue
		}
		of, known := mapped[column]
		isRisk := c.formula && (of == initialRisk || of == residualRisk)
		if isRisk && r.own {
			continue // the look-up that Write put there, perhaps not calculated since
		}
		if c.failed {
			r.say(s.name, p, "formula-error", "shows the error %s: nothing is taken from it", text)
			continue
		}
		if c.formula && text == "" {
			r.say(s.name, p, "formula", "has a formula without a stored value: nothing is taken from it")
			continue
		}
		if isRisk {
			r.risks++
		} else if c.formula {
			r.say(s.name, p, "formula", "is a formula: it is not evaluated, and the value that was stored with it is taken")
		}
		if !known {
			head := h.other[column]
			if head == "" {
				head = "without a heading"
			}
			e.notes = append(e.notes, fmt.Sprintf("%s (%s!%s): %s", head, s.name, p, text))
			continue
		}
		if of == roleAdded && c.number {
			text = r.day(s, p, text)
		}
		e.at[of], e.texts[of] = p, append(e.texts[of], text)
	}
	if s.hides[row] && len(e.at) > 0 {
		r.say(s.name, place{row, 1}, "hidden", "the row is hidden; it is read all the same")
	}
	return e
}

// day is a day that is kept as a number.
func (r *reader) day(s *sheet, p place, text string) string {
	serial, err := strconv.ParseFloat(text, 64)
	if err == nil && serial > 0 && serial < 2_958_466 { // the last day of 9999
		if t, err := excelize.ExcelDateToTime(serial, r.book.base04); err == nil {
			return t.Format(time.DateOnly)
		}
	}
	r.say(s.name, p, "date", "%q is no date", text)
	return text
}

// add takes a further row of the same hazard in.
func (e *entry) add(more entry) {
	for of, texts := range more.texts {
		if _, ok := e.at[of]; !ok {
			e.at[of] = more.at[of]
		}
		e.texts[of] = append(e.texts[of], texts...)
	}
	e.notes = append(e.notes, more.notes...)
}

var (
	ownID   = regexp.MustCompile(`^[A-Z]{2,8}-[0-9]{2,4}$`)
	likeID  = regexp.MustCompile(`^([A-Za-z]*)[ _\-.#/]*0*([0-9]{1,4})(?:\.0+)?$`)
	ofLine  = regexp.MustCompile(`^(C-[0-9]{2,5}): `)
	leading = regexp.MustCompile(`^\(?[0-9]+\)?\s*[-–—:.=)]*\s*|\s*[-–—:=]*\s*\(?[0-9]+\)?$`)
)

// id is a hazard's id as the log writes it: GW-03; "" where there is no way.
func hazardID(text, prefix string) string {
	text = clean(text)
	if ownID.MatchString(text) {
		return text
	}
	parts := likeID.FindStringSubmatch(text)
	if parts == nil {
		return ""
	}
	if letters := strings.ToUpper(parts[1]); len(letters) >= 2 && len(letters) <= 8 {
		prefix = letters
	} else if letters != "" && len(letters) != 1 {
		return ""
	}
	return fmt.Sprintf("%s-%02s", prefix, parts[2])
}

// rating reads a rating. Words outside the matrix, and what cannot be one word,
// are no rating: nobody here guesses what was meant.
func (r *reader) rating(e *entry, std *hazardlog.Standard, severity, likelihood, risk, justification role) hazardlog.Rating {
	words := [2]string{}
	known := true
	for i, of := range []role{severity, likelihood} {
		said := distinct(e.texts[of])
		if len(said) == 0 {
			known = false
			continue
		}
		word, problem := wordOf(said, axis(std, i))
		if problem != "" {
			r.say(e.sheet, e.where(of), "unknown-word", "%s %q: %s", of, strings.Join(said, " / "), problem)
			e.note(of, strings.Join(said, " / "))
		}
		words[i], known = word, known && word != ""
	}
	stated := strings.Join(distinct(e.texts[risk]), " / ")
	reason := withoutRemark(e.text(justification))
	if !known {
		if words != ([2]string{}) || stated != "" && folded(stated) != "not rated" || reason != "" {
			r.say(e.sheet, e.where(risk), "not-rated", "no %s: severity and likelihood are not both words of the matrix; the hazard stays not rated", strings.TrimSuffix(string(risk), " risk")+" rating")
			for _, of := range []role{severity, likelihood, risk} {
				e.note(of, strings.Join(distinct(e.texts[of]), " / "))
			}
			e.note(justification, reason)
		}
		return hazardlog.Rating{}
	}
	rating := std.Rate(hazardlog.Rating{
		Severity: hazardlog.Severity(words[0]), Likelihood: hazardlog.Likelihood(words[1]), Justification: reason, State: hazardlog.RatingProposed,
	})
	r.compareRisk(e, std, risk, stated, rating)
	if reason == "" {
		at := e.where(risk)
		if _, ok := e.heads.at[justification]; ok {
			at = e.where(justification)
		}
		r.say(e.sheet, at, "no-justification", "%s has no justification", strings.TrimSuffix(string(risk), " risk")+" rating")
		rating.Justification = fmt.Sprintf("The workbook gives no reason (%s!%s).", e.sheet, at)
	}
	return rating
}

func axis(std *hazardlog.Standard, i int) []string {
	var words []string
	if i == 0 {
		for _, s := range std.Severities {
			words = append(words, string(s))
		}
		return words
	}
	for _, l := range std.Likelihoods {
		words = append(words, string(l.Word))
	}
	return words
}

// wordOf finds the word of the matrix that a cell means.
func wordOf(said, words []string) (word, problem string) {
	if len(said) > 1 {
		return "", "the rows of this hazard say different things"
	}
	if _, err := strconv.ParseFloat(said[0], 64); err == nil {
		return "", "is a number; the matrix has words on its sides, so that nobody can tell which end is the worse"
	}
	bare := strings.TrimSpace(leading.ReplaceAllString(said[0], ""))
	for _, w := range words {
		switch {
		case folded(w) == folded(said[0]):
			return w, ""
		case folded(w) == folded(bare):
			return w, "has a number; the sides of the matrix have words only, and \"" + w + "\" is taken"
		}
	}
	return "", "is no word of the matrix: " + strings.Join(words, ", ")
}

func distinct(texts []string) []string {
	var list []string
	for _, text := range texts {
		if text = clean(text); text != "" && !slices.ContainsFunc(list, func(t string) bool { return folded(t) == folded(text) }) {
			list = append(list, text)
		}
	}
	return list
}

// compareRisk says where the risk in a cell is not the one of the matrix, and what
// kind of mistake it looks like.
func (r *reader) compareRisk(e *entry, std *hazardlog.Standard, of role, stated string, rating hazardlog.Rating) {
	if stated == "" && r.own {
		return
	}
	if stated == "" {
		r.say(e.sheet, e.where(of), "no-risk", "there is no %s; %s in %s", of, rating, std.Edition)
		return
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.SplitN(stated, " ", 2)[0]), 64)
	switch {
	case err == nil && n == float64(rating.Risk()):
		return
	case err != nil:
		r.say(e.sheet, e.where(of), "wrong-risk", "%q is no risk from 1 to 5: %s in %s", stated, rating, std.Edition)
	case n > 5:
		r.say(e.sheet, e.where(of), "wrong-risk", "%s is no risk from 1 to 5, it looks multiplied: %s in %s, which is looked up, never calculated", stated, rating, std.Edition)
	default:
		r.say(e.sheet, e.where(of), "wrong-risk", "says %s, %s than the matrix: %s in %s", stated, lowerOrHigher(n, rating.Risk()), rating, std.Edition)
	}
	e.note(of, stated)
}

func lowerOrHigher(n float64, risk hazardlog.Risk) string {
	if n < float64(risk) {
		return "lower"
	}
	return "higher"
}

// note keeps what a cell says that has no place in the log.
func (e *entry) note(of role, text string) {
	if text = clean(text); text != "" {
		e.notes = append(e.notes, fmt.Sprintf("%s (%s!%s): %s", of, e.sheet, e.where(of), text))
	}
}
