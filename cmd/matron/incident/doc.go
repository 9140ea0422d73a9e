// Package incident lets one person who is on call lift the limits for people in a
// major incident: nobody is slowed down, and no patient counts against a budget.
//
// One signature is enough, where a bypass takes two (cmd/matron/bypass): nothing is
// let through that the rules refuse, every access is decided and recorded as ever,
// and a second person costs minutes when there are none. What keeps it in bounds is
// a key that the configuration names, a reason, an end that comes by itself, and the
// records of both.
//
// What was declared stands in a file to which entries are only added, each naming
// the hash of the one before. A file that is damaged, missing or not understood
// means that limits are in force: care is slowed, and never refused (GW-03). The
// record of a beginning is durable before anything is lifted. Nothing but the file
// and the record is needed.
//
// The file may be changed by one process at a time; Control is safe for concurrent
// use.
package incident

import "errors"

// The sentinels that callers branch on.
var (
	// ErrRefused says that something asked for may not be: the text says why.
	ErrRefused = errors.New("incident refused")
	// ErrFile says that the file of incidents cannot be believed.
	ErrFile = errors.New("file of incidents")
)
