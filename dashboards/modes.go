package dashboards

import (
	"strings"
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

// observed lists the applications in observe mode where others are not, so that
// a line says no more than is true.
func observed(h Health) []string {
	var apps []string
	for _, m := range h.Modes {
		if m.Mode == "observe" {
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
		p.todo = "mend what hinders care, then end the bypass with \"matron bypass end\". It ends by itself. Review afterwards who opened what."
	case "observe":
		p.tag, p.text = attention(), "Observing only: what the rules refuse goes on."
		p.todo = "look at what would be refused, and set mode: enforce when nothing in it is care."
	}
	if len(lines) > 0 {
		p.text = strings.Join(lines, " ")
	}
	return p
}
