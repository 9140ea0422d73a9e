package workbook

import (
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// table is a sheet with a row for each subject of a kind: what the 28 columns have
// no place for.
type table[V hazardlog.Value] struct {
	sheet   string
	columns []column[V]
}

// column is a field of such a sheet. Without set it is for readers only.
type column[V any] struct {
	head  string
	width float64
	get   func(V) string
	set   func(*V, string)
}

// Columns that every such sheet begins with.
const (
	idHead       = "No."
	revisionHead = "Revision"
)

func ids(list []string) string { return strings.Join(list, ", ") }

func ofIDs(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == '\n' })
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// plain is a column of text.
func plain[V any](head string, width float64, at func(*V) *string) column[V] {
	return column[V]{head, width, func(v V) string { return *at(&v) }, func(v *V, text string) { *at(v) = kept(*at(v), text) }}
}

func details() table[hazardlog.Hazard] {
	type hazard = hazardlog.Hazard
	conditions := column[hazard]{"Conditions", 14, func(h hazard) string {
		var list []string
		for _, c := range h.Conditions {
			list = append(list, string(c))
		}
		return ids(list)
	}, func(h *hazard, text string) {
		h.Conditions = nil
		for _, c := range ofIDs(text) {
			h.Conditions = append(h.Conditions, hazardlog.Condition(c))
		}
	}}
	list := func(head string, width float64, at func(*hazard) *[]string) column[hazard] {
		return column[hazard]{head, width, func(h hazard) string { return inLines(*at(&h)) }, func(h *hazard, text string) {
			*at(h) = keptList(*at(h), joined(ofLines(text)))
		}}
	}
	rating := func(name string, at func(*hazard) *hazardlog.Rating) []column[hazard] {
		return []column[hazard]{
			plain(name+" consequence", 16, func(h *hazard) *string { return &at(h).Consequence }),
			{name + " patients", 12, func(h hazard) string { return string(at(&h).Patients) }, func(h *hazard, text string) {
				at(h).Patients = hazardlog.Patients(text)
			}},
			{head: name + " rating stands", width: 26, get: func(h hazard) string { return standing(*at(&h)) }},
		}
	}
	initial := func(h *hazard) *hazardlog.Rating { return &h.Initial }
	residual := func(h *hazard) *hazardlog.Rating { return &h.Residual }
	t := table[hazard]{sheet: "Hazard Details", columns: []column[hazard]{
		plain("Name", 40, func(h *hazard) *string { return &h.Name }),
		conditions,
		list("Types", 24, func(h *hazard) *[]string { return &h.Types }),
		{"Review due", 14, func(h hazard) string { return string(h.Review) }, func(h *hazard, text string) { h.Review = hazardlog.Day(text) }},
	}}
	t.columns = append(t.columns, rating("Initial", initial)...)
	t.columns = append(t.columns, rating("Residual", residual)...)
	return table[hazard]{t.sheet, append(
		t.columns,
		plain("Why the severity is lower", 30, func(h *hazard) *string { return &h.Residual.Lowered }),
		column[hazard]{head: "Residual risk accepted", width: 40, get: accepted},
		list("Notes", 40, func(h *hazard) *[]string { return &h.Notes }),
	)}
}

// standing says whose a rating is.
func standing(r hazardlog.Rating) string {
	switch {
	case !r.Risk().Rated():
		return "not rated"
	case r.Owned():
		return "assessed by " + r.By
	}
	return "proposed: no clinician has assessed it"
}

func accepted(h hazardlog.Hazard) string {
	a := h.Acceptance
	if !a.Accepted {
		return "no"
	}
	return strings.TrimSpace("by " + a.By + ": " + a.Reason + " " + a.Benefit)
}

func controls() table[hazardlog.Control] {
	type control = hazardlog.Control
	return table[control]{"Controls", []column[control]{
		{head: "Hazards", width: 16, get: func(c control) string { return ids(c.Hazards) }},
		{head: "Type", width: 16, get: func(c control) string { return string(c.Type) }},
		{head: "Timing", width: 12, get: func(c control) string { return string(c.Timing) }},
		{"Status", 14, func(c control) string { return string(c.Status) }, func(c *control, text string) {
			c.Status = hazardlog.ControlStatus(text)
		}},
		{head: "Control", width: 50, get: func(c control) string { return clean(c.Text) }},
		plain("Does it bring hazards?", 14, func(c *control) *string { return &c.NewHazards.Answer }),
		plain("Why not", 40, func(c *control) *string { return &c.NewHazards.Reason }),
		{"Which hazards", 16, func(c control) string { return ids(c.NewHazards.Hazards) }, func(c *control, text string) {
			c.NewHazards.Hazards = ofIDs(text)
		}},
		plain("Common cause", 40, func(c *control) *string { return &c.CommonCause }),
		{"Documents (slot | title | link | of | review by)", 60, func(c control) string {
			var lines []string
			for _, d := range c.Documents {
				lines = append(lines, strings.Join([]string{string(d.Slot), d.Title, d.Link, string(d.On), string(d.Review)}, " | "))
			}
			return inLines(lines)
		}, func(c *control, text string) { c.Documents = documents(text) }},
	}}
}

// documents reads written evidence back. What is no such line becomes a title alone,
// which the log refuses by name.
func documents(text string) []hazardlog.Document {
	var list []hazardlog.Document
	for _, line := range joined(ofLines(text)) {
		parts := strings.Split(line, " | ")
		n := len(parts)
		if n < 5 {
			list = append(list, hazardlog.Document{Title: line})
			continue
		}
		list = append(list, hazardlog.Document{
			Slot: hazardlog.EvidenceSlot(parts[0]), Title: strings.Join(parts[1:n-3], " | "), Link: parts[n-3],
			On: hazardlog.Day(parts[n-2]), Review: hazardlog.Day(parts[n-1]),
		})
	}
	return list
}

func incidents() table[hazardlog.Incident] {
	type incident = hazardlog.Incident
	flag := func(head string, at func(*incident) *bool) column[incident] {
		return column[incident]{head, 10, func(i incident) string { return yes(*at(&i)) }, func(i *incident, text string) { *at(i) = folded(text) == "yes" }}
	}
	return table[incident]{"Incidents", []column[incident]{
		{"Date", 14, func(i incident) string { return string(i.On) }, func(i *incident, text string) { i.On = hazardlog.Day(text) }},
		plain("What happened", 50, func(i *incident) *string { return &i.Text }),
		flag("Harm", func(i *incident) *bool { return &i.Harm }),
		{"Hazards", 16, func(i incident) string { return ids(i.Hazards) }, func(i *incident, text string) { i.Hazards = ofIDs(text) }},
		plain("Reference", 20, func(i *incident) *string { return &i.Reference }),
		plain("Assessment", 40, func(i *incident) *string { return &i.Assessment }),
		plain("Resolution", 40, func(i *incident) *string { return &i.Resolution }),
		flag("Resolved", func(i *incident) *bool { return &i.Resolved }),
	}}
}

func decisions() table[hazardlog.Decision] {
	type decision = hazardlog.Decision
	return table[decision]{"Decisions", []column[decision]{
		{"Date", 14, func(d decision) string { return string(d.On) }, func(d *decision, text string) { d.On = hazardlog.Day(text) }},
		plain("Decision", 50, func(d *decision) *string { return &d.Text }),
		plain("Reason", 50, func(d *decision) *string { return &d.Reason }),
		{"Hazards", 16, func(d decision) string { return ids(d.Hazards) }, func(d *decision, text string) { d.Hazards = ofIDs(text) }},
	}}
}

func transfers() table[hazardlog.Transfer] {
	type transfer = hazardlog.Transfer
	return table[transfer]{"Transfers", []column[transfer]{
		plain("Hazard", 12, func(t *transfer) *string { return &t.Hazard }),
		plain("Control", 12, func(t *transfer) *string { return &t.Control }),
		plain("What the recipient must do", 50, func(t *transfer) *string { return &t.Condition }),
		plain("To", 30, func(t *transfer) *string { return &t.To }),
		{head: "Answer", width: 14, get: func(t transfer) string { return string(t.State) }},
		{head: "Reason of the answer", width: 30, get: func(t transfer) string { return t.Reason }},
		{head: "Answered by", width: 24, get: func(t transfer) string { return t.By }},
	}}
}

func reviews() table[hazardlog.Review] {
	type review = hazardlog.Review
	day := func(head string, at func(*review) *hazardlog.Day) column[review] {
		return column[review]{head, 14, func(r review) string { return string(*at(&r)) }, func(r *review, text string) { *at(r) = hazardlog.Day(text) }}
	}
	return table[review]{"Reviews", []column[review]{
		plain("Of", 40, func(r *review) *string { return &r.Of }),
		day("Due", func(r *review) *hazardlog.Day { return &r.Due }),
		day("Done", func(r *review) *hazardlog.Day { return &r.Done }),
		plain("Outcome", 50, func(r *review) *string { return &r.Outcome }),
	}}
}
