// Package retention disposes of the oldest part of the record once it has been
// kept long enough: always a stretch from the oldest segment on, planned by one
// person, approved by two, and signed by the log itself.
//
// It never deletes because time has passed: somebody plans, others approve, and
// what a legal hold covers stays. It never touches the hash tree, so that what is
// left can be verified for ever and what is gone is proved to have been there. Of
// the journal it removes whole archived segments and nothing else. Functions are
// for one goroutine; the file of holds is locked while a disposal is under way.
package retention

import "errors"

// What callers branch on.
var (
	ErrNothing  = errors.New("nothing is old enough to be disposed of")
	ErrChanged  = errors.New("this is not what was planned")
	ErrApproval = errors.New("two valid approvals of two people are needed")
	ErrNote     = errors.New("not a disposal note of this log")
	ErrHold     = errors.New("not a legal hold")
	ErrHolds    = errors.New("the file of legal holds is not what it should be")
)
