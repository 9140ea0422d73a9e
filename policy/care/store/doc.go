// Package store keeps what was said about care on disk, so that a register of
// care survives a restart.
//
// Accept returns when a message is on stable storage: only then may its sender be
// told so. Files are append-only logs of frames with checksums, and snapshots
// that replace the logs before them. Whatever can be read of them is: a torn end
// is cut back, damage in the middle is passed over and counted, because a gateway
// that does not start harms more than one that does not know a ward stay (GW-02).
// A store has one writer; it is safe for concurrent use.
package store
