package proxy

import (
	"cmp"
	"slices"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// weighed is what becomes of an answer: nothing of it is released before the records
// are durable, nor at all where there is a refusal.
type weighed struct {
	records []*audit.Record
	left    []bool // which entries of its Bundle are left out
	refusal error
}

// weigh decides about what an answer of that status shows.
func (x *exchange) weigh(status int, s Settlement) weighed {
	if bodiless(status) && len(s.Patients) == 0 {
		return weighed{}
	}
	x.results = s.Results
	if x.filters(&s) {
		return x.filter(s)
	}
	if d, as := x.decideAnswer(status, s); !d.Allowed() && x.mode != Enforce {
		x.waiveAll(d)
	} else if !d.Allowed() {
		x.answer = d
		return weighed{records: x.withheld(s, d, as), refusal: x.lateRefusal(status, d)}
	}
	nobodys := anonymous(status, x.access, s)
	if nobodys && x.mode != Enforce {
		x.waive(explain(errPatientUnknown).code)
		nobodys = false
	}
	w := weighed{records: x.shown(s)}
	if nobodys {
		w.refusal = errPatientUnknown
	}
	return w
}

// decideAnswer asks the rules about an answer: about whom and what only it shows, and
// where it answers a change, whether what it shows may be read. It returns the first
// decision that refuses, and as what it was asked where that is not what the request
// does.
func (x *exchange) decideAnswer(status int, s Settlement) (d policy.Decision, as policy.Action) {
	d, refused := x.decideAgain(s)
	if refused {
		return d, ""
	}
	back := x.shownBack(status, s)
	if len(back) == 0 {
		return policy.Decision{Effect: policy.Allow}, ""
	}
	patients, certainty := s.Patients, s.Certainty
	if len(patients) == 0 {
		patients, certainty = x.access.Patients, x.access.Certainty
	}
	q := x.question(x.g.cfg.Now())
	x.asksAbout(&q, patients, certainty)
	return x.askParts(q, back), policy.Read
}

// decideAgain asks the rules about what only the response shows: another patient
// than the request was decided about, or something of another area. Nothing of it
// is released before, and a refusal looks like one of a request that named them
// (GW-08). However many patients there are, they are one question for each
// thing that the exchange does.
func (x *exchange) decideAgain(s Settlement) (d policy.Decision, refused bool) {
	if x.coveredBy(s) {
		return policy.Decision{}, false
	}
	q := x.question(x.g.cfg.Now())
	x.asksAbout(&q, s.Patients, s.Certainty)
	parts := s.Parts
	if len(parts) == 0 {
		parts = x.access.does()
	}
	d = x.askParts(q, parts)
	x.duties = d.Obligations // of those whom the records that follow name
	return d, !d.Allowed()
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

// withheld are the records of whose data the application answered with and who did
// not get it; as says what it was for, where that is not what the request does.
func (x *exchange) withheld(s Settlement, d policy.Decision, as policy.Action) []*audit.Record {
	patients := s.Patients
	if len(patients) == 0 {
		patients = x.access.Patients
	}
	if len(patients) == 0 {
		patients = []Patient{{}}
	}
	records := make([]*audit.Record, 0, len(patients))
	for _, p := range patients {
		r := x.patientRecord(p, audit.SourceResponse, s.Certainty)
		r.Action = cmp.Or(string(as), r.Action)
		x.refuseIn(r, d)
		records = append(records, r)
	}
	return records
}

// waiveAll notes why what only the response shows would have been refused.
func (x *exchange) waiveAll(d policy.Decision) {
	if len(d.Reasons) == 0 {
		x.waive(explain(errDenied).code)
	}
	for _, reason := range d.Reasons {
		x.waive(reason.Code)
	}
}
