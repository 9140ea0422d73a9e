// Package appmap reads what an exchange does to which patient from a
// declarative description of the application, one YAML file each. It implements
// proxy.Map.
//
// It never guesses: a request that no rule describes is unmapped, a request
// that could be read in two ways is an error, and a response that names nobody
// says so. It does no I/O while classifying and changes neither request nor
// response. A Map is immutable and safe for concurrent use. It keeps no state
// between exchanges, except where it follows the sessions of an application that
// holds there whom a request is about: then each of them has a state, and its
// cookies are taken off requests of anybody whom it was not given to.
package appmap
