package breakglass_test

import (
	"testing"
	"time"
)

// pass lets time go by, which every clock tells, with the turns that a gateway does
// meanwhile.
func (w *ward) pass(d time.Duration) {
	w.t.Helper()
	for range 4 {
		w.offset.Add(int64(d / 4))
		turn(w.t, w.Service)
	}
}

// TestNoStepOfTheClockMakesAGrantLonger: put back, put forward or both, an hour is
// over after an hour at the latest.
func TestNoStepOfTheClockMakesAGrantLonger(t *testing.T) {
	for name, step := range map[string]time.Duration{"none": 0, "back": -30 * time.Minute, "far back": -48 * time.Hour, "a little forward": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWard(t)
			w.breaks("ada", "4711")
			w.pass(20 * time.Minute)
			w.stepped.Add(int64(step))
			w.pass(30 * time.Minute)
			if !w.in(w.Service) {
				t.Errorf("out after 50 minutes")
			}
			if open := w.Open(w.people.known["ada"]); len(open) != 1 || open[0].Sub(w.now()) > 10*time.Minute {
				t.Errorf("said to be open until %v at %v", open, w.now())
			}
			w.offset.Add(int64(10 * time.Minute)) // without a turn
			if w.in(w.Service) {
				t.Errorf("still in after an hour")
			}
			turn(t, w.Service)
			if ends := w.log.of("break-glass-end"); len(ends) != 1 {
				t.Errorf("%d ends are recorded", len(ends))
			}
		})
	}
}

// A machine that rested tells so by its wall clock alone.
func TestRestOfTheMachineEndsAGrant(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	w.stepped.Add(int64(time.Hour))
	if w.in(w.Service) {
		t.Error("still in")
	}
}

// TestRestartAndAClockThatWasPutBack: what is left of a grant is counted from when it
// was last known to be in force.
func TestRestartAndAClockThatWasPutBack(t *testing.T) {
	w := newWard(t)
	w.breaks("ada", "4711")
	w.pass(40 * time.Minute)
	w.stepped.Add(int64(-3 * time.Hour))
	again := w.gateway(w.openDB())
	if !w.in(again) {
		t.Fatal("out after a restart")
	}
	turn(t, again)
	w.offset.Add(int64(20 * time.Minute))
	if w.in(again) {
		t.Error("still in after an hour")
	}
}
