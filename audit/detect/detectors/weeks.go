package detectors

import (
	"math"
)

// weeks follows each person over weeks, and each patient over a week.
func (s *scanned) weeks() {
	for from := 0; from < len(s.days); {
		to := from
		for to < len(s.days) && s.days[to].person == s.days[from].person {
			to++
		}
		s.person(s.days[from:to])
		from = to
	}
	s.crowds()
}

// sign says whether a visit has no sign of work.
func (v *visit) sign() bool { return v.is(wrote) || v.is(covering) || v.is(weakly) }

// person fills in what the last weeks say of each day.
func (s *scanned) person(days []day) {
	const month, weeks = 30, 28
	type earlier struct {
		date  int32
		looks int32
	}
	before := map[uint32][]earlier{}
	for i := range days {
		d := &days[i]
		mates, slow := map[uint32]bool{}, int32(0)
		var mix [groups]int
		n := 0
		for j := i; j >= 0 && days[j].date > d.date-weeks; j-- {
			for k := range days[j].visits {
				v := &days[j].visits[k]
				if v.sign() || v.relation&own != 0 {
					continue
				}
				if v.relation&mate != 0 {
					mates[v.patient] = true
				}
				if v.is(noCare) || v.is(pastCare) {
					slow++
				}
				if g := s.patients[v.patient].group; g >= 0 {
					mix[g]++
					n++
				}
			}
		}
		for k := range d.visits {
			v := &d.visits[k]
			if v.relation&mate != 0 && !v.sign() {
				v.mates = int32(len(mates)) //nolint:gosec // patients of 28 days
			}
			if v.is(wrote) || v.relation&own != 0 {
				continue
			}
			seen := append(before[v.patient], earlier{d.date, int32(len(v.rows))}) //nolint:gosec // looks of one day
			before[v.patient] = seen
			for _, e := range seen {
				if e.date > d.date-month {
					v.again++
					v.againLooks += e.looks
				}
			}
		}
		if d.unexplained > 0 {
			d.slow = slow
			d.skew = s.skew(s.people[d.person].role, &mix, n)
		}
	}
}

// skew is minus the logarithm of the chance that so many patients of one sex and
// age come together, by what the role sees.
func (s *scanned) skew(role string, mix *[groups]int, n int) (most float64) {
	const fewest = 8
	if n < fewest {
		return 0
	}
	usual := s.mix[role]
	total := 0
	for _, c := range usual {
		total += c
	}
	for g, k := range mix {
		share := (float64(usual[g]) + 1) / (float64(total) + groups)
		most = max(most, -binomialTail(n, k, share)/math.Ln10)
	}
	return most
}

// binomialTail is the logarithm of P(X >= k) for n trials.
func binomialTail(n, k int, p float64) float64 {
	choose := func(n, k int) float64 {
		a, _ := math.Lgamma(float64(n + 1))
		b, _ := math.Lgamma(float64(k + 1))
		c, _ := math.Lgamma(float64(n - k + 1))
		return a - b - c
	}
	sum, most := 0., math.Inf(-1)
	for pass := range 2 { // the greatest first, so that nothing underflows
		for i := k; i <= n; i++ {
			l := choose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p)
			if pass == 0 {
				most = max(most, l)
			} else {
				sum += math.Exp(l - most)
			}
		}
	}
	return min(0, most+math.Log(sum))
}

// crowds counts for each visit the departments that looked at the patient within a
// week of it.
func (s *scanned) crowds() {
	byPatient := map[uint32][]*visit{}
	for i := range s.days {
		for k := range s.days[i].visits {
			if v := &s.days[i].visits[k]; v.crowds() {
				byPatient[v.patient] = append(byPatient[v.patient], v)
			}
		}
	}
	for _, all := range byPatient {
		s.measureCrowd(all)
	}
}

// crowds says whether a visit counts for a crowd.
func (v *visit) crowds() bool { return !v.is(wrote) && v.relation&own == 0 }

// measureCrowd counts for each of all the visits that count around one patient the
// departments of them in any week that holds its day.
func (x *index) measureCrowd(all []*visit) {
	weeks := map[int32]int32{} // departments of a week by its first day
	week := func(start int32) int32 {
		n, known := weeks[start]
		if !known {
			departments := map[string]bool{}
			for _, o := range all {
				if o.day >= start && o.day < start+7 {
					departments[x.people[o.person].department] = true
				}
			}
			n = int32(len(departments)) //nolint:gosec // departments of a hospital
			weeks[start] = n
		}
		return n
	}
	for _, v := range all {
		v.crowd = 0
		if len(all) < crowdFrom {
			continue
		}
		for start := v.day - 6; start <= v.day; start++ {
			v.crowd = max(v.crowd, week(start))
		}
	}
}
