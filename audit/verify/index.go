package verify

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// rowsAtATime is how many sequence numbers are compared with one question.
const rowsAtATime = 20_000

// grace is how long a record may wait to become a row where no ledger says how
// far shipping was.
const grace = 15 * time.Minute

// Rows reads what ClickHouse holds, whatever that is: a row that is there twice
// comes twice.
type Rows interface {
	// Sources is what there is of each source that has a row.
	Sources(ctx context.Context) ([]Stretch, error)
	// Each visits the rows first..last in the order of their numbers. They lack the
	// nonce, which only the journal has.
	Each(ctx context.Context, source string, first, last uint64, visit func(*audit.Record) error) error
}

// Stretch is the rows of one source: the lowest and the highest number.
type Stretch struct {
	Source      string
	First, Last uint64
}

// Index is a ClickHouse to compare with a journal.
type Index struct {
	Rows Rows
	// Alone says that no other gateway writes to it: a row of another source was
	// put there by somebody.
	Alone bool
	// Verified is up to which record the gateway has counted every row; what is
	// missing below was deleted since. HasLedger is false when nobody knows.
	Verified  uint64
	HasLedger bool
	// Committed is the last record of the journal now, which a gateway may have
	// written to since it was read.
	Committed func() (uint64, error)
	Now       func() time.Time
}

const inClickHouse = "ClickHouse"

// comparison walks the rows of one source beside its journal.
type comparison struct {
	ctx    context.Context // a comparison is one call
	index  *Index
	source string
	report *Report

	rows    []audit.Record // in order, from the block in hand
	next    uint64         // first number that is not in hand
	waiting uint64         // records that are not rows yet, and need not be
	// last is the end of a stretch that was disposed of, of which only what was
	// kept should have rows; 0 elsewhere. left counts the others.
	last, left uint64
	buf        [2][]byte
}

func newComparison(ctx context.Context, i *Index, source string, first uint64, report *Report) *comparison {
	return &comparison{ctx: ctx, index: i, source: source, report: report, next: first}
}

// compare takes in the next record of the journal.
func (c *comparison) compare(seq uint64, r *audit.Record) error {
	for seq >= c.next {
		c.surplus(c.next)
		if err := c.load(); err != nil {
			return err
		}
	}
	c.surplus(seq)
	n := 0
	for n < len(c.rows) && c.rows[n].Seq == seq {
		c.same(r, &c.rows[n])
		n++
	}
	switch {
	case n == 0:
		c.absent(r)
	case n > 1:
		c.find(Duplicated, seq, fmt.Sprintf("the row is there %d times", n))
	}
	c.rows = c.rows[n:]
	return nil
}

// load reads the next block of rows.
func (c *comparison) load() error {
	first := c.next
	c.next += rowsAtATime
	if c.last > 0 {
		c.next = min(c.next, c.last+1)
	}
	c.rows = c.rows[:0]
	err := c.index.Rows.Each(c.ctx, c.source, first, c.next-1, func(r *audit.Record) error {
		c.rows = append(c.rows, *r)
		return nil
	})
	c.report.Rows += uint64(len(c.rows))
	return err
}

// surplus files the rows in hand below seq, which no record stands behind.
func (c *comparison) surplus(seq uint64) {
	n := 0
	for ; n < len(c.rows) && c.rows[n].Seq < seq; n++ {
		if c.last > 0 {
			c.left++
			continue
		}
		c.find(Inserted, c.rows[n].Seq, "no record of the journal stands behind this row")
	}
	c.rows = c.rows[n:]
}

// absent judges a record without a row: deleted, or not shipped yet.
func (c *comparison) absent(r *audit.Record) {
	counted := r.Seq <= c.index.Verified
	if !c.index.HasLedger {
		counted = c.index.Now().Sub(r.Time) > grace
	}
	if counted {
		c.find(Missing, r.Seq, "the row is not there")
		return
	}
	c.waiting++
}

// same compares a row with its record, field by field through their canonical
// bytes. The nonce is not in ClickHouse.
func (c *comparison) same(r, row *audit.Record) {
	row.Nonce = r.Nonce
	c.buf[0] = r.AppendCanonical(c.buf[0][:0])
	c.buf[1] = row.AppendCanonical(c.buf[1][:0])
	if string(c.buf[0]) != string(c.buf[1]) {
		c.find(Altered, r.Seq, "not what was recorded: "+strings.Join(fieldsThatDiffer(r, row), ", "))
	}
}

func fieldsThatDiffer(a, b *audit.Record) []string {
	va, vb := reflect.ValueOf(*a), reflect.ValueOf(*b)
	var names []string
	for i := range va.NumField() {
		x, y := va.Field(i).Interface(), vb.Field(i).Interface()
		if at, ok := x.(time.Time); ok && at.Equal(vb.Field(i).Interface().(time.Time)) {
			continue // however the two are kept in memory
		}
		if !reflect.DeepEqual(x, y) {
			names = append(names, va.Type().Field(i).Name)
		}
	}
	return names
}

func (c *comparison) find(k Kind, seq uint64, what string) {
	c.report.add(Finding{Kind: k, Source: c.source, First: seq, Last: seq, Place: inClickHouse, What: what})
}

// finish looks at the rows behind the last record that was read, and at those of
// other sources.
func (c *comparison) finish(last uint64) error {
	c.surplus(last + 1) // what follows may have been recorded meanwhile
	sources, err := c.index.Rows.Sources(c.ctx)
	if err != nil {
		return err
	}
	var others []string
	for _, s := range sources {
		switch {
		case s.Source == c.source:
			if err := c.beyond(last, s.Last); err != nil {
				return err
			}
		case c.index.Alone:
			c.report.add(Finding{
				Kind: Inserted, Source: s.Source, First: s.First, Last: s.Last, Place: inClickHouse,
				What: "no gateway of this name writes to this ClickHouse",
			})
		default:
			others = append(others, fmt.Sprintf("%s (%d to %d)", s.Source, s.First, s.Last))
		}
	}
	if c.waiting > 0 {
		c.report.note("%d records are not in ClickHouse yet.", c.waiting)
	}
	if len(others) > 0 {
		c.report.note("ClickHouse holds rows of other sources too, to be compared with their own journals: %s.", strings.Join(others, ", "))
	}
	return nil
}

// beyond files the rows behind the end of the journal, which may have grown since
// it was read: what it holds by now is not judged.
func (c *comparison) beyond(last, highest uint64) error {
	end, err := c.end(last)
	if err != nil || highest <= end {
		return err
	}
	var found []uint64
	err = c.index.Rows.Each(c.ctx, c.source, end+1, highest, func(r *audit.Record) error {
		if len(found) <= maxFindings {
			found = append(found, r.Seq)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if end, err = c.end(last); err != nil {
		return err
	}
	for _, seq := range found {
		if seq > end {
			c.find(Inserted, seq, "the row stands behind the end of the journal")
		}
	}
	return nil
}

func (c *comparison) end(last uint64) (uint64, error) {
	committed, err := c.index.Committed()
	return max(committed, last), err
}
