package evaluate

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/audit/intake"
)

// Explained counts how many accesses are explained, and how much misuse is
// explained away. It is told of the deliberate accesses in the order of time.
type Explained struct {
	location  *time.Location
	labels    map[feeds.Label]string // without kind → kind
	seen      map[pair]bool
	all       Ratio
	first     Ratio
	misuse    map[string]*ExplainedUsage
	by        [explain.Templates]int
	shadow    int
	from, end time.Time
}

type pair struct{ person, patient string }

// NewExplained counts for these labels; days are those of location.
func NewExplained(labels []feeds.Label, location *time.Location) *Explained {
	e := &Explained{location: location, labels: map[feeds.Label]string{}, seen: map[pair]bool{}, misuse: map[string]*ExplainedUsage{}}
	for _, l := range labels {
		kind := l.Kind
		l.Kind = ""
		e.labels[l] = kind
	}
	return e
}

// Add counts one access with what explains it.
func (e *Explained) Add(person, patient string, at time.Time, by explain.Mask) {
	explained := by.Strong()
	if by.Shadow() {
		e.shadow++
	}
	for i := range e.by {
		if by.Has(explain.Template(i + 1)) {
			e.by[i]++
		}
	}
	if e.from.IsZero() || at.Before(e.from) {
		e.from = at
	}
	if at.After(e.end) {
		e.end = at
	}
	e.all = e.all.add(explained)
	if p := (pair{person, patient}); !e.seen[p] {
		e.seen[p] = true
		e.first = e.first.add(explained)
	}
	day := at.In(e.location).Format(time.DateOnly)
	kind, ok := e.labels[feeds.Label{Person: person, Day: day, Patient: patient}]
	if ok { // where only a day is labelled, work and misuse of that day cannot be told apart
		e.addMisuse(kind, by)
	}
}

// addMisuse counts one access that is labelled.
func (e *Explained) addMisuse(kind string, by explain.Mask) {
	u := e.misuse[kind]
	if u == nil {
		u = &ExplainedUsage{Kind: kind, Templates: map[string]int{}}
		e.misuse[kind] = u
	}
	u.Misuse = u.Misuse.add(by.Strong())
	if !by.Strong() {
		return
	}
	for t := explain.Charted; t <= explain.Local; t++ {
		if by.Has(t) && t.Explains() {
			u.Templates[t.Code()]++
		}
	}
}

func (r Ratio) add(hit bool) Ratio {
	r.Of++
	if hit {
		r.Hits++
	}
	return r
}

// Days is how many days there were, of the hospital's time zone.
func (e *Explained) Days() int {
	if e.from.IsZero() {
		return 0
	}
	return 1 + between(e.from.In(e.location).Format(time.DateOnly), e.end.In(e.location).Format(time.DateOnly))
}

// ExplainedReport is the shares of explained accesses.
type ExplainedReport struct {
	All    Ratio            `json:"all"`
	First  Ratio            `json:"first"` // of each person to each patient
	Misuse Ratio            `json:"misuse"`
	Kinds  []ExplainedUsage `json:"kinds"`
	// Templates is how many accesses each template could explain, weak ones too.
	Templates []TemplateUse `json:"templates"`
	// Shadow is how many accesses that nothing explains a template in shadow would.
	Shadow int `json:"shadow"`
}

// TemplateUse is how many accesses one template could explain.
type TemplateUse struct {
	Template string `json:"template"`
	Accesses int    `json:"accesses"`
}

// ExplainedUsage is the share of one kind of misuse that is explained away.
type ExplainedUsage struct {
	Kind   string `json:"kind"`
	Misuse Ratio  `json:"misuse"`
	// Templates is how many of them each template stands for; one access may have
	// several.
	Templates map[string]int `json:"templates"`
}

// Report is the shares so far.
func (e *Explained) Report() ExplainedReport {
	r := ExplainedReport{All: e.all, First: e.first, Shadow: e.shadow, Kinds: []ExplainedUsage{}}
	for i, n := range e.by {
		r.Templates = append(r.Templates, TemplateUse{explain.Template(i + 1).Code(), n})
	}
	for _, u := range e.misuse {
		r.Misuse.Hits += u.Misuse.Hits
		r.Misuse.Of += u.Misuse.Of
		r.Kinds = append(r.Kinds, *u)
	}
	slices.SortFunc(r.Kinds, func(a, b ExplainedUsage) int { return cmp.Compare(a.Kind, b.Kind) })
	return r
}

// maxCase bounds one line of a file of cases.
const maxCase = 16 << 20

// ReadCases reads a file of cases, as "matron alerts export --json" writes it. A
// line that is no case is an error: no figure holds without it.
func ReadCases(in io.Reader) ([]Case, error) {
	lines := intake.NewLines(in, maxCase)
	cases := []Case{}
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return cases, nil
		}
		if err != nil {
			return nil, err
		}
		var c Case
		if json.Unmarshal(line, &c) != nil {
			return nil, fmt.Errorf("line %d: not one JSON object with the fields of a case", lines.Number())
		}
		nobody := c.Person == "" && len(c.People) == 0
		if nobody && c.Lane != mustReview || len(c.Days) == 0 || c.Rank < 1 { // what did not record is a case about nobody
			return nil, fmt.Errorf("line %d: a case needs rank from 1, person or people unless it must be reviewed, and days", lines.Number())
		}
		cases = append(cases, c)
	}
}
