package dashboards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/policy"
)

const (
	kindSign = "sign"
	// signWithin is how long after the page was opened something may be signed.
	signWithin = 30 * time.Minute
	// signSkew is how far the clock of the sign-in service may be behind.
	signSkew = time.Minute
	// signInProof is the method of a proof that was given by signing in again.
	signInProof = "sign-in"
)

// signing is what an officer signs.
type signing string

// The things that only an officer signs.
const (
	signApprove signing = "approve" // a version of the log
	signAssess  signing = "assess"  // proposed ratings
	signAccept  signing = "accept"  // a residual risk, or that it is no longer accepted
	signAnswer  signing = "answer"  // a transfer
)

// ticket stands in the address of the page on which something is signed. It says who
// looked at which state of the log and when, so that the officer's new sign-in is for
// this and for nothing else: once the log has changed, by the signature itself or by
// anybody, it is worth nothing.
type ticket struct {
	What    signing   `json:"w"`
	ID      string    `json:"i,omitempty"`
	Log     string    `json:"l"`
	Seq     uint64    `json:"q"`
	Issuer  string    `json:"o"`
	Account string    `json:"a"`
	At      time.Time `json:"t"`
}

// ticket makes the address at which the viewer signs.
func (s *Site) ticket(r *http.Request, c safetyCase, what signing, id string) string {
	who := policy.SubjectFrom(r.Context())
	plain, err := json.Marshal(ticket{what, id, c.ID, c.Seq(), who.Issuer, who.Sub, s.cfg.Now().UTC()})
	if err != nil { // cannot happen: its fields are plain
		return safetyBase + "/release"
	}
	return safetyBase + "/sign/" + s.seal.seal(kindSign, string(plain))
}

// signAgain is the address that leads to a page by signing in again.
func (s *Site) signAgain(page string) string {
	return s.cfg.Safety.SignIn + "?again=now&return=" + url.QueryEscape(page)
}

// officer is the clinical safety officer that the viewer is.
func (s *Site) officer(r *http.Request) (hazardlog.Officer, bool) {
	if s.cfg.Safety.Officer == nil || s.cfg.Safety.Began == nil || s.cfg.Safety.SignIn == "" || !s.mayEdit(r) {
		return hazardlog.Officer{}, false
	}
	return s.cfg.Safety.Officer(policy.SubjectFrom(r.Context()))
}

// signer is an officer who may sign what the ticket says, now.
type signer struct {
	ticket
	officer hazardlog.Officer
	who     policy.Subject
	now     time.Time
}

// readTicket reads the ticket of the address, which must be the viewer's own.
func (s *Site) readTicket(r *http.Request) (ticket, error) {
	var t ticket
	plain, err := s.seal.open(kindSign, r.PathValue("ticket"))
	if err != nil || json.Unmarshal([]byte(plain), &t) != nil {
		return t, errOpaque
	}
	if who := policy.SubjectFrom(r.Context()); t.Issuer != who.Issuer || t.Account != who.Sub {
		return t, errNotPermitted
	}
	return t, nil
}

// signable finds out whether the viewer may sign now; refused says why not, in
// sentences, with where to go on.
func (s *Site) signable(r *http.Request, c safetyCase, t ticket) (who signer, refused []string, next pageLink) {
	who = signer{ticket: t, who: policy.SubjectFrom(r.Context()), now: s.cfg.Now()}
	var ok bool
	again := pageLink{"Look at the log again", t.back()}
	switch who.officer, ok = s.officer(r); {
	case !ok:
		return who, []string{"You are not one of the clinical safety officers whom the configuration names (hazard_log.officers)."}, again
	case !who.officer.Current(s.today()):
		return who, []string{expired(who.officer)}, again
	case t.Log != c.ID || t.Seq != c.Seq():
		refused = []string{"The log has changed since you opened the page. Nothing was signed. Look at what changed, then begin again:"}
		for _, e := range c.Events()[min(t.Seq, c.Seq()):] {
			refused = append(refused, c.Describe(e)...)
		}
		return who, refused, again
	case who.now.Sub(t.At) > signWithin:
		return who, []string{"You opened the page more than " + formatSpan(signWithin) + " ago. Nothing was signed."}, again
	case !s.provedSince(who.who, t.At):
		return who, []string{"You have not proved again who you are since you opened the page. Nothing was signed."}, pageLink{"Sign in again", s.signAgain(r.URL.Path)}
	}
	return who, nil, again
}

// provedSince reports whether somebody has signed in again since: their session is
// younger by this machine's clock, and the sign-in service says that it asked them.
func (s *Site) provedSince(who policy.Subject, since time.Time) bool {
	return s.cfg.Safety.Began(who).After(since) && !who.AuthTime.Before(since.Add(-signSkew))
}

// back is the page from which the ticket's signing begins.
func (t ticket) back() string {
	if t.What == signAccept {
		return hazardsBase + "/" + t.ID
	}
	return safetyBase + "/release"
}

// Confirm implements hazardlog.Authenticator: the officer has just signed in, and
// sends the form on which stands what is signed.
func (v signer) Confirm(_ context.Context, _ hazardlog.Officer, text string) (hazardlog.Proof, error) {
	evidence, err := json.Marshal(struct {
		Issuer   string    `json:"issuer"`
		Account  string    `json:"account"`
		AuthTime time.Time `json:"auth_time"`
		ACR      string    `json:"acr,omitempty"`
		AMR      []string  `json:"amr,omitempty"`
		Session  string    `json:"session"`
		SHA256   string    `json:"text_sha256"`
	}{v.who.Issuer, v.who.Sub, v.who.AuthTime.UTC(), v.who.ACR, v.who.AMR, v.who.Session, hazardlog.Hash([]byte(text))})
	return hazardlog.Proof{Method: signInProof, Evidence: string(evidence), At: v.now.UTC().Truncate(time.Microsecond)}, err
}

// sign shows the form on which something is signed, and takes it in.
func (s *Site) sign(r *http.Request) (answer, error) {
	t, err := s.readTicket(r)
	if err != nil {
		return answer{}, err
	}
	c, err := s.theCase(r)
	if err != nil {
		return answer{}, err
	}
	who, refused, next := s.signable(r, c, t)
	if refused != nil {
		page := s.safetyView(r, "Not signed", "This cannot be signed")
		part := safetyPart{Trouble: refused[0], Links: []pageLink{next}}
		for _, line := range refused[1:] {
			part.Items = append(part.Items, text(line))
		}
		page.add(part)
		return answer{status: http.StatusConflict, template: "safety", view: page}, nil
	}
	form, ok := s.signForms()[t.What]
	if !ok {
		return answer{}, errOpaque
	}
	if r.Method != http.MethodPost {
		return form.show(r, c, who, url.Values{}, nil)
	}
	r.Body = http.MaxBytesReader(nil, r.Body, safetyFormBytes)
	if r.ParseForm() != nil {
		return answer{}, errOpaque
	}
	by, changes, wrong, err := form.take(r, c, who)
	if err == nil && wrong == nil {
		err = s.cfg.Safety.Change(r.Context(), c.ID, by, changes...)
	}
	switch {
	case errors.Is(err, hazardlog.ErrConflict), errors.Is(err, hazardlog.ErrInvalid):
		wrong = map[string]string{"": err.Error()}
	case err != nil:
		return answer{}, unavailable("hazards", err)
	}
	if wrong != nil {
		a, err := form.show(r, c, who, r.PostForm, wrong)
		a.status = http.StatusUnprocessableEntity
		return a, err
	}
	return answer{location: t.back()}, nil
}

// signForm is the form of one thing that is signed.
type signForm struct {
	show func(r *http.Request, c safetyCase, who signer, given url.Values, wrong map[string]string) (answer, error)
	take func(r *http.Request, c safetyCase, who signer) (by hazardlog.Actor, changes []hazardlog.Change, wrong map[string]string, err error)
}

func (s *Site) signForms() map[signing]signForm {
	return map[signing]signForm{
		signApprove: {s.showApprove, s.takeApprove},
		signAssess:  {s.showAssess, s.takeAssess},
		signAccept:  {s.showAccept, s.takeAccept},
		signAnswer:  {s.showAnswer, s.takeAnswer},
	}
}

// signPage begins the page of a form that is signed.
func (s *Site) signPage(r *http.Request, heading string, who signer, f pageForm, wrong map[string]string, before ...safetyPart) answer {
	page := s.safetyView(r, heading, heading)
	page.back("Back without signing", who.back())
	page.fault("maincontent", wrong[""])
	for _, c := range f.Controls {
		id := ""
		switch {
		case c.Input != nil:
			id = c.Input.ID
		case c.Area != nil:
			id = c.Area.ID
		case c.Checks != nil:
			id = c.Checks.IDPrefix
		case c.Radios != nil:
			id = c.Radios.IDPrefix
		}
		page.fault(id, wrong[id])
	}
	for _, p := range before {
		page.add(p)
	}
	f.Method, f.Action = "post", r.URL.Path
	f.Note = "You sign as " + who.officer.String() + ". It is recorded with your name, and cannot be taken out."
	page.add(safetyPart{Forms: []pageForm{f}, Facts: &summaryList{Rows: []summaryRow{
		{text("Officer"), text(who.officer.Name)},
		{text("Professional body"), text(who.officer.Body)},
		{text("Registration"), text(who.officer.Number)},
		{text("In force until"), text(who.officer.Expires.String())},
		{text("Proved who you are"), text("By signing in again, " + s.formatTime(who.who.AuthTime))},
	}}})
	return answer{template: "safety", view: page}
}

func area(id, asks, help, value, wrong string) formControl {
	a := textarea{ID: id, Name: id, Label: label{Text: asks, Size: "s"}, Value: value, Rows: 4, ErrorMessage: message(wrong)}
	if help != "" {
		a.Hint = &hint{help}
	}
	return formControl{Area: &a}
}

// showApprove is the sign-off of a version: over which bytes, what changed, and two
// confirmations, each for itself.
func (s *Site) showApprove(r *http.Request, c safetyCase, who signer, given url.Values, wrong map[string]string) (answer, error) {
	content, err := c.Snapshot()
	if err != nil {
		return answer{}, unavailable("hazards", err)
	}
	version := given.Get("version")
	if version == "" && wrong == nil {
		version = nextVersion(c.Log)
	}
	confirm := checkboxes{IDPrefix: "confirm", Name: "confirm", Fieldset: fieldset{legend{Text: "Confirm each for itself", Size: "s"}}, ErrorMessage: message(wrong["confirm"])}
	for i, words := range hazardlog.Confirmations() {
		value := fmt.Sprint(i)
		confirm.Items = append(confirm.Items, checkbox{Value: value, Text: words, Checked: slices.Contains(given["confirm"], value)})
	}
	f := pageForm{
		Submit: button{Text: "Sign this version"},
		Controls: []formControl{
			{Input: &input{ID: "version", Name: "version", Label: label{Text: "Version", Size: "s"}, Hint: &hint{"It must come after the last one, for example 1.4."}, Value: version, Width: 10, Autocomplete: "off", ErrorMessage: message(wrong["version"])}},
			area("statement", "Summary safety statement", "In your words: why the residual risk is acceptable.", given.Get("statement"), wrong["statement"]),
			{Checks: &confirm},
		},
	}
	return s.signPage(r, "Sign a version of the hazard log", who, f, wrong, changesPart(c), s.snapshotPart(c, content, c.Lint(s.facts(c))), questionPart(c)), nil
}

func (s *Site) takeApprove(r *http.Request, c safetyCase, who signer) (hazardlog.Actor, []hazardlog.Change, map[string]string, error) {
	off := hazardlog.SignOff{Version: typed(r, "version"), Statement: typed(r, "statement"), Officer: who.officer, Facts: s.facts(c)}
	wrong := map[string]string{}
	if off.Version == "" {
		wrong["version"] = "Say which version it is"
	}
	if off.Statement == "" {
		wrong["statement"] = "Say why the residual risk is acceptable"
	}
	for i := range off.Confirmed {
		if off.Confirmed[i] = slices.Contains(r.PostForm["confirm"], fmt.Sprint(i)); !off.Confirmed[i] {
			wrong["confirm"] = "Confirm both, or do not sign"
		}
	}
	if len(wrong) > 0 {
		return hazardlog.Actor{}, nil, wrong, nil
	}
	if s.cfg.Safety.Running != nil {
		off.Baseline = s.cfg.Safety.Running()
	}
	if s.cfg.Safety.Evidence != nil {
		frozen, err := hazardlog.Freeze(c.report)
		if err != nil {
			return hazardlog.Actor{}, nil, nil, err
		}
		off.Evidence = frozen
	}
	by, change, err := c.Approve(r.Context(), editor(r), off, who, who.now)
	return by, []hazardlog.Change{change}, nil, err
}

// showAssess lists the proposed ratings that the officer may make their own.
func (s *Site) showAssess(r *http.Request, c safetyCase, who signer, given url.Values, wrong map[string]string) (answer, error) {
	boxes := checkboxes{
		IDPrefix: "hazards", Name: "hazards", Small: true, Fieldset: fieldset{legend{Text: "Which ratings are yours from now on?", Size: "m"}},
		Hint: &hint{"You stand behind each that you select. To rate otherwise, go back and rate the hazard anew."}, ErrorMessage: message(wrong["hazards"]),
	}
	for _, h := range c.Hazards {
		if !isProposed(h) {
			continue
		}
		words := "Initial " + h.Initial.String() + ". Residual " + h.Residual.String() + ": " + h.Residual.Justification
		if doubt := c.questioned(h.ID); doubt != "" {
			words = doubt + ". " + words
		}
		boxes.Items = append(boxes.Items, checkbox{Value: h.ID, Text: h.ID + " " + h.Name, Checked: slices.Contains(given["hazards"], h.ID), Hint: &hint{words}})
	}
	f := pageForm{Submit: button{Text: "Sign these assessments"}, Controls: []formControl{{Checks: &boxes}, area("why", "On what grounds?", "", given.Get("why"), wrong["why"])}}
	return s.signPage(r, "Assess proposed ratings", who, f, wrong), nil
}

func (s *Site) takeAssess(r *http.Request, c safetyCase, who signer) (hazardlog.Actor, []hazardlog.Change, map[string]string, error) {
	var changes []hazardlog.Change
	for _, id := range r.PostForm["hazards"] {
		h, ok := c.Find(id)
		if !ok || !isProposed(h) {
			return hazardlog.Actor{}, nil, map[string]string{"hazards": "Select hazards from the list"}, nil
		}
		for _, v := range []*hazardlog.Rating{&h.Initial, &h.Residual} {
			if v.State == hazardlog.RatingProposed {
				v.State, v.By = hazardlog.RatingAssessed, who.officer.String()
			}
		}
		changes = append(changes, hazardlog.Change{Act: hazardlog.Rate, Value: h, Expect: c.Revision(h.Subject()), Why: typed(r, "why")})
	}
	if changes == nil {
		return hazardlog.Actor{}, nil, map[string]string{"hazards": "Select the ratings that are yours"}, nil
	}
	return who.proves(r, c, changes)
}

// proves makes the officer sign changes.
func (v signer) proves(r *http.Request, c safetyCase, changes []hazardlog.Change) (hazardlog.Actor, []hazardlog.Change, map[string]string, error) {
	words, err := hazardlog.Text(c.ID, changes)
	if err != nil {
		return hazardlog.Actor{}, nil, nil, err
	}
	by, err := editor(r).Prove(r.Context(), v.officer, v, words, v.now)
	return by, changes, nil, err
}

// showAccept is the acceptance of one residual risk.
func (s *Site) showAccept(r *http.Request, c safetyCase, who signer, given url.Values, wrong map[string]string) (answer, error) {
	h, ok := c.Find(who.ID)
	if !ok {
		return answer{}, errOpaque
	}
	level := c.Standard.Level(h.Residual.Risk())
	choice := radios{IDPrefix: "choice", Name: "choice", Fieldset: fieldset{legend{Text: "What do you decide?", Size: "s"}}, ErrorMessage: message(wrong["choice"])}
	for _, o := range []option{{Value: "accept", Text: "I accept this residual risk"}, {Value: "withdraw", Text: "I do not accept it, or no longer"}} {
		choice.Items = append(choice.Items, radio{Value: o.Value, Text: o.Text, Checked: given.Get("choice") == o.Value})
	}
	reason, benefit := h.Acceptance.Reason, h.Acceptance.Benefit
	if wrong != nil {
		reason, benefit = given.Get("reason"), given.Get("benefit")
	}
	f := pageForm{Submit: button{Text: "Sign this decision"}, Controls: []formControl{
		{Radios: &choice},
		area("reason", "Why may it stay?", level.Meaning, reason, wrong["reason"]),
		area("benefit", "Risk against benefit", "The record that a risk of 4 or 5 needs to stay in the log. Such a risk cannot be accepted.", benefit, wrong["benefit"]),
		area("why", "Why now?", "", given.Get("why"), wrong["why"]),
	}}
	shown := safetyPart{Facts: &summaryList{Rows: []summaryRow{{text("Hazard"), text(h.ID + " " + h.Name)}, {text("Harm"), text(h.Harm)}, {text("Evidence"), text(c.evidenceOf(c.ControlsOf(h.ID)))}}}, Tables: []table{c.ratingTable(h)}}
	if words := c.questioned(h.ID); words != "" {
		shown.Trouble = words + "."
	}
	return s.signPage(r, "Accept the residual risk of "+h.ID, who, f, wrong, shown), nil
}

func (s *Site) takeAccept(r *http.Request, c safetyCase, who signer) (hazardlog.Actor, []hazardlog.Change, map[string]string, error) {
	h, ok := c.Find(who.ID)
	if !ok {
		return hazardlog.Actor{}, nil, nil, errOpaque
	}
	next := hazardlog.Acceptance{Benefit: typed(r, "benefit")}
	switch r.PostForm.Get("choice") {
	case "withdraw":
	case "accept":
		if level := c.Standard.Level(h.Residual.Risk()); level.Acceptability == hazardlog.Unacceptable {
			return hazardlog.Actor{}, nil, map[string]string{"choice": "Risk " + level.Risk.String() + " cannot be accepted. Note risk against benefit, and do not accept it"}, nil
		}
		next.Accepted, next.Reason, next.By = true, typed(r, "reason"), who.officer.String()
	default:
		return hazardlog.Actor{}, nil, map[string]string{"choice": "Select what you decide"}, nil
	}
	h.Acceptance = next
	return who.proves(r, c, []hazardlog.Change{{Act: hazardlog.Rate, Value: h, Expect: c.Revision(h.Subject()), Why: typed(r, "why")}})
}

// showAnswer is the recipient's answer to a transfer.
func (s *Site) showAnswer(r *http.Request, c safetyCase, who signer, given url.Values, wrong map[string]string) (answer, error) {
	t, ok := c.Holds(hazardlog.Subject{Kind: hazardlog.OfTransfer, ID: who.ID}).(hazardlog.Transfer)
	if !ok {
		return answer{}, errOpaque
	}
	choice := radios{IDPrefix: "choice", Name: "choice", Fieldset: fieldset{legend{Text: "What do you answer?", Size: "s"}}, ErrorMessage: message(wrong["choice"])}
	for _, o := range []option{{Value: string(hazardlog.Accepted), Text: "We accept it and will do it"}, {Value: string(hazardlog.Declined), Text: "We decline it"}} {
		choice.Items = append(choice.Items, radio{Value: o.Value, Text: o.Text, Checked: given.Get("choice") == o.Value})
	}
	f := pageForm{Submit: button{Text: "Sign this answer"}, Controls: []formControl{{Radios: &choice}, area("reason", "Why do you decline it?", "Needed when you do.", given.Get("reason"), wrong["reason"])}}
	shown := safetyPart{Facts: &summaryList{Rows: []summaryRow{{text("Transfer"), text(t.ID)}, {text("Hazard"), text(t.Hazard)}, {text("What you are asked to do"), text(t.Condition)}, {text("Asked of"), text(t.To)}}}}
	return s.signPage(r, "Answer transfer "+t.ID, who, f, wrong, shown), nil
}

func (s *Site) takeAnswer(r *http.Request, c safetyCase, who signer) (hazardlog.Actor, []hazardlog.Change, map[string]string, error) {
	t, ok := c.Holds(hazardlog.Subject{Kind: hazardlog.OfTransfer, ID: who.ID}).(hazardlog.Transfer)
	if !ok {
		return hazardlog.Actor{}, nil, nil, errOpaque
	}
	t.State, t.Reason, t.By = hazardlog.TransferState(r.PostForm.Get("choice")), strings.TrimSpace(typed(r, "reason")), who.officer.String()
	switch {
	case t.State != hazardlog.Accepted && t.State != hazardlog.Declined:
		return hazardlog.Actor{}, nil, map[string]string{"choice": "Select what you answer"}, nil
	case t.State == hazardlog.Declined && t.Reason == "":
		return hazardlog.Actor{}, nil, map[string]string{"reason": "Say why you decline it"}, nil
	}
	return who.proves(r, c, []hazardlog.Change{{Act: hazardlog.Answer, Value: t, Expect: c.Revision(t.Subject())}})
}
