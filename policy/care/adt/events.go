package adt

import (
	"time"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/hl7"
)

// visit reads events about a visit, of each patient of the message: a swap of
// beds has two.
func (r *Reader) visit(kind care.Kind) event {
	return func(base care.Change, m *hl7.Message) (care.Message, error) {
		var out care.Message
		for _, g := range m.Groups() {
			c := base
			c.Kind = kind
			var err error
			if c.Patient, err = r.patient(g.Segment("PID")); err != nil {
				return nil, err
			}
			pv1 := g.Segment("PV1")
			r.pv1(&c, pv1)
			if c.Visit == "" {
				c.Visit = g.Segment("PID").Field(18).Text() // the account number, where visits have none
			}
			if kind == care.Plan {
				c.Start, c.End = r.expected(m, g)
			}
			out = append(out, c)
			if kind == care.Stay && !pv1.Present() {
				return nil, &hl7.Error{Code: hl7.SegmentSequence, Segment: "PV1", What: "is missing"}
			}
		}
		if len(out) == 0 {
			return nil, &hl7.Error{Code: hl7.SegmentSequence, Segment: "PID", What: "is missing"}
		}
		return out, nil
	}
}

// pv1 reads a visit.
func (r *Reader) pv1(c *care.Change, pv1 hl7.Segment) {
	c.Visit = pv1.Field(19).Text()
	if class := pv1.Field(2).Text(); class != "" {
		c.Class = care.Class(class[0])
	}
	c.Ward = pv1.Field(3).Component(r.c.Ward).Text()
	c.People = clinicians(nil, false, xcnAuthority, pv1.Field(7), pv1.Field(9), pv1.Field(17), pv1.Field(52))
	c.People = clinicians(c.People, true, xcnAuthority, pv1.Field(8))
	c.Start, c.End = r.loose(pv1, 44), r.loose(pv1, 45)
	if c.Kind == care.Stay {
		c.End = time.Time{} // whoever comes in has not left
	}
}

// expected reads when a patient is expected: PV2-8, EVN-3 or PV1-44; at once where
// none says so.
func (r *Reader) expected(m *hl7.Message, g hl7.Group) (from, to time.Time) {
	for _, t := range []time.Time{r.loose(g.Segment("PV2"), 8), r.loose(m.Segment("EVN"), 3), r.loose(g.Segment("PV1"), 44)} {
		if !t.IsZero() {
			return t, r.loose(g.Segment("PV2"), 9)
		}
	}
	return time.Time{}, time.Time{}
}

// identify reads the numbers of a person.
func (r *Reader) identify(c care.Change, m *hl7.Message) (care.Message, error) {
	c.Kind = care.Identify
	var err error
	if c.Patient, err = r.patient(m.Segment("PID")); err != nil {
		return nil, err
	}
	return care.Message{c}, nil
}

// merge reads messages that make prior numbers (MRG-1) the patient's (PID-3), in
// pairs of PID and MRG. A prior NHS number is left out where the prior number of
// the hospital is there: it may be the survivor's as well.
func (r *Reader) merge(base care.Change, m *hl7.Message) (care.Message, error) {
	return r.pairs(m, func(patient, prior []care.ID, _, _ hl7.Segment) care.Message {
		var out care.Message
		for _, id := range prior {
			if id.Authority == care.NHS && prior[0].Authority != care.NHS {
				continue
			}
			c := base
			c.Kind, c.Patient, c.Prior = care.Merge, patient, id
			out = append(out, c)
		}
		return out
	})
}

// move reads messages that give a visit (MRG-5) another number (PV1-19), another
// patient or both.
func (r *Reader) move(base care.Change, m *hl7.Message) (care.Message, error) {
	return r.pairs(m, func(patient, prior []care.ID, pv1, mrg hl7.Segment) care.Message {
		c := base
		c.Kind, c.Patient, c.Prior = care.Move, patient, prior[0]
		c.Visit, c.PriorVisit = pv1.Field(19).Text(), mrg.Field(5).Text()
		if c.Visit == "" {
			c.Visit = c.PriorVisit
		}
		if c.PriorVisit == "" {
			c.PriorVisit = c.Visit
		}
		if c.Visit == "" { // it is about an account, of which nothing is kept
			return nil
		}
		return care.Message{c}
	})
}

// pairs reads each pair of PID and MRG. Without MRG-1 the visit stays with the
// patient.
func (r *Reader) pairs(m *hl7.Message, read func(patient, prior []care.ID, pv1, mrg hl7.Segment) care.Message) (care.Message, error) {
	var out care.Message
	for _, g := range m.Groups() {
		patient, err := r.patient(g.Segment("PID"))
		if err != nil {
			return nil, err
		}
		mrg := g.Segment("MRG")
		if !mrg.Present() {
			return nil, &hl7.Error{Code: hl7.SegmentSequence, Segment: "MRG", What: "is missing"}
		}
		prior := r.patients(mrg.Field(1))
		if len(prior) == 0 && mrg.Field(5).Empty() {
			return nil, missing("MRG", 1, 1)
		}
		if len(prior) == 0 {
			prior = patient
		}
		out = append(out, read(patient, prior, g.Segment("PV1"), mrg)...)
	}
	if len(out) == 0 && len(m.Groups()) == 0 {
		return nil, &hl7.Error{Code: hl7.SegmentSequence, Segment: "PID", What: "is missing"}
	}
	return out, nil
}

// appointment reads messages about an appointment: its number in SCH-1 or SCH-2,
// its time in SCH-11 or AIS-4, its clinic in AIL-3 or PV1-3, its people in AIP-3
// and PV1.
func (r *Reader) appointment(kind care.Kind) event {
	return func(c care.Change, m *hl7.Message) (care.Message, error) {
		sch, pid, pv1 := m.Segment("SCH"), m.Segment("PID"), m.Segment("PV1")
		var err error
		if c.Patient, err = r.patient(pid); err != nil {
			return nil, err
		}
		r.pv1(&c, pv1)
		c.Kind, c.Clinic, c.Class = kind, true, 'O'
		if at := m.Segment("AIL").Field(3); at.Component(r.c.Ward).Text() != "" {
			c.Ward = at.Component(r.c.Ward).Text()
		} else if at.Text() != "" { // a clinic has no rooms or beds to be told from
			c.Ward = at.Text()
		}
		for s := range m.All() {
			if s.Name == "AIP" {
				c.People = clinicians(c.People, false, xcnAuthority, s.Field(3))
			}
		}
		c.Visit = sch.Field(1).Text()
		if c.Visit == "" {
			c.Visit = sch.Field(2).Text()
		}
		if c.Visit == "" {
			return nil, missing("SCH", 1, 1)
		}
		if c.Start, c.End = r.when(sch, m.Segment("AIS")); c.Start.IsZero() && kind == care.Plan {
			return nil, missing("SCH", 11, 4)
		}
		return care.Message{c}, nil
	}
}

// when reads the times of an appointment.
func (r *Reader) when(sch, ais hl7.Segment) (from, to time.Time) {
	timing := sch.Field(11)
	from, err := timing.Component(4).Time(r.c.Where)
	if err != nil {
		return r.loose(ais, 4), time.Time{}
	}
	if to, err = timing.Component(5).Time(r.c.Where); err != nil {
		to = time.Time{}
	}
	return from, to
}

// Values of PRD-1, of HL7 table 0286.
const referringProvider = "RP"

// referral reads referrals: number, beginning and end in RF1-6, 7 and 8, people in
// PRD-7, the one with role RP as referring.
func (r *Reader) referral(kind care.Kind) event {
	return func(c care.Change, m *hl7.Message) (care.Message, error) {
		var err error
		if c.Patient, err = r.patient(m.Segment("PID")); err != nil {
			return nil, err
		}
		rf1 := m.Segment("RF1")
		c.Kind, c.Visit, c.Start, c.End = kind, rf1.Field(6).Text(), r.loose(rf1, 7), r.loose(rf1, 8)
		if c.Visit == "" {
			return nil, missing("RF1", 6, 1)
		}
		for s := range m.All() {
			if s.Name == "PRD" {
				c.People = clinicians(c.People, s.Field(1).Text() == referringProvider, plnAuthority, s.Field(7))
			}
		}
		return care.Message{c}, nil
	}
}
