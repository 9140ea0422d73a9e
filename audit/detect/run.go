package detect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
)

// access is one deliberate look at one patient that was let through.
type access struct {
	site, person, patient string
	roles                 []string
	at                    time.Time
	ref                   Ref
	wrote                 bool
	why                   []Explanation // strong ones only
}

// run is the context of detection, indexed.
type run struct {
	cfg      Config
	context  feeds.Context
	engine   *explain.Engine
	staff    map[string][]feeds.Staff
	patients map[string]feeds.Patient
	crowds   map[feeds.Hash]int // patients at one address
}

// Run looks at the accesses and returns the alerts in a fixed order.
func Run(cfg Config, c feeds.Context, records []audit.Record) Result {
	return NewLive(cfg, c).Look(records)
}

func newRun(cfg Config, c feeds.Context) *run {
	r := &run{
		cfg: cfg, context: c, engine: explain.New(explain.Config{Location: cfg.Location, Site: cfg.Site}, c),
		staff: map[string][]feeds.Staff{}, patients: map[string]feeds.Patient{}, crowds: map[feeds.Hash]int{},
	}
	for _, s := range c.Staff {
		r.staff[s.Person] = append(r.staff[s.Person], s)
	}
	for _, p := range c.Patients {
		r.patients[p.ID] = p
		r.crowds[p.Address]++
	}
	return r
}

const (
	// keep is how far back accesses count: a night of more than a day.
	keep = 36 * time.Hour
	// perPerson and inAll bound what is kept. Who opens more is asked about long
	// before.
	perPerson = 2000
	inAll     = 500_000
)

// Live looks at accesses as they come. What it keeps is bounded, and records that
// come again change nothing. It is not safe for concurrent use.
type Live struct {
	run    *run
	people map[string][]access // each in the order of time
	seen   map[Ref]bool        // of people
	newest time.Time
}

// NewLive makes one that has seen nothing.
func NewLive(cfg Config, c feeds.Context) *Live {
	return &Live{run: newRun(cfg.withDefaults(), c), people: map[string][]access{}, seen: map[Ref]bool{}}
}

// Engine explains single accesses by the same context.
func (l *Live) Engine() *explain.Engine { return l.run.engine }

// Tell puts another context in the place of the one before. What was seen stays.
func (l *Live) Tell(c feeds.Context) { l.run = newRun(l.run.cfg, c) }

// Look takes records in and returns the alerts about the people in them, in a
// fixed order. An alert that was returned before may come again, under the same id.
func (l *Live) Look(records []audit.Record) Result {
	var out Result
	touched := map[string]bool{}
	for i := range records {
		if a, ok := l.run.access(&records[i]); ok && !l.seen[a.ref] {
			out.Accesses++
			if len(a.why) > 0 {
				out.Explained++
			}
			l.seen[a.ref] = true
			l.people[a.person] = append(l.people[a.person], a)
			touched[a.person] = true
			if a.at.After(l.newest) {
				l.newest = a.at
			}
		}
	}
	people := slices.Sorted(maps.Keys(touched))
	for _, p := range people {
		l.settle(p)
	}
	for _, d := range l.run.detectors() {
		if why := l.run.context.NotEvaluated(l.newest, d.needs...); why != "" {
			out.NotEvaluated = append(out.NotEvaluated, Missing{d.Detector, why})
			continue
		}
		for _, p := range people {
			out.Alerts = append(out.Alerts, d.find(l.people[p])...)
		}
	}
	slices.SortFunc(out.Alerts, func(a, b Alert) int { return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.ID, b.ID)) })
	l.forget()
	return out
}

// detector is one that is there, and what it needs.
type detector struct {
	Detector
	find  func([]access) []Alert
	needs []feeds.Kind
}

func (r *run) detectors() []detector {
	return []detector{
		{ownDetector(), r.own, []feeds.Kind{feeds.StaffFeed, feeds.PatientsFeed}},
		{householdDetector(), r.household, []feeds.Kind{feeds.StaffFeed, feeds.PatientsFeed}},
		{bulkDetector(), r.bulk, nil},
	}
}

// Versions lists the detectors with their versions, for example "household@1".
func Versions() []string {
	var out []string
	for _, d := range new(run).detectors() {
		out = append(out, fmt.Sprintf("%s@%d", d.ID, d.Version))
	}
	return out
}

// settle sorts somebody's accesses and explains those near an entry of theirs.
func (l *Live) settle(person string) {
	all := l.people[person]
	slices.SortFunc(all, func(a, b access) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.ref.Source, b.ref.Source), cmp.Compare(a.ref.Seq, b.ref.Seq))
	})
	wrote := map[string][]Explanation{}
	for i := range all {
		if a := &all[i]; a.wrote && wrote[a.patient] == nil {
			wrote[a.patient] = slices.DeleteFunc(slices.Clone(a.why), func(e Explanation) bool { return e.Template != explain.Charted.Code() })
		}
	}
	for i := range all {
		if a := &all[i]; len(a.why) == 0 {
			a.why = wrote[a.patient]
		}
	}
}

// forget lets go of what is too old to count, and of more when there is too much.
func (l *Live) forget() {
	for back := keep; ; back /= 2 {
		before := l.newest.Add(-back)
		for p, all := range l.people {
			n, _ := slices.BinarySearchFunc(all, before, func(a access, t time.Time) int { return a.at.Compare(t) })
			n = max(n, len(all)-perPerson)
			for _, a := range all[:n] {
				delete(l.seen, a.ref)
			}
			if n == len(all) {
				delete(l.people, p)
			} else if n > 0 {
				l.people[p] = slices.Clone(all[n:])
			}
		}
		if len(l.seen) <= inAll || back < l.run.cfg.BulkWindow {
			return
		}
	}
}

// access makes of a record what detection looks at, if it counts.
func (r *run) access(rec *audit.Record) (access, bool) {
	if !counts(rec) {
		return access{}, false
	}
	a := access{
		site: rec.Site, person: rec.Person, patient: r.engine.InUse(rec.Patient), roles: rec.Roles,
		at: rec.Time, ref: Ref{rec.Source, rec.Seq}, wrote: rec.Action == "create" || rec.Action == "update" || rec.Action == "delete",
	}
	a.why = r.explain(explain.Access{Person: a.person, Patient: a.patient, At: a.at, Device: rec.Device, Wrote: a.wrote})
	return a, true
}

// explain finds the strong explanations of an access.
func (r *run) explain(a explain.Access) []Explanation {
	var out []Explanation
	for _, e := range r.engine.Explain(a) {
		if e.Strength == explain.Strong {
			out = append(out, Explanation{Template: e.Template, Strength: e.Strength, Sentence: e.Sentence, Evidence: e.Evidence})
		}
	}
	return out
}

// counts says whether a record is a deliberate look at a patient by a person.
// What was refused showed nothing, and being named in a list or among search
// results is not being opened.
func counts(r *audit.Record) bool {
	if r.Kind != audit.KindDecision && r.Kind != audit.KindPatient {
		return false
	}
	if r.Person == "" || r.Patient == "" || r.Effect == "deny" || r.Effect == "challenge" || r.Deliberate == "false" {
		return false
	}
	listed := r.Action == "search" || r.Action == "list"
	return !listed || r.PatientSource != audit.SourceResponse
}
