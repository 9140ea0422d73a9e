package dashboards

import (
	"cmp"
	"slices"
	"strings"
)

// overShown bounds the list of whoever is over a budget.
const overShown = 50

// lifted says until when limits are lifted, from a space on; "" while they are in
// force.
func (s *Site) lifted(h Health) string {
	if len(h.Limits.Lifted) == 0 {
		return ""
	}
	last := slices.MaxFunc(h.Limits.Lifted, func(a, b Lifting) int { return a.Until.Compare(b.Until) })
	return " until " + s.formatTime(last.Until)
}

// limitsPart says whether limits are in force, and who runs into them.
func (s *Site) limitsPart(h Health) report {
	l := h.Limits
	p := report{name: "Limits", tag: working(), text: "Limits are in force."}
	var said, todo []string
	for _, i := range l.Lifted {
		said = append(said, "Lifted for people from "+s.formatClock(i.Since)+" until "+s.formatTime(i.Until)+", declared by "+i.By+": "+strings.TrimSuffix(i.Reason, ".")+".")
	}
	if len(said) > 0 {
		todo = append(todo, "end it with \"matron limits incident end\" when the incident is over. It ends by itself.")
	}
	if l.Uncounted > 0 {
		said = append(said, "There is no memory to count patients against budgets: "+formatCount(l.Uncounted)+" were not counted.")
		todo = append(todo, "find out who meets so many patients, and restart the gateway.")
	}
	for _, e := range l.Expiring {
		word := " runs out on "
		if !e.At.After(s.cfg.Now()) {
			word = " ran out on "
		}
		said = append(said, "The registration of "+e.Name+word+s.formatTime(e.At)+".")
	}
	if len(l.Expiring) > 0 {
		todo = append(todo, "ask the owner of each whether it is still needed, give machines a new day, or take it out, and reload.")
	}
	if len(said) > 0 {
		p.tag, p.text, p.todo = attention(), strings.Join(said, " "), inSentences(todo)
	}
	if n := uint64(len(l.Over)); n > 0 { // of itself nothing that needs anybody at night
		p.text += " " + plural(n, "budget of patients is", "budgets of patients are") + " used up (Live)."
	}
	return p
}

// inSentences begins all but the first with a capital: that follows a colon.
func inSentences(list []string) string {
	out := slices.Clone(list)
	for i := 1; i < len(out); i++ {
		out[i] = sentenceCase(out[i])
	}
	return strings.Join(out, " ")
}

// limitState is one line about limits.
func (s *Site) limitState(h Health) string {
	state := "In force"
	if len(h.Limits.Lifted) > 0 {
		state = "Lifted for a major incident" + s.lifted(h)
	}
	if n := len(h.Limits.Over); n > 0 {
		state += ", " + plural(uint64(n), "budget of patients used up", "budgets of patients used up")
	}
	return state
}

// overTable lists whoever has met more patients than the budget of their role. It
// names no patient, and blames nobody: there are days like that.
func (s *Site) overTable(h Health) table {
	t := table{
		ID: "over-budget", Caption: caption{Text: "More patients than the budget of the role", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Who"), text("Role"), text("Patients"), text("Budget"), text("What happens")},
	}
	for _, o := range h.Limits.Over[:min(len(h.Limits.Over), overShown)] {
		window, kind := "an hour", ""
		if o.Shift {
			window = "a shift"
		}
		if o.Listed {
			kind = " in lists"
		}
		t.Rows = append(t.Rows, []cell{
			text(cmp.Or(o.Name, o.Sub)), text(list(o.Roles, "not known")), text(formatCount(uint64(o.Patients)) + " patients in " + window + kind), //nolint:gosec // a count
			number(formatCount(uint64(o.Of))), text(beyond(h, o)), //nolint:gosec // a budget
		})
	}
	return t
}

// beyond says what comes of being over a budget.
func beyond(h Health, o OverBudget) string {
	switch {
	case len(h.Limits.Lifted) > 0:
		return "Nothing: limits are lifted."
	case o.Machine:
		return "All that this machine client asks is refused."
	case o.Listed:
		return "Care goes on, slowed. Exports and searches are refused."
	}
	return "Care goes on, slowed. Exports and other searches are refused."
}
