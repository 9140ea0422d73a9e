package dashboards

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/matron-epr/matron/policy"
)

// RuleBook is where two people put rules in force. It judges who they are and what is
// demanded; whether somebody's role permits a step is asked before.
type RuleBook interface {
	// Rules answers from local files what is in force and what waits.
	Rules(ctx context.Context) (RulesState, error)
	// Change does one step. Its error is a RulesRefusal when it may not be.
	Change(ctx context.Context, c RulesChange) error
}

// RulesRefusal says in a sentence why a step was refused. It names no patient.
type RulesRefusal string

// Error implements error.
func (r RulesRefusal) Error() string { return string(r) }

// RulesStep is one thing that somebody does about rules.
type RulesStep string

// The steps.
const (
	Propose  RulesStep = "propose"
	Mark     RulesStep = "mark" // by a clinical safety officer
	Approve  RulesStep = "approve"
	Withdraw RulesStep = "withdraw"
	RollBack RulesStep = "roll-back"
)

// RulesChange is a step that somebody asks for.
type RulesChange struct {
	Step     RulesStep
	Proposal string // id; "" for RollBack
	Reason   string // one line
	By       policy.Subject
}

// RulesState is what is in force and what waits.
type RulesState struct {
	History   []RulesInForce // newest first; the first is in force
	Previous  string         // what a roll-back leads to, "" for nothing
	Proposals []RulesProposal
}

// RulesInForce is one time that rules came in force.
type RulesInForce struct {
	Revision string
	How      string // adopt, promote, rollback
	By       string
	Reason   string
	At       time.Time
}

// RulesProposal is a candidate that waits.
type RulesProposal struct {
	ID, Revision string
	Staged       RulesAct
	Proposed     *RulesAct // nil while nobody has
	Marked       *RulesAct
	NeedsMark    bool // it could hinder care
	Missing      []string
	// Verdict of the replay.
	From, To, MadeAt                         time.Time
	MadeBy                                   string
	Decisions, Denied, Care, People, Allowed uint64
	DeniedRoles, DeniedWards, DeniedRoutes   []RulesCount
	Changes                                  []RulesEffect // the most frequent
}

// RulesAct is what somebody did.
type RulesAct struct {
	By, Reason string
	At         time.Time
}

// RulesCount is how many requests of something there were.
type RulesCount struct {
	Name  string // "" not known
	Count uint64
}

// RulesEffect is what a candidate would decide otherwise.
type RulesEffect struct {
	Was, Now, Roles, Ward, App, Route, Action, Area, Because string
	Requests, People                                         uint64
	Examples                                                 []string // records, as source/seq
}

const (
	effectsShown = 20
	countsShown  = 6
	changesShown = 20
)

// rulesPage is what is in force, what waits, and what the viewer may do about it.
type rulesPage struct {
	chrome
	Health    string // revision in force, where promotion is not demanded
	Refused   string
	Current   summaryList
	Proposals []proposalView
	Empty     *insetText
	RollBack  *stepForm
	History   table
}

// proposalView is one candidate.
type proposalView struct {
	ID      string
	Summary summaryList
	Effects table
	Forms   []stepForm
}

// stepForm is a form with which somebody does one step.
type stepForm struct {
	Action string
	Hint   string
	Hidden []hidden
	Reason input
	Submit button
}

// rules shows the page.
func (s *Site) rules(r *http.Request) (answer, error) { return s.rulesView(r, "") }

// rulesStep does one step and shows the page, with why when it was refused.
func (s *Site) rulesStep(step RulesStep) pageFunc {
	return func(r *http.Request) (answer, error) {
		r.Body = http.MaxBytesReader(nil, r.Body, formBytes)
		if s.cfg.Rules == nil || r.ParseForm() != nil {
			return answer{}, errOpaque
		}
		err := s.cfg.Rules.Change(r.Context(), RulesChange{
			Step: step, Proposal: r.PostForm.Get("proposal"), Reason: strings.TrimSpace(r.PostForm.Get("reason")),
			By: policy.SubjectFrom(r.Context()),
		})
		if refusal, ok := errors.AsType[RulesRefusal](err); ok {
			return s.rulesView(r, string(refusal))
		}
		if err != nil {
			return answer{}, unavailable("rules", err)
		}
		return answer{location: Base + "rules"}, nil
	}
}

func (s *Site) rulesView(r *http.Request, refusal string) (answer, error) {
	page := rulesPage{chrome: s.chrome(r, "Rules")}
	if s.cfg.Rules == nil {
		page.Health = s.cfg.Health(r.Context()).PolicyRev
		return answer{template: "rules", view: page}, nil
	}
	state, err := s.cfg.Rules.Rules(r.Context())
	if err != nil {
		return answer{}, unavailable("rules", err)
	}
	if len(state.History) > 0 {
		page.Current = s.inForceSummary(state.History[0])
	}
	for _, p := range state.Proposals {
		page.Proposals = append(page.Proposals, s.proposal(r.Context(), p))
	}
	if len(state.Proposals) == 0 {
		page.Empty = &insetText{Text: "No other rules wait. \"matron policy promote\" brings some here, with the verdict of their replay."}
	}
	if state.Previous != "" && s.permits(r.Context(), policy.Rules, policy.Update) {
		form := form(RollBack, "", "Put the rules "+state.Previous+" in force again", "Why must they be taken back?")
		form.Hint, form.Submit.Variant = "Takes effect at once. One person is enough: it leads back to what was approved before.", "warning"
		page.RollBack = &form
	}
	page.History = s.rulesHistory(state.History)
	if refusal == "" {
		return answer{template: "rules", view: page}, nil
	}
	page.fault("maincontent", sentenceCase(refusal)+".")
	return answer{status: http.StatusUnprocessableEntity, template: "rules", view: page}, nil
}

func (s *Site) inForceSummary(c RulesInForce) summaryList {
	return summaryList{Rows: []summaryRow{
		{text("In force"), text(c.Revision)},
		{text("Since"), text(s.formatTime(c.At))},
		{text("How"), text(howInForce(c))},
		{text("Why"), text(c.Reason)},
	}}
}

func howInForce(c RulesInForce) string {
	switch c.How {
	case "adopt":
		return "They were configured when promotion was first demanded"
	case "rollback":
		return "Taken back to, by " + c.By
	}
	return "Promoted, approved by " + c.By
}

// proposal lists what a candidate would change, who did what, and the forms for what
// the viewer's role permits next.
func (s *Site) proposal(ctx context.Context, p RulesProposal) proposalView {
	act := func(a *RulesAct, nobody string) cell {
		if a == nil {
			return text(nobody)
		}
		return text(a.By + ", " + s.formatTime(a.At) + ": " + a.Reason)
	}
	mark := "Not needed: nothing that may be care would be newly refused"
	if p.NeedsMark {
		mark = "Needed, and not there yet"
	}
	v := proposalView{ID: p.ID, Effects: effectTable(p), Summary: summaryList{Rows: []summaryRow{
		{text("Rules"), text(p.Revision)},
		{text("Brought by"), act(&p.Staged, "")},
		{text("Replayed"), text(plural(p.Decisions, "decision", "decisions") + " from " + s.formatTime(p.From) + " to " + s.formatTime(p.To) + ", by account " + p.MadeBy + " at " + s.formatTime(p.MadeAt))},
		{text("Newly refused"), text(plural(p.Denied, "request", "requests") + " of " + plural(p.People, "person", "people") + "; " + formatCount(p.Care) + " may be care")},
		{text("By role"), text(readable(most(p.DeniedRoles)))},
		{text("By ward"), text(most(p.DeniedWards))},
		{text("By route"), text(most(p.DeniedRoutes))},
		{text("Newly allowed"), text(plural(p.Allowed, "request", "requests"))},
		{text("Proposed"), act(p.Proposed, "Nobody yet")},
		{text("Marked by a clinical safety officer"), act(p.Marked, mark)},
		{text("Waits for"), text(sentenceCase(strings.Join(p.Missing, ", then ")))},
	}}}
	add := func(step RulesStep, area policy.Area, action policy.Action, does, asks, hint string) {
		if s.permits(ctx, area, action) {
			f := form(step, p.ID, does, asks)
			f.Hint = hint
			v.Forms = append(v.Forms, f)
		}
	}
	switch {
	case p.Proposed == nil:
		add(Propose, policy.Rules, policy.Create, "Propose "+p.ID, "Why should these rules come in force?", "Your name is recorded. Somebody else approves.")
	case p.NeedsMark && p.Marked == nil:
		add(Mark, policy.Safety, policy.Update, "Mark "+p.ID, "Why are these refusals safe?", "As clinical safety officer: you have looked at what would be newly refused.")
	default:
		add(Approve, policy.Rules, policy.Update, "Approve "+p.ID, "Why do you approve?", "The rules come in force at once. Whoever proposed them cannot approve them.")
	}
	add(Withdraw, policy.Rules, policy.Create, "Take "+p.ID+" back", "Why is it taken back?", "")
	for i := range v.Forms {
		if v.Forms[i].Action == Base+"rules/"+string(Withdraw) {
			v.Forms[i].Submit.Variant = "secondary"
		}
	}
	return v
}

func form(step RulesStep, proposal, does, asks string) stepForm {
	return stepForm{
		Action: Base + "rules/" + string(step), Hidden: []hidden{{"proposal", proposal}},
		Reason: input{
			ID: "reason-" + string(step) + proposal, Name: "reason", Label: label{Text: asks, Size: "s"},
			Hint: &hint{Text: "One line, shown on this page and recorded. Name no patient."}, Autocomplete: "off",
		},
		Submit: button{Text: does},
	}
}

func most(counts []RulesCount) string {
	var said []string
	for _, c := range counts[:min(len(counts), countsShown)] {
		said = append(said, cmp.Or(c.Name, "not known")+" "+formatCount(c.Count))
	}
	if more := len(counts) - countsShown; more > 0 {
		said = append(said, "and "+formatCount(uint64(more))+" more")
	}
	return cmp.Or(strings.Join(said, ", "), "None")
}

func effectTable(p RulesProposal) table {
	t := table{
		ID: "effects-" + p.ID, Caption: caption{Text: "What " + p.ID + " would decide otherwise", Size: "s"}, Compact: true, Responsive: true,
		Head: []cell{text("Now"), text("Then"), text("Role"), text("Ward"), text("Route"), text("What"), text("Because of"), number("Requests"), number("People"), text("For example")},
	}
	for _, e := range p.Changes[:min(len(p.Changes), effectsShown)] {
		t.Rows = append(t.Rows, []cell{
			text(sentenceCase(e.Was)), text(sentenceCase(e.Now)), text(cmp.Or(sentenceCase(readable(e.Roles)), "None")),
			text(cmp.Or(e.Ward, "Not known")), text(e.App + ", " + e.Route), text(did(e.Action) + ": " + readable(e.Area)),
			text(e.Because), number(formatCount(e.Requests)), number(formatCount(e.People)), text(strings.Join(e.Examples, " ")),
		})
	}
	return t
}

func (s *Site) rulesHistory(all []RulesInForce) table {
	t := table{
		ID: "history", Caption: caption{Text: "What was in force", Size: "m"}, Compact: true, Responsive: true,
		Head: []cell{text("From"), text("Rules"), text("How"), text("Why")},
	}
	for _, c := range all[:min(len(all), changesShown)] {
		t.Rows = append(t.Rows, []cell{when(s.formatTime(c.At)), text(c.Revision), text(howInForce(c)), text(c.Reason)})
	}
	return t
}
