package hazardlog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

// An update says what changed in what was accepted here, and leaves this log's
// words and ratings to its own people.
// hazard:GW-32 control:C-238
func TestAnUpdateOfTheUpstreamLog(t *testing.T) {
	maker := sound(t)
	for _, id := range []string{"GW-02", "GW-03"} {
		maker.must(engineer(), maker.change(hazardlog.Raise, hazard(id), ""))
	}
	transfer := hazardlog.Transfer{ID: "T-01", Hazard: "GW-02", Condition: "Train staff", State: hazardlog.Offered}
	maker.must(engineer(), maker.change(hazardlog.Raise, transfer, ""))
	taken := maker.Log
	changes, err := hazardlog.Derive(taken, "1.0", hazardlog.Head{Title: "Ours", StandardID: "dcb0160-3.2", Organisation: "Trust"})
	if err != nil {
		t.Fatal(err)
	}
	own := &book{t: t, Log: hazardlog.Begin("rba")}
	own.must(engineer(), changes...)
	own.must(officer(), own.change(hazardlog.Answer, func() hazardlog.Value {
		x := own.Transfers[0]
		x.State, x.By = hazardlog.Accepted, ann().String()
		return x
	}(), ""))

	if u := own.Upgrade(taken, taken, "1.0"); u.String() != "Nothing that you took has changed in version 1.0." {
		t.Errorf("%s", u)
	}
	transfer.Condition = "Train staff and drill each quarter"
	h, _ := maker.Find("GW-03")
	h.Harm = "A patient dies."
	maker.must(engineer(), maker.change(hazardlog.Edit, transfer, ""), maker.change(hazardlog.Edit, h, ""), maker.change(hazardlog.Raise, hazard("GW-04"), ""))
	u := own.Upgrade(taken, maker.Log, "1.1")
	if want := "Version 1.1: 1 hazard you accepted has changed, 2 hazards in all; 1 entry is new."; u.String() != want {
		t.Errorf("%s", u)
	}
	var got []string
	for _, h := range u.Hazards {
		for _, d := range h.Changes {
			got = append(got, d.String())
		}
	}
	want := []string{
		"T-01 condition: Train staff → “Train staff and drill each quarter”",
		"GW-03 harm: “A patient is given a drug that they are allergic to.” → A patient dies.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	before, _ := own.Find("GW-03")
	if changes, err = own.Changes(u, maker.Log, "2026-11-27"); err != nil {
		t.Fatal(err)
	}
	own.must(engineer(), changes...)
	if after, _ := own.Find("GW-03"); !hazardlog.Same(before, after) {
		t.Errorf("this log's words were changed: %+v", after)
	}
	if x := own.Transfers[0]; x.State != hazardlog.Offered || x.By != "" || !strings.Contains(x.Condition, "each quarter") {
		t.Errorf("an accepted transfer whose terms changed: %+v", x)
	}
	if _, ok := own.Find("GW-04"); !ok || len(own.Reviews) != 2 || own.Upstream.Version != "1.1" || own.Title != "Ours" {
		t.Errorf("%+v %+v", own.Reviews, own.Upstream)
	}
	if next := own.Upgrade(maker.Log, maker.Log, "1.1"); len(next.Hazards)+len(next.New) != 0 {
		t.Errorf("%s", next)
	}
}

// A snapshot is read back only as it was written.
func TestReadSnapshot(t *testing.T) {
	b := sound(t)
	text := snapshot(t, b.Log)
	got, err := hazardlog.ReadSnapshot([]byte(text))
	if err != nil || snapshot(t, got) != text {
		t.Errorf("%v", err)
	}
	for _, change := range [][2]string{{`"risk":2`, `"risk":1`}, {`"log":"test",`, `"log":"test", `}, {`log/2`, `log/3`}, {`"standard_sha256":"4`, `"standard_sha256":"5`}} {
		bad := strings.Replace(text, change[0], change[1], 1)
		if _, err := hazardlog.ReadSnapshot([]byte(bad)); bad == text || err == nil {
			t.Errorf("%q: taken", change[1])
		}
	}
}

// What a trust adds has numbers of its own, so that what the maker adds later fits in;
// where it did not always, an update is refused and takes nothing of the trust's away.
func TestOwnNumbersOfADerivedLog(t *testing.T) {
	maker := sound(t)
	taken := maker.Log
	changes, err := hazardlog.Derive(taken, "1.0", hazardlog.Head{Title: "Ours", StandardID: "dcb0160-3.2", Organisation: "Trust"})
	if err != nil {
		t.Fatal(err)
	}
	own := &book{t: t, Log: hazardlog.Begin("rba")}
	own.must(engineer(), changes...)
	got := []string{maker.NextID("GW"), maker.NextID("C"), own.NextID("GW"), own.NextID("RBA"), own.NextID("C"), own.NextID("T"), own.NextID("R"), own.NextID("D")}
	if diff := cmp.Diff([]string{"GW-02", "C-02", "GW-5001", "RBA-01", "C-5001", "T-5001", "R-01", "D-01"}, got); diff != "" {
		t.Error(diff)
	}
	own.must(engineer(), own.change(hazardlog.Raise, control(own.NextID("C"), "GW-01"), ""))
	maker.must(engineer(), maker.change(hazardlog.Raise, control("C-02", "GW-01"), ""))
	u := own.Upgrade(taken, maker.Log, "1.1")
	if changes, err = own.Changes(u, maker.Log, "2026-11-27"); err != nil || len(u.New) != 1 {
		t.Fatalf("%s: %v", u, err)
	}
	own.must(engineer(), changes...)
	if own.NextID("C") != "C-5002" {
		t.Errorf("next is %s", own.NextID("C"))
	}

	before := maker.Log
	own.must(engineer(), own.change(hazardlog.Raise, control("C-03", "GW-01"), ""))
	maker.must(engineer(), maker.change(hazardlog.Raise, control("C-03", "GW-01"), ""))
	u = own.Upgrade(before, maker.Log, "1.2")
	if _, err := own.Changes(u, maker.Log, "2026-11-27"); !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), "brings C-03, which this log has given to something of its own") {
		t.Errorf("a clash: %v", err)
	}
}

// An update leads forward alone.
func TestAnOlderVersionIsNoUpdate(t *testing.T) {
	maker := sound(t)
	changes, err := hazardlog.Derive(maker.Log, "1.9", hazardlog.Head{Title: "Ours", StandardID: "dcb0160-3.2", Organisation: "Trust"})
	if err != nil {
		t.Fatal(err)
	}
	own := &book{t: t, Log: hazardlog.Begin("rba")}
	own.must(engineer(), changes...)
	for version, later := range map[string]bool{"1.8": false, "1.9": false, "1.10": true, "2.0": true} {
		_, err := own.Changes(own.Upgrade(maker.Log, maker.Log, version), maker.Log, "2026-11-27")
		if later != (err == nil) || !later && !strings.Contains(err.Error(), "does not come after version 1.9, which was taken in") {
			t.Errorf("%s: %v", version, err)
		}
	}
}

// The state that another log was derived from is found again by its hash, not after
// that time.
func TestHeld(t *testing.T) {
	b := sound(t)
	then := b.Log
	b.must(engineer(), b.change(hazardlog.Raise, hazard("GW-02"), ""))
	sum := hazardlog.Hash([]byte(snapshot(t, then)))
	got, err := b.Held(sum, then.Events()[then.Seq()-1].At)
	if err != nil || got.Seq() != then.Seq() {
		t.Errorf("%d, %v", got.Seq(), err)
	}
	for _, bad := range []struct {
		sum    string
		latest int
	}{{strings.Repeat("0", 64), 3}, {sum, 1}} {
		if _, err := b.Held(bad.sum, b.Events()[bad.latest].At); !errors.Is(err, hazardlog.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
