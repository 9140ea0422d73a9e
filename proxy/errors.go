package proxy

import "errors"

// Sentinels that callers branch on. refusals in refuse.go maps each to a
// status, a page and a metric label.
var (
	ErrNoSession           = errors.New("no session")
	ErrSessionExpired      = errors.New("session expired")
	ErrToken               = errors.New("token refused")
	ErrIdentityUnavailable = errors.New("identity provider unavailable")
)
