package detectors

import "slices"

// measure is what a live value is set against: the tail of each detector over the
// days that are known, kept as they change.
type measure struct {
	tails  map[string]map[string]*histogram // of detector and role
	kept   map[string]int                   // visits of a role that nothing explains
	visits map[string]int                   // of everybody in a role, explained ones too
	active map[string]int                   // person-days of a role
}

func newMeasure() measure {
	return measure{map[string]map[string]*histogram{}, map[string]int{}, map[string]int{}, map[string]int{}}
}

// histogram counts values.
type histogram struct {
	values []float64 // in order
	counts []int
	total  int
}

func (h *histogram) add(v float64, by int) {
	i, found := slices.BinarySearch(h.values, v)
	if !found {
		h.values, h.counts = slices.Insert(h.values, i, v), slices.Insert(h.counts, i, 0)
	}
	h.counts[i] += by
	h.total += by
	if h.counts[i] == 0 {
		h.values, h.counts = slices.Delete(h.values, i, i+1), slices.Delete(h.counts, i, i+1)
	}
}

func (h *histogram) atLeast(v float64) int {
	n := 0
	for i := len(h.values) - 1; i >= 0 && h.values[i] >= v; i-- {
		n += h.counts[i]
	}
	return n
}

// said is one value that a day has added.
type said struct {
	detector string
	value    float64
}

func (m *measure) histogram(detector, role string) *histogram {
	roles := m.tails[detector]
	if roles == nil {
		roles = map[string]*histogram{}
		m.tails[detector] = roles
	}
	h := roles[role]
	if h == nil {
		h = &histogram{}
		roles[role] = h
	}
	return h
}

func (m *measure) add(detector, role string, v float64, by int) {
	m.histogram(detector, role).add(v, by)
	m.histogram(detector, everybody).add(v, by)
}

// count puts what a day says now in the place of what it said before.
func (m *measure) count(s *scanned, d *liveDay, definitions []Definition) {
	for _, g := range d.said {
		m.add(g.detector, d.counted, g.value, -1)
	}
	d.said = d.said[:0]
	for _, role := range []string{d.counted, everybody} {
		m.kept[role] -= d.keptBefore
		m.visits[role] -= d.visitsBefore
		m.active[role] -= d.activeBefore
	}
	d.counted, d.keptBefore, d.visitsBefore, d.activeBefore = d.role, len(d.visits), int(d.patients), 0
	if d.patients > 0 {
		d.activeBefore = 1
	}
	for _, role := range []string{d.counted, everybody} {
		m.kept[role] += d.keptBefore
		m.visits[role] += d.visitsBefore
		m.active[role] += d.activeBefore
	}
	each(s, d, definitions, func(of *Definition, _ *visit, v float64) {
		d.said = append(d.said, said{of.ID, v})
		m.add(of.ID, d.counted, v, 1)
	})
}

// each visits what definitions say of a day and its visits.
func each(s *scanned, d *liveDay, definitions []Definition, do func(*Definition, *visit, float64)) {
	if d.patients == 0 {
		return
	}
	for i := range definitions {
		of := &definitions[i]
		if of.day != nil {
			if v := of.day(s, &d.day); v > 0 {
				do(of, nil, v)
			}
			continue
		}
		for k := range d.visits {
			if v := of.visit(s, &d.visits[k]); v > 0 {
				do(of, &d.visits[k], v)
			}
		}
	}
}

// signal says what is rare in a day.
func (m *measure) signal(s *scanned, d *liveDay, definitions []Definition) {
	d.signals = nil
	for i := range definitions {
		if of := &definitions[i]; of.day != nil && d.patients > 0 {
			d.signals = m.rare(d.signals, of, d.role, of.day(s, &d.day))
		}
	}
	for k := range d.visits {
		m.visit(s, d.role, &d.visits[k], definitions)
	}
}

// visit says what is rare in a visit.
func (m *measure) visit(s *scanned, role string, v *visit, definitions []Definition) {
	v.signals = nil
	for i := range definitions {
		if of := &definitions[i]; of.visit != nil {
			v.signals = m.rare(v.signals, of, role, of.visit(s, v))
		}
	}
}

func (m *measure) rare(to []Signal, of *Definition, role string, v float64) []Signal {
	if v <= 0 {
		return to
	}
	return append(to, Signal{of.ID, of.Version, v, m.p(of, role, v)})
}

// p is the share of a role's units with at least this value.
func (m *measure) p(of *Definition, role string, v float64) float64 {
	units := m.kept
	switch {
	case of.day != nil:
		units = m.active
	case of.ID == ownID:
		units = m.visits
	}
	mine, all := m.histogram(of.ID, role), m.histogram(of.ID, everybody)
	return share(mine.atLeast(v), max(units[role], mine.total), all.atLeast(v), max(units[everybody], all.total))
}

// usual is how many patients somebody of a role opens on a day.
func (m *measure) usual(role string) float64 {
	return float64(m.visits[role]) / float64(max(m.active[role], 1))
}
