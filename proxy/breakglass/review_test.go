package breakglass_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy/breakglass"
)

func (w *ward) who(name string) policy.Subject { return w.people.set(name, func(*policy.Subject) {}) }

// only is the one grant in the queue.
func (w *ward) only() breakglass.Grant {
	w.t.Helper()
	found, err := w.Queue(w.t.Context())
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%d in the queue, %v", len(found), err)
	}
	return found[0]
}

// The last word takes a grant off the list, once, and never by its own person.
func TestGrantIsJudgedOnce(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	g := w.only()
	judge := func(who string, v breakglass.Verdict) error {
		return w.Judge(t.Context(), w.who(who), g.ID, v, "asked")
	}
	if err := judge("ada", breakglass.Justified); !errors.Is(err, breakglass.ErrOwnGrant) {
		t.Errorf("their own: %v", err)
	}
	if err := judge("ben", "fine"); !errors.Is(err, breakglass.ErrVerdict) {
		t.Errorf("no verdict: %v", err)
	}
	if err := w.Judge(t.Context(), w.who("ben"), "BG-NONE", breakglass.Justified, ""); !errors.Is(err, breakglass.ErrNoGrant) {
		t.Errorf("no grant: %v", err)
	}
	if err := judge("ben", breakglass.NeedsTalk); err != nil || !w.only().Judged.IsZero() {
		t.Errorf("a talk is the last word: %v", err)
	}
	w.offset.Store(int64(time.Minute))
	if err := judge("ben", breakglass.NotJustified); err != nil || w.only().Judged.IsZero() {
		t.Errorf("%v", err)
	}
	if err := judge("ben", breakglass.Justified); !errors.Is(err, breakglass.ErrJudgedElse) {
		t.Errorf("twice: %v", err)
	}
	_, reviews, err := w.Find(t.Context(), g.ID)
	var verdicts []breakglass.Verdict
	for _, r := range reviews {
		verdicts = append(verdicts, r.Verdict)
	}
	if diff := cmp.Diff([]breakglass.Verdict{breakglass.NeedsTalk, breakglass.NotJustified}, verdicts); diff != "" || err != nil || reviews[0].Person != "p-ben" {
		t.Errorf("%v %s %+v", err, diff, reviews)
	}
	w.offset.Store(int64(31 * 24 * time.Hour))
	if found, err := w.Queue(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("it is listed for ever: %d %v", len(found), err)
	}
}

// hazard:GW-09 control:C-39
func TestQueueIsOldestFirst(t *testing.T) {
	w := newWard(t)
	for i, patient := range []string{"1", "2", "3"} {
		w.offset.Store(int64(time.Duration(i) * time.Minute))
		w.breaks("ada", patient)
	}
	found, _ := w.Queue(t.Context())
	if err := w.Judge(t.Context(), w.who("ben"), found[0].ID, breakglass.Justified, ""); err != nil {
		t.Fatal(err)
	}
	found, err := w.Queue(t.Context())
	var order []string
	for _, g := range found {
		order = append(order, g.Patient.ID)
	}
	if diff := cmp.Diff([]string{"2", "3", "1"}, order); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// Care explains a grant once it is known, never before, and only one that care would
// have prevented.
func TestCareExplainsOnceItIsKnown(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	began := w.now()
	var since time.Time
	var asked []time.Time
	explained := func(g breakglass.Grant, at time.Time) (string, bool) {
		asked = append(asked, at)
		if since.IsZero() || since.After(at) || g.Patient.ID != "4711" || g.Person != "p-ada" {
			return "", false
		}
		return "ward-stay", true
	}
	explain := func(want int) {
		t.Helper()
		if n, err := w.Explain(t.Context(), explained); err != nil || n != want {
			t.Errorf("marked %d, %v", n, err)
		}
	}
	explain(0)
	w.offset.Store(int64(time.Hour))
	since = w.now().Add(time.Minute)
	explain(0) // it begins only in a minute
	if !w.only().Explained.IsZero() {
		t.Error("explained before it is known")
	}
	w.offset.Store(int64(2 * time.Hour))
	explain(1)
	explain(0)
	if g := w.only(); !g.Explained.Equal(w.now()) || g.Evidence != "ward-stay" || !g.Judged.IsZero() {
		t.Errorf("%+v", g)
	}
	if latest := slices.MaxFunc(asked, time.Time.Compare); latest.After(w.now()) {
		t.Errorf("asked about the future: %s", latest)
	}

	// Care that begins more than a day later explains nothing, nor does care where it
	// was something else that was missing.
	for name, change := range map[string]func(w *ward){
		"a day later": func(*ward) { since = began.Add(25 * time.Hour) },
		"too weak a sign-in": func(*ward) {
			since = began.Add(-time.Hour)
		},
	} {
		w := newWard(t)
		r := w.refused("ada", "4711")
		if name != "a day later" {
			r.Reasons = []policy.Reason{{Code: "assurance-too-low", Text: "x", Remedy: "y"}}
		}
		w.ask(w.Service, "ada", "POST", w.Offer(t.Context(), r), emergency())
		change(w)
		w.offset.Store(int64(48 * time.Hour))
		if n, err := w.Explain(t.Context(), explained); err != nil || n != 0 {
			t.Errorf("%s: marked %d, %v", name, n, err)
		}
	}
}

// What the probe does is not looked at and not written about.
func TestProbeIsNotLookedAt(t *testing.T) {
	w := newWard(t)
	w.people.set("probe", func(s *policy.Subject) { s.Issuer, s.Sub, s.Machine = policy.ProbeIssuer, "probe", true })
	w.breaks("probe", "9990000018")
	found, err := w.Queue(t.Context())
	n, _, errWaiting := w.Waiting(t.Context())
	if err != nil || errWaiting != nil || len(found) != 0 || n != 0 {
		t.Errorf("%d in the queue, %d notices, %v %v", len(found), n, err, errWaiting)
	}
}

// A notice goes out once, names the grant and no patient, and is tried again later and
// later until it does.
// hazard:GW-09 control:C-38
func TestNoticesGoOut(t *testing.T) {
	w := newWard(t)
	w.officer = "privacy@example.org"
	w.Service = w.gateway(w.db)
	w.breaks("ada", "4711")
	g := w.only()
	fails := true
	var sent []breakglass.Notice
	send := func(_ context.Context, n breakglass.Notice) error {
		sent = append(sent, n)
		if fails {
			return errors.New("no route")
		}
		return nil
	}
	deliver := func(want int) {
		t.Helper()
		sent = nil
		if err := w.Deliver(t.Context(), send); err != nil || len(sent) != want {
			t.Errorf("%d tried, want %d, %v", len(sent), want, err)
		}
	}
	deliver(2)
	deliver(0)
	w.offset.Store(int64(time.Minute))
	deliver(2)
	w.offset.Store(int64(2 * time.Minute))
	deliver(0) // two minutes this time
	if n, since, err := w.Waiting(t.Context()); err != nil || n != 2 || !since.Equal(g.Began) {
		t.Errorf("%d wait since %s, %v", n, since, err)
	}
	fails = false
	w.offset.Store(int64(4 * time.Minute))
	deliver(2)
	readers := map[breakglass.Reader]string{}
	for _, n := range sent {
		readers[n.Reader] = n.Address
		if n.Grant != g.ID || !n.Began.Equal(g.Began) {
			t.Errorf("%+v", n)
		}
	}
	if diff := cmp.Diff(map[breakglass.Reader]string{breakglass.Accessor: "ada@example.org", breakglass.Officer: "privacy@example.org"}, readers); diff != "" {
		t.Error(diff)
	}
	w.offset.Store(int64(time.Hour))
	deliver(0)
	if n, _, err := w.Waiting(t.Context()); err != nil || n != 0 {
		t.Errorf("%d wait, %v", n, err)
	}
	var kept int
	if err := w.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM breakglass_notice WHERE address <> ''`).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d addresses kept, %v", kept, err)
	}
	if strings.Contains(w.logged.String(), "example.org") {
		t.Error("the log names an address")
	}
}
