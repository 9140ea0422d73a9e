// Package yardstick makes lists of cases in the ways that are usual elsewhere, from
// the same accesses and feeds, so that one can see in the same run whether
// detection is better: volume, relationship rules, rules without what is explained,
// a raw sum of signals, and an isolation forest.
//
// It is a yardstick and raises no alert. It does no I/O and reads no clock; the
// same input gives the same lists.
package yardstick

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/detect/evaluate"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// Input is what all lists are made of.
type Input struct {
	Accesses *table.Table // in the order of time
	Context  feeds.Context
	Machines map[uint32]bool // of Accesses.People: they are left out
	Location *time.Location  // of days
	// Explained reports whether the access of a row has a strong explanation.
	Explained func(row int) bool
	InUse     func(patient string) string // follows merged numbers
	Limit     int                         // cases a list
}

// List is one way and what it found, best first.
type List struct {
	Name  string
	Cases []evaluate.Case
}

// Lists makes every list.
func Lists(in Input) []List {
	u := collect(in)
	return []List{
		{"volume", u.ranked("volume", u.days, u.volume())},
		{"rules", u.incidents("rules", false)},
		{"rules-unexplained", u.incidents("rules-unexplained", true)},
		{"raw-sum", u.ranked("raw-sum", u.days, u.sums())},
		{"isolation-forest", u.ranked("isolation-forest", u.days, u.isolation())},
	}
}

// volume is how far the number of patients of a day is above what the person
// usually opens: 0.6745 (x - median) / max(MAD, 1).
func (u *units) volume() []float64 {
	by := map[uint32][]float64{}
	for _, d := range u.days {
		by[d.person] = append(by[d.person], float64(len(d.patients)))
	}
	type usual struct{ median, spread float64 }
	usuals := map[uint32]usual{}
	for person, counts := range by {
		m := median(counts)
		off := make([]float64, len(counts))
		for i, c := range counts {
			off[i] = math.Abs(c - m)
		}
		usuals[person] = usual{m, max(median(off), 1)}
	}
	out := make([]float64, len(u.days))
	for i, d := range u.days {
		of := usuals[d.person]
		out[i] = 0.6745 * (float64(len(d.patients)) - of.median) / of.spread
	}
	return out
}

func median(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	if n := len(of); n%2 == 0 {
		return (of[n/2-1] + of[n/2]) / 2
	}
	return of[len(of)/2]
}

// sums add the logarithms of all signals.
func (u *units) sums() []float64 {
	out := make([]float64, len(u.days))
	for i, d := range u.days {
		for _, s := range d.signals() {
			out[i] += math.Log1p(s)
		}
	}
	return out
}

func (u *units) isolation() []float64 {
	points := make([][]float64, len(u.days))
	for i, d := range u.days {
		for _, s := range d.signals() {
			points[i] = append(points[i], math.Log1p(s))
		}
	}
	return isolate(points)
}

// ranked puts the days of people into the order of their scores; equal ones stand
// in the order of day and person.
func (u *units) ranked(kind string, days []*day, scores []float64) []evaluate.Case {
	order := make([]int, len(days))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	var out []evaluate.Case
	for _, i := range order[:min(len(order), u.in.Limit)] {
		c := evaluate.Case{Kind: kind, Score: scores[i], Person: u.in.Accesses.People.Text(days[i].person), Days: []string{u.date(days[i].date)}}
		for p := range days[i].patients {
			c.Patients = append(c.Patients, u.patient(p))
		}
		slices.Sort(c.Patients)
		out = append(out, u.numbered(c, len(out)+1))
	}
	return out
}

func (u *units) patient(n uint32) string { return u.in.InUse(u.in.Accesses.Patients.Text(n)) }

func (u *units) numbered(c evaluate.Case, rank int) evaluate.Case {
	c.Rank, c.Lane, c.ID = rank, "budget", fmt.Sprintf("%s-%d", c.Kind, rank)
	return c
}

// incidents ranks what one person did to one patient on one day by the rules that
// it breaks, then by how often the record was opened.
func (u *units) incidents(kind string, unexplainedOnly bool) []evaluate.Case {
	type incident struct {
		*day
		patient uint32
		weight  float64
		opens   int
	}
	var all []incident
	for _, d := range u.days {
		for p, v := range d.patients {
			if w := v.relation.weight(); w > 0 && (!unexplainedOnly || !v.explained || v.relation.own) {
				all = append(all, incident{d, p, w, v.opens})
			}
		}
	}
	slices.SortFunc(all, func(a, b incident) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(b.opens, a.opens), cmp.Compare(a.date, b.date), cmp.Compare(a.person, b.person), cmp.Compare(a.patient, b.patient))
	})
	var out []evaluate.Case
	for _, i := range all[:min(len(all), u.in.Limit)] {
		out = append(out, u.numbered(evaluate.Case{
			Kind: kind, Score: i.weight, Person: u.in.Accesses.People.Text(i.person), Days: []string{u.date(i.date)},
			Patients: []string{u.patient(i.patient)},
		}, len(out)+1))
	}
	return out
}
