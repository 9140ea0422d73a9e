package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/cmd/matron/promotion"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// ruleBook shows promotions to pages, and does what signed-in people ask for there.
type ruleBook struct {
	cfg  config.Config
	desk *promotion.Desk
}

// ruleBook is nil where promotion is not demanded.
func (g *Gateway) ruleBook() dashboards.RuleBook {
	if g.promotion == nil {
		return nil
	}
	return ruleBook{g.cfg, g.promotion}
}

// Rules implements dashboards.RuleBook.
func (b ruleBook) Rules(context.Context) (dashboards.RulesState, error) {
	l, err := promotion.Read(PromotionsFile(b.cfg))
	if err != nil {
		return dashboards.RulesState{}, err
	}
	s := dashboards.RulesState{Previous: l.Previous()}
	for _, c := range slices.Backward(l.Changes) {
		s.History = append(s.History, dashboards.RulesInForce{Revision: c.Revision, How: c.How, By: c.By.String(), Reason: c.Reason, At: c.At})
	}
	for _, p := range slices.Backward(l.Proposals) {
		if p.Open() {
			s.Proposals = append(s.Proposals, proposalOnPage(p))
		}
	}
	return s, nil
}

func proposalOnPage(p promotion.Proposal) dashboards.RulesProposal {
	act := func(a *promotion.Act) *dashboards.RulesAct {
		if a == nil {
			return nil
		}
		return &dashboards.RulesAct{By: a.By.String(), Reason: a.Reason, At: a.At}
	}
	v := p.Verdict
	out := dashboards.RulesProposal{
		ID: p.ID, Revision: p.Revision, Staged: *act(&p.Staged), Proposed: act(p.Proposed), Marked: act(p.Marked),
		NeedsMark: v.NeedsMark(), Missing: p.Missing(), From: v.From, To: v.To, MadeAt: v.MadeAt, MadeBy: v.MadeBy,
		Decisions: count(v.Decisions), Denied: count(v.NewlyDenied), Care: count(v.CareDenied), People: count(v.PeopleDenied),
		Allowed:     count(v.NewlyAllowed),
		DeniedRoles: countsOnPage(v.DeniedRoles), DeniedWards: countsOnPage(v.DeniedWards), DeniedRoutes: countsOnPage(v.DeniedRoutes),
	}
	for _, g := range v.Groups {
		out.Changes = append(out.Changes, dashboards.RulesEffect{
			Was: g.Was, Now: g.Now, Roles: g.Roles, Ward: g.Ward, App: g.App, Route: g.Route, Action: g.Action, Area: g.Area,
			Because: g.Because, Requests: count(g.Count), People: count(g.People), Examples: g.Examples,
		})
	}
	return out
}

func countsOnPage(list []replay.Count) []dashboards.RulesCount {
	var out []dashboards.RulesCount
	for _, c := range list {
		out = append(out, dashboards.RulesCount{Name: c.Name, Count: count(c.Count)})
	}
	return out
}

func count(n int) uint64 { return uint64(max(n, 0)) }

// Change implements dashboards.RuleBook.
func (b ruleBook) Change(ctx context.Context, c dashboards.RulesChange) error {
	by := promotion.Act{By: whoIs(c.By), Reason: c.Reason}
	var err error
	switch c.Step {
	case dashboards.Propose:
		err = b.desk.Propose(ctx, c.Proposal, by)
	case dashboards.Mark:
		err = b.desk.Mark(ctx, c.Proposal, by)
	case dashboards.Approve:
		err = b.desk.Approve(ctx, c.Proposal, by)
	case dashboards.Withdraw:
		err = b.desk.Withdraw(ctx, c.Proposal, by)
	case dashboards.RollBack:
		err = b.desk.RollBack(ctx, by)
	}
	if errors.Is(err, promotion.ErrRefused) {
		return dashboards.RulesRefusal(strings.TrimPrefix(err.Error(), promotion.ErrRefused.Error()+": "))
	}
	return err
}

func whoIs(s policy.Subject) promotion.Who {
	return promotion.Who{Issuer: s.Issuer, Sub: s.Sub, Person: s.Person, Name: s.Name, Roles: slices.Clone(s.Roles)}
}

// rulesNotes is what banners say of rules that are not in force.
func (g *Gateway) rulesNotes() []string {
	var lines []string
	if note := *g.rulesNote.Load(); note != "" {
		lines = append(lines, note)
	}
	if wrong := g.fetched.wrong.Load(); wrong != nil {
		lines = append(lines, *wrong)
	}
	if g.promotion != nil && g.promotion.Wrong() != "" {
		lines = append(lines, "The rules that were promoted last are not in force, those before stay: see the log.")
	}
	return lines
}
