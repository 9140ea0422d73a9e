package hazardlog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// eventVersion is the version of the encoding of events.
const eventVersion = 1

// Event is one change of one subject, with all that the subject holds after it.
// It is never changed and never taken out: each names the hash of the one
// before it.
type Event struct {
	Version  int             `json:"v"`
	ID       string          `json:"id"` // unique in the world
	Log      string          `json:"log"`
	Seq      uint64          `json:"seq"`    // from 1, gap-free within Log
	Before   string          `json:"before"` // hash of the event before, "" for the first
	At       time.Time       `json:"at"`     // UTC, whole microseconds
	By       Actor           `json:"by"`
	Act      Act             `json:"act"`
	Subject  Subject         `json:"subject"`
	Revision uint64          `json:"revision"` // of the subject, from 1
	Why      string          `json:"why,omitempty"`
	Value    json.RawMessage `json:"value"` // the subject after it
}

// Actor is who did something.
type Actor struct {
	Issuer  string `json:"issuer"` // of the account: "os", or the address of the sign-in service
	Account string `json:"account"`
	Name    string `json:"name,omitempty"`
	// Officer is the clinical safety officer as whom the actor has just proved to
	// act, "" for none.
	Officer string `json:"officer,omitempty"`
	Proof   *Proof `json:"proof,omitempty"` // of that; needed with Officer
}

// Proof is how an officer proved who they are, at the moment of acting.
type Proof struct {
	Method   string    `json:"method"`   // "key": Evidence is a note signed with the officer's key over what was done
	Evidence string    `json:"evidence"` // for whoever doubts it later
	At       time.Time `json:"at"`
}

// SoftwareIssuer is the issuer of this program's own doing. It may propose and
// nothing else.
const SoftwareIssuer = "software"

// String names the actor for people.
func (a Actor) String() string {
	switch {
	case a.Officer != "":
		return a.Officer
	case a.Name != "":
		return a.Name
	}
	return a.Account
}

// Act says what kind of change an event is, which is what it may change.
type Act string

// The acts.
const (
	OpenLog Act = "open"    // the log began
	Raise   Act = "raise"   // a subject is new
	Edit    Act = "edit"    // words, not ratings or status
	Rate    Act = "rate"    // ratings and their acceptance
	Move    Act = "move"    // the status of a hazard, control, incident or review
	Answer  Act = "answer"  // our answer to a transfer
	Approve Act = "approve" // an officer signed a version
)

// Kind is the kind of a subject.
type Kind string

// The kinds.
const (
	OfLog      Kind = "log"
	OfHazard   Kind = "hazard"
	OfControl  Kind = "control"
	OfIncident Kind = "incident"
	OfDecision Kind = "decision"
	OfTransfer Kind = "transfer"
	OfReview   Kind = "review"
	OfVersion  Kind = "version"
	OfReply    Kind = "reply" // of somebody to whom something was transferred
)

// Subject is what an event is about. Its ID is never used again within its kind.
type Subject struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// String is how the subject is called: "GW-01", or "version 1.4".
func (s Subject) String() string {
	switch s.Kind {
	case OfLog, OfVersion:
		return string(s.Kind) + " " + s.ID
	case OfHazard, OfControl, OfIncident, OfDecision, OfTransfer, OfReview, OfReply:
	}
	return s.ID
}

// Value is what a subject holds: a Head, Hazard, Control, Incident, Decision,
// Transfer, Review, Approval or Reply.
type Value interface {
	Subject() Subject
	fields() []field
}

// Subject implements Value. There is one head in a log.
func (Head) Subject() Subject { return Subject{OfLog, "head"} }

// Subject implements Value.
func (h Hazard) Subject() Subject { return Subject{OfHazard, h.ID} }

// Subject implements Value.
func (c Control) Subject() Subject { return Subject{OfControl, c.ID} }

// Subject implements Value.
func (i Incident) Subject() Subject { return Subject{OfIncident, i.ID} }

// Subject implements Value.
func (d Decision) Subject() Subject { return Subject{OfDecision, d.ID} }

// Subject implements Value.
func (t Transfer) Subject() Subject { return Subject{OfTransfer, t.ID} }

// Subject implements Value.
func (r Review) Subject() Subject { return Subject{OfReview, r.ID} }

// Subject implements Value.
func (a Approval) Subject() Subject { return Subject{OfVersion, a.Version} }

// Encode returns the bytes of the event that are stored and hashed.
func (e Event) Encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	return b, nil
}

// Hash is the SHA-256 of encoded bytes, in hexadecimal.
func Hash(encoded []byte) string {
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// DecodeEvent reads what Encode wrote, and nothing else.
func DecodeEvent(encoded []byte) (Event, error) {
	var e Event
	if err := strict(encoded, &e); err != nil {
		return Event{}, fmt.Errorf("%w: event: %w", ErrInvalid, err)
	}
	if e.Version != eventVersion {
		return Event{}, fmt.Errorf("%w: event %s has version %d: this program reads version %d", ErrInvalid, e.ID, e.Version, eventVersion)
	}
	return e, nil
}

// Content reads what the subject holds after the event.
func (e Event) Content() (Value, error) {
	switch e.Subject.Kind {
	case OfLog:
		return content[Head](e.Value)
	case OfHazard:
		return content[Hazard](e.Value)
	case OfControl:
		return content[Control](e.Value)
	case OfIncident:
		return content[Incident](e.Value)
	case OfDecision:
		return content[Decision](e.Value)
	case OfTransfer:
		return content[Transfer](e.Value)
	case OfReview:
		return content[Review](e.Value)
	case OfVersion:
		return content[Approval](e.Value)
	case OfReply:
		return content[Reply](e.Value)
	}
	return nil, errors.New("its kind is not known")
}

func content[V Value](raw json.RawMessage) (Value, error) {
	var v V
	if err := strict(raw, &v); err != nil {
		return nil, err
	}
	return v, nil
}
