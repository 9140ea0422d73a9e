// Package merkle is the RFC 6962 tree over the records of one source: leaf n is
// the record with sequence number n+1. It keeps the hashes on disk, signs and
// reads checkpoints (C2SP tlog-checkpoint), and makes and checks proofs (C2SP
// tlog-proof) and tiles (C2SP tlog-tiles).
//
// It never holds a record: leaves are hashes, which tell nothing because every
// record has a random nonce. The hashes can be made again from the records at
// any time, so that nothing here needs to be durable before a response leaves.
// A Tree is safe for concurrent use.
package merkle

import "errors"

// What callers branch on.
var (
	// ErrSignature says that a note is not signed by the key that was given.
	ErrSignature = errors.New("checkpoint is not signed by this key")
	// ErrCheckpoint says that a note is signed and yet is no checkpoint.
	ErrCheckpoint = errors.New("not a checkpoint")
	// ErrProof says that a proof does not lead from the record to the root.
	ErrProof = errors.New("proof does not hold")
	// ErrSize says that a tree is smaller than what was asked of it.
	ErrSize = errors.New("tree is smaller")
)
