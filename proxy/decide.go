package proxy

import (
	"cmp"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// decide asks the rules. An unmapped request is denied without asking, whatever
// the rules would say of it. What is refused goes on, marked, where waives says so.
func (x *exchange) decide() error {
	if len(x.entries) > 0 {
		x.decideEntries()
		return nil
	}
	x.answer = x.ask()
	if x.grantedElsewhere() {
		x.answer = x.ask()
	}
	x.duties = x.answer.Obligations
	if x.answer.Allowed() {
		return nil
	}
	if x.waives() {
		x.would = true
		return nil
	}
	return refusalOf(x.answer)
}

// refusalOf is the error of a decision that does not allow.
func refusalOf(d policy.Decision) error {
	switch {
	case d.Effect == policy.Challenge && d.Offer == policy.StepUp:
		return errStepUp
	case d.Effect == policy.Challenge:
		return errChallenged
	}
	return errDenied
}

// waives reports whether a refusal is recorded and not enforced. A bypass opens
// nothing that the map closes to everybody: those are weak spots of the
// application, which no care needs (GW-19).
func (x *exchange) waives() bool {
	return x.mode == Observe || x.mode == Bypass && !x.access.Block
}

// ask returns the decision about the exchange.
func (x *exchange) ask() policy.Decision {
	switch a := &x.access; {
	case a.Rule == "":
		return policy.Refuse("", policy.Reason{
			Code:   "unmapped-route",
			Text:   "The gateway does not know what this part of the application does.",
			Remedy: "Tell the service desk what you were doing, with the reference below.",
		})
	case a.Block && a.Because != nil:
		return policy.Refuse("", *a.Because)
	case a.Block:
		return policy.Refuse("", policy.Reason{
			Code:   "blocked-by-map",
			Text:   "This part of the application is closed to everybody.",
			Remedy: "Tell the service desk what you were doing, with the reference below.",
		})
	}
	began := x.g.cfg.Now()
	d := x.askParts(x.question(began), x.access.Parts)
	x.deciding = x.g.cfg.Now().Sub(began)
	return d
}

// askParts asks once, or once for each part of an exchange that does several
// things. Every part must be allowed on its own: the first that is not decides.
// Equal parts are one question.
func (x *exchange) askParts(q policy.Request, parts []Part) policy.Decision {
	if len(parts) == 0 {
		return x.g.cfg.Decider.Decide(x.r.Context(), q)
	}
	all := policy.Decision{Effect: policy.Allow}
	asked := make(map[Part]bool, len(parts))
	for _, p := range parts {
		if asked[p] {
			continue
		}
		asked[p] = true
		q.Action, q.Area, q.Resource = p.Action, p.Area, p.Resource
		d := x.g.cfg.Decider.Decide(x.r.Context(), q)
		if !d.Allowed() {
			return d
		}
		all.Revision, all.Rules = d.Revision, append(all.Rules, d.Rules...)
		all.Obligations = append(all.Obligations, d.Obligations...)
	}
	return all
}

// question puts the exchange into the form that the rules are asked in.
func (x *exchange) question(now time.Time) policy.Request {
	a := &x.access
	q := policy.Request{
		Subject:  x.subject,
		Site:     x.route.Site,
		App:      x.route.Name,
		Rule:     a.Rule,
		Action:   a.Action,
		Area:     a.Area,
		Resource: a.Resource,
		Held:     a.Hold,
		Method:   x.r.Method,
		Time:     now,
	}
	x.asksAbout(&q, a.Patients, a.Certainty)
	return q
}

// care is what is known of the care relationships with patients. Where no register is
// kept, nobody is asked for one.
func (x *exchange) care(patients []Patient) policy.Care {
	if x.g.cfg.Care == nil || x.route == nil {
		return policy.Care{}
	}
	return x.g.cfg.Care(x.subject, x.ip, x.route.Name, patients)
}

// sensitivity is the protection of patients beyond the usual. Where no source is
// configured, that there is none is known.
func (x *exchange) sensitivity(patients []Patient) policy.Sensitivity {
	if x.g.cfg.Sensitivity == nil || x.route == nil {
		return policy.Sensitivity{Known: true}
	}
	return x.g.cfg.Sensitivity(x.route.Name, patients)
}

// asksAbout makes q a question about the patients whom a request or an answer names:
// what is known of them, and what lets this person into all of their records.
func (x *exchange) asksAbout(q *policy.Request, patients []Patient, c audit.Certainty) {
	q.Patients, q.Certainty = names(patients), string(c)
	q.Sensitivity = x.sensitivity(patients)
	q.Care = x.care(patients)
	x.grant = x.granted(patients)
	q.Grant, q.Purpose = x.grant.ID, x.grant.Purpose
}

// names are the patients as the rules are asked about them.
func names(patients []Patient) []string {
	out := make([]string, 0, len(patients))
	for _, p := range patients {
		out = append(out, cmp.Or(p.ID, p.NHSNumber))
	}
	return out
}
