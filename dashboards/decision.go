package dashboards

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// DecisionReader explains decisions of the record. Implementations are safe for
// concurrent use.
type DecisionReader interface {
	// Decision reads one recorded decision and asks the rules about it again. Its
	// error is ErrNoDecision when there is none under this number.
	Decision(ctx context.Context, source string, seq uint64) (Decision, error)
}

// ErrNoDecision says that a record is not there, or is not of a decision.
var ErrNoDecision = errors.New("no such decision")

// Decision is a recorded decision with how the rules come to it.
type Decision struct {
	Record audit.Record
	// Why is what the rules answer to the recorded question: those that decided
	// then or, with Today, those in force now, since the others are not kept.
	Why   Explanation
	Today bool
	// Unasked says why no rule was asked; Why is then empty.
	Unasked string
}

// Explanation is how the rules come to an answer.
type Explanation struct {
	Effect      string // allow, challenge or deny
	Revision    string
	DecidedBy   []string // rule@file:line
	Reasons     []policy.Reason
	Obligations []string
	Rules       []ConsideredRule // every rule that the answer rests on
	Facts       []Fact           // what the rules of allow can read of the question
	Changes     [][]string       // what would make it allowed, each alone
}

// ConsideredRule is one rule and what came of it.
type ConsideredRule struct {
	Name, Place   string // Place is file:line
	Reached, Held bool
	Stopped       string // file:line of the last condition that was not met
}

// Came says what came of the rule.
func (r ConsideredRule) Came() string {
	switch {
	case r.Held:
		return "held"
	case !r.Reached:
		return "not reached"
	case r.Stopped == "":
		return "did not hold"
	}
	return "did not hold: see " + r.Stopped
}

// Fact is one part of the question.
type Fact struct {
	Name, Value string
	Age         time.Duration // at the time of the question; 0 for what is not a time
}

// namesPatients is the fact whose value is the numbers of patients.
const namesPatients = "patients"

// decisionRef is a record and whom it concerns, as an address holds it: whoever opens
// the page is recorded with that before the record is read.
type decisionRef struct {
	source  string
	seq     uint64
	patient patientRef
	person  string
}

func (s *Site) decisionURL(d decisionRef, reason string) string {
	plain := strings.Join([]string{d.source, strconv.FormatUint(d.seq, 10), d.patient.ID, d.patient.NHSNumber, d.person}, "\x00")
	return address(Base+"decisions/"+s.seal.seal(kindDecision, plain), because(reason))
}

func (s *Site) decisionFrom(id string) (decisionRef, error) {
	plain, err := s.seal.open(kindDecision, id)
	if err != nil {
		return decisionRef{}, err
	}
	parts := strings.Split(plain, "\x00")
	if len(parts) != 5 {
		return decisionRef{}, errOpaque
	}
	seq, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return decisionRef{}, errOpaque
	}
	return decisionRef{parts[0], seq, patientRef{parts[2], parts[3]}, parts[4]}, nil
}

// decisionPage is "why was this allowed, or refused".
type decisionPage struct {
	chrome
	Back        backLink
	Record      string
	Identity    *identity
	Result      tag
	Said        summaryList
	Differs     *insetText
	Reasons     []policy.Reason
	Obligations []string
	Rules       table
	Facts       table
	Changes     []string
	NoChange    string
	Unasked     *insetText
}

// decision shows one decision of the record and how the rules come to it.
func (s *Site) decision(r *http.Request) (answer, error) {
	ref, err := s.decisionFrom(r.PathValue("id"))
	if err != nil || s.cfg.Decisions == nil {
		return answer{}, errOpaque
	}
	query := r.URL.Query()
	reason, reveal := query.Get("reason"), query.Get("reveal") == "yes"
	if !knownReason(reason) {
		return s.askWhy(r, reason), nil
	}
	err = s.record(r, sight{
		screen: "decision", action: policy.Read, patient: ref.patient, person: ref.person, reason: reason, reveal: reveal,
		subject: ref.source + "/" + strconv.FormatUint(ref.seq, 10),
	})
	if err != nil {
		return answer{}, err
	}
	d, err := s.cfg.Decisions.Decision(r.Context(), ref.source, ref.seq)
	if errors.Is(err, ErrNoDecision) {
		return answer{}, errOpaque
	}
	if err != nil {
		return answer{}, unavailable("decision", err)
	}
	page := decisionPage{
		chrome: s.chrome(r, "Why this was decided"),
		Back:   backLink{Text: "Look up", Href: Base + "lookup"},
		Record: d.Record.Source + "/" + strconv.FormatUint(d.Record.Seq, 10),
		Result: result(audit.Access{Record: d.Record}),
		Said:   s.decisionSummary(d, reason),
	}
	if ref.patient != (patientRef{}) {
		id := identityOf(ref.patient, r.URL.Path, query, reveal)
		page.Identity = &id
	}
	if d.Unasked != "" {
		page.Unasked = &insetText{Text: d.Unasked}
		return answer{template: "decision", view: page}, nil
	}
	s.explainOn(&page, d, ref.patient.label(reveal))
	return answer{template: "decision", view: page}, nil
}

// explainOn puts what the rules answer on the page. patient stands for the numbers of
// patients among the facts.
func (s *Site) explainOn(page *decisionPage, d Decision, patient string) {
	page.Differs = differs(d)
	page.Reasons, page.Obligations = d.Why.Reasons, d.Why.Obligations
	page.Rules = ruleTable(d.Why)
	page.Facts = factTable(d.Why, patient)
	if d.Why.Effect == policy.Allow.String() {
		return
	}
	for _, change := range d.Why.Changes {
		page.Changes = append(page.Changes, sentenceCase(strings.Join(change, " and "))+".")
	}
	if len(page.Changes) == 0 {
		page.NoChange = "By no other role, nor by a known patient."
	}
}

// decisionSummary is what stands in the record, and whose rules are asked.
func (s *Site) decisionSummary(d Decision, reason string) summaryList {
	a := audit.Access{Record: d.Record}
	rules := d.Record.PolicyRev + ", those that decided then"
	switch {
	case d.Unasked != "":
		rules = "None"
	case d.Today:
		rules = d.Why.Revision + ", those in force now: the rules that decided then (" + d.Record.PolicyRev + ") are not kept any more"
	}
	return summaryList{Rows: []summaryRow{
		{text("When"), text(s.formatSecond(d.Record.Time))},
		{text("Who"), s.personCell(d.Record.Person, d.Record.UserName, reason)},
		{text("Roles"), text(list(d.Record.Roles, "not known"))},
		{text("What"), text(did(d.Record.Action) + ": " + part(a))},
		{text("Rule of the map"), text(d.Record.App + ", " + d.Record.Route)},
		{text("Recorded answer"), text(recordedAnswer(d.Record))},
		{text("Rules asked here"), text(rules)},
		{text("Decided by"), text(strings.Join(d.Why.DecidedBy, ", "))},
	}}
}

// recordedAnswer is what the rules had answered, and what the mode made of it.
func recordedAnswer(r audit.Record) string {
	switch {
	case r.WouldDeny:
		return "Refused (" + list(r.Reasons, "no reason recorded") + "), and let through since the application was not enforced"
	case r.Effect == policy.Allow.String():
		return "Allowed"
	}
	return "Refused (" + list(r.Reasons, "no reason recorded") + ")"
}

// differs says so when the answer here is not the recorded one.
func differs(d Decision) *insetText {
	was := d.Record.Effect == policy.Allow.String() && !d.Record.WouldDeny
	if was == (d.Why.Effect == policy.Allow.String()) {
		return nil
	}
	answer := "Asked again, the rules answer otherwise: " + d.Why.Effect + "."
	if !d.Today {
		answer += " What they were told then is not all in the record, or a limit refused it."
	}
	return &insetText{Text: answer}
}

func ruleTable(x Explanation) table {
	t := table{
		ID: "rules", Caption: caption{Text: "Every rule that was considered", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Rule"), text("Where"), text("What came of it")},
	}
	for _, r := range x.Rules {
		outcome := tag{Text: "Held", Colour: "green"}
		switch {
		case !r.Reached:
			outcome = tag{Text: "Not reached", Colour: "grey"}
		case !r.Held:
			outcome = tag{Text: "Did not hold", Colour: "yellow"}
		}
		came := tagged(outcome)
		if !r.Held && r.Stopped != "" {
			came.Text = "stopped at " + r.Stopped
		}
		t.Rows = append(t.Rows, []cell{text(r.Name), text(r.Place), came})
	}
	return t
}

// factTable lists the facts. Numbers of patients are shown as the page shows them.
func factTable(x Explanation, patient string) table {
	t := table{
		ID: "facts", Caption: caption{Text: "Facts that the rules of permission read", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("Fact"), text("Value"), text("Age then")},
	}
	for _, f := range x.Facts {
		value, age := f.Value, ""
		if f.Name == namesPatients && value != "[]" {
			value = patient
		}
		if f.Age > 0 {
			age = formatSpan(f.Age)
		}
		t.Rows = append(t.Rows, []cell{text(f.Name), text(value), text(age)})
	}
	return t
}
