package replay

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// Rules answer a question: whether it is allowed, and why.
type Rules interface {
	Allows(ctx context.Context, q policy.Request) bool
	Decide(ctx context.Context, q policy.Request) policy.Decision
}

// Source visits recorded decisions until visit returns an error.
type Source func(ctx context.Context, visit func(*audit.Record) error) error

// Bounds of a report. What is beyond is counted and not listed.
const (
	maxExamples = 3
	maxGroups   = 10_000
)

// Report is what other rules would have answered.
type Report struct {
	Decisions    int `json:"decisions"` // recorded answers that were asked for again
	Skipped      int `json:"skipped"`   // records of decisions that no rule was asked for
	NewlyDenied  int `json:"newly_denied"`
	CareDenied   int `json:"newly_denied_care"` // of them, those that may be care
	NewlyAllowed int `json:"newly_allowed"`
	PeopleDenied int `json:"people_newly_denied"`
	// Newly denied by role, by ward and by route, the most frequent first.
	DeniedRoles  []Count  `json:"newly_denied_by_role"`
	DeniedWards  []Count  `json:"newly_denied_by_ward"`
	DeniedRoutes []Count  `json:"newly_denied_by_route"`
	Revisions    []string `json:"decided_by"` // the rules that had answered
	Groups       []Group  `json:"groups"`     // newly denied first, then the most frequent
	Unlisted     int      `json:"unlisted"`   // changes beyond the groups that are listed
}

// Count is how many of something there were.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Group is what would change for one role of one ward on one route.
type Group struct {
	Was      string   `json:"was"` // allow or deny
	Now      string   `json:"now"` // allow, challenge or deny
	Roles    string   `json:"roles"`
	Ward     string   `json:"ward"` // of the patient, else of the person, "" when nobody knows
	App      string   `json:"app"`
	Route    string   `json:"route"`
	Action   string   `json:"action"`
	Area     string   `json:"area"`
	Because  string   `json:"because"` // reason codes, or the rules that allow
	Count    int      `json:"count"`
	People   int      `json:"people"`
	Examples []string `json:"examples"` // records, as source/seq
}

type groupKey struct{ was, now, roles, ward, app, route, action, area, because string }

type group struct {
	count    int
	people   map[string]bool
	examples []string
}

// Wards says on which ward the person of a record works, "" when nobody knows. It is
// asked only about what would change, and where a record does not say on which ward
// the patient was.
type Wards func(r *audit.Record) string

// Run asks every recorded question of source again, of rules, on all processors.
func Run(ctx context.Context, source Source, rules Rules, wards Wards) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := make(chan []audit.Record, runtime.GOMAXPROCS(0))
	tallies := make([]*tally, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for i := range tallies {
		tallies[i] = newTally(wards)
		workers.Go(func() {
			for batch := range batches {
				for k := range batch {
					tallies[i].add(ctx, &batch[k], rules)
				}
			}
		})
	}
	err := feed(ctx, source, batches)
	workers.Wait()
	if err = cmp.Or(ctx.Err(), err); err != nil {
		return Report{}, fmt.Errorf("replay: %w", err)
	}
	all := tallies[0]
	for _, t := range tallies[1:] {
		all.merge(t)
	}
	return all.report(), nil
}

// feed hands the records over in batches, so that handing over costs nothing.
func feed(ctx context.Context, source Source, batches chan<- []audit.Record) error {
	defer close(batches)
	const size = 512
	batch := make([]audit.Record, 0, size)
	hand := func() error {
		select {
		case batches <- batch:
			batch = make([]audit.Record, 0, size)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := source(ctx, func(r *audit.Record) error {
		if batch = append(batch, *r); len(batch) < size {
			return nil
		}
		return hand()
	})
	if err != nil {
		return err
	}
	return hand()
}

// tally is what one worker has found.
type tally struct {
	Report    // its numbers
	wards     Wards
	refused   map[string]bool // people
	revisions map[string]bool
	groups    map[groupKey]*group

	roles, places, routes counts // of what is newly denied
}

func newTally(wards Wards) *tally {
	return &tally{
		wards: wards, refused: map[string]bool{}, revisions: map[string]bool{}, groups: map[groupKey]*group{},
		roles: counts{}, places: counts{}, routes: counts{},
	}
}

func (t *tally) add(ctx context.Context, r *audit.Record, rules Rules) {
	questions := Questions(r)
	if len(questions) == 0 {
		t.Skipped++
		return
	}
	t.Decisions++
	t.revisions[r.PolicyRev] = true
	at := slices.IndexFunc(questions, func(q policy.Request) bool { return !rules.Allows(ctx, q) }) // the first that is not allowed decides
	was := policy.Deny
	switch allowed := Allowed(r); {
	case allowed == (at < 0):
		return
	case allowed:
		was = policy.Allow
		t.deny(r, questions)
	default:
		at = len(questions) - 1
		t.NewlyAllowed++
	}
	now := rules.Decide(ctx, questions[at])
	key := groupKey{
		was.String(), now.Effect.String(), strings.Join(r.Roles, ", "), t.ward(r), r.App, r.Route, r.Action, r.Area, because(now),
	}
	g := t.groups[key]
	if g == nil {
		if len(t.groups) >= maxGroups {
			t.Unlisted++
			return
		}
		g = &group{people: map[string]bool{}}
		t.groups[key] = g
	}
	g.count++
	g.people[person(r)] = true
	if len(g.examples) < maxExamples {
		g.examples = append(g.examples, fmt.Sprintf("%s/%d", r.Source, r.Seq))
	}
}

// ward is that of the patient where the record says so, else that of the person.
func (t *tally) ward(r *audit.Record) string {
	for _, d := range r.Detail {
		if ward, ok := strings.CutPrefix(d, audit.DetailWard); ok {
			return ward
		}
	}
	return t.wards(r)
}

// deny counts one that is newly denied.
func (t *tally) deny(r *audit.Record, questions []policy.Request) {
	t.NewlyDenied++
	if slices.ContainsFunc(questions, mayBeCare) {
		t.CareDenied++
	}
	t.refused[person(r)] = true
	t.roles.add(strings.Join(r.Roles, ", "), 1)
	t.places.add(t.ward(r), 1)
	t.routes.add(r.App+" "+r.Route, 1)
}

// mayBeCare says whether refusing q could hinder care: whatever is not known to be
// something else (GW-01). A connected system may bring results to a ward.
func mayBeCare(q policy.Request) bool {
	switch q.Area {
	case policy.Home, policy.Audit, policy.Safety, policy.Live, policy.Rules, policy.Administration:
		return false
	case policy.Demographics, policy.Encounters, policy.Notes, policy.Results, policy.Prescribing, policy.Theatres, policy.Documents:
	}
	return true
}

// counts is how often each name came, the names bounded.
type counts map[string]int

func (c counts) add(name string, n int) {
	if _, ok := c[name]; !ok && len(c) >= maxGroups {
		name = "others"
	}
	c[name] += n
}

func (c counts) list() []Count {
	list := make([]Count, 0, len(c))
	for name, n := range c {
		list = append(list, Count{name, n})
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Name, b.Name)) })
	return list
}

func because(d policy.Decision) string {
	if d.Allowed() {
		return strings.Join(d.Rules, ", ")
	}
	codes := make([]string, 0, len(d.Reasons))
	for _, r := range d.Reasons {
		codes = append(codes, r.Code)
	}
	return strings.Join(codes, ", ")
}

func person(r *audit.Record) string { return cmp.Or(r.Person, r.UserSub) }

func (t *tally) merge(other *tally) {
	t.Decisions += other.Decisions
	t.Skipped += other.Skipped
	t.NewlyDenied += other.NewlyDenied
	t.CareDenied += other.CareDenied
	t.NewlyAllowed += other.NewlyAllowed
	t.Unlisted += other.Unlisted
	maps.Copy(t.refused, other.refused)
	maps.Copy(t.revisions, other.revisions)
	for mine, others := range map[*counts]counts{&t.roles: other.roles, &t.places: other.places, &t.routes: other.routes} {
		for name, n := range others {
			mine.add(name, n)
		}
	}
	for key, g := range other.groups {
		mine := t.groups[key]
		if mine == nil {
			t.groups[key] = g
			continue
		}
		mine.count += g.count
		mine.examples = append(mine.examples, g.examples...)
		maps.Copy(mine.people, g.people)
	}
}

func (t *tally) report() Report {
	r := t.Report
	r.PeopleDenied, r.Revisions, r.Groups = len(t.refused), slices.Sorted(maps.Keys(t.revisions)), []Group{}
	r.DeniedRoles, r.DeniedWards, r.DeniedRoutes = t.roles.list(), t.places.list(), t.routes.list()
	for key, g := range t.groups {
		slices.Sort(g.examples)
		r.Groups = append(r.Groups, Group{
			key.was, key.now, key.roles, key.ward, key.app, key.route, key.action, key.area, key.because,
			g.count, len(g.people), g.examples[:min(len(g.examples), maxExamples)],
		})
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(strings.Compare(a.Was, b.Was), b.Count-a.Count, strings.Compare(a.Roles, b.Roles), strings.Compare(a.Ward, b.Ward),
			strings.Compare(a.App, b.App), strings.Compare(a.Route, b.Route), strings.Compare(a.Area, b.Area),
			strings.Compare(a.Action, b.Action), strings.Compare(a.Because, b.Because), strings.Compare(a.Now, b.Now))
	})
	return r
}
