package dashboards

import (
	"html/template"
	"strings"
)

// The types in this file are the arguments of the component templates, which
// give the markup of nhsuk-frontend for the options used here. Their names are
// those of the design system's macros.

type tag struct {
	Text   string
	Colour string // white, grey, green, aqua-green, blue, purple, pink, red, orange, yellow
}

type button struct {
	Text    string
	Href    string // a link that looks like a button
	Variant string // secondary, warning …
	Small   bool
}

type insetText struct{ Text string }

type skipLink struct{ Text, Href string }

type backLink struct{ Text, Href string }

type errorItem struct{ Text, Href string }

type errorSummary struct {
	Heading   string
	ErrorList []errorItem
}

// label of a form field. Size is "", s, m, l.
type label struct {
	Text string
	Size string
}

type hint struct{ Text string }

type errorMessage struct{ Text string }

type input struct {
	ID           string
	Name         string
	Label        label
	Hint         *hint
	ErrorMessage *errorMessage
	Value        string
	Autocomplete string
	Width        int // characters
	Spellcheck   *bool
	Code         bool
	Inputmode    string
}

type option struct {
	Value    string
	Text     string
	Selected bool
}

type selectField struct {
	ID           string
	Name         string
	Label        label
	Hint         *hint
	ErrorMessage *errorMessage
	Items        []option
}

type legend struct {
	Text string
	Size string
}

type fieldset struct{ Legend legend }

type radio struct {
	Value   string
	Text    string
	Checked bool
	Hint    *hint
}

type radios struct {
	IDPrefix     string
	Name         string
	Fieldset     fieldset
	Small        bool
	Hint         *hint
	ErrorMessage *errorMessage
	Items        []radio
}

type textarea struct {
	ID           string
	Name         string
	Label        label
	Hint         *hint
	ErrorMessage *errorMessage
	Value        string
	Rows         int
}

// Ordinal is the number that follows the prefix in the id of an item: the first
// item has none, the second has 2.
func (radios) Ordinal(index int) int { return index + 1 }

type checkbox struct {
	Value   string
	Text    string
	Checked bool
	Hint    *hint
}

type checkboxes struct {
	IDPrefix     string
	Name         string
	Fieldset     fieldset
	Small        bool
	Hint         *hint
	ErrorMessage *errorMessage
	Items        []checkbox
}

// Ordinal is as that of radios.
func (checkboxes) Ordinal(index int) int { return index + 1 }

// formControl is one control of a form: one of its fields is set.
type formControl struct {
	Input  *input
	Area   *textarea
	Select *selectField
	Radios *radios
	Checks *checkboxes
}

// pageForm is a form of a page. Method is get or post.
type pageForm struct {
	Method   string
	Action   string
	Class    string
	Hidden   []hidden
	Controls []formControl
	Note     string // above the button
	Submit   button
	Cancel   *pageLink
}

// cell of a table or summary list. Href and Tag are Matron's own additions.
type cell struct {
	Text   string
	Href   string
	Tag    *tag
	Class  string // numeric: app-table__number
	Hidden string // text for screen readers only, after Text
	After  string // text after the link
	Links  []pageLink
	Lines  []string
}

// caption of a table. Hidden keeps it for screen readers where a heading above
// the table says the same.
type caption struct {
	Text   string
	Size   string
	Hidden bool
}

type table struct {
	ID                string
	Caption           caption
	FirstCellIsHeader bool
	Compact           bool
	Striped           bool
	Responsive        bool // one row becomes a block on small screens
	Head              []cell
	Rows              [][]cell
}

// when is a cell that holds a time: it breaks after the day and nowhere else.
func when(t string) cell {
	day, clock, both := strings.Cut(t, ", ")
	if !both {
		return text(t)
	}
	return text(strings.ReplaceAll(day, " ", "\u00a0") + ", " + clock)
}

type summaryRow struct{ Key, Value cell }

type summaryList struct{ Rows []summaryRow }

type pageLink struct{ Label, Href string }

type pagination struct{ Previous, Next *pageLink }

// chart is a picture with its words and its figures.
type chart struct {
	ID      string
	Title   string
	Summary string // one sentence computed from the data
	Top     string // highest value
	First   string // label of the first bar
	Last    string
	SVG     template.HTML
	Table   table
}

func text(s string) cell { return cell{Text: s} }

func number(s string) cell { return cell{Text: s, Class: "app-table__number"} }

func link(s, href string) cell { return cell{Text: s, Href: href} }

func tagged(t tag) cell { return cell{Tag: &t} }
