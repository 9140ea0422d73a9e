// Package detect turns accesses into alerts for a person to review as they come: it
// explains each access first and lets the streaming detectors look at what stays
// unexplained, by the definitions, the scoring and the lanes that a run over history
// uses as well.
//
// It never accuses and never decides: an alert says "not yet explained". Names,
// addresses and NHS numbers are compared as keyed hashes and never kept in
// clear. It does no I/O beyond the readers it is given, reads no clock, and gives
// the same alerts for the same input.
package detect

import (
	"time"

	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/explain"
)

// Detector is which detector spoke, in which version.
type Detector struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

// Explanation is one reason why an access was part of somebody's work.
type Explanation struct {
	Template string `json:"template"`
	Strength string `json:"strength"` // strong or weak; only strong ones explain
	Sentence string `json:"sentence"`
	Evidence string `json:"evidence"`
}

// Ref points at one record of the audit log.
type Ref struct {
	Source string `json:"source"`
	Seq    uint64 `json:"seq"`
}

// Alert is one question for a reviewer. Person is empty when it is about the people
// around a patient.
type Alert struct {
	ID           string           `json:"id"`       // deterministic: the same finding keeps its id
	Made         time.Time        `json:"made"`     // time of the newest access in it
	Raised       time.Time        `json:"raised"`   // when it was put to reviewers
	Kind         string           `json:"kind"`     // id of the detector that says most
	Detector     Detector         `json:"detector"` // the same with its version
	Site         string           `json:"site"`
	Lane         cases.Lane       `json:"lane"`
	Score        float64          `json:"score"`
	Person       string           `json:"person"`
	People       []string         `json:"people"`
	Patients     []string         `json:"patients"`
	Days         []string         `json:"days"`
	Detectors    []cases.Detector `json:"detectors"` // everything that spoke
	Versions     map[string]int   `json:"versions"`  // of the detectors, the grouping and the weights
	Sentences    []string         `json:"sentences"` // why it is shown
	Explanations []Explanation    `json:"explanations"`
	Evidence     []Ref            `json:"evidence"`
}

// Missing is a detector that could not be evaluated, and why.
type Missing struct {
	Detector Detector `json:"detector"`
	Reason   string   `json:"reason"` // e.g. "not evaluated: no staff feed"
}

// Result is what one look found.
type Result struct {
	Alerts       []Alert
	Held         int // good enough for an alert, without room in the day's budget
	NotEvaluated []Missing
}

// Taken says what became of accesses.
type Taken struct {
	Accesses  int // deliberate accesses of people, each once
	Explained int // of them, by strong evidence
	OutOfTime int // left out: of the future, or older than what is followed
	TooMany   int // left out: beyond what is followed of one person a day
	Again     int // left out: seen before
}

// Config sets how it looks.
type Config struct {
	Site     string         // ODS code; accesses of others are not looked at
	Location *time.Location // the hospital's time zone for days; nil means UTC
	Explain  []explain.SiteTemplate
	Budget   int // questions a day for a thousand people
}

// leastBudget is how many questions a day a small hospital has room for.
const leastBudget = 20

// unknownPeople is how many can be reviewed where no staff list says it.
const unknownPeople = 1000

func (c Config) perDay(people int) int {
	if people == 0 {
		people = unknownPeople
	}
	return max(leastBudget, c.Budget*people/1000)
}
