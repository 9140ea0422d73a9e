package dashboards

import (
	"context"
	"errors"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
	"github.com/matron-epr/matron/policy"
)

// Safety is what the pages of the hazard log need beyond the log. With the zero
// Safety nothing is measured, and nobody changes or signs anything.
type Safety struct {
	// Change makes changes of a log, all or none. Its error is a
	// hazardlog.Conflict, or wraps hazardlog.ErrInvalid when they may not be.
	Change func(ctx context.Context, log string, by hazardlog.Actor, changes ...hazardlog.Change) error
	// Evidence is what was last measured of the controls. It answers from memory.
	Evidence func(ctx context.Context) evidence.Report
	// Officer is the clinical safety officer that somebody is, by the
	// configuration.
	Officer func(who policy.Subject) (hazardlog.Officer, bool)
	// Began is when somebody's session did: signing in again begins another.
	Began func(who policy.Subject) time.Time
	// SignIn is where somebody proves again who they are before the page "return"
	// is shown.
	SignIn string
	// Running is what runs now.
	Running func() hazardlog.Baseline
	// Packer makes the issue pack; nil offers none.
	Packer IssuePacker
}

// IssuePacker writes all that accompanies an issued version of the hazard log, as
// one ZIP file.
type IssuePacker interface {
	// Pack writes nothing on an error. One that wraps hazardlog.ErrInvalid says in
	// words why there is no pack; it names no patient.
	Pack(ctx context.Context, w io.Writer) error
}

const (
	safetyBase  = Base + "safety"
	hazardsBase = Base + "hazards"
)

// safetyPage is any page of the hazard log: parts below each other.
type safetyPage struct {
	chrome
	Tabs    []navItem
	Back    *backLink
	Caption string
	Heading string
	Intro   string
	Parts   []safetyPart
}

// safetyPart is one part of such a page; what is empty is not shown.
type safetyPart struct {
	ID, Heading, Class string
	State              *state
	Trouble            string
	Inset              *insetText
	Text               []string
	Views              []navItem
	Facts              *summaryList
	Items              []cell
	Picture            *picture
	Matrix             *matrix
	Tables             []table
	Forms              []pageForm
	Button             *button
	Links              []pageLink
}

// picture is drawn on the server; all that it shows stands in a table as well.
type picture struct {
	ID, Title, Summary string
	SVG                template.HTML
}

// safetyPaths are the pages of the hazard log that the menu of each leads to.
func safetyPaths() []navItem {
	return []navItem{
		{Text: "Overview", Href: safetyBase},
		{Text: "Hazards", Href: hazardsBase},
		{Text: "Safety signals", Href: safetyBase + "/signals"},
		{Text: "Incidents", Href: safetyBase + "/incidents"},
		{Text: "Reviews due", Href: safetyBase + "/reviews"},
		{Text: "Decisions", Href: safetyBase + "/decisions"},
		{Text: "Release and sign-off", Href: safetyBase + "/release"},
	}
}

// safetyView begins a page of the hazard log.
func (s *Site) safetyView(r *http.Request, title, heading string) safetyPage {
	page := safetyPage{chrome: s.chrome(r, title), Heading: heading, Tabs: safetyPaths()}
	for i, tab := range page.Tabs {
		page.Tabs[i].Current = tab.Href == r.URL.Path || tab.Href == hazardsBase && strings.HasPrefix(r.URL.Path, hazardsBase+"/")
	}
	return page
}

// back gives the page a way back to the one that it belongs to.
func (p *safetyPage) back(text, href string) { p.Back = &backLink{Text: text, Href: href} }

func (p *safetyPage) add(part safetyPart) { p.Parts = append(p.Parts, part) }

// safetyCase is the log together with what was measured of it.
type safetyCase struct {
	hazardlog.Log
	report   evidence.Report
	question map[string][]string // controls whose evidence contradicts the rating, by hazard
}

// theCase reads the log and the evidence. A log without hazards is none.
func (s *Site) theCase(r *http.Request) (safetyCase, error) {
	log, err := s.hazardLog(r)
	if err != nil {
		return safetyCase{}, err
	}
	c := safetyCase{Log: log}
	if s.cfg.Safety.Evidence != nil {
		c.report = s.cfg.Safety.Evidence(r.Context())
		c.question = evidence.InQuestion(log, c.report)
	}
	return c, nil
}

// facts are what lint may take into account.
func (s *Site) facts(c safetyCase) hazardlog.Facts {
	f := hazardlog.Facts{Today: s.today(), Evidence: c.report.States(c.Log), Implemented: c.report.Implemented()}
	if s.cfg.Safety.Running != nil {
		running := s.cfg.Safety.Running()
		f.Running = &running
	}
	return f
}

func (s *Site) today() hazardlog.Day { return hazardlog.DayOf(s.cfg.Now()) }

// loaded reports whether there is a log to show.
func (c safetyCase) loaded() bool { return c.Standard != nil }

// noLog says so where a page would show the log.
func noLog() safetyPart {
	return safetyPart{Inset: &insetText{Text: "No hazard log is loaded. What could harm a patient is unknown here, which does not mean that nothing could."}}
}

// mayEdit reports whether the viewer may change the log.
func (s *Site) mayEdit(r *http.Request) bool {
	return s.cfg.Safety.Change != nil && s.permits(r.Context(), policy.Safety, policy.Update) && !policy.SubjectFrom(r.Context()).Machine
}

// editor is the viewer as the author of changes.
func editor(r *http.Request) hazardlog.Actor {
	who := policy.SubjectFrom(r.Context())
	return hazardlog.Actor{Issuer: who.Issuer, Account: who.Sub, Name: who.Name}
}

// evidenceWords name a state of evidence, the worst first.
func evidenceWords() []struct {
	State        hazardlog.EvidenceState
	Text, Colour string
} {
	return []struct {
		State        hazardlog.EvidenceState
		Text, Colour string
	}{
		{hazardlog.Contradicted, "Contradicted", "red"},
		{hazardlog.Stale, "Stale", "orange"},
		{hazardlog.NotEnough, "Not enough data", "yellow"},
		{hazardlog.NotMeasured, "Not measured", "grey"},
		{hazardlog.Supported, "Supported", "green"},
	}
}

// evidenceTag names a state of evidence. What is not known is never green.
func evidenceTag(v hazardlog.EvidenceState) tag {
	for _, w := range evidenceWords() {
		if w.State == v {
			return tag{Text: w.Text, Colour: w.Colour}
		}
	}
	return tag{Text: "Not known", Colour: "grey"}
}

// evidenceOf counts the controls of a hazard by state: "1 contradicted, 8 not measured".
func (c safetyCase) evidenceOf(controls []hazardlog.Control) string {
	var parts []string
	for _, w := range evidenceWords() {
		n := 0
		for _, x := range controls {
			if c.report.State(x.ID) == w.State {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, formatCount(uint64(n))+" "+strings.ToLower(w.Text))
		}
	}
	if parts == nil {
		return "No control"
	}
	return strings.Join(parts, ", ")
}

// questioned says which evidence puts the rating of a hazard in question, "" for none.
func (c safetyCase) questioned(hazard string) string {
	if controls := c.question[hazard]; len(controls) > 0 {
		return "In question: evidence contradicts " + strings.Join(controls, ", ")
	}
	return ""
}

// risk is a rating as it was signed or proposed and, beside it, what puts it in
// question.
func (c safetyCase) risk(h hazardlog.Hazard, r hazardlog.Rating) cell {
	shown := riskTag(r)
	words := c.questioned(h.ID)
	if words != "" && r.Risk().Rated() && r.Risk() < 4 { // no calm colour beside it
		shown.Colour = "orange"
	}
	out := tagged(shown)
	out.Lines = append(proposedLine(r), lines(words)...)
	return out
}

// proposedLine says that nobody stands behind a rating.
func proposedLine(r hazardlog.Rating) []string {
	if r.Risk().Rated() && !r.Owned() {
		return []string{"Proposed"}
	}
	return nil
}

// hazardLinks names hazards with links to them, each a line of a list.
func (c safetyCase) hazardLinks(ids []string) []cell {
	var out []cell
	for _, id := range ids {
		h, _ := c.Find(id)
		out = append(out, link(id+" "+h.Name, hazardsBase+"/"+id))
	}
	return out
}

// pack answers with the issue pack as a file.
func (s *Site) pack(r *http.Request) (answer, error) {
	if s.cfg.Safety.Packer == nil {
		return answer{}, errOpaque
	}
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	if !c.loaded() {
		return answer{}, errOpaque
	}
	var file strings.Builder
	err = s.cfg.Safety.Packer.Pack(r.Context(), &file)
	if errors.Is(err, hazardlog.ErrInvalid) {
		return s.releaseView(r, c, err.Error())
	}
	if err != nil {
		return answer{}, unavailable("issue pack", err)
	}
	return answer{file: file.String(), name: packName(c.Log)}, nil
}

// packName is the name of the file: which log, which version, or that it is a draft.
func packName(l hazardlog.Log) string {
	version := "draft"
	if a, changes := l.Since(); a != nil && len(changes) == 0 {
		version = a.Version
	}
	return l.ID + "-hazard-log-" + version + ".zip"
}

// gravestFirst lists hazards, the gravest residual risk first; those that
// nobody has rated before all.
func gravestFirst(hazards []hazardlog.Hazard) []hazardlog.Hazard {
	rank := func(h hazardlog.Hazard) int {
		if r := h.Residual.Risk(); r.Rated() {
			return int(r)
		}
		return 6
	}
	out := slices.Clone(hazards)
	slices.SortStableFunc(out, func(a, b hazardlog.Hazard) int { return rank(b) - rank(a) })
	return out
}
