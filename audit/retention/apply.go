package retention

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
)

// Rows are the rows of ClickHouse.
type Rows interface {
	// Dispose deletes the rows first..last of source but those kept, which are
	// ascending, and returns when they are gone.
	Dispose(ctx context.Context, source string, first, last uint64, kept []uint64) error
	// HoldRecords is how many placings and releases of holds the log of source
	// tells of.
	HoldRecords(ctx context.Context, source string) (uint64, error)
}

// Applying is one disposal. Everything is required.
type Applying struct {
	Log       Log
	Holds     *Holds // opened, so that nobody changes them meanwhile
	PlanFile  string
	Approvers []Approver
	KeepYears int
	Signer    note.Signer   // the log's key
	Verifier  note.Verifier // and what checks it
	Rows      Rows
	Record    func(*audit.Record) error // leaves the record of the disposal for the journal
	By        string
	Now       time.Time

	step func(name string) // tests end the process here
}

// Apply disposes of what a plan names. Up to the signed note nothing is gone;
// from then on the same call completes what a crash interrupted. ErrChanged says
// what is not as it was planned: then nothing was done.
func (a Applying) Apply(ctx context.Context) (Disposal, error) {
	d, err := a.apply(ctx)
	if err != nil {
		return d, fmt.Errorf("dispose of records: %w", err)
	}
	return d, nil
}

func (a Applying) apply(ctx context.Context) (Disposal, error) {
	if a.step == nil {
		a.step = func(string) {}
	}
	text, err := os.ReadFile(a.PlanFile)
	if err != nil {
		return Disposal{}, err
	}
	p, sum, err := ParsePlan(text)
	if err != nil {
		return Disposal{}, err
	}
	if p.Origin != a.Log.Origin || p.Source != a.Log.Source {
		return Disposal{}, fmt.Errorf("%w: the plan is of %s, this is %s", ErrChanged, p.Origin, a.Log.Origin)
	}
	approved, err := approvals(a.PlanFile, p, sum, a.Approvers)
	if err != nil {
		return Disposal{}, err
	}
	d, err := a.signed(ctx, p, sum, approved)
	if err != nil {
		return Disposal{}, err
	}
	return d, a.complete(ctx, d)
}

// signed returns the disposal as the log has signed it: by an earlier call, or
// now that everything has been found to be as planned.
func (a Applying) signed(ctx context.Context, p Plan, sum string, approved []Approval) (Disposal, error) {
	list, bad, err := Disposals(a.Log.Archive, a.Verifier)
	if err != nil {
		return Disposal{}, err
	}
	if len(bad) > 0 {
		return Disposal{}, fmt.Errorf("%s: %w", bad[0].File, bad[0].Err)
	}
	for _, d := range list {
		if d.PlanSHA256 == sum {
			return d, a.noNewHold(p)
		}
	}
	exchanges, err := a.asPlanned(ctx, p, UpTo(list))
	if err != nil {
		return Disposal{}, err
	}
	a.step("checked")
	d := Disposal{Plan: p, PlanSHA256: sum, Approvals: approved, AppliedBy: a.By, At: a.Now.UTC().Truncate(time.Second), dir: a.Log.Archive}
	if p.Kept > 0 {
		hash, err := journal.WriteKept(filepath.Join(a.Log.Archive, stem(p)+keptSuffix), func(add func([]byte) error) error {
			return a.Log.kept(ctx, exchanges, p.First, p.Last, func(_ uint64, canonical []byte) error { return add(canonical) })
		})
		if err != nil {
			return Disposal{}, err
		}
		d.KeptSHA256 = hex.EncodeToString(hash[:])
		if err := a.proved(d); err != nil {
			return Disposal{}, err
		}
	}
	a.step("kept")
	note, err := d.sign(a.Signer)
	if err == nil {
		_, err = openNote(note, a.Verifier) // one that nobody could read would lose the record
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = journal.PutFile(filepath.Join(a.Log.Archive, stem(p)+noteSuffix), note)
	}
	return d, err
}

// noNewHold refuses to go on where a hold came after the note was signed: what is
// still there may be what it is about. Releasing it lets the disposal go on.
func (a Applying) noNewHold(p Plan) error {
	for _, h := range a.Holds.Active() {
		known := slices.ContainsFunc(p.Holds, func(b HeldBy) bool { return b.ID == h.ID })
		apart := !h.From.IsZero() && h.From.After(p.LastTime) || !h.To.IsZero() && !h.To.After(p.FirstTime)
		if !known && !apart {
			return fmt.Errorf("%w: hold %s was placed after this disposal had begun: what is still there stays until it is released", ErrChanged, h.ID)
		}
	}
	return nil
}

// proved makes sure that the kept records are those whose hashes the tree has.
func (a Applying) proved(d Disposal) error {
	return d.Kept(func(seq uint64, canonical []byte, _ *audit.Record) error {
		leaves, err := a.Log.Tree.Leaves(seq-1, seq)
		if err == nil && leaves[0] != merkle.Hash(audit.Leaf(canonical)) {
			err = fmt.Errorf("kept record %d is not what was written", seq)
		}
		return err
	})
}

// asPlanned makes the plan again from what is there now, and names what differs.
// It returns the exchanges that stay.
func (a Applying) asPlanned(ctx context.Context, p Plan, disposed uint64) (map[uint64]bool, error) {
	changed := func(format string, args ...any) (map[uint64]bool, error) {
		return nil, fmt.Errorf("%w: %s: make a new plan", ErrChanged, fmt.Sprintf(format, args...))
	}
	if p.KeepYears != a.KeepYears || p.Before.After(a.Now.AddDate(-a.KeepYears, 0, 0)) {
		return changed("records are kept for %d years", a.KeepYears)
	}
	if p.First != disposed+1 {
		return changed("records up to %d were disposed of, the plan begins with %d", disposed, p.First)
	}
	if a.Holds.Sum != p.HoldsSum {
		return changed("the legal holds are not what they were")
	}
	recorded, err := a.Rows.HoldRecords(ctx, a.Log.Source)
	if err != nil {
		return nil, err
	}
	if recorded > uint64(a.Holds.Entries) { //nolint:gosec // not negative
		return nil, fmt.Errorf("%w: the log tells of %d placings and releases, the file of %d: put it back from a backup", ErrHolds, recorded, a.Holds.Entries)
	}
	if root, err := a.Log.Tree.RootAt(p.Checkpoint.Size); err != nil || root.String() != p.Checkpoint.Root {
		return changed("the hash tree does not lead to the checkpoint of the plan")
	}
	again := Plan{Before: p.Before}
	exchanges, err := a.Log.plan(ctx, a.Holds, &again, p.Last)
	if errors.Is(err, ErrNothing) {
		return changed("%v", err)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case !slices.Equal(again.Segments, p.Segments):
		return changed("the segments are not what they were")
	case again.Root != p.Root || again.First != p.First || again.Last != p.Last || again.Records != p.Records || !maps.Equal(again.Kinds, p.Kinds):
		return changed("the records are not what they were")
	case again.Kept != p.Kept || !slices.Equal(again.Holds, p.Holds):
		return changed("the holds keep %d records, not %d", again.Kept, p.Kept)
	}
	return exchanges, nil
}

// complete does what follows the note, and what an earlier call has not done.
func (a Applying) complete(ctx context.Context, d Disposal) error {
	a.step("note")
	p := d.Plan
	var kept []uint64
	if err := d.Kept(func(seq uint64, _ []byte, _ *audit.Record) error { kept = append(kept, seq); return nil }); err != nil {
		return err // while the segments may still be there
	}
	if err := a.Record(d.record(a.By, a.Now)); err != nil {
		return err
	}
	a.step("recorded")
	for _, s := range p.Segments { // from the oldest on: what is left is a journal at any time
		path := filepath.Join(a.Log.Archive, s.Name)
		size, sum, err := hashFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if size != s.Size || sum != s.SHA256 {
			return fmt.Errorf("%w: %s is another file than the one that was approved", ErrChanged, path)
		}
		if err := journal.RemoveFile(path); err != nil {
			return err
		}
		a.step("removed " + s.Name)
	}
	if err := a.Rows.Dispose(ctx, p.Source, p.First, p.Last, kept); err != nil {
		return fmt.Errorf("the segments are gone, the rows of ClickHouse are not (run this again): %w", err)
	}
	a.step("rows")
	return nil
}

// record is what the journal is told.
func (d Disposal) record(by string, now time.Time) *audit.Record {
	p := d.Plan
	return &audit.Record{
		Kind: audit.KindDisposal, Time: now.UTC().Truncate(time.Microsecond), Action: "dispose", UserIssuer: "os", UserSub: by, UserName: by,
		Detail: []string{
			fmt.Sprintf("first=%d", p.First), fmt.Sprintf("last=%d", p.Last), fmt.Sprintf("records=%d", p.Records), fmt.Sprintf("kept=%d", p.Kept),
			"root=" + p.Root, "plan_sha256=" + d.PlanSHA256, "planned_by=" + p.MadeBy, "approved_by=" + d.ApprovedBy(), "kept_sha256=" + d.KeptSHA256,
		},
	}
}
