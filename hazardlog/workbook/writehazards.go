package workbook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"

	"github.com/matron-epr/matron/hazardlog"
)

// hazards writes the sheet with the 28 columns.
func (w *writer) hazards(l hazardlog.Log, facts Facts) {
	w.sheet(hazardSheet, facts.Draft, headRows)
	heads := layout()
	w.heads(heads)
	if facts.Draft != "" {
		w.put(hazardSheet, 1, 1, "DRAFT", "draft")
	}
	at := map[role]string{}
	for i, h := range heads {
		at[h.role], _ = excelize.ColumnNumberToName(i + 1)
	}
	for i, h := range l.Hazards {
		row := headRows + 1 + i
		for column, head := range heads {
			w.put(hazardSheet, column+1, row, cellOf(l, h, head.role, facts), "text")
		}
		w.risk(at, row, initialSeverity, initialLikelihood, initialRisk, h.Initial)
		w.risk(at, row, residualSeverity, residualLikelihood, residualRisk, h.Residual)
	}
	w.choices(l, at, headRows+max(len(l.Hazards), 1))
}

// heads writes the headings and joins the cells that share one.
func (w *writer) heads(heads []head) {
	for i, h := range heads {
		w.width(hazardSheet, i+1, h.width)
		for row, text := range h.rows {
			if i > 0 && row < headRows-1 && slices.Equal(heads[i-1].rows[:row+1], h.rows[:row+1]) {
				text = "" // joined to the one before
			}
			w.put(hazardSheet, i+1, row+1, text, "head")
		}
	}
	for row := range headRows - 1 {
		for from := 0; from < len(heads); {
			to := from
			for to+1 < len(heads) && heads[to+1].rows[row] == heads[from].rows[row] && slices.Equal(heads[to+1].rows[:row], heads[from].rows[:row]) {
				to++
			}
			if to > from && heads[from].rows[row] != "" {
				a, _ := excelize.CoordinatesToCellName(from+1, row+1)
				b, _ := excelize.CoordinatesToCellName(to+1, row+1)
				w.fail(w.file.MergeCell(hazardSheet, a, b))
			}
			from = to + 1
		}
	}
}

// cellOf is what the log says in a column. Gaps are named, never blank, where
// somebody must fill them.
func cellOf(l hazardlog.Log, h hazardlog.Hazard, r role, facts Facts) string {
	switch r {
	case roleID:
		return h.ID
	case roleAdded:
		return added(l, h)
	case roleEffect:
		return clean(h.Effect)
	case roleHazard:
		return clean(h.Hazard)
	case roleHarm:
		return clean(h.Harm)
	case roleCauses:
		return inLines(h.Causes)
	case roleOwner:
		return clean(h.Owner)
	case roleStatus:
		return string(h.Status)
	case initialSeverity:
		return string(h.Initial.Severity)
	case initialLikelihood:
		return string(h.Initial.Likelihood)
	case initialJustification:
		return justification(h, h.Initial, facts)
	case residualSeverity:
		return string(h.Residual.Severity)
	case residualLikelihood:
		return string(h.Residual.Likelihood)
	case residualJustification:
		return justification(h, h.Residual, facts)
	default:
		return controlsOf(l, h, r, facts)
	}
}

// controlsOf is what a column of controls, or of their evidence, holds.
func controlsOf(l hazardlog.Log, h hazardlog.Hazard, r role, facts Facts) string {
	if kind, ok := kinds()[r]; ok {
		return inLines(each(l, h, kind, func(c hazardlog.Control) string { return c.ID + ": " + clean(c.Text) }))
	}
	if kind, ok := kinds()[role(strings.TrimSuffix(string(r), " evidence"))]; ok {
		return inLines(each(l, h, kind, func(c hazardlog.Control) string { return evidenceOf(c.ID, facts) }))
	}
	return ""
}

// kind is which controls a column holds.
type kind struct {
	of     hazardlog.ControlType
	timing hazardlog.ControlTiming
}

func kinds() map[role]kind {
	return map[role]kind{
		existingDesign:    {hazardlog.Design, hazardlog.Existing},
		existingTraining:  {hazardlog.Training, hazardlog.Existing},
		existingProcess:   {hazardlog.BusinessProcess, hazardlog.Existing},
		additionalDesign:  {hazardlog.Design, hazardlog.Additional},
		additionalTrain:   {hazardlog.Training, hazardlog.Additional},
		additionalProcess: {hazardlog.BusinessProcess, hazardlog.Additional},
	}
}

func each(l hazardlog.Log, h hazardlog.Hazard, k kind, text func(hazardlog.Control) string) []string {
	var list []string
	for _, c := range l.ControlsOf(h.ID) {
		if c.Type == k.of && c.Timing == k.timing {
			list = append(list, text(c))
		}
	}
	return list
}

func evidenceOf(control string, facts Facts) string {
	if facts.Evidence == nil {
		return "Missing: evidence for " + control
	}
	text := facts.Evidence(control)
	if strings.HasPrefix(text, "Missing: evidence for "+control) {
		return text
	}
	return control + ": " + text
}

// justification is the reason of a rating, under a line for whoever must not miss
// that nobody stands behind the rating, or that evidence speaks against it.
func justification(h hazardlog.Hazard, r hazardlog.Rating, facts Facts) string {
	var said []string
	if doubted := facts.InQuestion[h.ID]; len(doubted) > 0 {
		said = append(said, "in question, evidence contradicts "+ids(doubted)+"; the rating is as it was signed")
	}
	switch {
	case !r.Risk().Rated():
		said = append(said, "not rated")
	case !r.Owned():
		said = append(said, "proposed, no clinician has assessed it")
	}
	text := clean(r.Justification)
	if len(said) == 0 && !strings.HasPrefix(text, remark) {
		return text
	}
	if len(said) == 0 {
		said = []string{"as written"}
	}
	return strings.TrimSpace(remark + strings.Join(said, "; ") + "]\n" + text)
}

// withoutRemark takes off what justification put there.
func withoutRemark(text string) string {
	if !strings.HasPrefix(text, remark) {
		return text
	}
	_, rest, _ := strings.Cut(text, "]")
	return clean(rest)
}

// added is the day on which a hazard came into the log.
func added(l hazardlog.Log, h hazardlog.Hazard) string {
	for _, e := range l.Events() {
		if e.Subject == h.Subject() {
			return hazardlog.DayOf(e.At).String()
		}
	}
	return ""
}

// risk writes a risk as a look-up in the matrix, with the value that it gives.
func (w *writer) risk(at map[role]string, row int, severity, likelihood, risk role, r hazardlog.Rating) {
	cell := fmt.Sprint(at[risk], row)
	w.fail(w.file.SetCellDefault(hazardSheet, cell, r.Risk().String())) // what programs show that do not calculate
	s, p := fmt.Sprint(at[severity], row), fmt.Sprint(at[likelihood], row)
	w.fail(w.file.SetCellFormula(hazardSheet, cell, fmt.Sprintf(
		`IF(OR(%[1]s="",%[2]s=""),"not rated",INDEX('%[3]s'!$D$2:$H$6,MATCH(%[2]s,Likelihood,0),MATCH(%[1]s,Severity,0)))`, s, p, matrixSheet)))
	w.fail(w.file.SetCellStyle(hazardSheet, cell, cell, w.styles["risk"]))
}

// choices offers the words, and tints risks; the number says the same.
func (w *writer) choices(l hazardlog.Log, at map[role]string, last int) {
	statuses := make([]string, len(l.Standard.Statuses))
	for i, s := range l.Standard.Statuses {
		statuses[i] = string(s)
	}
	list := func(r role, set func(*excelize.DataValidation) error) {
		v := excelize.NewDataValidation(true)
		v.Sqref = fmt.Sprintf("%[1]s%[2]d:%[1]s%[3]d", at[r], headRows+1, last+100)
		w.fail(set(v))
		w.fail(w.file.AddDataValidation(hazardSheet, v))
	}
	named := func(name string) func(*excelize.DataValidation) error {
		return func(v *excelize.DataValidation) error { v.SetSqrefDropList(name); return nil }
	}
	list(initialSeverity, named("Severity"))
	list(residualSeverity, named("Severity"))
	list(initialLikelihood, named("Likelihood"))
	list(residualLikelihood, named("Likelihood"))
	list(roleStatus, func(v *excelize.DataValidation) error { return v.SetDropList(statuses) })
	for _, r := range []role{initialRisk, residualRisk} {
		var rules []excelize.ConditionalFormatOptions
		for level, colour := range tints() {
			id, err := w.file.NewConditionalStyle(&excelize.Style{Fill: filled(colour)})
			w.fail(err)
			rules = append(rules, excelize.ConditionalFormatOptions{Type: "cell", Criteria: "==", Format: &id, Value: strconv.Itoa(level + 1)})
		}
		w.fail(w.file.SetConditionalFormat(hazardSheet, fmt.Sprintf("%[1]s%[2]d:%[1]s%[3]d", at[r], headRows+1, last), rules))
	}
}

// tints are the colours of the risks 1 to 5, each dark text enough on it.
func tints() []string { return []string{"D5F0D9", "EAF5CC", "FFF3BF", "FFD9B8", "F9C6C6"} }

// matrix writes the standard's matrix where the template has it: D2:H6, its words
// beside and under it.
func (w *writer) matrix(l hazardlog.Log, facts Facts) {
	w.sheet(matrixSheet, facts.Draft, 0)
	w.width(matrixSheet, 2, 14)
	w.width(matrixSheet, 3, 16)
	w.put(matrixSheet, 2, 2, "Likelihood", "head")
	for y, row := range l.Standard.Likelihoods {
		w.put(matrixSheet, 3, y+2, string(row.Word), "head")
		for x, risk := range row.Risks {
			cell, _ := excelize.CoordinatesToCellName(x+4, y+2)
			w.fail(w.file.SetCellInt(matrixSheet, cell, int64(risk)))
			w.fail(w.file.SetCellStyle(matrixSheet, cell, cell, w.styles["risk"]))
		}
		w.put(matrixSheet, 10, y+2, string(row.Word), "head")
		w.put(matrixSheet, 11, y+2, row.Meaning, "text")
	}
	for x, severity := range l.Standard.Severities {
		w.put(matrixSheet, x+4, 7, string(severity), "head")
		w.width(matrixSheet, x+4, 14)
	}
	w.put(matrixSheet, 3, 8, "Severity", "head")
	w.width(matrixSheet, 10, 14)
	w.width(matrixSheet, 11, 90)
	for i, level := range l.Standard.Levels {
		w.put(matrixSheet, 10, 9+i, level.Risk.String(), "head")
		w.put(matrixSheet, 11, 9+i, level.Meaning+" ("+string(level.Acceptability)+")", "text")
	}
	for i, c := range l.Standard.Consequences {
		w.put(matrixSheet, 10, 16+i, c.ID, "head")
		w.put(matrixSheet, 11, 16+i, fmt.Sprintf("%s. One patient: %s. Several: %s.", c.Text, orNone(c.One), orNone(c.Several)), "text")
	}
	w.fail(w.file.SetDefinedName(&excelize.DefinedName{Name: "Likelihood", RefersTo: "'" + matrixSheet + "'!$C$2:$C$6"}))
	w.fail(w.file.SetDefinedName(&excelize.DefinedName{Name: "Severity", RefersTo: "'" + matrixSheet + "'!$D$7:$H$7"}))
}

func orNone(s hazardlog.Severity) string {
	if s == "" {
		return "none given"
	}
	return string(s)
}
