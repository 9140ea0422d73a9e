// Package journal makes audit records durable: append-only segments on the
// local disk, one writer, group commit with fdatasync. When a disk fails, hangs
// or is full, it goes on in another place: a folder on a second device, a peer
// gateway, room kept for the purpose.
//
// It never changes what it has acknowledged, removes it only where an equal copy
// is durable elsewhere, never writes again to a file after a write or sync on it
// went wrong, never acknowledges what no place has synced, and never starts over
// silently: a missing journal, another gateway's journal, a place that is not
// there or damage before the last group commit is an error that says where.
//
// A Journal is safe for concurrent use; one process at a time may open it. The
// bytes on disk are described in docs/journal-format.md.
package journal
