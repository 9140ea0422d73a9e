// Package verify tells whether a record is what was written: it reads a journal
// from beginning to end, compares it with the hashes and signed checkpoints that
// were made of it, and with the rows of ClickHouse. It trusts none of them: what
// disagrees is a finding that names source and sequence numbers.
//
// It changes nothing and needs no gateway. A run is for one goroutine.
package verify

import (
	"errors"
	"fmt"

	"github.com/matron-epr/matron/audit/journal"
)

// ErrFindings is what Report.Err's error wraps when something is wrong.
var ErrFindings = errors.New("the record is not what was written")

// Kind says what is wrong.
type Kind string

// The kinds.
const (
	Missing    Kind = "missing"    // records or rows that are not there
	Altered    Kind = "altered"    // there, and not what was written
	Inserted   Kind = "inserted"   // rows that no record stands behind
	Duplicated Kind = "duplicated" // rows that are there more than once
	Truncated  Kind = "truncated"  // the journal ends before what was signed
	Forked     Kind = "forked"     // another history than the one that was signed
	Damaged    Kind = "damaged"    // bytes that hold no record
	Unsigned   Kind = "unsigned"   // a checkpoint that the key did not sign
)

// Finding is one thing that is wrong.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Source string `json:"source"`
	First  uint64 `json:"first,omitempty"` // sequence numbers, both ends included; 0 when it is not about records
	Last   uint64 `json:"last,omitempty"`
	Place  string `json:"place"` // journal, ClickHouse, or a file and offset
	What   string `json:"what"`
}

// String is the finding in a sentence for people.
func (f Finding) String() string {
	where := f.Source
	switch {
	case f.First > 0 && f.First == f.Last:
		where = fmt.Sprintf("%s/%d", f.Source, f.First)
	case f.First > 0:
		where = fmt.Sprintf("%s/%d to %d", f.Source, f.First, f.Last)
	}
	return fmt.Sprintf("%s: %s in %s: %s", where, f.Kind, f.Place, f.What)
}

// maxFindings bounds how many findings are listed; the rest are counted.
const maxFindings = 10_000

// Report is what a run found.
type Report struct {
	Journal     journal.Report `json:"journal"`
	Checkpoints int            `json:"checkpoints"` // that the records agree with
	Signed      uint64         `json:"signed"`      // records that the largest of them covers
	Cosigned    uint64         `json:"cosigned"`    // records that the largest of those covers which witnesses have cosigned
	Rows        uint64         `json:"rows"`        // of ClickHouse, compared
	Findings    []Finding      `json:"findings"`
	More        int            `json:"more"`  // findings that are not listed
	Notes       []string       `json:"notes"` // what a reader should know and is not wrong
}

// Err returns an error that wraps ErrFindings when anything is wrong.
func (r Report) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d findings", ErrFindings, len(r.Findings)+r.More)
}

// add files a finding. One that continues the last is joined to it.
func (r *Report) add(f Finding) {
	if n := len(r.Findings); n > 0 {
		last := &r.Findings[n-1]
		if f.First > 0 && last.Last+1 == f.First && last.Kind == f.Kind && last.Source == f.Source && last.Place == f.Place && last.What == f.What {
			last.Last = f.Last
			return
		}
	}
	if len(r.Findings) == maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, f)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}
