// Package host watches what the gateway depends on and cannot change: how full
// the disk of the journal is, and whether the clock of this machine steps.
//
// It never refuses anything and never holds anybody up: what it knows is read
// from memory. Its types are safe for concurrent use; each is run by one
// goroutine.
package host
