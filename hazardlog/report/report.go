// Package report makes the documents that accompany a version of a hazard log: the
// clinical safety case report, the answers to the standard's clauses, and the issue
// pack that holds both with the log and its evidence under one manifest.
//
// Documents are made of what the log and its evidence say, and of what people wrote
// for them; each part says which. What is not there is named as missing, never left
// blank. Software approves nothing here and calls nothing compliant: answers are
// suggestions that a clinical safety officer confirms. The same input makes the same
// bytes. Values are safe for concurrent use as long as nobody changes them.
package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// Input is what documents are made of.
type Input struct {
	Log      hazardlog.Log
	Evidence evidence.Report    // as it is frozen with the documents
	Running  hazardlog.Baseline // what runs; the zero Baseline: nothing is known of it
	Texts    map[string]string  // what people wrote, by Topics; paragraphs stand apart by a blank line
	// Draft allows a pack of a log that may not be issued. Every document then says
	// in words that it is a draft.
	Draft bool
}

// Topic is a part of the report that only people can write.
type Topic struct {
	ID      string
	Missing string // what is missing while nobody has written it
}

// Topics lists them, in the order of the report.
func Topics() []Topic {
	return []Topic{
		{"intended_use", "the intended use of the system in this organisation"},
		{"scope", "the clinical scope of the system in this organisation"},
		{"process", "where the clinical risk management plan and file are kept"},
		{"team", "who took part in the analysis, and their competence"},
		{"third_parties", "the assessment of third-party products, or that there are none"},
		{"test_issues", "what testing left open, or that it left nothing open"},
		{"limitations", "the limits of use that people must know"},
		{"quality", "how these documents were reviewed"},
	}
}

// draft is why the documents are a draft, in words; "" for an issue.
func (in Input) draft() string {
	if !in.Draft {
		return ""
	}
	return DraftOf(in.Log)
}

// DraftOf says in words that what was made of a log is a draft, and why.
func DraftOf(l hazardlog.Log) string {
	return "DRAFT: " + strings.TrimPrefix(l.State(), "Draft: ")
}

// lint checks whether the log may be issued.
func (in Input) lint() []hazardlog.Finding {
	facts := hazardlog.Facts{Today: in.today(), Evidence: in.Evidence.States(in.Log), Issue: !in.Draft}
	if in.Running != (hazardlog.Baseline{}) {
		facts.Running = &in.Running
	}
	return in.Log.Lint(facts)
}

// today is the day of the evidence, "" when there is none.
func (in Input) today() hazardlog.Day {
	if in.Evidence.At.IsZero() {
		return ""
	}
	return hazardlog.DayOf(in.Evidence.At)
}

// missing names a gap.
func missing(what string) string { return "Missing: " + what }

func orMissing(text, what string) string {
	if strings.TrimSpace(text) == "" {
		return missing(what)
	}
	return text
}

// proof is what one slot says of a control; a gap is named by the control.
func proof(control, question string, s evidence.Slot) string {
	if s.State == hazardlog.NotMeasured {
		return strings.TrimSpace(missing("evidence for "+control+" ("+question+").") + " " + s.Reason)
	}
	text := string(s.State)
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	if len(s.Sources) > 0 {
		text += " (" + strings.Join(s.Sources, ", ") + ")"
	}
	return text
}

const (
	isThere = "that it is there"
	works   = "that it works"
)

// EvidenceOf is what is known of a control, in words. It begins with what is missing,
// where something is.
func EvidenceOf(r evidence.Report, control string) string {
	c := r.Controls[control]
	parts := []string{proof(control, isThere, c.Implemented), proof(control, works, c.Effective)}
	if c.Implemented.State == hazardlog.NotMeasured && c.Effective.State == hazardlog.NotMeasured {
		return missing("evidence for " + control)
	}
	slices.SortStableFunc(parts, func(a, b string) int { return strings.Compare(rank(a), rank(b)) })
	return strings.Join(parts, "; ")
}

func rank(text string) string {
	if strings.HasPrefix(text, "Missing: ") {
		return "0"
	}
	return "1"
}

// stands is a rating with what speaks for or against it.
func (in Input) stands(h hazardlog.Hazard, r hazardlog.Rating) string {
	text := r.String()
	switch {
	case !r.Risk().Rated():
		return missing("rating of " + h.ID)
	case r.Owned():
		text += ", assessed by " + r.By
	default:
		text += ", proposed: no clinician has assessed it"
	}
	if doubted := evidence.InQuestion(in.Log, in.Evidence)[h.ID]; len(doubted) > 0 {
		text += fmt.Sprintf(". In question: evidence contradicts %s; the rating is as it was signed", strings.Join(doubted, ", "))
	}
	return text
}
