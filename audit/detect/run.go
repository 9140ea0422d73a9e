package detect

import (
	"cmp"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/feeds"
)

// access is one deliberate look at one patient that was let through.
type access struct {
	site, person, patient string
	roles                 []string
	at                    time.Time
	ref                   Ref
	why                   []Explanation // strong ones only
}

// run is one evaluation: the input, indexed.
type run struct {
	cfg      Config
	context  feeds.Context
	staff    map[string][]feeds.Staff
	patients map[string]feeds.Patient
	care     map[string][]feeds.Care
	crowds   map[feeds.Hash]int // patients at one address
}

// Run looks at the accesses and returns the alerts in a fixed order.
func Run(cfg Config, c feeds.Context, records []audit.Record) Result {
	r := newRun(cfg.withDefaults(), c)
	var out Result
	accesses := r.accesses(records)
	out.Accesses = len(accesses)
	for i := range accesses {
		accesses[i].why = r.explain(accesses[i])
		if len(accesses[i].why) > 0 {
			out.Explained++
		}
	}
	for _, d := range []struct {
		Detector
		find  func([]access) []Alert
		needs []feeds.Kind
	}{
		{ownDetector(), r.own, []feeds.Kind{feeds.StaffFeed, feeds.PatientsFeed}},
		{householdDetector(), r.household, []feeds.Kind{feeds.StaffFeed, feeds.PatientsFeed}},
		{bulkDetector(), r.bulk, nil},
	} {
		if why := c.NotEvaluated(newest(accesses), d.needs...); why != "" {
			out.NotEvaluated = append(out.NotEvaluated, Missing{d.Detector, why})
			continue
		}
		out.Alerts = append(out.Alerts, d.find(accesses)...)
	}
	slices.SortFunc(out.Alerts, func(a, b Alert) int { return cmp.Or(a.Made.Compare(b.Made), cmp.Compare(a.ID, b.ID)) })
	return out
}

// newest is the time of the last of the accesses, which stand in order.
func newest(accesses []access) time.Time {
	if len(accesses) == 0 {
		return time.Time{}
	}
	return accesses[len(accesses)-1].at
}

func newRun(cfg Config, c feeds.Context) *run {
	r := &run{
		cfg: cfg, context: c, staff: map[string][]feeds.Staff{}, patients: map[string]feeds.Patient{},
		care: map[string][]feeds.Care{}, crowds: map[feeds.Hash]int{},
	}
	for _, s := range c.Staff {
		r.staff[s.Person] = append(r.staff[s.Person], s)
	}
	for _, p := range c.Patients {
		r.patients[p.ID] = p
		r.crowds[p.Address]++
	}
	for _, care := range c.Care {
		id := r.survivor(care.Patient)
		r.care[id] = append(r.care[id], care)
	}
	return r
}

// survivor follows merged numbers to the one that is in use.
func (r *run) survivor(id string) string {
	for range 10 { // a ring of merges must not hang us
		p, ok := r.patients[id]
		if !ok || p.MergedInto == "" {
			return id
		}
		id = p.MergedInto
	}
	return id
}

// accesses picks what counts and puts it into the order of time.
func (r *run) accesses(records []audit.Record) []access {
	var out []access
	for i := range records {
		rec := &records[i]
		if !counts(rec) {
			continue
		}
		out = append(out, access{
			site: rec.Site, person: rec.Person, patient: r.survivor(rec.Patient), roles: rec.Roles,
			at: rec.Time, ref: Ref{rec.Source, rec.Seq},
		})
	}
	slices.SortFunc(out, func(a, b access) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.ref.Source, b.ref.Source), cmp.Compare(a.ref.Seq, b.ref.Seq))
	})
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

// Explainer says what could explain single accesses, for pages that list them.
// It is immutable.
type Explainer struct{ run *run }

// NewExplainer makes an Explainer of what the hospital has told.
func NewExplainer(cfg Config, c feeds.Context) *Explainer {
	return &Explainer{newRun(cfg.withDefaults(), c)}
}

// InUse is the number of a patient that is in use: it follows merged ones.
func (e *Explainer) InUse(patient string) string { return e.run.survivor(patient) }

// Explain returns the strong explanations of one person's look at one patient's
// record. None means "not yet explained" and nothing else.
func (e *Explainer) Explain(person, patient string, at time.Time) []Explanation {
	return e.run.explain(access{person: person, patient: e.run.survivor(patient), at: at})
}

// explain finds the strong explanations of an access: the ward-stay template.
func (r *run) explain(a access) []Explanation {
	wards := r.wards(a.person, a.at)
	var out []Explanation
	for _, c := range r.care[a.patient] {
		if c.Ward == "" || !slices.Contains(wards, c.Ward) || !r.around(c, a.at) {
			continue
		}
		out = append(out, Explanation{
			Template: "ward-stay", Strength: "strong", Evidence: c.Evidence,
			Sentence: "The patient was cared for on ward " + c.Ward + ", where the person works, " + r.period(c) + ".",
		})
	}
	return out
}

// around reports whether t lies within the stay and its grace.
func (r *run) around(c feeds.Care, t time.Time) bool {
	if t.Before(c.Start.Add(-r.cfg.GraceBefore)) {
		return false
	}
	return c.End.IsZero() || !t.After(c.End.Add(r.cfg.GraceAfter))
}

func (r *run) period(c feeds.Care) string {
	const layout = "2 January 2006 15:04"
	from := "from " + c.Start.In(r.cfg.Location).Format(layout)
	if c.End.IsZero() {
		return from + " on"
	}
	return from + " to " + c.End.In(r.cfg.Location).Format(layout)
}

// wards are where the person worked at t, by the lines of the staff list that
// were valid then.
func (r *run) wards(person string, t time.Time) []string {
	var out []string
	today := t.In(r.cfg.Location).Format(time.DateOnly)
	for _, s := range r.staff[person] {
		if !s.From.IsZero() && today < s.From.Format(time.DateOnly) || !s.To.IsZero() && today > s.To.Format(time.DateOnly) {
			continue
		}
		out = append(out, s.Wards...)
	}
	return out
}
