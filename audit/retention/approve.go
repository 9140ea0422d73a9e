package retention

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

const approvalFormat = "matron-disposal-approval/v1"

// Approver is somebody who may approve disposals.
type Approver struct {
	Name string
	Key  note.Verifier
}

// Approval is one signed approval of a plan.
type Approval struct {
	Name string `json:"name"`
	Note string `json:"note"`
}

func approvalText(log, plan string) string {
	return approvalFormat + "\n" + log + "\n" + plan + "\n"
}

// ApprovalFile is where name's approval of a plan is.
func ApprovalFile(plan, name string) string { return plan + "." + name + ".approval" }

// Approve signs the plan in a file and leaves the approval beside it.
func Approve(planFile, name string, signer note.Signer) (Plan, error) {
	text, err := os.ReadFile(planFile) //nolint:gosec // the operator names it
	if err != nil {
		return Plan{}, fmt.Errorf("approve: %w", err)
	}
	p, sum, err := ParsePlan(text)
	if err != nil {
		return Plan{}, fmt.Errorf("approve %s: %w", planFile, err)
	}
	signed, err := note.Sign(&note.Note{Text: approvalText(p.Origin, sum)}, signer)
	if err == nil {
		err = journal.PutFile(ApprovalFile(planFile, name), signed)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("approve %s: %w", planFile, err)
	}
	return p, nil
}

// approvals reads the approvals beside a plan's file and demands two, by
// different people, neither of whom made the plan. An approval that is not valid
// is an error even where others would do: somebody has to look at it.
func approvals(planFile string, p Plan, sum string, approvers []Approver) ([]Approval, error) {
	var list []Approval
	keys := map[string]string{}
	for _, a := range approvers {
		id := fmt.Sprintf("%08x", a.Key.KeyHash())
		if other, ok := keys[id]; ok {
			return nil, fmt.Errorf("%w: %s and %s have one key", ErrApproval, other, a.Name)
		}
		keys[id] = a.Name
		text, err := os.ReadFile(ApprovalFile(planFile, a.Name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := checkApproval(text, p.Origin, sum, a.Key); err != nil {
			return nil, fmt.Errorf("%w: that of %s: %w", ErrApproval, a.Name, err)
		}
		if p.madeBy(a.Name) {
			continue // two people besides whoever planned
		}
		list = append(list, Approval{Name: a.Name, Note: string(text)})
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("%w: there are %d of people other than %s, who made the plan", ErrApproval, len(list), p.MadeBy)
	}
	return list, nil
}

// madeBy reports whether the account name made the plan, maybe as another user
// ("ann as matron").
func (p Plan) madeBy(name string) bool {
	planner, _, _ := strings.Cut(p.MadeBy, " as ")
	return strings.EqualFold(planner, name)
}

func checkApproval(text []byte, log, sum string, key note.Verifier) error {
	n, err := note.Open(text, note.VerifierList(key))
	switch {
	case err != nil:
		return err
	case len(n.Sigs) != 1 || !merkle.CanonicalSignature(n.Sigs[0]):
		return errors.New("not one signature")
	case n.Text != approvalText(log, sum):
		return errors.New("it is of another plan, or the plan was changed since")
	}
	return nil
}
