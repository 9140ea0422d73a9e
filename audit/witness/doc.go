// Package witness gives and asks for cosignatures of checkpoints: the statement
// of somebody outside the gateway that a log has grown and has not been
// rewritten (C2SP tlog-witness and tlog-cosignature, note signature type 0x04).
//
// A Server never signs two different roots for one size of one log, never signs
// what does not extend what it signed before, and never answers before what it
// signed is on the disk; a state file that is damaged or missing is named and
// refused, never started over. A Client believes no answer that its witness's
// key has not signed. Nothing here holds patient data: a checkpoint is a name, a
// size and a hash.
//
// Server, Client and Set are safe for concurrent use. One process at a time
// serves a state folder.
package witness
