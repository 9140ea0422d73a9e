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

const (
	pageRows    = 50
	peopleShown = 200
)

// period is the stretch of time that a list covers.
type period struct {
	code string
	text string
	days int // 0 means everything
}

func periods() []period {
	return []period{
		{"30d", "Last 30 days", 30},
		{"90d", "Last 90 days", 90},
		{"365d", "Last 12 months", 365},
		{"all", "Everything recorded", 0},
	}
}

// periodFrom reads the code; anything unknown is everything, so that a mistake
// in an address never hides an access.
func periodFrom(code string) period {
	all := periods()
	if i := slices.IndexFunc(all, func(p period) bool { return p.code == code }); i >= 0 {
		return all[i]
	}
	return all[len(all)-1]
}

func (p period) from(now time.Time) time.Time {
	if p.days == 0 {
		return time.Time{}
	}
	return now.AddDate(0, 0, -p.days)
}

// periodField lets the viewer choose the period.
func periodField(chosen period) selectField {
	f := selectField{ID: "period", Name: "period", Label: label{Text: "Period"}}
	for _, p := range periods() {
		f.Items = append(f.Items, option{Value: p.code, Text: p.text, Selected: p.code == chosen.code})
	}
	return f
}

// hidden is a field that a form carries along.
type hidden struct{ Name, Value string }

// carried lists the parts of the query that the period form keeps.
func carried(query url.Values, names ...string) []hidden {
	var out []hidden
	for _, name := range names {
		if v := query.Get(name); v != "" {
			out = append(out, hidden{name, v})
		}
	}
	return out
}

// events lists one page of accesses and the way to the next.
func (s *Site) events(r *http.Request, q audit.Query) ([]audit.Access, pagination, error) {
	query := r.URL.Query()
	before, err := s.placeFrom(query.Get("before"))
	if err != nil {
		return nil, pagination{}, err
	}
	q.Before, q.Limit = before, pageRows+1
	rows, err := s.cfg.Accesses.Accesses(r.Context(), q)
	if err != nil {
		return nil, pagination{}, unavailable("accesses", err)
	}
	var links pagination
	if query.Get("before") != "" {
		links.Previous = &pageLink{Label: "Newest", Href: address(r.URL.Path, with(query, "before", ""))}
	}
	if len(rows) > pageRows {
		rows = rows[:pageRows]
		last := rows[pageRows-1]
		next := s.placeID(audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq})
		links.Next = &pageLink{Label: "Older", Href: address(r.URL.Path, with(query, "before", next))}
	}
	return rows, links, nil
}

// eventTable lists accesses; who and whose leave out what the page is about.
func (s *Site) eventTable(title string, rows []audit.Access, who, whose bool, reason string) table {
	t := table{ID: "events", Caption: caption{Text: title, Size: "m"}, Compact: true, Responsive: true, Head: []cell{text("When")}}
	if who {
		t.Head = append(t.Head, text("Who"), text("Role"))
	}
	if whose {
		t.Head = append(t.Head, text("Whose record"))
	}
	t.Head = append(t.Head, text("What"), text("Part of the record"), text("Why"), text("Result"))
	for _, a := range rows {
		row := []cell{s.decisionCell(a, reason)}
		if who {
			row = append(row, s.personCell(a.Person, a.UserName, reason), text(list(a.Roles, "not known")))
		}
		if whose {
			row = append(row, s.patientCell(a, reason))
		}
		row = append(row, text(did(a.Action)), text(part(a)), s.why(a), tagged(result(a)))
		t.Rows = append(t.Rows, row)
	}
	return t
}

// decisionCell is when an access was, with the way to why it was decided so.
func (s *Site) decisionCell(a audit.Access, reason string) cell {
	c := when(s.formatSecond(a.Time))
	if s.cfg.Decisions != nil && a.Source != "" {
		c.Href = s.decisionURL(decisionRef{a.Source, a.Seq, patientRef{a.Patient, a.NHSNumber}, a.Person}, reason)
		c.Hidden = "why it was decided so"
	}
	return c
}

// formatSecond is for lists in which the order matters.
func (s *Site) formatSecond(t time.Time) string {
	return t.In(s.cfg.Location).Format("2 January 2006, 15:04:05")
}

// personCell names a member of staff, with the way to their page.
func (s *Site) personCell(person, name, reason string) cell {
	switch {
	case person == "" && name == "":
		return text("Not known")
	case person == "":
		return text(name)
	case name == "":
		name = person
	}
	return link(name, s.staffURL(person, because(reason)))
}

// patientCell names a patient, masked, with the way to their page. Unknown and
// nobody are different things.
func (s *Site) patientCell(a audit.Access, reason string) cell {
	ref := refOf(a.Patient, a.NHSNumber)
	if ref == (patientRef{}) {
		if a.Certainty == audit.None {
			return text("No patient")
		}
		return text("Not known")
	}
	return s.refCell(ref, reason)
}

// refCell names a patient, masked, with the way to who viewed their record.
func (s *Site) refCell(ref patientRef, reason string) cell {
	return cell{
		Text: ref.label(false), Href: s.patientURL(ref, because(reason)),
		Hidden: "who viewed this record", Class: "app-table__id",
	}
}

// part says which part of the record it was.
func part(a audit.Access) string {
	words := []string{}
	if a.Area != "" {
		words = append(words, sentenceCase(readable(a.Area)))
	}
	if a.Screen != "" {
		words = append(words, a.Screen)
	} else if a.Resource != "" {
		words = append(words, a.Resource)
	}
	if len(words) == 0 {
		return "Not known"
	}
	return strings.Join(words, ": ")
}

// unexplained is neutral: nothing has been found yet.
const unexplained = "Not yet explained"

// why says why an access was refused, or what could explain it.
func (s *Site) why(a audit.Access) cell {
	switch {
	case a.Effect != "allow" || (a.Basis == "" && a.WouldDeny):
		return text(sentenceCase(list(a.Reasons, "no reason recorded")))
	case a.Basis != "":
		return text(basisWords(a.Basis))
	case a.Certainty == audit.None:
		return text("Not about a patient")
	}
	if found := forReviewers(s.explained(lookOf(a, a.Patient))); len(found) > 0 {
		return cell{Lines: found}
	}
	if listed(a) {
		return text("Named in a list, not opened")
	}
	return text(unexplained)
}

// listed reports whether a patient was only named among others.
func listed(a audit.Access) bool {
	return a.PatientSource == audit.SourceResponse && (a.Action == "search" || a.Action == "list")
}

// lookOf is what there is to explain about an access, of a patient by the number that
// the application uses.
func lookOf(a audit.Access, patient string) Look {
	wrote := a.Action == string(policy.Create) || a.Action == string(policy.Update) || a.Action == string(policy.Delete)
	return Look{Person: a.Person, Patient: patient, Device: a.Device, At: a.Time, Wrote: wrote && a.Effect == policy.Allow.String()}
}

// explained says what explains a look at a record.
func (s *Site) explained(l Look) []Ground {
	if s.cfg.Explain == nil || l.Person == "" || l.Patient == "" {
		return nil
	}
	return s.cfg.Explain(l)
}

func forReviewers(grounds []Ground) []string {
	var out []string
	for _, g := range grounds {
		out = append(out, g.Reviewer)
	}
	return out
}

// basisWords makes a basis readable and leaves its evidence as it is:
// "break-glass:BG-7" becomes "Break glass: BG-7".
func basisWords(code string) string {
	kind, evidence, found := strings.Cut(code, ":")
	if !found {
		return sentenceCase(readable(code))
	}
	return sentenceCase(readable(kind)) + ": " + evidence
}
