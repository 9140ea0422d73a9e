package main

import (
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

// disposedIn is what they say, as verify wants it; those that the key did not
// sign are findings.
func disposedIn(dirs []string, key note.Verifier) (list []verify.Disposal, found []verify.Finding, err error) {
	disposals, bad, err := disposalsIn(dirs, key)
	for _, b := range bad {
		found = append(found, verify.Finding{Kind: verify.Unsigned, Source: key.Name(), Place: b.File, What: b.Err.Error()})
	}
	for _, d := range disposals {
		list = append(list, verify.Disposal{
			First: d.Plan.First, Last: d.Plan.Last, Root: d.Plan.Root, Kept: d.Plan.Kept, Who: d.Who(), Place: d.KeptFile(),
			Visit: func(visit verify.Visit) error { return d.Kept(visit) },
		})
	}
	return list, found, err
}
