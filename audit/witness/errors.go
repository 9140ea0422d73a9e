package witness

import "errors"

// What callers branch on.
var (
	ErrExists    = errors.New("is there already")
	ErrPrivate   = errors.New("others may read it")
	ErrKey       = errors.New("is no such key")
	ErrMalformed = errors.New("is no checkpoint")
	ErrPolicy    = errors.New("is no witness policy")

	errEmptyRoot = errors.New("an empty tree has another root")

	// Of a Server's folder.
	ErrLocked   = errors.New("is in use by another process")
	ErrState    = errors.New("witness state is damaged")
	ErrNotAdded = errors.New("was never added to this witness")

	// Of a Client: what the witness did.
	ErrUnavailable  = errors.New("witness does not answer")
	ErrRefused      = errors.New("witness refuses")
	ErrInconsistent = errors.New("witness holds another history of this log")
	ErrAhead        = errors.New("witness has seen a larger tree of this log")
	ErrBadAnswer    = errors.New("witness gave an answer that is not valid")
)
