package dashboards

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// hazard shows one hazard: its bow-tie, ratings, transfers, what the checks say, and
// its history.
func (s *Site) hazard(r *http.Request) (answer, error) {
	c, h, err := s.oneHazard(r)
	if err != nil {
		return answer{}, err
	}
	page := s.safetyView(r, h.ID+": "+h.Name, h.Name)
	page.Caption = h.ID
	page.back("Hazard log", hazardsBase)
	doubt := safetyPart{}
	if words := c.questioned(h.ID); words != "" {
		doubt.Trouble = words + ". The rating below stands as it was signed or proposed until a clinical safety officer rates it anew."
	}
	doubt.Facts = &summaryList{Rows: c.hazardFacts(h)}
	page.add(doubt)
	page.add(safetyPart{Tables: []table{c.ratingTable(h)}, Links: s.ratingLinks(r, c, h)})
	page.add(safetyPart{Picture: c.bowTie(h)})
	page.add(safetyPart{Tables: []table{c.bowTieTable(h)}, Links: s.hazardLinks(r, h)})
	page.add(s.transferPart(r, c, h))
	page.add(findingsPart("What the checks say", c.Lint(s.facts(c)), func(f hazardlog.Finding) bool { return f.Subject == h.Subject() }))
	page.add(c.related(h))
	page.add(safetyPart{Tables: []table{s.historyTable(c, h.Subject())}})
	return answer{template: "safety", view: page}, nil
}

// oneHazard finds the hazard of the address.
func (s *Site) oneHazard(r *http.Request) (safetyCase, hazardlog.Hazard, error) {
	c, err := s.theCase(r)
	if err != nil {
		return c, hazardlog.Hazard{}, err
	}
	h, ok := c.Find(r.PathValue("id"))
	if !ok {
		return c, h, errOpaque
	}
	return c, h, nil
}

func (c safetyCase) hazardFacts(h hazardlog.Hazard) []summaryRow {
	conditions := make([]string, len(h.Conditions))
	for i, v := range h.Conditions {
		conditions[i] = string(v)
	}
	rows := []summaryRow{
		{text("Effect"), text(h.Effect)},
		{text("Hazard"), text(h.Hazard)},
		{text("Harm"), text(h.Harm)},
		{text("Status"), text(string(h.Status))},
		{text("Residual risk"), c.risk(h, h.Residual)},
		{text("Why it may stay"), staysCell(h)},
		{text("Accepted by"), text(cmp.Or(h.Acceptance.By, "Nobody"))},
		{text("Evidence"), text(c.evidenceOf(c.ControlsOf(h.ID)))},
		{text("Owner"), text(h.Owner)},
		{text("Next review"), text(cmp.Or(h.Review.String(), "No day is set"))},
		{text("Conditions"), text(sentenceCase(list(conditions, "not said")))},
		{text("Log"), approvalCell(c.Log)},
	}
	if len(h.Notes) > 0 {
		rows = append(rows, summaryRow{text("Notes"), cell{Lines: h.Notes}})
	}
	if h.Origin != nil {
		rows = append(rows, summaryRow{text("Comes from"), text("Log " + h.Origin.Log + ", " + h.Origin.ID + ", version " + cmp.Or(h.Origin.Version, "not approved"))})
	}
	return rows
}

func (c safetyCase) ratingTable(h hazardlog.Hazard) table {
	t := table{
		ID: "ratings", Caption: caption{Text: "Ratings", Size: "m"}, FirstCellIsHeader: true, Compact: true, Responsive: true,
		Head: []cell{text("Rating"), text("Severity"), text("Likelihood"), text("Risk"), text("What the risk asks for"), text("Why"), text("Assessed by")},
	}
	add := func(name string, v hazardlog.Rating, risk cell) {
		severity := text(orNotRated(string(v.Severity)))
		if v.Consequence != "" {
			severity.Lines = []string{c.consequence(v)}
		}
		why := text(v.Justification)
		if v.Lowered != "" {
			why.Lines = []string{"Severity lowered because: " + v.Lowered}
		}
		t.Rows = append(t.Rows, []cell{text(name), severity, text(orNotRated(string(v.Likelihood))), risk, text(c.Standard.Level(v.Risk()).Meaning), why, text(assessedBy(v))})
	}
	add("Initial", h.Initial, tagged(riskTag(h.Initial)))
	add("Residual", h.Residual, c.risk(h, h.Residual))
	return t
}

// consequence is the answer to the two questions that a severity comes from.
func (c safetyCase) consequence(v hazardlog.Rating) string {
	for _, o := range c.Standard.Consequences {
		if o.ID == v.Consequence {
			return o.Text + ", " + string(v.Patients) + " patient(s)"
		}
	}
	return ""
}

// ratingLinks lead to what the viewer may do about ratings.
func (s *Site) ratingLinks(r *http.Request, c safetyCase, h hazardlog.Hazard) []pageLink {
	if !s.mayEdit(r) {
		return nil
	}
	at := hazardsBase + "/" + h.ID
	links := []pageLink{{"Rate the initial risk", at + "/initial"}, {"Rate the residual risk", at + "/residual"}}
	if _, ok := s.officer(r); ok {
		links = append(links, pageLink{"Assess proposed ratings", s.signAgain(s.ticket(r, c, signAssess, ""))}, pageLink{"Accept the residual risk", s.signAgain(s.ticket(r, c, signAccept, h.ID))})
	}
	return links
}

func (s *Site) hazardLinks(r *http.Request, h hazardlog.Hazard) []pageLink {
	if !s.mayEdit(r) {
		return nil
	}
	at := hazardsBase + "/" + h.ID
	return []pageLink{{"Change the words of this hazard", at + "/edit"}, {"Change its status", at + "/status"}, {"Add a control", safetyBase + "/new/control?hazard=" + h.ID}}
}

// transferPart is what other organisations must do, and what they said to it.
func (s *Site) transferPart(r *http.Request, c safetyCase, h hazardlog.Hazard) safetyPart {
	t := table{
		ID: "transfers", Caption: caption{Text: "For another organisation to do", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Id"), text("What they must do"), text("Who"), text("Answer")},
	}
	p := safetyPart{}
	_, isOfficer := s.officer(r)
	for _, v := range c.TransfersOf(h.ID) {
		said := tagged(transferTag(v.State))
		if v.By != "" {
			said.Lines = append(said.Lines, "By "+v.By)
		}
		if v.Reason != "" {
			said.Lines = append(said.Lines, v.Reason)
		}
		for _, a := range c.AnswersTo(v.ID) {
			said.Lines = append(said.Lines, a.From+" on "+a.On.String()+", on version "+a.Version+": "+a.Answer())
		}
		asked := v.Condition
		if v.Control != "" {
			asked = v.Control + ": " + asked
		}
		t.Rows = append(t.Rows, []cell{{Text: v.ID, Class: "app-table__id"}, text(asked), text(cmp.Or(v.To, "Nobody is named")), said})
		if isOfficer && s.mayEdit(r) && v.State == hazardlog.Offered && c.Role == hazardlog.Deployer {
			p.Links = append(p.Links, pageLink{"Accept or decline " + v.ID, s.signAgain(s.ticket(r, c, signAnswer, v.ID))})
		}
	}
	if t.Rows != nil {
		p.Tables = []table{t}
	}
	if s.mayEdit(r) {
		p.Links = append(p.Links, pageLink{"Ask another organisation to do something", safetyBase + "/new/transfer?hazard=" + h.ID})
	}
	return p
}

func transferTag(v hazardlog.TransferState) tag {
	switch v {
	case hazardlog.Accepted:
		return tag{Text: "Accepted", Colour: "green"}
	case hazardlog.Declined:
		return tag{Text: "Declined", Colour: "red"}
	case hazardlog.Offered:
	}
	return tag{Text: "Not answered", Colour: "yellow"}
}

// related lists the incidents and decisions about a hazard.
func (c safetyCase) related(h hazardlog.Hazard) safetyPart {
	p := safetyPart{}
	for _, i := range c.Incidents {
		if slices.Contains(i.Hazards, h.ID) {
			p.Items = append(p.Items, link("Incident "+i.ID+", "+i.On.String()+": "+i.Text, safetyBase+"/incidents/"+i.ID))
		}
	}
	for _, d := range c.Decisions {
		if slices.Contains(d.Hazards, h.ID) {
			p.Items = append(p.Items, link("Decision "+d.ID+", "+d.On.String()+": "+d.Text, safetyBase+"/decisions"))
		}
	}
	if p.Items != nil {
		p.Heading = "Incidents and decisions"
	}
	return p
}

// findingsPart lists findings of the checks, errors first.
func findingsPart(heading string, all []hazardlog.Finding, keep func(hazardlog.Finding) bool) safetyPart {
	p := safetyPart{ID: "checks", Heading: heading}
	for _, isError := range []bool{true, false} {
		for _, f := range all {
			if f.Error == isError && keep(f) {
				p.Items = append(p.Items, findingCell(f))
			}
		}
	}
	if p.Items == nil {
		p.Text = []string{"The checks found nothing."}
	}
	return p
}

func findingTag(f hazardlog.Finding) tag {
	if f.Error {
		return tag{Text: "Error", Colour: "red"}
	}
	return tag{Text: "Warning", Colour: "yellow"}
}

func findingCell(f hazardlog.Finding) cell {
	kind := findingTag(f)
	words := f.Text
	if f.Field != "" {
		words = strings.NewReplacer(".", " ", "_", " ").Replace(f.Field) + ": " + words
	}
	if f.Clause != "" {
		words += " (" + f.Clause + ")"
	}
	return cell{Tag: &kind, Text: f.Subject.String(), Href: subjectHref(f.Subject), After: words}
}

// subjectHref is the page of what an event or a finding is about, "" for none.
func subjectHref(v hazardlog.Subject) string {
	switch v.Kind {
	case hazardlog.OfHazard:
		return hazardsBase + "/" + v.ID
	case hazardlog.OfControl:
		return controlHref(v.ID)
	case hazardlog.OfIncident:
		return safetyBase + "/incidents/" + v.ID
	case hazardlog.OfDecision:
		return safetyBase + "/decisions"
	case hazardlog.OfReview:
		return safetyBase + "/reviews"
	case hazardlog.OfVersion, hazardlog.OfLog:
		return safetyBase + "/release"
	case hazardlog.OfTransfer, hazardlog.OfReply:
	}
	return ""
}

// historyTable is all that happened to something, the newest first. Nothing is ever
// taken out of it.
func (s *Site) historyTable(c safetyCase, about hazardlog.Subject) table {
	t := table{
		ID: "history", Caption: caption{Text: "History", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("When"), text("Who"), text("What"), text("Why")},
	}
	events := c.Events()
	slices.Reverse(events)
	for _, e := range events {
		if e.Subject != about {
			continue
		}
		what := cell{Text: "Saved unchanged"}
		if changes := c.Did(e); len(changes) > 0 {
			what = cell{Lines: allLines(changes)}
		}
		who := text(e.By.String())
		if e.By.Proof != nil {
			who.Lines = []string{"Proved by " + proofWords(e.By.Proof.Method)}
		}
		t.Rows = append(t.Rows, []cell{when(s.formatTime(e.At)), who, what, text(e.Why)})
	}
	return t
}

func allLines(changes []hazardlog.Difference) []string {
	out := make([]string, len(changes))
	for i, d := range changes {
		out[i] = d.String()
	}
	return out
}

// proofWords names how somebody proved who they are.
func proofWords(method string) string {
	switch method {
	case "key":
		return "their key"
	case signInProof:
		return "signing in again"
	}
	return method
}
