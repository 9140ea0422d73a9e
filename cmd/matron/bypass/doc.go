// Package bypass lets two people put the decisions of the gateway aside for one
// application and a bounded time, in an emergency in which they hinder care.
//
// One person asks and signs, another approves and signs, each with a key of
// their own that the configuration names. Both stand in a file to which entries
// are only added, each naming the hash of the one before. A Control, in the
// gateway, believes what two valid signatures say and nothing else: a file that
// is damaged, missing or not understood means no bypass (GW-19). It makes the
// record of a begin durable before the first request is let through, and it
// grants itself time in short leases that are on disk before they are used: so
// neither a step of the clock nor a restart adds to the time that was approved.
//
// It never forwards anything itself and never begins a bypass. The file may be
// changed by one process at a time; Control is safe for concurrent use.
package bypass

import "errors"

// The sentinels that callers branch on.
var (
	// ErrRefused says that something asked for may not be: the text says why.
	ErrRefused = errors.New("bypass refused")
	// ErrFile says that the file of bypasses cannot be believed.
	ErrFile = errors.New("file of bypasses")
)
