package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

// safetyCase is the clinical safety case report. Its headings are those of the NHS
// template; the words are ours.
func (in Input) safetyCase() document {
	d := document{Title: "Clinical safety case report", Subtitle: in.Log.Title, Draft: in.draft()}
	for _, part := range []struct {
		heading string
		fill    func(*section)
	}{
		{"Introduction", in.introduction},
		{"System definition and overview", in.system},
		{"Clinical risk management system", in.management},
		{"Clinical risk analysis", in.analysis},
		{"Clinical risk evaluation", in.evaluation},
		{"Clinical risk control", in.control},
		{"Hazard log", in.hazards},
		{"Test issues", in.tests},
		{"Summary safety statement", in.statement},
		{"Quality assurance and document approval", in.quality},
		{"Configuration control and management", in.configuration},
	} {
		s := section{Heading: part.heading}
		part.fill(&s)
		d.Sections = append(d.Sections, s)
	}
	return d
}

// written adds what people wrote on a topic, or names the gap.
func (in Input) written(s *section, heading, topic string) {
	s.heading(heading)
	text := strings.TrimSpace(in.Texts[topic])
	if text == "" {
		for _, t := range Topics() {
			if t.ID == topic {
				s.say(missing(t.Missing) + ".")
			}
		}
		return
	}
	for _, paragraph := range strings.Split(text, "\n\n") {
		if paragraph = strings.TrimSpace(paragraph); paragraph != "" {
			s.Blocks = append(s.Blocks, block{Text: paragraph, Written: true})
		}
	}
}

func (in Input) introduction(s *section) {
	l := in.Log
	s.say(fmt.Sprintf("This report presents the argument, and the evidence for it, about the clinical safety of the Matron gateway, under %s (%s). "+
		"It goes with the hazard log %s and is about that log alone: a later version of the log needs a report of its own.", l.Standard.Edition, l.Standard.Title, l.ID))
	s.say(l.State())
	s.say("Whose log it is: " + orMissing(l.Organisation, "the organisation whose log it is") + ", as " + string(l.Role) + ".")
	if l.Upstream != nil {
		s.say(fmt.Sprintf("The log was derived from the log %s, version %s, SHA-256 %s.", l.Upstream.Log, orMissing(l.Upstream.Version, "an approved version"), l.Upstream.SHA256))
	}
	s.say("Paragraphs marked as written are people's own words. Everything else was made from the log and from evidence as it stood at " + in.at() + ".")
}

func (in Input) at() string {
	if in.Evidence.At.IsZero() {
		return missing("a time at which evidence was collected")
	}
	return in.Evidence.At.UTC().Format("15:04 on 2 January 2006 (UTC)")
}

func (in Input) system(s *section) {
	s.say("Matron stands between the staff of a hospital and its record systems. It lets requests through or refuses them by rules, offers emergency access, " +
		"records who saw what, and looks for accesses that nothing explains. It holds no record of a patient's care; its hazards come from refusing, delaying, mixing up or disclosing what the systems behind it hold.")
	in.written(s, "Intended use", "intended_use")
	in.written(s, "Clinical scope", "scope")
	in.written(s, "Limits of use", "limitations")
	in.written(s, "Third-party products", "third_parties")
}

func (in Input) management(s *section) {
	l := in.Log
	in.written(s, "Plan and file", "process")
	in.written(s, "People", "team")
	var decisions, reviews [][]string
	for _, d := range l.Decisions {
		decisions = append(decisions, []string{d.ID, d.On.String(), d.Text, d.Reason, list(d.Hazards, "none named")})
	}
	for _, r := range l.Reviews {
		reviews = append(reviews, []string{r.ID, r.Of, r.Due.String(), orMissing(r.Done.String(), "not yet done"), orMissing(r.Outcome, "outcome of "+r.ID)})
	}
	s.table("Decisions that influenced clinical risk management", []string{"Number", "Date", "Decision", "Reason", "Hazards"}, decisions, missing("a record of any decision")+".")
	s.table("Reviews", []string{"Number", "Of", "Due", "Done", "Outcome"}, reviews, missing("a planned review")+".")
}

func list(items []string, none string) string {
	if len(items) == 0 {
		return none
	}
	return strings.Join(items, ", ")
}

func (in Input) analysis(s *section) {
	l := in.Log
	s.say("Each hazard names what the system does, what that means for care, the harm to a patient, and its causes. Severity is of the worst credible harm, by what happens and to how many; likelihood is of the harm, not of the fault.")
	of := in.byCondition()
	s.say(fmt.Sprintf("%d hazards are in the log: %d marked as of normal conditions, %d as of fault conditions; a hazard may be both.", len(l.Hazards), of[hazardlog.Normal], of[hazardlog.Fault]))
	var rows [][]string
	for _, row := range l.Standard.Likelihoods {
		line := []string{string(row.Word)}
		for _, risk := range row.Risks {
			line = append(line, risk.String())
		}
		rows = append(rows, line)
	}
	s.table("The matrix of "+l.Standard.Edition+", which gives the risk: a table, never a product", append([]string{"Likelihood"}, severities(l)...), rows, "")
	var levels [][]string
	for _, level := range l.Standard.Levels {
		levels = append(levels, []string{level.Risk.String(), level.Meaning, string(level.Acceptability)})
	}
	s.table("What a risk means", []string{"Risk", "Meaning", "Acceptability"}, levels, "")
}

func severities(l hazardlog.Log) []string {
	var words []string
	for _, w := range l.Standard.Severities {
		words = append(words, string(w))
	}
	return words
}

func (in Input) evaluation(s *section) {
	l := in.Log
	counts := func(caption string, m hazardlog.Matrix) {
		var rows [][]string
		for _, row := range m.Rows {
			line := []string{string(row.Likelihood)}
			for _, cell := range row.Cells {
				line = append(line, fmt.Sprintf("risk %s: %s", cell.Risk, list(cell.Hazards, "none")))
			}
			rows = append(rows, line)
		}
		s.table(caption, append([]string{"Likelihood"}, severities(l)...), rows, "")
		if m.Unrated > 0 {
			s.say(missing(fmt.Sprintf("the rating of %d hazards", m.Unrated)) + ".")
		}
	}
	counts("Hazards by initial risk", l.InitialMatrix())
	counts("Hazards by residual risk", l.ResidualMatrix())
	var rows [][]string
	proposed := 0
	for _, h := range l.Hazards {
		if !h.Residual.Owned() {
			proposed++
		}
		if h.Residual.Risk() < 3 {
			continue
		}
		reason := orMissing(h.Acceptance.Reason, "why the risk of "+h.ID+" may stay")
		if l.Standard.Level(h.Residual.Risk()).Acceptability == hazardlog.Unacceptable {
			reason = orMissing(h.Acceptance.Benefit, "the record of risk against benefit for "+h.ID)
		}
		rows = append(rows, []string{h.ID, h.Name, in.stands(h, h.Residual), reason})
	}
	s.table("Residual risks of 3 and above", []string{"Hazard", "Name", "Residual risk", "Why it may stay"}, rows, "none.")
	s.heading("Overall residual risk")
	s.say(in.overall())
	if proposed > 0 {
		s.say(missing(fmt.Sprintf("a clinician's assessment of the residual risk of %d of %d hazards", proposed, len(l.Hazards))) + ".")
	}
}

// overall counts residual risks by level.
func (in Input) overall() string {
	by := map[hazardlog.Risk]int{}
	for _, h := range in.Log.Hazards {
		by[h.Residual.Risk()]++
	}
	var parts []string
	for _, level := range in.Log.Standard.Levels {
		parts = append(parts, fmt.Sprintf("%d of risk %s", by[level.Risk], level.Risk))
	}
	return "Of the residual risks, " + strings.Join(parts, ", ") + fmt.Sprintf("; %d are not rated. Whether all of them together are acceptable is for the clinical safety officer to say.", by[0])
}

func (in Input) control(s *section) {
	l := in.Log
	s.say("For each control two things are asked: that it is there, and that it works. No data is never taken for good evidence. Where evidence contradicts a control, the ratings that rest on it are in question; software changes none.")
	var rows, shared [][]string
	for _, c := range l.Controls {
		e := in.Evidence.Controls[c.ID]
		rows = append(rows, []string{
			c.ID, c.Text, fmt.Sprintf("%s, %s, %s", c.Type, c.Timing, c.Status), list(c.Hazards, missing("the hazards of "+c.ID)), bringsHazards(c),
			proof(c.ID, isThere, e.Implemented), proof(c.ID, works, e.Effective),
		})
		if len(c.Hazards) >= 3 {
			shared = append(shared, []string{c.ID, c.Text, list(c.Hazards, ""), orMissing(c.CommonCause, "what stands behind "+c.ID)})
		}
	}
	s.table("Controls and their evidence", []string{"Control", "What it does", "Kind", "Hazards", "Brings hazards?", "It is there", "It works"}, rows, missing("controls")+".")
	s.table("Controls that carry three hazards or more", []string{"Control", "What it does", "Hazards", "What stands behind it"}, shared, "none.")
}

func bringsHazards(c hazardlog.Control) string {
	switch n := c.NewHazards; n.Answer {
	case hazardlog.NoNewHazards:
		return "None: " + n.Reason
	case hazardlog.SomeNewHazards:
		return list(n.Hazards, missing("the hazards that "+c.ID+" brings"))
	}
	if c.Timing == hazardlog.Existing {
		return "Not asked: it was there before"
	}
	return missing("whether " + c.ID + " brings hazards")
}

func (in Input) hazards(s *section) {
	l := in.Log
	s.say("The whole log is in hazard-log.xlsx, for people, and in hazard-log.json, with its history. This is its summary.")
	var rows, transfers [][]string
	for _, h := range l.Hazards {
		rows = append(rows, []string{
			h.ID, h.Name, orMissing(h.Harm, "the harm of "+h.ID), in.stands(h, h.Initial), in.stands(h, h.Residual), string(h.Status), acceptance(h), orMissing(h.Owner, "the owner of "+h.ID),
		})
	}
	s.table("Hazards", []string{"Hazard", "Name", "Harm", "Initial risk", "Residual risk", "Status", "Residual risk accepted", "Owner"}, rows, missing("hazards")+".")
	for _, t := range l.Transfers {
		transfers = append(transfers, []string{
			t.ID, t.Hazard, orNone(t.Control), t.Condition, orMissing(t.To, "the recipient of "+t.ID), strings.TrimSpace(string(t.State) + " " + t.By + " " + t.Reason),
		})
	}
	s.table("Transferred to others", []string{"Number", "Hazard", "Control", "What the recipient must do", "To", "Answer"}, transfers, "nothing.")
}

func orNone(text string) string {
	if text == "" {
		return "none named"
	}
	return text
}

func acceptance(h hazardlog.Hazard) string {
	if !h.Acceptance.Accepted {
		return missing("acceptance of " + h.ID)
	}
	return strings.TrimSpace("by " + h.Acceptance.By + ". " + h.Acceptance.Reason)
}

func (in Input) tests(s *section) {
	in.written(s, "What testing left open", "test_issues")
	var indicators, incidents, findings [][]string
	for _, i := range in.Evidence.Indicators {
		value := missing("a measurement of " + i.ID)
		if i.Value != nil {
			value = strings.TrimSpace(strconv.FormatFloat(*i.Value, 'f', -1, 64) + " " + i.Unit)
		}
		indicators = append(indicators, []string{
			i.ID, i.Name, i.Control, i.Threshold, value, fmt.Sprintf("%d of at least %d", i.Sample, i.MinSample), orMissing(stateOf(i), "evidence of "+i.ID), orMissing(i.Reason, "why"),
		})
	}
	s.table("Safety performance indicators", []string{"Number", "Name", "Control", "Target", "Measured", "Sample", "State", "Why"}, indicators, missing("indicators")+".")
	for _, i := range in.Log.Incidents {
		incidents = append(incidents, []string{
			i.ID, i.On.String(), i.Text, list(i.Hazards, missing("the hazards of "+i.ID)), orMissing(i.Assessment, "the assessment of "+i.ID), orMissing(i.Resolution, "the resolution of "+i.ID),
		})
	}
	s.table("Incidents", []string{"Number", "Date", "What happened", "Hazards", "Assessment", "Resolution"}, incidents, "none is recorded.")
	for _, f := range in.lint() {
		kind := "warning"
		if f.Error {
			kind = "error"
		}
		findings = append(findings, []string{f.Subject.String(), kind, strings.TrimSpace(f.Field + " " + f.Text), orNone(f.Clause)})
	}
	s.table("What checks of the log found", []string{"Subject", "Kind", "Finding", "Clause"}, findings, "nothing.")
}

// stateOf is the state of an indicator, "" when it is not measured.
func stateOf(i evidence.Indicator) string { return string(i.State) }

func (in Input) statement(s *section) {
	a, changes := in.Log.Since()
	switch {
	case a == nil:
		s.say(missing("the statement of a clinical safety officer. No version of this log has been approved") + ".")
		return
	case len(changes) > 0:
		s.say(missing(fmt.Sprintf("the statement of a clinical safety officer about this version: %d changes have been made since version %s", len(changes), a.Version)) + ".")
		s.say("About version " + a.Version + " was said:")
	}
	s.Blocks = append(s.Blocks, block{Text: a.Statement, Written: true})
	s.say(fmt.Sprintf("%s, on %s, of version %s.", a.Officer, hazardlog.DayOf(a.At), a.Version))
	for _, c := range a.Confirmations {
		s.say("Confirmed: " + c)
	}
	if doubted := evidence.InQuestion(in.Log, in.Evidence); len(doubted) > 0 {
		s.say(fmt.Sprintf("Evidence since contradicts controls of %d hazards; their ratings are in question and stand as they were signed.", len(doubted)))
	}
}

func (in Input) quality(s *section) {
	in.written(s, "Review of these documents", "quality")
	var approvals, answers [][]string
	for _, a := range in.Log.Versions {
		approvals = append(approvals, []string{a.Version, hazardlog.DayOf(a.At).String(), a.Officer.String(), a.Officer.Expires.String(), a.SHA256})
	}
	s.table("Approved versions of the log", []string{"Version", "Date", "Clinical safety officer", "Registered until", "SHA-256"}, approvals, missing("an approval by a clinical safety officer")+".")
	by := map[string]int{}
	for _, a := range in.Answers() {
		by[a.Suggested]++
	}
	for _, word := range answerWords() {
		answers = append(answers, []string{word, strconv.Itoa(by[word])})
	}
	s.table("Answers to the clauses of "+in.Log.Standard.Edition+" that the log suggests; a clinical safety officer confirms or changes each (compliance.xlsx)", []string{"Answer", "Clauses"}, answers, "")
}

func (in Input) configuration(s *section) {
	r := in.Running
	s.table("What runs", []string{"Part", "Is"}, [][]string{
		{"Program", orMissing(r.Program, "the version of the program: none has run here yet")},
		{"Configuration, SHA-256", orMissing(r.Config, "the hash of the configuration")},
		{"Rules", orMissing(r.Policy, "the revision of the rules")},
	}, "")
	a := in.Log.Approved()
	switch {
	case a == nil:
		s.say(missing("a configuration that was approved") + ".")
	case a.Baseline == r:
		s.say("This is what ran when version " + a.Version + " was approved.")
	default:
		s.say(fmt.Sprintf("What runs is not what was approved with version %s: program %s, configuration %s, rules %s.", a.Version,
			orMissing(a.Baseline.Program, "program"), orMissing(a.Baseline.Config, "configuration"), orMissing(a.Baseline.Policy, "rules")))
	}
	s.say(fmt.Sprintf("The log has %d events; each names the hash of the one before, and all are recorded in the audit journal.", in.Log.Seq()))
}
