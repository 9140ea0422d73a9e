package dashboards

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

const (
	changesListed = 10
	doubtsListed  = 12
	// dueSoon is how many days ahead of its day something is shown as due.
	dueSoon = 30
)

// safetyOverview is the five facts that a clinical safety officer wants first.
func (s *Site) safetyOverview(r *http.Request) (answer, error) {
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, "Clinical safety", "Clinical safety")
	if !c.loaded() {
		page.add(noLog())
		return answer{template: "safety", view: page}, nil
	}
	page.Caption = c.Title
	page.add(approvedPart(c))
	page.add(s.doubtPart(c))
	page.add(gravePart(c))
	page.add(s.duePart(c))
	page.add(s.runningPart(c))
	return answer{template: "safety", view: page}, nil
}

// approvedPart is fact 1: the approved version, and what changed since.
func approvedPart(c safetyCase) safetyPart {
	p := safetyPart{ID: "approved", Heading: "1. Approved version", Links: []pageLink{{"Release and sign-off", safetyBase + "/release"}}}
	p.Facts = &summaryList{Rows: []summaryRow{{text("Version"), approvalCell(c.Log)}}}
	return p
}

// doubtPart is fact 2: the controls whose evidence is contradicted or stale, the
// worst first.
func (s *Site) doubtPart(c safetyCase) safetyPart {
	p := safetyPart{ID: "evidence", Heading: "2. Controls whose evidence is contradicted or stale", Links: []pageLink{{"All safety signals", safetyBase + "/signals"}}}
	if c.report.At.IsZero() {
		p.Text = []string{"Nothing has been measured yet. That does not mean that every control works."}
		return p
	}
	doubtful := c.doubtful()
	all := fmt.Sprintf("All %s: %s. Measured %s.", plural(uint64(len(c.Controls)), "control", "controls"), c.evidenceOf(c.Controls), s.formatTime(c.report.At))
	p.Text = []string{all}
	if len(doubtful) == 0 {
		p.Text = []string{"None is contradicted or stale. " + all}
		return p
	}
	t := table{
		ID: "doubtful", Caption: caption{Text: "Contradicted or stale, the worst first", Hidden: true}, Compact: true, Responsive: true,
		Head: []cell{text("Control"), text("Evidence"), text("Why"), text("Hazards it carries")},
	}
	for _, x := range doubtful[:min(len(doubtful), doubtsListed)] {
		t.Rows = append(t.Rows, []cell{
			link(x.ID+" "+x.Text, controlHref(x.ID)), tagged(evidenceTag(c.report.State(x.ID))), text(c.reason(x.ID)), text(c.carried(x)),
		})
	}
	p.Tables = []table{t}
	if more := len(doubtful) - doubtsListed; more > 0 {
		p.Text = append(p.Text, fmt.Sprintf("%d more are under Safety signals.", more))
	}
	return p
}

// doubtful lists the controls whose evidence is contradicted or stale, the worst first.
func (c safetyCase) doubtful() []hazardlog.Control {
	var list []hazardlog.Control
	for _, want := range []hazardlog.EvidenceState{hazardlog.Contradicted, hazardlog.Stale} {
		for _, x := range c.Controls {
			if c.report.State(x.ID) == want {
				list = append(list, x)
			}
		}
	}
	return list
}

// reason says why a control's evidence is as it is: of the slots that are as bad as
// both together.
func (c safetyCase) reason(control string) string {
	got, worst := c.report.Controls[control], c.report.State(control)
	var parts []string
	if got.Implemented.State == worst && got.Implemented.Reason != "" {
		parts = append(parts, "Implemented: "+got.Implemented.Reason)
	}
	if got.Effective.State == worst && got.Effective.Reason != "" {
		parts = append(parts, "Effective: "+got.Effective.Reason)
	}
	return cmp.Or(strings.Join(parts, " "), "No reason is given")
}

// carried names the hazards of a control with their residual risk.
func (c safetyCase) carried(x hazardlog.Control) string {
	var parts []string
	for _, id := range x.Hazards {
		h, _ := c.Find(id)
		parts = append(parts, id+" (risk "+h.Residual.Risk().String()+")")
	}
	return strings.Join(parts, ", ")
}

// gravePart is fact 3: residual risk 3 and above, with reasons.
func gravePart(c safetyCase) safetyPart {
	p := safetyPart{ID: "grave", Heading: "3. Residual risk 3 and above", Links: []pageLink{{"All hazards beside the matrix", hazardsBase}}}
	t := table{
		ID: "grave-table", Caption: caption{Text: "Residual risk 3 and above, or not rated", Hidden: true}, Compact: true, Responsive: true,
		Head: []cell{text("Hazard"), text("Residual risk"), text("Why it may stay"), text("Accepted by")},
	}
	for _, h := range gravestFirst(c.Hazards) {
		if risk := h.Residual.Risk(); risk.Rated() && risk < 3 {
			continue
		}
		t.Rows = append(t.Rows, []cell{link(h.ID+" "+h.Name, hazardsBase+"/"+h.ID), c.risk(h, h.Residual), staysCell(h), text(cmp.Or(h.Acceptance.By, "Nobody"))})
	}
	if t.Rows == nil {
		p.Text = []string{"None: every hazard is rated, and none has a residual risk above 2."}
		return p
	}
	p.Tables = []table{t}
	return p
}

// staysCell is why a risk may stay: the officer's reason, or that there is none.
func staysCell(h hazardlog.Hazard) cell {
	if reason := cmp.Or(h.Acceptance.Reason, h.Acceptance.Benefit); reason != "" {
		return text(reason)
	}
	out := tagged(tag{Text: "No reason yet", Colour: "orange"})
	if h.Residual.Justification != "" {
		out.Lines = []string{"Rated so because: " + h.Residual.Justification}
	}
	return out
}

// dueItem is something that somebody must do by a day.
type dueItem struct {
	what cell
	on   hazardlog.Day // "": open, without a day
	note string
}

// due lists reviews, drills, incidents and registrations: what is overdue or due in
// the next days, the most overdue first.
func (s *Site) due(c safetyCase) []dueItem {
	until := hazardlog.DayOf(s.cfg.Now().AddDate(0, 0, dueSoon))
	var list []dueItem
	add := func(on hazardlog.Day, what cell, note string) {
		if on != "" && on <= until {
			list = append(list, dueItem{what, on, note})
		}
	}
	for _, v := range c.Reviews {
		if v.Done == "" {
			add(v.Due, link(v.ID+" "+v.Of, safetyBase+"/reviews"), "Review or drill")
		}
	}
	for _, h := range c.Hazards {
		if h.Status != hazardlog.Closed {
			add(h.Review, link(h.ID+" "+h.Name, hazardsBase+"/"+h.ID), "Review of the hazard")
		}
	}
	if a := c.Approved(); a != nil {
		add(a.Officer.Expires, text("Registration of "+a.Officer.String()), "Who signed version "+a.Version)
	}
	slices.SortStableFunc(list, func(a, b dueItem) int { return cmp.Compare(a.on, b.on) })
	for _, i := range c.Incidents {
		if !i.Resolved {
			list = append(list, dueItem{link(i.ID+" "+i.Text, safetyBase+"/incidents/"+i.ID), "", "Incident of " + i.On.String() + ", not resolved"})
		}
	}
	return list
}

// duePart is fact 4.
func (s *Site) duePart(c safetyCase) safetyPart {
	p := safetyPart{ID: "due", Heading: "4. What is due", Links: []pageLink{{"Reviews and drills", safetyBase + "/reviews"}, {"Incidents", safetyBase + "/incidents"}}}
	list := s.due(c)
	if len(list) == 0 {
		p.Text = []string{fmt.Sprintf("Nothing is due in the next %d days.", dueSoon)}
		return p
	}
	t := table{
		ID: "due-table", Caption: caption{Text: "What is due", Hidden: true}, Compact: true, Responsive: true,
		Head: []cell{text("What"), text("By"), text("State"), text("Kind")},
	}
	for _, d := range list {
		t.Rows = append(t.Rows, []cell{d.what, text(cmp.Or(d.on.String(), "No day is set")), tagged(s.dueTag(d.on)), text(d.note)})
	}
	p.Tables = []table{t}
	return p
}

// dueTag says how soon something is due.
func (s *Site) dueTag(on hazardlog.Day) tag {
	switch {
	case on == "":
		return tag{Text: "Open", Colour: "yellow"}
	case on < s.today():
		return tag{Text: "Overdue", Colour: "red"}
	}
	return tag{Text: "Due soon", Colour: "yellow"}
}

// runningPart is fact 5: is the running gateway the one that was approved?
func (s *Site) runningPart(c safetyCase) safetyPart {
	p := safetyPart{ID: "running", Heading: "5. Is the running gateway the one approved?"}
	verdict, rows := s.compareRunning(c)
	p.Facts = &summaryList{Rows: append([]summaryRow{{text("Answer"), verdict}}, rows...)}
	return p
}

// compareRunning compares what runs with what ran when the version was signed.
func (s *Site) compareRunning(c safetyCase) (verdict cell, rows []summaryRow) {
	a := c.Approved()
	if s.cfg.Safety.Running == nil {
		return cell{Tag: &tag{Text: "Not known", Colour: "grey"}, Text: "What runs is not known here."}, nil
	}
	var approved hazardlog.Baseline
	if a != nil {
		approved = a.Baseline
	}
	running := s.cfg.Safety.Running()
	different := 0
	for _, f := range []struct{ name, approved, running string }{
		{"Program", approved.Program, running.Program}, {"Configuration", approved.Config, running.Config}, {"Rules", approved.Policy, running.Policy},
	} {
		words := "Running: " + known(f.running) + ". Approved: " + known(f.approved) + "."
		if a == nil {
			words = "Running: " + known(f.running) + "."
		} else if f.running != f.approved {
			different++
			words = "Differs. " + words
		}
		rows = append(rows, summaryRow{text(f.name), text(words)})
	}
	switch {
	case a == nil:
		return cell{Tag: &tag{Text: "Not known", Colour: "grey"}, Text: "No version has been approved, so there is nothing to compare with."}, rows
	case different > 0:
		return cell{Tag: &tag{Text: "No", Colour: "red"}, Text: fmt.Sprintf("%d of 3 differ from what ran when version %s was signed.", different, a.Version)}, rows
	}
	return cell{Tag: &tag{Text: "Yes", Colour: "green"}, Text: "The same as when version " + a.Version + " was signed."}, rows
}

// known is a version or the beginning of a hash, or that nobody knows.
func known(text string) string {
	if text == "" {
		return "not known"
	}
	return text[:min(len(text), 16)]
}

// approvalCell says in words whether the log is approved as it stands, and what
// changed since.
func approvalCell(log hazardlog.Log) cell {
	if len(log.Hazards) == 0 {
		return text("No hazard log is loaded")
	}
	words := strings.TrimPrefix(log.State(), "Draft: ") // the tag says so
	if log.Approved() == nil {
		return cell{Tag: &tag{Text: "Not approved", Colour: "red"}, Text: sentenceCase(words)}
	}
	if _, changes := log.Since(); len(changes) > 0 {
		return cell{Tag: &tag{Text: "Draft", Colour: "orange"}, Text: words, Lines: changeLines(changes)}
	}
	return cell{Tag: &tag{Text: "Approved", Colour: "green"}, Text: words}
}

// changeLines names the first changes.
func changeLines(changes []hazardlog.Difference) []string {
	var lines []string
	for _, d := range changes[:min(len(changes), changesListed)] {
		lines = append(lines, d.String())
	}
	if more := len(changes) - changesListed; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more, under Release and sign-off", more))
	}
	return lines
}
