package hazardlog

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong with what somebody wants to write.
type Mistake struct {
	Field string // "residual.severity"
	Text  string
}

// String is "field: text".
func (m Mistake) String() string { return m.Field + ": " + m.Text }

// Refusal is a change that was refused for what it says.
type Refusal struct {
	Subject  Subject
	Mistakes []Mistake
}

// Error names every mistake, a line each.
func (r Refusal) Error() string {
	lines := make([]string, len(r.Mistakes))
	for i, m := range r.Mistakes {
		lines[i] = r.Subject.String() + " " + m.String()
	}
	return ErrInvalid.Error() + ": " + strings.Join(lines, "\n")
}

// Unwrap makes errors.Is find ErrInvalid.
func (r Refusal) Unwrap() error { return ErrInvalid }

// mistakes is what is wrong with a value.
type mistakes []Mistake

func (m *mistakes) add(field, format string, args ...any) {
	*m = append(*m, Mistake{field, fmt.Sprintf(format, args...)})
}

// err is nil when there are none.
func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.String()
	}
	return fmt.Errorf("%w:\n%s", ErrInvalid, strings.Join(lines, "\n"))
}

func (m *mistakes) need(field, text string) {
	if strings.TrimSpace(text) == "" {
		m.add(field, "is empty")
	}
}

func (m *mistakes) day(field string, d Day) {
	if d != "" && !d.Valid() {
		m.add(field, "%q is no day: write for example 2026-11-26", string(d))
	}
}

func oneOf[T ~string](m *mistakes, field string, value T, allowed []T) {
	if slices.Contains(allowed, value) {
		return
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	m.add(field, "is %q, expected one of: %s", string(value), strings.Join(words, ", "))
}

// checkChange says what is wrong with a change of this log.
func (l Log) checkChange(by Actor, c Change) mistakes {
	var found mistakes
	subject := c.Value.Subject()
	if !validID(subject) {
		found.add("id", "%q is not of the form %s", subject.ID, exampleID(subject.Kind))
	}
	if by.Issuer == "" || by.Account == "" {
		found.add("by", "nobody is named")
	}
	if by.Officer != "" && by.Proof == nil {
		found.add("by", "%s has not proved who they are", by.Officer)
	}
	if opens := subject.Kind == OfLog && c.Expect == 0; (c.Act == OpenLog) != opens || (l.Standard == nil) != opens {
		found.add("act", "a log begins with its head, once")
		return found
	}
	if by.Issuer == SoftwareIssuer && c.Act != OpenLog && c.Act != Raise {
		found.add("by", "software may propose, and nothing else")
	}
	found = append(found, l.checkAct(c)...)
	switch v := c.Value.(type) {
	case Head:
		l.checkHead(&found, v)
	case Hazard:
		before, _ := l.current(subject).(Hazard)
		l.checkHazard(&found, by, before, v)
	case Control:
		l.checkControl(&found, v)
	case Incident:
		found.need("text", v.Text)
		found.day("on", v.On)
		l.known(&found, "hazards", v.Hazards...)
		if v.Resolved {
			found.need("resolution", v.Resolution)
			found.need("assessment", v.Assessment)
		}
	case Decision:
		found.need("text", v.Text)
		found.need("reason", v.Reason)
		found.day("on", v.On)
		l.known(&found, "hazards", v.Hazards...)
	case Transfer:
		l.checkTransfer(&found, by, v)
	case Review:
		found.need("of", v.Of)
		found.need("due", string(v.Due))
		found.day("due", v.Due)
		found.day("done", v.Done)
	case Approval:
		l.checkApproval(&found, by, v)
	case Reply:
		l.checkReply(&found, v)
	}
	return found
}

func validID(s Subject) bool {
	switch s.Kind {
	case OfLog:
		return true
	case OfVersion:
		return regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,4}){1,2}$`).MatchString(s.ID)
	case OfHazard:
		return regexp.MustCompile(`^[A-Z]{2,8}-[0-9]{2,4}$`).MatchString(s.ID)
	case OfControl, OfIncident, OfDecision, OfTransfer, OfReview, OfReply:
		return strings.HasPrefix(s.ID, exampleID(s.Kind)[:2]) && regexp.MustCompile(`^[A-Z]-[0-9]{2,5}$`).MatchString(s.ID)
	}
	return false
}

func exampleID(k Kind) string {
	switch k {
	case OfHazard:
		return "GW-01"
	case OfControl:
		return "C-01"
	case OfIncident:
		return "I-01"
	case OfDecision:
		return "D-01"
	case OfTransfer:
		return "T-01"
	case OfReview:
		return "R-01"
	case OfReply:
		return "A-01"
	case OfVersion:
		return "1.4"
	case OfLog:
	}
	return "head"
}

// checkAct refuses a change of more than the act says: nobody changes a rating
// in passing.
func (l Log) checkAct(c Change) mistakes {
	var found mistakes
	before := l.current(c.Value.Subject())
	switch {
	case c.Expect == 0 && c.Act != OpenLog && c.Act != Raise && c.Act != Approve,
		c.Expect > 0 && (c.Act == OpenLog || c.Act == Raise || c.Act == Approve):
		found.add("act", "%s does not fit", c.Act)
		return found
	case before == nil:
		return nil
	}
	for _, d := range differences(before, c.Value) {
		if act := actOf(d.Subject.Kind, d.Field); act != c.Act {
			found.add(d.Field, "is not changed by %q but by %q", c.Act, act)
		}
	}
	return found
}

// actOf is the act that changes a field.
func actOf(k Kind, name string) Act {
	top, _, _ := strings.Cut(name, ".")
	switch {
	case k == OfHazard && (top == "initial" || top == "residual" || top == "acceptance"):
		return Rate
	case k == OfTransfer && (top == "state" || top == "reason" || top == "by"):
		return Answer
	case top == "status" || top == "resolved" || top == "resolution" || top == "done" || top == "outcome":
		return Move
	}
	return Edit
}

func (l Log) checkHead(found *mistakes, h Head) {
	found.need("title", h.Title)
	oneOf(found, "role", h.Role, []Role{Manufacturer, Deployer})
	oneOf(found, "standard", h.StandardID, StandardIDs())
	if s, err := LoadStandard(h.StandardID); err == nil && s.Role != h.Role {
		found.add("standard", "%s is for the log of a %s", s.Edition, s.Role)
	}
}

func (l Log) checkHazard(found *mistakes, by Actor, before, h Hazard) {
	found.need("name", h.Name)
	found.need("owner", h.Owner)
	found.day("review", h.Review)
	oneOf(found, "status", h.Status, l.Standard.Statuses)
	for i, c := range h.Conditions {
		oneOf(found, fmt.Sprintf("conditions[%d]", i), c, []Condition{Normal, Fault})
	}
	for i, cause := range h.Causes {
		found.need(fmt.Sprintf("causes[%d]", i), cause)
	}
	l.checkRating(found, "initial", by, before.Initial, h.Initial)
	l.checkRating(found, "residual", by, before.Residual, h.Residual)
	switch {
	case h.Acceptance != before.Acceptance:
		l.checkAcceptance(found, by, h)
	case h.Acceptance.Accepted && (h.Residual.Severity != before.Residual.Severity || h.Residual.Likelihood != before.Residual.Likelihood):
		found.add("acceptance", "was given for %s: withdraw it, or accept the new risk", before.Residual)
	}
	if h.Status == Closed && before.Status != Closed {
		l.checkClosing(found, h)
	}
}

// checkRating accepts a rating with both words and a reason, or with nothing at
// all, which is not rated. Only the officer who acts may own it.
func (l Log) checkRating(found *mistakes, field string, by Actor, before, r Rating) {
	if r == before {
		return
	}
	if r == (Rating{}) {
		return
	}
	if r.Consequence != "" {
		l.checkConsequence(found, field, r)
	}
	oneOf(found, field+".severity", r.Severity, l.Standard.Severities)
	oneOf(found, field+".likelihood", r.Likelihood, l.Standard.words())
	found.need(field+".justification", r.Justification)
	oneOf(found, field+".state", r.State, []RatingState{RatingProposed, RatingAssessed})
	switch {
	case r.State == RatingAssessed && (by.Officer == "" || r.By != by.Officer):
		found.add(field+".state", "only a clinical safety officer who has just proved who they are assesses a rating; it can be proposed")
	case r.State == RatingProposed && r.By != "":
		found.add(field+".by", "nobody owns a rating that is proposed")
	}
}

func (l Log) checkConsequence(found *mistakes, field string, r Rating) {
	ids := make([]string, len(l.Standard.Consequences))
	for i, c := range l.Standard.Consequences {
		ids[i] = c.ID
	}
	oneOf(found, field+".consequence", r.Consequence, ids)
	oneOf(found, field+".patients", r.Patients, []Patients{OnePatient, SeveralPatients})
	if s := l.Standard.Severity(r.Consequence, r.Patients); s != "" && r.Severity != s {
		found.add(field+".severity", "is %s, but %s for %s patient(s) is %s in %s", r.Severity, r.Consequence, r.Patients, s, l.Standard.Edition)
	}
}

func (l Log) checkAcceptance(found *mistakes, by Actor, h Hazard) {
	a := h.Acceptance
	level := l.Standard.Level(h.Residual.Risk())
	switch {
	case !a.Accepted:
	case by.Officer == "" || a.By != by.Officer:
		found.add("acceptance", "only a clinical safety officer who has just proved who they are accepts a risk")
	case level.Acceptability == NotRated || !h.Residual.Owned():
		found.add("acceptance", "the residual risk is not assessed by a clinician")
	case level.Acceptability == Unacceptable:
		found.add("acceptance", "risk %s cannot be accepted: %s", level.Risk, level.Meaning)
	case level.Reason != "" && strings.TrimSpace(a.Reason) == "":
		found.add("acceptance.reason", "risk %s may stay only where %s: say why that is so", level.Risk, level.Reason)
	}
}

// checkClosing lets a hazard be closed only when its residual risk is accepted.
func (l Log) checkClosing(found *mistakes, h Hazard) {
	if level := l.Standard.Level(h.Residual.Risk()); !h.Acceptance.Accepted || level.Acceptability == Unacceptable {
		found.add("status", "cannot be Closed: no clinical safety officer has accepted the residual risk (%s)", h.Residual)
	}
}

func (l Log) checkControl(found *mistakes, c Control) {
	found.need("text", c.Text)
	oneOf(found, "type", c.Type, l.Standard.ControlTypes)
	oneOf(found, "timing", c.Timing, []ControlTiming{Existing, Additional})
	oneOf(found, "status", c.Status, []ControlStatus{Proposed, InPlace, Implemented, Verified})
	if len(c.Hazards) == 0 {
		found.add("hazards", "there is none")
	}
	l.known(found, "hazards", c.Hazards...)
	for i, d := range c.Documents {
		checkDocument(found, fmt.Sprintf("documents[%d]", i), d)
	}
	switch n := c.NewHazards; n.Answer {
	case "":
	case NoNewHazards:
		found.need("new_hazards.reason", n.Reason)
	case SomeNewHazards:
		if len(n.Hazards) == 0 {
			found.add("new_hazards.hazards", "there is none")
		}
		l.known(found, "new_hazards.hazards", n.Hazards...)
	default:
		oneOf(found, "new_hazards.answer", n.Answer, []string{NoNewHazards, SomeNewHazards})
	}
}

func checkDocument(found *mistakes, field string, d Document) {
	oneOf(found, field+".slot", d.Slot, []EvidenceSlot{SlotImplemented, SlotEffective})
	found.need(field+".title", d.Title)
	found.need(field+".on", string(d.On))
	found.day(field+".on", d.On)
	found.need(field+".review", string(d.Review))
	found.day(field+".review", d.Review)
	if u, err := url.Parse(d.Link); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		found.add(field+".link", "is no address of a document: write for example https://intranet.example.org/drill.pdf")
	}
}

func (l Log) checkTransfer(found *mistakes, by Actor, t Transfer) {
	found.need("condition", t.Condition)
	l.known(found, "hazard", t.Hazard)
	if _, ok := l.Control(t.Control); t.Control != "" && !ok {
		found.add("control", "there is no control %s", t.Control)
	}
	oneOf(found, "state", t.State, []TransferState{Offered, Accepted, Declined})
	if t.State == Offered {
		return
	}
	found.need("to", t.To)
	if t.State == Declined {
		found.need("reason", t.Reason)
	}
	if before, _ := l.current(t.Subject()).(Transfer); before.State != t.State && (by.Officer == "" || t.By != by.Officer) {
		found.add("state", "only a clinical safety officer who has just proved who they are accepts or declines")
	}
}

// known refuses names of hazards that are not in the log.
func (l Log) known(found *mistakes, field string, hazards ...string) {
	for _, id := range hazards {
		if _, ok := l.Find(id); !ok {
			found.add(field, "there is no hazard %q", id)
		}
	}
}
