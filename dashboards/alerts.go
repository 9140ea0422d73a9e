package dashboards

import (
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/policy"
)

const (
	alertsShown     = 100
	alertsShownHome = 5
)

// alertsPage is the list of what detection raised.
type alertsPage struct {
	chrome
	Ran   string
	Gaps  []string // what is not looked for, and what to do
	Empty *insetText
	Table table
	Cases table // of the last run over the record
}

// alerts lists what a person should look at.
func (s *Site) alerts(r *http.Request) (answer, error) {
	if err := s.record(r, sight{screen: "alerts", action: policy.List, several: true}); err != nil {
		return answer{}, err
	}
	found, err := s.cfg.Alerts.Alerts(r.Context(), alertsShown)
	if err != nil {
		return answer{}, unavailable("alerts", err)
	}
	health := s.cfg.Health(r.Context())
	page := alertsPage{
		chrome: s.chrome(r, "Alerts"),
		Ran:    s.detectionRan(health),
		Gaps:   s.alertGaps(health),
	}
	i := slices.IndexFunc(found, func(a Alert) bool { return a.Rank > 0 })
	if i < 0 {
		i = len(found)
	}
	page.Table = s.alertTable("Found while the gateway runs, newest first", found[:i])
	page.Cases = s.alertTable("Found by the last run over the record, most important first", found[i:])
	page.Cases.ID = "cases"
	if len(page.Gaps) > 0 {
		page.Ran = "" // the gaps say it
	}
	if len(found) == 0 {
		page.Empty = s.emptyAlerts(health)
	}
	return answer{template: "alerts", view: page}, nil
}

// detectionRan says when alerts were last looked for.
func (s *Site) detectionRan(h Health) string {
	if h.DetectedAt.IsZero() {
		return "It is not known when detection last ran."
	}
	return "Detection last ran at " + s.formatClock(h.DetectedAt) + "."
}

// emptyAlerts says "none" only when detection is known to have run.
func (s *Site) emptyAlerts(h Health) *insetText {
	if h.DetectedAt.IsZero() {
		return &insetText{Text: "No alert is listed, and whether there should be any is unknown: detection has not run yet."}
	}
	if len(s.alertGaps(h)) > 0 {
		return &insetText{Text: "No alert is listed, but not everything is looked for. " + s.detectionRan(h)}
	}
	return &insetText{Text: "No alerts. " + s.detectionRan(h)}
}

// alertGaps says in sentences what is not looked for, since when, why and what to do.
func (s *Site) alertGaps(h Health) []string {
	p := s.detectionPart(h)
	if p.tag == working() {
		return nil
	}
	return slices.Concat([]string{"Detection" + strings.TrimPrefix(p.text, "It")}, p.more, []string{"To do: " + p.todo})
}

// alertTable lists alerts with both sides: why raised and what could explain it.
func (s *Site) alertTable(title string, found []Alert) table {
	t := table{
		ID: "alerts", Caption: caption{Text: title, Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("When"), text("Importance"), text("Who"), text("Whose record"), text("Why it is listed"), text("What could explain it")},
	}
	for _, a := range found {
		explained := cell{}
		for _, e := range a.Explanations {
			explained.Lines = append(explained.Lines, e.Sentence)
		}
		if len(explained.Lines) == 0 {
			explained = text(unexplained)
		}
		t.Rows = append(t.Rows, []cell{
			s.alertLink(a),
			{Tag: new(severityTag(a.Severity)), Text: judged(a)},
			s.alertPerson(a),
			s.alertPatient(a),
			{Lines: a.Sentences},
			explained,
		})
	}
	return t
}

// judged is what was made of an alert, "" while nothing was.
func judged(a Alert) string {
	if a.Verdict == "" {
		return ""
	}
	return alertVerdictTag(a.Verdict).Text
}

// alertLink is when it was, with the way to it.
func (s *Site) alertLink(a Alert) cell {
	c := when(s.formatTime(a.Time))
	c.Href, c.Hidden = Base+"alerts/"+a.ID, "open this alert"
	if a.Rank > 0 {
		c.After = "(number " + formatCount(uint64(a.Rank)) + ")"
	}
	return c
}

// ofNobody says whether an alert is about what records and about no person.
func (a *Alert) ofNobody() bool { return a.Person == "" && len(a.People) == 0 }

func (s *Site) alertPerson(a Alert) cell {
	if a.ofNobody() {
		return text("Nobody: it is about what records")
	}
	if a.Person == "" {
		return text(plural(uint64(len(a.People)), "person", "people"))
	}
	who := s.personCell(a.Person, a.PersonName, "alert-review")
	if len(a.Roles) > 0 {
		who.Class = "app-table__who"
		who.Lines = []string{sentenceCase(list(a.Roles, ""))}
	}
	return who
}

func (s *Site) alertPatient(a Alert) cell {
	ref := refOf(a.Patient, a.NHSNumber)
	if a.ofNobody() {
		return text("Nobody’s")
	}
	if ref == (patientRef{}) {
		return text("Several patients")
	}
	return s.refCell(ref, "alert-review")
}

func severityTag(v Severity) tag {
	switch v {
	case High:
		return tag{Text: "High", Colour: "red"}
	case Medium:
		return tag{Text: "Medium", Colour: "orange"}
	case Low:
		return tag{Text: "Low", Colour: "blue"}
	case "":
		return tag{Text: "Not rated", Colour: "grey"}
	}
	return tag{Text: sentenceCase(string(v)), Colour: "grey"}
}
