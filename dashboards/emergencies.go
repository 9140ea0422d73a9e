package dashboards

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// EmergencyReader knows the emergency accesses (break-glass) and takes in what people
// make of them.
type EmergencyReader interface {
	// Emergencies lists those that wait for the last word, oldest first, and after them
	// those that have had it of late.
	Emergencies(ctx context.Context) ([]Emergency, error)
	// Emergency finds one with all that was made of it. Its error wraps ErrNoEmergency.
	Emergency(ctx context.Context, id string) (Emergency, error)
	// Tally counts those that began since a time, by role and by ward.
	Tally(ctx context.Context, since time.Time) (roles, wards []EmergencyTally, err error)
	// Judge notes what somebody made of one. Its error wraps ErrNoEmergency, or
	// ErrNotYours for their own and for what somebody else has judged meanwhile.
	Judge(ctx context.Context, who policy.Subject, id, verdict, note string) error
}

// What Judge and Emergency fail with.
var (
	ErrNoEmergency = errors.New("no such emergency access")
	ErrNotYours    = errors.New("not for this person to judge")
)

// Emergency is one emergency access.
type Emergency struct {
	ID           string
	Began, Ended time.Time // Ended is when it ends, while it is in force
	Due          time.Time // when somebody should have looked at it
	Issuer, Sub  string    // who had it
	Person       string
	PersonName   string
	Roles        []string
	Ward         string
	Patient      string
	NHSNumber    string
	Area         string
	Refused      []string // codes of why they had been refused
	Reason       string   // in words
	Note         string   // in theirs
	Unproved     bool     // signing in again was asked for and not possible
	Explained    time.Time
	Evidence     string // that explains it
	Verdict      string // the newest
	Judged       time.Time
	Reviews      []EmergencyReview
	Receipt      string // where its record stands
}

// EmergencyReview is one look at an emergency access.
type EmergencyReview struct {
	Made    time.Time
	Name    string
	Verdict string
	Note    string
}

// EmergencyTally counts emergency accesses of one role or ward.
type EmergencyTally struct {
	Group     string
	Accesses  uint64 // to records, emergencies or not; 0 where nobody knows
	Count     uint64
	Explained uint64 // by care
	Judged    uint64
	InTime    uint64 // of Judged
}

const (
	// rateNeeds is how many accesses a group must have for its rate to mean anything.
	rateNeeds = 1000
	ratePer   = 1000
	tallyDays = 30
)

type emergenciesPage struct {
	chrome
	State   state
	Waiting table
	Judged  table
	Empty   *insetText
	Partial string
	Roles   table
	Wards   table
}

type emergencyPage struct {
	chrome
	Back    backLink
	ID      string
	Facts   summaryList
	Reviews table
	Own     string // why the viewer cannot judge it, "" where they can
	Action  string
	Verdict radios
	Note    textarea
	Submit  button
}

// emergencies lists what waits for somebody to look at it, with the clock.
func (s *Site) emergencies(r *http.Request) (answer, error) {
	if s.cfg.Emergencies == nil {
		return answer{}, errOpaque
	}
	if err := s.record(r, sight{screen: "emergencies", action: policy.List, several: true}); err != nil {
		return answer{}, err
	}
	found, err := s.cfg.Emergencies.Emergencies(r.Context())
	if err != nil {
		return answer{}, unavailable("emergency accesses", err)
	}
	i := slices.IndexFunc(found, func(e Emergency) bool { return !e.Judged.IsZero() })
	if i < 0 {
		i = len(found)
	}
	page := emergenciesPage{
		chrome: s.chrome(r, "Emergency access"), State: s.emergencyState(found[:i]),
		Waiting: s.emergencyTable("waiting", "To look at, oldest first", found[:i]),
		Judged:  s.emergencyTable("judged", "Looked at in the last 30 days", found[i:]),
	}
	if i == 0 {
		page.Empty = &insetText{Text: "Nothing waits to be looked at."}
	}
	roles, wards, err := s.cfg.Emergencies.Tally(r.Context(), s.cfg.Now().AddDate(0, 0, -tallyDays))
	if err != nil {
		page.Partial = "How often it is used cannot be worked out at the moment: the searchable copy of the record did not answer."
	} else {
		page.Roles = tallyTable("by-role", "By role, last 30 days", "Role", roles)
		page.Wards = tallyTable("by-ward", "By ward, last 30 days", "Ward", wards)
	}
	return answer{template: "emergencies", view: page}, nil
}

// emergencyState is the one line that counts: how many wait too long.
func (s *Site) emergencyState(waiting []Emergency) state {
	now, late := s.cfg.Now(), 0
	for _, e := range waiting {
		if !now.Before(e.Due) {
			late++
		}
	}
	switch {
	case late > 0:
		return state{plural(uint64(late), "emergency access has", "emergency accesses have") + " waited too long to be looked at", "bad", ""}
	case len(waiting) > 0:
		return state{plural(uint64(len(waiting)), "emergency access waits", "emergency accesses wait") + " to be looked at", "warn", ""}
	}
	return state{"All are looked at", "good", ""}
}

func (s *Site) emergencyTable(id, title string, list []Emergency) table {
	t := table{
		ID: id, Caption: caption{Text: title, Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Reference"), text("Began"), text("Who"), text("Reason given"), text("Look at it by"), text("State")},
	}
	for _, e := range list {
		who := cell{Text: cmp.Or(e.PersonName, e.Person), Lines: []string{sentenceCase(rolesAndWard(e.Roles, e.Ward))}}
		t.Rows = append(t.Rows, []cell{
			link(e.ID, Base+"emergencies/"+e.ID), when(s.formatTime(e.Began)), who, text(e.Reason), when(s.formatTime(e.Due)), s.emergencyTag(e),
		})
	}
	return t
}

// rolesAndWard is a person's roles and ward in one line.
func rolesAndWard(roles []string, ward string) string {
	words := list(roles, "role not known")
	if ward != "" {
		words += ", " + ward
	}
	return words
}

// emergencyTag says how far the look at it has come. That care explains it is said, and
// does not take it off the list.
func (s *Site) emergencyTag(e Emergency) cell {
	var c cell
	switch {
	case !e.Judged.IsZero():
		c = tagged(verdictTag(e.Verdict))
	case !s.cfg.Now().Before(e.Due):
		c = tagged(tag{Text: "Waits too long", Colour: "red"})
	case e.Verdict != "":
		c = tagged(verdictTag(e.Verdict))
	default:
		c = tagged(tag{Text: "Waits", Colour: "yellow"})
	}
	if !e.Explained.IsZero() {
		c.Lines = append(c.Lines, "Explained by care")
	}
	if e.Unproved {
		c.Lines = append(c.Lines, "Not signed in again: the sign-in service did not answer")
	}
	return c
}

// verdicts are what can be made of one. The codes go into records and never change.
func verdicts() []option {
	return []option{
		{Value: "justified", Text: "Justified"},
		{Value: "not-justified", Text: "Not justified"},
		{Value: "needs-talk", Text: "Needs a talk first"},
	}
}

func verdictTag(code string) tag {
	switch code {
	case "justified":
		return tag{Text: "Justified", Colour: "green"}
	case "not-justified":
		return tag{Text: "Not justified", Colour: "red"}
	case "needs-talk":
		return tag{Text: "Needs a talk", Colour: "orange"}
	}
	return tag{Text: sentenceCase(code), Colour: "grey"}
}

// tallyTable says how often a group uses it. A rate of few accesses says nothing and is
// not shown.
func tallyTable(id, title, group string, tallies []EmergencyTally) table {
	t := table{
		ID: id, Caption: caption{Text: title, Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{
			text(group), text("Emergency accesses"), text("Accesses in all"), text("Emergencies per 1,000"), text("Explained by care"), text("Looked at in time"),
		},
	}
	for _, g := range tallies {
		rate := "Too few to tell"
		if g.Accesses >= rateNeeds {
			rate = trimFloat(float64(g.Count)*ratePer/float64(g.Accesses), 1)
		}
		accesses := formatCount(g.Accesses)
		if g.Accesses == 0 {
			accesses = "Not known"
		}
		t.Rows = append(t.Rows, []cell{
			text(cmp.Or(sentenceCase(readable(g.Group)), "Not known")), number(formatCount(g.Count)), number(accesses), number(rate),
			number(formatCount(g.Explained)), number(formatCount(g.InTime) + " of " + formatCount(g.Judged)),
		})
	}
	return t
}

// emergency shows one, with the form.
func (s *Site) emergency(r *http.Request) (answer, error) {
	e, err := s.oneEmergency(r)
	if err != nil {
		return answer{}, err
	}
	return answer{template: "emergency", view: s.emergencyView(r, e, "", "", "", "")}, nil
}

// oneEmergency finds the one in the address and records that it is looked at.
func (s *Site) oneEmergency(r *http.Request) (Emergency, error) {
	id := r.PathValue("id")
	if s.cfg.Emergencies == nil || len(id) > idRunes {
		return Emergency{}, errOpaque
	}
	e, err := s.cfg.Emergencies.Emergency(r.Context(), id)
	switch {
	case errors.Is(err, ErrNoEmergency):
		return Emergency{}, errOpaque
	case err != nil:
		return Emergency{}, unavailable("emergency access", err)
	}
	return e, s.record(r, sight{screen: "emergency", action: policy.Read, patient: refOf(e.Patient, e.NHSNumber), person: e.Person, extra: []string{"grant=" + e.ID}})
}

func (s *Site) emergencyView(r *http.Request, e Emergency, verdict, note, verdictError, noteError string) emergencyPage {
	ref := refOf(e.Patient, e.NHSNumber)
	page := emergencyPage{
		chrome: s.chrome(r, "Emergency access "+e.ID), Back: backLink{Text: "Emergency access", Href: Base + "emergencies"}, ID: e.ID,
		Facts:   summaryList{Rows: s.emergencyFacts(e, ref)},
		Reviews: s.reviewTable(e.Reviews), Action: Base + "emergencies/" + e.ID,
		Verdict: radios{
			IDPrefix: "verdict", Name: "verdict", Small: true, ErrorMessage: message(verdictError),
			Fieldset: fieldset{Legend: legend{Text: "What do you make of it?", Size: "m"}},
		},
		Note: textarea{
			ID: "note", Name: "note", Label: label{Text: "Note", Size: "s"}, Value: note, Rows: 3, ErrorMessage: message(noteError),
			Hint: &hint{Text: "Say what it rests on. Needed unless it is justified. Do not write about the patient."},
		},
		Submit: button{Text: "Save"},
	}
	for _, o := range verdicts() {
		page.Verdict.Items = append(page.Verdict.Items, radio{Value: o.Value, Text: o.Text, Checked: o.Value == verdict})
	}
	page.fault("verdict", verdictError)
	page.fault("note", noteError)
	who := policy.SubjectFrom(r.Context())
	switch {
	case who.Issuer == e.Issuer && who.Sub == e.Sub, who.Person != "" && who.Person == e.Person:
		page.Own = "This is your own emergency access. Somebody else must look at it."
	case !e.Judged.IsZero():
		page.Own = "The last word on it was said on " + s.formatTime(e.Judged) + "."
	case !s.permits(r.Context(), policy.Audit, policy.Update):
		page.Own = "Your role does not include to judge it."
	}
	return page
}

func (s *Site) emergencyFacts(e Emergency, ref patientRef) []summaryRow {
	rows := []summaryRow{
		{text("Who"), s.personCell(e.Person, e.PersonName, "planned-audit")},
		{text("Role"), text(sentenceCase(rolesAndWard(e.Roles, e.Ward)))},
		{text("Whose record"), s.refCell(ref, "planned-audit")},
		{text("Began"), text(s.formatTime(e.Began))},
		{text("Ends or ended"), text(s.formatTime(e.Ended))},
		{text("Part of the record"), text(cmp.Or(sentenceCase(readable(e.Area)), "Not known"))},
		{text("Refused before for"), text(sentenceCase(list(e.Refused, "not known")))},
		{text("Reason given"), cell{Text: e.Reason, Lines: lines(e.Note)}},
		{text("Look at it by"), text(s.formatTime(e.Due))},
		{text("State"), s.emergencyTag(e)},
	}
	if !e.Explained.IsZero() {
		rows = append(rows, summaryRow{text("What explains it"), cell{Text: e.Evidence, Lines: lines("Found on " + s.formatTime(e.Explained))}})
	}
	return append(rows, summaryRow{text("Record"), text(cmp.Or(e.Receipt, "Not known"))})
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func (s *Site) reviewTable(reviews []EmergencyReview) table {
	t := table{
		ID: "reviews", Caption: caption{Text: "What was made of it", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("When"), text("Who"), text("Verdict"), text("Note")},
	}
	for _, v := range reviews {
		t.Rows = append(t.Rows, []cell{when(s.formatTime(v.Made)), text(v.Name), tagged(verdictTag(v.Verdict)), text(v.Note)})
	}
	return t
}

// judge takes in what somebody made of one: recorded first, then noted.
func (s *Site) judge(r *http.Request) (answer, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		return answer{}, errOpaque
	}
	e, err := s.oneEmergency(r)
	if err != nil {
		return answer{}, err
	}
	verdict, note := r.PostForm.Get("verdict"), strings.TrimSpace(r.PostForm.Get("note"))
	var verdictError, noteError string
	if !slices.ContainsFunc(verdicts(), func(o option) bool { return o.Value == verdict }) {
		verdictError = "Select what you make of it"
	}
	switch {
	case note == "" && verdict != "justified" && verdictError == "":
		noteError = "Say what it rests on"
	case utf8.RuneCountInString(note) > noteRunes || !utf8.ValidString(note):
		noteError = "The note must be 500 characters or fewer"
	}
	page := s.emergencyView(r, e, verdict, note, verdictError, noteError)
	if page.Own != "" {
		return answer{}, errNotPermitted
	}
	if verdictError != "" || noteError != "" {
		return answer{status: http.StatusUnprocessableEntity, template: "emergency", view: page}, nil
	}
	err = s.record(r, sight{
		screen: "emergency", action: policy.Update, patient: refOf(e.Patient, e.NHSNumber), person: e.Person, note: note,
		extra: []string{"grant=" + e.ID, "verdict=" + verdict},
	})
	if err != nil {
		return answer{}, err
	}
	err = s.cfg.Emergencies.Judge(r.Context(), policy.SubjectFrom(r.Context()), e.ID, verdict, note)
	switch {
	case errors.Is(err, ErrNotYours):
		return answer{}, errNotPermitted
	case errors.Is(err, ErrNoEmergency):
		return answer{}, errOpaque
	case err != nil:
		return answer{}, unavailable("emergency access", err)
	}
	return answer{location: Base + "emergencies"}, nil
}

// openEmergencies are the notices on every page of somebody who has emergency access
// now.
func (s *Site) openEmergencies(who policy.Subject) []banner {
	if s.cfg.EmergencyUntil == nil {
		return nil
	}
	var out []banner
	for _, until := range s.cfg.EmergencyUntil(who) {
		out = append(out, banner{"You have emergency access to a patient's record until " + s.formatClock(until) + ". It is recorded and looked at. You can end it under " + Base + "emergency."})
	}
	return out
}

// EmergencyGroups sums up by role and by ward what was counted by person: how many
// accesses each had, and which emergency accesses there were. Groups with most
// emergencies come first.
func EmergencyGroups(people []audit.PersonSummary, found []Emergency, ward func(person string) string) (roles, wards []EmergencyTally) {
	byRole, byWard := map[string]*EmergencyTally{}, map[string]*EmergencyTally{}
	of := func(groups map[string]*EmergencyTally, name string) *EmergencyTally {
		if groups[name] == nil {
			groups[name] = &EmergencyTally{Group: name}
		}
		return groups[name]
	}
	for _, p := range people {
		seen := p.Accesses - min(p.Denied, p.Accesses)
		for _, role := range p.Roles {
			of(byRole, role).Accesses += seen
		}
		of(byWard, ward(p.Person)).Accesses += seen
	}
	for _, e := range found {
		groups := []*EmergencyTally{of(byWard, e.Ward)}
		for _, role := range e.Roles {
			groups = append(groups, of(byRole, role))
		}
		for _, g := range groups {
			g.Count++
			if !e.Explained.IsZero() {
				g.Explained++
			}
			if !e.Judged.IsZero() {
				g.Judged++
				if e.Judged.Before(e.Due) {
					g.InTime++
				}
			}
		}
	}
	return used(byRole), used(byWard)
}

// used lists the groups with any emergency access.
func used(groups map[string]*EmergencyTally) []EmergencyTally {
	var list []EmergencyTally
	for _, g := range groups {
		if g.Count > 0 {
			list = append(list, *g)
		}
	}
	slices.SortFunc(list, func(a, b EmergencyTally) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Group, b.Group))
	})
	return list
}
