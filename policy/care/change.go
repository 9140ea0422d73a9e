package care

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// NHS is the authority of NHS numbers. A number of any other authority is a
// hospital's own.
const NHS = "NHS"

// ID is an identifier and who issued it: a number of a patient or of a clinician.
type ID struct{ Authority, Value string }

// Kind is what a change does.
type Kind uint8

// The kinds of changes. Identify, Merge and Move are about which numbers belong
// together, Flag is about the patient; the others are kept for a visit, in the order of their times.
const (
	Stay       Kind = iota + 1 // the patient is in Ward from At, or from Start
	Update                     // as Stay, but it opens nothing that has ended
	End                        // the visit ended at At, or at End
	Plan                       // the patient is expected in Ward from Start to End
	Referral                   // the patient is referred to People and Team from Start to End
	CareTeam                   // People and Team care for the patient from Start to End
	CancelStay                 // the patient was never in
	CancelMove                 // the last Stay was none: the patient is where they were before
	CancelEnd                  // the visit goes on
	CancelPlan                 // the patient is no longer expected
	Identify                   // the identifiers belong together
	Merge                      // Prior is now Patient
	Move                       // the visit PriorVisit of Prior is now Visit of Patient
	Replace                    // what Source said of the visit before Sent no longer holds, nor did it ever
	Flag                       // the flags Said of the patient are Flags
)

// Class is the class of a visit, of HL7 table 0004: I inpatient, E emergency,
// O outpatient; 0 unknown.
type Class byte

// Clinician is somebody whom a message names.
type Clinician struct {
	ID        ID
	Referring bool // refers the patient and does not treat them
}

// Change is one thing that a source says about one patient.
type Change struct {
	Kind    Kind
	Patient []ID // the first names the patient
	Source  string
	Control string // evidence: what the source calls the message or resource
	At      time.Time
	Sent    time.Time // orders what has the same At; may be zero
	Visit   string    // what the source calls the visit, appointment or referral; "" where it has one at a time

	Class      Class
	Ward, Team string
	People     []Clinician
	Start, End time.Time // zero where the source does not say
	Clinic     bool      // a Plan that is an appointment in a clinic

	Flags, Said Flags // of Flag

	Prior      ID     // of Merge and Move
	PriorVisit string // of Move
}

// Message is what one message of a source says. All of it holds or nothing.
type Message []Change

// What a change may hold at most.
const (
	MaxPeople = 6
	maxIDs    = 16
	maxText   = 200
)

// ErrChange is wrapped by what Check returns.
var ErrChange = errors.New("not a change that can be kept")

// Check reports whether every change can be applied. It names no value.
func (m Message) Check() error {
	for i := range m {
		if err := m[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Change) check() error {
	switch {
	case c.Kind < Stay || c.Kind > Flag:
		return fmt.Errorf("%w: unknown kind", ErrChange)
	case len(c.Patient) == 0 || len(c.Patient) > maxIDs:
		return fmt.Errorf("%w: %d identifiers of the patient", ErrChange, len(c.Patient))
	case len(c.People) > MaxPeople:
		return fmt.Errorf("%w: too many clinicians", ErrChange)
	case (c.Kind == Merge || c.Kind == Move) && c.Prior.Value == "":
		return fmt.Errorf("%w: no prior number", ErrChange)
	case (c.Flags|c.Said)&^allFlags != 0:
		return fmt.Errorf("%w: unknown flag", ErrChange)
	case c.Source == "" || c.Control == "":
		return fmt.Errorf("%w: no evidence", ErrChange)
	}
	for _, id := range append([]ID{c.Prior}, c.Patient...) {
		if len(id.Authority) > maxText || len(id.Value) > maxText {
			return fmt.Errorf("%w: an identifier is too long", ErrChange)
		}
	}
	for _, id := range c.Patient {
		if id.Value == "" {
			return fmt.Errorf("%w: an empty identifier", ErrChange)
		}
	}
	for _, p := range c.People {
		if p.ID.Value == "" || len(p.ID.Authority) > maxText || len(p.ID.Value) > maxText {
			return fmt.Errorf("%w: the identifier of a clinician", ErrChange)
		}
	}
	for _, s := range []string{c.Source, c.Control, c.Visit, c.Ward, c.Team, c.PriorVisit} {
		if len(s) > maxText {
			return fmt.Errorf("%w: a text is too long", ErrChange)
		}
	}
	if !kept(c.At) {
		return fmt.Errorf("%w: no time", ErrChange)
	}
	for _, t := range []time.Time{c.Sent, c.Start, c.End} {
		if !t.IsZero() && !kept(t) {
			return fmt.Errorf("%w: a time out of range", ErrChange)
		}
	}
	return nil
}

// kept reports whether a time fits into the seconds that an event keeps.
func kept(t time.Time) bool { return t.Unix() > 0 && t.Unix() < math.MaxUint32 }
