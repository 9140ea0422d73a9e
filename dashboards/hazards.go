package dashboards

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// matrix is the 5x5 table.
type matrix struct {
	Caption    string
	Severities []string
	Rows       []matrixRow
	Unrated    string
	Note       string
}

type matrixRow struct {
	Likelihood string
	Cells      []matrixCell
}

type matrixCell struct {
	Risk    int
	Words   string // "Risk 3"
	Count   string // "2 hazards"
	Href    string // "" when no hazard stands there
	Label   string // of the link, for screen readers
	Doubt   string // "1 in question"
	Current bool
}

// hazardView is which rating the log is shown by.
type hazardView string

// The views. Today is the residual rating as it was signed, with what the evidence
// says of it: software moves no hazard.
const (
	byResidual hazardView = ""
	byInitial  hazardView = "initial"
	byToday    hazardView = "today"
)

func (v hazardView) rating(h hazardlog.Hazard) hazardlog.Rating {
	if v == byInitial {
		return h.Initial
	}
	return h.Residual
}

// hazards shows the log beside the matrix, by one of the views, narrowed as the
// address says.
func (s *Site) hazards(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Hazard log", "Hazard log")
	if !c.loaded() || len(c.Hazards) == 0 {
		page.add(noLog())
		return answer{template: "safety", view: page}, nil
	}
	query := r.URL.Query()
	view := hazardView(query.Get("rating"))
	if view != byInitial && view != byToday {
		view = byResidual
	}
	page.Caption = c.Title
	page.add(safetyPart{Facts: &summaryList{Rows: []summaryRow{{text("Approval"), approvalCell(c.Log)}}}})
	narrowed := narrow(c, view, query)
	board := safetyPart{Class: "beside", Views: views(view), Matrix: c.matrixOf(view, narrowed.cell)}
	list := c.hazardTable(narrowed.shown)
	list.Caption.Text = plural(uint64(len(narrowed.shown)), "hazard", "hazards") + narrowed.words
	board.Tables = []table{list}
	if narrowed.words != "" {
		board.Links = []pageLink{{"Show every hazard", address(hazardsBase, with(url.Values{}, "rating", string(view)))}}
	}
	page.add(safetyPart{Forms: []pageForm{filterForm(c, view, query)}})
	page.add(board)
	if s.mayEdit(r) {
		page.add(safetyPart{Links: []pageLink{{"Add a hazard", safetyBase + "/new/hazard"}}})
	}
	return answer{template: "safety", view: page}, nil
}

func views(current hazardView) []navItem {
	return []navItem{
		{Text: "Residual risk, with every control", Href: hazardsBase, Current: current == byResidual},
		{Text: "Initial risk, before the controls", Href: hazardsBase + "?rating=initial", Current: current == byInitial},
		{Text: "Today, with the evidence", Href: hazardsBase + "?rating=today", Current: current == byToday},
	}
}

// narrowing is the hazards that an address asks for, and in words why.
type narrowing struct {
	shown []hazardlog.Hazard
	cell  hazardlog.Rating
	words string
}

// narrow keeps the hazards that the query asks for. Words that mean nothing narrow
// nothing, so that a mistake in an address hides no hazard.
func narrow(c safetyCase, view hazardView, query url.Values) narrowing {
	n := narrowing{shown: c.Hazards}
	keep := func(words string, keep func(hazardlog.Hazard) bool) {
		var kept []hazardlog.Hazard
		for _, h := range n.shown {
			if keep(h) {
				kept = append(kept, h)
			}
		}
		n.shown = kept
		n.words += ", " + words
	}
	at := c.Standard.Rate(hazardlog.Rating{Severity: hazardlog.Severity(query.Get("severity")), Likelihood: hazardlog.Likelihood(query.Get("likelihood"))})
	if at.Risk().Rated() {
		n.cell = at
		keep(fmt.Sprintf("with likelihood %s and severity %s", at.Likelihood, at.Severity), func(h hazardlog.Hazard) bool {
			r := view.rating(h)
			return r.Severity == at.Severity && r.Likelihood == at.Likelihood
		})
	}
	for _, f := range filters(c) {
		for _, o := range f.options {
			if value := query.Get(f.name); value != "" && o.Value == value {
				keep(f.words+strings.ToLower(o.Text[:1])+o.Text[1:], func(h hazardlog.Hazard) bool { return f.keep(c, view, h, value) })
			}
		}
	}
	return n
}

// filter is one choice above the log.
type hazardFilter struct {
	name, label, words string
	options            []option
	keep               func(c safetyCase, view hazardView, h hazardlog.Hazard, value string) bool
}

func filters(c safetyCase) []hazardFilter {
	risk := hazardFilter{name: "risk", label: "Risk", options: []option{{Value: "3+", Text: "Risk 3 or more"}, {Value: "0", Text: "Not rated"}}}
	for _, l := range c.Standard.Levels {
		risk.options = append(risk.options, option{Value: l.Risk.String(), Text: "Risk " + l.Risk.String()})
	}
	risk.keep = func(_ safetyCase, view hazardView, h hazardlog.Hazard, value string) bool {
		got := view.rating(h).Risk()
		return value == "3+" && got >= 3 || value == "0" && !got.Rated() || got.Rated() && got.String() == value
	}
	status := hazardFilter{name: "status", label: "Status", words: "status ", keep: func(_ safetyCase, _ hazardView, h hazardlog.Hazard, value string) bool {
		return string(h.Status) == value
	}}
	for _, v := range c.Standard.Statuses {
		status.options = append(status.options, option{Value: string(v), Text: string(v)})
	}
	owner := hazardFilter{name: "owner", label: "Owner", words: "owner ", keep: func(_ safetyCase, _ hazardView, h hazardlog.Hazard, value string) bool {
		return h.Owner == value
	}}
	for _, h := range c.Hazards {
		if !slices.ContainsFunc(owner.options, func(o option) bool { return o.Value == h.Owner }) {
			owner.options = append(owner.options, option{Value: h.Owner, Text: h.Owner})
		}
	}
	state := hazardFilter{name: "evidence", label: "Evidence", words: "evidence ", options: []option{{Value: "question", Text: "Rating in question"}}}
	for _, w := range evidenceWords() {
		state.options = append(state.options, option{Value: cmp.Or(string(w.State), "none"), Text: w.Text + " for a control"})
	}
	state.keep = func(c safetyCase, _ hazardView, h hazardlog.Hazard, value string) bool {
		if value == "question" {
			return len(c.question[h.ID]) > 0
		}
		return slices.ContainsFunc(c.ControlsOf(h.ID), func(x hazardlog.Control) bool {
			return cmp.Or(string(c.report.State(x.ID)), "none") == value
		})
	}
	return []hazardFilter{risk, status, state, owner}
}

// filterForm narrows the log without scripts.
func filterForm(c safetyCase, view hazardView, query url.Values) pageForm {
	f := pageForm{Method: "get", Action: hazardsBase, Class: "app-filter", Submit: button{Text: "Filter", Variant: "secondary", Small: true}}
	for _, name := range []string{"severity", "likelihood"} {
		if v := query.Get(name); v != "" {
			f.Hidden = append(f.Hidden, hidden{name, v})
		}
	}
	if view != byResidual {
		f.Hidden = append(f.Hidden, hidden{"rating", string(view)})
	}
	for _, filter := range filters(c) {
		field := selectField{ID: "filter-" + filter.name, Name: filter.name, Label: label{Text: filter.label}, Items: []option{{Text: "Any"}}}
		for _, o := range filter.options {
			o.Selected = o.Value == query.Get(filter.name)
			field.Items = append(field.Items, o)
		}
		f.Controls = append(f.Controls, formControl{Select: &field})
	}
	return f
}

// matrixOf lays the counts out; every cell carries its risk in words.
func (c safetyCase) matrixOf(view hazardView, current hazardlog.Rating) *matrix {
	counts, m := c.ResidualMatrix(), matrix{Caption: "Residual risk: hazards by likelihood and severity"}
	switch view {
	case byInitial:
		counts, m.Caption = c.InitialMatrix(), "Initial risk: hazards by likelihood and severity"
	case byToday:
		m.Caption = "Today: residual risk as rated, and what the evidence says of it"
		m.Note = "A hazard stays where a clinician rated it. Where the evidence for a control contradicts the rating, the cell says so; only a clinical safety officer rates it anew."
	case byResidual:
	}
	for _, v := range c.Standard.Severities {
		m.Severities = append(m.Severities, string(v))
	}
	for _, row := range counts.Rows {
		out := matrixRow{Likelihood: string(row.Likelihood)}
		for _, at := range row.Cells {
			cell := matrixCell{Risk: int(at.Risk), Words: "Risk " + strconv.Itoa(int(at.Risk))}
			cell.Current = at.Severity == current.Severity && at.Likelihood == current.Likelihood
			if len(at.Hazards) > 0 {
				cell.Count = plural(uint64(len(at.Hazards)), "hazard", "hazards")
				cell.Label = fmt.Sprintf("with likelihood %s and severity %s", at.Likelihood, at.Severity)
				cell.Href = address(hazardsBase, with(url.Values{}, "severity", string(at.Severity), "likelihood", string(at.Likelihood), "rating", string(view)))
			}
			if n := c.inQuestion(at.Hazards); n > 0 && view != byInitial {
				cell.Doubt = fmt.Sprintf("%d in question", n)
			}
			out.Cells = append(out.Cells, cell)
		}
		m.Rows = append(m.Rows, out)
	}
	if counts.Unrated > 0 {
		m.Unrated = plural(uint64(counts.Unrated), "hazard is", "hazards are") + " not rated and in no cell."
	}
	return &m
}

// inQuestion counts the hazards whose rating the evidence contradicts.
func (c safetyCase) inQuestion(hazards []string) int {
	n := 0
	for _, id := range hazards {
		if len(c.question[id]) > 0 {
			n++
		}
	}
	return n
}

// hazardTable lists hazards with both ratings.
func (c safetyCase) hazardTable(all []hazardlog.Hazard) table {
	t := table{
		ID: "hazards", Caption: caption{Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("Hazard"), text("Initial"), text("Residual"), text("Status"), text("Evidence")},
	}
	for _, h := range all {
		initial := tagged(riskTag(h.Initial))
		initial.Lines = proposedLine(h.Initial)
		t.Rows = append(t.Rows, []cell{
			{Text: h.ID, Class: "app-table__id"},
			link(h.Name, hazardsBase+"/"+h.ID), initial, c.risk(h, h.Residual),
			text(string(h.Status)), text(c.evidenceOf(c.ControlsOf(h.ID))),
		})
	}
	return t
}

// riskTag names the risk of a rating. One that is not rated, or that no clinician
// stands behind, is never shown as if it were acceptable.
func riskTag(r hazardlog.Rating) tag {
	v := r.Risk()
	switch {
	case !v.Rated():
		return tag{Text: "Not rated", Colour: "grey"}
	case v < 3 && !r.Owned():
		return tag{Text: "Risk " + v.String(), Colour: "white"}
	}
	colour := [5]string{"green", "green", "yellow", "orange", "red"}[v-1]
	return tag{Text: "Risk " + strconv.Itoa(int(v)), Colour: colour}
}

// hazardLog reads the log; without a reader there is none.
func (s *Site) hazardLog(r *http.Request) (hazardlog.Log, error) {
	if s.cfg.Hazards == nil {
		return hazardlog.Log{}, nil
	}
	log, err := s.cfg.Hazards.Hazards(r.Context())
	if err != nil {
		return hazardlog.Log{}, unavailable("hazards", err)
	}
	return log, nil
}

// assessedBy names the clinician who owns a rating.
func assessedBy(r hazardlog.Rating) string {
	switch {
	case r.Owned():
		return r.By
	case r.Risk().Rated():
		return "Nobody: it is proposed"
	}
	return "Nobody"
}

func orNotRated(s string) string {
	if s == "" {
		return "Not rated"
	}
	return s
}

func controlTag(v hazardlog.ControlStatus) tag {
	switch v {
	case hazardlog.Verified:
		return tag{Text: "Verified", Colour: "green"}
	case hazardlog.Implemented:
		return tag{Text: "Implemented", Colour: "blue"}
	case hazardlog.InPlace:
		return tag{Text: "In place", Colour: "blue"}
	case hazardlog.Proposed:
	}
	return tag{Text: "Proposed", Colour: "grey"}
}
