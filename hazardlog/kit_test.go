package hazardlog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// when is a fixed moment: nothing here depends on the day.
func when() time.Time { return time.Date(2026, time.November, 26, 9, 30, 0, 0, time.UTC) }

func ann() hazardlog.Officer {
	return hazardlog.Officer{Name: "Dr Ann Example", Body: "GMC", Number: "0000001", Expires: "2027-03-31"}
}

func engineer() hazardlog.Actor { return hazardlog.Actor{Issuer: "os", Account: "bob", Name: "Bob"} }

// officer has proved who she is.
func officer() hazardlog.Actor {
	return hazardlog.Actor{
		Issuer: "os", Account: "ann", Name: ann().Name, Officer: ann().String(),
		Proof: &hazardlog.Proof{Method: "test", Evidence: "seen", At: when()},
	}
}

// present is an officer who is there, or not.
type present bool

func (p present) Confirm(_ context.Context, o hazardlog.Officer, text string) (hazardlog.Proof, error) {
	if !p {
		return hazardlog.Proof{}, errors.New("nobody there")
	}
	return hazardlog.Proof{Method: "test", Evidence: o.Name + " signed: " + text, At: when()}, nil
}

// book is a log that a test goes on with.
type book struct {
	t *testing.T
	hazardlog.Log
	made int
}

func newBook(t *testing.T) *book {
	t.Helper()
	b := &book{t: t, Log: hazardlog.Begin("test")}
	b.must(engineer(), hazardlog.Change{Act: hazardlog.OpenLog, Value: hazardlog.Head{Title: "Test", Role: hazardlog.Manufacturer, StandardID: "dcb0129-4.2"}})
	return b
}

func (b *book) try(by hazardlog.Actor, changes ...hazardlog.Change) error {
	next, _, err := b.Record(when().Add(time.Duration(b.made)*time.Hour), by, func() string { b.made++; return fmt.Sprint("e", b.made) }, changes...)
	b.Log = next
	return err
}

func (b *book) must(by hazardlog.Actor, changes ...hazardlog.Change) {
	b.t.Helper()
	if err := b.try(by, changes...); err != nil {
		b.t.Fatal(err)
	}
}

// refused expects a change to be refused with these words and to leave the log
// as it was.
func (b *book) refused(by hazardlog.Actor, want string, changes ...hazardlog.Change) {
	b.t.Helper()
	before := b.Seq()
	err := b.try(by, changes...)
	if !errors.Is(err, hazardlog.ErrInvalid) || !strings.Contains(err.Error(), want) {
		b.t.Errorf("error %v, want %q", err, want)
	}
	if b.Seq() != before {
		b.t.Error("a refused change left events")
	}
}

// change is a change of what stands there now.
func (b *book) change(act hazardlog.Act, v hazardlog.Value, why string) hazardlog.Change {
	return hazardlog.Change{Act: act, Value: v, Expect: b.Revision(v.Subject()), Why: why}
}

func hazard(id string) hazardlog.Hazard {
	return hazardlog.Hazard{
		ID: id, Name: "The record is not there when it is needed", Effect: "The gateway refuses a proper request.",
		Hazard: "Care goes on without the record.", Harm: "A patient is given a drug that they are allergic to.",
		Causes: []string{"A rule refuses more than its author meant"}, Owner: "Safety officer", Status: hazardlog.Open,
	}
}

func rating(severity hazardlog.Severity, likelihood hazardlog.Likelihood) hazardlog.Rating {
	return hazardlog.Rating{Severity: severity, Likelihood: likelihood, Justification: "As reasoned.", State: hazardlog.RatingProposed}
}

func owned(r hazardlog.Rating) hazardlog.Rating {
	r.State, r.By = hazardlog.RatingAssessed, ann().String()
	return r
}

func control(id string, hazards ...string) hazardlog.Control {
	return hazardlog.Control{
		ID: id, Hazards: hazards, Type: hazardlog.Design, Timing: hazardlog.Additional, Status: hazardlog.Proposed,
		Text:       "Every refusal offers emergency access",
		NewHazards: hazardlog.NewHazards{Answer: hazardlog.NoNewHazards, Reason: "It only adds a way through."},
	}
}

// sound is a log that may be approved: one hazard, assessed and accepted.
func sound(t *testing.T) *book {
	t.Helper()
	b := newBook(t)
	b.must(engineer(), b.change(hazardlog.Raise, hazard("GW-01"), ""))
	b.must(engineer(), b.change(hazardlog.Raise, control("C-01", "GW-01"), ""))
	h, _ := b.Find("GW-01")
	h.Initial, h.Residual = owned(rating("Major", "Medium")), owned(rating("Major", "Very Low"))
	h.Acceptance = hazardlog.Acceptance{Accepted: true, Reason: "Going lower is impractical.", By: ann().String()}
	b.must(officer(), b.change(hazardlog.Rate, h, "workshop of 20 November"))
	return b
}

// approve signs what the log holds now.
func (b *book) approve(version string) {
	b.t.Helper()
	by, change, err := b.Approve(b.t.Context(), engineer(), signOff(version), present(true), when())
	if err != nil {
		b.t.Fatal(err)
	}
	b.must(by, change)
}

func signOff(version string) hazardlog.SignOff {
	return hazardlog.SignOff{
		Version: version, Officer: ann(), Statement: "The residual risk is acceptable.", Confirmed: [2]bool{true, true},
		Baseline: hazardlog.Baseline{Program: "1.0", Config: "aaaa", Policy: "bbbb"},
	}
}
