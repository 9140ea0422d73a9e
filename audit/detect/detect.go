// Package detect turns accesses into alerts for a person to review: it explains
// each access first and points only at what nothing explains.
//
// It never accuses and never decides: an alert says "not yet explained". Names,
// addresses and NHS numbers are compared as keyed hashes and never kept in
// clear. It does no I/O beyond the readers it is given, reads no clock, and gives
// the same alerts for the same input, in whatever order that comes. Values are
// safe for concurrent reading.
package detect

import (
	"time"

	"github.com/matron-epr/matron/audit/detect/explain"
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
	Strength string `json:"strength"` // strong or weak; only strong ones explain
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
	Reason   string   `json:"reason"` // e.g. "not evaluated: no staff feed"
}

// Result is everything one run found.
type Result struct {
	Alerts       []Alert
	NotEvaluated []Missing
	Accesses     int // deliberate accesses looked at
	Explained    int // of them, explained by strong evidence
}

// Config sets thresholds; the zero value uses the defaults below.
type Config struct {
	Location *time.Location // the hospital's time zone for days; nil means UTC
	Site     []explain.SiteTemplate
	// More than BulkLimit distinct unexplained patients within BulkWindow raise a
	// question; zero means 20 within 10 minutes. ByRole overrides the limit: of
	// somebody's roles the highest counts. nil takes the default for desks that
	// see everybody and for machines.
	BulkWindow time.Duration
	BulkLimit  int
	ByRole     map[string]int
}

func (c Config) withDefaults() Config {
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.BulkWindow == 0 {
		c.BulkWindow = 10 * time.Minute
	}
	if c.BulkLimit == 0 {
		c.BulkLimit = 20
	}
	if c.ByRole == nil {
		c.ByRole = map[string]int{"receptionist": 40, "pharmacist": 40, "api-client": 2000}
	}
	return c
}

func (c Config) limit(roles []string) int {
	limit := c.BulkLimit
	for _, r := range roles {
		limit = max(limit, c.ByRole[r])
	}
	return limit
}
