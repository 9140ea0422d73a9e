package workbook

import (
	"fmt"
	"slices"
	"strings"
)

// headings are the columns of a sheet that were understood.
type headings struct {
	row   int            // the last one of the headings
	at    map[role]int   // columns, from 1
	other map[int]string // columns that were not understood, by what stands above them
	older bool
}

// Where headings are looked for.
const (
	mostHeadRows = 40
	mostHeads    = 250
)

// above is what stands over a column: the texts of joined cells and of the cells to
// the left of an empty one belong to it.
type above struct {
	texts []string // folded, from the top
	leaf  string   // the lowest one that is the column's own
}

// findHeadings looks for the row that has most headings of a hazard log.
func findHeadings(s *sheet) (headings, bool) {
	best := headings{}
	for row := 1; row <= min(s.bottom, mostHeadRows); row++ {
		if h := headingsIn(s, row); h.understood() > best.understood() {
			best = h
		}
	}
	_, harm := best.at[roleHarm]
	_, impact := best.at[roleImpact]
	_, hazard := best.at[roleHazard]
	_, severity := best.at[initialSeverity]
	_, likelihood := best.at[initialLikelihood]
	return best, (harm || impact || hazard) && severity && likelihood
}

func (h headings) understood() int { return len(h.at) }

// headingsIn takes row for the last one of the headings.
func headingsIn(s *sheet, row int) headings {
	h := headings{row: row, at: map[role]int{}, other: map[int]string{}}
	seen := counts{}
	top := max(1, row-headRows+1)
	for column := 1; column <= min(s.right, mostHeads); column++ {
		a := aboveColumn(s, top, row, column)
		if a.leaf == "" {
			continue
		}
		r := seen.roleOf(a)
		if _, taken := h.at[r]; r == "" || taken {
			h.other[column] = shown(s, top, row, column)
			continue
		}
		h.at[r] = column
	}
	_, impact := h.at[roleImpact]
	_, one := h.at[existingControls]
	h.older = impact || one
	h.describe()
	return h
}

// describe takes a column "hazard" beside a "hazard description" for the name.
func (h *headings) describe() {
	name, ok := h.at[roleHazard]
	if _, named := h.at[roleName]; !ok || named {
		return
	}
	for column, text := range h.other {
		if folded(text) == "hazard description" {
			h.at[roleName], h.at[roleHazard] = name, column
			delete(h.other, column)
			return
		}
	}
}

func aboveColumn(s *sheet, top, row, column int) above {
	var a above
	for y := top; y <= row; y++ {
		text, own := headText(s, place{y, column})
		if text == "" {
			continue
		}
		if len(a.texts) == 0 || a.texts[len(a.texts)-1] != text {
			a.texts = append(a.texts, text)
		}
		if own {
			a.leaf = text
		}
	}
	return a
}

// headText is what stands over a column in one row: its own text, that of the cell
// it is joined to, or that of the nearest cell to the left.
func headText(s *sheet, p place) (text string, own bool) {
	if text := folded(s.cells[p].text); text != "" {
		return text, true
	}
	for _, a := range s.merges {
		if a.holds(p) {
			return folded(s.cells[a.from].text), a.from.column == p.column
		}
	}
	for x := p.column - 1; x > 0 && p.column-x < 16; x-- {
		if text := folded(s.cells[place{p.row, x}].text); text != "" {
			return text, false
		}
	}
	return "", false
}

func shown(s *sheet, top, row, column int) string {
	for y := row; y >= top; y-- {
		if text := strings.Join(strings.Fields(s.cells[place{y, column}].text), " "); text != "" {
			return text
		}
	}
	return ""
}

// counts is how often a heading was met that stands more than once.
type counts map[string]int

// roleOf says what a column holds by its own heading and those over it; where the
// ones over it are gone, by which of its like it is.
func (n counts) roleOf(a above) role {
	if r, ok := named()[a.leaf]; ok {
		return r
	}
	over := strings.Join(a.texts[:len(a.texts)-1], " / ")
	all := strings.Join(a.texts, " / ")
	switch leaf := ratingWord(a.leaf); {
	case leaf != "":
		n[leaf]++
		return role(n.phase(all, leaf) + " " + leaf)
	case a.leaf == "description" && strings.Contains(over, "hazard") && !strings.Contains(over, "control"):
		return roleHazard
	case a.leaf == "description" || a.leaf == "evidence":
		n[a.leaf]++
		r := n.controlsOf(over, a.leaf)
		if a.leaf == "evidence" {
			return r.evidence()
		}
		return r
	}
	if r := n.bare(a.leaf, over); r != "" {
		return r
	}
	return ""
}

// named are headings that say it all.
func named() map[string]role {
	of := map[string]role{
		"harm": roleHarm, "effect": roleEffect, "hazard": roleHazard, "hazard description": roleHazard, "potential hazard": roleHazard,
		"potential clinical impact": roleImpact, "clinical impact": roleImpact, "potential harm": roleHarm,
		"hazard name": roleName, "hazard title": roleName, "existing controls": existingControls, "current controls": existingControls,
		"owner": roleOwner, "hazard owner": roleOwner, "risk owner": roleOwner, "status": roleStatus, "hazard status": roleStatus, "test": roleTest,
	}
	for _, word := range []string{"no", "no.", "number", "hazard no", "hazard no.", "hazard number", "hazard id", "hazard ref", "ref", "ref.", "id", "#"} {
		of[word] = roleID
	}
	for _, word := range []string{"date added", "date raised", "date identified", "date"} {
		of[word] = roleAdded
	}
	for _, word := range []string{"cause", "causes", "possible cause", "possible causes", "possible cause(s)", "cause(s)"} {
		of[word] = roleCauses
	}
	return of
}

// ratingWord is the part of a rating that a heading names, "" for none. The
// template itself calls the severity its consequence in places.
func ratingWord(leaf string) string {
	leaf = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(leaf, "initial "), "residual "))
	switch leaf {
	case "severity", "consequence", "impact", "consequence / severity", "severity / consequence":
		return "severity"
	case "likelihood", "probability":
		return "likelihood"
	case "risk", "risk rating", "risk score", "risk level", "clinical risk", "hazard risk", "hazard risk rating":
		return "risk"
	case "justification", "rationale", "risk justification":
		return "justification"
	}
	return ""
}

// phase is initial or residual, by what stands over the column, else by which of
// its like it is.
func (n counts) phase(all, leaf string) string {
	residual := strings.Contains(all, "residual")
	switch {
	case residual:
		return "residual"
	case strings.Contains(all, "initial"):
		return "initial"
	case n[leaf] > 1:
		return "residual"
	}
	return "initial"
}

// controlsOf says which controls a description or its evidence is about.
func (n counts) controlsOf(over, leaf string) role {
	which := []role{existingDesign, existingTraining, existingProcess, additionalDesign, additionalTrain, additionalProcess}
	kind := slices.IndexFunc([]string{"design", "training", "process"}, func(w string) bool { return strings.Contains(over, w) })
	additional := strings.Contains(over, "additional") || strings.Contains(over, "residual")
	switch {
	case kind >= 0 && additional:
		return which[3+kind]
	case kind >= 0 && (strings.Contains(over, "existing") || strings.Contains(over, "initial")):
		return which[kind]
	case n[leaf] <= len(which):
		return which[n[leaf]-1]
	}
	return role(fmt.Sprintf("controls %d", n[leaf]))
}

// bare reads a kind of control that has no columns of its own under it.
func (n counts) bare(leaf, over string) role {
	existing := strings.Contains(over, "existing")
	switch leaf {
	case "design", "hit design", "design controls":
		if existing {
			return existingDesign
		}
		return additionalDesign
	case "training", "user training":
		if existing {
			return existingTraining
		}
		return additionalTrain
	case "business process", "business process change", "process":
		if existing {
			return existingProcess
		}
		return additionalProcess
	case "additional controls", "proposed controls", "mitigations", "additional mitigations":
		return additionalControls
	}
	return ""
}
