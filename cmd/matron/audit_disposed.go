package main

import (
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit/retention"
	"github.com/matron-epr/matron/audit/verify"
)

// disposalsIn reads the disposal notes among the folders of a journal. Without a
// key none is believed.
func disposalsIn(dirs []string, key note.Verifier) (list []retention.Disposal, bad []retention.Bad, err error) {
	for _, dir := range dirs {
		if key == nil || len(list) > 0 {
			break
		}
		var more []retention.Bad
		if list, more, err = retention.Disposals(dir, key); err != nil {
			return nil, nil, err
		}
		bad = append(bad, more...)
	}
	return list, bad, nil
}

// disposedIn is what they say, as verify wants it. Those that the key did not
// sign are findings, and so are approvals that those who may approve did not
// sign; nil for approvers checks none.
func disposedIn(dirs []string, key note.Verifier, approvers []retention.Approver) (list []verify.Disposal, found []verify.Finding, err error) {
	disposals, bad, err := disposalsIn(dirs, key)
	for _, b := range bad {
		found = append(found, verify.Finding{Kind: verify.Unsigned, Source: key.Name(), Place: b.File, What: b.Err.Error()})
	}
	for _, d := range disposals {
		who := d.Who()
		if approvers != nil {
			unknown, err := d.CheckApprovals(approvers)
			if err != nil {
				found = append(found, verify.Finding{
					Kind: verify.Unsigned, Source: key.Name(), First: d.Plan.First, Last: d.Plan.Last, Place: "the disposal note", What: err.Error(),
				})
			}
			if len(unknown) > 0 {
				who += " (not checked, as they are not in retention.approvers: " + strings.Join(unknown, ", ") + ")"
			}
		}
		list = append(list, verify.Disposal{
			First: d.Plan.First, Last: d.Plan.Last, Root: d.Plan.Root, Kept: d.Plan.Kept, Who: who, Place: d.KeptFile(),
			Visit: func(visit verify.Visit) error { return d.Kept(visit) },
		})
	}
	return list, found, err
}
