package proxy

import (
	"fmt"
	"slices"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// obligationFilter is the obligation of a decision that what of the answer is refused
// is left out, rather than all of it refused. It is for exchanges that name no
// patient: whoever names one is told that they may not see them.
const obligationFilter = "filter"

// filters reports whether entries of the answer are left out one by one.
func (x *exchange) filters(s *Settlement) bool {
	return s.Bundle != nil && len(x.access.Patients) == 0 && slices.Contains(x.answer.Obligations, obligationFilter)
}

// filter decides about each entry of an answer. The usual case is one question: that
// nothing is left out.
func (x *exchange) filter(s Settlement) weighed {
	f := filtering{x: x, s: &s, asked: map[string]verdict{}, told: map[string]bool{}}
	whole, refused := x.decideAgain(s)
	grant := x.grant
	w := weighed{left: make([]bool, len(s.Bundle.Entries))}
	verdicts := make([]verdict, len(w.left))
	for i := range s.Bundle.Entries {
		e := &s.Bundle.Entries[i]
		switch {
		case e.Stranger:
			verdicts[i] = verdict{Decision: strangers()}
		case refused:
			verdicts[i] = f.ask(e)
		default:
			verdicts[i] = verdict{policy.Decision{Effect: policy.Allow, Obligations: whole.Obligations}, grant}
		}
		w.left[i] = !verdicts[i].Allowed()
	}
	if x.mode == Enforce {
		orphans(s.Bundle.Entries, w.left)
	}
	x.results = 0
	for i := range s.Bundle.Entries {
		e := &s.Bundle.Entries[i]
		if verdicts[i].Allowed() && w.left[i] {
			continue // stands only beside others that are left out: neither shown nor refused
		}
		w.records = append(w.records, f.records(e, verdicts[i])...)
		if x.mode != Enforce {
			w.left[i] = false
		}
		if !w.left[i] {
			x.results += e.Results
		}
	}
	return w
}

// strangers is the decision about an entry whose patient nobody can tell: a record
// that names nobody is none (GW-08).
func strangers() policy.Decision {
	e := explain(errPatientUnknown)
	return policy.Refuse("", policy.Reason{Code: e.code, Text: e.text, Remedy: e.remedy})
}

// orphans leaves out what was included only for entries that are left out: it would
// tell that they are there.
func orphans(entries []Shown, left []bool) {
	reached := make([]bool, len(entries))
	var next []int
	for i := range entries {
		if !entries[i].Included && !left[i] {
			reached[i], next = true, append(next, i)
		}
	}
	for len(next) > 0 {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		for _, other := range entries[i].With {
			if !reached[other] && !left[other] {
				reached[other], next = true, append(next, other)
			}
		}
	}
	for i := range left {
		left[i] = left[i] || !reached[i]
	}
}

// verdict is the decision about an entry and what of emergency access it rests on.
type verdict struct {
	policy.Decision
	grant Grant
}

// filtering is the questions about the entries of one answer, each asked once.
type filtering struct {
	x     *exchange
	s     *Settlement
	asked map[string]verdict
	told  map[string]bool // what is recorded already
}

// named are the patients of an entry by all the names that the answer has for them.
func (f *filtering) named(e *Shown) []Patient {
	list := make([]Patient, 0, len(e.Patients))
	for _, p := range e.Patients {
		if i := slices.IndexFunc(f.s.Patients, p.Same); i >= 0 {
			p = p.Join(f.s.Patients[i])
		}
		list = append(list, p)
	}
	return list
}

// ask asks about the patients of one entry in the area that it is of. One about
// nobody is what was asked for already.
func (f *filtering) ask(e *Shown) verdict {
	if len(e.Patients) == 0 && len(e.Parts) == 0 {
		return verdict{Decision: policy.Decision{Effect: policy.Allow}}
	}
	q := f.x.question(f.x.g.cfg.Now())
	f.x.asksAbout(&q, f.named(e), e.Certainty)
	key := fmt.Sprintf("%q %q %q", q.Patients, q.Certainty, e.Parts)
	v, ok := f.asked[key]
	if !ok {
		v = verdict{f.x.askParts(q, e.Parts), f.x.grant}
		f.asked[key] = v
	}
	return v
}

// records say of each patient of an entry whether they were shown.
func (f *filtering) records(e *Shown, d verdict) []*audit.Record {
	patients := f.named(e)
	if e.Stranger {
		patients = append(patients, Patient{})
	}
	var records []*audit.Record
	for _, p := range patients {
		key := fmt.Sprintf("%q %s %q", p, d.Effect, d.Reasons)
		if f.told[key] {
			continue
		}
		f.told[key] = true
		c := e.Certainty
		if p == (Patient{}) {
			c = audit.Unknown
		}
		f.x.duties, f.x.grant = d.Obligations, d.grant
		r := f.x.patientRecord(p, audit.SourceResponse, c)
		if !d.Allowed() {
			f.x.refuseIn(r, d.Decision)
		}
		records = append(records, r)
	}
	return records
}

// refuseIn makes the record of a patient say that what the answer holds of them was
// refused, or would have been where that is not enforced.
func (x *exchange) refuseIn(r *audit.Record, d policy.Decision) {
	codes := make([]string, 0, len(d.Reasons))
	for _, reason := range d.Reasons {
		codes = append(codes, reason.Code)
	}
	if x.mode != Enforce {
		x.would, r.WouldDeny, r.Reasons = true, true, slices.Concat(r.Reasons, codes)
		return
	}
	r.Effect, r.Rules, r.Reasons = d.Effect.String(), d.Rules, codes
}
