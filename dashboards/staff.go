package dashboards

import (
	"net/http"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// staffPage is what one member of staff did.
type staffPage struct {
	chrome
	Back     backLink
	Identity identity
	Own      string // warning when the viewer looks at themself
	Action   string
	Period   selectField
	Carried  []hidden
	Apply    button
	Empty    *insetText
	Table    table
	Pages    pagination
}

// staff lists what one member of staff did, newest first.
func (s *Site) staff(r *http.Request) (answer, error) {
	person, err := s.staffFrom(r.PathValue("id"))
	if err != nil {
		return answer{}, err
	}
	query := r.URL.Query()
	reason := query.Get("reason")
	if !knownReason(reason) {
		return s.askWhy(r, reason), nil
	}
	err = s.record(r, sight{screen: "staff-member", action: policy.Read, person: person, several: true, reason: reason})
	if err != nil {
		return answer{}, err
	}
	chosen := periodFrom(query.Get("period"))
	rows, links, err := s.events(r, audit.Query{Site: s.cfg.Site, Person: person, From: chosen.from(s.cfg.Now())})
	if err != nil {
		return answer{}, err
	}
	page := staffPage{
		chrome:   s.chrome(r, "What a member of staff viewed"),
		Back:     backLink{Text: "Look up", Href: Base + "lookup"},
		Identity: staffIdentity(person, rows),
		Action:   r.URL.Path,
		Period:   periodField(chosen),
		Carried:  carried(query, "reason"),
		Apply:    button{Text: "Apply", Variant: "secondary", Small: true},
		Table:    s.eventTable("What they viewed, newest first", rows, false, true, reason),
		Pages:    links,
	}
	if policy.SubjectFrom(r.Context()).Person == person {
		page.Own = "These are your own views. Somebody else must review them."
	}
	if len(rows) == 0 {
		page.Empty = s.emptyStaff(s.cfg.Health(r.Context()))
	}
	return answer{template: "staff", view: page}, nil
}

// staffIdentity names the person as the newest record does.
func staffIdentity(person string, rows []audit.Access) identity {
	id := identity{Kind: "Member of staff", Value: person}
	if len(rows) > 0 && rows[0].UserName != "" {
		id.Value = rows[0].UserName
		id.Note = "Staff number " + person + ". Role: " + list(rows[0].Roles, "not known") + "."
	}
	return id
}

func (s *Site) emptyStaff(h Health) *insetText {
	if s.stale(h) {
		return &insetText{Text: "Nothing is found, but the searchable copy of the record is behind: what this person viewed lately is unknown."}
	}
	return &insetText{Text: "No activity is recorded in this period. Check that the staff number is right."}
}
