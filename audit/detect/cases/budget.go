package cases

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
)

const (
	// randomEvery puts a case drawn by lot at every twentieth rank: five in a hundred.
	randomEvery = 20
	// mostOfType is the greatest share of the budget for one detector.
	mostOfType = .4
	// lotOf is how much of the end of the budget is drawn by lot, so that nobody
	// learns where the line is, out of how many times as many.
	lotOf, lotFrom = .1, 2
)

// mustReview says whether a draft is looked at whatever the budget.
func (d *draft) mustReview() bool { return slices.ContainsFunc(d.parts, part.mustReview) }

// mustReview says whether a day is looked at however common that is in the role.
func (p part) mustReview() bool {
	return mustDay(p.day) || slices.ContainsFunc(p.visits, mustVisit)
}

func mustDay(d *detectors.Day) bool { return d.Has("dormant-leaver", 1000) }

func mustVisit(v *detectors.Visit) bool { return v.Has("own-record", 1) || v.Has("break-glass", 2) }

// choose cuts the drafts, which stand in the order of their scores, to a budget:
// no type takes more than its share, each type has one a week if there is any, and
// the end is drawn by lot.
func choose(all []draft, limit, weeks int, rng *rand.Rand) []draft {
	var must, chosen, rest []draft
	types := map[string]int{}
	for i := range all {
		switch d := &all[i]; {
		case d.mustReview():
			must = append(must, *d)
		case len(chosen) < limit && float64(types[d.most]) < mostOfType*float64(limit):
			types[d.most]++
			chosen = append(chosen, *d)
		default:
			rest = append(rest, *d)
		}
	}
	for i := 0; i < len(rest) && len(chosen) == limit && limit > 0; i++ { // floors
		d := rest[i]
		if types[d.most] >= weeks {
			continue
		}
		last := len(chosen) - 1
		for last >= 0 && types[chosen[last].most] <= weeks {
			last--
		}
		if last < 0 {
			break
		}
		types[chosen[last].most]--
		types[d.most]++
		chosen[last], rest[i] = d, chosen[last]
	}
	lots := int(lotOf * float64(limit))
	if len(chosen) == limit && lots > 0 && len(rest) > 0 {
		bag := append(slices.Clone(chosen[limit-lots:]), rest[:min(len(rest), (lotFrom-1)*lots)]...)
		rng.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		chosen = append(chosen[:limit-lots], bag[:lots]...)
	}
	chosen = append(chosen, must...)
	slices.SortFunc(chosen, func(a, b draft) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id(), b.id())) })
	return chosen
}

// sample draws n looks that nobody points at, one case each.
func sample(f *detectors.Found, t *table.Table, n int, rng *rand.Rand) []Case {
	flagged := map[string]bool{}
	for i := range f.Days {
		flagged[f.Days[i].Person+"\x00"+date(f.Days[i].Date)] = true
	}
	var out []Case
	drawn := 0
	for range 20 * n {
		if len(out) == n || t.Len() == 0 {
			break
		}
		row := rng.IntN(t.Len())
		if !f.Counts(t, row) {
			continue
		}
		drawn++
		person, on := t.People.Text(t.Person[row]), f.DateOf(t, row)
		if flagged[person+"\x00"+on] {
			continue
		}
		flagged[person+"\x00"+on] = true
		d := draft{kind: OfIncident, person: person, patient: on}
		out = append(out, Case{
			ID: d.id(), Kind: OfIncident, Lane: Random, Person: person, People: []string{person}, Roles: []string{}, Patients: []string{f.InUse(t, row)}, Days: []string{on},
			Detectors: []Detector{}, Explanations: []Explanation{}, Accesses: []string{t.ID(row)}, MadeAt: t.Time(row), Versions: map[string]int{"grouping": groupingVersion},
			Sentences: []string{"Drawn by lot among accesses that no detector points at, so that what is missed can be estimated."},
		})
	}
	for i := range out {
		out[i].StandsFor = float64(f.Accesses) / float64(drawn)
	}
	return out
}
