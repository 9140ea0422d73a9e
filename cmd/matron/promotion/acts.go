package promotion

import (
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// checkReason refuses a reason that pages and records should not hold.
func checkReason(reason string) error {
	if err := ledger.CheckReason(reason, "why"); err != nil {
		return refused("%v", err)
	}
	return nil
}

// Stage adds a candidate of the store with its verdict, for people to propose and
// approve. It gives no permission.
func (l *Ledger) Stage(revision string, v Verdict, by Act) (Proposal, *audit.Record, error) {
	by.At = by.At.UTC().Truncate(time.Microsecond)
	if err := checkReason(by.Reason); err != nil {
		return Proposal{}, nil, err
	}
	if err := v.check(revision, l.Active(), by.At); err != nil {
		return Proposal{}, nil, err
	}
	if revision == l.Active() {
		return Proposal{}, nil, refused("the rules %s are in force already", revision)
	}
	for _, p := range l.Proposals {
		if p.Open() && p.Revision == revision && p.Verdict.Seal == v.Seal {
			return Proposal{}, nil, refused("%s is staged already, as %s", revision, p.ID)
		}
	}
	v.Groups = v.Groups[:min(len(v.Groups), keptGroups)]
	e := entry{Link: ledger.Link{ID: ledger.NewID("P")}, Stage: &stage{Revision: revision, Verdict: v, Act: by}}
	if err := l.append(e); err != nil {
		return Proposal{}, nil, err
	}
	p := *l.Find(e.ID)
	return p, record("stage", by, l.Active(), p), nil
}

// keptGroups is how many groups of a verdict are kept for the pages; the file has all.
const keptGroups = 200

// RollBack goes back to the bundle that was in force before.
func (l *Ledger) RollBack(by Act) (*audit.Record, error) {
	e, r, err := l.rollback(by)
	if err != nil {
		return nil, err
	}
	return r, l.append(e)
}

func (l *Ledger) rollback(by Act) (entry, *audit.Record, error) {
	by.At = by.At.UTC().Truncate(time.Microsecond)
	if err := checkReason(by.Reason); err != nil {
		return entry{}, nil, err
	}
	to := l.Previous()
	if to == "" {
		return entry{}, nil, refused("no rules were promoted that could be taken back")
	}
	return entry{Rollback: &change{Revision: to, Act: by}}, record(rollback, by, l.Active(), Proposal{Revision: to}), nil
}

// open finds a proposal that can still be acted on.
func (l *Ledger) open(id string) (*Proposal, error) {
	p := l.Find(id)
	switch {
	case p == nil:
		return nil, refused("there is no proposal %s", id)
	case p.Approved != nil:
		return nil, refused("%s was approved by %s already", id, p.Approved.By)
	case p.Ended != nil:
		return nil, refused("%s was taken back by %s", id, p.Ended.By)
	}
	return p, nil
}

func (l *Ledger) propose(id string, by Act) (entry, *audit.Record, error) {
	p, err := l.open(id)
	switch {
	case err != nil:
		return entry{}, nil, err
	case p.Proposed != nil:
		return entry{}, nil, refused("%s was proposed by %s already", id, p.Proposed.By)
	}
	if err := checkReason(by.Reason); err != nil {
		return entry{}, nil, err
	}
	if err := p.Verdict.check(p.Revision, l.Active(), by.At); err != nil {
		return entry{}, nil, err
	}
	return entry{Link: ledger.Link{ID: id}, Propose: &by}, record("propose", by, l.Active(), *p), nil
}

func (l *Ledger) mark(id string, by Act) (entry, *audit.Record, error) {
	p, err := l.open(id)
	switch {
	case err != nil:
		return entry{}, nil, err
	case p.Proposed == nil:
		return entry{}, nil, refused("nobody has proposed %s yet", id)
	case p.Marked != nil:
		return entry{}, nil, refused("%s was marked by %s already", id, p.Marked.By)
	case p.Proposed.By.Same(by.By):
		return entry{}, nil, refused("%s must be marked by somebody else than %s, who proposed it", id, p.Proposed.By)
	}
	if err := checkReason(by.Reason); err != nil {
		return entry{}, nil, err
	}
	return entry{Link: ledger.Link{ID: id}, Mark: &by}, record("mark", by, l.Active(), *p), nil
}

func (l *Ledger) end(id string, by Act) (entry, *audit.Record, error) {
	p, err := l.open(id)
	if err != nil {
		return entry{}, nil, err
	}
	if err := checkReason(by.Reason); err != nil {
		return entry{}, nil, err
	}
	return entry{Link: ledger.Link{ID: id}, End: &by}, record("withdraw", by, l.Active(), *p), nil
}

// approve is the one place that lets a candidate come in force (GW-11): two people
// who are not one, a verdict about these very rules that is young enough, and the
// mark of a clinical safety officer where care could be hindered.
func (l *Ledger) approve(id string, by Act) (entry, *audit.Record, error) {
	p, err := l.open(id)
	switch {
	case err != nil:
		return entry{}, nil, err
	case p.Proposed == nil:
		return entry{}, nil, refused("nobody has proposed %s yet", id)
	case p.Proposed.By.Same(by.By):
		return entry{}, nil, refused("%s must be approved by somebody else than %s, who proposed it", id, p.Proposed.By)
	case p.Verdict.NeedsMark() && p.Marked == nil:
		return entry{}, nil, refused("%s could hinder care: a clinical safety officer must mark it first", id)
	}
	if err := p.Verdict.check(p.Revision, l.Active(), by.At); err != nil {
		return entry{}, nil, err
	}
	return entry{Link: ledger.Link{ID: id}, Approve: &by}, record("approve", by, l.Active(), *p), nil
}

// record says who did what about which rules, when and why (GW-17).
func record(action string, by Act, before string, p Proposal) *audit.Record {
	r := &audit.Record{
		Kind: audit.KindPolicyChange, Time: by.At, Action: action, PolicyRev: p.Revision,
		UserIssuer: by.By.Issuer, UserSub: by.By.Sub, Person: by.By.Person, UserName: by.By.Name, Roles: slices.Clone(by.By.Roles),
		Detail: []string{"policy_before=" + before},
	}
	if by.By.Account != "" {
		r.UserIssuer, r.UserSub, r.UserName = "os", by.By.Account, by.By.Account
	}
	if by.Reason != "" {
		r.Detail = append(r.Detail, "reason="+by.Reason)
	}
	if p.ID != "" {
		r.Detail = append(r.Detail, "proposal="+p.ID, "verdict_seal="+p.Verdict.Seal)
	}
	for _, step := range []struct {
		name string
		act  *Act
	}{{"proposed_by", p.Proposed}, {"marked_by", p.Marked}} {
		if step.act != nil {
			r.Detail = append(r.Detail, step.name+"="+step.act.By.String())
		}
	}
	r.Bound()
	return r
}
