package dashboards

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

const (
	// letterView is the view of the page that is given to a patient.
	letterView = "letter"
	// letterRows is how many accesses one letter tells of, read so many at a time.
	letterRows, letterStep = 5000, 1000

	// notMatched is what a patient reads where nothing explains a look. It is neutral.
	notMatched = "We have not matched this to your care yet. That does not mean that it was wrong."
	emergency  = "They opened it in an emergency and had to say why. Somebody else checks each emergency."
)

// letterPage tells a patient who looked at their record and why, on paper. Staff are
// named by role and ward only: identities are not the patient's by right, and can put
// staff at risk.
type letterPage struct {
	chrome
	Back     backLink
	Identity identity
	Action   string
	Period   selectField
	Carried  []hidden
	Apply    button
	Views    []navItem
	Check    string // for whoever hands it out
	Empty    *insetText
	Covers   string
	Partial  string
	Ask      string
	Table    table
}

// letter makes the list for the patient.
func (s *Site) letter(r *http.Request, ref patientRef, q audit.Query, chosen period) (answer, error) {
	query, h := r.URL.Query(), s.cfg.Health(r.Context())
	rows, whole, err := s.letterAccesses(r, q)
	if err != nil {
		return answer{}, err
	}
	page := letterPage{
		chrome: s.chrome(r, "Who looked at your record"), Back: backLink{Text: "Look up", Href: Base + "lookup"},
		Identity: identityOf(ref, r.URL.Path, query, query.Get("reveal") == "yes"), Action: r.URL.Path, Period: periodField(chosen),
		Carried: carried(query, "reason", "view"), Apply: button{Text: "Apply", Variant: "secondary", Small: true}, Views: patientViews(r.URL.Path, query),
		Check: "Read it before you hand it out: on a small ward a role can point at one person. Print it from the browser, on A4; what is above the title is left out.",
		Ask:   "If you want to know more about a line, or think that it was not right, ask " + cmp.Or(s.cfg.Branding.Organisation, "the hospital") + ". They can look into it.",
	}
	if len(rows) == 0 {
		page.Empty = s.emptyPatient(h, chosen)
		return answer{template: "letter", view: page}, nil
	}
	page.Covers = "From " + s.formatDay(rows[len(rows)-1].Time) + " to " + s.formatDay(s.cfg.Now()) + ". Made on " + s.formatTime(s.cfg.Now()) + "."
	switch {
	case !whole:
		page.Partial = "There are more looks before this than fit on one list. Ask for the time before as well."
	case s.stale(h):
		page.Partial = "The newest looks may be missing from this list. Ask for it again later."
	}
	page.Table = s.letterTable(ref, rows)
	return answer{template: "letter", view: page}, nil
}

// letterAccesses reads the accesses, newest first, and says whether those are all.
func (s *Site) letterAccesses(r *http.Request, q audit.Query) (rows []audit.Access, whole bool, err error) {
	q.Limit = letterStep
	for len(rows) < letterRows {
		more, err := s.cfg.Accesses.Accesses(r.Context(), q)
		if err != nil {
			return nil, false, unavailable("accesses", err)
		}
		rows = append(rows, more...)
		if len(more) < letterStep {
			return rows, true, nil
		}
		last := more[len(more)-1]
		q.Before = audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}
	}
	return rows, false, nil
}

// letterLine is what one person did on one day that ended in one way.
type letterLine struct {
	first, last time.Time
	times       uint64
	who, result string
	did         []string
	why         []string
}

// letterTable gathers accesses into lines, newest first.
func (s *Site) letterTable(ref patientRef, rows []audit.Access) table {
	t := table{
		ID: "looks", Caption: caption{Text: "Looks at your record, newest first", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("When"), text("Who"), text("What they did"), text("Why")},
	}
	type key struct{ person, day, result string }
	lines, order := map[key]*letterLine{}, []*letterLine{}
	for _, a := range rows {
		k := key{cmp.Or(a.Person, a.UserIssuer+" "+a.UserSub), s.formatDay(a.Time), toPatient(a)}
		l := lines[k]
		if l == nil {
			l = &letterLine{last: a.Time, who: s.letterWho(a), result: k.result}
			lines[k], order = l, append(order, l)
		}
		l.first, l.times = a.Time, l.times+1
		l.did = union(l.did, didToYou(a))
		l.why = union(l.why, s.letterWhy(a, cmp.Or(a.Patient, ref.ID))...)
	}
	for _, l := range order {
		t.Rows = append(t.Rows, []cell{when(s.letterWhen(l)), text(l.who), {Lines: l.what()}, {Lines: l.because()}})
	}
	return t
}

// letterWhen writes 3 November 2026, 11:02 to 14:01, 12 times.
func (s *Site) letterWhen(l *letterLine) string {
	out := s.formatTime(l.first)
	if to := l.last.In(s.cfg.Location).Format("15:04"); !strings.HasSuffix(out, to) {
		out += " to " + to
	}
	if l.times > 1 {
		out += ", " + plural(l.times, "time", "times")
	}
	return out
}

// letterWho names nobody: a role and where they work.
func (s *Site) letterWho(a audit.Access) string {
	switch {
	case slices.Contains(a.Detail, audit.DetailMachine):
		return "A computer system, not a person"
	case a.Person == "" && a.UserSub == "":
		return "Somebody who had not signed in"
	}
	ward := ""
	if s.cfg.Ward != nil && a.Person != "" {
		ward = s.cfg.Ward(a.Person)
	}
	return sentenceCase(rolesAndWard(a.Roles, ward))
}

// The ways in which a look ended, for the patient. "" is that the record was shown.
const (
	lookRefused = "They tried to open your record. They were stopped, and saw nothing."
	lookFailed  = "They tried to open your record. It did not work."
	lookUnknown = "They asked for your record. We do not know if it was shown."
	lookListed  = "Your name was in a list. Your record was not opened."
)

func toPatient(a audit.Access) string {
	switch {
	case a.Effect != policy.Allow.String():
		return lookRefused
	case !a.Settled:
		return lookUnknown
	case a.Outcome != audit.Success:
		return lookFailed
	case listed(a):
		return lookListed
	}
	return ""
}

// didToYou says to the patient what was done with their record.
func didToYou(a audit.Access) string {
	switch policy.Action(a.Action) {
	case policy.Search:
		return "Searched in your record"
	case policy.Create:
		return "Added to your record"
	case policy.Update:
		return "Changed your record"
	case policy.Delete:
		return "Took something out of your record"
	case policy.Print:
		return "Printed from your record"
	case policy.Export:
		return "Took a copy from your record"
	case policy.Read, policy.List:
	}
	return "Looked at your record"
}

// what is what was done, or how it ended when nothing was.
func (l *letterLine) what() []string {
	if l.result != "" {
		return []string{l.result}
	}
	return l.did
}

// because is why. What showed nothing of the record needs no reason.
func (l *letterLine) because() []string {
	switch {
	case l.result == lookRefused || l.result == lookFailed:
		return []string{"Nothing of your record was shown."}
	case l.result == lookListed:
		return []string{"Staff use lists to find the right patient."}
	case len(l.why) == 0:
		return []string{notMatched}
	}
	return l.why
}

// letterWhy is what explains one access, to the patient.
func (s *Site) letterWhy(a audit.Access, patient string) []string {
	var out []string
	for _, g := range s.explained(lookOf(a, patient)) {
		out = append(out, g.Patient)
	}
	if strings.HasPrefix(a.Basis, audit.BasisBreakGlass) {
		out = append(out, emergency)
	}
	return out
}

// union adds words that are not there yet.
func union(have []string, more ...string) []string {
	for _, w := range more {
		if !slices.Contains(have, w) {
			have = append(have, w)
		}
	}
	return have
}
