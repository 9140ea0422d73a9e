package dashboards

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// bypassed says for which applications and until when, from a space on; "" when
// that is not known.
func (s *Site) bypassed(h Health) string {
	var parts []string
	for _, m := range h.Modes {
		if m.Mode == "bypass" {
			parts = append(parts, "for "+m.App+" until "+s.formatClock(m.Until))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, " and ")
}

// only lists the applications in a mode where others are not, so that a line says
// no more than is true.
func only(mode string, h Health) []string {
	var apps []string
	for _, m := range h.Modes {
		if m.Mode == mode {
			apps = append(apps, m.App)
		}
	}
	if len(apps) == len(h.Modes) {
		return nil
	}
	return apps
}

func forApps(apps []string) string {
	if len(apps) == 0 {
		return ""
	}
	return " for " + strings.Join(apps, " and ")
}

// modesPart says of each application whether what the rules refuse is refused.
func (s *Site) modesPart(h Health) report {
	p := report{name: "Decisions", tag: working(), text: "What the rules refuse is refused."}
	var lines []string
	for _, m := range h.Modes {
		switch m.Mode {
		case "observe":
			lines = append(lines, m.App+" is only observed: what the rules refuse is recorded and goes on.")
		case "bypass":
			lines = append(lines, m.App+" is bypassed from "+s.formatClock(m.Since)+" until "+s.formatTime(m.Until)+", asked for by "+
				m.RequestedBy+", approved by "+m.ApprovedBy+": "+strings.TrimSuffix(m.Reason, ".")+". What the rules refuse is recorded and goes on.")
			p.tag = attention()
		}
	}
	switch h.Mode {
	case "":
		p.tag, p.text = unknown(), "It is not known whether decisions are enforced."
	case "bypass":
		p.tag, p.text = attention(), "Bypassed: what the rules refuse goes on."
		p.todo = "mend what hinders care, then end the bypass with \"matron bypass end\". It ends by itself. Review afterwards what would have been refused (Modes)."
	case "observe":
		p.tag, p.text = attention(), "Observing only: what the rules refuse goes on."
		p.todo = "look at what would be refused (Modes), and set mode: enforce when nothing in it is care."
	}
	if len(lines) > 0 {
		p.text = strings.Join(lines, " ")
	}
	return p
}

// modesPage says of each application whether decisions are enforced, and what
// would have been refused where they are not. It names nobody.
type modesPage struct {
	chrome
	State   state
	Apps    table
	Periods []navItem
	Sums    table
	Partial string // what could not be counted
	Empty   *insetText
	Rows    table
	More    string // that not all rows are shown
}

// waivedShown bounds the list of routes and roles.
const waivedShown = 100

// modes shows the page for the period that the address names.
func (s *Site) modes(r *http.Request) (answer, error) {
	h := s.cfg.Health(r.Context())
	page := modesPage{chrome: s.chrome(r, "Modes"), State: s.stateLine(h), Apps: s.modeTable(h)}
	q := audit.WaivedQuery{Site: s.cfg.Site, To: s.cfg.Now()}
	for _, p := range []struct {
		days       int
		text, name string
	}{{1, "Today", "1"}, {7, "Seven days", ""}, {28, "Four weeks", "28"}} {
		current := r.URL.Query().Get("days") == p.name
		href := Base + "modes"
		if p.name != "" {
			href = address(href, map[string][]string{"days": {p.name}})
		}
		page.Periods = append(page.Periods, navItem{Text: p.text, Href: href, Current: current})
		if current {
			q.From = s.daysBack(p.days)
		}
	}
	if q.From.IsZero() { // no period of ours: the usual one
		page.Periods[1].Current, q.From = true, s.daysBack(7)
	}
	w, err := s.cfg.Accesses.Waived(r.Context(), q)
	if err != nil {
		page.Partial = "What would have been refused cannot be counted at the moment: it is unknown, not nought."
		return answer{template: "modes", view: page}, nil
	}
	page.Sums, page.Rows = s.sumTable(h, w, q), waivedTable(w)
	if len(w.Rows) == 0 {
		page.Empty = &insetText{Text: "Requests that would have been refused: " + s.count(h, 0) + "."}
	}
	if len(w.Rows) > waivedShown {
		page.More = "Only the first " + formatCount(waivedShown) + " lines are shown. All of them: matron observe report."
	}
	return answer{template: "modes", view: page}, nil
}

// daysBack is the beginning of a day in the hospital's time: 1 for today.
func (s *Site) daysBack(days int) time.Time {
	y, m, d := s.cfg.Now().In(s.cfg.Location).Date()
	return time.Date(y, m, d-days+1, 0, 0, 0, 0, s.cfg.Location)
}

// modeTable lists the applications with what holds now.
func (s *Site) modeTable(h Health) table {
	t := table{
		ID: "modes", Caption: caption{Text: "Applications", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Application"), text("Mode"), text("What that means")},
	}
	for _, m := range h.Modes {
		row := []cell{text(m.App), tagged(tag{Text: "Unknown", Colour: "grey"}), text("")}
		switch m.Mode {
		case "enforce":
			row[1], row[2] = tagged(tag{Text: "Enforce", Colour: "green"}), text("What the rules refuse is refused.")
		case "observe":
			row[1], row[2] = tagged(tag{Text: "Observe", Colour: "yellow"}), text("What the rules refuse is recorded and goes on.")
		case "bypass":
			row[1] = tagged(tag{Text: "Bypass", Colour: "red"})
			row[2] = cell{Text: "What the rules refuse is recorded and goes on, until " + s.formatTime(m.Until) + ".", Lines: []string{
				"Reason: " + m.Reason, "Asked for by " + m.RequestedBy + ", approved by " + m.ApprovedBy + " at " + s.formatTime(m.Since) + ".",
			}}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// sumTable says of each application what stands against enforcing. One that is
// enforced, and was so all the time, has no line.
func (s *Site) sumTable(h Health, w audit.Waived, q audit.WaivedQuery) table {
	t := table{
		ID: "sums", Caption: caption{Text: "Not enforced from " + s.formatTime(q.From) + " to now", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Application"), text("Requests"), text("Would have been refused"), text("People"), text("What stands against enforcing")},
	}
	apps := slices.Clone(w.Apps)
	for _, m := range h.Modes {
		if m.Mode != "enforce" && !slices.ContainsFunc(apps, func(a audit.WaivedApp) bool { return a.App == m.App }) {
			apps = append(apps, audit.WaivedApp{App: m.App})
		}
	}
	for _, a := range apps {
		against := cell{Lines: a.Against()}
		if len(against.Lines) == 0 {
			against = text("Nothing that was seen.")
		}
		t.Rows = append(t.Rows, []cell{
			text(a.App), number(s.count(h, a.Requests)), number(s.count(h, a.Refusals)), number(s.count(h, a.People)), against,
		})
	}
	return t
}

// waivedTable lists what would have been refused, most frequent first.
func waivedTable(w audit.Waived) table {
	t := table{
		ID: "waived", Caption: caption{Text: "What would have been refused, by route and role", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Application"), text("Mode"), text("Route"), text("Role"), text("Why"), text("Requests"), text("People")},
	}
	for _, r := range w.Rows[:min(len(w.Rows), waivedShown)] {
		t.Rows = append(t.Rows, []cell{
			text(r.App), text(sentenceCase(r.Mode)), text(cmp.Or(r.Route, "Not in the map")), text(cmp.Or(sentenceCase(readable(r.Role)), "None")),
			text(sentenceCase(readable(r.Reason))), number(formatCount(r.Requests)), number(formatCount(r.People)),
		})
	}
	return t
}
