package audit

import (
	"context"
	"errors"
)

// ErrNotDurable is what Append's error wraps when the records could not be put
// on stable storage in time. Whether they were persisted is then unknown: the
// caller must not release anything that depends on them.
var ErrNotDurable = errors.New("audit record not durable")

// Log is the durable, ordered record of one source. Implementations are safe
// for concurrent use.
type Log interface {
	// Append writes the records as one contiguous run, in order, and returns
	// when all of them are on stable storage (fsynced), with the receipt of the
	// first. It sets Source, Seq and Nonce on each, and Site where it is empty.
	// A Patient record without a Decision gets that of the decision before it in
	// the same call, so that an exchange of many patients costs one fsync.
	// Seq is set even when the error leaves open whether the records persist.
	// On error nothing may be released; the error wraps ErrNotDurable.
	Append(ctx context.Context, records ...*Record) (Receipt, error)

	// Add puts the records into the next group commit and returns without
	// waiting for it. They are written in order, after everything appended
	// before, and are on stable storage before Close returns. On error none
	// of them was taken: the log is closed or sealed, its disk is too far behind,
	// or a record is too large.
	Add(records ...*Record) error
}
