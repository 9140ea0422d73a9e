package audit

import "time"

// PersonSummary is one person's part in a list of accesses: what a Query finds,
// grouped by Person, most accesses first. Counts are of Decision and Patient
// records, so that one exchange that names two patients counts twice.
type PersonSummary struct {
	Person      string
	Name        string   // the name in the newest record
	Roles       []string // every role among the records, sorted
	Org         string   // organisation in the newest record
	First, Last time.Time
	Accesses    uint64
	Denied      uint64   // of Accesses, those with effect deny or challenge
	Bases       []string // why they were allowed, each once, sorted
	Areas       []string // parts of the record, each once, sorted
	Purposes    []string // stated purposes of use, each once, sorted
}
