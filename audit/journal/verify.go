package journal

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/matron-epr/matron/audit"
)

// Report is what Verify found.
type Report struct {
	Source   string
	Segments int
	Records  uint64
	First    uint64 // sequence number of the first record; 0 when there is none
	Last     uint64
	Kinds    map[audit.Kind]uint64

	Gaps   []Gap
	Damage []Damage

	// Unsettled are the decisions whose outcome is not recorded, ascending. In
	// a live journal the latest may be exchanges still going on.
	Unsettled []uint64
	// Torn is the size of an unfinished write at the end, which Open cuts back.
	// It never was acknowledged.
	Torn int64
}

// Gap is a run of sequence numbers that are missing, both ends included.
type Gap struct{ First, Last uint64 }

// Err returns an error that wraps ErrCorrupt when anything is missing or
// damaged. Unsettled decisions and a torn end are no damage.
func (r Report) Err() error {
	if len(r.Gaps) == 0 && len(r.Damage) == 0 {
		return nil
	}
	err := fmt.Errorf("%w: %d gaps, %d damaged places", ErrCorrupt, len(r.Gaps), len(r.Damage))
	for i := range r.Damage {
		err = errors.Join(err, &r.Damage[i])
	}
	return err
}

// Verify reads the journal in dir from beginning to end without locking or
// changing it, so that it works beside a running gateway and on a copy. The
// error says only that it could not be read; Report.Err judges what was.
func Verify(dir string) (Report, error) {
	d, err := openFolder(dir, nil)
	if err != nil {
		return Report{}, fmt.Errorf("verify journal: %w", err)
	}
	v := &verifier{open: map[uint64]struct{}{}, report: Report{Kinds: map[audit.Kind]uint64{}}}
	if err := errors.Join(v.folder(d), d.root.Close()); err != nil {
		return Report{}, fmt.Errorf("verify journal in %s: %w", dir, err)
	}
	for seq := range v.open {
		v.report.Unsettled = append(v.report.Unsettled, seq)
	}
	slices.Sort(v.report.Unsettled)
	return v.report, nil
}

type verifier struct {
	report Report
	next   uint64              // sequence number that is due
	open   map[uint64]struct{} // decisions without an outcome so far
}

func (v *verifier) folder(d folder) error {
	firsts, err := d.segments()
	if err != nil {
		return err
	}
	if len(firsts) == 0 {
		return ErrMissing
	}
	v.report.Segments = len(firsts)
	v.next = firsts[0]
	for i, first := range firsts {
		if err := v.segment(d, first, i == len(firsts)-1); err != nil {
			return err
		}
	}
	return nil
}

// segment reads one file. Damage is reported and reading goes on behind it.
func (v *verifier) segment(d folder, first uint64, last bool) (err error) {
	name := segmentName(first)
	f, size, err := d.view(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := v.header(f, first); err != nil {
		return err
	}
	for from, again := int64(segmentHead), false; ; {
		t, err := scan(f, name, from, size, v.record)
		var bad *Damage
		switch {
		case errors.As(err, &bad) && last && (!again || bad.Offset != from):
			from, again = bad.Offset, true // the gateway may have been writing there: look twice
			continue
		case errors.As(err, &bad):
			v.report.Damage = append(v.report.Damage, *bad)
		case err != nil:
			return err
		case !last && t.end < size:
			v.report.Damage = append(v.report.Damage, Damage{File: name, Offset: t.end, What: "sealed segment does not end with a record"})
			return nil
		default:
			v.report.Torn += t.torn
			return nil
		}
		after, err := nextFrame(f, bad.Offset+1, size, size)
		if err != nil {
			return nil //nolint:nilerr // nothing readable follows, and the damage is reported
		}
		from, again = after.off, false
	}
}

func (v *verifier) header(f io.ReaderAt, first uint64) error {
	h, err := readHeader(f, segmentName(first))
	var bad *Damage
	switch {
	case errors.As(err, &bad):
		v.report.Damage = append(v.report.Damage, *bad)
	case err != nil:
		return err
	case h.first != first || v.report.Source != "" && h.source != v.report.Source:
		v.report.Damage = append(v.report.Damage, Damage{File: segmentName(first), What: "segment of another place or source"})
	default:
		v.report.Source = h.source
	}
	return nil
}

func (v *verifier) record(fr frame) error {
	r, err := audit.UnmarshalCanonical(fr.payload)
	if err != nil {
		return err
	}
	if r.Seq < v.next {
		return fmt.Errorf("record %d stands where %d belongs", r.Seq, v.next)
	}
	if r.Seq > v.next {
		v.report.Gaps = append(v.report.Gaps, Gap{First: v.next, Last: r.Seq - 1})
	}
	v.next = r.Seq + 1
	v.report.Records++
	v.report.Kinds[r.Kind]++
	if v.report.First == 0 {
		v.report.First = r.Seq
	}
	v.report.Last = r.Seq
	if r.Kind == audit.KindDecision {
		v.open[r.Seq] = struct{}{}
	}
	if r.Kind == audit.KindOutcome {
		delete(v.open, r.Decision)
	}
	return nil
}
