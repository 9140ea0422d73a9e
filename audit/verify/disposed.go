package verify

import (
	"errors"
	"fmt"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

// Disposal is a stretch of the record that was disposed of.
type Disposal struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	Root  string `json:"root"` // of the tree over records 1 to Last
	Kept  uint64 `json:"kept"` // records that stayed
	Who   string `json:"who"`  // who planned, approved and applied it, and when

	Place string                  `json:"-"` // of what was kept
	Visit func(visit Visit) error `json:"-"` // hands out what was kept
}

// disposals judges what is missing at the beginning of the journal.
func (v *run) disposals(scanned journal.Report) error {
	next := uint64(1) // the first number that nothing was said about
	for _, d := range v.o.Disposed {
		if err := v.disposed(d, scanned); err != nil {
			return err
		}
		next = d.Last + 1
	}
	if first := scanned.First; v.o.Whole && first > next {
		v.report.add(Finding{
			Kind: Missing, Source: scanned.Source, First: next, Last: first - 1, Place: inJournal,
			What: "they are in none of these folders, and the log has not signed that they were disposed of",
		})
	} else if first > 0 && first < next {
		v.report.note("Records %d to %d were to be disposed of and are still there: run \"matron audit retention apply\" with the same plan again.", first, next-1)
	}
	return nil
}

// disposed verifies what stayed of one stretch, with the hashes of the tree.
func (v *run) disposed(d Disposal, scanned journal.Report) error {
	v.report.Disposed = append(v.report.Disposed, d)
	if v.o.Tree != nil {
		if root, err := v.o.Tree.RootAt(d.Last); err != nil || root.String() != d.Root {
			v.report.add(Finding{
				Kind: Forked, Source: scanned.Source, First: d.First, Last: d.Last, Place: "the hash tree",
				What: "the hashes of these records, which were disposed of, are not those that the log signed then",
			})
		}
	}
	var rows *comparison
	if v.o.Index != nil {
		rows = newComparison(v.ctx, v.o.Index, scanned.Source, d.First, &v.report)
		rows.last = d.Last
	}
	failed := error(nil) // of the comparison, not of what was kept
	err := d.Visit(func(seq uint64, canonical []byte, r *audit.Record) error {
		if failed = v.ctx.Err(); failed != nil {
			return failed
		}
		known, ok, err := v.known(seq)
		if err != nil {
			failed = err
			return err
		}
		if ok && known != merkle.Hash(audit.Leaf(canonical)) {
			v.report.add(Finding{Kind: Altered, Source: scanned.Source, First: seq, Last: seq, Place: d.Place, What: "its hash is not the one made when it was written"})
		}
		if rows != nil {
			failed = rows.compare(seq, r)
		}
		return failed
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		v.report.add(damagedKept(scanned.Source, d, err))
		return nil // which rows should be there is not known
	case rows == nil:
		return nil
	}
	return rows.finishDisposed()
}

func damagedKept(source string, d Disposal, err error) Finding {
	f := Finding{Kind: Damaged, Source: source, First: d.First, Last: d.Last, Place: d.Place, What: "the records kept of this stretch: " + err.Error()}
	var bad *journal.Damage
	if errors.As(err, &bad) {
		f.Place, f.What = fmt.Sprintf("%s at offset %d", d.Place, bad.Offset), "the records kept of this stretch: "+bad.What
	}
	return f
}

// finishDisposed looks at the rows behind the last record that was kept.
func (c *comparison) finishDisposed() error {
	for {
		c.surplus(c.last + 1)
		if c.next > c.last {
			break
		}
		if err := c.load(); err != nil {
			return err
		}
	}
	if c.left > 0 {
		c.report.note("%d rows of records that were disposed of are still in ClickHouse: run \"matron audit retention apply\" with the same plan again.", c.left)
	}
	return nil
}
