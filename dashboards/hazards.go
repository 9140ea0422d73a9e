package dashboards

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// hazardsPage is the hazard log with its matrix.
type hazardsPage struct {
	chrome
	Approval summaryList
	Toggle   []navItem
	Matrix   matrix
	Filtered string
	All      *pageLink
	Table    table
	Empty    *insetText
}

// matrix is the 5x5 table.
type matrix struct {
	Caption    string
	Severities []string
	Rows       []matrixRow
	Unrated    string
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
	Current bool
}

// hazards shows the log by initial or residual rating, narrowed to a cell.
func (s *Site) hazards(r *http.Request) (answer, error) {
	log, err := s.hazardLog(r)
	if err != nil {
		return answer{}, err
	}
	page := hazardsPage{chrome: s.chrome(r, "Hazard log")}
	if len(log.Hazards) == 0 {
		page.Empty = &insetText{Text: "No hazard log is loaded. What could harm a patient is unknown here, which does not mean that nothing could."}
		return answer{template: "hazards", view: page}, nil
	}
	query := r.URL.Query()
	initial := query.Get("rating") == "initial"
	page.Approval = summaryList{Rows: []summaryRow{
		{text("Log"), text(log.Title)},
		{text("Approval"), approvalCell(log)},
	}}
	page.Toggle = []navItem{
		{Text: "Residual risk, with every control", Href: Base + "hazards", Current: !initial},
		{Text: "Initial risk, before the controls", Href: Base + "hazards?rating=initial", Current: initial},
	}
	counts, rating := log.ResidualMatrix(), func(h hazardlog.Hazard) hazardlog.Rating { return h.Residual }
	name := "Residual risk: hazards by likelihood and severity"
	if initial {
		counts, rating = log.InitialMatrix(), func(h hazardlog.Hazard) hazardlog.Rating { return h.Initial }
		name = "Initial risk: hazards by likelihood and severity"
	}
	shown, cell, narrowed := narrow(log, rating, query.Get("severity"), query.Get("likelihood"))
	page.Matrix = matrixOf(log.Standard, name, counts, initial, cell)
	page.Table = s.hazardTable(log, shown)
	if narrowed {
		page.Filtered = fmt.Sprintf("%s with likelihood %s and severity %s.", plural(uint64(len(shown)), "hazard", "hazards"), cell.Likelihood, cell.Severity)
		all := Base + "hazards"
		if initial {
			all += "?rating=initial"
		}
		page.All = &pageLink{Label: "Show every hazard", Href: all}
	}
	return answer{template: "hazards", view: page}, nil
}

// narrow keeps the hazards of one cell. Words outside the matrix narrow
// nothing, so that a mistake in an address hides no hazard.
func narrow(log hazardlog.Log, rating func(hazardlog.Hazard) hazardlog.Rating, severity, likelihood string) ([]hazardlog.Hazard, hazardlog.Rating, bool) {
	want := log.Standard.Rate(hazardlog.Rating{Severity: hazardlog.Severity(severity), Likelihood: hazardlog.Likelihood(likelihood)})
	if !want.Risk().Rated() {
		return log.Hazards, hazardlog.Rating{}, false
	}
	var shown []hazardlog.Hazard
	for _, h := range log.Hazards {
		if r := rating(h); r.Severity == want.Severity && r.Likelihood == want.Likelihood {
			shown = append(shown, h)
		}
	}
	return shown, want, true
}

// matrixOf lays the counts out; every cell carries its risk in words.
func matrixOf(standard *hazardlog.Standard, name string, counts hazardlog.Matrix, initial bool, current hazardlog.Rating) matrix {
	m := matrix{Caption: name}
	for _, v := range standard.Severities {
		m.Severities = append(m.Severities, string(v))
	}
	for _, row := range counts.Rows {
		out := matrixRow{Likelihood: string(row.Likelihood)}
		for _, c := range row.Cells {
			cell := matrixCell{Risk: int(c.Risk), Words: "Risk " + strconv.Itoa(int(c.Risk))}
			cell.Current = c.Severity == current.Severity && c.Likelihood == current.Likelihood
			if len(c.Hazards) > 0 {
				cell.Count = plural(uint64(len(c.Hazards)), "hazard", "hazards")
				cell.Label = fmt.Sprintf("with likelihood %s and severity %s", c.Likelihood, c.Severity)
				cell.Href = address(Base+"hazards", cellQuery(c, initial))
			}
			out.Cells = append(out.Cells, cell)
		}
		m.Rows = append(m.Rows, out)
	}
	if counts.Unrated > 0 {
		m.Unrated = plural(uint64(counts.Unrated), "hazard is", "hazards are") + " not rated and in no cell."
	}
	return m
}

func cellQuery(c hazardlog.Cell, initial bool) map[string][]string {
	q := map[string][]string{"severity": {string(c.Severity)}, "likelihood": {string(c.Likelihood)}}
	if initial {
		q["rating"] = []string{"initial"}
	}
	return q
}

// hazardTable lists hazards with both ratings.
func (s *Site) hazardTable(log hazardlog.Log, all []hazardlog.Hazard) table {
	t := table{
		ID: "hazards", Caption: caption{Text: "Hazards", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("Hazard"), text("Initial"), text("Residual"), text("Status"), text("Owner"), text("Controls verified"), text("Evidence")},
	}
	for _, h := range all {
		t.Rows = append(t.Rows, []cell{
			{Text: h.ID, Class: "app-table__id"},
			link(h.Name, Base+"hazards/"+h.ID),
			tagged(riskTag(h.Initial.Risk())),
			tagged(riskTag(h.Residual.Risk())),
			text(string(h.Status)),
			text(h.Owner),
			text(verified(log.ControlsOf(h.ID))),
			text("Not measured yet"),
		})
	}
	return t
}

func verified(controls []hazardlog.Control) string {
	n := 0
	for _, c := range controls {
		if c.Status == hazardlog.Verified {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(controls))
}

// riskTag names a risk; one that is not rated is never shown as low.
func riskTag(v hazardlog.Risk) tag {
	if !v.Rated() {
		return tag{Text: "Not rated", Colour: "grey"}
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

// transferText is what other organisations must do, and what they said to that.
func transferText(transfers []hazardlog.Transfer) string {
	var parts []string
	for _, t := range transfers {
		text := t.Condition
		if t.State != hazardlog.Offered {
			text += " (" + string(t.State) + " by " + t.To + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// hazardPage is one hazard: cause, control, hazard, harm.
type hazardPage struct {
	chrome
	Back     backLink
	ID       string
	Heading  string
	Chain    summaryList
	Causes   []string
	Ratings  table
	Controls table
	Transfer string
}

// hazard shows one hazard with what is known of its controls.
func (s *Site) hazard(r *http.Request) (answer, error) {
	id := r.PathValue("id")
	log, err := s.hazardLog(r)
	if err != nil {
		return answer{}, err
	}
	h, ok := log.Find(id)
	if !ok {
		return answer{}, errOpaque
	}
	return answer{template: "hazard", view: hazardPage{
		chrome:  s.chrome(r, h.ID+": "+h.Name),
		Back:    backLink{Text: "Hazard log", Href: Base + "hazards"},
		ID:      h.ID,
		Heading: h.Name,
		Chain: summaryList{Rows: []summaryRow{
			{text("Effect"), text(h.Effect)},
			{text("Hazard"), text(h.Hazard)},
			{text("Harm"), text(h.Harm)},
			{text("Status"), text(string(h.Status))},
			{text("Owner"), text(h.Owner)},
			{text("Approval"), approvalCell(log)},
		}},
		Causes:   h.Causes,
		Ratings:  ratingTable(log.Standard, h),
		Controls: controlTable(log.ControlsOf(h.ID)),
		Transfer: transferText(log.TransfersOf(h.ID)),
	}}, nil
}

func ratingTable(standard *hazardlog.Standard, h hazardlog.Hazard) table {
	t := table{
		ID: "ratings", Caption: caption{Text: "Ratings", Size: "m"}, FirstCellIsHeader: true, Compact: true, Responsive: true,
		Head: []cell{text("Rating"), text("Severity"), text("Likelihood"), text("Risk"), text("What the risk asks for"), text("Why"), text("Assessed by")},
	}
	add := func(name string, v hazardlog.Rating) {
		t.Rows = append(t.Rows, []cell{
			text(name), text(orNotRated(string(v.Severity))), text(orNotRated(string(v.Likelihood))),
			tagged(riskTag(v.Risk())), text(standard.Level(v.Risk()).Meaning), text(v.Justification), text(assessedBy(v)),
		})
	}
	add("Initial", h.Initial)
	add("Residual", h.Residual)
	return t
}

func orNotRated(s string) string {
	if s == "" {
		return "Not rated"
	}
	return s
}

func controlTable(controls []hazardlog.Control) table {
	t := table{
		ID: "controls", Caption: caption{Text: "Controls", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Control"), text("Id"), text("Type"), text("Since"), text("State"), text("Evidence")},
	}
	for _, c := range controls {
		since := "Before the gateway"
		if c.Timing == hazardlog.Additional {
			since = "With the gateway"
		}
		t.Rows = append(t.Rows, []cell{
			text(c.Text),
			{Text: c.ID, Class: "app-table__id"},
			text(sentenceCase(string(c.Type))), text(since),
			tagged(controlTag(c.Status)), text("Not measured yet"),
		})
	}
	return t
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
