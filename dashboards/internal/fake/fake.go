// Package fake answers the dashboards' questions from a made-up hospital, for
// tests. Its names, numbers and events are invented; NHS numbers begin 999. A
// Reader is safe for concurrent use while nobody changes its fields.
package fake

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
)

// Reader holds accesses, newest first, and answers as the index does.
type Reader struct {
	Rows  []audit.Access
	Found []dashboards.Alert
	// Judged is what was made of alerts: who, which, what and why.
	Judged []string
	Err    error // what every question is answered with
}

// Accesses implements dashboards.AccessReader.
func (f *Reader) Accesses(_ context.Context, q audit.Query) ([]audit.Access, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	var out []audit.Access
	for _, a := range f.Rows {
		if matches(a, q) && older(a, q.Before) {
			out = append(out, a)
		}
	}
	return out[:min(len(out), limit(q.Limit))], nil
}

// People implements dashboards.AccessReader.
func (f *Reader) People(_ context.Context, q audit.Query) ([]audit.PersonSummary, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	byPerson := map[string]*audit.PersonSummary{}
	for _, a := range f.Rows {
		if !matches(a, q) {
			continue
		}
		p := byPerson[a.Person]
		if p == nil {
			p = &audit.PersonSummary{Person: a.Person, Name: a.UserName, Org: a.Org, First: a.Time, Last: a.Time}
			byPerson[a.Person] = p
		}
		add(p, a)
	}
	out := make([]audit.PersonSummary, 0, len(byPerson))
	for _, p := range byPerson {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b audit.PersonSummary) int {
		return cmp.Or(cmp.Compare(b.Accesses, a.Accesses), cmp.Compare(a.Person, b.Person))
	})
	return out[:min(len(out), limit(q.Limit))], nil
}

// Rates implements dashboards.AccessReader.
func (f *Reader) Rates(_ context.Context, from, to time.Time, step time.Duration) ([]audit.Rate, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	var out []audit.Rate
	for at := from; at.Before(to); at = at.Add(step) {
		rate := audit.Rate{Start: at, P50: 1300 * time.Microsecond, P99: 14 * time.Millisecond}
		for _, a := range f.Rows {
			if a.Time.Before(at) || !a.Time.Before(at.Add(step)) {
				continue
			}
			rate.Requests++
			if a.Effect == "deny" {
				rate.Denials++
			}
		}
		out = append(out, rate)
	}
	return out, nil
}

// Waived implements dashboards.AccessReader.
func (f *Reader) Waived(_ context.Context, q audit.WaivedQuery) (audit.Waived, error) {
	tally := audit.NewWaivedTally(q)
	for i := range f.Rows {
		tally.Add(&f.Rows[i].Record)
	}
	return tally.Waived(), f.Err
}

// Alerts implements dashboards.AlertReader.
func (f *Reader) Alerts(_ context.Context, most int) ([]dashboards.Alert, error) {
	if f.Err != nil {
		return nil, f.Err
	}
	return f.Found[:min(len(f.Found), most)], nil
}

// Alert implements dashboards.AlertReader.
func (f *Reader) Alert(_ context.Context, id string) (dashboards.Alert, error) {
	for _, a := range f.Found {
		if a.ID == id {
			return a, f.Err
		}
	}
	return dashboards.Alert{}, cmp.Or(f.Err, dashboards.ErrNoAlert)
}

// Judge implements dashboards.AlertReader.
func (f *Reader) Judge(_ context.Context, who policy.Subject, id, verdict, note string) error {
	f.Judged = append(f.Judged, strings.Join([]string{who.Person, id, verdict, note}, " "))
	return f.Err
}

func matches(a audit.Access, q audit.Query) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	patient := same(q.Patient, a.Patient) && same(q.NHSNumber, a.NHSNumber)
	if q.Patient != "" && q.NHSNumber != "" {
		patient = same(q.Patient, a.Patient) || same(q.NHSNumber, a.NHSNumber)
	}
	return patient && same(q.Site, a.Site) && (!q.Identified || a.Person != "" || a.UserSub != "") &&
		same(q.Person, a.Person) && same(q.Effect, a.Effect) &&
		(q.From.IsZero() || !a.Time.Before(q.From)) && (q.To.IsZero() || a.Time.Before(q.To))
}

func older(a audit.Access, p audit.Place) bool {
	if p == (audit.Place{}) {
		return true
	}
	return cmp.Or(a.Time.Compare(p.Time), cmp.Compare(a.Source, p.Source), cmp.Compare(a.Seq, p.Seq)) < 0
}

func limit(n int) int {
	if n == 0 {
		return 100
	}
	return n
}

func add(p *audit.PersonSummary, a audit.Access) {
	p.Accesses++
	if a.Effect != "allow" {
		p.Denied++
	}
	p.First, p.Last = earlier(p.First, a.Time), later(p.Last, a.Time)
	p.Roles = union(p.Roles, a.Roles...)
	p.Areas = union(p.Areas, a.Area)
	p.Bases = union(p.Bases, a.Basis)
	p.Purposes = union(p.Purposes, a.Purpose)
}

func union(have []string, more ...string) []string {
	for _, w := range more {
		if w != "" && !slices.Contains(have, w) {
			have = append(have, w)
		}
	}
	slices.Sort(have)
	return have
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Journal keeps the records that it is given, or refuses them.
type Journal struct {
	mu      sync.Mutex
	records []audit.Record // guarded by mu
	Err     error          // what Record answers
	Keep    bool           // keep the record though Err is answered
}

// Record is the dashboards' Config.Record.
func (j *Journal) Record(_ context.Context, r *audit.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.Err == nil || j.Keep {
		j.records = append(j.records, *r)
	}
	return j.Err
}

// Records lists what was kept, in order.
func (j *Journal) Records() []audit.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.records)
}
