package cases

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/table"
)

// groupingVersion changes when grouping, ranking or the budget does.
const groupingVersion = 1

// mostExplained is how many looks of a case are searched for what could explain
// them.
const mostExplained = 12

// Settings say how many cases are made and how they are weighed.
type Settings struct {
	Budget  int    // cases a day for a thousand people
	People  int    // who could be reviewed
	Days    int    // that the accesses span
	Seed    uint64 // of what is drawn by lot
	Scoring Scoring
	Explain func(person, patient string, at time.Time) []Explanation // may be nil
}

// Make groups and ranks what was found and cuts it to the budget. The cases that
// must be reviewed and those drawn by lot stand in their ranks.
func Make(f *detectors.Found, t *table.Table, s Settings) []Case {
	rng := rand.New(rand.NewPCG(s.Seed, groupingVersion)) //nolint:gosec // drawn again from the same seed on purpose
	limit := s.Budget * s.Days * s.People / 1000
	chosen := choose(drafts(f, &s.Scoring), limit, (s.Days+6)/7, rng)
	lots := sample(f, t, len(chosen)/(randomEvery-1), rng)
	out := silences(f, &s.Scoring)
	for i := range chosen {
		out = append(out, s.write(&chosen[i], t))
		if len(out)%randomEvery == randomEvery-1 && len(lots) > 0 {
			out, lots = append(out, lots[0]), lots[1:]
		}
	}
	for i := range out {
		out[i].Rank = i + 1
	}
	return out
}

// silences makes cases of what did not record, which are for security and about
// nobody. They come first: what is not on record nobody can ask about.
func silences(f *detectors.Found, s *Scoring) []Case {
	var out []Case
	for i := range f.Silences {
		q := &f.Silences[i]
		d := draft{kind: OfIncident, patient: q.Of, block: int32(q.From.Unix() / 3600)} //nolint:gosec // hours since 1970
		c := Case{
			ID: d.id(), Kind: OfIncident, Score: s.unweighted().signal(AnyRole, Rarity{q.Detector, q.P}), Lane: MustReview, MadeAt: q.To,
			Detectors: []Detector{{q.Detector, q.Version, q.Value, q.P}}, Versions: map[string]int{q.Detector: q.Version, "scoring": s.Version, "grouping": groupingVersion},
			People: []string{}, Roles: []string{}, Patients: []string{}, Explanations: []Explanation{}, Accesses: []string{},
			Sentences: []string{
				fmt.Sprintf("%s recorded nothing from %s to %s UTC, when %d records are usual.", q.Of, moment(q.From), moment(q.To), q.Usual),
				"This is for security: it is about what records and about nobody's work.",
				"Planned downtime, a move or records that arrive late would explain it.",
			},
		}
		for at := q.From; at.Before(q.To); at = at.Add(time.Hour) {
			c.Days = add(c.Days, f.DayOf(at))
		}
		out = append(out, c)
	}
	return out
}

func moment(t time.Time) string { return t.Format("2 January 2006 15:04") }

func (s *Settings) write(d *draft, t *table.Table) Case {
	c := Case{
		ID: d.id(), Kind: d.kind, Score: d.score, Lane: Budget, Person: d.person,
		Versions: map[string]int{"scoring": s.Scoring.Version, "grouping": groupingVersion},
		People:   []string{}, Roles: []string{}, Patients: []string{}, Days: []string{}, Detectors: []Detector{}, Explanations: []Explanation{}, Sentences: []string{}, Accesses: []string{},
	}
	if d.mustReview() {
		c.Lane = MustReview
	}
	looked := 0
	for _, p := range d.parts {
		if d.weighed {
			c.Parts = append(c.Parts, p.scored)
		}
		c.People, c.Roles, c.Days = add(c.People, p.day.Person), add(c.Roles, p.day.Role), add(c.Days, date(p.day.Date))
		c.note(p.day.Signals)
		c.take(t, p.day.Rows)
		for _, v := range p.visits {
			c.Patients = add(c.Patients, v.Patient)
			c.note(v.Signals)
			c.take(t, v.Rows)
			if s.Explain != nil && looked < mostExplained && len(v.Rows) > 0 {
				looked++
				for _, e := range s.Explain(p.day.Person, v.Patient, t.Time(int(v.Rows[0]))) {
					if !slices.Contains(c.Explanations, e) {
						c.Explanations = append(c.Explanations, e)
					}
				}
			}
		}
	}
	slices.Sort(c.Days)
	slices.Sort(c.Patients)
	slices.Sort(c.People)
	slices.Sort(c.Roles)
	slices.SortFunc(c.Detectors, func(a, b Detector) int { return cmp.Or(cmp.Compare(a.P, b.P), cmp.Compare(a.ID, b.ID)) })
	c.say(d)
	return c
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// take lists accesses.
func (c *Case) take(t *table.Table, rows []uint32) {
	for _, row := range rows {
		c.Accesses = add(c.Accesses, t.ID(int(row)))
		if at := t.Time(int(row)); at.After(c.MadeAt) {
			c.MadeAt = at
		}
	}
}

// say writes what the case rests on.
func (c *Case) say(d *draft) {
	c.Sentences = append(c.Sentences, fmt.Sprintf("It is about %s, %s and %s, with %s to look at.",
		counted(len(c.People), "person", "people"), counted(len(c.Patients), "patient", "patients"), counted(len(c.Days), "day", "days"), counted(len(c.Accesses), "access", "accesses")))
	for _, of := range c.Detectors {
		if text := detectors.Say(of.ID, of.Value); text != "" {
			c.Sentences = append(c.Sentences, text+" "+rarity(of.P))
		}
	}
	day, who := d.parts[0].day, "the person"
	if d.person == "" {
		who = "one of them"
	}
	c.Sentences = append(c.Sentences, fmt.Sprintf("On %s %s opened %s; in the role %s a day has %.0f on average.",
		time.Unix(int64(day.Date)*86400, 0).UTC().Format("2 January 2006"), who, counted(day.Patients, "patient", "patients"), strings.ReplaceAll(day.Role, "-", " "), day.Usual))
	wrote := false
	for _, p := range d.parts {
		for _, v := range p.visits {
			wrote = wrote || v.Wrote
		}
	}
	if !wrote {
		c.Sentences = append(c.Sentences, "Nothing was written for any of the patients on these days.")
	}
	c.Sentences = append(c.Sentences, "Not yet explained says nothing against anybody: an appointment, a referral, a shift or a task that no feed knows would explain it.")
}

func rarity(p float64) string {
	if p > .1 {
		return "That is common among comparable ones of the role."
	}
	return fmt.Sprintf("So it is with %.3g of a thousand comparable ones of the role.", 1000*p)
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
