package learn

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
)

// Candidate is a pattern that justified cases share and no case of misuse has: people
// of a role, or of a team, and care of one kind on one ward. A person may turn it into
// a template of the site.
type Candidate struct {
	Role   string   `json:"role,omitempty"`
	Team   string   `json:"team,omitempty"`
	Kind   string   `json:"kind"`
	Ward   string   `json:"ward"`
	Before int      `json:"days_before"` // the start of the care, the most that a case needed
	After  int      `json:"days_after"`  // its end
	Cases  []string `json:"cases"`       // that were justified
}

// near is how many days around care a look may lie to have to do with it.
const near = 30

// pattern is what a candidate is about.
type pattern struct{ role, team, kind, ward string }

// Mine looks for patterns that at least least justified cases share, each look of
// theirs within a month of such care. A pattern that any case of misuse has is none, and
// cases with anything protected never make one.
func Mine(in Input, c *feeds.Context, least int) []Candidate {
	m := miner{care: map[string][]feeds.Care{}, team: map[string]string{}}
	for _, one := range c.Care.All() {
		if one.Ward != "" {
			m.care[one.Patient] = append(m.care[one.Patient], feeds.Care{Kind: one.Kind, Ward: one.Ward, Start: one.Start, End: one.End})
		}
	}
	for i := range c.Staff {
		m.team[c.Staff[i].Person] = c.Staff[i].Team
	}
	found, bad := map[pattern]*Candidate{}, map[pattern]bool{}
	for _, d := range in.Dispositions {
		one := in.Cases[d.Case]
		if d.Outcome.right() {
			for p := range m.patterns(one, false) {
				bad[p] = true
			}
		} else if one.Lane == cases.Budget && len(one.Parts) > 0 {
			for p, w := range m.patterns(one, true) {
				if found[p] == nil {
					found[p] = &Candidate{Role: p.role, Team: p.team, Kind: p.kind, Ward: p.ward}
				}
				f := found[p]
				f.Before, f.After, f.Cases = max(f.Before, w.before), max(f.After, w.after), append(f.Cases, one.ID)
			}
		}
	}
	var out []Candidate
	for p, f := range found {
		if !bad[p] && len(f.Cases) >= least {
			out = append(out, *f)
		}
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(len(b.Cases), len(a.Cases)), cmp.Compare(a.id(), b.id()))
	})
	return out
}

type miner struct {
	care map[string][]feeds.Care // of a patient
	team map[string]string       // of a person
}

type span struct{ before, after int }

// patterns are those of a case: with all, of every patient of it, else of any.
func (m *miner) patterns(c *cases.Case, all bool) map[pattern]span {
	out, times := map[pattern]span{}, map[pattern]int{}
	for _, patient := range c.Patients {
		for p, w := range m.around(c, patient) {
			times[p]++
			out[p] = span{max(out[p].before, w.before), max(out[p].after, w.after)}
		}
	}
	for p, n := range times {
		if all && n < len(c.Patients) {
			delete(out, p)
		}
	}
	return out
}

// around are the patterns of one patient of a case, with how many days lie between
// the care and the day of the case that is furthest from it.
func (m *miner) around(c *cases.Case, patient string) map[pattern]span {
	out := map[pattern]span{}
	note := func(p pattern, w span) {
		if old, ok := out[p]; !ok || w.before+w.after < old.before+old.after {
			out[p] = w
		}
	}
	for _, care := range m.care[patient] {
		w, ok := distance(&care, c.Days)
		if !ok {
			continue
		}
		for _, role := range c.Roles {
			note(pattern{role: role, kind: care.Kind, ward: care.Ward}, w)
		}
		for _, person := range c.People {
			if team := m.team[person]; team != "" {
				note(pattern{team: team, kind: care.Kind, ward: care.Ward}, w)
			}
		}
	}
	return out
}

// distance is how many days the days of a case lie before and after care, whole days
// more rather than less; false when one of them is not near it.
func distance(c *feeds.Care, days []string) (span, bool) {
	const day = 24 * time.Hour
	var w span
	end := c.End
	if end.IsZero() {
		end = c.Start
	}
	for _, text := range days {
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return w, false
		}
		if early := c.Start.Sub(at); early > 0 {
			w.before = max(w.before, int((early+day-1)/day))
		}
		if over := at.Add(day).Sub(end); over > 0 {
			w.after = max(w.after, int((over+day-1)/day))
		}
	}
	return w, w.before <= near && w.after <= near
}

func (c *Candidate) who() string { return cmp.Or(c.Role, "team "+c.Team) }

var notOfID = regexp.MustCompile(`[^a-z0-9]+`)

func (c *Candidate) id() string {
	text := notOfID.ReplaceAllString(strings.ToLower(c.who()+" "+c.Kind+" "+c.Ward), "-")
	return strings.Trim(text[:min(len(text), 40)], "-")
}

// Template is the candidate as a template of the site: in shadow and weak.
func (c *Candidate) Template() explain.SiteTemplate {
	t := explain.SiteTemplate{
		ID: c.id(), State: "shadow", Strength: explain.Weak,
		Care:     explain.SiteCare{Kinds: []string{c.Kind}, Wards: []string{c.Ward}, Before: time.Duration(c.Before) * 24 * time.Hour, After: time.Duration(c.After) * 24 * time.Hour},
		Reviewer: fmt.Sprintf("People of the %s look at patients of ward %s around %s care; reviewers found %d such cases justified.", c.who(), c.Ward, c.Kind, len(c.Cases)),
		Patient:  "Somebody whose work has to do with your ward looked at your record.",
	}
	if c.Role != "" {
		t.Roles = []string{c.Role}
		t.Reviewer = strings.Replace(t.Reviewer, "of the "+c.Role, "of the role "+c.Role, 1)
	} else {
		t.Teams = []string{c.Team}
	}
	return t
}
