package care

import (
	"slices"
	"time"
)

// directory is what the lists say about people and devices, by number.
type directory struct {
	people  map[string]*member
	teams   map[uint32][]uint32 // clinician: the teams they are of
	devices map[string][]stretch
}

// member is one person of the staff.
type member struct {
	start, end time.Time
	wards      []uint32
	teams      []uint32
	numbers    []uint32 // as clinician, sorted
	shifts     []stretch
	long       bool
}

// stretch is a time in a ward.
type stretch struct {
	from, to int64 // milliseconds; to 0 for no end
	ward     uint32
}

// Use replaces the lists of staff, rota and devices.
func (r *Register) Use(l Lists) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := &directory{people: make(map[string]*member, len(l.Staff)), teams: map[uint32][]uint32{}, devices: map[string][]stretch{}}
	for _, p := range l.Staff {
		m := &member{start: p.Start, end: p.End, wards: r.interned(p.Wards), teams: r.interned(p.Teams), long: p.Long}
		for _, id := range append(p.Numbers, ID{Value: p.Person}) {
			n := r.names.clinician(id)
			m.numbers = append(m.numbers, n)
			d.teams[n] = m.teams
		}
		d.people[p.Person] = m
	}
	for _, s := range l.Rota {
		if m := d.people[s.Person]; m != nil && s.Ward != "" {
			m.shifts = append(m.shifts, stretch{s.Start.UnixMilli(), s.End.UnixMilli(), r.names.intern(s.Ward)})
		}
	}
	for _, v := range l.Devices {
		to := int64(0)
		if !v.To.IsZero() {
			to = v.To.UnixMilli()
		}
		d.devices[v.Device] = append(d.devices[v.Device], stretch{v.From.UnixMilli(), to, r.names.intern(v.Ward)})
	}
	r.staff = d
}

func (r *Register) interned(words []string) []uint32 {
	out := make([]uint32, len(words))
	for i, w := range words {
		out[i] = r.names.intern(w)
	}
	return out
}

// member returns a person who is of the staff at a time.
func (d *directory) member(person string, at time.Time) *member {
	m := d.people[person]
	if m == nil || at.Before(m.start) || !m.end.IsZero() && !at.Before(m.end) {
		return nil
	}
	return m
}

// wardOf returns the ward in which a device stands, 0 for none.
func (d *directory) wardOf(device string, at time.Time) uint32 {
	t := at.UnixMilli()
	for _, s := range d.devices[device] {
		if t >= s.from && (s.to == 0 || t < s.to) {
			return s.ward
		}
	}
	return 0
}

// inWard reports whether somebody works in a ward, and what says so.
func (m *member) inWard(ward uint32, at int64, around time.Duration) (bool, string) {
	if ward == 0 {
		return false, ""
	}
	if slices.Contains(m.wards, ward) {
		return true, "staff list"
	}
	margin := around.Milliseconds()
	for _, s := range m.shifts {
		if s.ward == ward && at >= s.from-margin && at <= s.to+margin {
			return true, "rota"
		}
	}
	return false, ""
}

// named reports whether an event names somebody as treating or as referring.
func (m *member) named(e *event) (treating, referring bool) {
	for _, p := range e.people {
		if p == 0 {
			break
		}
		if slices.Contains(m.numbers, p>>1) {
			treating, referring = treating || p&1 == 0, referring || p&1 == 1
		}
	}
	return treating, referring
}

// team reports whether somebody is of a team that an event names, or of a team of
// somebody whom it names as treating.
func (d *directory) team(m *member, e *event) bool {
	if len(m.teams) == 0 {
		return false
	}
	if e.team != 0 && slices.Contains(m.teams, e.team) {
		return true
	}
	for _, p := range e.people {
		if p == 0 {
			break
		}
		if p&1 == 1 {
			continue
		}
		for _, t := range d.teams[p>>1] {
			if slices.Contains(m.teams, t) {
				return true
			}
		}
	}
	return false
}
