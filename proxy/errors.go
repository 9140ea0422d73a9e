package proxy

import (
	"errors"
	"fmt"
)

// Sentinels that callers branch on. explain in refuse.go maps each to a status,
// a page and a metric label.
var (
	ErrNoSession           = errors.New("no session")
	ErrSessionExpired      = errors.New("session expired")
	ErrToken               = errors.New("token refused")
	ErrIdentityUnavailable = errors.New("identity provider unavailable")

	// What Config.Admit says of a machine client that may not come in.
	ErrMachineUnknown = errors.New("machine client not registered")
	ErrMachineExpired = errors.New("registration of the machine client has run out")
	ErrMachineNetwork = errors.New("machine client at an address that is not its own")

	// ErrApplicationFault is wrapped by Map.Settle's error when the response tells
	// how the application's program failed: nothing of it is released.
	ErrApplicationFault = errors.New("application shows an error of its program")

	// ErrSpool is wrapped by errors of a Spool that cannot keep a response, or
	// finds that it is not what was kept; ErrSpoolFull where it has no room for it.
	ErrSpool     = errors.New("held response not kept")
	ErrSpoolFull = errors.New("no room for a held response")
)

// Requests that are refused before anybody asks who sent them.
var (
	errTarget         = errors.New("ambiguous request target")
	errHeaderName     = errors.New("header name with an underscore")
	errIdentityHeader = errors.New("client-sent identity header")
	errOverride       = errors.New("method or target override")
	errRepeated       = errors.New("header repeated that stands once")
	errConnection     = errors.New("header taken away on the way")
	errUpgrade        = errors.New("upgrade to an unknown protocol")
	errHandshake      = errors.New("malformed WebSocket handshake")
	errMethod         = errors.New("method not accepted")
	errFraming        = errors.New("ambiguous message framing")
	errMalformed      = errors.New("malformed message")
	errHeaderTooLarge = errors.New("request header too large")
	errAddressTooLong = errors.New("request target too long")
	errBodyTooLarge   = errors.New("request body too large")
	errBody           = errors.New("request body broken off")
	errCrossOrigin    = errors.New("cross-origin request")
	errNoApplication  = errors.New("no application at this address")
	errUnclassifiable = errors.New("request does not fit the application's map")

	errTooManyPatients = errors.New("request names too many patients")
	errTooManyParts    = errors.New("request does too many different things")
)

// Requests that somebody known sent and that do not go on.
var (
	errDenied     = errors.New("denied")
	errChallenged = errors.New("challenged")
	errStepUp     = fmt.Errorf("%w: sign in again", errChallenged)
	errLimited    = errors.New("rate limited")
	errOverBudget = errors.New("more patients than the budget of the role")
)

// What can fail on the way to the application and back.
var (
	errPatientUnknown = errors.New("response of a patient whom nobody can name")
	errNotShown       = errors.New("saved, and not to be shown")
	errNotRecorded    = errors.New("record not durable")
	errVoucher        = errors.New("identity token not made")
	errUnreachable    = errors.New("application unreachable")
	errTimeout        = errors.New("application too slow")
	errBadResponse    = errors.New("application answered out of protocol")
	errBusy           = errors.New("too much in memory")
	errHeldTooLarge   = errors.New("held response too large")
	errHeldUnreadable = errors.New("held response not understood")
	errTruncated      = errors.New("response broken off")
	errClientGone     = errors.New("client gone")
	errClientSlow     = errors.New("client too slow")
	errBypassEnded    = errors.New("bypass ended")
	errWithdrawn      = errors.New("no longer allowed")
	errRenamed        = errors.New("about a patient whom its record does not name")
	errGoingAway      = errors.New("gateway stops")
	errInternal       = errors.New("internal error")
)
