package hazardlog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/hazardlog"
)

func snapshot(t *testing.T, l hazardlog.Log) string {
	t.Helper()
	b, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFoldIsDeterministicAndLosesNothing makes random changes, right and wrong,
// and holds after each: the log is the fold of its events, folding in pieces is
// folding at once, nothing that was ever there has gone, no id came twice, and
// every earlier state can be had again.
func TestFoldIsDeterministicAndLosesNothing(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 7))
		b := newBook(t)
		var states []string
		there := map[string]bool{}
		for range 60 {
			before := len(b.Events())
			_ = b.try(engineer(), randomChange(random, b)) // may be refused
			events := b.Events()
			if len(events) < before || len(events) > before+1 {
				t.Fatalf("seed %d: %d events after %d", seed, len(events), before)
			}
			for id := range there {
				if !holds(b.Log, id) {
					t.Fatalf("seed %d: %s is gone", seed, id)
				}
			}
			for _, h := range b.Hazards {
				there[h.ID] = true
			}
			for _, c := range b.Controls {
				there[c.ID] = true
			}
			if len(events) > before {
				states = append(states, snapshot(t, b.Log))
			}
		}
		whole, err := hazardlog.Fold(b.Events())
		if err != nil {
			t.Fatal(err)
		}
		cut := random.IntN(len(b.Events()))
		part, err := b.At(uint64(cut))
		if err != nil {
			t.Fatal(err)
		}
		resumed, err := part.Resume(b.Events()[cut:])
		if err != nil {
			t.Fatal(err)
		}
		for name, l := range map[string]hazardlog.Log{"folded": whole, "resumed": resumed} {
			if diff := cmp.Diff(snapshot(t, b.Log), snapshot(t, l)); diff != "" {
				t.Fatalf("seed %d, %s: %s", seed, name, diff)
			}
		}
		for i, want := range states {
			then, err := b.At(uint64(i + 2)) // after the opening
			if err != nil || snapshot(t, then) != want {
				t.Fatalf("seed %d: the state after event %d cannot be had again: %v", seed, i+2, err)
			}
		}
		ids, subjects := map[string]bool{}, map[string]bool{}
		for _, e := range b.Events() {
			if ids[e.ID] || (e.Act == hazardlog.Raise && subjects[e.Subject.String()]) {
				t.Fatalf("seed %d: %s or %s came twice", seed, e.ID, e.Subject)
			}
			ids[e.ID], subjects[e.Subject.String()] = true, true
		}
	}
}

func holds(l hazardlog.Log, id string) bool {
	_, isHazard := l.Find(id)
	_, isControl := l.Control(id)
	return isHazard || isControl
}

func randomChange(random *rand.Rand, b *book) hazardlog.Change {
	id := fmt.Sprintf("GW-%02d", 1+random.IntN(6))
	c := control(fmt.Sprintf("C-%02d", 1+random.IntN(6)), id)
	h, ok := b.Find(id)
	if !ok {
		h = hazard(id)
	}
	change := hazardlog.Change{Act: hazardlog.Raise, Expect: uint64(random.IntN(3))}
	switch random.IntN(5) {
	case 0:
		change.Value = h
	case 1:
		change.Value = c
	case 2:
		h.Causes = append(slices.Clip(h.Causes), fmt.Sprint("another cause ", random.IntN(100)))
		change.Act, change.Value = hazardlog.Edit, h
	case 3:
		h.Residual = rating([]hazardlog.Severity{"Major", "Minor", "Huge"}[random.IntN(3)], "Low")
		change.Act, change.Value = hazardlog.Rate, h
	default:
		change.Value, change.Expect = h, b.Revision(h.Subject())
		if change.Expect > 0 {
			h.Name += " again"
			change.Act, change.Value = hazardlog.Edit, h
		}
	}
	return change
}

// A sequence that somebody altered, cut or mended is refused.
// hazard:GW-32 control:C-233
func TestFoldRefusesWhatWasAltered(t *testing.T) {
	b := sound(t)
	b.approve("1.0")
	for name, alter := range map[string]func(e []hazardlog.Event) []hazardlog.Event{
		"one is missing":      func(e []hazardlog.Event) []hazardlog.Event { return slices.Delete(e, 2, 3) },
		"the first is gone":   func(e []hazardlog.Event) []hazardlog.Event { return e[1:] },
		"one stands twice":    func(e []hazardlog.Event) []hazardlog.Event { return slices.Insert(e, 2, e[2]) },
		"two are exchanged":   func(e []hazardlog.Event) []hazardlog.Event { e[1], e[2] = e[2], e[1]; return e },
		"a word is other":     func(e []hazardlog.Event) []hazardlog.Event { e[1].Why = "another"; return e },
		"a value is other":    func(e []hazardlog.Event) []hazardlog.Event { e[2].Value = e[1].Value; return e },
		"a subject is other":  func(e []hazardlog.Event) []hazardlog.Event { e[4].Subject.ID = "9.9"; return e },
		"a revision jumps":    func(e []hazardlog.Event) []hazardlog.Event { e[4].Revision = 2; return e },
		"a number jumps":      func(e []hazardlog.Event) []hazardlog.Event { e[4].Seq = 9; return e },
		"it is another log's": func(e []hazardlog.Event) []hazardlog.Event { e[4].Log = "other"; return e },
		"not JSON":            func(e []hazardlog.Event) []hazardlog.Event { e[4].Value = json.RawMessage(`{`); return e },
	} {
		if _, err := hazardlog.Fold(alter(b.Events())); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := hazardlog.Fold(b.Events()); err != nil {
		t.Errorf("unaltered: %v", err)
	}
}

// Two people change one hazard: the second is told what the first did, and
// nothing is overwritten.
func TestAConflictSaysWhoChangedWhat(t *testing.T) {
	b := sound(t)
	h, _ := b.Find("GW-01")
	mine := b.change(hazardlog.Edit, h, "")
	h.Harm = "A patient dies of anaphylaxis."
	b.must(hazardlog.Actor{Issuer: "os", Account: "carol", Name: "Carol"}, b.change(hazardlog.Edit, h, "clearer"))
	h.Name = "Mine"
	mine.Value = h
	err := b.try(engineer(), mine)
	var conflict hazardlog.Conflict
	if !errors.Is(err, hazardlog.ErrConflict) || !errors.As(err, &conflict) || len(conflict.Since) != 1 {
		t.Fatalf("error %v", err)
	}
	want := `GW-01 was changed by somebody else in the meantime:
  GW-01 harm: “A patient is given a drug that they are allergic to.” → “A patient dies of anaphylaxis.”, by Carol on 26 November 2026, because: clearer
Look at it again, then repeat your change.`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if now, _ := b.Find("GW-01"); now.Name == "Mine" || now.Harm != h.Harm {
		t.Errorf("overwritten: %+v", now)
	}
	b.refused(engineer(), "has revision 3, not 9", hazardlog.Change{Act: hazardlog.Edit, Value: h, Expect: 9})
	if err := b.try(engineer(), hazardlog.Change{Act: hazardlog.Raise, Value: hazard("GW-01")}); !errors.Is(err, hazardlog.ErrConflict) {
		t.Errorf("an id used again: %v", err)
	}
}

// A change may change what its act is for, and nothing else.
// hazard:GW-32 control:C-235
func TestWhatMayBeChanged(t *testing.T) {
	b := sound(t)
	h, _ := b.Find("GW-01")
	edited := func(do func(h *hazardlog.Hazard)) hazardlog.Hazard {
		x := h
		do(&x)
		return x
	}
	software := hazardlog.Actor{Issuer: hazardlog.SoftwareIssuer, Account: "matron"}
	claimed := officer()
	claimed.Proof = nil
	unaccepted := hazardlog.Acceptance{}
	for _, c := range []struct {
		name  string
		by    hazardlog.Actor
		act   hazardlog.Act
		value hazardlog.Value
		want  string
	}{
		{"a rating in passing", engineer(), hazardlog.Edit, edited(func(h *hazardlog.Hazard) { h.Residual.Likelihood = "Low" }), `residual.likelihood: is not changed by "edit" but by "rate"`},
		{"words in passing", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Harm = "None." }), `harm: is not changed by "rate" but by "edit"`},
		{"a status in passing", engineer(), hazardlog.Edit, edited(func(h *hazardlog.Hazard) { h.Status = hazardlog.Closed }), `by "edit" but by "move"`},
		{"an engineer assesses", engineer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual.Likelihood = "Low"; h.Acceptance = unaccepted }), "only a clinical safety officer"},
		{"an officer without proof", claimed, hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual.Likelihood = "Low"; h.Acceptance = unaccepted }), "has not proved who they are"},
		{"in another's name", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual.By = "Dr Other"; h.Acceptance = unaccepted }), "only a clinical safety officer"},
		{"software rates", software, hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual = rating("Minor", "Low"); h.Acceptance = unaccepted }), "software may propose, and nothing else"},
		{"an accepted risk grows", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual.Likelihood = "Very High" }), "acceptance: was given for Major x Very Low = 2"},
		{"risk 5 is accepted", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual.Likelihood = "Very High"; h.Acceptance.Reason = "other" }), "risk 5 cannot be accepted"},
		{"without a reason", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Acceptance.Reason = " " }), "acceptance.reason: risk 2 may stay only where"},
		{"what nobody rated is accepted", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) { h.Residual = hazardlog.Rating{}; h.Acceptance.Reason = "other" }), "is not assessed by a clinician"},
		{"a severity against its consequence", officer(), hazardlog.Rate, edited(func(h *hazardlog.Hazard) {
			h.Initial.Consequence, h.Initial.Patients = "death", hazardlog.SeveralPatients
		}), "is Major, but death for several patient(s) is Catastrophic in DCB0129 version 4.2"},
		{"a condition", engineer(), hazardlog.Edit, edited(func(h *hazardlog.Hazard) { h.Conditions = []hazardlog.Condition{"odd"} }), `conditions[0]: is "odd"`},
		{"a day", engineer(), hazardlog.Edit, edited(func(h *hazardlog.Hazard) { h.Review = "2026-02-30" }), "is no day"},
		{"a control of nothing", engineer(), hazardlog.Raise, control("C-09", "GW-77"), `there is no hazard "GW-77"`},
		{"an unfounded none", engineer(), hazardlog.Raise, func() hazardlog.Value { c := control("C-09", "GW-01"); c.NewHazards.Reason = ""; return c }(), "new_hazards.reason: is empty"},
		{"a log twice", engineer(), hazardlog.OpenLog, b.Head, "a log begins with its head, once"},
		{"an answer by nobody", engineer(), hazardlog.Raise, hazardlog.Transfer{ID: "T-01", Hazard: "GW-01", Condition: "Train staff", To: "Trust", State: hazardlog.Accepted, By: "x"}, "only a clinical safety officer"},
		{"an incident without words", engineer(), hazardlog.Raise, hazardlog.Incident{ID: "I-01", On: "2026-11-01", Resolved: true}, "resolution: is empty"},
		{"nobody", hazardlog.Actor{}, hazardlog.Edit, h, "nobody is named"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.t = t
			b.refused(c.by, c.want, b.change(c.act, c.value, ""))
		})
	}
}

// A hazard whose risk nobody has accepted cannot be closed.
func TestClosingNeedsAnAcceptedRisk(t *testing.T) {
	b := sound(t)
	h, _ := b.Find("GW-01")
	h.Acceptance = hazardlog.Acceptance{}
	b.must(officer(), b.change(hazardlog.Rate, h, "withdrawn"))
	h.Status = hazardlog.Closed
	b.refused(engineer(), "cannot be Closed: no clinical safety officer has accepted", b.change(hazardlog.Move, h, ""))
	h.Status = hazardlog.Open
	h.Acceptance = hazardlog.Acceptance{Accepted: true, Reason: "Going lower is impractical.", By: ann().String()}
	b.must(officer(), b.change(hazardlog.Rate, h, "accepted"))
	h.Status = hazardlog.Closed
	b.must(engineer(), b.change(hazardlog.Move, h, "done"))
}

// The severity of a rating can be asked for by its two questions.
func TestSeverityFollowsFromTheConsequence(t *testing.T) {
	b := newBook(t)
	h := hazard("GW-01")
	h.Initial = hazardlog.Rating{
		Consequence: "death", Patients: hazardlog.SeveralPatients, Likelihood: "Low", Justification: "Everybody at once.", State: hazardlog.RatingProposed,
	}
	b.must(engineer(), b.change(hazardlog.Raise, h, ""))
	if got, _ := b.Find("GW-01"); got.Initial.String() != "Catastrophic x Low = 4" {
		t.Errorf("%s", got.Initial)
	}
}

func TestIDsAreNeverUsedAgain(t *testing.T) {
	b := newBook(t)
	b.must(engineer(), b.change(hazardlog.Raise, hazard("GW-09"), ""), b.change(hazardlog.Raise, hazard("GW-11"), ""), b.change(hazardlog.Raise, hazard("RBA-03"), ""))
	for prefix, want := range map[string]string{"GW": "GW-12", "RBA": "RBA-04", "C": "C-01"} {
		if got := b.NextID(prefix); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	var order []string
	for _, h := range b.Hazards {
		order = append(order, h.ID)
	}
	if strings.Join(order, " ") != "GW-09 GW-11 RBA-03" {
		t.Error(order)
	}
}
