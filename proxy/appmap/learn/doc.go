// Package learn proposes rules of an application map from requests that no rule
// described.
//
// It never gives out a value that a request had: of paths and parameter names it
// shows words that it knows to be those of applications, of everything else how
// often it came and what it looked like. It does no I/O. A Tally is used by one
// goroutine.
package learn
