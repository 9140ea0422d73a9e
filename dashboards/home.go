package dashboards

import (
	"cmp"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/policy"
)

const homeRows = 5

// homePage shows each role what it must do next.
type homePage struct {
	chrome
	Panels []panel
	Empty  *insetText
}

// panel is one part of the home page. Each stands for itself: one that cannot
// be read says so and leaves the others.
type panel struct {
	ID      string
	Heading string
	State   *state
	Facts   *summaryList
	Table   *table
	Text    string
	Trouble string
	More    *pageLink
}

// home shows the panels of every role that the subject has.
func (s *Site) home(r *http.Request) (answer, error) {
	page := homePage{}
	if s.permits(r.Context(), policy.Audit, policy.Read) {
		if err := s.record(r, sight{screen: "home", action: policy.List, several: true}); err != nil {
			return answer{}, err
		}
		page.Panels = append(page.Panels, s.lookupPanel(), s.alertPanel(r), s.refusedPanel(r, "deny"), s.refusedPanel(r, "challenge"))
	}
	if s.permits(r.Context(), policy.Live, policy.Read) {
		page.Panels = append(page.Panels, s.livePanel(r))
	}
	if s.permits(r.Context(), policy.Safety, policy.Read) {
		page.Panels = append(page.Panels, s.safetyPanel(r))
	}
	page.chrome = s.chrome(r, "Home")
	if len(page.Panels) == 0 {
		page.Empty = &insetText{Text: "There is nothing here for your role. If your work needs these pages, ask information governance."}
	}
	return answer{template: "home", view: page}, nil
}

func (s *Site) lookupPanel() panel {
	return panel{
		ID: "look-up", Heading: "Look up",
		Text: "Find out who viewed a patient's record, or what a member of staff viewed.",
		More: &pageLink{Label: "Look up a patient or member of staff", Href: Base + "lookup"},
	}
}

// alertPanel shows the first alerts to review.
func (s *Site) alertPanel(r *http.Request) panel {
	p := panel{ID: "to-review", Heading: "Alerts to review", More: &pageLink{Label: "All alerts", Href: Base + "alerts"}}
	found, err := s.cfg.Alerts.Alerts(r.Context(), alertsShownHome)
	if err != nil {
		p.Trouble = "Alerts cannot be read at the moment: how many there are is unknown."
		return p
	}
	if len(found) == 0 {
		p.Text = s.emptyAlerts(s.cfg.Health(r.Context())).Text
		return p
	}
	t := s.alertTable("The first alerts", found)
	t.Caption.Hidden = true
	p.Table = &t
	return p
}

// refusedPanel shows who was refused lately, or was asked for more.
func (s *Site) refusedPanel(r *http.Request, effect string) panel {
	p := panel{ID: "refused", Heading: "Refused in the last 24 hours"}
	if effect == "challenge" {
		p = panel{ID: "asked", Heading: "Asked for a reason or a stronger sign-in in the last 24 hours"}
	}
	rows, err := s.cfg.Accesses.Accesses(r.Context(), audit.Query{
		Site: s.cfg.Site, Effect: effect, Identified: true, From: s.cfg.Now().Add(-24 * time.Hour), Limit: homeRows,
	})
	if err != nil {
		p.Trouble = "This list cannot be read at the moment."
		return p
	}
	if len(rows) == 0 {
		p.Text = "Found: " + s.count(s.cfg.Health(r.Context()), 0) + "."
		return p
	}
	// These links carry no reason: only the viewer knows why they follow one.
	t := s.eventTable(p.Heading+", newest first", rows, true, true, "")
	t.ID, t.Caption.Hidden = p.ID+"-table", true
	p.Table = &t
	return p
}

// livePanel says whether it works and whether something is happening.
func (s *Site) livePanel(r *http.Request) panel {
	health := s.cfg.Health(r.Context())
	line := s.stateLine(health)
	p := panel{ID: "live", Heading: "Live", State: &line, More: &pageLink{Label: "The last hour", Href: Base + "live"}}
	to := s.cfg.Now().Truncate(liveStep).Add(liveStep)
	rates, err := s.cfg.Accesses.Rates(r.Context(), to.Add(-5*liveStep), to, liveStep)
	if err != nil {
		p.Trouble = "Rates cannot be read at the moment: they are unknown, not nought."
		rates = nil
	}
	facts := s.liveFacts(health, rates)
	p.Facts = &facts
	return p
}

// safetyPanel is the five facts of the clinical safety overview in short.
func (s *Site) safetyPanel(r *http.Request) panel {
	p := panel{ID: "safety", Heading: "Clinical safety", More: &pageLink{Label: "Clinical safety in full", Href: safetyBase}}
	c, err := s.theCase(r)
	if err != nil {
		p.Trouble = "The hazard log cannot be read at the moment: what is approved is unknown."
		return p
	}
	running, _ := s.compareRunning(c)
	doubtful := "Not measured yet"
	if !c.report.At.IsZero() {
		doubtful = plural(uint64(len(c.doubtful())), "control", "controls") + ": " + c.evidenceOf(c.Controls)
	}
	due := "Nothing"
	if list := s.due(c); len(list) > 0 {
		due = plural(uint64(len(list)), "thing", "things")
	}
	p.Facts = &summaryList{Rows: []summaryRow{
		{text("Approved version of the hazard log"), approvalCell(c.Log)},
		{text("Controls whose evidence is contradicted or stale"), link(doubtful, safetyBase+"#evidence")},
		{text("Residual risk 3 or more"), gravestCell(c)},
		{text("Reviews, drills and incidents due"), link(due, safetyBase+"#due")},
		{text("Is the running gateway the one approved?"), running},
	}}
	return p
}

// gravestCell counts the hazards whose residual risk needs a reason, gives the
// reasons of the gravest, and counts those that nobody has rated.
func gravestCell(c safetyCase) cell {
	var grave []hazardlog.Hazard
	var unrated uint64
	for _, h := range gravestFirst(c.Hazards) {
		switch risk := h.Residual.Risk(); {
		case !risk.Rated():
			unrated++
		case risk >= 3:
			grave = append(grave, h)
		}
	}
	words := plural(uint64(len(grave)), "hazard", "hazards")
	if unrated > 0 {
		words += ", and " + formatCount(unrated) + " not rated"
	}
	out := link(words, hazardsBase)
	for _, h := range grave[:min(len(grave), homeRows)] {
		out.Lines = append(out.Lines, h.ID+", risk "+h.Residual.Risk().String()+": "+cmp.Or(h.Acceptance.Reason, h.Residual.Justification))
	}
	return out
}
