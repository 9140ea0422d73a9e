package bypass

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/host"
	"github.com/matron-epr/matron/cmd/matron/ledger"
)

// ward is a gateway's bypasses with two clocks that the test moves.
type ward struct {
	t       *testing.T
	path    string
	rules   Rules
	keys    map[string]note.Signer
	now     host.Reading
	control *Control
	records []audit.Record
	failing error // of Record
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func newWard(t *testing.T) *ward {
	w := &ward{t: t, path: filepath.Join(t.TempDir(), "bypass.ledger"), keys: map[string]note.Signer{}, now: host.Reading{Wall: noon}}
	w.rules = Rules{Origin: "matron/RZZ/gw1", Longest: 4 * time.Hour}
	for _, name := range []string{"ann", "bob", "eve"} {
		signer, person := newPerson(t, name)
		w.keys[name] = signer
		if name != "eve" { // she has a key and is not trusted
			w.rules.People.List = append(w.rules.People.List, person)
		}
	}
	w.restart()
	return w
}

func newPerson(t *testing.T, name string) (note.Signer, ledger.Person) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := merkle.GenerateKey(name, file, file+".pub"); err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := merkle.ParseSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	key, err := merkle.ParseVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, ledger.Person{Name: name, Key: key}
}

// restart is the gateway ended and started again: it knows what is on disk, and
// its monotonic clock begins anew.
func (w *ward) restart() {
	w.now.Mono = 0
	w.control = NewControl(ControlConfig{
		Path: w.path, Rules: w.rules, Apps: func() []string { return []string{"fhir", "ui"} },
		Read: func() host.Reading { return w.now }, Log: slog.New(slog.DiscardHandler), Record: w.record,
	})
	w.control.Look(w.t.Context())
}

func (w *ward) record(_ context.Context, r *audit.Record) error {
	if w.control != nil && r.Action == actionBegin && w.control.Bypassed(r.App) {
		w.t.Error("the bypass was in force before its record was durable")
	}
	if w.failing == nil {
		w.records = append(w.records, *r)
	}
	return w.failing
}

// pass lets time go by on both clocks, with the looks that the gateway takes.
func (w *ward) pass(d time.Duration) {
	for ; d > 0; d -= 10 * time.Second {
		step := min(d, 10*time.Second)
		w.now.Wall, w.now.Mono = w.now.Wall.Add(step), w.now.Mono+step
		w.control.Look(w.t.Context())
	}
}

func (w *ward) change(do func(*Ledger) error) error {
	w.t.Helper()
	l, err := Open(w.path, w.rules)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

func (w *ward) request(by string, d time.Duration) (id string, err error) {
	err = w.change(func(l *Ledger) error {
		b, err := l.Request(Bypass{App: "fhir", For: d, Reason: "nobody on ICU can open charts", RequestedBy: by, RequestedAt: w.now.Wall}, w.keys[by])
		id = b.ID
		return err
	})
	return id, err
}

func (w *ward) approve(id, by string) error {
	return w.change(func(l *Ledger) error { _, err := l.Approve(id, by, w.keys[by], w.now.Wall); return err })
}

// begin is a bypass that two people began, for d.
func (w *ward) begin(d time.Duration) (id string) {
	w.t.Helper()
	id, err := w.request("ann", d)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.approve(id, "bob"); err != nil {
		w.t.Fatal(err)
	}
	w.control.Look(w.t.Context())
	if !w.control.Bypassed("fhir") {
		w.t.Fatal("approved by two people, and not in force")
	}
	return id
}

func (w *ward) actions() string {
	var all []string
	for _, r := range w.records {
		if r.Kind != audit.KindBypass || r.App != "fhir" || r.Mode != "bypass" {
			w.t.Errorf("record %+v", r)
		}
		all = append(all, r.Action)
	}
	return strings.Join(all, " ")
}

// TestGW19TwoPeopleBeginABypass: nobody does it alone, whatever the name.
// hazard:GW-19 control:C-75
func TestGW19TwoPeopleBeginABypass(t *testing.T) {
	w := newWard(t)
	id, err := w.request("ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.control.Look(t.Context())
	if w.control.Bypassed("fhir") {
		t.Fatal("in force with one signature")
	}
	if err := w.approve(id, "ann"); !errors.Is(err, ErrRefused) {
		t.Errorf("ann approves her own request: %v", err)
	}
	if err := w.approve(id, "eve"); !errors.Is(err, ErrRefused) {
		t.Errorf("eve approves: %v", err)
	}
	if _, err := w.request("eve", time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("eve asks: %v", err)
	}
	bob := w.keys["bob"]
	w.keys["bob"] = w.keys["ann"]
	if err := w.approve(id, "bob"); !errors.Is(err, ErrRefused) {
		t.Errorf("ann approves in bob's name: %v", err)
	}
	w.keys["bob"] = bob
	if err := w.approve(id, "bob"); err != nil {
		t.Fatal(err)
	}
	w.control.Look(t.Context())
	if !w.control.Bypassed("fhir") || w.control.Bypassed("ui") || w.actions() != "begin" {
		t.Errorf("fhir %t, ui %t, records %q", w.control.Bypassed("fhir"), w.control.Bypassed("ui"), w.actions())
	}
	if in := w.control.InForce(); len(in) != 1 || in[0].ID != id || in[0].ApprovedBy != "bob" || !in[0].Until().Equal(noon.Add(time.Hour)) {
		t.Errorf("in force: %+v", in)
	}
}

// TestGW19OneKeyUnderTwoNamesIsOnePerson: the configuration may err.
// hazard:GW-19 control:C-75
func TestGW19OneKeyUnderTwoNamesIsOnePerson(t *testing.T) {
	w := newWard(t)
	w.rules.People.List[1].Key, w.keys["bob"] = w.rules.People.List[0].Key, w.keys["ann"]
	id, err := w.request("ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.approve(id, "bob"); !errors.Is(err, ErrRefused) {
		t.Errorf("approved: %v", err)
	}
}

// TestGW19BypassEndsByItself: at the minute, without anybody looking, for good,
// and with a record.
// hazard:GW-19 control:C-75
func TestGW19BypassEndsByItself(t *testing.T) {
	w := newWard(t)
	w.begin(30 * time.Minute)
	w.pass(30*time.Minute - 10*time.Second)
	if !w.control.Bypassed("fhir") {
		t.Fatal("ended before its time")
	}
	w.now.Wall, w.now.Mono = w.now.Wall.Add(10*time.Second), w.now.Mono+10*time.Second
	if w.control.Bypassed("fhir") || len(w.control.InForce()) > 0 {
		t.Error("in force beyond its time")
	}
	w.pass(20 * time.Second)
	w.now.Wall = noon
	w.restart()
	w.pass(time.Minute)
	if w.control.Bypassed("fhir") || w.actions() != "begin end" {
		t.Errorf("bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
	}
}

// TestGW19ClockStepsNeverExtendABypass: put back while the gateway runs, while it
// rests, again and again.
// hazard:GW-19 control:C-76
func TestGW19ClockStepsNeverExtendABypass(t *testing.T) {
	w := newWard(t)
	w.begin(30 * time.Minute)
	var lasted time.Duration
	for range 60 {
		w.pass(50 * time.Second)
		if w.control.Bypassed("fhir") {
			lasted += 50 * time.Second
		}
		w.now.Wall = noon.Add(time.Second)
		w.control.Look(t.Context())
		if lasted%(5*time.Minute) == 0 {
			w.restart()
		}
	}
	if lasted > 30*time.Minute || lasted < 20*time.Minute {
		t.Errorf("30 minutes lasted %s", lasted)
	}
	if w.control.Bypassed("fhir") || !strings.HasSuffix(w.actions(), " end") {
		t.Errorf("bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
	}
}

// TestGW19EndNeedsNobodyToLook: whatever became of the goroutine that looks, a
// bypass ends with its lease and by the clock, whichever is first.
func TestGW19EndNeedsNobodyToLook(t *testing.T) {
	w := newWard(t)
	w.begin(30 * time.Minute)
	w.now.Wall = noon.Add(30 * time.Minute)
	if w.control.Bypassed("fhir") || len(w.control.InForce()) > 0 {
		t.Error("in force beyond its time by the clock")
	}
	w.now.Wall, w.now.Mono = noon, leaseSpan
	if w.control.Bypassed("fhir") || len(w.control.InForce()) > 0 {
		t.Error("in force beyond its lease")
	}
}

// TestGW19ClockThatIsPutBackBeforeTheApprovalEndsIt: how long ago it was given is
// not known then.
func TestGW19ClockThatIsPutBackBeforeTheApprovalEndsIt(t *testing.T) {
	w := newWard(t)
	w.begin(30 * time.Minute)
	w.now.Wall = noon.Add(-time.Hour)
	w.restart()
	if w.control.Bypassed("fhir") {
		t.Error("in force an hour before it was approved")
	}
}

// TestGW19BypassSurvivesARestartUntilItsEnd: with its record each time.
// hazard:GW-19 control:C-76
func TestGW19BypassSurvivesARestartUntilItsEnd(t *testing.T) {
	w := newWard(t)
	w.begin(30 * time.Minute)
	w.pass(10 * time.Minute)
	w.restart()
	if !w.control.Bypassed("fhir") || w.actions() != "begin begin" {
		t.Errorf("after a restart: bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
	}
	w.now.Wall = noon.Add(31 * time.Minute) // the gateway rested until then
	w.restart()
	if w.control.Bypassed("fhir") || w.actions() != "begin begin end" {
		t.Errorf("after its time: bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
	}
}

// TestGW19DamagedFileMeansNoBypass: each byte of it, cut, or gone.
// hazard:GW-19 control:C-76
func TestGW19DamagedFileMeansNoBypass(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(file []byte) []byte // nil: gone
	}{
		{"a changed byte at the start", func(b []byte) []byte { b[3] ^= 1; return b }},
		{"a changed byte in the request", func(b []byte) []byte { b[100] ^= 1; return b }},
		{"a changed byte in the middle", func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"a changed byte in the last entry", func(b []byte) []byte { b[len(b)-20] ^= 1; return b }},
		{"the last bytes cut off", func(b []byte) []byte { return b[:len(b)-5] }},
		{"empty", func([]byte) []byte { return []byte{} }},
		{"gone", func([]byte) []byte { return nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWard(t)
			w.begin(30 * time.Minute)
			whole, err := os.ReadFile(w.path)
			if err != nil {
				t.Fatal(err)
			}
			if damaged := row.damage(bytes.Clone(whole)); damaged == nil {
				err = os.Remove(w.path)
			} else {
				err = os.WriteFile(w.path, damaged, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			w.control.Look(t.Context())
			if w.control.Bypassed("fhir") || w.actions() != "begin end" {
				t.Errorf("bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
			}
			if err := os.WriteFile(w.path, whole, 0o600); err != nil { // put back from a backup
				t.Fatal(err)
			}
			w.pass(time.Minute)
			if w.control.Bypassed("fhir") {
				t.Error("bypassed again once the file was put back")
			}
		})
	}
}

// TestGW19DamagedEndIsNoNewBeginning: an end that cannot be read any more is not
// taken for one that was never written, neither by the gateway nor by a command.
func TestGW19DamagedEndIsNoNewBeginning(t *testing.T) {
	w := newWard(t)
	id := w.begin(time.Hour)
	if err := w.change(func(l *Ledger) error { _, err := l.End(id, End{Reason: "mended", By: "carl", At: noon}); return err }); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	file[len(file)-10] ^= 1
	if err := os.WriteFile(w.path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.request("ann", time.Hour); !errors.Is(err, ErrFile) {
		t.Errorf("a command goes on with the file: %v", err)
	}
	w.restart()
	if w.control.Bypassed("fhir") {
		t.Error("an ended bypass is in force again")
	}
}

// TestGW19BypassThatCannotBeRecordedDoesNotBegin: it does once it can.
// hazard:GW-19 control:C-77
func TestGW19BypassThatCannotBeRecordedDoesNotBegin(t *testing.T) {
	w := newWard(t)
	id, err := w.request("ann", time.Hour)
	if err == nil {
		err = w.approve(id, "bob")
	}
	if err != nil {
		t.Fatal(err)
	}
	w.failing = audit.ErrNotDurable
	w.pass(time.Minute)
	if w.control.Bypassed("fhir") {
		t.Fatal("in force without a record")
	}
	w.failing = nil
	w.pass(10 * time.Second)
	if !w.control.Bypassed("fhir") || w.actions() != "begin" {
		t.Errorf("bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
	}
}

// TestGW19AnybodyEndsABypass: by command, at the next look, without a second end
// in the record.
func TestGW19AnybodyEndsABypass(t *testing.T) {
	w := newWard(t)
	id := w.begin(time.Hour)
	if _, err := w.request("ann", time.Hour); err != nil { // another one may be asked for
		t.Fatal(err)
	}
	var ended Bypass
	err := w.change(func(l *Ledger) (err error) {
		ended, err = l.End(id, End{Reason: "rules are mended", By: "carl", At: w.now.Wall})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute)
	if w.control.Bypassed("fhir") || w.actions() != "begin" {
		t.Errorf("bypassed %t, records %q", w.control.Bypassed("fhir"), w.actions())
	}
	if r := ended.EndedRecord(); r.UserSub != "carl" || r.Action != actionEnd || !strings.Contains(strings.Join(r.Detail, "\n"), "end_reason=rules are mended") {
		t.Errorf("record %+v", r)
	}
	if err := w.approve(id, "bob"); !errors.Is(err, ErrRefused) {
		t.Errorf("approved after its end: %v", err)
	}
}

// TestGW19ForgedEntriesCountNowhere: whoever can write to the file still cannot
// begin a bypass, nor make one longer.
func TestGW19ForgedEntriesCountNowhere(t *testing.T) {
	for _, row := range []struct {
		name  string
		forge func(w *ward, b *Bypass)
	}{
		{"longer than was signed", func(_ *ward, b *Bypass) {
			b.request = strings.Replace(b.request, `"for":"30m0s"`, `"for":"3h0m0s"`, 1)
		}},
		{"another application", func(_ *ward, b *Bypass) { b.request = strings.Replace(b.request, `"fhir"`, `"ui"`, 1) }},
		{"of another gateway", func(w *ward, b *Bypass) {
			b.request, _ = ledger.Sign(requestText("matron/RZZ/gw2", *b), w.keys["ann"])
			b.approval, _ = ledger.Sign(approvalText("matron/RZZ/gw2", b.request, b.ApprovedAt), w.keys["bob"])
		}},
		{"approved by the same person", func(w *ward, b *Bypass) {
			b.ApprovedBy = "ann"
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, b.ApprovedAt), w.keys["ann"])
		}},
		{"approved by a stranger", func(w *ward, b *Bypass) {
			b.ApprovedBy = "eve"
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, b.ApprovedAt), w.keys["eve"])
		}},
		{"a stranger in a known name", func(w *ward, b *Bypass) {
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, b.ApprovedAt), w.keys["eve"])
		}},
		{"approved by the same person, spelled otherwise", func(w *ward, b *Bypass) {
			signer, person := newPerson(w.t, "Ann")
			w.rules.People.List = append(w.rules.People.List, person)
			w.restart()
			b.ApprovedBy = "Ann"
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, b.ApprovedAt), signer)
		}},
		{"an approval of another request", func(w *ward, b *Bypass) {
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, "another", b.ApprovedAt), w.keys["bob"])
		}},
		{"longer than the longest", func(w *ward, b *Bypass) {
			b.For = 5 * time.Hour
			b.request, _ = ledger.Sign(requestText(w.rules.Origin, *b), w.keys["ann"])
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, b.ApprovedAt), w.keys["bob"])
		}},
		{"approved long after", func(w *ward, b *Bypass) {
			b.RequestedAt = b.ApprovedAt.Add(-Lapse - time.Second)
			b.request, _ = ledger.Sign(requestText(w.rules.Origin, *b), w.keys["ann"])
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, b.ApprovedAt), w.keys["bob"])
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWard(t)
			b := Bypass{ID: "B1", App: "fhir", For: 30 * time.Minute, Reason: "down", RequestedBy: "ann", RequestedAt: noon, ApprovedBy: "bob", ApprovedAt: noon}
			b.request, _ = ledger.Sign(requestText(w.rules.Origin, b), w.keys["ann"])
			b.approval, _ = ledger.Sign(approvalText(w.rules.Origin, b.request, noon), w.keys["bob"])
			row.forge(w, &b)
			err := w.change(func(l *Ledger) error {
				err := l.append(entry{Link: ledger.Link{ID: b.ID}, Request: &ledger.Signature{By: b.RequestedBy, Note: b.request}})
				return errors.Join(err, l.append(entry{Link: ledger.Link{ID: b.ID}, Approve: &ledger.Signature{By: b.ApprovedBy, Note: b.approval}}))
			})
			if err != nil {
				t.Fatal(err)
			}
			w.pass(time.Minute)
			if w.control.Bypassed("fhir") || w.control.Bypassed("ui") || len(w.records) > 0 {
				t.Errorf("in force: %+v", w.control.InForce())
			}
		})
	}
}

// TestGW19EntryThatWasTakenOutShows: the time that was used cannot be given back.
func TestGW19EntryThatWasTakenOutShows(t *testing.T) {
	w := newWard(t)
	w.begin(30 * time.Minute)
	w.pass(10 * time.Minute)
	entries, err := journal.ReadLedger(w.path)
	if err != nil {
		t.Fatal(err)
	}
	w.path += ".forged"
	forged, _, err := journal.OpenLedger(w.path)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if i != len(entries)-2 {
			err = errors.Join(err, forged.Append(e))
		}
	}
	if err := errors.Join(err, forged.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(w.path, w.rules); !errors.Is(err, ErrFile) {
		t.Errorf("believed: %v", err)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	w := newWard(t)
	for _, row := range []struct {
		name   string
		change func(*Bypass)
		want   string
	}{
		{"no application", func(b *Bypass) { b.App = "" }, "names no application"},
		{"no reason", func(b *Bypass) { b.Reason = " " }, "a reason is needed"},
		{"a number", func(b *Bypass) { b.Reason = "cannot open 999 000 0018" }, "name no patient"},
		{"two lines", func(b *Bypass) { b.Reason = "one\ntwo" }, "one line"},
		{"long", func(b *Bypass) { b.Reason = strings.Repeat("x", ledger.MaxReason+1) }, "longer than 400 characters"},
		{"too long", func(b *Bypass) { b.For = 4*time.Hour + 1 }, "must last from 1m0s to 4h0m0s"},
		{"too short", func(b *Bypass) { b.For = time.Second }, "must last from 1m0s to 4h0m0s"},
	} {
		b := Bypass{App: "fhir", For: time.Hour, Reason: "down", RequestedBy: "ann", RequestedAt: noon}
		row.change(&b)
		err := w.change(func(l *Ledger) error { _, err := l.Request(b, w.keys["ann"]); return err })
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// TestOneBypassAtATime: a second one of the same application is not approved
// while one is in force.
func TestOneBypassAtATime(t *testing.T) {
	w := newWard(t)
	w.begin(time.Hour)
	id, err := w.request("bob", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.approve(id, "ann"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "end that one first") {
		t.Errorf("approved: %v", err)
	}
}
