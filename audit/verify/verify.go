package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

// inJournal is the place of findings about records.
const inJournal = "the journal"

// Visit takes in one record of a journal and its canonical bytes.
type Visit func(seq uint64, canonical []byte, r *audit.Record) error

// Note is a signed checkpoint and where it came from.
type Note struct {
	Name     string
	Text     []byte
	Cosigned bool // it is said to carry the signatures of witnesses
}

// Options is what to verify. Scan is required; what is nil is not compared.
type Options struct {
	// Scan reads a journal from beginning to end.
	Scan func(Visit) (journal.Report, error)
	// Tree holds the hashes that were made when the records were written.
	Tree *merkle.Tree
	// Checkpoints are notes that Key has signed.
	Checkpoints []Note
	Key         note.Verifier
	// Witnesses says whether enough of those who are known have cosigned a note.
	Witnesses func(signed []byte) error
	// Index compares the rows of ClickHouse as well.
	Index *Index
	// Whole says that Scan reads every folder of the journal: records that are
	// missing at its beginning were disposed of, or are lost.
	Whole bool
	// Disposed are the stretches that the log says it disposed of, from record 1
	// on. The caller has checked the signature of each with Key.
	Disposed []Disposal
	// Found is what the caller found wrong with what lies beside the journal.
	Found []Finding
}

// Run verifies. The error says that something could not be read; what is wrong
// with what was read is in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	v := &run{ctx: ctx, o: o}
	for _, f := range o.Found {
		v.report.add(f)
	}
	v.openCheckpoints()
	scanned, err := o.Scan(v.visit)
	if err != nil {
		return v.report, fmt.Errorf("verify: %w", err)
	}
	v.report.Journal = scanned
	if err := v.disposals(scanned); err != nil {
		return v.report, fmt.Errorf("verify: %w", err)
	}
	v.journalFindings(scanned)
	v.finishTree(scanned)
	if v.rows != nil {
		if err := v.rows.finish(scanned.Last); err != nil {
			return v.report, fmt.Errorf("verify: %w", err)
		}
	}
	return v.report, nil
}

type run struct {
	ctx    context.Context // a run is one call
	o      Options
	report Report
	source string

	open []signed // checkpoints not reached yet, smallest first
	edge merkle.Frontier
	// lost says that the edge does not follow from the records any more: some
	// are missing and no hash of theirs is known.
	lost bool
	// forked counts the checkpoints that records and hashes do not lead to.
	forked int
	// differ are records whose hash is not the one that the tree has.
	differ []Finding
	leaves []merkle.Hash // of the tree, from leavesAt on
	from   uint64

	rows *comparison
}

// signed is a checkpoint whose signature holds.
type signed struct {
	merkle.Checkpoint
	name     string
	cosigned bool // and that was checked
}

// openCheckpoints reads the notes and puts them in the order of their size.
func (v *run) openCheckpoints() {
	for _, n := range v.o.Checkpoints {
		if v.o.Key == nil {
			break
		}
		c, err := merkle.OpenCheckpoint(n.Text, v.o.Key)
		if err != nil {
			v.report.add(Finding{Kind: Unsigned, Source: v.o.Key.Name(), Place: n.Name, What: err.Error()})
			continue
		}
		v.open = append(v.open, signed{c, n.Name, v.cosigned(n)})
	}
	if v.o.Witnesses != nil && !slices.ContainsFunc(v.o.Checkpoints, func(n Note) bool { return n.Cosigned }) {
		v.report.add(Finding{Kind: Unsigned, Source: v.o.Key.Name(), Place: inJournal, What: "there is no checkpoint that witnesses have cosigned"})
	}
	slices.SortFunc(v.open, func(a, b signed) int { return cmp.Compare(a.Size, b.Size) })
}

// cosigned reports whether witnesses stand behind a note. One that is said to be
// cosigned and is not is a finding: whoever has the log's key could make it.
func (v *run) cosigned(n Note) bool {
	if v.o.Witnesses == nil || !n.Cosigned {
		return false
	}
	if err := v.o.Witnesses(n.Text); err != nil {
		v.report.add(Finding{Kind: Unsigned, Source: v.o.Key.Name(), Place: n.Name, What: err.Error()})
		return false
	}
	return true
}

// visit takes in the next record of the journal.
func (v *run) visit(seq uint64, canonical []byte, r *audit.Record) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	if v.source == "" {
		v.source = r.Source
		if err := v.begin(seq); err != nil {
			return err
		}
	}
	if err := v.skipTo(seq - 1); err != nil {
		return err
	}
	leaf := merkle.Hash(audit.Leaf(canonical))
	if known, ok, err := v.known(seq); err != nil {
		return err
	} else if ok && known != leaf {
		f := Finding{Kind: Altered, Source: v.source, First: seq, Last: seq, Place: inJournal, What: "its hash is not the one made when it was written"}
		v.differ = append(v.differ, f)
	}
	v.edge.Add(leaf)
	v.reach()
	if v.rows != nil {
		return v.rows.compare(seq, r)
	}
	return nil
}

// begin starts at the first record of the journal. Those before it are archived
// elsewhere: their hashes stand for them.
func (v *run) begin(seq uint64) error {
	if v.o.Index != nil {
		v.rows = newComparison(v.ctx, v.o.Index, v.source, seq, &v.report)
	}
	if seq == 1 {
		return nil
	}
	if v.o.Tree == nil || v.o.Tree.Size() < seq-1 {
		v.lost = true
		v.report.note("Records 1 to %d are not here, nor are their hashes: nothing could be compared with a checkpoint.", seq-1)
		return nil
	}
	if !v.o.Whole && len(v.o.Disposed) == 0 { // else it is said what became of them
		v.report.note("Records 1 to %d are not here; their hashes are.", seq-1)
	}
	var err error
	v.edge, err = v.o.Tree.FrontierAt(seq - 1)
	return err
}

// skipTo passes over records that are missing up to seq: their hashes stand for
// them, so that what follows can still be compared.
func (v *run) skipTo(seq uint64) error {
	for v.edge.Size() < seq && !v.lost {
		known, ok, err := v.known(v.edge.Size() + 1)
		if err != nil {
			return err
		}
		if !ok {
			v.lost = true
			break
		}
		v.edge.Add(known)
		v.reach()
	}
	return nil
}

// known is the hash that the tree has of record seq.
func (v *run) known(seq uint64) (merkle.Hash, bool, error) {
	if v.o.Tree == nil || seq > v.o.Tree.Size() {
		return merkle.Hash{}, false, nil
	}
	if seq < v.from || seq >= v.from+uint64(len(v.leaves)) {
		const block = 8192
		var err error
		if v.leaves, err = v.o.Tree.Leaves(seq-1, min(seq-1+block, v.o.Tree.Size())); err != nil {
			return merkle.Hash{}, false, err
		}
		v.from = seq
	}
	return v.leaves[seq-v.from], true, nil
}

// reach compares the records so far with the checkpoints of this size.
func (v *run) reach() {
	for len(v.open) > 0 && v.open[0].Size <= v.edge.Size() {
		c := v.open[0]
		v.open = v.open[1:]
		if c.Size < v.edge.Size() || v.lost { // smaller than where the journal begins
			continue
		}
		v.judge(c)
	}
}

// judge says who is right where records and checkpoint disagree: hashes that
// lead to the signed root prove which records were altered.
func (v *run) judge(c signed) {
	if v.edge.Root() == c.Root {
		v.report.Checkpoints++
		v.report.Signed = max(v.report.Signed, c.Size)
		if c.cosigned {
			v.report.Cosigned = max(v.report.Cosigned, c.Size)
		}
		return
	}
	if v.o.Tree != nil && c.Size <= v.o.Tree.Size() {
		if root, err := v.o.Tree.RootAt(c.Size); err == nil && root == c.Root {
			v.report.Signed = max(v.report.Signed, c.Size)
			v.convict(c.Size)
			return
		}
	}
	if v.forked++; v.forked > 1 { // it must: what is altered before is altered here
		return
	}
	v.report.add(Finding{
		Kind: Forked, Source: v.source, First: v.report.Signed + 1, Last: c.Size, Place: inJournal,
		What: fmt.Sprintf("these records do not lead to the root in %s; which of them differ cannot be told here", c.name),
	})
}

// convict files the records up to size whose hashes differ from signed ones.
func (v *run) convict(size uint64) {
	rest := v.differ[:0]
	for _, f := range v.differ {
		if f.First <= size {
			v.report.add(f)
			continue
		}
		rest = append(rest, f)
	}
	v.differ = rest
}

// finishTree judges what is left when the journal has ended.
func (v *run) finishTree(scanned journal.Report) {
	if v.source == "" {
		v.source = scanned.Source
	}
	last := max(v.edge.Size(), scanned.Last)
	if n := len(v.open); n > 0 && v.open[n-1].Size > last {
		c := v.open[n-1]
		v.report.add(Finding{
			Kind: Truncated, Source: v.source, First: last + 1, Last: c.Size, Place: inJournal,
			What: "it ends before the records that " + c.name + " covers",
		})
	}
	if v.forked > 1 {
		v.report.note("%d later checkpoints disagree as well, as they must.", v.forked-1)
	}
	switch {
	case len(v.differ) > 0 && v.report.Checkpoints > 0:
		v.report.note("The hash tree differs from the records at %d places although the records agree with what was signed: the gateway mends it at its next start.", len(v.differ))
	case len(v.differ) > 0:
		v.convict(last) // nothing signed tells otherwise
	}
	if at := v.report.Cosigned; at > 0 && at < last {
		v.report.note("Records %d to %d came after the last checkpoint that witnesses have cosigned.", at+1, last)
	}
	switch {
	case v.o.Key == nil:
		v.report.note("No key was given: nothing was compared with a signed checkpoint.")
	case len(v.o.Checkpoints) == 0:
		v.report.note("There is no checkpoint: an alteration by somebody who could write these files would not show.")
	case !v.lost && v.report.Signed < last:
		v.report.note("Records %d to %d came after the last checkpoint that was compared.", v.report.Signed+1, last)
	}
}

// journalFindings turns what the journal's own checks found into findings.
func (v *run) journalFindings(r journal.Report) {
	for _, g := range r.Gaps {
		v.report.add(Finding{Kind: Missing, Source: r.Source, First: g.First, Last: g.Last, Place: inJournal, What: "these records are not there"})
	}
	for i := range r.Damage {
		d := &r.Damage[i]
		v.report.add(Finding{Kind: Damaged, Source: r.Source, Place: fmt.Sprintf("%s at offset %d", d.File, d.Offset), What: d.What})
	}
	for _, f := range r.Forks {
		v.report.add(Finding{
			Kind: Forked, Source: r.Source, First: f.Seq, Last: f.Seq, Place: fmt.Sprintf("%s at offset %d", f.File, f.Offset),
			What: "this number belongs to another record too",
		})
	}
	if r.Torn > 0 {
		v.report.note("An unfinished write of %d bytes at the end, never acknowledged.", r.Torn)
	}
	if n := len(r.Unsettled); n > 0 {
		v.report.note("Outcome unknown: %d decisions, the first is record %d.", n, r.Unsettled[0])
	}
}
