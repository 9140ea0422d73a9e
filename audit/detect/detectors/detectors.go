// Package detectors points at accesses that nothing explains and that differ from
// what comparable people do. Each detector is declared with the feeds it
// needs, what it is known to point at wrongly, and what to do about it.
//
// They work on a table of accesses, the strength of the explanation of each, and
// what the hospital told. Only deliberate accesses count. Each value is set against
// its tail among people of the same role, so that what is rare weighs and what is
// common does not. Nobody is accused: a finding is a question. The package does no
// I/O and reads no clock; the same input gives the same findings.
package detectors

import (
	"time"

	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// Strength is how well an access is explained.
type Strength uint8

// The strengths. Only a strong one takes an access out.
const (
	Unexplained Strength = iota
	Weak
	Strong
)

// Input is what detectors work on.
type Input struct {
	Accesses  *table.Table // in the order of time
	Explained []Strength   // of each row
	Context   feeds.Context
	Location  *time.Location  // of days
	Progress  *table.Progress // may be nil
}

// Definition is one detector.
type Definition struct {
	ID             string
	Version        int
	Title          string // as a reviewer reads it
	Description    string // what exactly it measures
	Needs          []feeds.Kind
	Streaming      bool // can be told from one access and what came before; else it runs in batches
	Supporting     bool // never raises a case by itself
	FalsePositives string
	Runbook        string

	visit func(*scanned, *visit) float64
	// ofUnexplained: how rare a value is counts among visits that nothing explains,
	// not even weakly. What is weak is often work.
	ofUnexplained bool
	day           func(*scanned, *day) float64
	silence       func(*scanned, *feeds.Context) []Silence
}

// Signal is what one detector says of a visit, a day or a person.
type Signal struct {
	Detector string
	Version  int
	Value    float64
	P        float64 // share of comparable ones with a value as high
}
