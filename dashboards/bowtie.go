package dashboards

import (
	"fmt"
	"html/template"
	"strings"
	"unicode/utf8"

	"github.com/matron-epr/matron/hazardlog"
)

// Where the columns of a bow-tie stand, in units of its picture.
const (
	tieWidth     = 960
	tieCause     = 200 // width of causes and of what follows
	tieBarrier   = 148
	tieKnot      = 164
	tieBefore    = 226 // left edges
	tieMiddle    = 398
	tieAfter     = 588
	tieOutcome   = 760
	tieLine      = 18 // height of a line of text
	tiePad       = 8
	tieGap       = 10
	tieHead      = 28 // of the columns
	tieMost      = 5  // lines in a box; the table holds the rest
	tieChars     = 26 // in a line of a wide box
	tieKnotChars = 21
)

// tieBox is a box of the picture.
type tieBox struct {
	x, y, w int
	class   string
	state   hazardlog.EvidenceState
	barrier bool
	lines   []string
}

func (b tieBox) height() int {
	if b.barrier {
		return 2*tieLine + 2*tiePad - 4
	}
	return len(b.lines)*tieLine + 2*tiePad
}

func (b tieBox) middle() int { return b.y + b.height()/2 }

// sides divides the controls of a hazard as the picture does: those in the design of
// the system stand before the hazard, those that people carry out after it, each by
// the state of their evidence, the worst first.
func (c safetyCase) sides(hazard string) (before, after []hazardlog.Control) {
	for _, w := range evidenceWords() {
		for _, x := range c.ControlsOf(hazard) {
			switch {
			case c.report.State(x.ID) != w.State:
			case x.Type == hazardlog.Design:
				before = append(before, x)
			default:
				after = append(after, x)
			}
		}
	}
	return before, after
}

// bowTie draws a hazard: its causes, the barriers before it, what it is, the barriers
// after it, and what follows. Barriers differ by shape and words as well as colour.
func (c safetyCase) bowTie(h hazardlog.Hazard) *picture {
	before, after := c.sides(h.ID)
	var causes, outcomes []tieBox
	for _, cause := range h.Causes {
		causes = append(causes, tieBox{w: tieCause, class: "cause", lines: wrapped(cause, tieChars, tieMost)})
	}
	for _, o := range []struct{ name, text string }{{"Effect", h.Effect}, {"Hazard", h.Hazard}, {"Harm", h.Harm}} {
		outcomes = append(outcomes, tieBox{w: tieCause, class: "outcome", lines: append([]string{o.name + ":"}, wrapped(o.text, tieChars, tieMost)...)})
	}
	knot := []tieBox{{w: tieKnot, class: "knot", lines: append([]string{h.ID}, wrapped(h.Name, tieKnotChars, 7)...)}}
	if len(c.question[h.ID]) > 0 {
		knot[0].lines = append(knot[0].lines, "Rating in question")
	}
	left, right := c.barriers(before), c.barriers(after)
	columns := []struct {
		x     int
		boxes []tieBox
	}{{0, causes}, {tieBefore, left}, {tieMiddle, knot}, {tieAfter, right}, {tieOutcome, outcomes}}
	height := 0
	for _, col := range columns {
		height = max(height, stacked(col.boxes))
	}
	for _, col := range columns {
		y := tieHead + (height-stacked(col.boxes))/2
		for i := range col.boxes {
			col.boxes[i].x, col.boxes[i].y = col.x, y
			y += col.boxes[i].height() + tieGap
		}
	}
	summary := fmt.Sprintf("%s, %s before the hazard (design) and %s after it (training, business process). Evidence: %s.",
		plural(uint64(len(h.Causes)), "cause", "causes"), plural(uint64(len(before)), "barrier", "barriers"),
		plural(uint64(len(after)), "barrier", "barriers"), c.evidenceOf(c.ControlsOf(h.ID)))
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg class="app-bowtie__plot" viewBox="0 0 %d %d" role="img" aria-label="%s" focusable="false">`,
		tieWidth, height+tieHead+2, template.HTMLEscapeString("Bow-tie of "+h.ID+". "+summary+" The table below says the same."))
	heads(&svg)
	wires(&svg, causes, knot[0], outcomes)
	for _, col := range columns {
		for _, b := range col.boxes {
			b.draw(&svg)
		}
	}
	svg.WriteString(`</svg>`)
	return &picture{ID: "bow-tie", Title: "Bow-tie", Summary: summary, SVG: template.HTML(svg.String())} //nolint:gosec // built here from numbers and escaped text only
}

func (c safetyCase) barriers(controls []hazardlog.Control) []tieBox {
	boxes := make([]tieBox, 0, len(controls))
	for _, x := range controls {
		state := c.report.State(x.ID)
		boxes = append(boxes, tieBox{w: tieBarrier, class: "barrier", barrier: true, state: state, lines: []string{x.ID, evidenceTag(state).Text}})
	}
	return boxes
}

func stacked(boxes []tieBox) int {
	sum := 0
	for _, b := range boxes {
		sum += b.height() + tieGap
	}
	return max(0, sum-tieGap)
}

func heads(svg *strings.Builder) {
	for _, h := range []struct {
		x    int
		text string
	}{{0, "Causes"}, {tieBefore, "Barriers before"}, {tieMiddle, "Hazard"}, {tieAfter, "Barriers after"}, {tieOutcome, "What follows"}} {
		fmt.Fprintf(svg, `<text class="app-bowtie__head" x="%d" y="16">%s</text>`, h.x, h.text)
	}
}

// wires lead from every cause through the barriers to the hazard, and on.
func wires(svg *strings.Builder, causes []tieBox, knot tieBox, outcomes []tieBox) {
	wire := func(x1, y1, x2, y2 int) {
		mid := (x1 + x2) / 2
		fmt.Fprintf(svg, `<path class="app-bowtie__wire" d="M%d %dC%d %d %d %d %d %d"/>`, x1, y1, mid, y1, mid, y2, x2, y2)
	}
	for _, b := range causes {
		wire(tieCause, b.middle(), tieMiddle, knot.middle())
	}
	for _, b := range outcomes {
		wire(tieMiddle+tieKnot, knot.middle(), tieOutcome, b.middle())
	}
}

func (b tieBox) draw(svg *strings.Builder) {
	class := "app-bowtie__" + b.class
	if b.barrier {
		class += " app-bowtie__barrier--" + strings.ReplaceAll(stateName(b.state), " ", "-")
	}
	fmt.Fprintf(svg, `<g class="%s"><rect x="%d" y="%d" width="%d" height="%d" rx="3"/>`, class, b.x+1, b.y, b.w-2, b.height())
	x := b.x + tiePad
	if b.barrier {
		b.mark(svg)
		x += 24
	}
	for i, line := range b.lines {
		weight := ""
		if i == 0 && b.class != "cause" {
			weight = ` class="app-bowtie__first"`
		}
		top := b.y + tiePad - 2
		if !b.barrier {
			top = b.y + tiePad
		}
		fmt.Fprintf(svg, `<text%s x="%d" y="%d">%s</text>`, weight, x, top+i*tieLine+14, template.HTMLEscapeString(line))
	}
	svg.WriteString(`</g>`)
}

// mark draws the state of a barrier as a shape: a tick, a half, a cross, a clock, or
// an empty ring.
func (b tieBox) mark(svg *strings.Builder) {
	cx, cy := b.x+17, b.middle()
	fmt.Fprintf(svg, `<circle class="app-bowtie__ring" cx="%d" cy="%d" r="8"/>`, cx, cy)
	shape := ""
	switch b.state {
	case hazardlog.Supported:
		shape = fmt.Sprintf("M%d %dl3 3l5 -6", cx-4, cy)
	case hazardlog.Contradicted:
		shape = fmt.Sprintf("M%d %dl8 8m0 -8l-8 8", cx-4, cy-4)
	case hazardlog.Stale:
		shape = fmt.Sprintf("M%d %dv5l4 2", cx, cy-5)
	case hazardlog.NotEnough:
		shape = fmt.Sprintf("M%d %dh8", cx-4, cy)
	case hazardlog.NotMeasured:
		return
	}
	fmt.Fprintf(svg, `<path class="app-bowtie__mark" d="%s"/>`, shape)
}

// stateName is the state as a word of a class.
func stateName(v hazardlog.EvidenceState) string {
	return strings.ToLower(evidenceTag(v).Text)
}

// wrapped breaks a text into at most that many lines of at most that many characters;
// what is cut off ends with an ellipsis.
func wrapped(text string, chars, most int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > chars { // a word longer than the box
			runes := []rune(word)
			lines, line, word = append(lines, strings.TrimSpace(line+" "+string(runes[:chars-1]))+"-"), "", string(runes[chars-1:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= chars:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	if len(lines) > most {
		lines = lines[:most]
		last := []rune(lines[most-1])
		lines[most-1] = strings.TrimRight(string(last[:min(len(last), chars-1)]), " ,.;") + "…"
	}
	return lines
}

// bowTieTable says what the picture shows, with every text in full.
func (c safetyCase) bowTieTable(h hazardlog.Hazard) table {
	t := table{
		ID: "bow-tie-table", Caption: caption{Text: "Bow-tie as a table", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Part"), text("Id"), text("What it is"), text("Since"), text("Implemented"), text("Effective")},
	}
	none := cell{Class: "app-table__empty"}
	row := func(part, what string) {
		t.Rows = append(t.Rows, []cell{text(part), none, text(what), none, none, none})
	}
	barrier := func(part string, x hazardlog.Control) {
		since := "Before the gateway"
		if x.Timing == hazardlog.Additional {
			since = "With the gateway"
		}
		got := c.report.Controls[x.ID]
		t.Rows = append(t.Rows, []cell{
			text(part),
			{Text: x.ID, Href: controlHref(x.ID), Class: "app-table__id"},
			text(x.Text + " (" + string(x.Type) + ", " + string(x.Status) + ")"), text(since),
			tagged(evidenceTag(got.Implemented.State)), tagged(evidenceTag(got.Effective.State)),
		})
	}
	before, after := c.sides(h.ID)
	for _, cause := range h.Causes {
		row("Cause", cause)
	}
	for _, x := range before {
		barrier("Barrier before", x)
	}
	row("Hazard", h.ID+" "+h.Name)
	for _, x := range after {
		barrier("Barrier after", x)
	}
	row("Effect", h.Effect)
	row("Hazard for care", h.Hazard)
	row("Harm", h.Harm)
	return t
}
