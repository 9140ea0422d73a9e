package gateway

import (
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/proxy"
)

// relationships is a set of kinds of relationship: bit n is that of kind n.
type relationships uint8

const (
	everyKind = relationships(1<<(care.DeviceInWard+1) - 2)
	sets      = int(everyKind) + 1
)

// kindsOf are the sets as the rules see them: sorted words, made once and shared.
func kindsOf() [sets][]string {
	words := []care.Relation{care.ClinicList, care.DeviceInWard, care.NamedPerson, care.Referred, care.TeamHandover, care.WardStay} // by name
	var all [sets][]string
	for set := range all {
		for _, r := range words {
			if relationships(set)&(1<<r) != 0 {
				all[set] = append(all[set], r.String())
			}
		}
	}
	return all
}

// caring implements proxy.Config's Care.
func (g *Gateway) caring(s policy.Subject, device, app string, patients []proxy.Patient) policy.Care {
	authority := g.patientAuthority(app)
	if authority == "" {
		return policy.Care{}
	}
	state, now := g.care.state.Load(), g.now()
	c := policy.Care{Feed: state.feed, AsOf: state.asOf}
	all := everyKind
	var met [sets]bool
	differ := 0
	for _, p := range patients {
		has := g.care.relationships(s.Person, device, authority, p, now)
		all &= has
		if !met[has] {
			met[has], differ = true, differ+1
		}
	}
	if len(patients) == 0 {
		return c
	}
	c.Kinds = g.care.kinds[all]
	if differ < 2 {
		return c
	}
	for set, seen := range met {
		if seen {
			c.Each = append(c.Each, g.care.kinds[set])
		}
	}
	return c
}

// patientAuthority is who issues the numbers by which an application knows patients,
// "" where it has no register.
func (g *Gateway) patientAuthority(app string) string {
	if g.care == nil {
		return ""
	}
	return (*g.authorities.Load())[app]
}

// patientAuthorities are those of the applications that have one.
func patientAuthorities(c config.Config) *map[string]string {
	all := map[string]string{}
	for _, a := range c.Applications {
		if a.PatientAuthority != "" {
			all[a.Name] = a.PatientAuthority
		}
	}
	return &all
}

// relationships are those of a person, or of the device that they sit at, with a
// patient.
func (s *careService) relationships(person, device, authority string, p proxy.Patient, at time.Time) relationships {
	id, ok := s.identify(authority, p)
	if !ok {
		return 0
	}
	var set relationships
	for _, f := range s.register.Relations(person, id, at) {
		set |= 1 << f.Relation
	}
	if s.cfg.Devices != "" && device != "" && len(s.register.OnDevice(device, id, at)) > 0 {
		set |= 1 << care.DeviceInWard
	}
	return set
}

// identify finds a patient under the number of the application, or else under the NHS
// number. Both resolve to the survivor where numbers were merged.
func (s *careService) identify(authority string, p proxy.Patient) (care.ID, bool) {
	for _, id := range []care.ID{{Authority: authority, Value: p.ID}, {Authority: care.NHS, Value: p.NHSNumber}} {
		if id.Value == "" {
			continue
		}
		if survivor, ok := s.register.Resolve(id); ok {
			return survivor, true
		}
	}
	return care.ID{}, false
}

// CareSince says since when a person has had a care relationship with a patient of an
// application that holds at a time, and whether there is one. Without a register
// there is none.
func (g *Gateway) CareSince(person, app string, p proxy.Patient, at time.Time) (since time.Time, ok bool) {
	authority := g.patientAuthority(app)
	if authority == "" {
		return time.Time{}, false
	}
	id, ok := g.care.identify(authority, p)
	if !ok {
		return time.Time{}, false
	}
	return g.care.register.Since(person, id, at)
}

// patientWard implements proxy.Config's Ward.
func (g *Gateway) patientWard(app string, p proxy.Patient) string {
	authority := g.patientAuthority(app)
	if authority == "" {
		return ""
	}
	id, ok := g.care.identify(authority, p)
	if !ok {
		return ""
	}
	return g.care.register.Ward(id, g.now())
}

// PatientFlags are what a register says of a patient of an application beyond their
// visits. It reports false where nobody knows: no register, one that is still read, or
// a patient that was never heard of.
func (g *Gateway) PatientFlags(app string, p proxy.Patient) (care.Flags, bool) {
	authority := g.patientAuthority(app)
	if authority == "" || !g.care.loaded.Load() {
		return 0, false
	}
	id, ok := g.care.identify(authority, p)
	if !ok {
		return 0, false
	}
	return g.care.register.Flags(id)
}
