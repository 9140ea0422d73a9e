package detectors

import (
	"github.com/matron-epr/matron/audit/feeds"
)

// relation is how a person is related to a patient, as far as keyed hashes tell.
type relation uint16

const (
	own      relation = 1 << iota
	kin               // named as next of kin
	home              // same address
	namesake          // same surname in the same postcode unit
	near              // same postcode unit
	mate              // the patient works here
	mateNear          // in the same team, ward or cost centre
	manager           // one is the other's manager
	watched           // vip, sealed or s-flag
)

// maxAtAddress is how many patients an address may have and still be a home: more
// are a hall of residence, a care home, a block of flats.
const maxAtAddress = 6

// relate compares a person with a patient.
func (x *index) relate(who uint32, n uint32) relation {
	p, q := &x.people[who], &x.patients[n]
	var r relation
	if q.watch {
		r |= watched
	}
	if q.record == nil {
		return r
	}
	for _, s := range p.lines {
		r |= x.kinship(s, q.record)
	}
	if len(q.staff) > 0 && r&own == 0 {
		r |= mate | colleague(p.lines, q.staff)
	}
	return r
}

func (x *index) kinship(s *feeds.Staff, q *feeds.Patient) relation {
	var r relation
	switch {
	case s.NHS.Same(q.NHS):
		return own
	case s.NHS == "" && s.Name.Same(q.Name) && !s.Born.IsZero() && s.Born.Equal(q.Born) && s.Unit.Same(q.Unit):
		return own // the list has no number: everything else is the same
	}
	if s.Address.Same(q.Address) && x.addresses[q.Address] <= maxAtAddress {
		r |= home
	}
	if s.Unit.Same(q.Unit) {
		r |= near
		if s.Family.Same(q.Family) {
			r |= namesake
		}
	}
	for _, k := range q.Kin {
		if k.Name.Same(s.Name) {
			r |= kin
		}
	}
	return r
}

func colleague(a, b []*feeds.Staff) relation {
	var r relation
	for _, s := range a {
		for _, o := range b {
			if s.Team != "" && s.Team == o.Team || s.CostCentre != "" && s.CostCentre == o.CostCentre || len(s.Wards) > 0 && len(o.Wards) > 0 && s.Wards[0] == o.Wards[0] {
				r |= mateNear
			}
			if s.Manager != "" && s.Manager == o.Person || o.Manager != "" && o.Manager == s.Person {
				r |= manager
			}
		}
	}
	return r
}
