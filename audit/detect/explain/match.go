package explain

import (
	"cmp"
	"slices"
)

// place is where somebody belonged at a moment.
type place struct {
	wards, teams [8]uint32
	w, t         int
	department   uint32
	role         uint32
	onCall       bool
	serves       bool   // their team has work items of the whole hospital
	here         uint32 // ward of the workstation; 0 is nowhere or not known
}

func (p *place) addWard(w uint32) {
	if w != 0 && p.w < len(p.wards) {
		p.wards[p.w] = w
		p.w++
	}
}

func (p *place) on(ward uint32) bool { return ward != 0 && slices.Contains(p.wards[:p.w], ward) }
func (p *place) of(team uint32) bool { return team != 0 && slices.Contains(p.teams[:p.t], team) }

// place finds where somebody belonged, by the lines of the staff list that held
// then and by the rota.
func (e *Engine) place(person uint32, at int64, here uint32) place {
	p := place{here: here}
	if int(person) < len(e.posts) {
		for _, one := range e.posts[person] {
			if at < one.from || at >= one.to {
				continue
			}
			p.addWard(one.ward)
			if one.team != 0 && p.t < len(p.teams) && !p.of(one.team) {
				p.teams[p.t] = one.team
				p.t++
				p.serves = p.serves || e.serving[one.team]
			}
			p.department, p.role = cmp.Or(p.department, one.department), cmp.Or(p.role, one.role)
		}
	}
	if int(person) >= len(e.shifts) {
		return p
	}
	of := e.shifts[person]
	i, _ := slices.BinarySearchFunc(of, at+rotaGrace+1, func(s shift, t int64) int { return cmp.Compare(s.from, t) })
	for i--; i >= 0 && of[i].from > at-3*day; i-- {
		if at <= of[i].to+rotaGrace {
			p.addWard(of[i].ward)
			p.onCall = p.onCall || of[i].onCall
		}
	}
	return p
}

// hit is one template that explains, and the line of care that says so.
type hit struct {
	template Template
	strong   bool
	care     *care // nil where no line is behind it
	site     *siteTemplate
}

// hits collects what explains one access; nil only counts.
type hits []hit

func (h *hits) add(one hit) Mask {
	if h != nil {
		*h = append(*h, one)
	}
	m := bit(one.template)
	if one.strong {
		m |= strongBit
	}
	return m
}

// match looks for what explains one access in the lines of care around it.
// elsewhere says that the person was at another ward at the same time, so that the
// workstation tells nothing.
func (e *Engine) match(person uint32, p *place, at int64, elsewhere bool, around []*care, h *hits) Mask {
	var m Mask
	inHospital := false
	for _, c := range around {
		stays := c.kind == inpatient || c.kind == emergency
		now := stays && at >= c.from && at <= c.last()
		inHospital = inHospital || now
		if w := byName(c); c.within(w, at) && c.names(e, person) {
			m |= h.add(hit{template: w.template, strong: true, care: c})
		}
		if w := byWard(c.kind); p.on(c.ward) && c.within(w, at) {
			m |= h.add(hit{template: w.template, strong: true, care: c})
		} else if now && c.ward != 0 && c.ward == p.here && !elsewhere {
			m |= h.add(hit{template: AtWard, strong: true, care: c})
		}
		if w := byTeam(c.kind); p.of(c.team) && c.within(w, at) {
			m |= h.add(hit{template: w.template, strong: true, care: c})
		}
	}
	if m&bit(Duty) == 0 && inHospital && (p.onCall || p.serves) {
		m |= h.add(hit{template: Duty})
	}
	return m | e.matchSite(p, at, around, h)
}

// around keeps the lines of care that could say something about a moment, for
// moments in the order of time.
type around struct {
	rest []care
	now  []*care
}

// The longest windows there are, those of the site included.
func (e *Engine) reach() (before, after int64) {
	before, after = 7*day, 30*day
	for i := range e.site {
		before, after = max(before, e.site[i].before), max(after, e.site[i].after)
	}
	return before, after
}

func (a *around) at(at, before, after int64) []*care {
	for len(a.rest) > 0 && a.rest[0].from-before <= at {
		a.now = append(a.now, &a.rest[0])
		a.rest = a.rest[1:]
	}
	kept := a.now[:0]
	for _, c := range a.now {
		if c.last()+after >= at {
			kept = append(kept, c)
		}
	}
	a.now = kept
	return kept
}
