package evidence

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// Input is what a report is made of.
type Input struct {
	Now      time.Time
	Running  hazardlog.Baseline // what runs
	Measured map[string]Measurement
	Trace    *Trace // nil: none came with the program
	// Before is what was frozen when the log was last approved, nil for nothing.
	Before *Report
}

// Make says what is known of each control of a log.
func Make(l hazardlog.Log, in Input) (Report, error) {
	definitions, err := Definitions()
	if err != nil {
		return Report{}, err
	}
	r := Report{
		At: in.Now.UTC().Truncate(time.Second), Build: in.Running.Program, Config: in.Running.Config, Policy: in.Running.Policy,
		Controls: make(map[string]Control, len(l.Controls)), Indicators: make([]Indicator, 0, len(definitions)),
	}
	for _, d := range definitions {
		m := in.Measured[d.ID]
		switch d.Reading {
		case "baseline":
			m = in.baseline(l)
		case "reviews-overdue":
			m = in.overdue(l)
		}
		r.Indicators = append(r.Indicators, d.Judge(m, in.Now))
	}
	for _, c := range l.Controls {
		tests := in.Trace.slot(c.ID, in.Running.Program)
		if before := in.before(c.ID); tests.State == hazardlog.NotMeasured && before.Implemented.State == hazardlog.Supported {
			tests = Slot{
				State: hazardlog.Stale, At: before.Implemented.At, Sources: before.Implemented.Sources,
				Reason: "What supported it when the log was last approved is gone: " + strings.Join(before.Implemented.Sources, ", ") + ".",
			}
		}
		today := hazardlog.DayOf(in.Now)
		r.Controls[c.ID] = Control{
			Implemented: either(tests, documents(c, hazardlog.SlotImplemented, today)),
			Effective:   either(r.effective(c.ID), documents(c, hazardlog.SlotEffective, today)),
		}
	}
	return r, nil
}

// baseline compares what runs with what was approved.
func (in Input) baseline(l hazardlog.Log) Measurement {
	m := Measurement{At: in.Now}
	a := l.Approved()
	switch {
	case a == nil:
		m.Why = "No version of the hazard log has been approved."
	case a.Baseline == (hazardlog.Baseline{}) || in.Running == (hazardlog.Baseline{}):
		m.Why = "It is not known what runs, or what ran when the last version was approved."
	default:
		m.Value, m.Sample = new(float64), 1
		if a.Baseline == in.Running {
			*m.Value = 1
		}
	}
	return m
}

// overdue counts the reviews whose day has passed.
func (in Input) overdue(l hazardlog.Log) Measurement {
	m := Measurement{At: in.Now, Value: new(float64), Sample: len(l.Reviews)}
	for _, r := range l.Reviews {
		if r.Done == "" && r.Due < hazardlog.DayOf(in.Now) {
			*m.Value++
		}
	}
	return m
}

func (in Input) before(control string) Control {
	if in.Before == nil {
		return Control{}
	}
	return in.Before.Controls[control]
}

// effective is what the indicators of a control say: the worst of them.
func (r Report) effective(control string) Slot {
	var s Slot
	for _, i := range r.Indicators {
		if i.Control != control {
			continue
		}
		if len(s.Sources) == 0 || worse(s.State, i.State) != s.State {
			s.State, s.Reason = i.State, i.Name+": "+i.Reason
		}
		s.Sources = append(s.Sources, i.ID)
		if i.At.After(s.At) {
			s.At = i.At
		}
	}
	if len(s.Sources) == 0 {
		s.Reason = "No indicator watches it."
	}
	return s
}

// documents is what the documents of a control say.
func documents(c hazardlog.Control, slot hazardlog.EvidenceSlot, today hazardlog.Day) Slot {
	var s Slot
	for _, d := range c.Documents {
		if d.Slot != slot {
			continue
		}
		one := Slot{State: hazardlog.Supported, Reason: fmt.Sprintf("%s, of %s.", d.Title, d.On)}
		if d.Review < today {
			one = Slot{State: hazardlog.Stale, Reason: fmt.Sprintf("%s, of %s, was to be reviewed by %s.", d.Title, d.On, d.Review)}
		}
		if len(s.Sources) == 0 || worse(s.State, one.State) != s.State {
			s.State, s.Reason = one.State, one.Reason
		}
		s.Sources = append(s.Sources, d.Link)
		if at, err := time.Parse(time.DateOnly, string(d.On)); err == nil && at.After(s.At) {
			s.At = at
		}
	}
	return s
}

// either is the worse of two answers where there are two.
func either(measured, written Slot) Slot {
	switch {
	case len(written.Sources) == 0:
		return measured
	case measured.State == hazardlog.NotMeasured:
		written.Sources = slices.Concat(written.Sources, measured.Sources)
		return written
	case worse(measured.State, written.State) != measured.State:
		written.Sources = slices.Concat(measured.Sources, written.Sources)
		return written
	}
	measured.Sources = slices.Concat(measured.Sources, written.Sources)
	return measured
}

// Frozen is the report that was frozen when a version was approved: nil where there
// is no approval, or none was.
func Frozen(a *hazardlog.Approval) (*Report, error) {
	if a == nil || a.Evidence == nil {
		return nil, nil //nolint:nilnil // none is an answer
	}
	if !a.Evidence.Whole() {
		return nil, fmt.Errorf("the evidence under version %s is not what its hash says", a.Version)
	}
	var r Report
	if err := json.Unmarshal(a.Evidence.Report, &r); err != nil {
		return nil, fmt.Errorf("the evidence under version %s: %w", a.Version, err)
	}
	return &r, nil
}
