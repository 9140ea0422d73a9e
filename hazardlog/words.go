package hazardlog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// field is one thing that a subject holds, for comparing: text, or a list.
type field struct {
	name  string // "residual.likelihood"
	text  string
	items []string
}

func (h Head) fields() []field {
	return slices.Concat([]field{
		{name: "title", text: h.Title},
		{name: "role", text: string(h.Role)},
		{name: "standard", text: h.StandardID},
		{name: "organisation", text: h.Organisation},
	}, h.Upstream.fields("upstream"))
}

func (h Hazard) fields() []field {
	conditions := make([]string, len(h.Conditions))
	for i, c := range h.Conditions {
		conditions[i] = string(c)
	}
	return slices.Concat([]field{
		{name: "name", text: h.Name},
		{name: "effect", text: h.Effect},
		{name: "hazard", text: h.Hazard},
		{name: "harm", text: h.Harm},
		{name: "causes", items: h.Causes},
		{name: "conditions", items: conditions},
		{name: "types", items: h.Types},
		{name: "owner", text: h.Owner},
		{name: "status", text: string(h.Status)},
		{name: "review", text: h.Review.String()},
	}, h.Initial.fields("initial"), h.Residual.fields("residual"), []field{
		{name: "acceptance.accepted", text: yes(h.Acceptance.Accepted)},
		{name: "acceptance.reason", text: h.Acceptance.Reason},
		{name: "acceptance.benefit", text: h.Acceptance.Benefit},
		{name: "acceptance.by", text: h.Acceptance.By},
		{name: "notes", items: h.Notes},
	}, h.Origin.fields("origin"))
}

func (r Rating) fields(under string) []field {
	return []field{
		{name: under + ".consequence", text: r.Consequence},
		{name: under + ".patients", text: string(r.Patients)},
		{name: under + ".severity", text: string(r.Severity)},
		{name: under + ".likelihood", text: string(r.Likelihood)},
		{name: under + ".justification", text: r.Justification},
		{name: under + ".lowered", text: r.Lowered},
		{name: under + ".state", text: string(r.State)},
		{name: under + ".by", text: r.By},
	}
}

func (o *Origin) fields(under string) []field {
	if o == nil {
		o = &Origin{}
	}
	return []field{
		{name: under + ".log", text: o.Log},
		{name: under + ".id", text: o.ID},
		{name: under + ".version", text: o.Version},
		{name: under + ".sha256", text: o.SHA256},
	}
}

func (c Control) fields() []field {
	documents := make([]string, len(c.Documents))
	for i, d := range c.Documents {
		documents[i] = d.String()
	}
	return slices.Concat([]field{
		{name: "hazards", items: c.Hazards},
		{name: "type", text: string(c.Type)},
		{name: "timing", text: string(c.Timing)},
		{name: "status", text: string(c.Status)},
		{name: "text", text: c.Text},
		{name: "new_hazards.answer", text: c.NewHazards.Answer},
		{name: "new_hazards.reason", text: c.NewHazards.Reason},
		{name: "new_hazards.hazards", items: c.NewHazards.Hazards},
		{name: "common_cause", text: c.CommonCause},
		{name: "documents", items: documents},
	}, c.Origin.fields("origin"))
}

func (i Incident) fields() []field {
	return []field{
		{name: "on", text: i.On.String()},
		{name: "text", text: i.Text},
		{name: "harm", text: yes(i.Harm)},
		{name: "hazards", items: i.Hazards},
		{name: "reference", text: i.Reference},
		{name: "assessment", text: i.Assessment},
		{name: "resolution", text: i.Resolution},
		{name: "resolved", text: yes(i.Resolved)},
	}
}

func (d Decision) fields() []field {
	return []field{
		{name: "on", text: d.On.String()},
		{name: "text", text: d.Text},
		{name: "reason", text: d.Reason},
		{name: "hazards", items: d.Hazards},
	}
}

func (t Transfer) fields() []field {
	return []field{
		{name: "hazard", text: t.Hazard},
		{name: "control", text: t.Control},
		{name: "condition", text: t.Condition},
		{name: "to", text: t.To},
		{name: "state", text: string(t.State)},
		{name: "reason", text: t.Reason},
		{name: "by", text: t.By},
	}
}

func (r Review) fields() []field {
	return []field{
		{name: "of", text: r.Of},
		{name: "due", text: r.Due.String()},
		{name: "done", text: r.Done.String()},
		{name: "outcome", text: r.Outcome},
	}
}

// fields of an approval are what a person wants to read of it: it never changes.
func (a Approval) fields() []field {
	return []field{
		{name: "sha256", text: a.SHA256},
		{name: "officer", text: a.Officer.String()},
		{name: "statement", text: a.Statement},
		{name: "evidence", text: a.Evidence.hash()},
	}
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// Difference is one thing that is other than it was.
type Difference struct {
	Subject Subject
	Field   string // "" for a subject that is new
	Before  string
	After   string
	Added   []string // of a list
	Removed []string
	Risk    [2]Risk // before and after, where a rating has another risk now

	// The event that did it, as far as it is known.
	By  Actor
	At  time.Time
	Why string
}

// String says it in words: "GW-03 residual likelihood: Low → Medium (risk 2 → 3)".
func (d Difference) String() string {
	if d.Field == "" {
		return fmt.Sprintf("%s is new: %s", d.Subject, d.After)
	}
	line := d.Subject.String() + " " + label(d.Field) + ": "
	switch {
	case d.Added != nil || d.Removed != nil:
		line += listed(d.Added, d.Removed)
	case d.Before == "":
		line += "now " + quoted(d.After)
	case d.After == "":
		line += "no longer " + quoted(d.Before)
	default:
		line += quoted(d.Before) + " → " + quoted(d.After)
	}
	if d.Risk[0] != d.Risk[1] {
		line += fmt.Sprintf(" (risk %s → %s)", d.Risk[0], d.Risk[1])
	}
	return line
}

// Full is String with who did it, when and why.
func (d Difference) Full() string {
	line := d.String()
	if by := d.By.String(); by != "" {
		line += ", by " + by + " on " + DayOf(d.At).String()
	}
	if d.Why != "" {
		line += ", because: " + d.Why
	}
	return line
}

func label(name string) string {
	return strings.NewReplacer(".", " ", "_", " ").Replace(name)
}

// quoted marks sentences off; single words stand for themselves.
func quoted(text string) string {
	if len(strings.Fields(text)) <= 3 {
		return text
	}
	return "“" + text + "”"
}

func listed(added, removed []string) string {
	var parts []string
	for _, list := range []struct {
		verb  string
		items []string
	}{{"added", added}, {"removed", removed}} {
		for _, item := range list.items {
			parts = append(parts, list.verb+" "+quoted(item))
		}
	}
	if len(parts) == 0 {
		return "in another order"
	}
	return strings.Join(parts, ", ")
}

// differences compares what one subject held and holds. Before may be nil.
func differences(before, after Value) []Difference {
	subject := after.Subject()
	now := after.fields()
	if before == nil {
		return []Difference{{Subject: subject, After: headline(after)}}
	}
	var list []Difference
	for i, old := range before.fields() {
		if old.text == now[i].text && slices.Equal(old.items, now[i].items) {
			continue
		}
		d := Difference{Subject: subject, Field: old.name, Before: old.text, After: now[i].text}
		if len(old.items)+len(now[i].items) > 0 {
			d.Added, d.Removed = []string{}, []string{} // a list, in another order at least
			d.Added = append(d.Added, lacking(now[i].items, old.items)...)
			d.Removed = append(d.Removed, lacking(old.items, now[i].items)...)
		}
		d.Risk = riskChange(before, after, old.name)
		list = append(list, d)
	}
	return list
}

func lacking(list, in []string) []string {
	return filter(list, func(item string) bool { return !slices.Contains(in, item) })
}

// riskChange is what a changed word of a rating does to its risk.
func riskChange(before, after Value, name string) [2]Risk {
	was, isHazard := before.(Hazard)
	now, _ := after.(Hazard)
	switch {
	case isHazard && (name == "initial.severity" || name == "initial.likelihood"):
		return [2]Risk{was.Initial.Risk(), now.Initial.Risk()}
	case isHazard && (name == "residual.severity" || name == "residual.likelihood"):
		return [2]Risk{was.Residual.Risk(), now.Residual.Risk()}
	}
	return [2]Risk{}
}

// headline is what a subject is about, in a line.
func headline(v Value) string {
	switch v := v.(type) {
	case Head:
		return v.Title
	case Hazard:
		return v.Name
	case Control:
		return v.Text
	case Incident:
		return v.Text
	case Decision:
		return v.Text
	case Transfer:
		return v.Condition
	case Review:
		return v.Of + ", due " + v.Due.String()
	case Approval:
		return "approved by " + v.Officer.String()
	case Reply:
		return v.String()
	}
	return ""
}

// changed is what an event of this log changed.
func (l Log) changed(e Event) []Difference {
	after, err := e.Content()
	if err != nil {
		return nil // taken in before, so that it can be read
	}
	var before Value
	for _, old := range l.events {
		if old.Subject == e.Subject && old.Revision == e.Revision-1 {
			before, _ = old.Content()
		}
	}
	list := differences(l.looked(before), l.looked(after))
	for i := range list {
		list[i].By, list[i].At, list[i].Why = e.By, e.At, e.Why
	}
	return list
}

// looked looks the risks up of what an event holds.
func (l Log) looked(v Value) Value {
	if h, ok := v.(Hazard); ok {
		return l.rated(h)
	}
	return v
}

// Did lists what an event of the log changed, without who did it and why.
func (l Log) Did(e Event) []Difference {
	list := l.changed(e)
	for i := range list {
		list[i].By, list[i].At, list[i].Why = Actor{}, time.Time{}, ""
	}
	return list
}

// Describe says what an event of the log changed, a line each.
func (l Log) Describe(e Event) []string {
	var lines []string
	for _, d := range l.changed(e) {
		lines = append(lines, d.Full())
	}
	if lines == nil {
		lines = []string{fmt.Sprintf("%s was saved unchanged, by %s on %s", e.Subject, e.By, DayOf(e.At))}
	}
	return lines
}

// ChangedFields names what an event of the log changed, without what it says.
func (l Log) ChangedFields(e Event) []string {
	var names []string
	for _, d := range l.changed(e) {
		if d.Field != "" {
			names = append(names, d.Field)
		}
	}
	return names
}

// Compare lists what is other in after than in before, an earlier state of the
// same log or of one that it was derived from. Approvals are no differences.
func Compare(before, after Log) []Difference {
	var list []Difference
	for _, v := range after.values() {
		for _, d := range differences(before.current(v.Subject()), v) {
			after.attribute(&d, before.Seq())
			list = append(list, d)
		}
	}
	return list
}

// attribute says of a difference which event since did it last.
func (l Log) attribute(d *Difference, since uint64) {
	for i := len(l.events) - 1; i >= 0 && l.events[i].Seq > since; i-- {
		if l.events[i].Subject != d.Subject {
			continue
		}
		for _, did := range l.changed(l.events[i]) {
			if did.Field == d.Field {
				d.By, d.At, d.Why = did.By, did.At, did.Why
				return
			}
		}
	}
}

// values lists everything that the log holds but approvals and replies.
func (l Log) values() []Value {
	list := []Value{l.Head}
	for _, h := range l.Hazards {
		list = append(list, h)
	}
	for _, c := range l.Controls {
		list = append(list, c)
	}
	for _, i := range l.Incidents {
		list = append(list, i)
	}
	for _, d := range l.Decisions {
		list = append(list, d)
	}
	for _, t := range l.Transfers {
		list = append(list, t)
	}
	for _, r := range l.Reviews {
		list = append(list, r)
	}
	return list
}

// Same reports whether two values of one subject say the same.
func Same(a, b Value) bool { return len(differences(a, b)) == 0 }
