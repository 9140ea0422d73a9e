// Package evidence says how far what is known supports that the controls of a
// hazard log are there and work.
//
// A control has two slots: implemented, which tests and documents fill, and
// effective, which safety performance indicators, drills and documents fill
// (DCB0129 6.3.2 and 6.3.3, 7.2.2). States follow from measured numbers alone, and
// no data is never good evidence. The package neither measures nor stores
// anything, and it never changes a rating: it says which ratings are in question,
// and a clinician decides. Values are safe for concurrent use as long as nobody
// changes them.
package evidence

import (
	"slices"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// Report is what was known at one time.
type Report struct {
	At         time.Time          `json:"at"`     // the zero time: nothing has been measured yet
	Build      string             `json:"build"`  // version of the program that ran
	Config     string             `json:"config"` // SHA-256 of its configuration
	Policy     string             `json:"policy"` // revision of its rules
	Controls   map[string]Control `json:"controls"`
	Indicators []Indicator        `json:"indicators"` // in the order of their ids
}

// Control is what is known of one control.
type Control struct {
	Implemented Slot `json:"implemented"` // it is there
	Effective   Slot `json:"effective"`   // it works
}

// Slot is one of the two questions, answered. The zero Slot is not measured.
type Slot struct {
	State   hazardlog.EvidenceState `json:"state"`
	Reason  string                  `json:"reason"`            // why it is so, in a sentence
	At      time.Time               `json:"at,omitzero"`       // of the newest thing that it rests on
	Sources []string                `json:"sources,omitempty"` // tests, documents, indicators
}

// Indicator is a safety performance indicator: its definition, and what was
// measured.
type Indicator struct {
	ID         string        `json:"id"` // SPI-01 …
	Hazard     string        `json:"hazard"`
	Control    string        `json:"control"`
	Name       string        `json:"name"`
	Claim      string        `json:"claim"`      // what it supports
	Definition string        `json:"definition"` // what is counted, exactly
	Query      string        `json:"query"`      // where it is taken from
	Unit       string        `json:"unit"`
	Window     time.Duration `json:"window_ns"` // 0: as it is now
	MinSample  int           `json:"min_sample"`
	Threshold  string        `json:"threshold"` // "at most 2 %"
	Owner      string        `json:"owner"`
	Action     string        `json:"action"` // what to do when it is missed

	Value  *float64                `json:"value"` // nil: none
	Sample int                     `json:"sample"`
	At     time.Time               `json:"at,omitzero"` // when it was measured
	State  hazardlog.EvidenceState `json:"state"`
	Reason string                  `json:"reason"`
}

// State is what is known of a control: the worse of its two slots.
func (r Report) State(control string) hazardlog.EvidenceState {
	c := r.Controls[control]
	return worse(c.Implemented.State, c.Effective.State)
}

// States are those of all controls of a log, as its checks want them.
func (r Report) States(l hazardlog.Log) map[string]hazardlog.EvidenceState {
	states := make(map[string]hazardlog.EvidenceState, len(l.Controls))
	for _, c := range l.Controls {
		states[c.ID] = r.State(c.ID)
	}
	return states
}

// Implemented is that they are there.
func (r Report) Implemented() map[string]hazardlog.EvidenceState {
	states := make(map[string]hazardlog.EvidenceState, len(r.Controls))
	for id, c := range r.Controls {
		states[id] = c.Implemented.State
	}
	return states
}

// InQuestion names, by hazard, the controls whose evidence is contradicted: the
// rating of such a hazard stays what its clinician signed, and is in question.
func InQuestion(l hazardlog.Log, r Report) map[string][]string {
	doubted := map[string][]string{}
	for _, c := range l.Controls {
		if r.State(c.ID) != hazardlog.Contradicted {
			continue
		}
		for _, h := range c.Hazards {
			doubted[h] = append(doubted[h], c.ID)
		}
	}
	return doubted
}

func worse(a, b hazardlog.EvidenceState) hazardlog.EvidenceState {
	order := []hazardlog.EvidenceState{ // from the best to the worst
		hazardlog.Supported, hazardlog.NotEnough, hazardlog.NotMeasured, hazardlog.Stale, hazardlog.Contradicted,
	}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}
