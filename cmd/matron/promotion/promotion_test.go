package promotion

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/policy/rego"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

func start() time.Time { return time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC) }

func person(sub string) Who {
	return Who{Issuer: "https://id.example", Sub: sub, Person: "p-" + sub, Name: strings.ToUpper(sub)}
}

// bench is a gateway's rules: A in force and B in the store.
type bench struct {
	t       *testing.T
	cfg     DeskConfig
	desk    *Desk
	now     time.Time
	records []string
	fails   error // of Record
	a, b    string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: start()}
	dir, rules := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"rules.rego":      "package matron\n\ndefault allow := false\n\nallow if input.subject.known == true\n\ndecision := {\"allow\": allow, \"effect\": \"deny\", \"reasons\": []}\n",
		"rules_test.rego": "package matron_test\n\nimport data.matron\n\ntest_known if matron.allow with input as {\"subject\": {\"known\": true}}\n",
		"roles.yaml":      "roles: {}\n",
	} {
		if err := os.WriteFile(filepath.Join(rules, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.cfg = DeskConfig{
		Path: filepath.Join(dir, "promotions.ledger"), Store: Store{filepath.Join(dir, "bundles")},
		Now: func() time.Time { return b.now }, Log: slog.New(slog.DiscardHandler),
		Record: func(_ context.Context, r *audit.Record) error {
			if b.fails == nil {
				b.records = append(b.records, r.Action)
			}
			return b.fails
		},
	}
	l, err := Adopt(t.Context(), b.cfg, rules)
	if err != nil {
		t.Fatal(err)
	}
	b.a = l.Active()
	if b.cfg.Engine, err = rego.New(t.Context(), rego.Config{Dir: rules}); err != nil {
		t.Fatal(err)
	}
	alter(t, filepath.Join(rules, "roles.yaml"), "# Another.\n")
	if b.b, err = b.cfg.Store.Keep(rules); err != nil {
		t.Fatal(err)
	}
	b.desk = NewDesk(b.cfg)
	return b
}

func alter(t *testing.T, path, more string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, more...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// verdict is one under which B could be promoted.
func (b *bench) verdict(change ...func(*Verdict)) Verdict {
	b.t.Helper()
	v := Verdict{
		Candidate: b.b, Base: b.a, From: b.now.Add(-7 * 24 * time.Hour), To: b.now, MadeAt: b.now, MadeBy: "ops",
		Report: replay.Report{Decisions: 10, Groups: []replay.Group{}},
	}
	for _, c := range change {
		c(&v)
	}
	sealed, err := v.Sealed(secret)
	if err != nil {
		b.t.Fatal(err)
	}
	return sealed
}

func (b *bench) stage(v Verdict) (string, error) {
	b.t.Helper()
	l, err := Open(b.cfg.Path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			b.t.Error(err)
		}
	}()
	p, _, err := l.Stage(b.b, v, Act{By: Who{Account: "ops"}, At: b.now, Reason: "as agreed"})
	return p.ID, err
}

// wants says what an error must be: nil for "".
func wants(t *testing.T, err error, why string) {
	t.Helper()
	switch {
	case why == "" && err != nil:
		t.Errorf("refused: %v", err)
	case why != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), why)):
		t.Errorf("%v, want a refusal with %q", err, why)
	}
}

func because(who Who) Act { return Act{By: who, Reason: "as agreed"} }

// The verdict must be about these rules and those in force, young, long enough, and
// nobody may have changed it.
// hazard:GW-23 control:C-182
func TestGW11StagingDemandsAVerdict(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		why    string
		change func(*Verdict)
	}{
		{"is about the rules other", func(v *Verdict) { v.Candidate = "other" }},
		{"compares with the rules other", func(v *Verdict) { v.Base = "other" }},
		{"older than 7 days", func(v *Verdict) { v.MadeAt = b.now.Add(-VerdictAge - time.Minute) }},
		{"in the future", func(v *Verdict) { v.MadeAt = b.now.Add(time.Hour) }},
		{"less than a day", func(v *Verdict) { v.From = v.To.Add(-time.Hour) }},
		{"a time that ended at", func(v *Verdict) { v.From, v.To = v.From.AddDate(0, -1, 0), v.To.AddDate(0, -1, 0) }},
	} {
		_, err := b.stage(b.verdict(c.change))
		wants(t, err, c.why)
	}
	v := b.verdict()
	_, err := b.stage(v)
	wants(t, err, "")
	_, err = b.stage(v)
	wants(t, err, "is staged already")
}

// hazard:GW-23 control:C-182
func TestVerdictThatWasChangedIsRefused(t *testing.T) {
	b := newBench(t)
	whole, err := json.Marshal(b.verdict(func(v *Verdict) { v.CareDenied, v.NewlyDenied = 4, 9 }))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadVerdict(bytes.NewReader(whole), secret)
	if err != nil || got.CareDenied != 4 {
		t.Fatalf("%+v %v", got, err)
	}
	for name, text := range map[string]string{
		"a number":    strings.Replace(string(whole), `"newly_denied_care":4`, `"newly_denied_care":0`, 1),
		"no seal":     strings.Replace(string(whole), got.Seal, "", 1),
		"more fields": strings.Replace(string(whole), `{"format"`, `{"more":1,"format"`, 1),
		"two":         string(whole) + string(whole),
		"other text":  "newly denied: 0",
		"nothing":     "",
	} {
		if _, err := ReadVerdict(strings.NewReader(text), secret); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadVerdict(bytes.NewReader(whole), bytes.ToUpper(secret)); !errors.Is(err, ErrRefused) {
		t.Errorf("another gateway's: %v", err)
	}
}

// Two people who are not one, and the mark of a third where care could be hindered.
// hazard:GW-11 control:C-88
func TestGW11TwoPeopleAndTheMark(t *testing.T) {
	ann, bob, cso := person("ann"), person("bob"), person("cso")
	again := ann // the same person under another account
	again.Sub, again.Person = "ann2", "P-ANN"
	care := func(v *Verdict) { v.NewlyDenied, v.CareDenied = 3, 1 }
	for _, c := range []struct {
		name               string
		verdict            func(*Verdict)
		propose, mark, end Who
		approve            Who
		why                string
	}{
		{name: "two", propose: ann, approve: bob},
		{name: "nobody proposed", approve: bob, why: "nobody has proposed"},
		{name: "one twice", propose: ann, approve: ann, why: "by somebody else than ANN"},
		{name: "one with two accounts", propose: ann, approve: again, why: "by somebody else than ANN"},
		{name: "nobody approves", propose: ann, approve: Who{}, why: "by somebody else"},
		{name: "care without a mark", verdict: care, propose: ann, approve: bob, why: "must mark it first"},
		{name: "care with a mark", verdict: care, propose: ann, mark: cso, approve: bob},
		{name: "care marked by who proposed", verdict: care, propose: ann, mark: ann, approve: bob, why: "must mark it first"},
		{name: "nothing replayed", verdict: func(v *Verdict) { v.Decisions = 0 }, propose: ann, approve: bob, why: "must mark it first"},
		{name: "taken back", propose: ann, end: bob, approve: bob, why: "was taken back by BOB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			if c.verdict == nil {
				c.verdict = func(*Verdict) {}
			}
			id, err := b.stage(b.verdict(c.verdict))
			if err != nil {
				t.Fatal(err)
			}
			if c.propose.Sub != "" {
				wants(t, b.desk.Propose(t.Context(), id, because(c.propose)), "")
			}
			if c.mark.Sub != "" {
				_ = b.desk.Mark(t.Context(), id, because(c.mark)) // may be refused
			}
			if c.end.Sub != "" {
				wants(t, b.desk.Withdraw(t.Context(), id, because(c.end)), "")
			}
			wants(t, b.desk.Approve(t.Context(), id, because(c.approve)), c.why)
			want := b.b
			if c.why != "" {
				want = b.a
			}
			if is := b.cfg.Engine.Revision(); is != want {
				t.Errorf("in force: %s, want %s", is, want)
			}
		})
	}
}

// What is not recorded does not happen, and what happens is on disk: a restart finds
// it.
func TestGW17NoRecordNoChange(t *testing.T) {
	b := newBench(t)
	id, err := b.stage(b.verdict())
	if err != nil {
		t.Fatal(err)
	}
	wants(t, b.desk.Propose(t.Context(), id, because(person("ann"))), "")
	b.fails = errors.New("disk full")
	if err := b.desk.Approve(t.Context(), id, because(person("bob"))); !errors.Is(err, b.fails) {
		t.Errorf("unrecorded: %v", err)
	}
	l, err := Read(b.cfg.Path)
	if err != nil || l.Active() != b.a || b.cfg.Engine.Revision() != b.a {
		t.Fatalf("%v, in force %s and %s", err, l.Active(), b.cfg.Engine.Revision())
	}
	b.fails = nil
	b.now = b.now.Add(VerdictAge + time.Hour) // a verdict ages while it waits
	wants(t, b.desk.Approve(t.Context(), id, because(person("bob"))), "older than 7 days")
	b.now = start().Add(time.Hour)
	wants(t, b.desk.Approve(t.Context(), id, because(person("bob"))), "")
	dir, fault, err := b.started()
	if err != nil || fault != nil || dir != b.cfg.Store.Path(b.b) {
		t.Errorf("after a restart: %s, %v, %v", dir, fault, err)
	}
	alter(t, filepath.Join(b.cfg.Store.Path(b.b), "roles.yaml"), "# altered\n")
	if dir, fault, err = b.started(); err != nil || fault == nil || dir != b.cfg.Store.Path(b.a) {
		t.Errorf("after an alteration: %s, %v, %v", dir, fault, err)
	}
}

func (b *bench) started() (dir string, fault, err error) {
	l, err := Read(b.cfg.Path)
	if err != nil {
		return "", nil, err
	}
	return Start(b.t.Context(), l, b.cfg.Store)
}

// A rollback leads back, never forward to what was taken back.
// hazard:GW-23 control:C-183
func TestRollBackLeadsBack(t *testing.T) {
	b := newBench(t)
	id, err := b.stage(b.verdict())
	if err != nil {
		t.Fatal(err)
	}
	wants(t, b.desk.RollBack(t.Context(), because(person("ann"))), "no rules were promoted")
	wants(t, b.desk.Propose(t.Context(), id, because(person("ann"))), "")
	wants(t, b.desk.Approve(t.Context(), id, because(person("bob"))), "")
	wants(t, b.desk.RollBack(t.Context(), Act{By: person("ann")}), "a reason is needed")
	wants(t, b.desk.RollBack(t.Context(), Act{By: person("ann"), Reason: "of 999 000 0018"}), "name no patient")
	l, err := Open(b.cfg.Path) // as the command does
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.RollBack(Act{By: Who{Account: "ops"}, At: b.now, Reason: "as agreed"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b.desk.look(t.Context())
	if b.cfg.Engine.Revision() != b.a || b.desk.Wrong() != "" {
		t.Errorf("in force: %s, %s", b.cfg.Engine.Revision(), b.desk.Wrong())
	}
	wants(t, b.desk.RollBack(t.Context(), because(person("ann"))), "no rules were promoted")
	want := "adopt propose approve in-force"
	if got := strings.Join(b.records, " "); got != want {
		t.Errorf("records: %s, want %s", got, want)
	}
}

// A file that cannot be believed changes nothing that is in force.
func TestDamagedFileIsRefused(t *testing.T) {
	b := newBench(t)
	id, err := b.stage(b.verdict())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(text, []byte(`"account":"ops"`), []byte(`"account":"eve"`), 1)
	if err := os.WriteFile(b.cfg.Path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.desk.Propose(t.Context(), id, because(person("ann"))); !errors.Is(err, ErrFile) {
		t.Errorf("damaged: %v", err)
	}
	b.desk.look(t.Context())
	if b.cfg.Engine.Revision() != b.a || b.desk.Wrong() == "" {
		t.Errorf("in force: %s, %q", b.cfg.Engine.Revision(), b.desk.Wrong())
	}
}

// What was altered after it was staged is not put in force.
// hazard:GW-23 control:C-182
func TestAlteredCandidateIsRefused(t *testing.T) {
	b := newBench(t)
	id, err := b.stage(b.verdict())
	if err != nil {
		t.Fatal(err)
	}
	wants(t, b.desk.Propose(t.Context(), id, because(person("ann"))), "")
	alter(t, filepath.Join(b.cfg.Store.Path(b.b), "roles.yaml"), "# altered\n")
	wants(t, b.desk.Approve(t.Context(), id, because(person("bob"))), "were altered")
	if b.cfg.Engine.Revision() != b.a {
		t.Error("altered rules are in force")
	}
}

// TestNothingThatAPromotionNamesIsPruned: what is, was or may come in force stays,
// however old it is.
func TestNothingThatAPromotionNamesIsPruned(t *testing.T) {
	b := newBench(t)
	if _, err := b.stage(b.verdict()); err != nil {
		t.Fatal(err)
	}
	store := b.cfg.Store
	for i := range 4 { // newer than those
		dir, came := store.Path(fmt.Sprintf("%032x", i)), time.Now().Add(time.Duration(i+1)*time.Hour)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chtimes(dir, came, came)); err != nil {
			t.Fatal(err)
		}
	}
	l, err := Read(b.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Prune(1, l.Revisions()...); err != nil {
		t.Fatal(err)
	}
	if !store.Holds(b.a) || !store.Holds(b.b) {
		t.Error("what a promotion names is gone")
	}
	kept, err := os.ReadDir(store.Dir)
	if err != nil || len(kept) != 3 || kept[0].Name() != fmt.Sprintf("%032x", 3) {
		t.Errorf("%v are kept (%v)", kept, err)
	}
}
