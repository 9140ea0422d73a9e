// Package hazardlog holds the clinical hazards of the gateway in the terms of
// DCB0129: hazards, their causes, effects and harm, controls, and ratings whose
// risk is looked up in the 5x5 matrix.
//
// It never scores, approves or closes anything: that is for a clinical safety
// officer. It does no I/O beyond reading the log embedded in it. Values are
// safe for concurrent use as long as nobody changes them.
package hazardlog

// Log is one version of the hazard log.
type Log struct {
	Format   string   `json:"format"`   // Format
	Title    string   `json:"title"`    // what the log is about
	Approval Approval `json:"approval"` // whether a clinical safety officer stands behind it
	Hazards  []Hazard `json:"hazards"`  // in the order of their ids
}

// Approval says who stands behind a version of the log.
type Approval struct {
	State string `json:"state"`        // Draft or Approved
	Note  string `json:"note"`         // in words
	By    string `json:"by,omitempty"` // the clinical safety officer, with registration
}

// The states of approval. A draft was approved by nobody.
const (
	Draft    = "draft"
	Approved = "approved"
)

// Hazard is a potential source of harm to a patient.
type Hazard struct {
	ID       string    `json:"id"` // GW-01 …
	Name     string    `json:"name"`
	Effect   string    `json:"effect"` // what the system does
	Hazard   string    `json:"hazard"` // what that means for care
	Harm     string    `json:"harm"`   // what may happen to a patient
	Causes   []string  `json:"causes"`
	Initial  Rating    `json:"initial"`  // with existing controls only
	Residual Rating    `json:"residual"` // with every control in place and verified
	Controls []Control `json:"controls"`
	Owner    string    `json:"owner"`
	Status   Status    `json:"status"`
	Transfer string    `json:"transfer,omitempty"` // what the deploying organisation must do
}

// Status is where a hazard stands.
type Status string

// The statuses of the NHS hazard log.
const (
	Open        Status = "Open"
	Closed      Status = "Closed"
	Transferred Status = "Transferred"
)

// Control is something that makes harm less likely or less severe.
type Control struct {
	ID     string        `json:"id,omitempty"` // C-01 …; "" for existing controls
	Type   ControlType   `json:"type"`
	Timing ControlTiming `json:"timing"`
	Status ControlStatus `json:"status"`
	Text   string        `json:"text"`
}

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

// Rating is how severe the harm would be and how likely it is. The zero Rating
// is not rated.
type Rating struct {
	Severity      Severity   `json:"severity"`
	Likelihood    Likelihood `json:"likelihood"`
	Justification string     `json:"justification"`
}

// Find returns the hazard of that id.
func (l Log) Find(id string) (Hazard, bool) {
	for _, h := range l.Hazards {
		if h.ID == id {
			return h, true
		}
	}
	return Hazard{}, false
}

// Counts says how many of the hazard's controls there are and how many of them
// evidence shows to work.
func (h Hazard) Counts() (controls, verified int) {
	for _, c := range h.Controls {
		if c.Status == Verified {
			verified++
		}
	}
	return len(h.Controls), verified
}
