// Package journal makes audit records durable: append-only segments on the
// local disk, one writer, group commit with fdatasync.
//
// It never changes or removes what it has acknowledged, never writes again to a
// file after a write or sync on it went wrong, and never starts over silently:
// a missing journal, another gateway's journal or damage before the last group
// commit is an error that says where.
//
// A Journal is safe for concurrent use; one process at a time may open it. The
// bytes on disk are described in docs/journal-format.md.
package journal
