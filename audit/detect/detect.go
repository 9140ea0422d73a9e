// Package detect turns accesses into alerts for a person to review: it explains
// each access first and points only at what nothing explains.
//
// It never accuses and never decides: an alert says "not yet explained". It does
// no I/O beyond the readers it is given, reads no clock, and gives the same
// alerts for the same input. Values are safe for concurrent reading.
package detect

import (
	"time"

	"github.com/matron-epr/matron/audit"
)

// Kind is the sort of question an alert raises.
type Kind string

// The kinds.
const (
	OwnRecord Kind = "own-record"
	Household Kind = "household"
	Bulk      Kind = "bulk-opening"
)

// Detector is which detector spoke, in which version.
type Detector struct {
	ID      string `json:"id"`
	Version int    `json:"version"`
}

// Explanation is one reason why an access was part of somebody's work.
type Explanation struct {
	Template string `json:"template"`
	Strength string `json:"strength"` // strong, weak
	Sentence string `json:"sentence"`
	Evidence string `json:"evidence"`
}

// Ref points at one record of the audit log.
type Ref struct {
	Source string `json:"source"`
	Seq    uint64 `json:"seq"`
}

// Alert is one question for a reviewer.
type Alert struct {
	ID           string        `json:"id"`   // deterministic: the same finding keeps its id
	Made         time.Time     `json:"made"` // time of the newest access in it
	Kind         Kind          `json:"kind"`
	Detector     Detector      `json:"detector"`
	Site         string        `json:"site"`
	Person       string        `json:"person"`
	Patients     []string      `json:"patients"`
	Days         []string      `json:"days"`
	Sentences    []string      `json:"sentences"`
	Explanations []Explanation `json:"explanations"`
	Evidence     []Ref         `json:"evidence"`
}

// Missing is a detector that could not be evaluated, and why.
type Missing struct {
	Detector Detector `json:"detector"`
	Reason   string   `json:"reason"` // e.g. "not evaluated: no staff list"
}

// Result is everything one run found.
type Result struct {
	Alerts       []Alert
	NotEvaluated []Missing
	Accesses     int // accesses looked at
	Explained    int // of them, explained by strong evidence
}

// Config sets thresholds; the zero value uses the defaults below.
type Config struct {
	Location *time.Location // the hospital's time zone for days; nil means UTC
	// Grace is added around a ward stay: before its start and after its end.
	GraceBefore, GraceAfter time.Duration
	// BulkWindow and BulkLimit: more than BulkLimit distinct patients within the
	// window raise a question; ByRole overrides the limit per role.
	BulkWindow time.Duration
	BulkLimit  int
	ByRole     map[string]int
}

// Context is what the hospital has told about staff, patients and care. A nil
// slice is a feed that is missing, which is not an empty feed.
type Context struct {
	Staff    []Staff
	Patients []Patient
	Care     []Care
}

// Staff, Patient and Care are lines of the context files with names, addresses
// and NHS numbers as keyed hashes.
type (
	Staff   struct{}
	Patient struct{}
	Care    struct{}
)

// Run looks at the accesses and returns the alerts in a fixed order.
func Run(Config, Context, []audit.Record) Result { return Result{} }
