// Package cases makes what detectors found into cases for people to review: what
// belongs together is one case, the cases are ranked, and no more of them are
// shown than there is time for.
//
// A case never accuses: it says what is not yet explained, what was compared with
// what, and what could explain it. The package does no I/O beyond the writers and
// readers it is given and reads no clock; the same input gives the same cases.
// Values are safe for concurrent reading.
package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/matron-epr/matron/audit/intake"
)

// Kind is what a case is about.
type Kind string

// The kinds. OfPerson gathers what one person did within a fortnight, OfPatient
// the people around one patient, OfIncident one person on one day.
const (
	OfPerson   Kind = "person"
	OfPatient  Kind = "patient"
	OfIncident Kind = "incident"
)

// Lane is why a case is shown.
type Lane string

// The lanes. Must-review is outside the budget, and Random is drawn by lot among
// what nobody pointed at, so that what is missed can be estimated at all.
const (
	Budget     Lane = "budget"
	MustReview Lane = "must-review"
	Random     Lane = "random"
)

// Case is one question for a reviewer, as "matron alerts export --json" writes it.
type Case struct {
	ID           string         `json:"case"` // deterministic: the same finding keeps its id
	Kind         Kind           `json:"kind"`
	Rank         int            `json:"rank"` // from 1
	Score        float64        `json:"score"`
	Lane         Lane           `json:"lane"`
	Person       string         `json:"person,omitempty"` // none when it is about a patient
	People       []string       `json:"people"`
	Roles        []string       `json:"roles"` // of the people
	Patients     []string       `json:"patients"`
	Days         []string       `json:"days"` // YYYY-MM-DD in the hospital's time zone
	Detectors    []Detector     `json:"detectors"`
	Explanations []Explanation  `json:"explanations"` // what could explain it
	Sentences    []string       `json:"sentences"`    // why it is shown, and compared with whom
	Accesses     []string       `json:"accesses"`     // ids
	MadeAt       time.Time      `json:"made_at"`      // time of the newest access in it
	Versions     map[string]int `json:"versions"`     // of the detectors, the grouping and the weights
	// StandsFor is how many looks that no detector points at one case drawn by lot
	// stands for, about.
	StandsFor float64 `json:"stands_for,omitempty"`
	// Parts are what the score is made of, so that other weights can be tried. A case
	// that no weight lowers has none.
	Parts []Part `json:"parts,omitempty"`
}

// Part is what one day adds to a case.
type Part struct {
	Role  string   `json:"role"`
	Day   []Rarity `json:"day,omitempty"` // of the day as a whole
	Looks []Look   `json:"looks,omitempty"`
}

// Look is what the looks at one patient on one day add.
type Look struct {
	Factor  float64  `json:"factor"` // less than 1 with a weak explanation or signs of work
	Signals []Rarity `json:"signals"`
}

// Rarity is the share of comparable days or looks with a value as high as that of a
// detector.
type Rarity struct {
	ID string  `json:"id"`
	P  float64 `json:"p"`
}

// Detector is what one detector said.
type Detector struct {
	ID      string  `json:"id"`
	Version int     `json:"version"`
	Value   float64 `json:"value"`
	P       float64 `json:"p"` // share of comparable days or looks with a value as high
}

// Explanation is what could have been somebody's reason.
type Explanation struct {
	Template string `json:"template"`
	Strength string `json:"strength"` // strong or weak
	Sentence string `json:"sentence"`
	Evidence string `json:"evidence"`
}

// Write writes cases, one a line.
func Write(out io.Writer, cases []Case) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for i := range cases {
		if err := enc.Encode(&cases[i]); err != nil {
			return fmt.Errorf("write cases: %w", err)
		}
	}
	return nil
}

// maxLine bounds one case.
const maxLine = 16 << 20

// Read reads what Write wrote.
func Read(in io.Reader) ([]Case, error) {
	lines := intake.NewLines(in, maxLine)
	var out []Case
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var c Case
		if json.Unmarshal(line, &c) != nil {
			return nil, fmt.Errorf("line %d: not one JSON object with the fields of a case", lines.Number())
		}
		out = append(out, c)
	}
}
