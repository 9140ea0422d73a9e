package cases

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/detect/detectors"
)

// block is how many days one case about a person spans at most. Blocks are counted
// from 1970, so that a case keeps its id whatever days detection looks at.
const block = 14

// Crowd is the detector that is grouped by patient.
const crowd = "vip-crowd"

// part is one day's share in a case.
type part struct {
	day    *detectors.Day
	visits []*detectors.Visit
	scored Part
	score  float64
	most   string // detector that says most
}

// draft is a case before it is written out.
type draft struct {
	kind    Kind
	person  string
	patient string
	block   int32
	parts   []part
	score   float64
	most    string
	weighed bool // weights may lower it
}

func (d *draft) id() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{string(d.kind), d.person, d.patient, strconv.Itoa(int(d.block))}, "\x00")))
	return hex.EncodeToString(sum[:12])
}

// drafts groups what was found: a person's fortnight, or the people around a
// patient.
func drafts(f *detectors.Found, s *Scoring) []draft {
	out := crowds(f.Days, s)
	for from := 0; from < len(f.Days); {
		to := from
		for to < len(f.Days) && f.Days[to].Person == f.Days[from].Person && f.Days[to].Date/block == f.Days[from].Date/block {
			to++
		}
		if d, ok := ofPerson(f.Days[from:to], s); ok {
			out = append(out, d)
		}
		from = to
	}
	slices.SortFunc(out, func(a, b draft) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id(), b.id()))
	})
	return out
}

// ofPerson makes a case of a person's fortnight.
func ofPerson(days []detectors.Day, s *Scoring) (draft, bool) {
	d := draft{kind: OfIncident, person: days[0].Person, block: days[0].Date / block, weighed: !slices.ContainsFunc(days, s.protects)}
	if !d.weighed {
		s = s.unweighted()
	}
	var scores []float64
	for i := range days {
		if p := ofDay(&days[i], s); p.score > 0 || p.mustReview() {
			d.parts = append(d.parts, p)
			scores = append(scores, p.score)
		}
	}
	if len(d.parts) == 0 {
		return d, false
	}
	if len(d.parts) > 1 {
		d.kind = OfPerson
	}
	d.score = falling(scores)
	best := 0.
	for _, p := range d.parts {
		if p.score > best {
			best, d.most = p.score, p.most
		}
	}
	return d, true
}

// ofDay scores one day.
func ofDay(day *detectors.Day, s *Scoring) part {
	p := part{day: day, scored: Part{Role: day.Role, Day: rarities(day.Signals)}}
	for k := range day.Visits {
		v := &day.Visits[k]
		p.visits = append(p.visits, v)
		if l := lookOf(v); len(l.Signals) > 0 {
			p.scored.Looks = append(p.scored.Looks, l)
		}
	}
	p.score, p.most = s.part(&p.scored)
	return p
}

// lookOf is what a visit adds by itself.
func lookOf(v *detectors.Visit) Look {
	l := Look{Factor: 1, Signals: rarities(slices.DeleteFunc(slices.Clone(v.Signals), func(g detectors.Signal) bool { return g.Detector == crowd }))}
	if v.Weak {
		l.Factor *= weakFactor
	}
	if v.Wrote || v.Covering {
		l.Factor *= workFactor
	}
	return l
}

// crowds makes a case of the people around each patient. No weight lowers it.
func crowds(days []detectors.Day, s *Scoring) []draft {
	s = s.unweighted()
	type around struct {
		parts  []part
		scores []float64
	}
	patients := map[string]*around{}
	for i := range days {
		day := &days[i]
		for k := range day.Visits {
			v := &day.Visits[k]
			for _, g := range v.Signals {
				if g.Detector != crowd || v.Wrote {
					continue
				}
				a := patients[v.Patient]
				if a == nil {
					a = &around{}
					patients[v.Patient] = a
				}
				score, _ := s.sum(day.Role, rarities(v.Signals))
				a.parts = append(a.parts, part{day: day, visits: []*detectors.Visit{v}, score: score, most: crowd})
				a.scores = append(a.scores, score)
			}
		}
	}
	var out []draft
	for patient, a := range patients {
		d := draft{kind: OfPatient, patient: patient, block: a.parts[0].day.Date, parts: a.parts, score: falling(a.scores), most: crowd}
		for _, p := range a.parts {
			d.block = min(d.block, p.day.Date)
		}
		if len(a.parts) > 1 && d.score > 0 {
			out = append(out, d)
		}
	}
	return out
}

func date(n int32) string { return time.Unix(int64(n)*86400, 0).UTC().Format(time.DateOnly) }
