package hazardlog

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// ProposalFormat is the version of the format of proposals.
const ProposalFormat = "matron-hazard-log/1"

//go:embed starter.json
var starter []byte

// Starter returns the changes that begin the log of Matron's manufacturer:
// proposed by engineers, assessed and approved by nobody.
func Starter() ([]Change, error) { return Propose(starter) }

// StarterLog is the log that Starter begins, for looking at without a store.
func StarterLog() (Log, error) { return ReadProposal(starter) }

// ReadProposal is the log that a proposal begins, as Propose reads it.
func ReadProposal(data []byte) (Log, error) {
	changes, err := Propose(data)
	if err != nil {
		return Log{}, err
	}
	n := 0
	l, _, err := Begin("matron").Record(time.Unix(0, 0), Actor{Issuer: SoftwareIssuer, Account: "matron"}, func() string { n++; return fmt.Sprint("starter-", n) }, changes...)
	return l, err
}

// proposal is a hazard log that somebody proposes, as a file: hazards with
// their controls, without a history.
type proposal struct {
	Format   string            `json:"format"`
	Title    string            `json:"title"`
	Approval proposalApproval  `json:"approval"`
	Hazards  []json.RawMessage `json:"hazards"`
}

// proposalApproval can only say that there is none: no file approves itself.
type proposalApproval struct {
	State string `json:"state"`
	Note  string `json:"note"`
}

type proposedHazard struct {
	Hazard
	Controls  []Control  `json:"controls"`
	Transfers []Transfer `json:"transfers"` // what the deploying organisation must do
}

// Propose reads a proposal strictly, as the changes that begin a manufacturer's
// log with it. Every rating in it is proposed. The error wraps ErrInvalid and
// names, for every mistake, the hazard and the field.
func Propose(data []byte) ([]Change, error) {
	var file proposal
	if err := strict(data, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	standard, err := LoadStandard("dcb0129-4.2")
	if err != nil {
		return nil, err
	}
	var found mistakes
	if file.Format != ProposalFormat {
		found.add("format", "is %q, expected %q", file.Format, ProposalFormat)
	}
	if file.Approval.State != "draft" {
		found.add("approval.state", "is %q: a file cannot approve itself, expected \"draft\"", file.Approval.State)
	}
	p := proposing{standard: standard, controls: map[string]Control{}}
	for i, raw := range file.Hazards {
		found = append(found, p.hazard(i, raw)...)
	}
	head := Head{Title: file.Title, Role: Manufacturer, StandardID: standard.ID}
	changes := append([]Change{{Act: OpenLog, Value: head, Why: file.Approval.Note}}, p.changes()...)
	return changes, append(found, rehearse(changes)...).err()
}

// rehearse finds every mistake of changes that begin a log, not the first alone.
func rehearse(changes []Change) mistakes {
	var found mistakes
	l := Begin("rehearsal")
	for _, c := range changes {
		s := c.Value.Subject()
		for _, m := range l.checkChange(Actor{Issuer: SoftwareIssuer, Account: "rehearsal"}, c) {
			found.add(s.String()+" "+m.Field, "%s", m.Text)
		}
		if err := l.put(c.Value); err != nil {
			found.add(s.String(), "%v", err)
			return found
		}
		l.revs[s] = 1
	}
	return found
}

// proposing collects what a proposal holds.
type proposing struct {
	standard  *Standard
	hazards   []Hazard
	controls  map[string]Control
	transfers []Transfer
}

func (p *proposing) hazard(i int, raw json.RawMessage) mistakes {
	var found mistakes
	var h proposedHazard
	if err := strict(raw, &h); err != nil {
		found.add(fmt.Sprintf("hazard %d", i+1), "%v", err)
		return found
	}
	if slices.ContainsFunc(p.hazards, func(other Hazard) bool { return other.ID == h.ID }) {
		found.add(h.ID+" id", "is taken by another hazard")
	}
	for _, r := range []struct {
		field  string
		rating *Rating
	}{{"initial", &h.Initial}, {"residual", &h.Residual}} {
		stated := r.rating.risk
		*r.rating = p.standard.Rate(*r.rating)
		if stated != 0 && stated != r.rating.risk {
			found.add(h.ID+" "+r.field+".risk", "states %d, but the matrix gives %s", int(stated), r.rating.risk)
		}
		if *r.rating != (Rating{}) {
			r.rating.State = RatingProposed
		}
	}
	h.Origin = nil
	p.hazards = append(p.hazards, h.Hazard)
	for _, c := range h.Controls {
		p.control(&found, h.ID, c)
	}
	for _, t := range h.Transfers {
		p.transfer(&found, h.ID, t)
	}
	return found
}

// transfer takes in what is asked of the deploying organisation, which has answered
// nothing yet.
func (p *proposing) transfer(found *mistakes, hazard string, t Transfer) {
	if t.State != "" || t.By != "" || t.Reason != "" {
		found.add(hazard+" "+t.ID, "cannot be answered in a proposal")
	}
	if slices.ContainsFunc(p.transfers, func(other Transfer) bool { return other.ID == t.ID }) {
		found.add(hazard+" "+t.ID, "is taken by another transfer")
	}
	p.transfers = append(p.transfers, Transfer{
		ID: t.ID, Hazard: hazard, Control: t.Control, Condition: t.Condition, State: Offered, To: cmp.Or(t.To, "the deploying organisation"),
	})
}

// control takes a control in. One that stands under several hazards with one id
// is one control.
func (p *proposing) control(found *mistakes, hazard string, c Control) {
	c.Hazards = []string{hazard}
	known, ok := p.controls[c.ID]
	if !ok {
		p.controls[c.ID] = c
		return
	}
	hazards := append(slices.Clip(known.Hazards), hazard)
	c.Hazards = known.Hazards
	if !Same(known, c) {
		found.add(hazard+" "+c.ID, "is not the same control as under %s", known.Hazards[0])
	}
	known.Hazards = hazards
	p.controls[c.ID] = known
}

func (p *proposing) changes() []Change {
	var list []Change
	raise := func(v Value) { list = append(list, Change{Act: Raise, Value: v}) }
	for _, h := range p.hazards {
		raise(h)
	}
	for _, id := range slices.SortedFunc(maps.Keys(p.controls), byID) {
		raise(p.controls[id])
	}
	slices.SortStableFunc(p.transfers, func(a, b Transfer) int { return byID(a.ID, b.ID) })
	for _, t := range p.transfers {
		raise(t)
	}
	return list
}
