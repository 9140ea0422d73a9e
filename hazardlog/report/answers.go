package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// Answer is what the log suggests about a clause of its standard. It is no claim of
// compliance: a clinical safety officer confirms or changes it.
type Answer struct {
	Clause    hazardlog.Clause
	Suggested string // one of the words of the NHS compliance workbook
	Evidence  string
}

// Words of answers.
const (
	yes           = "Yes"
	no            = "No"
	partial       = "Partial"
	awaiting      = "Awaiting"
	notApplicable = "Not applicable"
)

func answerWords() []string { return []string{yes, no, partial, awaiting, notApplicable} }

// Answers answers each clause of the log's standard. Where the log can say nothing,
// the answer is awaited.
func (in Input) Answers() []Answer {
	var list []Answer
	for _, c := range in.clauses() {
		suggested, text := in.answer(c.Topic)
		list = append(list, Answer{c, suggested, text})
	}
	return list
}

func (in Input) answer(topic string) (suggested, text string) {
	l := in.Log
	switch topic {
	case "csos":
		return in.officers()
	case "process-review":
		return in.processReview()
	case "decisions":
		return some(len(l.Decisions), "recorded decisions")
	case "hazard-log":
		return yes, fmt.Sprintf("Log %s: %d hazards, %d events.", l.ID, len(l.Hazards), l.Seq())
	case "approval":
		return in.approval()
	case "issue":
		if in.Draft {
			return awaiting, "This pack is a draft."
		}
		return yes, "This pack holds the log and the safety case report under one manifest."
	case "incident-log":
		return yes, fmt.Sprintf("%d incidents are in the log's list.", len(l.Incidents))
	case "identify":
		return in.conditions()
	case "estimate":
		return in.each("hazards without an initial rating of a clinician", func(h hazardlog.Hazard) bool { return h.Initial.Owned() })
	case "evaluate":
		return in.each("hazards whose initial risk cannot be evaluated", func(h hazardlog.Hazard) bool { return h.Initial.Risk().Rated() })
	case "options":
		return in.each("hazards with a risk that is not simply acceptable and no additional control", in.controlled)
	case "new-hazards", "known-risks":
		return in.eachControl("controls are additional, and nobody has said whether they bring hazards or change risks", func(c hazardlog.Control) bool {
			return c.Timing == hazardlog.Existing || c.NewHazards.Answer != ""
		})
	case "residual":
		return in.each("hazards without a residual rating of a clinician", func(h hazardlog.Hazard) bool { return h.Residual.Owned() })
	case "benefit":
		return in.benefit()
	case "implement":
		return in.eachTransfer()
	case "implemented":
		return in.slots("is there", func(c evidence.Control) evidence.Slot { return c.Implemented })
	case "effective":
		return in.slots("works", func(c evidence.Control) evidence.Slot { return c.Effective })
	case "complete":
		return in.each("hazards whose residual risk no officer has accepted", func(h hazardlog.Hazard) bool { return h.Acceptance.Accepted })
	case "configuration":
		return in.configured()
	case "incidents":
		return in.incidents()
	case "modification":
		return some(len(l.Versions), "approved versions of the log, each with what ran then")
	}
	return in.answerOther(topic)
}

func some(n int, what string) (suggested, text string) {
	if n == 0 {
		return awaiting, missing(what)
	}
	return yes, fmt.Sprintf("%d %s.", n, what)
}

// counted answers by how many of all are wanting.
func counted(all int, wanting []string, what string) (suggested, text string) {
	text = fmt.Sprintf("%d of %d %s", len(wanting), all, what)
	switch {
	case all == 0:
		return awaiting, missing("anything to answer for: " + text)
	case len(wanting) == 0:
		return yes, text + "."
	}
	text += ": " + strings.Join(wanting, ", ") + "."
	if len(wanting) == all {
		return no, text
	}
	return partial, text
}

func (in Input) each(what string, fine func(hazardlog.Hazard) bool) (suggested, text string) {
	var wanting []string
	for _, h := range in.Log.Hazards {
		if !fine(h) {
			wanting = append(wanting, h.ID)
		}
	}
	return counted(len(in.Log.Hazards), wanting, what)
}

func (in Input) eachControl(what string, fine func(hazardlog.Control) bool) (suggested, text string) {
	var wanting []string
	for _, c := range in.Log.Controls {
		if !fine(c) {
			wanting = append(wanting, c.ID)
		}
	}
	return counted(len(in.Log.Controls), wanting, what)
}

func (in Input) eachTransfer() (suggested, text string) {
	if len(in.Log.Transfers) == 0 {
		return in.eachControl("controls that are only proposed", func(c hazardlog.Control) bool { return c.Status != hazardlog.Proposed })
	}
	var wanting []string
	for _, t := range in.Log.Transfers {
		if t.State != hazardlog.Accepted {
			wanting = append(wanting, t.ID)
		}
	}
	return counted(len(in.Log.Transfers), wanting, "transfers that their recipient has not accepted")
}

func (in Input) slots(what string, of func(evidence.Control) evidence.Slot) (suggested, text string) {
	by := map[hazardlog.EvidenceState]int{}
	for _, c := range in.Log.Controls {
		by[of(in.Evidence.Controls[c.ID]).State]++
	}
	text = fmt.Sprintf("Whether each of %d controls %s: %d supported, %d not enough data, %d contradicted, %d stale, %d not measured.", len(in.Log.Controls), what,
		by[hazardlog.Supported], by[hazardlog.NotEnough], by[hazardlog.Contradicted], by[hazardlog.Stale], by[hazardlog.NotMeasured])
	switch by[hazardlog.Supported] {
	case 0:
		return no, text
	case len(in.Log.Controls):
		return yes, text
	}
	return partial, text
}

func (in Input) officers() (suggested, text string) {
	a := in.Log.Approved()
	switch {
	case a == nil:
		return awaiting, missing("a clinical safety officer: nobody has approved a version")
	case in.today() == "":
		return awaiting, a.Officer.String() + ". " + missing("a day to compare the registration with")
	case !a.Officer.Current(in.today()):
		return no, fmt.Sprintf("The registration of %s ended on %s.", a.Officer, a.Officer.Expires)
	}
	return yes, fmt.Sprintf("%s, registered until %s.", a.Officer, a.Officer.Expires)
}

func (in Input) processReview() (suggested, text string) {
	suggested, text = awaiting, missing("a review of the process in the list of reviews")
	for _, r := range in.Log.Reviews {
		switch {
		case !strings.Contains(strings.ToLower(r.Of), "process"):
		case r.Done != "":
			suggested, text = yes, fmt.Sprintf("%s: done on %s. %s", r.ID, r.Done, r.Outcome)
		case in.today() != "" && r.Due < in.today():
			return no, fmt.Sprintf("%s was due on %s.", r.ID, r.Due)
		}
	}
	return suggested, text
}

func (in Input) approval() (suggested, text string) {
	switch a, changes := in.Log.Since(); {
	case a == nil:
		return no, in.Log.State()
	case len(changes) > 0:
		return partial, in.Log.State()
	}
	return yes, in.Log.State()
}

// byCondition counts hazards by the conditions that they arise in.
func (in Input) byCondition() map[hazardlog.Condition]int {
	n := map[hazardlog.Condition]int{}
	for _, h := range in.Log.Hazards {
		for _, c := range h.Conditions {
			n[c]++
		}
	}
	return n
}

func (in Input) conditions() (suggested, text string) {
	n := in.byCondition()
	text = fmt.Sprintf("%d hazards of normal conditions, %d of fault conditions.", n[hazardlog.Normal], n[hazardlog.Fault])
	switch {
	case n[hazardlog.Normal] > 0 && n[hazardlog.Fault] > 0:
		return yes, text
	case len(in.Log.Hazards) > 0:
		return partial, text
	}
	return no, text
}

// controlled reports whether a hazard that needs a control has one.
func (in Input) controlled(h hazardlog.Hazard) bool {
	return in.Log.Standard.Level(h.Initial.Risk()).Acceptability == hazardlog.Acceptable ||
		slices.ContainsFunc(in.Log.ControlsOf(h.ID), func(c hazardlog.Control) bool { return c.Timing == hazardlog.Additional })
}

func (in Input) benefit() (suggested, text string) {
	var high, wanting []string
	for _, h := range in.Log.Hazards {
		if !h.Residual.Risk().Rated() || in.Log.Standard.Level(h.Residual.Risk()).Acceptability != hazardlog.Unacceptable {
			continue
		}
		high = append(high, h.ID)
		if h.Acceptance.Benefit == "" {
			wanting = append(wanting, h.ID)
		}
	}
	if len(high) == 0 {
		return notApplicable, "No rated residual risk is unacceptable."
	}
	return counted(len(high), wanting, "unacceptable residual risks without a record of risk against benefit")
}

func (in Input) configured() (suggested, text string) {
	r := in.Running
	if r == (hazardlog.Baseline{}) {
		return awaiting, missing("what runs")
	}
	text = fmt.Sprintf("Program %s, configuration %s, rules %s.", orMissing(r.Program, "version"), orMissing(r.Config, "hash"), orMissing(r.Policy, "revision"))
	switch a := in.Log.Approved(); {
	case a == nil:
		return partial, text + " " + missing("an approved configuration to compare it with")
	case a.Baseline != r:
		return no, text + " It is not what was approved with version " + a.Version + "."
	}
	return yes, text
}

func (in Input) incidents() (suggested, text string) {
	if len(in.Log.Incidents) == 0 {
		return awaiting, "No incident is recorded."
	}
	var wanting []string
	for _, i := range in.Log.Incidents {
		if i.Assessment == "" || !i.Resolved {
			wanting = append(wanting, i.ID)
		}
	}
	return counted(len(in.Log.Incidents), wanting, "incidents not assessed or not resolved")
}
