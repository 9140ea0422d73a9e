package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/detectors"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/detect/table"
	"github.com/matron-epr/matron/audit/feeds"
)

// Overlap is how many sequence numbers below the highest of a source may still come:
// rows that were missing are put in later.
const Overlap = 500

// Live looks at accesses as they come. What it keeps is bounded, and records that
// come again change nothing. It is not safe for concurrent use.
type Live struct {
	cfg      Config
	explain  *explain.Live
	found    *detectors.Live
	settings cases.Settings
	ration   *cases.Ration
	sources  map[string]*source
}

// source is which records of a source were seen.
type source struct {
	highest uint64
	near    map[uint64]bool // within Overlap of the highest
}

// NewLive makes one that has seen nothing.
func NewLive(cfg Config, c feeds.Context) *Live {
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	l := &Live{
		cfg: cfg, explain: explain.NewLive(newEngine(cfg, c)), found: detectors.NewLive(c, cfg.Location),
		settings: cases.Settings{Scoring: cases.DefaultScoring()}, ration: cases.NewRation(cfg.perDay(c.People())), sources: map[string]*source{},
	}
	l.settings.Explain = l.reasons
	return l
}

func newEngine(cfg Config, c feeds.Context) *explain.Engine {
	return explain.New(explain.Config{Location: cfg.Location, Site: cfg.Explain}, c)
}

// Engine explains single accesses by the same context.
func (l *Live) Engine() *explain.Engine { return l.explain.Engine }

// Tell puts another context in the place of the one before. What was seen stays.
func (l *Live) Tell(c feeds.Context) {
	l.explain.Tell(newEngine(l.cfg, c))
	l.found.Tell(c)
	l.ration.Resize(l.cfg.perDay(c.People()))
}

// Weigh goes on with other weights. What was asked stays asked.
func (l *Live) Weigh(s cases.Scoring) { l.settings.Scoring = s }

// Versions lists the detectors that look at live accesses, for example
// "household@2".
func Versions() []string {
	var out []string
	for _, d := range detectors.Definitions() {
		if d.Streaming {
			out = append(out, fmt.Sprintf("%s@%d", d.ID, d.Version))
		}
	}
	return out
}

// Seen says who was seen last when, before what is taken in, and since when that is
// known.
func (l *Live) Seen(since time.Time, last map[string]time.Time) { l.found.Seen(since, last) }

// Asked notes alerts that were made before a restart, so that none is made twice.
func (l *Live) Asked(alerts []Alert) {
	for i := range alerts {
		a := &alerts[i]
		l.ration.Asked(a.ID, a.Kind, a.Lane, l.date(a.Made))
	}
}

// date is the day of a moment, in days since 1970.
func (l *Live) date(t time.Time) int32 {
	y, m, d := t.In(l.cfg.Location).Date()
	return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400) //nolint:gosec // days
}

// Take takes in what has come until now. Of outcomes it wants those that failed.
func (l *Live) Take(records []audit.Record, now time.Time) Taken { return l.all(records, now, l.fresh) }

// Remember takes in accesses of a day that is over or under way, each once, and asks
// nothing about them. end is the end of the day, or now.
func (l *Live) Remember(records []audit.Record, end time.Time) Taken {
	return l.all(records, end, func(r *audit.Record) bool {
		l.note(r)
		return true
	})
}

// Learn measures what was remembered up to an end.
func (l *Live) Learn(end time.Time) {
	fresh := l.found.Look(end)
	l.ration.Compare(l.settings.Questions(&fresh), l.date(end.Add(-time.Nanosecond)))
	l.found.Forget(end)
}

func (l *Live) all(records []audit.Record, now time.Time, fresh func(*audit.Record) bool) Taken {
	slices.SortStableFunc(records, func(a, b audit.Record) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Seq, b.Seq))
	})
	failed := map[Ref]bool{}
	for i := range records {
		if r := &records[i]; r.Kind == audit.KindOutcome {
			failed[Ref{r.Source, r.Decision}] = true
		}
	}
	var out Taken
	for i := range records {
		r := &records[i]
		if r.Kind != audit.KindDecision && r.Kind != audit.KindPatient || r.Site != l.cfg.Site || r.Person == "" {
			continue
		}
		if !fresh(r) {
			out.Again++
			continue
		}
		decision := r.Decision
		if r.Kind == audit.KindDecision {
			decision = r.Seq
		}
		if failed[Ref{r.Source, decision}] {
			r.Outcome = audit.SeriousFailure
		}
		l.take(r, now, &out)
	}
	return out
}

func (l *Live) take(r *audit.Record, now time.Time, out *Taken) {
	strength := detectors.Unexplained
	fate := l.found.Take(r, now, func() detectors.Strength {
		m := l.explain.Look(explain.Access{
			Person: r.Person, Patient: r.Patient, At: r.Time, Device: r.Device,
			BreakGlass: strings.HasPrefix(r.Basis, audit.BasisBreakGlass), Wrote: table.Writes(r.Action),
		}, roleOf(r), cmp.Or(r.Screen, r.Area))
		switch {
		case m.Strong():
			strength = detectors.Strong
		case m.Weak():
			strength = detectors.Weak
		}
		return strength
	})
	switch fate {
	case detectors.Taken:
		out.Accesses++
		if strength == detectors.Strong {
			out.Explained++
		}
	case detectors.OutOfTime:
		out.OutOfTime++
	case detectors.TooMany:
		out.TooMany++
	case detectors.Passed:
	}
}

func roleOf(r *audit.Record) string {
	if len(r.Roles) == 0 {
		return ""
	}
	return r.Roles[0]
}

// fresh says whether a record was not seen before, and notes it. What is far below
// the highest of its source comes again.
func (l *Live) fresh(r *audit.Record) bool {
	if s := l.sources[r.Source]; s != nil && (s.near[r.Seq] || r.Seq+Overlap <= s.highest) {
		return false
	}
	l.note(r)
	return true
}

// note keeps in mind that a record was seen.
func (l *Live) note(r *audit.Record) {
	s := l.sources[r.Source]
	if s == nil {
		s = &source{near: map[uint64]bool{}}
		l.sources[r.Source] = s
	}
	s.near[r.Seq] = true
	s.highest = max(s.highest, r.Seq)
	if len(s.near) > 2*Overlap {
		for seq := range s.near {
			if seq+Overlap <= s.highest {
				delete(s.near, seq)
			}
		}
	}
}

// Look returns the alerts that what was taken in since the last look leads to,
// the best first.
func (l *Live) Look(now time.Time) Result {
	fresh := l.found.Look(now)
	questions := l.settings.Questions(&fresh)
	chosen, held := l.ration.Choose(questions, l.date(now))
	out := Result{Held: held}
	for i := range chosen {
		out.Alerts = append(out.Alerts, l.alert(&chosen[i]))
	}
	for _, m := range fresh.NotEvaluated {
		out.NotEvaluated = append(out.NotEvaluated, Missing{Detector{m.Detector, m.Version}, m.Reason})
	}
	l.found.Forget(now)
	return out
}

// reasons is what could explain an access.
func (l *Live) reasons(person, patient string, at time.Time) []cases.Explanation {
	var out []cases.Explanation
	for _, e := range l.explain.Explain(explain.Access{Person: person, Patient: patient, At: at}) {
		out = append(out, cases.Explanation{Template: e.Template, Strength: e.Strength, Sentence: e.Sentence, Evidence: e.Evidence})
	}
	return out
}

func (l *Live) alert(q *cases.Question) Alert {
	c := l.settings.Write(q, l.found.Table())
	a := Alert{
		ID: c.ID, Made: c.MadeAt, Kind: q.Most, Detector: Detector{q.Most, c.Versions[q.Most]}, Site: l.cfg.Site, Lane: c.Lane, Score: c.Score,
		Person: c.Person, People: c.People, Patients: c.Patients, Days: c.Days, Detectors: c.Detectors, Versions: c.Versions,
		Sentences: c.Sentences, Explanations: []Explanation{}, Evidence: []Ref{},
	}
	for _, e := range c.Explanations {
		a.Explanations = append(a.Explanations, Explanation(e))
	}
	for _, id := range c.Accesses {
		if ref, ok := refOf(id); ok {
			a.Evidence = append(a.Evidence, ref)
		}
	}
	return a
}

// refOf is the record that the id of a row of a table names.
func refOf(id string) (Ref, bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return Ref{}, false
	}
	seq, err := strconv.ParseUint(id[i+1:], 10, 64)
	return Ref{id[:i], seq}, err == nil
}
