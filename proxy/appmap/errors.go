package appmap

import (
	"errors"
	"fmt"
)

// Sentinels that callers branch on.
var (
	// ErrMalformed is wrapped by Classify's error: the request could be read in
	// two ways, or not at all. It is refused with 400.
	ErrMalformed = errors.New("malformed request")
	// ErrUnreadable is wrapped by Settle's error: the response cannot be
	// understood, so that nobody knows whose data it holds. Nothing of it may be
	// released.
	ErrUnreadable = errors.New("unreadable response")
	// ErrUnknownMap is wrapped by Builtin's error.
	ErrUnknownMap = errors.New("no such built-in map")

	// ErrRecording is wrapped by ReadExchanges' error.
	ErrRecording = errors.New("no recorded exchange")

	// errUnmapped makes an exchange unmapped that a rule matched at first sight.
	errUnmapped = errors.New("unmapped")
)

// unmappedSince is errUnmapped with its reason, for people who write maps.
func unmappedSince(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errUnmapped)...)
}
