package incident

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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

// hospital is a gateway's incidents with two clocks that the test moves.
type hospital struct {
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

func newHospital(t *testing.T) *hospital {
	h := &hospital{t: t, path: filepath.Join(t.TempDir(), "incident.ledger"), keys: map[string]note.Signer{}, now: host.Reading{Wall: noon}}
	h.rules = Rules{Origin: "matron/RZZ/gw1", Longest: 12 * time.Hour}
	for _, name := range []string{"ann", "eve"} {
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
		if h.keys[name], err = merkle.ParseSigner(secret); err != nil {
			t.Fatal(err)
		}
		key, err := merkle.ParseVerifier(public)
		if err != nil {
			t.Fatal(err)
		}
		if name != "eve" { // she has a key and is not on call
			h.rules.People.List = append(h.rules.People.List, ledger.Person{Name: name, Key: key})
		}
	}
	h.restart()
	return h
}

// restart is the gateway ended and started again.
func (h *hospital) restart() {
	h.now.Mono = 0
	h.control = NewControl(ControlConfig{
		Path: h.path, Rules: h.rules, Read: func() host.Reading { return h.now }, Log: slog.New(slog.DiscardHandler), Record: h.record,
	})
	h.control.Look(h.t.Context())
}

func (h *hospital) record(_ context.Context, r *audit.Record) error {
	if h.control != nil && r.Action == "begin" {
		for _, i := range h.control.InForce() {
			if slices.Contains(r.Detail, "incident="+i.ID) {
				h.t.Error("limits were lifted before the record of that was durable")
			}
		}
	}
	if h.failing == nil {
		h.records = append(h.records, *r)
	}
	return h.failing
}

func (h *hospital) pass(d time.Duration) {
	h.now.Wall, h.now.Mono = h.now.Wall.Add(d), h.now.Mono+d
	h.control.Look(h.t.Context())
}

func (h *hospital) change(do func(*Ledger) error) error {
	h.t.Helper()
	l, err := Open(h.path, h.rules)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

func (h *hospital) declare(by string, d time.Duration) (id string, err error) {
	err = h.change(func(l *Ledger) error {
		i, err := l.Declare(Incident{For: d, Reason: "coach crash", DeclaredBy: by, DeclaredAt: h.now.Wall}, h.keys[by])
		id = i.ID
		return err
	})
	return id, err
}

func (h *hospital) begin() (id string) {
	h.t.Helper()
	id, err := h.declare("ann", time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	h.control.Look(h.t.Context())
	if !h.control.Lifted() {
		h.t.Fatal("declared, and limits are in force")
	}
	return id
}

func (h *hospital) actions() string {
	var all []string
	for _, r := range h.records {
		if r.Kind != audit.KindIncident || !strings.Contains(strings.Join(r.Detail, "\n"), "declared_by=ann") {
			h.t.Errorf("record %+v", r)
		}
		all = append(all, r.Action)
	}
	return strings.Join(all, " ")
}

// expect says whether limits are lifted and what is recorded so far.
func (h *hospital) expect(lifted bool, actions string) {
	h.t.Helper()
	if h.control.Lifted() != lifted || (len(h.control.InForce()) > 0) != lifted || h.actions() != actions {
		h.t.Errorf("lifted %t, records %q; want %t, %q", h.control.Lifted(), h.actions(), lifted, actions)
	}
}

// hazard:GW-25 control:C-196
func TestOnePersonOnCallLiftsLimits(t *testing.T) {
	h := newHospital(t)
	if _, err := h.declare("eve", time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("somebody who is not on call: %v", err)
	}
	ann := h.keys["ann"]
	h.keys["ann"] = h.keys["eve"]
	if _, err := h.declare("ann", time.Hour); !errors.Is(err, ErrRefused) {
		t.Errorf("with another's key: %v", err)
	}
	h.keys["ann"] = ann
	for _, d := range []time.Duration{time.Second, 13 * time.Hour} {
		if _, err := h.declare("ann", d); !errors.Is(err, ErrRefused) {
			t.Errorf("for %s: %v", d, err)
		}
	}
	h.expect(false, "")
	h.begin()
	h.expect(true, "begin")
	if r := h.records[0]; r.UserSub != "ann" || !strings.Contains(strings.Join(r.Detail, "\n"), "reason=coach crash") {
		t.Errorf("record %+v", r)
	}
}

// hazard:GW-25 control:C-197
func TestIncidentEndsByItself(t *testing.T) {
	h := newHospital(t)
	h.begin()
	h.now.Wall, h.now.Mono = h.now.Wall.Add(time.Hour-1), h.now.Mono+time.Hour-1
	if !h.control.Lifted() {
		t.Error("over before its time")
	}
	h.now.Wall, h.now.Mono = h.now.Wall.Add(1), h.now.Mono+1
	if h.control.Lifted() { // without anybody looking
		t.Error("lifted beyond its time")
	}
	h.pass(time.Second)
	h.expect(false, "begin end")
	h.now.Wall = noon // the clock is put back
	h.restart()
	h.expect(false, "begin end")
}

// TestClockThatIsPutBackDoesNotProlongAnIncident while the gateway runs.
// hazard:GW-25 control:C-197
func TestClockThatIsPutBackDoesNotProlongAnIncident(t *testing.T) {
	h := newHospital(t)
	h.begin()
	h.now.Wall = h.now.Wall.Add(-30 * time.Second)
	h.now.Mono += time.Hour
	if h.control.Lifted() {
		t.Error("lifted beyond its time by the clock that does not step")
	}
	h.control.Look(t.Context())
	h.expect(false, "begin end")
	h.pass(time.Second)
	h.expect(false, "begin end")
}

// hazard:GW-25 control:C-197
func TestIncidentSurvivesARestart(t *testing.T) {
	h := newHospital(t)
	h.begin()
	h.pass(20 * time.Minute)
	h.restart()
	h.expect(true, "begin begin")
	if d := strings.Join(h.records[1].Detail, "\n"); !strings.Contains(d, "again=true") || !strings.Contains(d, "left=40m0s") {
		t.Errorf("record of the restart: %s", d)
	}
	h.now.Wall = noon.Add(2 * time.Hour) // it is over while the gateway is down
	h.restart()
	h.expect(false, "begin begin end")
}

func TestAnybodyEndsAnIncident(t *testing.T) {
	h := newHospital(t)
	id := h.begin()
	err := h.change(func(l *Ledger) error {
		_, err := l.End(id, End{Reason: "stood down", By: "bob", At: h.now.Wall})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	h.pass(time.Second)
	h.expect(false, "begin end")
	if r := h.records[1]; r.UserSub != "bob" || !strings.Contains(strings.Join(r.Detail, "\n"), "end_reason=stood down") {
		t.Errorf("record %+v", r)
	}
	h.begin() // another one may be declared
}

// TestIncidentThatCannotBeRecordedLiftsNothing, until it can be.
// hazard:GW-25 control:C-196
func TestIncidentThatCannotBeRecordedLiftsNothing(t *testing.T) {
	h := newHospital(t)
	h.failing = errors.New("no disk")
	if _, err := h.declare("ann", time.Hour); err != nil {
		t.Fatal(err)
	}
	h.pass(time.Second)
	h.expect(false, "")
	h.failing = nil
	h.pass(time.Second)
	h.expect(true, "begin")
	h.failing = errors.New("no disk")
	h.pass(time.Hour)
	h.expect(false, "begin")
	h.failing = nil
	h.pass(time.Second)
	h.pass(time.Second)
	h.expect(false, "begin end")
}

func TestOneIncidentFollowsAnotherWithoutAGap(t *testing.T) {
	h := newHospital(t)
	h.begin()
	h.pass(30 * time.Minute)
	h.begin()
	h.pass(40 * time.Minute)
	h.expect(true, "begin begin end")
	h.pass(time.Hour)
	h.expect(false, "begin begin end end")
}

// TestFileThatCannotBeBelievedLiftsNothing: damaged, gone or forged.
func TestFileThatCannotBeBelievedLiftsNothing(t *testing.T) {
	for name, damage := range map[string]func(file []byte) []byte{
		"a changed byte at the start": func(b []byte) []byte { b[3] ^= 1; return b },
		"a changed byte in the note":  func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
		"the last bytes cut off":      func(b []byte) []byte { return b[:len(b)-5] },
		"gone":                        func([]byte) []byte { return nil },
	} {
		h := newHospital(t)
		h.begin()
		whole, err := os.ReadFile(h.path)
		if err != nil {
			t.Fatal(err)
		}
		if b := damage(bytes.Clone(whole)); b == nil {
			err = os.Remove(h.path)
		} else {
			err = os.WriteFile(h.path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		h.pass(time.Second)
		if h.control.Lifted() || h.actions() != "begin end" {
			t.Errorf("%s: lifted %t, records %q", name, h.control.Lifted(), h.actions())
		}
	}
	h := newHospital(t)
	h.begin()
	l, err := Read(h.path, h.rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(*Incident){
		"longer":    func(i *Incident) { i.For = 2 * time.Hour },
		"later":     func(i *Incident) { i.DeclaredAt = i.DeclaredAt.Add(time.Minute) },
		"reason":    func(i *Incident) { i.Reason = "another" },
		"by eve":    func(i *Incident) { i.DeclaredBy = "eve" },
		"unsigned":  func(i *Incident) { i.signed = text(h.rules.Origin, *i) },
		"elsewhere": func(i *Incident) { i.signed = strings.Replace(i.signed, "gw1", "gw2", 1) },
	} {
		forged := l.List[0]
		if err := l.Check(forged, h.now.Wall); err != nil {
			t.Fatal(err)
		}
		if forge(&forged); l.Check(forged, h.now.Wall) == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

func TestReasonsNameNobody(t *testing.T) {
	h := newHospital(t)
	for _, reason := range []string{"", "  ", "patient 999 000 0018", strings.Repeat("x", 401), "two\nlines"} {
		i := Incident{For: time.Hour, Reason: reason, DeclaredBy: "ann", DeclaredAt: h.now.Wall}
		if err := h.change(func(l *Ledger) error { _, err := l.Declare(i, h.keys["ann"]); return err }); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", reason, err)
		}
	}
}

// TestCommandsWaitForEachOther: a file that somebody is changing is not changed.
func TestCommandsWaitForEachOther(t *testing.T) {
	h := newHospital(t)
	l, err := Open(h.path, h.rules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(h.path, h.rules); !errors.Is(err, journal.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
