// Package hazardlog holds the clinical hazards of the gateway in the terms of
// DCB0129 and DCB0160: hazards with their causes, effects and harm, controls,
// ratings, incidents, decisions, transfers and approvals.
//
// A log is a sequence of events to which events are only added; what stands in
// it now is a fold of them. What the standards number or list (the matrix, the
// words, the clauses) is data: a Standard. Software never scores, approves or
// closes anything here: a rating belongs to the clinician who assessed it. The
// package does no I/O beyond reading what is embedded in it. Values are safe
// for concurrent use as long as nobody changes them.
package hazardlog

// Hazard is a potential source of harm to a patient.
type Hazard struct {
	ID         string      `json:"id"` // GW-01 …; never used again
	Name       string      `json:"name"`
	Effect     string      `json:"effect"` // what the system does
	Hazard     string      `json:"hazard"` // what that means for care
	Harm       string      `json:"harm"`   // what may happen to a patient
	Causes     []string    `json:"causes"`
	Conditions []Condition `json:"conditions,omitempty"` // in which it arises
	Types      []string    `json:"types,omitempty"`      // classes of hazard, free words
	Initial    Rating      `json:"initial"`              // with existing controls only
	Residual   Rating      `json:"residual"`             // with every control in place and verified
	Acceptance Acceptance  `json:"acceptance,omitzero"`  // of the residual risk
	Owner      string      `json:"owner"`
	Status     Status      `json:"status"`
	Review     Day         `json:"review,omitempty"` // when it must be looked at again
	Origin     *Origin     `json:"origin,omitempty"` // where it came from; nil: written here
	Notes      []string    `json:"notes,omitempty"`  // what an import brought that has no place of its own
}

// Condition is a condition of use in which a hazard arises.
type Condition string

// The conditions that hazards are looked for in.
const (
	Normal Condition = "normal"
	Fault  Condition = "fault"
)

// Status is where a hazard stands.
type Status string

// The statuses of the NHS hazard log.
const (
	Open        Status = "Open"
	Closed      Status = "Closed"
	Transferred Status = "Transferred"
)

// Acceptance says whether the residual risk is accepted, and why. The zero
// Acceptance is nobody's.
type Acceptance struct {
	Accepted bool   `json:"accepted,omitempty"`
	Reason   string `json:"reason,omitempty"`  // why, for example that going lower is impractical
	Benefit  string `json:"benefit,omitempty"` // the record of risk against benefit, for risk 4 and 5
	By       string `json:"by,omitempty"`      // the officer who accepted
}

// Origin is the line of descent of something that was taken from another log.
type Origin struct {
	Log     string `json:"log"`
	ID      string `json:"id"`                // there
	Version string `json:"version,omitempty"` // of that log; "" when none was approved
	SHA256  string `json:"sha256"`            // of what was taken
}

// Control is something that makes harm less likely or less severe.
type Control struct {
	ID          string        `json:"id"` // C-01 …; never used again
	Hazards     []string      `json:"hazards"`
	Type        ControlType   `json:"type"`
	Timing      ControlTiming `json:"timing"`
	Status      ControlStatus `json:"status"`
	Text        string        `json:"text"`
	NewHazards  NewHazards    `json:"new_hazards,omitzero"`
	CommonCause string        `json:"common_cause,omitempty"` // why its failure does not undo all its hazards at once
	Documents   []Document    `json:"documents,omitempty"`    // that say it is there, or works
	Origin      *Origin       `json:"origin,omitempty"`
}

// Document is written evidence for a control: a report of a drill, a training
// record, an audit.
type Document struct {
	Slot   EvidenceSlot `json:"slot"`
	Title  string       `json:"title"`
	Link   string       `json:"link"`   // http or https, without anything secret in it
	On     Day          `json:"on"`     // its date
	Review Day          `json:"review"` // until when it counts
}

// EvidenceSlot is one of the two questions that evidence for a control answers.
type EvidenceSlot string

// The slots.
const (
	SlotImplemented EvidenceSlot = "implemented" // is it there?
	SlotEffective   EvidenceSlot = "effective"   // does it work?
)

// String is a line about the document.
func (d Document) String() string {
	return string(d.Slot) + ": " + d.Title + ", " + d.Link + ", of " + d.On.String() + ", to be reviewed by " + d.Review.String()
}

// NewHazards answers whether a control brings hazards of its own or changes
// known risks. The zero NewHazards is not answered.
type NewHazards struct {
	Answer  string   `json:"answer,omitempty"`  // NoNewHazards or SomeNewHazards
	Reason  string   `json:"reason,omitempty"`  // why there are none
	Hazards []string `json:"hazards,omitempty"` // which they are
}

// The answers.
const (
	NoNewHazards   = "none"
	SomeNewHazards = "hazards"
)

// ControlType is the kind of control that DCB0129 asks to tell apart.
type ControlType string

// The types.
const (
	Design          ControlType = "design"
	Training        ControlType = "training"
	BusinessProcess ControlType = "business process"
)

// ControlTiming tells controls that were there before the gateway from those
// that it adds.
type ControlTiming string

// The timings.
const (
	Existing   ControlTiming = "existing"
	Additional ControlTiming = "additional"
)

// ControlStatus says how far a control has come.
type ControlStatus string

// The statuses. Only evidence makes a control implemented or verified.
const (
	Proposed    ControlStatus = "proposed"
	InPlace     ControlStatus = "in place"
	Implemented ControlStatus = "implemented"
	Verified    ControlStatus = "verified"
)
