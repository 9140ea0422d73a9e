package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/matron-epr/matron/hazardlog"
)

// Clauses that the compliance workbook answers beside those that the log itself works
// with, by standard. They stand apart from the standard, whose hash is in what
// officers have signed.
//
//go:embed clauses.json
var otherClauses []byte

// clauses lists all clauses of the log's standard that are answered, by their
// numbers; those named by title alone stay as they are listed.
func (in Input) clauses() []hazardlog.Clause {
	var others map[string][]hazardlog.Clause
	_ = json.Unmarshal(otherClauses, &others) // embedded, and read by a test
	list := slices.Concat(in.Log.Standard.Clauses, others[in.Log.Standard.ID])
	slices.SortStableFunc(list, func(a, b hazardlog.Clause) int { return slices.Compare(number(a.Ref), number(b.Ref)) })
	return list
}

// number is the first number of a reference, 3.2.1 in "3.2.1 to 3.2.4".
func number(ref string) []int {
	n := make([]int, 3)
	_, _ = fmt.Sscanf(ref, "%d.%d.%d", &n[0], &n[1], &n[2]) // zeros for a title alone
	return n
}

// answerOther answers the clauses about which a log knows less: what people wrote,
// or what is missing.
func (in Input) answerOther(topic string) (suggested, text string) {
	switch topic {
	case "process":
		return in.told("process", "a description of the process")
	case "analysis":
		return in.told("team", "who took part in the analysis")
	case "third-parties":
		return in.told("third_parties", "an assessment of third-party products")
	case "scope":
		return in.told("scope", "the clinical scope")
	case "intended-use":
		return in.told("intended_use", "the intended use")
	case "safety-case", "case-report":
		return in.caseReport()
	case "no-controls":
		return in.each("hazards whose initial risk nobody has rated", func(h hazardlog.Hazard) bool { return h.Initial.Risk().Rated() })
	case "more-controls", "reappraise":
		return in.benefit()
	case "release-review":
		return in.told("quality", "a record of the review before delivery")
	case "modification-report", "audit-trail":
		return some(len(in.Log.Versions), "approved versions of the log, each with what ran then")
	case "maker-evidence":
		return in.eachTransfer()
	case "monitoring":
		return in.measured()
	}
	return awaiting, missing("evidence, since the log keeps none of this: " + evidenceOfPeople(topic))
}

// evidenceOfPeople names what answers a clause that no log can.
func evidenceOfPeople(topic string) string {
	switch topic {
	case "management":
		return "the nomination of the officer and the levels of authorisation, from the plan"
	case "officer-duties":
		return "the qualification, experience and training of the officer"
	case "competence":
		return "the records of competence"
	case "file":
		return "where the clinical risk management file is"
	case "plan":
		return "the approved clinical risk management plan"
	case "local":
		return "the minutes of the workshops on local hazards"
	case "decommissioning":
		return "the plan for taking the system out of use"
	}
	return ""
}

// told answers by what people wrote for the report: words alone are half an answer.
func (in Input) told(topic, what string) (suggested, text string) {
	if in.Texts[topic] == "" {
		return awaiting, missing(what)
	}
	return partial, "Written by people, in the safety case report: " + in.Texts[topic]
}

func (in Input) caseReport() (suggested, text string) {
	a := in.Log.Approved()
	if in.Draft || a == nil {
		return awaiting, "The safety case report of this pack is a draft."
	}
	return partial, "This pack holds a safety case report of version " + a.Version + ". " + missing("the officer's approval of the report itself")
}

// measured counts the indicators that have a value.
func (in Input) measured() (suggested, text string) {
	var wanting []string
	for _, i := range in.Evidence.Indicators {
		if i.Value == nil {
			wanting = append(wanting, i.ID)
		}
	}
	return counted(len(in.Evidence.Indicators), wanting, "indicators without a measurement")
}
