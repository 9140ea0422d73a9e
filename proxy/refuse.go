package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// statusClientGone is recorded when there was nobody left to answer. It is never
// sent.
const statusClientGone = 499

// explanation is what a sentinel becomes for the record, for metrics and for the
// person who asked. Texts never hold patient data.
type explanation struct {
	err    error
	status int
	code   string // reason code, problem type and metric label
	title  string
	text   string // why
	remedy string // what would make it right
}

func (e explanation) is(err error) bool { return errors.Is(e.err, err) }

// explain finds the explanation of an error. One that nobody expected is an
// internal error: its text is never shown.
func explain(err error) explanation {
	table := explanations()
	for i := range table {
		if errors.Is(err, table[i].err) {
			return table[i]
		}
	}
	return table[len(table)-1]
}

// explanations is the one table from sentinels to answers. The last row stands
// for everything else.
func explanations() []explanation {
	const (
		again    = "Try again. If it happens again, tell the service desk the reference below."
		room     = "Ring the service desk now if nobody is working on it: the disk of the gateway's record needs room. Give them the reference below."
		desk     = "Tell the service desk the reference below."
		software = "Whoever looks after the program that sent the request can find out more with the reference below."
		signIn   = "Sign in and try again."

		registered = "Ask whoever looks after the gateway to register it under machines, with what it is for and who answers for it, and give them the reference below."
		downtime   = "Use the downtime viewer or ask a colleague who is already in the record, and tell the service desk the reference below."
	)
	return []explanation{
		{ErrSessionExpired, 401, "session-expired", "Your session has ended", "You were signed out after a time without activity.", signIn},
		{ErrNoSession, 401, "no-session", "Sign in first", "The gateway does not know who you are.", signIn},
		{ErrToken, 401, "token-refused", "Token refused", "The access token is not valid here, or no longer.", "Ask for a new token and try again."},
		{ErrIdentityUnavailable, 503, "identity-unavailable", "Sign-in is not working", "The sign-in service does not answer, so the gateway cannot find out who you are.", downtime},

		{errTarget, 400, "ambiguous-target", "Address not understood", "The address of the request can be read in more than one way.", software},
		{errHeaderName, 400, "header-name", "Request not understood", "The request has a header with an underscore in its name.", software},
		{errIdentityHeader, 400, "identity-header", "Request refused", "The request has a header that says who is asking, which only the gateway may say.", software},
		{errOverride, 400, "method-override", "Request refused", "The request asks to be read as another one than it is.", software},
		{errRepeated, 400, "repeated-header", "Request not understood", "The request has a header twice that may stand there once.", software},
		{errConnection, 400, "connection-header", "Request refused", "The request asks that some of its headers be taken away on the way to the application.", software},
		{errUpgrade, 400, "upgrade", "Request refused", "The request asks for a protocol that the gateway does not carry.", software},
		{errHandshake, 400, "websocket-handshake", "Request refused", "The request to open a WebSocket is not as the standard has it.", software},
		{errMethod, 405, "method", "Request refused", "The gateway does not carry requests of this method.", software},
		{errFraming, 400, "ambiguous-framing", "Request not understood", "The length of the request can be read in more than one way.", software},
		{errMalformed, 400, "malformed", "Request not understood", "The request is not a valid one.", software},
		{errHeaderTooLarge, 400, "header-too-large", "Request too large", "The header of the request is longer than the gateway accepts.", "Sign out, close the browser and sign in again. If it happens again, tell the service desk the reference below."},
		{errAddressTooLong, 414, "address-too-long", "Address too long", "The address of the request is longer than the gateway can write down.", "Ask for less at a time, or send the search as a form (POST). If it happens again, tell the service desk the reference below."},
		{errBodyTooLarge, 400, "body-too-large", "Too large to send", "What you sent is larger than the gateway accepts.", "Send it in smaller parts, or tell the service desk the reference below."},
		{errBody, 400, "body-broken", "Sending broke off", "The gateway received only part of what was sent.", again},
		{errCrossOrigin, 403, "cross-origin", "Request refused", "Another website tried to do this in your name.", "Close that website. If you meant to do this, start from the record's own pages."},
		{errNoApplication, 404, "no-application", "Nothing here", "No application answers at this address.", "Check the address, or start again from the home page."},
		{errUnclassifiable, 400, "unclassifiable", "Request not understood", "The request does not have the form that this application's requests have.", desk},

		{errNoSpaceBulk, 503, "disk-no-bulk", "Exports have to wait", "The disk that every access is written down on is filling up. Exports and other bulk work are refused until there is room again, so that it lasts for patient care. Patients' records open as usual.", room},
		{errNoSpaceSearch, 503, "disk-no-search", "This search has to wait", "The disk that every access is written down on is nearly full. Searches that are not about one patient are refused until there is room again, so that it lasts for patient care. Finding a patient, ward lists and patients' records work as usual.", room},
		{errNoSpaceForRest, 503, "disk-care-only", "Only patient care for now", "The disk that every access is written down on is almost full. What is left is kept for patient care: finding a patient, ward lists and patients' records work as usual, and everything else is refused until there is room again.", room},

		{errTooManyPatients, 400, "too-many-patients", "Too many patients at once", "The request names more patients than the gateway can write down at once.", "Ask for fewer patients at a time."},
		{errTooManyParts, 400, "too-many-parts", "Too much at once", "The request does more different things than the gateway can write down at once.", "Send it in smaller parts, or tell the service desk the reference below."},

		{errStepUp, 401, "step-up", "Sign in again", "This needs a stronger or more recent sign-in than yours.", "Sign in again and open it once more."},
		{errChallenged, 403, "challenged", "One more step is needed", "You may see this record once you have confirmed that you need to.", desk},
		{errDenied, 403, "denied", "Not allowed", "The access rules do not allow this.", desk},
		{errLimited, 429, audit.ReasonLimited, "Too many requests", "You have asked for more than the gateway answers in so short a time.", "Wait a moment, then try again. Looking after patients one at a time is never limited."},

		{errOverBudget, 429, audit.ReasonBudget, "Too many different patients", "You have met more different patients than people of your role usually do, so exports, and searches that are not for a patient, wait.", "Go on with your patients one at a time: that is never refused. In a major incident whoever is on call can lift the limits; ring the service desk."},
		{ErrMachineUnknown, 403, audit.ReasonMachineUnknown, "Program not registered", "The gateway lets in only those programs that are registered with it, and this one is not.", registered},
		{ErrMachineExpired, 403, audit.ReasonMachineExpired, "Registration has run out", "This program was registered with the gateway until a day that is past.", registered},
		{ErrMachineNetwork, 403, audit.ReasonMachineNetwork, "Program at another address", "This program is registered with the gateway for other addresses than the one that it asks from.", registered},

		{errNotRecorded, 503, "not-recorded", "The record cannot be opened just now", "The gateway could not write down this access, and nothing may be shown that is not written down.", downtime},
		{errVoucher, 503, "identity-token", "The record cannot be opened just now", "The gateway could not tell the application who you are.", downtime},
		{errUnreachable, 502, "application-unreachable", "The application does not answer", "The gateway works, but the application behind it cannot be reached.", downtime},
		{errTimeout, 504, "application-timeout", "The application takes too long", "The gateway works, but the application behind it did not answer in time.", downtime},
		{errBadResponse, 502, "application-failed", "The application broke off", "The gateway works, but the application behind it ended the connection or sent something that is no answer.", again},
		{errBusy, 503, "busy", "Too much at once", "The gateway is reading as much as it can for others just now.", again},
		{ErrSpoolFull, 503, "spool-full", "Too much at once", "The gateway is checking as many long answers for others as it has room for.", again},
		{ErrSpool, 503, "spool-failed", "The answer could not be kept", "The answer is long, and the gateway could not keep it safely until it was checked.", again},
		{errHeldTooLarge, 502, "response-too-large", "Too much at once", "The answer holds more than the gateway can check before showing it.", "Narrow the search and try again."},
		{ErrApplicationFault, 502, "application-fault", "The application made a mistake", "The application answered with an error of its program, which is not shown.", again},
		{errHeldUnreadable, 502, "response-not-understood", "The answer could not be checked", "The gateway could not tell which patients the answer is about, so it shows nothing of it.", desk},
		{errPatientUnknown, 403, "patient-unknown", "The gateway cannot tell whose data this is", "What the application answered may hold a patient's data, but nothing says whose, so it could not be written down.", "Open it from the patient's own page, or tell the service desk the reference below."},
		{errNotShown, 200, "saved-not-shown", "Saved, but not shown", "Your change was saved; the record itself is not shown.", "Do not send it again. Why it is not shown, and what you can do, follows."},
		{errTruncated, 502, "response-broken-off", "The application broke off", "The application stopped in the middle of its answer.", again},
		{errBypassEnded, 403, "bypass-ended", "The bypass has ended", "What was open had been let through in an emergency that is over.", "Open it again. If you are then refused, the page says why."},
		{errWithdrawn, 403, "no-longer-allowed", "No longer allowed", "The access rules have changed and do not allow any more what was open.", "Open it again. If you are then refused, the page says why."},
		{errRenamed, 409, "patient-renamed", "Open it again", "The gateway has learnt whom this is about, and must write that down before it is shown.", "Open it again."},
		{errGoingAway, 503, "going-away", "The gateway is restarting", "What was open was closed, since the gateway is being restarted.", again},
		{errClientSlow, 408, "client-slow", "The connection is too slow", "The client did not take what it was sent.", again},
		{errClientGone, statusClientGone, "client-gone", "Client gone", "The client went away before it was answered.", again},
		{errInternal, 500, "internal", "Something went wrong", "The gateway made a mistake.", again},
	}
}

// refuse ends an exchange that may not go on, or that went wrong before any of
// the response was sent. The refusal is durable before the client learns of it.
func (x *exchange) refuse(cause error) {
	x.fail(cause)
	e := explain(cause)
	switch {
	case x.decided:
	case e.is(errNotRecorded): // the decision itself could not be recorded
	case summedUp(e):
		if err := x.recordLimit(cause); err != nil {
			e = explain(err)
		}
	default:
		if err := x.recordRefusal(e); err != nil {
			e = explain(err)
		} else {
			x.offer(cause)
		}
	}
	x.answerWith(e, cause)
}

// summedUp reports whether refusals are recorded one by one only as far as there are
// few: software repeats them, and they are not of the rules.
func summedUp(e explanation) bool {
	for _, err := range [...]error{errLimited, errOverBudget, errNoSpace, ErrMachineUnknown, ErrMachineExpired, ErrMachineNetwork} {
		if e.is(err) {
			return true
		}
	}
	return false
}

// turnAway refuses a request of nobody known. A flood of those is counted and
// not recorded one by one, so that it cannot fill the disk; what each of them
// gets is the same (GW-03: a ward behind one address must still be able to sign
// in).
func (x *exchange) turnAway(cause error) {
	key := policy.Subject{Sub: x.ip}
	if _, ok := x.g.cfg.Limiter.Take(key, Anonymous, 1); ok {
		x.refuse(cause)
		return
	}
	x.fail(cause)
	e := explain(cause)
	if err := x.recordLimit(cause); err != nil {
		e = explain(err)
	}
	x.answerWith(e, cause)
}

// answerWith sends an explanation in the form that the client understands.
func (x *exchange) answerWith(e explanation, cause error) {
	if e.status == statusClientGone {
		x.status = statusClientGone
		panic(http.ErrAbortHandler)
	}
	if x.redirects(e) {
		x.redirectToSignIn(e)
		return
	}
	h := x.w.Header()
	for _, name := range [...]string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified", "Location", "Set-Cookie", "Link"} {
		delete(h, name)
	}
	for name, values := range x.savedAs {
		h[name] = values
	}
	if len(x.cookies) > 0 {
		h["Set-Cookie"] = x.cookies
	}
	if limited := (limitedError{}); errors.As(cause, &limited) && e.status == http.StatusTooManyRequests {
		h.Set("Retry-After", strconv.FormatInt(int64((limited.wait+time.Second-1)/time.Second), 10))
	}
	if e.is(errNoSpace) {
		h.Set("Retry-After", strconv.Itoa(int(spaceRetry/time.Second)))
	}
	if e.is(errHandshake) {
		h.Set("Sec-WebSocket-Version", "13")
	}
	x.challengeBearer(h, e)
	switch e.code {
	case "ambiguous-framing", "body-too-large", "body-broken":
		h.Set("Connection", "close") // where the next request begins is not certain
	}
	x.send(e)
}

// challengeBearer tells API clients how to authenticate (RFC 6750, RFC 9110, RFC 9470).
func (x *exchange) challengeBearer(h http.Header, e explanation) {
	switch {
	case e.is(errStepUp): // RFC 9470, section 3
		h.Set("WWW-Authenticate", x.g.cfg.StepUp.challenge())
	case e.is(ErrToken):
		h.Set("WWW-Authenticate", `Bearer realm="matron", error="invalid_token"`)
	case e.status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="matron"`)
	}
}

// fateUnknown reports whether the application may have made a change of which
// nobody here knows whether it was made (GW-05).
func (x *exchange) fateUnknown() bool { return x.forwarded && x.saved == 0 && x.writes() }

// recordLimit makes a limit event durable, or counts it towards the next one
// when there are too many of one person or address. So it is with refusals for
// want of room: recording each would use up the room that they make.
func (x *exchange) recordLimit(cause error) error {
	e := explain(cause)
	key := floodKey{issuer: x.subject.Issuer, sub: x.subject.Sub, kind: x.kind()}
	if !e.is(errLimited) {
		key.code = e.code
	}
	if !x.subject.Known() {
		key.sub, key.kind = x.ip, Anonymous
	}
	now := x.g.cfg.Now()
	write, missed := x.g.floods.note(key, now)
	if !write {
		return nil
	}
	rec := x.newDecision()
	rec.Kind, rec.Effect, rec.WouldDeny = audit.KindLimit, policy.Deny.String(), false
	rec.Reasons = []string{e.code}
	rec.Outcome, rec.Status = audit.MinorFailure, count(int64(e.status))
	rec.Detail = append(rec.Detail, limitDetail(key.kind, missed)...)
	x.decision = rec
	receipt, err := x.append([]*audit.Record{&x.decision})
	if err == nil {
		x.receipt = receipt
		x.nameAnswer()
	}
	return err
}

// limitDetail says what was limited and how many events of the same person and
// kind went before that have no record of their own.
func limitDetail(kind LimitKind, missed uint64) []string {
	d := []string{"kind=" + string(kind)}
	if missed > 0 {
		d = append(d, "unrecorded="+strconv.FormatUint(missed, 10))
	}
	return d
}

// flushFloods records what is counted and not yet recorded.
func (g *Gateway) flushFloods() error {
	for key, missed := range g.floods.drain() {
		rec := &audit.Record{
			Kind: audit.KindLimit, Time: stamp(g.cfg.Now()), UserIssuer: key.issuer, UserSub: key.sub,
			Effect: policy.Deny.String(), Reasons: []string{cmp.Or(key.code, explain(errLimited).code)},
			Outcome: audit.MinorFailure, Detail: limitDetail(key.kind, missed),
		}
		if key.issuer == "" {
			rec.UserSub, rec.ClientIP = "", key.sub
		}
		rec.Bound()
		if err := g.cfg.Log.Add(rec); err != nil {
			return fmt.Errorf("record limit events: %w", err)
		}
	}
	return nil
}

// logSend notes that an answer could not be rendered, which only a broken
// template can cause.
func (x *exchange) logSend(err error) {
	x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelError, "refusal not rendered",
		slog.String("request", x.id), slog.Any("error", err))
}
