package cases

import (
	"slices"

	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
)

// Settings say how many cases are made and how they are weighed.
type Settings struct {
	Limit   int // cases in all
	Scoring Scoring
}

// Make groups, ranks and cuts what was found.
func Make(f *detectors.Found, t *table.Table, s Settings) []Case {
	all := drafts(f, &s.Scoring)
	all = all[:min(len(all), s.Limit)]
	out := make([]Case, len(all))
	for i := range all {
		out[i] = write(&all[i], t, s.Scoring.Version)
		out[i].Rank = i + 1
	}
	return out
}

func write(d *draft, t *table.Table, version int) Case {
	c := Case{
		ID: d.id(), Kind: d.kind, Score: d.score, Lane: Budget, Person: d.person, Versions: map[string]int{"scoring": version},
		People: []string{}, Patients: []string{}, Days: []string{}, Detectors: []Detector{}, Explanations: []Explanation{}, Sentences: []string{}, Accesses: []string{},
	}
	for _, p := range d.parts {
		c.People = add(c.People, p.day.Person)
		c.Days = add(c.Days, date(p.day.Date))
		c.note(p.day.Signals)
		for _, v := range p.visits {
			c.Patients = add(c.Patients, v.Patient)
			c.note(v.Signals)
			for _, row := range v.Rows {
				c.Accesses = append(c.Accesses, t.ID(int(row)))
				if at := t.Time(int(row)); at.After(c.MadeAt) {
					c.MadeAt = at
				}
			}
		}
	}
	slices.Sort(c.Days)
	slices.Sort(c.Patients)
	return c
}

// note keeps the rarest value of each detector.
func (c *Case) note(signals []detectors.Signal) {
	for _, g := range signals {
		c.Versions[g.Detector] = g.Version
		i := slices.IndexFunc(c.Detectors, func(d Detector) bool { return d.ID == g.Detector })
		switch {
		case i < 0:
			c.Detectors = append(c.Detectors, Detector{g.Detector, g.Version, g.Value, g.P})
		case g.P < c.Detectors[i].P:
			c.Detectors[i].Value, c.Detectors[i].P = g.Value, g.P
		}
	}
}

func add(list []string, one string) []string {
	if slices.Contains(list, one) {
		return list
	}
	return append(list, one)
}
