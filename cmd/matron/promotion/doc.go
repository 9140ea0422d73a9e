// Package promotion puts new rules in force by two people: a candidate and the
// verdict of its replay are staged by command, one signed-in person proposes it,
// another approves it, and where it would newly refuse what may be care a clinical
// safety officer marks it first (GW-11).
//
// Bundles are kept whole in a store below the data folder, each under its revision,
// which is the hash of its contents. Which one is in force, and who made it so, is a
// file to which entries are only added, each naming the hash of the one before:
// adding one entry is what puts a bundle in force, so that there is no state between.
// The record of a change is durable before the change (GW-17).
//
// It never decides a request and never changes a bundle. The file may be changed by
// one process at a time; a Desk is safe for concurrent use.
package promotion

import (
	"errors"
	"fmt"
)

// The sentinels that callers branch on.
var (
	// ErrRefused says that something asked for may not be: the text says why.
	ErrRefused = errors.New("promotion refused")
	// ErrFile says that the file of promotions cannot be believed.
	ErrFile = errors.New("file of promotions")
)

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}
