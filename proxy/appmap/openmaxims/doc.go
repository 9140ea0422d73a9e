// Package openmaxims reads the protocol of openMAXIMS, the electronic patient
// record, and follows its sessions: who works in one, in which role, on which
// screen, with which patient.
//
// It was written from the published protocol of release 10.5 (servlet CNHost,
// XML over POST) and tried against an emulator of it, never against a live
// instance. What it cannot tell is unknown; it never guesses and never takes
// silence for "no patient". It does no I/O and keeps no password. A Session is
// used by one goroutine at a time, except for its grants; Tables never change.
package openmaxims
