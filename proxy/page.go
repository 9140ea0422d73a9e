package proxy

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/policy"
)

//go:embed refusal.html
var refusalHTML string

//go:embed refusal.css
var refusalCSS []byte

// refusalPage is what refusal.html shows. Nothing in it names a patient.
type refusalPage struct {
	Title     string
	Reasons   []policy.Reason
	Reference string
	Unknown   bool   // a change may or may not have been made
	Unsent    bool   // a form was not sent on
	SignIn    string // where to sign in, "" when that does not help
	Wait      string // how long to wait before trying again, "" when that does not help
	Home      string // where to start again, "" when there is nowhere
	When      string // the time, as the service desk asks for it

	Service, Organisation string
	BreakGlass            string // where to confirm an emergency, "" when not offered
	Stylesheet            string
}

// problem is application/problem+json (RFC 9457) with what staff and software
// need besides.
type problem struct {
	Type      string    `json:"type"`
	Title     string    `json:"title"`
	Status    int       `json:"status"`
	Detail    string    `json:"detail"`
	Reference string    `json:"reference"`
	Reasons   []because `json:"reasons"`
	Effect    string    `json:"effect,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
	SignIn    string    `json:"sign_in,omitempty"`
	// Challenge is what would turn the refusal into a permission, BreakGlass the
	// address of the page where a person confirms an emergency.
	Challenge  policy.Offer `json:"challenge,omitempty"`
	BreakGlass string       `json:"break_glass,omitempty"`
}

type because struct {
	Code   string `json:"code"`
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// operationOutcome is the FHIR R4 form of a refusal.
type operationOutcome struct {
	ResourceType string  `json:"resourceType"`
	Issue        []issue `json:"issue"`
}

type issue struct {
	Severity    string  `json:"severity"`
	Code        string  `json:"code"`
	Details     details `json:"details"`
	Diagnostics string  `json:"diagnostics"`
}

type details struct {
	Text string `json:"text"`
}

// send writes a refusal: a page for a person, and for software the form that it
// understands.
func (x *exchange) send(e explanation) {
	var (
		body        []byte
		contentType string
		err         error
	)
	status := e.status
	if e.is(errNotShown) {
		status = x.saved
	}
	switch form := x.denyForm(); {
	case form == DenyMessages:
		contentType, status = "text/xml; charset=UTF-8", http.StatusOK
		body, err = x.messages(e)
	case form == DenyTryton && x.access.Reply != "":
		contentType, status = "application/json", http.StatusOK
		body, err = x.trytonError(e)
	case form == DenySOAPFault:
		contentType, status = "text/xml; charset=utf-8", http.StatusInternalServerError
		body, err = x.soapFault(e)
	case wantsPage(x.r):
		contentType = "text/html; charset=utf-8"
		if body = x.emergencyPage(); body == nil {
			body, err = x.renderPage(e)
		}
	case form == DenyOperationOutcome:
		contentType = "application/fhir+json; charset=utf-8"
		body, err = json.Marshal(x.operationOutcome(e))
	case form == DenyOpenMRS:
		contentType = "application/json"
		body, err = x.openmrsError(e)
	case form == DenyOpenEHR:
		contentType = "application/json"
		body, err = x.openehrMessage(e)
	default:
		contentType = "application/problem+json"
		body, err = json.Marshal(x.problem(e))
	}
	if err != nil {
		x.logSend(err)
		contentType, body = "text/plain; charset=utf-8", []byte(e.title+"\nReference: "+x.id+"\n")
	}
	x.sendBody(status, contentType, body)
}

// sendBody sends what the gateway itself answers.
func (x *exchange) sendBody(status int, contentType string, body []byte) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept, Sec-Fetch-Mode")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // without one a form of ours would come from nowhere
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'")
	x.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.Write(body) // Write notes what goes wrong
	}
}

// wantsPage reports whether a person's browser asks, navigating.
func wantsPage(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	if r.Header.Get("X-Requested-With") != "" || r.Header.Get("Upgrade") != "" {
		return false
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// redirects reports whether a refusal sends the browser to sign in. A write is
// never answered with a redirect: what was typed would be lost (GW-06).
func (x *exchange) redirects(e explanation) bool {
	switch {
	case e.is(ErrNoSession), e.is(ErrSessionExpired):
		return x.navigates()
	case e.is(errStepUp):
		return x.navigates() && x.stepUpMayHelp() && !x.emergencyInstead()
	}
	return false
}

// redirectToSignIn sends the browser to sign in and back to where it was going.
func (x *exchange) redirectToSignIn(e explanation) {
	h := x.w.Header()
	address := x.signIn(x.r.URL.RequestURI())
	if e.is(errStepUp) {
		address = x.stepUp(x.address())
	}
	h.Set("Location", address)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept, Sec-Fetch-Mode")
	x.WriteHeader(http.StatusSeeOther)
}

// signIn is the address that signs in and leads back to target.
func (x *exchange) signIn(target string) string {
	return x.g.cfg.SignInPath + "?" + returnParameter + "=" + url.QueryEscape(target)
}

// signInFor returns where to sign in when that would help: back to the page that
// the request came from.
func (x *exchange) signInFor(e explanation) string {
	switch {
	case e.status != http.StatusUnauthorized:
		return ""
	case e.is(errStepUp) && x.navigates():
		return x.stepUp(x.address())
	case e.is(errStepUp):
		return x.stepUp(cmp.Or(x.cameFrom(), "/"))
	}
	return x.signIn(cmp.Or(x.cameFrom(), "/"))
}

// cameFrom is the page of this gateway that the request came from, "" for none.
func (x *exchange) cameFrom() string {
	from, err := url.Parse(x.r.Header.Get("Referer"))
	if err != nil || from.Host == "" || from.Host != x.r.Host || !canonicalPath(from.Path) {
		return ""
	}
	return from.RequestURI()
}

// reasons returns the answers of the rules, or the explanation where the rules
// were not asked.
func (x *exchange) reasons(e explanation) []policy.Reason {
	if (e.is(errDenied) || e.is(errChallenged)) && len(x.answer.Reasons) > 0 {
		return x.answer.Reasons
	}
	if e.is(errUnclassifiable) && x.access.Because != nil {
		return []policy.Reason{*x.access.Because}
	}
	if e.is(errNotShown) {
		return append([]policy.Reason{{Code: e.code, Text: e.text, Remedy: e.remedy}}, x.answer.Reasons...)
	}
	remedy := e.remedy
	if x.fateUnknown() { // never "try again" beside it (GW-05)
		remedy = "Check the record before repeating it, and tell the service desk the reference."
	}
	return []policy.Reason{{Code: e.code, Text: e.text, Remedy: remedy}}
}

// renderPage makes the page for a person.
func (x *exchange) renderPage(e explanation) ([]byte, error) {
	p := refusalPage{
		Title: e.title, Reasons: x.reasons(e), Reference: x.id,
		Unknown: x.fateUnknown(), Unsent: !x.forwarded && e.status == http.StatusUnauthorized && !x.navigates(),
		SignIn: x.signInFor(e), Stylesheet: stylesheetPath, Wait: waitWords(x.w.Header().Get("Retry-After")),
		When:    x.g.cfg.Now().In(x.g.cfg.Location).Format("2 January 2006, 15:04:05"),
		Service: x.g.cfg.Service, Organisation: x.g.cfg.Organisation,
	}
	if p.SignIn == "" {
		p.Home = x.g.cfg.Home
	}
	p.BreakGlass = x.offered
	var b bytes.Buffer
	err := x.g.page.Execute(&b, p)
	return b.Bytes(), err
}

// waitWords says how long Retry-After asks to wait.
func waitWords(retryAfter string) string {
	seconds, err := strconv.Atoi(retryAfter)
	switch {
	case err != nil || seconds < 1:
		return ""
	case seconds == 1:
		return "1 second"
	case seconds < 120:
		return retryAfter + " seconds"
	}
	return strconv.Itoa((seconds+59)/60) + " minutes"
}

// problem makes the answer for software.
func (x *exchange) problem(e explanation) problem {
	p := problem{
		Type: "urn:matron:problem:" + e.code, Title: e.title, Status: e.status,
		Detail: e.text, Reference: x.id, SignIn: x.signInFor(e),
	}
	for _, r := range x.reasons(e) {
		p.Reasons = append(p.Reasons, because(r))
	}
	if e.is(errDenied) || e.is(errChallenged) {
		p.Effect, p.Detail, p.Challenge = x.answer.Effect.String(), p.Reasons[0].Text, x.answer.Offer
	}
	if x.offered != "" {
		p.BreakGlass = x.absolute(x.offered)
	}
	if e.is(errNotShown) {
		p.Effect, p.Challenge, p.Outcome = x.answer.Effect.String(), x.answer.Offer, "saved"
	}
	if x.fateUnknown() {
		p.Outcome, p.Detail = "unknown", "It is not known whether the change was made. Check before repeating it."
	}
	return p
}

// operationOutcome makes the answer for FHIR clients.
func (x *exchange) operationOutcome(e explanation) operationOutcome {
	o := operationOutcome{ResourceType: "OperationOutcome"}
	for _, r := range x.reasons(e) {
		text := r.Text + " " + r.Remedy
		if x.offered != "" {
			text += " " + x.inAnEmergency()
		}
		if x.fateUnknown() {
			text = "It is not known whether the change was made. Check before repeating it. " + r.Text
		}
		severity := "error"
		if e.is(errNotShown) { // the change itself succeeded
			severity = "warning"
		}
		o.Issue = append(o.Issue, issue{
			Severity: severity, Code: issueCode(e.status), Details: details{text},
			Diagnostics: r.Code + ", reference " + x.id,
		})
	}
	return o
}

// issueCode maps a status onto the FHIR R4 value set issue-type.
func issueCode(status int) string {
	switch {
	case status == http.StatusOK:
		return "suppressed"
	case status == http.StatusUnauthorized:
		return "login"
	case status == http.StatusForbidden:
		return "forbidden"
	case status == http.StatusTooManyRequests:
		return "throttled"
	case status == http.StatusNotFound:
		return "not-found"
	case status == http.StatusGatewayTimeout:
		return "timeout"
	case status >= http.StatusInternalServerError:
		return "transient"
	}
	return "invalid"
}

// serveStylesheet answers the one asset of the refusal page.
func (g *Gateway) serveStylesheet(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(refusalCSS)))
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(refusalCSS) // a client that has gone needs no stylesheet
	}
}

// parsePage parses the refusal page.
func parsePage() (*template.Template, error) { return template.New("refusal").Parse(refusalHTML) }
