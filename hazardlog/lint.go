package hazardlog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Finding is one thing that a reader of the log should be told.
type Finding struct {
	Rule    string  `json:"rule"`
	Error   bool    `json:"error"` // it stands in the way of approval and issue; false: a warning
	Clause  string  `json:"clause,omitempty"`
	Subject Subject `json:"subject"`
	Field   string  `json:"field,omitempty"`
	Text    string  `json:"text"`
}

// String is "GW-03 residual: error: … [rule; clause]".
func (f Finding) String() string {
	kind := "warning"
	if f.Error {
		kind = "error"
	}
	where := f.Subject.String()
	if f.Field != "" {
		where += " " + f.Field
	}
	why := f.Rule
	if f.Clause != "" {
		why += "; " + f.Clause
	}
	return where + ": " + kind + ": " + f.Text + " [" + why + "]"
}

// Errors are the findings that stand in the way of approval and issue.
func Errors(findings []Finding) []Finding {
	return filter(findings, func(f Finding) bool { return f.Error })
}

// EvidenceState is what live evidence says of a control. No evidence is never
// good evidence: the zero state is not measured.
type EvidenceState string

// The states.
const (
	NotMeasured  EvidenceState = ""
	Supported    EvidenceState = "supported"
	NotEnough    EvidenceState = "not enough data"
	Contradicted EvidenceState = "contradicted"
	Stale        EvidenceState = "stale"
)

// word is the state for people.
func (s EvidenceState) word() string { return cmp.Or(string(s), "not measured") }

// Facts are what the log itself does not hold. What is not given is not checked.
type Facts struct {
	Today    Day                      // for what is due
	Evidence map[string]EvidenceState // by id of control: that it is there and works
	// Implemented is that it is there, by id of control.
	Implemented map[string]EvidenceState
	Running     *Baseline // what runs now
	// Issue asks whether this may be given to others: then it must be approved,
	// unchanged, by an officer whose registration was in force.
	Issue bool
}

// linter collects findings.
type linter struct {
	log   Log
	facts Facts
	found []Finding
}

// Lint checks the log as a reviewer would: errors stand in the way of approval
// and issue, warnings want an answer. It never changes anything.
func (l Log) Lint(facts Facts) []Finding {
	if l.Standard == nil {
		return []Finding{{Rule: "no-log", Error: true, Subject: Subject{OfLog, l.ID}, Text: "there is no log"}}
	}
	c := linter{log: l, facts: facts}
	for _, h := range l.Hazards {
		c.hazard(h)
	}
	for _, control := range l.Controls {
		c.control(control)
	}
	c.whole()
	return c.found
}

func (c *linter) add(isError bool, rule, topic string, s Subject, field, format string, args ...any) {
	clause := ""
	if topic != "" {
		clause = c.log.Standard.Clause(topic).String()
	}
	c.found = append(c.found, Finding{Rule: rule, Error: isError, Clause: clause, Subject: s, Field: field, Text: fmt.Sprintf(format, args...)})
}

func (c *linter) fail(rule, topic string, s Subject, field, format string, args ...any) {
	c.add(true, rule, topic, s, field, format, args...)
}

func (c *linter) warn(rule, topic string, s Subject, field, format string, args ...any) {
	c.add(false, rule, topic, s, field, format, args...)
}

func (c *linter) hazard(h Hazard) {
	s := h.Subject()
	for _, f := range h.fields() {
		if slices.Contains(c.log.Standard.Required[string(OfHazard)], f.name) && strings.TrimSpace(f.text) == "" && len(f.items) == 0 {
			c.fail("incomplete", "identify", s, f.name, "there is none")
		}
	}
	c.rating(s, "initial", h.Initial)
	c.rating(s, "residual", h.Residual)
	c.residual(h)
	c.wording(h)
	if h.Status == Transferred && !slices.ContainsFunc(c.log.TransfersOf(h.ID), func(t Transfer) bool { return strings.TrimSpace(t.To) != "" }) {
		c.fail("no-recipient", "implement", s, "status", "is Transferred, but no transfer names a recipient")
	}
	if h.Status == Closed {
		c.closed(h)
	}
	if h.Review != "" && c.facts.Today != "" && h.Review < c.facts.Today && h.Status == Open {
		c.warn("review-overdue", "process-review", s, "review", "was due on %s", h.Review)
	}
}

func (c *linter) rating(s Subject, field string, r Rating) {
	std := c.log.Standard
	switch {
	case r.Severity == "" && r.Likelihood == "":
		c.fail("not-rated", "estimate", s, field, "nobody has rated it")
	case !slices.Contains(std.Severities, r.Severity) || !slices.Contains(std.words(), r.Likelihood):
		c.warn("unknown-word", "estimate", s, field, "%q x %q: the matrix of %s has no such words", r.Severity, r.Likelihood, std.Edition)
		c.fail("not-rated", "estimate", s, field, "cannot be looked up in the matrix")
	case !r.Owned():
		c.fail("not-assessed", "estimate", s, field, "is proposed: no clinician has assessed it")
	}
	if want := std.Severity(r.Consequence, r.Patients); want != "" && want != r.Severity {
		c.fail("severity-differs", "estimate", s, field+".severity", "is %s, but %s for %s patient(s) is %s", r.Severity, r.Consequence, r.Patients, want)
	}
}

// residual looks at what the controls are said to have achieved.
func (c *linter) residual(h Hazard) {
	s, std := h.Subject(), c.log.Standard
	risk := h.Residual.Risk()
	switch level := std.Level(risk); {
	case level.Acceptability == Unacceptable && strings.TrimSpace(h.Acceptance.Benefit) == "":
		c.fail("no-benefit-record", "benefit", s, "residual", "risk %s stays without a record of risk against benefit (acceptance.benefit)", risk)
	case risk == 3 && strings.TrimSpace(h.Acceptance.Reason) == "":
		c.warn("no-reason", "residual", s, "acceptance.reason", "risk 3 may stay only where %s: say why", level.Reason)
	case risk.Rated() && !h.Acceptance.Accepted:
		c.warn("not-accepted", "complete", s, "acceptance", "no clinical safety officer has accepted the residual risk")
	}
	if std.lower(h.Residual.Severity, h.Initial.Severity) && strings.TrimSpace(h.Residual.Lowered) == "" {
		c.warn("severity-lowered", "residual", s, "residual.severity",
			"is lower than at first (%s → %s): controls mostly change the likelihood; say in residual.lowered what changes the harm", h.Initial.Severity, h.Residual.Severity)
	}
	designed := slices.ContainsFunc(c.log.ControlsOf(h.ID), func(x Control) bool { return x.Type == Design && x.Timing == Additional })
	if std.lessLikely(h.Residual.Likelihood, h.Initial.Likelihood) && !designed {
		c.warn("people-only", "residual", s, "residual.likelihood", "is lowered by training and procedure alone, or by nothing: no additional control is in the design")
	}
}

func (c *linter) wording(h Hazard) {
	s := h.Subject()
	if n := len(strings.Fields(h.Hazard)); n > 0 && n < 4 {
		c.warn("too-short", "identify", s, "hazard", "has %d word(s): say what goes wrong for care in a sentence", n)
	}
	for i, cause := range h.Causes {
		if same(cause, h.Effect) || same(cause, h.Harm) {
			c.warn("same-words", "identify", s, fmt.Sprintf("causes[%d]", i), "is the same as the effect or the harm")
		}
	}
	if same(h.Effect, h.Harm) || same(h.Hazard, h.Harm) || same(h.Effect, h.Hazard) {
		c.warn("same-words", "identify", s, "harm", "effect, hazard and harm are not told apart")
	}
	if harmsStaffOnly(h.Harm) {
		c.warn("staff-only", "identify", s, "harm", "seems to be to staff alone: harm is to a patient in %s", c.log.Standard.Edition)
	}
}

func same(a, b string) bool {
	return a != "" && strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// harmsStaffOnly reads the words: whoever wrote them may know better, so that it
// is only asked.
func harmsStaffOnly(harm string) bool {
	staff, patient := false, false
	for _, word := range strings.FieldsFunc(strings.ToLower(harm), func(r rune) bool { return r < 'a' || r > 'z' }) {
		word = strings.TrimSuffix(word, "s")
		staff = staff || slices.Contains([]string{"staff", "clinician", "nurse", "doctor", "porter", "employee", "user"}, word)
		patient = patient || slices.Contains([]string{"patient", "baby", "babie", "child", "children", "mother", "death", "people", "person"}, word)
	}
	return staff && !patient
}

func (c *linter) closed(h Hazard) {
	s := h.Subject()
	if !h.Acceptance.Accepted {
		c.fail("closed-unaccepted", "complete", s, "status", "is Closed although nobody has accepted the residual risk")
	}
	for _, control := range c.log.ControlsOf(h.ID) {
		if state := c.facts.Evidence[control.ID]; state == Contradicted || state == Stale {
			c.warn("closed-doubtful", "effective", s, "status", "is Closed, but the evidence for %s is %s", control.ID, state)
		}
	}
}

func (c *linter) control(control Control) {
	s := control.Subject()
	if control.Timing == Additional && control.NewHazards.Answer == "" {
		c.fail("new-hazards", "new-hazards", s, "new_hazards", "does this control bring hazards of its own or change known risks? Nobody has answered")
	}
	if len(strings.Fields(control.Text)) == 1 {
		c.warn("one-word", "options", s, "text", "%q says too little: what is done, by whom, and when?", control.Text)
	}
	if len(control.Hazards) >= 3 && control.CommonCause == "" {
		c.warn("common-cause", "effective", s, "hazards", "carries %s at once: when it fails, all of them are rated too low; say in common_cause what stands behind it",
			strings.Join(control.Hazards, ", "))
	}
	if c.facts.Evidence[control.ID] == Contradicted {
		c.warn("in-question", "effective", s, "", "its evidence is contradicted: the ratings of %s are in question", strings.Join(control.Hazards, ", "))
	}
	implemented := c.facts.Implemented[control.ID]
	if c.facts.Implemented != nil && (control.Status == Implemented || control.Status == Verified) && implemented != Supported {
		c.warn("no-evidence", "implement", s, "status", "is %s, but that it is there is %s", control.Status, implemented.word())
	}
	if state := c.facts.Evidence[control.ID]; c.facts.Evidence != nil && control.Status == Verified && implemented == Supported && state != Supported {
		c.warn("no-evidence", "effective", s, "status", "is %s, but that it works is %s", control.Status, state.word())
	}
	if c.facts.Evidence[control.ID] == Stale {
		c.warn("stale", "effective", s, "", "its evidence is older than it may be")
	}
}

// whole looks at the log as a whole.
func (c *linter) whole() {
	l := c.log
	s := Subject{OfLog, l.ID}
	if len(l.Hazards) == 0 {
		c.fail("no-hazard", "identify", s, "", "there is no hazard in it")
		return
	}
	for _, condition := range []Condition{Normal, Fault} {
		if !slices.ContainsFunc(l.Hazards, func(h Hazard) bool { return slices.Contains(h.Conditions, condition) }) {
			c.warn("conditions", "identify", s, "", "no hazard is marked as one of %s conditions", condition)
		}
	}
	for _, t := range l.Transfers {
		if t.State == Declined {
			c.warn("declined", "implement", t.Subject(), "state", "%s declined it: %s", t.To, t.Reason)
		}
		for _, a := range l.AnswersTo(t.ID) {
			if a.State == Declined {
				c.warn("declined", "implement", t.Subject(), "", "%s declined it on %s: %s", a.From, a.On, a.Reason)
			}
		}
	}
	for _, r := range l.Reviews {
		if r.Done == "" && c.facts.Today != "" && r.Due < c.facts.Today {
			c.warn("review-overdue", "process-review", r.Subject(), "due", "%s was due on %s", r.Of, r.Due)
		}
	}
	c.approval(s)
}

func (c *linter) approval(s Subject) {
	a, changes := c.log.Since()
	switch {
	case a == nil:
		if c.facts.Issue {
			c.fail("not-approved", "approval", s, "", "no version has been approved by a clinical safety officer")
		}
		return
	case len(changes) > 0 && c.facts.Issue:
		c.fail("not-approved", "approval", s, "", "%d change(s) since version %s are not approved", len(changes), a.Version)
	case !a.Officer.Current(DayOf(a.At)):
		c.fail("registration", "csos", a.Subject(), "officer", "%s had no registration in force when signing", a.Officer)
	case c.facts.Today != "" && !a.Officer.Current(c.facts.Today):
		c.warn("registration", "csos", a.Subject(), "officer", "the registration of %s ended on %s", a.Officer, a.Officer.Expires)
	}
	if c.facts.Running != nil && *c.facts.Running != a.Baseline {
		c.warn("baseline", "configuration", a.Subject(), "baseline", "what runs is not what was approved: %s", a.Baseline.Drift(*c.facts.Running))
	}
}

// Drift says in what running differs from the approved baseline, "" for nothing.
func (b Baseline) Drift(running Baseline) string {
	var parts []string
	for _, f := range [][3]string{
		{"program", b.Program, running.Program},
		{"configuration", b.Config, running.Config},
		{"rules", b.Policy, running.Policy},
	} {
		if f[1] != f[2] {
			parts = append(parts, fmt.Sprintf("%s %s, approved was %s", f[0], brief(f[2]), brief(f[1])))
		}
	}
	return strings.Join(parts, "; ")
}

// brief is the beginning of a hash, or the word unknown.
func brief(text string) string {
	if text == "" {
		return "unknown"
	}
	return text[:min(len(text), 12)]
}
