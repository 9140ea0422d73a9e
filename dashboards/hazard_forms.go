package dashboards

import (
	"net/http"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// hazardForm changes a hazard: its words, a rating, or its status.
func (s *Site) hazardForm(r *http.Request) (answer, error) {
	c, h, err := s.oneHazard(r)
	if err != nil {
		return answer{}, err
	}
	at := hazardsBase + "/" + h.ID
	e := editing[hazardlog.Hazard]{now: h, back: backLink{h.ID + " " + h.Name, at}, done: at}
	switch r.PathValue("form") {
	case "edit":
		e.heading, e.act, e.submit, e.fields = "Change the words of "+h.ID, hazardlog.Edit, "Save", hazardFields()
	case "initial":
		e.heading, e.act, e.submit, e.fields = "Rate the initial risk of "+h.ID, hazardlog.Rate, "Propose this rating", ratingFields(c.Standard, "initial", func(h *hazardlog.Hazard) *hazardlog.Rating { return &h.Initial })
		e.settle, e.intro = settleRating(c.Standard, func(h *hazardlog.Hazard) *hazardlog.Rating { return &h.Initial }), ratingIntro
	case "residual":
		e.heading, e.act, e.submit, e.fields = "Rate the residual risk of "+h.ID, hazardlog.Rate, "Propose this rating", ratingFields(c.Standard, "residual", func(h *hazardlog.Hazard) *hazardlog.Rating { return &h.Residual })
		e.settle, e.intro = settleRating(c.Standard, func(h *hazardlog.Hazard) *hazardlog.Rating { return &h.Residual }), ratingIntro+" An acceptance of the old risk ends with it."
	case "status":
		e.heading, e.act, e.submit, e.fields = "Change the status of "+h.ID, hazardlog.Move, "Save", statusFields(c.Standard)
	default:
		return answer{}, errOpaque
	}
	return e.serve(s, r, c)
}

const ratingIntro = "Rate the worst credible harm to a patient, and how likely that harm is, not the fault. The risk is looked up in the matrix of the standard. A rating stays proposed until a clinical safety officer assesses it."

// newSafety makes something new in the log.
func (s *Site) newSafety(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	if !c.loaded() {
		return answer{}, errOpaque
	}
	about := r.URL.Query().Get("hazard")
	switch r.PathValue("what") {
	case "hazard":
		return editing[hazardlog.Hazard]{
			heading: "Add a hazard", back: backLink{"Hazard log", hazardsBase}, act: hazardlog.Raise, submit: "Add the hazard", prefix: "GW",
			now: hazardlog.Hazard{Status: hazardlog.Open}, fields: hazardFields(), named: func(h *hazardlog.Hazard, id string) { h.ID = id },
		}.serve(s, r, c)
	case "control":
		x := hazardlog.Control{Timing: hazardlog.Additional, Status: hazardlog.Proposed, Type: hazardlog.Design, Hazards: words(about)}
		return editing[hazardlog.Control]{
			heading: "Add a control", back: backLink{"Hazard log", hazardsBase}, act: hazardlog.Raise, submit: "Add the control", prefix: "C",
			now: x, fields: controlFields(c.Standard), named: func(x *hazardlog.Control, id string) { x.ID = id },
		}.serve(s, r, c)
	case "transfer":
		return editing[hazardlog.Transfer]{
			heading: "Ask another organisation", back: backLink{"Hazard log", hazardsBase}, act: hazardlog.Raise, submit: "Offer the transfer", prefix: "T", done: hazardsBase,
			now: hazardlog.Transfer{Hazard: about, State: hazardlog.Offered}, fields: transferFields(), named: func(t *hazardlog.Transfer, id string) { t.ID = id },
			intro: "Nothing is transferred until a clinical safety officer there accepts it.",
		}.serve(s, r, c)
	case "incident":
		return editing[hazardlog.Incident]{
			heading: "Add an incident or near miss", back: backLink{"Incidents", safetyBase + "/incidents"}, act: hazardlog.Raise, submit: "Add the incident", prefix: "I",
			now: hazardlog.Incident{On: s.today(), Hazards: words(about)}, fields: append(incidentFields(), assessmentField()), named: func(i *hazardlog.Incident, id string) { i.ID = id },
		}.serve(s, r, c)
	case "decision":
		return editing[hazardlog.Decision]{
			heading: "Note a decision", back: backLink{"Decisions", safetyBase + "/decisions"}, act: hazardlog.Raise, submit: "Note the decision", prefix: "D",
			now: hazardlog.Decision{On: s.today(), Hazards: words(about)}, fields: decisionFields(), named: func(d *hazardlog.Decision, id string) { d.ID = id },
		}.serve(s, r, c)
	case "review":
		return editing[hazardlog.Review]{
			heading: "Set a day for a review or drill", back: backLink{"Reviews due", safetyBase + "/reviews"}, act: hazardlog.Raise, submit: "Set the day", prefix: "R",
			now: hazardlog.Review{Of: about}, fields: reviewFields(), named: func(v *hazardlog.Review, id string) { v.ID = id },
		}.serve(s, r, c)
	}
	return answer{}, errOpaque
}

// words splits a list of ids.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == ';' })
}

// lineList splits a text into its lines that say something.
func lineList(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func hazardFields() []formField[hazardlog.Hazard] {
	type field = formField[hazardlog.Hazard]
	return []field{
		{name: "name", label: "Name", hint: "What goes wrong, in a sentence.", get: func(h hazardlog.Hazard) string { return h.Name }, set: func(h *hazardlog.Hazard, v string) { h.Name = v }},
		{name: "effect", label: "Effect", hint: "What the system does.", rows: 3, get: func(h hazardlog.Hazard) string { return h.Effect }, set: func(h *hazardlog.Hazard, v string) { h.Effect = v }},
		{name: "hazard", label: "Hazard", hint: "What that means for care.", rows: 3, get: func(h hazardlog.Hazard) string { return h.Hazard }, set: func(h *hazardlog.Hazard, v string) { h.Hazard = v }},
		{name: "harm", label: "Harm", hint: "What may happen to a patient.", rows: 3, get: func(h hazardlog.Hazard) string { return h.Harm }, set: func(h *hazardlog.Hazard, v string) { h.Harm = v }},
		{name: "causes", label: "Causes", hint: "One on each line.", rows: 6, get: func(h hazardlog.Hazard) string { return strings.Join(h.Causes, "\n") }, set: func(h *hazardlog.Hazard, v string) { h.Causes = lineList(v) }},
		{name: "conditions", label: "Arises in", options: []option{{Value: "", Text: "Not said"}, {Value: "normal", Text: "Normal conditions"}, {Value: "fault", Text: "Fault conditions"}, {Value: "normal,fault", Text: "Both"}}, get: conditionsOf, set: func(h *hazardlog.Hazard, v string) {
			h.Conditions = nil
			for _, w := range words(v) {
				h.Conditions = append(h.Conditions, hazardlog.Condition(w))
			}
		}},
		{name: "owner", label: "Owner", get: func(h hazardlog.Hazard) string { return h.Owner }, set: func(h *hazardlog.Hazard, v string) { h.Owner = v }},
		{name: "review", label: "Next review", hint: "A day such as 2027-03-31, or nothing.", get: func(h hazardlog.Hazard) string { return string(h.Review) }, set: func(h *hazardlog.Hazard, v string) { h.Review = hazardlog.Day(v) }},
	}
}

// conditionsOf is the conditions as a choice of the form, in its order.
func conditionsOf(h hazardlog.Hazard) string {
	var out []string
	for _, want := range []hazardlog.Condition{hazardlog.Normal, hazardlog.Fault} {
		for _, have := range h.Conditions {
			if have == want {
				out = append(out, string(want))
			}
		}
	}
	return strings.Join(out, ",")
}

func statusFields(standard *hazardlog.Standard) []formField[hazardlog.Hazard] {
	field := formField[hazardlog.Hazard]{name: "status", label: "Status", hint: "A hazard is closed only when its residual risk is accepted.", get: func(h hazardlog.Hazard) string { return string(h.Status) }, set: func(h *hazardlog.Hazard, v string) { h.Status = hazardlog.Status(v) }}
	for _, v := range standard.Statuses {
		field.options = append(field.options, option{Value: string(v), Text: string(v)})
	}
	return []formField[hazardlog.Hazard]{field}
}

// ratingFields ask the two questions from which a severity comes, or for its word.
func ratingFields(standard *hazardlog.Standard, under string, of func(*hazardlog.Hazard) *hazardlog.Rating) []formField[hazardlog.Hazard] {
	field := func(name, label, hint string, part func(*hazardlog.Rating) *string) formField[hazardlog.Hazard] {
		return formField[hazardlog.Hazard]{
			name: under + "." + name, label: label, hint: hint,
			get: func(h hazardlog.Hazard) string { return *part(of(&h)) }, set: func(h *hazardlog.Hazard, v string) { *part(of(h)) = v },
		}
	}
	consequence := field("consequence", "What is the worst credible harm?", "", func(r *hazardlog.Rating) *string { return &r.Consequence })
	consequence.options = []option{{Text: "None of these: choose the severity by its word"}}
	for _, o := range standard.Consequences {
		consequence.options = append(consequence.options, option{Value: o.ID, Text: o.Text})
	}
	patients := field("patients", "To how many patients at once?", "", func(r *hazardlog.Rating) *string { return (*string)(&r.Patients) })
	patients.options = []option{{Text: "Not said"}, {Value: string(hazardlog.OnePatient), Text: "One"}, {Value: string(hazardlog.SeveralPatients), Text: "Several"}}
	severity := field("severity", "Severity", "Follows from the two questions above. Choose a word only where they do not fit.", func(r *hazardlog.Rating) *string { return (*string)(&r.Severity) })
	severity.options = []option{{Text: "As the questions give"}}
	for _, v := range standard.Severities {
		severity.options = append(severity.options, option{Value: string(v), Text: string(v)})
	}
	likelihood := field("likelihood", "Likelihood of that harm", "", func(r *hazardlog.Rating) *string { return (*string)(&r.Likelihood) })
	likelihood.options = []option{{Text: "Select a likelihood"}}
	for _, v := range standard.Likelihoods {
		likelihood.options = append(likelihood.options, option{Value: string(v.Word), Text: string(v.Word) + ": " + v.Meaning})
	}
	why := field("justification", "Why these words?", "", func(r *hazardlog.Rating) *string { return &r.Justification })
	why.rows = 4
	list := []formField[hazardlog.Hazard]{consequence, patients, severity, likelihood, why}
	if under == "residual" {
		lowered := field("lowered", "Why is the severity lower than at first, if it is?", "Controls mostly change the likelihood.", func(r *hazardlog.Rating) *string { return &r.Lowered })
		lowered.rows = 2
		list = append(list, lowered)
	}
	return list
}

// settleRating makes a rating that somebody changed a proposal, and takes back an
// acceptance that was of another one.
func settleRating(standard *hazardlog.Standard, of func(*hazardlog.Hazard) *hazardlog.Rating) func(was, to *hazardlog.Hazard) {
	return func(was, to *hazardlog.Hazard) {
		r := of(to)
		if severity := standard.Severity(r.Consequence, r.Patients); severity != "" {
			r.Severity = severity
		}
		if hazardlog.Same(*was, *to) {
			return
		}
		r.State, r.By = hazardlog.RatingProposed, ""
		if was.Acceptance.Accepted && (to.Residual.Severity != was.Residual.Severity || to.Residual.Likelihood != was.Residual.Likelihood) {
			to.Acceptance = hazardlog.Acceptance{}
		}
	}
}

// controlForm changes a control: its words or its status.
func (s *Site) controlForm(r *http.Request) (answer, error) {
	c, x, err := s.oneControl(r)
	if err != nil {
		return answer{}, err
	}
	e := editing[hazardlog.Control]{now: x, back: backLink{"Control " + x.ID, controlHref(x.ID)}, submit: "Save"}
	switch r.PathValue("form") {
	case "edit":
		e.heading, e.act, e.fields = "Change control "+x.ID, hazardlog.Edit, controlFields(c.Standard)
	case "status":
		e.heading, e.act = "Change the status of control "+x.ID, hazardlog.Move
		e.fields = []formField[hazardlog.Control]{{
			name: "status", label: "Status", hint: "Implemented and verified need evidence.", options: controlStatuses(),
			get: func(x hazardlog.Control) string { return string(x.Status) }, set: func(x *hazardlog.Control, v string) { x.Status = hazardlog.ControlStatus(v) },
		}}
	default:
		return answer{}, errOpaque
	}
	return e.serve(s, r, c)
}

func controlStatuses() []option {
	var out []option
	for _, v := range []hazardlog.ControlStatus{hazardlog.Proposed, hazardlog.InPlace, hazardlog.Implemented, hazardlog.Verified} {
		out = append(out, option{Value: string(v), Text: controlTag(v).Text})
	}
	return out
}

func controlFields(standard *hazardlog.Standard) []formField[hazardlog.Control] {
	type field = formField[hazardlog.Control]
	var types []option
	for _, v := range standard.ControlTypes {
		types = append(types, option{Value: string(v), Text: sentenceCase(string(v))})
	}
	return []field{
		{name: "text", label: "What is done, by whom, and when?", rows: 3, get: func(x hazardlog.Control) string { return x.Text }, set: func(x *hazardlog.Control, v string) { x.Text = v }},
		{name: "type", label: "Type", options: types, get: func(x hazardlog.Control) string { return string(x.Type) }, set: func(x *hazardlog.Control, v string) { x.Type = hazardlog.ControlType(v) }},
		{name: "timing", label: "Since", options: []option{{Value: string(hazardlog.Existing), Text: "Was there before the gateway"}, {Value: string(hazardlog.Additional), Text: "Comes with the gateway"}}, get: func(x hazardlog.Control) string { return string(x.Timing) }, set: func(x *hazardlog.Control, v string) { x.Timing = hazardlog.ControlTiming(v) }},
		{name: "hazards", label: "Hazards", hint: "Their ids, for example GW-01, GW-04.", get: func(x hazardlog.Control) string { return strings.Join(x.Hazards, ", ") }, set: func(x *hazardlog.Control, v string) { x.Hazards = words(v) }},
		{name: "new_hazards.answer", label: "Does it bring hazards of its own, or change known risks?", options: []option{{Text: "Not answered"}, {Value: hazardlog.NoNewHazards, Text: "No"}, {Value: hazardlog.SomeNewHazards, Text: "Yes"}}, get: func(x hazardlog.Control) string { return x.NewHazards.Answer }, set: func(x *hazardlog.Control, v string) { x.NewHazards.Answer = v }},
		{name: "new_hazards.reason", label: "If not, why not?", rows: 2, get: func(x hazardlog.Control) string { return x.NewHazards.Reason }, set: func(x *hazardlog.Control, v string) { x.NewHazards.Reason = v }},
		{name: "new_hazards.hazards", label: "If it does, which?", hint: "Ids of hazards in this log.", get: func(x hazardlog.Control) string { return strings.Join(x.NewHazards.Hazards, ", ") }, set: func(x *hazardlog.Control, v string) { x.NewHazards.Hazards = words(v) }},
		{name: "common_cause", label: "If it fails, what stands behind it?", hint: "Needed where it carries three hazards or more.", rows: 2, get: func(x hazardlog.Control) string { return x.CommonCause }, set: func(x *hazardlog.Control, v string) { x.CommonCause = v }},
	}
}

func transferFields() []formField[hazardlog.Transfer] {
	type field = formField[hazardlog.Transfer]
	return []field{
		{name: "hazard", label: "Hazard", hint: "Its id, for example GW-01.", get: func(t hazardlog.Transfer) string { return t.Hazard }, set: func(t *hazardlog.Transfer, v string) { t.Hazard = v }},
		{name: "control", label: "Control, if one is meant", hint: "Its id, for example C-01.", get: func(t hazardlog.Transfer) string { return t.Control }, set: func(t *hazardlog.Transfer, v string) { t.Control = v }},
		{name: "condition", label: "What must they do?", rows: 3, get: func(t hazardlog.Transfer) string { return t.Condition }, set: func(t *hazardlog.Transfer, v string) { t.Condition = v }},
		{name: "to", label: "Which organisation?", get: func(t hazardlog.Transfer) string { return t.To }, set: func(t *hazardlog.Transfer, v string) { t.To = v }},
	}
}
