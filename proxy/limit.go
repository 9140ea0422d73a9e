package proxy

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// What a request costs and whom it shows is counted here. Interactive care is slowed
// and never refused, whatever was counted (GW-03); in observe mode nothing is
// refused, and in bypass mode nothing is slowed either.

// limitedError is why a limit refuses, together with when to come back.
type limitedError struct {
	wait  time.Duration
	cause error // errLimited or errOverBudget
}

func (e limitedError) Error() string { return e.cause.Error() }
func (e limitedError) Unwrap() error { return e.cause }

// admit refuses a machine client that is not registered, or not for this.
func (x *exchange) admit() error {
	if !x.subject.Machine || x.g.cfg.Admit == nil {
		return nil
	}
	return x.unlessWaived(x.g.cfg.Admit(x.subject, x.ip))
}

// unlessWaived is why something is refused that the rules are not asked about. Where
// nothing is refused it is noted instead.
func (x *exchange) unlessWaived(cause error) error {
	if cause == nil || x.mode == Enforce {
		return cause
	}
	x.would, x.noted = true, append(x.noted, explain(cause).code)
	return nil
}

// limit counts the actions of the request. Each request of a batch is one, and those
// beyond a limit are left out like those that the rules refuse; whatever is done as
// a whole costs what its parts do.
func (x *exchange) limit() error {
	if len(x.entries) == 0 {
		wait, err := x.take(max(x.access.Actions, 1))
		if err != nil {
			return err
		}
		return x.slow(wait, errLimited)
	}
	var wait time.Duration
	refused := 0
	for _, e := range x.entries {
		slowed, err := e.take(1)
		wait = max(wait, slowed)
		if e.refused = err; err != nil {
			refused++
		}
		x.would = x.would || e.would
	}
	if refused == len(x.entries) {
		return x.entries[0].refused
	}
	return x.slow(wait, errLimited)
}

// take counts n actions. It returns how long they are to be slowed down, or why they
// are refused.
func (x *exchange) take(n int) (time.Duration, error) {
	wait, ok := x.g.cfg.Limiter.Take(x.subject, x.kind(), n)
	if !ok {
		return 0, x.unlessWaived(limitedError{wait, errLimited})
	}
	if over, retry := x.overBudget(); over {
		return 0, x.unlessWaived(limitedError{retry, errOverBudget})
	}
	return wait, nil
}

// kind is what the limits count the exchange as. A search for one patient's entries
// is care, as opening them one by one is.
func (x *exchange) kind() LimitKind {
	switch a := &x.access; {
	case a.Kind == "", a.Kind == SearchKind && len(a.Patients) == 1 && a.Certainty == audit.Authoritative:
		return Interactive
	default:
		return a.Kind
	}
}

// overBudget reports whether the exchange is refused because whoever asks has met
// more patients than the budget of their role, and when to come back. Care never is,
// nor the search that care begins with, unless it is searches that used the budget
// up (GW-03).
func (x *exchange) overBudget() (refused bool, retry time.Duration) {
	if x.kind() == Interactive && !x.subject.Machine {
		return false, 0
	}
	listed := x.g.cfg.Limiter.Meet(x.subject, Met{Listed: true})
	opened := x.g.cfg.Limiter.Meet(x.subject, Met{})
	if x.kind() == SearchKind && !x.subject.Machine && x.findsPatient() {
		opened = Standing{}
	}
	return listed.Over != "" || opened.Over != "", max(listed.Retry, opened.Retry)
}

// things are what the exchange does, one by one.
func (x *exchange) things() []Part {
	if len(x.access.Parts) > 0 {
		return x.access.Parts
	}
	return []Part{{Action: x.access.Action, Area: x.access.Area}}
}

// findsPatient reports whether a search is for a patient, or for who is where,
// without which no record can be opened.
func (x *exchange) findsPatient() bool {
	return !slices.ContainsFunc(x.things(), func(p Part) bool {
		return p.Action != policy.Search && p.Action != policy.List || p.Area != policy.Demographics && p.Area != policy.Encounters
	})
}

// lists reports whether the answer shows patients side by side, rather than one who
// was opened.
func (x *exchange) lists() bool {
	return x.kind() == SearchKind || x.kind() == Bulk || !slices.ContainsFunc(x.things(), func(p Part) bool {
		return p.Action != policy.Search && p.Action != policy.List && p.Action != policy.Export
	})
}

// meetNamed counts the patients whom an allowed request names, however that was
// allowed.
func (x *exchange) meetNamed() error {
	if len(x.entries) == 0 {
		return x.slow(x.meet(x.access.Patients, false), errOverBudget)
	}
	var wait time.Duration
	for _, e := range x.entries {
		if e.refused == nil {
			wait = max(wait, e.meet(e.access.Patients, false))
		}
	}
	return x.slow(wait, errOverBudget)
}

// meetShown counts the patients whom only the answer names and who are about to be
// shown: those of entries that are left out are not.
func (x *exchange) meetShown(s *Settlement, left []bool) time.Duration {
	patients := s.Patients
	if slices.Contains(left, true) {
		patients = nil
		for i := range left {
			if !left[i] {
				patients = append(patients, s.Bundle.Entries[i].Patients...)
			}
		}
	}
	patients = slices.DeleteFunc(slices.Clone(patients), func(p Patient) bool { return slices.ContainsFunc(x.access.Patients, p.Same) })
	return x.meet(patients, x.lists())
}

// meet counts patients and returns how long whoever meets them is to be slowed down.
// Nobody is there where a screen refreshes by itself.
func (x *exchange) meet(patients []Patient, listed bool) time.Duration {
	if len(patients) == 0 || x.access.KeepAlive {
		return 0
	}
	s := x.g.cfg.Limiter.Meet(x.subject, Met{Site: x.route.Site, Listed: listed, Patients: patients})
	if s.Over == "" {
		return 0
	}
	x.budget = tallyName(listed) + " " + s.Over
	if s.Tell {
		x.tellOver(s)
	}
	if x.subject.Machine {
		return 0 // the next request is refused
	}
	return s.Wait
}

// tallyName is what a budget is of.
func tallyName(listed bool) string {
	if listed {
		return "listed"
	}
	return "opened"
}

// tellOver records that somebody has used up the budget of their role: once within
// its window, for a person to look at. Whoever looks asks why; software never does
// (the record says what was met, not that it was wrong).
func (x *exchange) tellOver(s Standing) {
	x.toldOver = true
	rec := x.newDecision()
	rec.Kind, rec.Effect, rec.WouldDeny = audit.KindLimit, policy.Allow.String(), false
	rec.Reasons, rec.Outcome = []string{audit.ReasonBudget}, audit.MinorFailure
	rec.Detail = append(rec.Detail, "budget="+x.budget, "patients="+strconv.Itoa(s.Patients), "of="+strconv.Itoa(s.Of))
	rec.Bound()
	if err := x.g.cfg.Log.Add(&rec); err != nil {
		x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelError, "budget not recorded", slog.String("request", x.id), slog.Any("error", err))
	}
}

// slow delays the exchange, or less if the client goes away, and says so in the
// header of the answer (RFC 9651): for how many seconds, and for which limit.
func (x *exchange) slow(wait time.Duration, cause error) error {
	if wait <= 0 || x.mode == Bypass {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.r.Context().Done():
		return errClientGone
	}
	x.slowed += wait
	x.slowedBy = explain(cause).code
	x.nameAnswer()
	return nil
}

// limits are what records say of it.
func (x *exchange) limits() []string {
	var list []string
	if x.slowed > 0 {
		list = append(list, "slowed="+x.slowed.String())
	}
	if x.budget != "" {
		list = append(list, "over-budget="+x.budget)
	}
	return list
}

// slowedWords are what the header of a slowed answer says.
func (x *exchange) slowedWords() string {
	return fmt.Sprintf("%.3f;reason=%s", x.slowed.Seconds(), x.slowedBy)
}
