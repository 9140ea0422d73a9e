package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// emergencyHeader tells clients until when emergency access lasts that an answer was
// given under (RFC 3339, UTC). The answer itself is never changed (GW-15).
const emergencyHeader = "Matron-Break-Glass-Until"

// Emergency knows who was let into whose record by emergency access (break-glass),
// and offers it where the rules do. It is safe for concurrent use. proxy/breakglass
// has the one that keeps it in a database.
type Emergency interface {
	// Granted returns what lets s into the records of all these patients of an
	// application now, the zero Grant for nothing. It answers from memory.
	Granted(s policy.Subject, site, app string, patients []Patient) Grant
	// Renew looks for grants of s that another gateway gave and reports whether
	// there are any. It is asked before somebody is refused.
	Renew(ctx context.Context, s policy.Subject) bool
	// Offer notes a refusal that emergency access cures and returns the path of the
	// page that offers it, "" where it cannot. It does not fail with its store.
	Offer(ctx context.Context, r Refused) string
	// Page is that page, whole: what a person gets in place of a refusal.
	Page(ctx context.Context, path string) ([]byte, error)
}

// Grant is emergency access in force, or without an ID a purpose that was stated. The
// zero Grant is neither.
type Grant struct {
	ID      string
	Until   time.Time
	Purpose string // HL7 v3 PurposeOfUse code
}

// basis is how a record says what an access rests on.
func (g Grant) basis() string {
	if g.ID == "" {
		return ""
	}
	return audit.BasisBreakGlass + g.ID
}

// Refused is a refusal that emergency access cures, or that saying what for does.
type Refused struct {
	Offer     policy.Offer // BreakGlass, or Purpose: saying what for is all that is asked
	Request   string       // reference of the exchange
	Subject   policy.Subject
	Site, App string
	Patient   Patient
	Source    audit.PatientSource
	Certainty audit.Certainty
	Rule      string
	Area      policy.Area
	Reasons   []policy.Reason
	// Sensitivity is the patient's protection beyond the usual.
	Sensitivity policy.Sensitivity
	Return      string // the page that was asked for, or that the request came from
}

// granted is what lets this person into the records of all these patients.
func (x *exchange) granted(patients []Patient) Grant {
	if x.g.cfg.Emergency == nil || len(patients) == 0 || x.route.Handler != nil {
		return Grant{}
	}
	return x.g.cfg.Emergency.Granted(x.subject, x.route.Site, x.route.Name, patients)
}

// openUntil is when the emergency access ends under which an answer is given, zero for
// none. That of a batch is under all that its entries are: the first to end counts.
func (x *exchange) openUntil() time.Time {
	first := x.grant
	for _, e := range x.entries {
		if e.grant.ID != "" && (first.ID == "" || e.grant.Until.Before(first.Until)) {
			first = e.grant
		}
	}
	if first.ID == "" {
		return time.Time{} // or a purpose that was stated
	}
	return first.Until
}

// cure is what the page offers that the refusal leads to: emergency access as a
// challenge, where the rules gave no answer, and where something else that is offered
// may be out of reach; or saying what for. "" for nothing.
func (x *exchange) cure() policy.Offer {
	d := &x.answer
	switch {
	case d.Allowed() || x.g.cfg.Emergency == nil || len(x.access.Patients) != 1:
		return ""
	case d.Offer == policy.Purpose || d.Offer == policy.BreakGlass:
		return d.Offer
	case d.Emergency:
		return policy.BreakGlass
	}
	return ""
}

// grantedElsewhere reports whether another gateway has meanwhile given what would
// let the exchange through.
func (x *exchange) grantedElsewhere() bool {
	return x.cure() != "" && x.grant.ID == "" && x.g.cfg.Emergency.Renew(x.r.Context(), x.subject)
}

// offer notes what the refusal offers. The refusal itself is durable already.
func (x *exchange) offer(cause error) {
	cure := x.cure()
	if cure == "" || !errors.Is(cause, errDenied) && !errors.Is(cause, errChallenged) {
		return
	}
	x.offered = x.g.cfg.Emergency.Offer(x.r.Context(), Refused{
		Offer: cure, Request: x.id, Subject: x.subject, Site: x.route.Site, App: x.route.Name, Patient: x.access.Patients[0],
		Source: x.access.Source, Certainty: x.access.Certainty, Rule: x.access.Rule, Area: x.access.Area,
		Reasons: x.answer.Reasons, Return: x.comeBack(), Sensitivity: x.sensitivity(x.access.Patients),
	})
}

// comeBack is where a person goes on afterwards: what a navigation asked for, or
// else the page that the request came from. It is never the address of a write.
func (x *exchange) comeBack() string {
	if x.navigates() {
		return x.address()
	}
	if from := x.cameFrom(); from != "" {
		return from
	}
	return x.g.cfg.Home
}

// navigates reports whether a person's browser asks for a page.
func (x *exchange) navigates() bool {
	return (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) && wantsPage(x.r)
}

// address is what was asked for, as the client asked for it.
func (x *exchange) address() string {
	if x.query == "" {
		return x.target
	}
	return x.target + "?" + x.query
}

// absolute is the address of a path of this gateway, as the client knows it.
func (x *exchange) absolute(path string) string { return x.scheme + "://" + x.r.Host + path }

// emergencyPage is the page that offers emergency access, in place of the refusal of
// a page. Where it cannot be made, the refusal leads to it.
func (x *exchange) emergencyPage() []byte {
	if x.offered == "" || !x.navigates() || x.answer.Offer == policy.StepUp {
		return nil
	}
	page, err := x.g.cfg.Emergency.Page(x.r.Context(), x.offered)
	if err != nil {
		x.logSend(err)
		return nil
	}
	return page
}
