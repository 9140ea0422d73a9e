package dashboards

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// patientPage is "who viewed this record".
type patientPage struct {
	chrome
	Back     backLink
	Identity identity
	Summary  summaryList
	Action   string
	Period   selectField
	Carried  []hidden
	Apply    button
	Views    []navItem // people, events
	Empty    *insetText
	Notice   string
	Table    table
	Pages    pagination
}

// identity is the bar that keeps in sight whom a page is about.
type identity struct {
	Kind   string
	Value  string
	Reveal button // nothing when revealed already
	Note   string
}

// patient answers who viewed one patient's record.
func (s *Site) patient(r *http.Request) (answer, error) {
	ref, err := s.patientFrom(r.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	query := r.URL.Query()
	reason, reveal := query.Get("reason"), query.Get("reveal") == "yes"
	if !knownReason(reason) {
		return s.askWhy(r, reason), nil
	}
	screen, letter := "who-viewed", query.Get("view") == letterView
	if letter {
		screen = "who-viewed-letter"
	}
	err = s.record(r, sight{screen: screen, action: policy.Read, patient: ref, reason: reason, reveal: reveal})
	if err != nil {
		return answer{}, err
	}
	chosen := periodFrom(query.Get("period"))
	q := audit.Query{
		Site: s.cfg.Site, Patient: ref.ID, NHSNumber: ref.NHSNumber,
		From: chosen.from(s.cfg.Now()), Limit: peopleShown,
	}
	if letter {
		return s.letter(r, ref, q, chosen)
	}
	people, err := s.cfg.Accesses.People(r.Context(), q)
	if err != nil {
		return answer{}, unavailable("people", err)
	}
	page := patientPage{
		chrome:   s.chrome(r, "Who viewed this record"),
		Back:     backLink{Text: "Look up", Href: Base + "lookup"},
		Identity: identityOf(ref, r.URL.Path, query, reveal),
		Summary:  s.patientSummary(s.cfg.Health(r.Context()), ref, people),
		Action:   r.URL.Path,
		Period:   periodField(chosen),
		Carried:  carried(query, "reason", "view"),
		Apply:    button{Text: "Apply", Variant: "secondary", Small: true},
		Views:    patientViews(r.URL.Path, query),
	}
	if len(people) == 0 {
		page.Empty = s.emptyPatient(s.cfg.Health(r.Context()), chosen)
		return answer{template: "patient", view: page}, nil
	}
	if query.Get("view") != "events" {
		page.Table = s.peopleTable(ref, people, reason)
		if len(people) == peopleShown {
			page.Notice = "The 200 people with the most views are shown. Every view is under Every view."
		}
		return answer{template: "patient", view: page}, nil
	}
	rows, links, err := s.events(r, q)
	if err != nil {
		return answer{}, err
	}
	page.Table, page.Pages = s.eventTable("Every view, newest first", rows, true, false, reason), links
	return answer{template: "patient", view: page}, nil
}

// identityOf masks the number until the viewer asks for it, which is recorded.
func identityOf(ref patientRef, path string, query url.Values, reveal bool) identity {
	id := identity{Kind: ref.kind(), Value: ref.label(reveal)}
	if reveal {
		id.Note = "Shown in full. This was recorded."
		return id
	}
	id.Reveal = button{Text: "Show in full", Href: address(path, with(query, "reveal", "yes")), Variant: "secondary", Small: true}
	id.Note = "Showing it in full is recorded."
	return id
}

func patientViews(path string, query url.Values) []navItem {
	var items []navItem
	for _, v := range []struct{ text, code string }{{"By person", ""}, {"Every view", "events"}, {"For the patient", letterView}} {
		items = append(items, navItem{Text: v.text, Href: address(path, with(query, "view", v.code, "before", "", "reveal", "")), Current: query.Get("view") == v.code})
	}
	return items
}

// patientSummary counts what the people did.
func (s *Site) patientSummary(h Health, ref patientRef, people []audit.PersonSummary) summaryList {
	var views, refused, emergencies uint64
	var last time.Time
	for _, p := range people {
		views += p.Accesses - min(p.Denied, p.Accesses)
		refused += p.Denied
		if slices.ContainsFunc(p.Bases, func(b string) bool { return strings.HasPrefix(b, "break-glass") }) {
			emergencies++
		}
		if p.Last.After(last) {
			last = p.Last
		}
	}
	newest := s.formatTime(last)
	if len(people) == 0 {
		newest = s.count(h, 0)
		if newest == "0" {
			newest = "Never in this period"
		}
	}
	return summaryList{Rows: []summaryRow{
		{text("People"), text(s.count(h, uint64(len(people))))},
		{text("Views"), text(s.count(h, views))},
		{text("Refused"), text(s.count(h, refused))},
		{text("People who used break-glass"), text(s.count(h, emergencies))},
		{text("Last"), text(newest)},
		{text("Not yet explained"), text(s.unexplainedPeople(h, ref, people))},
	}}
}

// emptyPatient says why nothing is listed: "nobody" only when the index is
// known to be complete.
func (s *Site) emptyPatient(h Health, p period) *insetText {
	if s.stale(h) {
		return &insetText{Text: "Nothing is found, but the searchable copy of the record is behind: whether anybody viewed this record lately is unknown. Try again in a few minutes."}
	}
	when := "No view is recorded."
	if p.days > 0 {
		when = "No view is recorded since " + s.formatDay(p.from(s.cfg.Now())) + ". Choose a longer period to see earlier ones."
	}
	return &insetText{Text: when + " Check that the number is right: views are found by the number that the application used."}
}

// peopleTable lists who viewed the record, most views first.
func (s *Site) peopleTable(ref patientRef, people []audit.PersonSummary, reason string) table {
	t := table{
		ID: "people", Caption: caption{Text: "People who viewed this record", Size: "m"}, Compact: true, Responsive: true, FirstCellIsHeader: true,
		Head: []cell{text("Who"), text("Role"), number("Views"), number("Refused"), text("First"), text("Last"), text("Parts viewed"), text("What could explain it")},
	}
	for _, p := range people {
		t.Rows = append(t.Rows, []cell{
			s.personCell(p.Person, p.Name, reason),
			text(list(p.Roles, "not known")),
			number(formatCount(p.Accesses - min(p.Denied, p.Accesses))),
			number(formatCount(p.Denied)),
			when(s.formatTime(p.First)),
			when(s.formatTime(p.Last)),
			text(sentenceCase(list(p.Areas, "not known"))),
			s.explanations(ref, p),
		})
	}
	return t
}

// explanations lists what could explain a person's views, one a line: the bases
// that were recorded, and what explains the first and the last view.
func (s *Site) explanations(ref patientRef, p audit.PersonSummary) cell {
	if p.Denied >= p.Accesses {
		return text("Nothing was shown")
	}
	out := cell{}
	for _, code := range p.Bases {
		out.Lines = append(out.Lines, basisWords(code))
	}
	look := func(at time.Time) []string {
		return forReviewers(s.explained(Look{Person: p.Person, Patient: ref.ID, At: at}))
	}
	first, last := look(p.First), look(p.Last)
	for _, sentence := range slices.Concat(first, last) {
		if !slices.Contains(out.Lines, sentence) {
			out.Lines = append(out.Lines, sentence)
		}
	}
	switch {
	case len(out.Lines) == 0:
		return text(unexplained)
	case len(p.Bases) > 0:
	case len(first) == 0:
		out.Lines = append(out.Lines, unexplained+": the first view")
	case len(last) == 0:
		out.Lines = append(out.Lines, unexplained+": the last view")
	}
	return out
}

// unexplainedPeople counts the people of whom nothing is explained.
func (s *Site) unexplainedPeople(h Health, ref patientRef, people []audit.PersonSummary) string {
	if s.cfg.Explain == nil {
		return "Not measured: no list of stays and staff is read"
	}
	if ref.ID == "" && len(people) > 0 {
		return "Not measured: the hospital number that belongs to this NHS number is not known"
	}
	var n uint64
	for _, p := range people {
		if s.explanations(ref, p).Text == unexplained {
			n++
		}
	}
	count := s.count(h, n)
	if count == "1" {
		return "1 person"
	}
	return count + " people"
}
