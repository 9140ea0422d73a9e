package retention

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/engine/enginetest"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/spool"
	"github.com/matron-epr/matron/audit/verify"
)

// TestDisposal takes a log through a disposal without a hold: what is old goes,
// what is young stays, everything is proved before and after, and the shipper
// and a gateway that starts again miss nothing.
func TestDisposal(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	h := newHospital(t, e)
	if r := h.verify(t); r.Err() != nil || r.Journal.First != 1 {
		t.Fatalf("before: %+v", r)
	}
	p := h.makePlan(t)
	if p.First != 1 || p.Last >= old || p.Last < old-20 || p.Records != p.Last || p.Kept != 0 || !strings.Contains(p.Stopped, "not old enough") {
		t.Fatalf("plan %+v", p)
	}
	var months, kinds uint64
	for _, n := range p.Months {
		months += n
	}
	for _, n := range p.Kinds {
		kinds += n
	}
	if months != p.Records || kinds != p.Records || p.Months["2010-03"] != p.Records || p.LastTime.After(p.Before) {
		t.Errorf("counts of %+v", p)
	}
	root, err := h.tree.RootAt(p.Last)
	if err != nil || root.String() != p.Root {
		t.Errorf("root %s, want %v, %v", p.Root, root, err)
	}
	h.approve(t, "ann", "bob")
	d, err := h.apply(nil)
	must(t, err)
	h.checkApprovals(t, d)
	if d.KeptSHA256 != "" || d.KeptFile() != "" {
		t.Errorf("kept without a hold: %+v", d)
	}
	h.gone(t, p, nil)
	if _, err := h.tryPlan(t); !errors.Is(err, ErrNothing) {
		t.Errorf("a second plan: %v", err)
	}
	h.goesOn(t, p)
	h.nextDisposal(t, p)
}

// checkApprovals looks at the approvals in a note as an auditor does later.
func (h *hospital) checkApprovals(t *testing.T, d Disposal) {
	t.Helper()
	key := func(name string) Approver {
		v, err := merkle.ParseVerifier(read(t, filepath.Join(h.dir, name+".pub")))
		must(t, err)
		return Approver{name, v}
	}
	ann, bob := key("ann"), key("bob")
	if unknown, err := d.CheckApprovals([]Approver{ann, bob}); err != nil || len(unknown) > 0 {
		t.Errorf("approvals: %v, %v", unknown, err)
	}
	if unknown, err := d.CheckApprovals([]Approver{ann}); err != nil || !slices.Equal(unknown, []string{"bob"}) {
		t.Errorf("approvals of one who left: %v, %v", unknown, err)
	}
	if _, err := d.CheckApprovals([]Approver{ann, {"bob", ann.Key}}); !errors.Is(err, ErrApproval) {
		t.Errorf("another key: %v", err)
	}
	d.Approvals = d.Approvals[:1]
	if _, err := d.CheckApprovals([]Approver{ann, bob}); !errors.Is(err, ErrApproval) {
		t.Errorf("one approval: %v", err)
	}
}

// TestHoldsThatTheLogTellsOf: a file of holds that was made anew or is an old copy
// stops a disposal.
func TestHoldsThatTheLogTellsOf(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	h := newHospital(t, e)
	must(t, spool.Put(h.spool(), h.hold(t, Hold{Patients: []string{"P3"}}).Record()))
	j, err := journal.Open(h.config())
	must(t, err)
	n, err := spool.Drain(t.Context(), h.spool(), j)
	if err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	h.ship(t, j, false)
	must(t, j.Close())
	must(t, h.tree.Close())
	must(t, h.view())
	must(t, os.Remove(h.holds()))
	if _, err := OpenHolds(h.holds(), source); !errors.Is(err, ErrHolds) {
		t.Errorf("no file: %v", err)
	}
	must(t, CreateHolds(h.holds()))
	if p := h.makePlan(t); p.Kept != 0 {
		t.Fatalf("plan %+v", p)
	}
	h.approve(t, "ann", "bob")
	if _, err := h.apply(nil); !errors.Is(err, ErrHolds) {
		t.Errorf("an empty file: %v", err)
	}
	if r := h.verify(t); len(r.Disposed) > 0 || r.Journal.First != 1 {
		t.Errorf("something was done: %+v", r)
	}
}

// TestHoldsAreChecked: no hold without reason or subject, no release without
// reason, and no entry taken out.
func TestHoldsAreChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holds.ledger")
	must(t, CreateHolds(path))
	h, err := OpenHolds(path, source)
	must(t, err)
	if _, err := OpenHolds(path, source); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	day := today()
	for name, hold := range map[string]Hold{
		"no reason":       {Patients: []string{"P1"}, By: "ig"},
		"nobody":          {Patients: []string{"P1"}, Reason: "x"},
		"no subject":      {Reason: "x", By: "ig"},
		"everything":      {Reason: "x", By: "ig", Inquiry: "winter"},
		"period, no name": {Reason: "x", By: "ig", From: day},
		"backwards":       {Reason: "x", By: "ig", Inquiry: "winter", From: day, To: day.Add(-1)},
		"empty id":        {Reason: "x", By: "ig", Patients: []string{""}},
		"NHS number":      {Reason: "x", By: "ig", NHSNumbers: []string{"999 000 0018"}},
	} {
		if _, err := h.Place(hold); !errors.Is(err, ErrHold) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var ids []string
	for _, p := range []string{"P1", "P2"} {
		placed, err := h.Place(Hold{Reason: "x", By: "ig", Patients: []string{p}, At: day})
		must(t, err)
		ids = append(ids, placed.ID)
	}
	for name, r := range map[string]Release{"no reason": {By: "ig"}, "nobody": {Reason: "x"}} {
		if _, err := h.Release(ids[0], r); !errors.Is(err, ErrHold) {
			t.Errorf("release, %s: %v", name, err)
		}
	}
	released, err := h.Release(ids[0], Release{Reason: "settled", By: "ig", At: day})
	must(t, err)
	if r := released.Record(); r.Action != "release" || r.Patient != "P1" || !slices.Contains(r.Detail, "reason=settled") {
		t.Errorf("record %+v", r)
	}
	if _, err := h.Release(ids[0], Release{Reason: "again", By: "ig"}); !errors.Is(err, ErrHold) {
		t.Errorf("released twice: %v", err)
	}
	must(t, h.Close())
	again, err := ReadHolds(path, source)
	must(t, err)
	if len(again.List) != 2 || len(again.Active()) != 1 || again.Active()[0].ID != ids[1] || again.Entries != 3 || again.Sum != h.Sum {
		t.Errorf("%+v", again)
	}
	if _, err := ReadHolds(path, "gw2"); !errors.Is(err, ErrHolds) {
		t.Errorf("of another source: %v", err)
	}
	entries, err := journal.ReadLedger(path)
	must(t, err)
	must(t, os.Remove(path))
	l, _, err := journal.OpenLedger(path)
	must(t, err)
	must(t, errors.Join(l.Append(entries[0]), l.Append(entries[2]), l.Close()))
	if _, err := ReadHolds(path, source); !errors.Is(err, ErrHolds) {
		t.Errorf("an entry taken out: %v", err)
	}
}

// nextDisposal follows years later: it begins where the first one ended.
func (h *hospital) nextDisposal(t *testing.T, first Plan) {
	t.Helper()
	must(t, h.tree.Close())
	must(t, h.view())
	must(t, errors.Join(os.Remove(h.plan()), os.Remove(ApprovalFile(h.plan(), "ann")), os.Remove(ApprovalFile(h.plan(), "bob"))))
	h.now = today().AddDate(9, 0, 0)
	h.hold(t, Hold{Patients: []string{"P7"}})
	p := h.makePlan(t)
	h.approve(t, "ann", "bob")
	if p.First != first.Last+1 || p.Kept == 0 || !strings.Contains(p.Stopped, "not in the archive alone") {
		t.Errorf("plan %+v", p)
	}
	_, err := h.apply(nil)
	must(t, err)
	r := h.verify(t)
	if r.Err() != nil || len(r.Disposed) != 2 || r.Journal.First != p.Last+1 || uint64(len(h.seqs(t, p.Last))) != p.Kept {
		t.Errorf("verify: %+v", r)
	}
	files, err := filepath.Glob(filepath.Join(h.archive(), "*"+noteSuffix))
	must(t, err)
	must(t, os.Remove(files[0]))
	if got := kinds(h.verify(t)); !slices.Equal(got, []verify.Kind{verify.Unsigned, verify.Missing}) {
		t.Errorf("without the first note: %v", got)
	}
}

// gone checks that exactly what p names is gone but for kept, and that verify
// knows why.
func (h *hospital) gone(t *testing.T, p Plan, kept []uint64) {
	t.Helper()
	for _, s := range p.Segments {
		if _, err := os.Stat(filepath.Join(h.archive(), s.Name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	if diff := cmp.Diff(kept, h.seqs(t, p.Last)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	r := h.verify(t)
	if r.Err() != nil || r.Journal.First != p.Last+1 || r.Journal.Last != all || r.Signed != all || len(r.Disposed) != 1 {
		t.Errorf("verify: %+v", r)
	}
	if len(r.Disposed) == 1 && !strings.Contains(r.Disposed[0].Who, "planned by zoe as matron on 25 November 2026, approved by ann and bob, applied by op") {
		t.Errorf("who: %q", r.Disposed[0].Who)
	}
	if r.Rows != all-p.Last+uint64(len(kept)) {
		t.Errorf("%d rows compared", r.Rows)
	}
}

// disposed is a journal as the gateway gives it to the shipper.
type disposed struct {
	*journal.Journal
	h *hospital
}

func (d disposed) Oldest() uint64 {
	list, _, err := Disposals(d.h.archive(), d.h.key)
	if err == nil {
		d.Forget(UpTo(list))
	}
	return d.Journal.Oldest()
}

// goesOn starts the journal again, ships without an alarm, and records the
// disposal.
func (h *hospital) goesOn(t *testing.T, p Plan) {
	t.Helper()
	j, err := journal.Open(h.config())
	must(t, err)
	rows := h.seqs(t, all)
	h.ship(t, disposed{j, h}, false)
	if diff := cmp.Diff(rows, h.seqs(t, all)); diff != "" {
		t.Errorf("the shipper changed rows:\n%s", diff)
	}
	if j.Oldest() != p.Last+1 {
		t.Errorf("oldest %d", j.Oldest())
	}
	if size, _ := j.Tree().Root(); size != all {
		t.Errorf("the tree has %d leaves", size)
	}
	n, err := spool.Drain(t.Context(), h.spool(), j)
	if err != nil || n == 0 {
		t.Errorf("%d records of the disposal, %v", n, err)
	}
	got, err := j.Read(all+1, 1)
	if err != nil || len(got) != 1 || got[0].Kind != audit.KindDisposal || !slices.Contains(got[0].Detail, fmt.Sprintf("last=%d", p.Last)) {
		t.Errorf("record %+v, %v", got, err)
	}
	must(t, j.Close())
}

// TestHoldsKeep places holds of every sort: exactly what they cover stays, with
// the rest of its exchanges, and is verified.
// hazard:GW-31 control:C-229
func TestHoldsKeep(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	day := func(d int) time.Time { return time.Date(2010, 3, d, 0, 0, 0, 0, time.UTC) }
	// Exchange n has the records 3n+1 to 3n+3, patients Pn and Qn, person S(n%4).
	for name, c := range map[string]struct {
		hold Hold
		want func(n, last uint64) bool
	}{
		"patient":            {Hold{Patients: []string{"P3"}}, func(n, _ uint64) bool { return n%10 == 3 }},
		"NHS number":         {Hold{NHSNumbers: []string{"9990000004"}}, func(n, _ uint64) bool { return n%10 == 4 }},
		"further patient":    {Hold{Patients: []string{"Q1", "Q2"}}, func(n, _ uint64) bool { return n%10 == 1 || n%10 == 2 }},
		"person":             {Hold{People: []string{"S2"}}, func(n, _ uint64) bool { return n%4 == 2 }},
		"inquiry":            {Hold{Inquiry: "winter", From: day(2), To: day(3)}, func(n, _ uint64) bool { return n*5+14 >= 24 && n*5+14 < 48 }},
		"person in a period": {Hold{Inquiry: "winter", From: day(2), People: []string{"S1"}}, func(n, _ uint64) bool { return n*5+14 >= 24 && n%4 == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHospital(t, e)
			id := h.hold(t, c.hold).ID
			p := h.makePlan(t)
			var want []uint64
			for seq := uint64(1); seq <= p.Last; seq++ {
				if c.want((seq-1)/3, p.Last) {
					want = append(want, seq)
				}
			}
			if p.Kept != uint64(len(want)) || len(p.Holds) != 1 || p.Holds[0].ID != id || p.Holds[0].Records == 0 {
				t.Fatalf("want %d kept: %+v", len(want), p)
			}
			h.approve(t, "ann", "bob")
			d, err := h.apply(nil)
			must(t, err)
			var kept []uint64
			must(t, d.Kept(func(seq uint64, _ []byte, _ *audit.Record) error { kept = append(kept, seq); return nil }))
			if diff := cmp.Diff(want, kept); diff != "" {
				t.Errorf("kept (-want +got):\n%s", diff)
			}
			h.gone(t, p, want)
			h.goesOn(t, p)
			if name == "patient" {
				h.damage(t, d)
			}
		})
	}
}

// damage alters what was kept and the note: verify finds each.
func (h *hospital) damage(t *testing.T, d Disposal) {
	t.Helper()
	finds := func(what string, want ...verify.Kind) {
		t.Helper()
		if got := kinds(h.verify(t)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	whole, err := os.ReadFile(d.KeptFile())
	must(t, err)
	// The same records but one, well formed: only the signed hash tells.
	_, err = journal.WriteKept(d.KeptFile(), func(add func([]byte) error) error {
		return d.eachBut(add)
	})
	must(t, err)
	finds("a record less", verify.Damaged)
	must(t, os.WriteFile(d.KeptFile(), whole[:len(whole)-9], 0o600))
	finds("cut short", verify.Damaged)
	must(t, os.Remove(d.KeptFile()))
	finds("removed", verify.Damaged)
	must(t, os.WriteFile(d.KeptFile(), whole, 0o600))
	finds("put back")

	must(t, h.store.Dispose(t.Context(), source, 1, 12, nil)) // P3 is in 10 to 12
	finds("a held row deleted", verify.Missing)

	file := strings.TrimSuffix(d.KeptFile(), keptSuffix) + noteSuffix
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), `"applied_by":"op"`, `"applied_by":"xx"`, 1)), 0o600))
	finds("a forged note", verify.Unsigned, verify.Missing)
	must(t, os.Remove(file))
	finds("no note", verify.Missing)
}

func (d Disposal) eachBut(add func([]byte) error) error {
	first := true
	var all [][]byte
	if err := d.Kept(func(_ uint64, canonical []byte, _ *audit.Record) error {
		if !first {
			all = append(all, slices.Clone(canonical))
		}
		first = false
		return nil
	}); err != nil {
		return err
	}
	for _, c := range all {
		if err := add(c); err != nil {
			return err
		}
	}
	return nil
}

// TestApplyRefuses whatever is not two people's approval of what is there, and
// then has done nothing.
func TestApplyRefuses(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	h := newHospital(t, e)
	refuses := func(what string, want error, text string) {
		t.Helper()
		if _, err := h.apply(nil); !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
		if r := h.verify(t); r.Err() != nil || len(r.Disposed) > 0 || r.Journal.First != 1 || r.Rows != all {
			t.Fatalf("%s: something was done: %+v", what, r)
		}
	}
	again := func(approvers ...string) {
		t.Helper()
		files, err := filepath.Glob(h.plan() + "*")
		must(t, err)
		for _, f := range files {
			must(t, os.Remove(f))
		}
		h.makePlan(t)
		h.approve(t, approvers...)
	}
	again()
	refuses("nobody", ErrApproval, "there are 0")
	again("ann")
	refuses("one", ErrApproval, "there are 1")
	must(t, os.WriteFile(ApprovalFile(h.plan(), "bob"), read(t, ApprovalFile(h.plan(), "ann")), 0o600))
	refuses("one twice", ErrApproval, "that of bob")
	again("ann")
	h.approveAs(t, "bob", "ann")
	refuses("one in another's name", ErrApproval, "that of bob")
	again("ann")
	h.approveAs(t, "zoe", "cat")
	refuses("who planned", ErrApproval, "zoe")
	again("ann", "cat")
	refuses("who is not listed", ErrApproval, "there are 1")

	again("ann", "bob")
	text := read(t, h.plan())
	must(t, os.WriteFile(h.plan(), []byte(strings.Replace(string(text), `"made_by": "zoe as`, `"made_by": "joe as`, 1)), 0o600))
	refuses("an altered plan", ErrApproval, "another plan")

	again("ann", "bob")
	held := h.hold(t, Hold{Patients: []string{"P3"}})
	refuses("a hold after approval", ErrChanged, "legal holds")
	again("ann", "bob")
	release(t, h, held.ID)
	refuses("a release after approval", ErrChanged, "legal holds")

	again("ann", "bob")
	segments, err := filepath.Glob(filepath.Join(h.archive(), "*.zst"))
	must(t, err)
	whole := read(t, segments[1])
	must(t, os.WriteFile(segments[1], append(slices.Clone(whole), 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0), 0o600)) // an empty skippable frame
	refuses("another file", ErrChanged, "segments")
	must(t, os.WriteFile(segments[1], whole, 0o600))

	again("ann", "bob")
	holds := read(t, h.holds())
	must(t, os.Remove(h.holds()))
	if _, err := h.apply(nil); !errors.Is(err, ErrHolds) {
		t.Errorf("without the file of holds: %v", err)
	}
	must(t, os.WriteFile(h.holds(), holds, 0o600))

	h.cutOff(t, again)
}

// cutOff limits what may go by what is proved: what is not counted or not signed
// stays, and what is damaged stops everything.
func (h *hospital) cutOff(t *testing.T, again func(...string)) {
	t.Helper()
	l, err := h.log()
	must(t, err)
	holds, err := ReadHolds(h.holds(), source)
	must(t, err)
	plan := func(l Log) (Plan, error) { return Make(t.Context(), l, holds, 8, "zoe as matron", today()) }
	uncounted := l
	uncounted.Verified = 20
	if p, err := plan(uncounted); err != nil || p.Last > 20 || !strings.Contains(p.Stopped, "counted in ClickHouse") {
		t.Errorf("not counted: %+v, %v", p, err)
	}
	unsigned := l
	unsigned.Checkpoint.Size = 20
	if unsigned.Checkpoint.Root, err = h.tree.RootAt(20); err != nil {
		t.Fatal(err)
	}
	if p, err := plan(unsigned); err != nil || p.Last > 20 || !strings.Contains(p.Stopped, "no signed checkpoint") {
		t.Errorf("not signed: %+v, %v", p, err)
	}
	forged := l
	forged.Checkpoint.Root = merkle.Hash{1}
	if _, err := plan(forged); err == nil || errors.Is(err, ErrNothing) {
		t.Errorf("another root: %v", err)
	}
	segments, err := filepath.Glob(filepath.Join(h.archive(), "*.zst"))
	must(t, err)
	must(t, os.Rename(segments[0], segments[0]+".away"))
	if _, err := plan(l); err == nil || !strings.Contains(err.Error(), "records 1 to") {
		t.Errorf("a missing segment: %v", err)
	}
	must(t, os.Rename(segments[0]+".away", segments[0]))
	again("ann", "bob")
	d, err := h.apply(nil)
	must(t, err)
	h.gone(t, d.Plan, nil)
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func release(t *testing.T, h *hospital, id string) {
	t.Helper()
	holds, err := OpenHolds(h.holds(), source)
	must(t, err)
	_, err = holds.Release(id, Release{Reason: "settled", By: "ig", At: today()})
	must(t, err)
	must(t, holds.Close())
}

// TestKilledAtEachStep kills the process that applies a plan with SIGKILL: up to
// the note everything is there, and after it the same command completes it.
func TestKilledAtEachStep(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	for _, step := range []string{"checked", "kept", "note", "recorded", "removed 00000000000000000001", "removed", "rows"} {
		t.Run(step, func(t *testing.T) {
			h := newHospital(t, e)
			h.hold(t, Hold{Patients: []string{"P3"}})
			p := h.makePlan(t)
			h.approve(t, "ann", "bob")
			at := step
			if step == "removed" {
				at += " " + p.Segments[len(p.Segments)-1].Name
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, os.Args[0], applyArg, h.dir, h.addr, h.password, h.database, at).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != -1 || len(out) > 0 {
				t.Fatalf("not killed: %v %s", err, out)
			}
			r := h.verify(t)
			if r.Err() != nil {
				t.Errorf("after the kill: %v", r.Findings)
			}
			if early := step == "checked" || step == "kept"; early && (len(r.Disposed) > 0 || r.Rows != all) || !early && len(r.Disposed) != 1 {
				t.Errorf("after the kill: %+v", r)
			}
			d, err := h.apply(nil)
			must(t, err)
			var kept []uint64
			must(t, d.Kept(func(seq uint64, _ []byte, _ *audit.Record) error { kept = append(kept, seq); return nil }))
			h.gone(t, p, kept)
			if uint64(len(kept)) != p.Kept || p.Kept == 0 {
				t.Errorf("%d kept, want %d", len(kept), p.Kept)
			}
			_, err = h.apply(nil) // once more is no harm
			must(t, err)
			h.gone(t, p, kept)
			h.goesOn(t, p)
		})
	}
}

// TestHoldAfterTheNoteStopsTheRest: what is still there may be what it is about.
func TestHoldAfterTheNoteStopsTheRest(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config(t, t.TempDir()))
	h := newHospital(t, e)
	p := h.makePlan(t)
	h.approve(t, "ann", "bob")
	func() {
		defer func() { _ = recover() }()
		_, _ = h.apply(func(step string) {
			if step == "note" {
				panic("cut off here")
			}
		})
	}()
	held := h.hold(t, Hold{Patients: []string{"P3"}})
	if _, err := h.apply(nil); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), held.ID) {
		t.Errorf("went on: %v", err)
	}
	if r := h.verify(t); r.Err() != nil || r.Journal.First != 1 || r.Rows < all {
		t.Errorf("%+v", r)
	}
	release(t, h, held.ID)
	_, err := h.apply(nil)
	must(t, err)
	h.gone(t, p, nil)
}
