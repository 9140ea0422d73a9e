package dashboards

import (
	"fmt"
	"html/template"
	"strings"
)

// bar is one column of a bar chart.
type bar struct {
	Label string // for the table
	Value uint64
}

const (
	barStep   = 10
	barWidth  = 8
	barHeight = 100
)

// barChart draws bars on a shared scale from nought to the highest. The picture
// holds no text, so that text keeps its size on every screen; what it says
// stands beside it in words and, bar by bar, in the table.
func barChart(id, title, summary, unit string, bars []bar) chart {
	top := uint64(1)
	for _, b := range bars {
		top = max(top, b.Value)
	}
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg class="app-chart__plot" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="%s" focusable="false">`,
		max(len(bars), 1)*barStep, barHeight, template.HTMLEscapeString(title+". "+summary))
	for i, b := range bars {
		h := float64(b.Value) / float64(top) * barHeight
		fmt.Fprintf(&svg, `<rect class="app-chart__bar" x="%d" y="%.1f" width="%d" height="%.1f"/>`, i*barStep, barHeight-h, barWidth, h)
	}
	svg.WriteString(`</svg>`)
	t := table{
		ID: id + "-table", Caption: caption{Text: title, Size: "s"}, Compact: true, FirstCellIsHeader: true,
		Head: []cell{text("Time"), number(unit)},
	}
	for _, b := range bars {
		t.Rows = append(t.Rows, []cell{text(b.Label), number(formatCount(b.Value))})
	}
	return chart{
		ID: id, Title: title, Summary: summary, Top: formatCount(top), First: firstLabel(bars), Last: lastLabel(bars),
		SVG:   template.HTML(svg.String()), //nolint:gosec // built above from numbers and escaped text only
		Table: t,
	}
}

func firstLabel(bars []bar) string {
	if len(bars) == 0 {
		return ""
	}
	return bars[0].Label
}

func lastLabel(bars []bar) string {
	if len(bars) == 0 {
		return ""
	}
	return bars[len(bars)-1].Label
}

// peak says in a sentence when the most happened.
func peak(what string, bars []bar) string {
	var highest bar
	var sum uint64
	for _, b := range bars {
		sum += b.Value
		if b.Value > highest.Value {
			highest = b
		}
	}
	if sum == 0 {
		return "No " + what + " in this hour."
	}
	return fmt.Sprintf("%s %s in this hour, at most %s in the minute of %s.", formatCount(sum), what, formatCount(highest.Value), highest.Label)
}
