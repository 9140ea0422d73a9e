package explain

import (
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
)

// sentence is what a template says, to a reviewer and to the patient. {ward},
// {team}, {kind} and {when} stand for what the line of care has. What the patient
// reads names no other person.
type sentence struct{ reviewer, patient string }

func sentences() [Templates + 1]sentence {
	return [Templates + 1]sentence{
		Charted:    {"The person wrote or ordered something for the patient within a day of it.", "Somebody who wrote in your record or ordered something for you at that time looked at it."},
		Named:      {"The person is named in the patient's care: {kind}, {when}.", "Somebody who was named in your care looked at your record."},
		OnWard:     {"The patient was cared for on ward {ward}, where the person works, {when}.", "You were cared for on ward {ward}, where this member of staff works."},
		AtWard:     {"The person was at a workstation of ward {ward}, where the patient was at that time.", "Your record was looked at on ward {ward} while you were there."},
		OnList:     {"The patient was on a list of {ward}, where the person works: {kind}, {when}.", "You were seen by the department that this member of staff works in."},
		Referred:   {"The patient was referred to {team}, the person's team, {when}.", "You were referred to the team that this member of staff works in."},
		Answer:     {"A {kind} of the patient waited for the person or their team, {when}.", "A result or letter about you was dealt with."},
		Duty:       {"The patient had work waiting for {team}, the person's team, {when}.", "Work for your care was done by a team that serves the whole hospital."},
		Department: {"The person's department usually takes part in the care of the patient's ward.", "The department of this member of staff often helps the ward that you were on."},
		Handover:   {"A colleague of the same team took part in the patient's care within three days.", "A colleague in the same team was part of your care."},
		Earlier:    {"The person had a reason to look at this record within the thirty days before.", "This member of staff was part of your care shortly before."},
		Approved:   {"The person has an approved task about the patient: {team}, {when}.", "Your record was part of an approved check, audit or request."},
		Stated:     {"The person gave a reason.", "The member of staff gave a reason when they looked."},
		Local:      {"", ""},
	}
}

// dutyOfRole is what a duty without a work item says.
func dutyOfRole() sentence {
	return sentence{"The person's role serves the whole hospital, and the patient was in hospital.", "This member of staff serves patients in the whole hospital."}
}

// Explain says what could explain one access, strong explanations first. none means
// "not yet explained" and nothing else. Templates that need other accesses to be
// known (T9 to T11, and T1 for entries) are in the Mask of a row only, see Row.
func (e *Engine) Explain(a Access) []Explanation {
	var h hits
	e.find(a, false, &h)
	return e.explanations(a, h)
}

// Row says the same of an access whose Mask is known.
func (e *Engine) Row(a Access, m Mask) []Explanation {
	var h hits
	e.find(a, false, &h)
	h = slices.DeleteFunc(h, func(one hit) bool { return !m.Has(one.template) || one.template == Stated })
	for t := Charted; t <= Local; t++ {
		if m.Has(t) && !slices.ContainsFunc(h, func(one hit) bool { return one.template == t }) {
			h = append(h, hit{template: t, strong: t == Charted})
		}
	}
	for i := range h {
		h[i].strong = h[i].strong && m.Strong()
	}
	return e.explanations(a, h)
}

// Access is a row of a table.
func (e *Engine) Access(t *table.Table, row int) Access {
	return Access{
		Person: t.People.Text(t.Person[row]), Patient: t.Patients.Text(t.Patient[row]), At: t.Time(row), Device: t.Devices.Text(t.Device[row]),
		BreakGlass: t.Flags[row]&table.BreakGlass != 0, Wrote: table.Writes(t.Words.Text(t.Word[row])),
	}
}

// find collects what explains an access by itself.
func (e *Engine) find(a Access, elsewhere bool, h *hits) {
	person, _ := e.persons.Find(a.Person)
	at := a.At.UnixMicro()
	before, after := e.reach()
	near := around{rest: e.of(e.InUse(a.Patient))}
	p := e.place(person, at, e.ward[a.Device])
	if person != 0 {
		e.match(person, &p, at, elsewhere, near.at(at, before, after), h)
	}
	if a.Wrote {
		h.add(hit{template: Charted, strong: true})
	}
	if a.BreakGlass || a.Reason != "" {
		h.add(hit{template: Stated})
	}
}

// explanations puts into words, each template once: its newest line of care.
func (e *Engine) explanations(a Access, h hits) []Explanation {
	var out []Explanation
	for _, strong := range []bool{true, false} {
		for t := Charted; t <= Local; t++ {
			var said []string
			for i := len(h) - 1; i >= 0; i-- {
				one := &h[i]
				if one.template != t || one.strong != strong {
					continue
				}
				x := e.say(a, one)
				if !slices.Contains(said, x.Template) {
					said = append(said, x.Template)
					out = append(out, x)
				}
			}
		}
	}
	return out
}

func (e *Engine) say(a Access, one *hit) Explanation {
	x := Explanation{Template: one.template.Code(), Strength: Weak}
	if one.strong {
		x.Strength = Strong
	}
	words := sentences()[one.template]
	switch {
	case one.site != nil:
		x.Template += ":" + one.site.ID
		words = sentence{one.site.Reviewer, one.site.Patient}
	case one.template == Duty && one.care == nil:
		words = dutyOfRole()
	case one.template == Stated && a.BreakGlass:
		words.reviewer = "The person broke the glass and gave a reason."
	}
	fill := strings.NewReplacer()
	if one.care != nil {
		f := e.context.Care.At(int(one.care.row))
		ward := f.Ward
		if ward == "" {
			ward = f.Team
		}
		fill = strings.NewReplacer("{ward}", ward, "{team}", f.Team, "{kind}", f.Kind, "{when}", e.period(f.Start, f.End))
		x.Evidence = f.Evidence
	}
	x.Sentence, x.ForPatient = fill.Replace(words.reviewer), fill.Replace(words.patient)
	return x
}

func (e *Engine) period(start, end time.Time) string {
	const layout = "2 January 2006 15:04"
	from := "from " + start.In(e.location).Format(layout)
	switch {
	case end.IsZero():
		return from + " on"
	case end.Equal(start):
		return "on " + start.In(e.location).Format(layout)
	}
	return from + " to " + end.In(e.location).Format(layout)
}
