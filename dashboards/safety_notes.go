package dashboards

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// incidents lists what harmed a patient or could have, the open ones first.
func (s *Site) incidents(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Incidents", "Incidents and near misses")
	page.Intro = "What harmed a patient or could have. It names nobody: the number leads to the system that does."
	t := table{
		ID: "incidents", Caption: caption{Text: "Incidents, those not resolved first", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("Day"), text("What happened"), text("Kind"), text("Hazards"), text("State"), text("Number elsewhere")},
	}
	for _, resolved := range []bool{false, true} {
		for _, i := range slices.Backward(c.Incidents) {
			if i.Resolved == resolved {
				t.Rows = append(t.Rows, []cell{
					{Text: i.ID, Href: safetyBase + "/incidents/" + i.ID, Class: "app-table__id"},
					text(i.On.String()), text(i.Text), text(harmWords(i)),
					text(strings.Join(i.Hazards, ", ")), tagged(incidentTag(i)), text(i.Reference),
				})
			}
		}
	}
	part := safetyPart{Tables: []table{t}}
	if t.Rows == nil {
		part = safetyPart{Inset: &insetText{Text: "No incident has been noted. That does not mean that there was none."}}
	}
	page.add(s.offer(r, c, part, "Add an incident or near miss", "incident"))
	return answer{template: "safety", view: page}, nil
}

// offer adds a link to a form to a part, for those who may change the log.
func (s *Site) offer(r *http.Request, c safetyCase, p safetyPart, label, what string) safetyPart {
	if c.loaded() && s.mayEdit(r) {
		p.Links = append(p.Links, pageLink{label, safetyBase + "/new/" + what})
	}
	return p
}

func harmWords(i hazardlog.Incident) string {
	if i.Harm {
		return "Harm"
	}
	return "Near miss"
}

func incidentTag(i hazardlog.Incident) tag {
	if i.Resolved {
		return tag{Text: "Resolved", Colour: "green"}
	}
	return tag{Text: "Open", Colour: "yellow"}
}

// incident shows one.
func (s *Site) incident(r *http.Request) (answer, error) {
	c, i, err := s.oneIncident(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Incident "+i.ID, "Incident "+i.ID)
	page.back("Incidents", safetyBase+"/incidents")
	part := safetyPart{Facts: &summaryList{Rows: []summaryRow{
		{text("Day"), text(i.On.String())},
		{text("What happened"), text(i.Text)},
		{text("Kind"), text(harmWords(i))},
		{text("State"), tagged(incidentTag(i))},
		{text("Number elsewhere"), text(cmp.Or(i.Reference, "None"))},
		{text("Was the hazard known, did its controls act, does its rating hold?"), text(cmp.Or(i.Assessment, "Nobody has said"))},
		{text("How it was resolved"), text(cmp.Or(i.Resolution, "It is not"))},
	}}}
	if s.mayEdit(r) {
		at := safetyBase + "/incidents/" + i.ID
		part.Links = []pageLink{{"Change or assess it", at + "/edit"}, {"Note how it was resolved", at + "/resolve"}}
	}
	page.add(part)
	if len(i.Hazards) > 0 {
		page.add(safetyPart{Heading: "Hazards", Items: c.hazardLinks(i.Hazards)})
	}
	page.add(safetyPart{Tables: []table{s.historyTable(c, i.Subject())}})
	return answer{template: "safety", view: page}, nil
}

func (s *Site) oneIncident(r *http.Request) (safetyCase, hazardlog.Incident, error) {
	c, err := s.theCase(r)
	if err != nil {
		return c, hazardlog.Incident{}, err
	}
	at := slices.IndexFunc(c.Incidents, func(i hazardlog.Incident) bool { return i.ID == r.PathValue("id") })
	if at < 0 {
		return c, hazardlog.Incident{}, errOpaque
	}
	return c, c.Incidents[at], nil
}

// incidentForm changes an incident, or notes how it was resolved.
func (s *Site) incidentForm(r *http.Request) (answer, error) {
	c, i, err := s.oneIncident(r)
	if err != nil {
		return answer{}, err
	}
	e := editing[hazardlog.Incident]{now: i, back: backLink{"Incident " + i.ID, safetyBase + "/incidents/" + i.ID}, submit: "Save"}
	switch r.PathValue("form") {
	case "edit":
		e.heading, e.act, e.fields = "Change incident "+i.ID, hazardlog.Edit, append(incidentFields(), assessmentField())
	case "resolve":
		e.heading, e.act, e.intro = "How was incident "+i.ID+" resolved?", hazardlog.Move, "It must be assessed first."
		e.fields = []formField[hazardlog.Incident]{{name: "resolution", label: "How was it resolved?", rows: 4, get: func(i hazardlog.Incident) string { return i.Resolution }, set: func(i *hazardlog.Incident, v string) { i.Resolution = v }}}
		e.settle = func(_, to *hazardlog.Incident) { to.Resolved = true }
	default:
		return answer{}, errOpaque
	}
	return e.serve(s, r, c)
}

func incidentFields() []formField[hazardlog.Incident] {
	type field = formField[hazardlog.Incident]
	return []field{
		{name: "on", label: "Day", hint: "For example 2026-11-26.", get: func(i hazardlog.Incident) string { return string(i.On) }, set: func(i *hazardlog.Incident, v string) { i.On = hazardlog.Day(v) }},
		{name: "text", label: "What happened?", rows: 4, get: func(i hazardlog.Incident) string { return i.Text }, set: func(i *hazardlog.Incident, v string) { i.Text = v }},
		{name: "harm", label: "Was a patient harmed?", options: []option{{Value: "no", Text: "No, a near miss"}, {Value: "yes", Text: "Yes"}}, get: func(i hazardlog.Incident) string {
			if i.Harm {
				return "yes"
			}
			return "no"
		}, set: func(i *hazardlog.Incident, v string) { i.Harm = v == "yes" }},
		{name: "hazards", label: "Hazards", hint: "Known hazards that it is about, for example GW-02. A new kind needs a new hazard.", get: func(i hazardlog.Incident) string { return strings.Join(i.Hazards, ", ") }, set: func(i *hazardlog.Incident, v string) { i.Hazards = words(v) }},
		{name: "reference", label: "Number in LFPSE or the local system", get: func(i hazardlog.Incident) string { return i.Reference }, set: func(i *hazardlog.Incident, v string) { i.Reference = v }},
	}
}

func assessmentField() formField[hazardlog.Incident] {
	return formField[hazardlog.Incident]{name: "assessment", label: "Was the hazard known, did its controls act, does its rating hold?", rows: 4, get: func(i hazardlog.Incident) string { return i.Assessment }, set: func(i *hazardlog.Incident, v string) { i.Assessment = v }}
}

// decisions lists what was decided about clinical risk, the newest first.
func (s *Site) decisions(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Decisions", "Decisions")
	page.Intro = "Every decision that influenced clinical risk management."
	t := table{
		ID: "decisions", Caption: caption{Text: "Decisions, the newest first", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("Day"), text("What was decided"), text("Why"), text("Hazards")},
	}
	for _, d := range slices.Backward(c.Decisions) {
		t.Rows = append(t.Rows, []cell{{Text: d.ID, Class: "app-table__id"}, text(d.On.String()), text(d.Text), text(d.Reason), text(strings.Join(d.Hazards, ", "))})
	}
	part := safetyPart{Tables: []table{t}}
	if t.Rows == nil {
		part = safetyPart{Inset: &insetText{Text: "No decision has been noted."}}
	}
	page.add(s.offer(r, c, part, "Note a decision", "decision"))
	return answer{template: "safety", view: page}, nil
}

func decisionFields() []formField[hazardlog.Decision] {
	type field = formField[hazardlog.Decision]
	return []field{
		{name: "on", label: "Day", hint: "For example 2026-11-26.", get: func(d hazardlog.Decision) string { return string(d.On) }, set: func(d *hazardlog.Decision, v string) { d.On = hazardlog.Day(v) }},
		{name: "text", label: "What was decided?", rows: 3, get: func(d hazardlog.Decision) string { return d.Text }, set: func(d *hazardlog.Decision, v string) { d.Text = v }},
		{name: "reason", label: "Why?", rows: 3, get: func(d hazardlog.Decision) string { return d.Reason }, set: func(d *hazardlog.Decision, v string) { d.Reason = v }},
		{name: "hazards", label: "Hazards", hint: "Those that it is about, for example GW-02.", get: func(d hazardlog.Decision) string { return strings.Join(d.Hazards, ", ") }, set: func(d *hazardlog.Decision, v string) { d.Hazards = words(v) }},
	}
}

// reviews lists reviews and drills: what is due first, then what was done.
func (s *Site) reviews(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Reviews due", "Reviews and drills")
	open := table{
		ID: "reviews", Caption: caption{Text: "To do", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("What"), text("By"), text("State"), text("What you can do")},
	}
	done := table{
		ID: "reviews-done", Caption: caption{Text: "Done", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("What"), text("Done"), text("What came out of it")},
	}
	for _, v := range c.Reviews {
		if v.Done != "" {
			done.Rows = append(done.Rows, []cell{{Text: v.ID, Class: "app-table__id"}, text(v.Of), text(v.Done.String()), text(v.Outcome)})
			continue
		}
		state := s.dueTag(v.Due)
		if v.Due > hazardlog.DayOf(s.cfg.Now().AddDate(0, 0, dueSoon)) {
			state = tag{Text: "Later", Colour: "white"}
		}
		act := text("")
		if s.mayEdit(r) {
			act = cell{Text: "Note that it was done", Href: safetyBase + "/reviews/" + v.ID + "/done", Hidden: v.ID}
		}
		open.Rows = append(open.Rows, []cell{{Text: v.ID, Class: "app-table__id"}, c.reviewed(v.Of), text(v.Due.String()), tagged(state), act})
	}
	part := safetyPart{}
	for _, t := range []table{open, done} {
		if t.Rows != nil {
			part.Tables = append(part.Tables, t)
		}
	}
	if part.Tables == nil {
		part.Inset = &insetText{Text: "No review or drill is set."}
	}
	page.add(s.offer(r, c, part, "Set a day for a review or drill", "review"))
	return answer{template: "safety", view: page}, nil
}

// reviewed links what a review is of, where it is a hazard or a control.
func (c safetyCase) reviewed(of string) cell {
	first, _, _ := strings.Cut(strings.TrimSuffix(of, ":"), " ")
	first = strings.Trim(first, ":,.")
	if h, ok := c.Find(first); ok {
		return link(of, subjectHref(h.Subject()))
	}
	if x, ok := c.Control(first); ok {
		return link(of, subjectHref(x.Subject()))
	}
	return text(of)
}

func reviewFields() []formField[hazardlog.Review] {
	type field = formField[hazardlog.Review]
	return []field{
		{name: "of", label: "What is reviewed or practised?", hint: "A hazard, a control, or words.", get: func(v hazardlog.Review) string { return v.Of }, set: func(v *hazardlog.Review, to string) { v.Of = to }},
		{name: "due", label: "By which day?", hint: "For example 2027-02-01.", get: func(v hazardlog.Review) string { return string(v.Due) }, set: func(v *hazardlog.Review, to string) { v.Due = hazardlog.Day(to) }},
	}
}

// reviewForm notes that a review or drill was done, or sets another day for it.
func (s *Site) reviewForm(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	at := slices.IndexFunc(c.Reviews, func(v hazardlog.Review) bool { return v.ID == r.PathValue("id") })
	if at < 0 || r.PathValue("form") != "done" {
		return answer{}, errOpaque
	}
	v := c.Reviews[at]
	e := editing[hazardlog.Review]{
		heading: "Note that " + v.ID + " was done", intro: v.Of, now: v, back: backLink{"Reviews due", safetyBase + "/reviews"}, act: hazardlog.Move, submit: "Save",
		fields: []formField[hazardlog.Review]{
			{name: "done", label: "Day", hint: "For example 2026-11-26.", get: func(v hazardlog.Review) string { return string(cmp.Or(v.Done, s.today())) }, set: func(v *hazardlog.Review, to string) { v.Done = hazardlog.Day(to) }},
			{name: "outcome", label: "What came out of it?", rows: 4, get: func(v hazardlog.Review) string { return v.Outcome }, set: func(v *hazardlog.Review, to string) { v.Outcome = to }},
		},
	}
	return e.serve(s, r, c)
}
