package proxy

import (
	"slices"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// decideAgain asks the rules about what only the response shows: another patient
// than the request was decided about, or a screen of another area. Nothing of it
// is released before, and a refusal looks like one of a request that named them
// (GW-08). However many patients there are, they are one question for each
// thing that the exchange does.
func (x *exchange) decideAgain(s Settlement) error {
	if x.coveredBy(s) {
		return nil
	}
	q := x.question(x.g.cfg.Now())
	q.Patients, q.Certainty = names(s.Patients), string(s.Certainty)
	parts := s.Parts
	if len(parts) == 0 {
		parts = x.access.Parts
	}
	if len(parts) == 0 {
		parts = []Part{{Action: q.Action, Area: q.Area, Resource: q.Resource}}
	}
	d := x.askParts(q, parts)
	if d.Allowed() {
		return nil
	}
	if x.mode != Enforce {
		if len(d.Reasons) == 0 {
			x.waive(explain(errDenied).code)
		}
		for _, reason := range d.Reasons {
			x.waive(reason.Code)
		}
		return nil
	}
	x.answer = d
	if err := x.recordWithheld(s, d); err != nil {
		return err
	}
	if d.Effect == policy.Challenge {
		return errChallenged
	}
	return errDenied
}

// coveredBy reports whether the decision that was made covers what the response
// shows.
func (x *exchange) coveredBy(s Settlement) bool {
	for _, p := range s.Parts {
		if !slices.Contains(x.access.Parts, p) && (p.Action != x.access.Action || p.Area != x.access.Area || p.Resource != x.access.Resource) {
			return false
		}
	}
	for _, p := range s.Patients {
		if !slices.ContainsFunc(x.access.Patients, p.Same) {
			return false
		}
	}
	return true
}

// recordWithheld makes durable whose data the application answered with and who
// did not get it.
func (x *exchange) recordWithheld(s Settlement, d policy.Decision) error {
	patients := s.Patients
	if len(patients) == 0 {
		patients = []Patient{{}}
	}
	records := make([]*audit.Record, 0, len(patients))
	for _, p := range patients {
		r := x.patientRecord(p, audit.SourceResponse, s.Certainty)
		r.Effect, r.Rules, r.Reasons = d.Effect.String(), d.Rules, nil
		for _, reason := range d.Reasons {
			r.Reasons = append(r.Reasons, reason.Code)
		}
		records = append(records, r)
	}
	_, err := x.append(records)
	return err
}
