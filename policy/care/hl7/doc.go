// Package hl7 reads HL7 v2 messages and writes their acknowledgements.
//
// It is a reader only: it knows separators, repetitions, components, escapes,
// character sets and times, and nothing of what a message means. It never
// guesses a value, never panics on what it is given and never puts a value of a
// message into an error, because errors are logged. Messages are immutable and
// safe for concurrent use.
package hl7
