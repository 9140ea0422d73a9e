package hazardlog_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

var update = flag.Bool("update", false, "write golden files")

// The bytes that an officer signs never change: what was signed must verify for
// the life of the system.
func TestSnapshotIsCanonical(t *testing.T) {
	b := sound(t)
	b.must(engineer(),
		b.change(hazardlog.Raise, hazardlog.Incident{ID: "I-01", On: "2026-11-20", Text: "A note was lost <twice>", Hazards: []string{"GW-01"}, Reference: "LFPSE 1"}, ""),
		b.change(hazardlog.Raise, hazardlog.Decision{ID: "D-01", On: "2026-11-21", Text: "Warn in theatres", Reason: "Workshop"}, ""),
		b.change(hazardlog.Raise, hazardlog.Transfer{ID: "T-01", Hazard: "GW-01", Control: "C-01", Condition: "Train staff", To: "Trust", State: hazardlog.Offered}, ""),
		b.change(hazardlog.Raise, hazardlog.Review{ID: "R-01", Of: "GW-01", Due: "2027-11-26"}, ""))
	got := snapshot(t, b.Log)
	const golden = "testdata/snapshot.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
	// The same content from other events, in another order, is the same snapshot.
	other := newBook(t)
	h, _ := b.Find("GW-01")
	h.Initial, h.Residual, h.Acceptance = hazardlog.Rating{}, hazardlog.Rating{}, hazardlog.Acceptance{}
	other.must(engineer(), other.change(hazardlog.Raise, h, "at once"))
	h, _ = b.Find("GW-01")
	other.must(officer(), other.change(hazardlog.Rate, h, ""))
	other.must(engineer(), other.change(hazardlog.Raise, b.Reviews[0], ""), other.change(hazardlog.Raise, b.Controls[0], ""),
		other.change(hazardlog.Raise, b.Transfers[0], ""), other.change(hazardlog.Raise, b.Decisions[0], ""), other.change(hazardlog.Raise, b.Incidents[0], ""))
	if diff := cmp.Diff(got, snapshot(t, other.Log)); diff != "" {
		t.Error(diff)
	}
}

// Whatever is changed after the signature shows, in words.
func TestWhatChangedSinceTheApproval(t *testing.T) {
	b := sound(t)
	b.approve("1.4")
	if want := "Version 1.4, approved by Dr Ann Example (GMC 0000001) on 26 November 2026. Nothing has changed since."; b.State() != want {
		t.Errorf("%s", b.State())
	}
	h, _ := b.Find("GW-01")
	h.Acceptance = hazardlog.Acceptance{}
	h.Residual.Likelihood = "Low"
	b.must(officer(), b.change(hazardlog.Rate, h, "three denials in resus"))
	h, _ = b.Find("GW-01")
	h.Causes = []string{"A rule refuses more than its author meant", "A merged number does not match"}
	h.Conditions = []hazardlog.Condition{hazardlog.Normal}
	b.must(engineer(), b.change(hazardlog.Edit, h, ""))
	c := control("C-02", "GW-01")
	c.Text = "Rules are replayed over past traffic first"
	b.must(engineer(), b.change(hazardlog.Raise, c, ""))
	if want := "Draft: 7 changes since version 1.4 was approved by Dr Ann Example (GMC 0000001) on 26 November 2026."; b.State() != want {
		t.Errorf("%s", b.State())
	}
	_, changes := b.Since()
	var got []string
	for _, d := range changes {
		got = append(got, d.Full())
	}
	by := ", by Dr Ann Example (GMC 0000001) on 26 November 2026, because: three denials in resus"
	want := []string{
		"GW-01 causes: added “A merged number does not match”, by Bob on 26 November 2026",
		"GW-01 conditions: added normal, by Bob on 26 November 2026",
		"GW-01 residual likelihood: Very Low → Low (risk 2 → 3)" + by,
		"GW-01 acceptance accepted: yes → no" + by,
		"GW-01 acceptance reason: no longer “Going lower is impractical.”" + by,
		"GW-01 acceptance by: no longer “Dr Ann Example (GMC 0000001)”" + by,
		"C-02 is new: Rules are replayed over past traffic first, by Bob on 26 November 2026",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	then, approval, err := b.Version("1.4")
	if err != nil || hazardlog.Hash([]byte(snapshot(t, then))) != approval.SHA256 {
		t.Errorf("the approved version is not what was signed: %v", err)
	}
}

// A version is approved by a present officer with a registration, over what the
// log holds at that moment, without errors, once.
// hazard:GW-32 control:C-235
func TestWhatStandsInTheWayOfAnApproval(t *testing.T) {
	b := sound(t)
	for name, c := range map[string]struct {
		change func(s *hazardlog.SignOff)
		here   present
		want   string
	}{
		"nobody there":      {func(*hazardlog.SignOff) {}, false, "nobody there"},
		"first unconfirmed": {func(s *hazardlog.SignOff) { s.Confirmed[0] = false }, true, "not confirmed: I have reviewed"},
		"second":            {func(s *hazardlog.SignOff) { s.Confirmed[1] = false }, true, "not confirmed: I am the clinical safety officer"},
		"expired":           {func(s *hazardlog.SignOff) { s.Officer.Expires = "2026-11-25" }, true, "ended on 25 November 2026"},
		"no registration":   {func(s *hazardlog.SignOff) { s.Officer.Expires = "" }, true, "needs one that is in force"},
	} {
		s := signOff("1.0")
		c.change(&s)
		if _, _, err := b.Approve(t.Context(), engineer(), s, c.here, when()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	by, change, err := b.Approve(t.Context(), engineer(), signOff("1.0"), present(true), when())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(by.Proof.Evidence, hazardlog.Hash([]byte(snapshot(t, b.Log)))) {
		t.Errorf("the officer did not sign what the log holds: %s", by.Proof.Evidence)
	}
	b.refused(engineer(), "has not just proved who they are", change)
	h, _ := b.Find("GW-01")
	h.Name += ", ever"
	b.must(engineer(), b.change(hazardlog.Edit, h, ""))
	b.refused(by, "is not of what the log holds now", change)
	b.approve("1.0")
	if err := b.try(by, change); !errors.Is(err, hazardlog.ErrConflict) {
		t.Errorf("a version approved twice: %v", err)
	}
	for version, want := range map[string]string{"0.9": "must come after 1.0", "latest": "is not of the form 1.4"} {
		by, change, err := b.Approve(t.Context(), engineer(), signOff(version), present(true), when())
		if err != nil {
			t.Fatal(err)
		}
		b.refused(by, want, change)
	}
	h.Initial = rating("Major", "Medium")
	b.must(engineer(), b.change(hazardlog.Rate, h, "somebody proposes"))
	b.refused(officer(), "cannot be approved while there are errors", b.change(hazardlog.Approve, hazardlog.Approval{
		Version: "1.1", SHA256: hazardlog.Hash([]byte(snapshot(t, b.Log))), Through: b.Seq(), Officer: ann(), Statement: "Fine.",
		Confirmations: hazardlog.Confirmations(), At: when(),
	}, "")) // by whoever goes around Approve
	if _, _, err := b.Approve(t.Context(), engineer(), signOff("1.1"), present(true), when()); !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), "GW-01 initial: error: is proposed") {
		t.Errorf("approved with a rating that nobody assessed: %v", err)
	}
}
