package pack

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Question says which records belong into a pack. Empty fields do not narrow;
// Patient and NHSNumber are two numbers of one patient: either finds a record.
type Question struct {
	Patient   string    `json:"patient,omitempty"`
	NHSNumber string    `json:"nhs_number,omitempty"`
	Person    string    `json:"person,omitempty"`
	Case      string    `json:"case,omitempty"` // the alert whose evidence Seqs are
	Seqs      []uint64  `json:"-"`              // exactly these records
	From      time.Time `json:"from,omitzero"`  // inclusive
	To        time.Time `json:"to,omitzero"`    // exclusive
}

func (q Question) matches(r *audit.Record) bool {
	if !q.From.IsZero() && r.Time.Before(q.From) || !q.To.IsZero() && !r.Time.Before(q.To) {
		return false
	}
	if q.Case != "" {
		return slices.Contains(q.Seqs, r.Seq)
	}
	if q.Person != "" && r.Person != q.Person {
		return false
	}
	if q.Patient == "" && q.NHSNumber == "" {
		return true
	}
	return q.Patient != "" && r.Patient == q.Patient || q.NHSNumber != "" && r.NHSNumber == q.NHSNumber
}

// Entry is one record and its canonical bytes.
type Entry struct {
	audit.Record
	Canonical []byte
}

// Collector picks the records that answer a question while the log is read from
// beginning to end. With a record comes the rest of its exchange: the decision
// that it belongs to and the outcome.
type Collector struct {
	question Question
	pending  map[uint64]Entry // decisions that do not match, until their outcome
	wanted   map[uint64]bool  // decisions whose outcome belongs to the answer

	found       []Entry
	first, last uint64
	read        uint64
}

// NewCollector begins a collection.
func NewCollector(q Question) *Collector {
	return &Collector{question: q, pending: map[uint64]Entry{}, wanted: map[uint64]bool{}}
}

// Visit takes in the next record. canonical may change afterwards.
func (c *Collector) Visit(seq uint64, canonical []byte, r *audit.Record) error {
	if c.first == 0 {
		c.first = seq
	}
	c.last = seq
	c.read++
	switch {
	case r.Kind == audit.KindOutcome:
		if c.wanted[r.Decision] {
			c.take(canonical, r)
		}
		delete(c.wanted, r.Decision)
		delete(c.pending, r.Decision)
	case c.question.matches(r):
		c.take(canonical, r)
		c.belongs(r)
	case r.Kind == audit.KindDecision:
		c.pending[seq] = Entry{*r, bytes.Clone(canonical)}
	}
	return nil
}

// belongs makes sure that the decision and the outcome of a record's exchange
// come along.
func (c *Collector) belongs(r *audit.Record) {
	switch r.Kind {
	case audit.KindDecision:
		c.wanted[r.Seq] = true
	case audit.KindPatient:
		c.wanted[r.Decision] = true
		if d, ok := c.pending[r.Decision]; ok {
			c.found = append(c.found, d)
			delete(c.pending, r.Decision)
		}
	default:
	}
}

func (c *Collector) take(canonical []byte, r *audit.Record) {
	c.found = append(c.found, Entry{*r, bytes.Clone(canonical)})
}

// Entries are the records found, in the order of the log.
func (c *Collector) Entries() []Entry {
	slices.SortFunc(c.found, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return c.found
}

// Read is which stretch of the log was looked at.
func (c *Collector) Read() (first, last, records uint64) { return c.first, c.last, c.read }

// accesses joins the decision and patient records with their outcomes.
func accesses(q Question, entries []Entry) []audit.Access {
	outcomes := map[uint64]*audit.Record{}
	for i := range entries {
		if e := &entries[i]; e.Kind == audit.KindOutcome {
			outcomes[e.Decision] = &e.Record
		}
	}
	var list []audit.Access
	for i := range entries {
		r := &entries[i].Record
		if !q.matches(r) || r.Kind == audit.KindOutcome {
			continue
		}
		decision := r.Seq
		if r.Kind == audit.KindPatient {
			decision = r.Decision
		}
		list = append(list, audit.Join(*r, outcomes[decision]))
	}
	return list
}
