// Package fhir turns FHIR R4 Encounter, Appointment, CareTeam and Patient resources into
// changes of a register of care: a second source beside HL7 v2 messages.
//
// A resource is a state and not an event: a newer version replaces what an older
// one said, whichever comes first; versions of the same millisecond are not told
// apart. The package reads what it is given and fetches nothing; a reference is taken
// by its id. It is safe for concurrent use.
package fhir
