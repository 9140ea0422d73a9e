package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

const defaultLimit = 100

// filter collects conditions and their bound values.
type filter struct {
	conditions []string
	args       []any
}

func (f *filter) add(condition string, args ...any) {
	f.conditions = append(f.conditions, condition)
	f.args = append(f.args, args...)
}

func (f *filter) where() string { return " WHERE " + strings.Join(f.conditions, " AND ") }

// accessKinds are the kinds of record that are accesses.
const accessKinds = "kind IN ('decision', 'patient')"

// accessFilter narrows to the accesses that q asks for, Before aside.
func accessFilter(q audit.Query) *filter { return kindFilter(accessKinds, q) }

// kindFilter narrows to the records of some kinds that q asks for, Before aside.
func kindFilter(kinds string, q audit.Query) *filter {
	f := new(filter)
	f.add(kinds)
	for _, c := range []struct{ column, value string }{
		{"site", q.Site},
		{"person", q.Person},
		{"effect", q.Effect},
	} {
		if c.value != "" {
			f.add(c.column+" = ?", c.value)
		}
	}
	switch {
	case q.Patient != "" && q.NHSNumber != "":
		f.add("(patient = ? OR nhs_number = ?)", q.Patient, q.NHSNumber)
	case q.Patient != "":
		f.add("patient = ?", q.Patient)
	case q.NHSNumber != "":
		f.add("nhs_number = ?", q.NHSNumber)
	}
	if q.Identified {
		f.add("(person != '' OR user_sub != '')")
	}
	if !q.From.IsZero() {
		f.add("time >= fromUnixTimestamp64Micro(?, 'UTC')", q.From.UnixMicro())
	}
	if !q.To.IsZero() {
		f.add("time < fromUnixTimestamp64Micro(?, 'UTC')", q.To.UnixMicro())
	}
	return f
}

// Accesses lists decision and patient records, newest first, with what became
// of each exchange as far as known. A row that is in ClickHouse twice is listed
// once.
func (s *Store) Accesses(ctx context.Context, q audit.Query) ([]audit.Access, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	accesses, err := s.newestOf(ctx, accessKinds, q)
	if err != nil {
		return nil, err
	}
	return accesses, s.join(ctx, accesses)
}

// newestOf lists records of some kinds, not yet joined with anything.
func (s *Store) newestOf(ctx context.Context, kinds string, q audit.Query) ([]audit.Access, error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	records, err := s.recordsOf(ctx, kinds, q)
	if err != nil {
		return nil, err
	}
	accesses := make([]audit.Access, len(records))
	for i := range records {
		accesses[i].Record = records[i]
	}
	return accesses, nil
}

// recordsOf looks back ever further when only time narrows the list, so that
// the newest rows are found without reading all of them.
func (s *Store) recordsOf(ctx context.Context, kinds string, q audit.Query) ([]audit.Record, error) {
	if q.Patient == "" && q.NHSNumber == "" && q.Person == "" {
		for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 31 * 24 * time.Hour} {
			from := s.newest(q).Add(-back)
			if !from.After(q.From) {
				break
			}
			near := q
			near.From = from
			records, err := s.page(ctx, kinds, near)
			if err != nil || len(records) >= q.Limit {
				return records, err
			}
		}
	}
	return s.page(ctx, kinds, q)
}

// newest is the latest time that a row of q may have.
func (s *Store) newest(q audit.Query) time.Time {
	at := s.cfg.Now()
	for _, t := range []time.Time{q.To, q.Before.Time} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

// page drops rows that came twice itself: LIMIT BY would make the server
// read every column of every row that matches, and not only of those it returns.
func (s *Store) page(ctx context.Context, kinds string, q audit.Query) ([]audit.Record, error) {
	var page []audit.Record
	for {
		rows, err := s.rows(ctx, kinds, q)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if n := len(page); n == 0 || page[n-1].Source != rows[i].Source || page[n-1].Seq != rows[i].Seq {
				page = append(page, rows[i])
			}
		}
		if len(page) >= q.Limit || len(rows) < q.Limit {
			return page[:min(len(page), q.Limit)], nil
		}
		last := &page[len(page)-1]
		q.Before = audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}
	}
}

func (s *Store) rows(ctx context.Context, kinds string, q audit.Query) ([]audit.Record, error) {
	f := kindFilter(kinds, q)
	if !q.Before.Time.IsZero() {
		at := q.Before.Time.UnixMicro()
		f.add("time <= fromUnixTimestamp64Micro(?, 'UTC')", at)
		f.add("(time, source, seq) < (fromUnixTimestamp64Micro(?, 'UTC'), ?, ?)", at, q.Before.Source, q.Before.Seq)
	}
	list := columns()
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+
		" ORDER BY time DESC, source DESC, seq DESC LIMIT ? SETTINGS query_plan_max_limit_for_lazy_materialization = 10000", append(f.args, q.Limit)...)
}

// join adds to each access what its exchange's outcome record says.
func (s *Store) join(ctx context.Context, accesses []audit.Access) error {
	waiting := make(map[audit.Place][]*audit.Access) // by decision
	for i := range accesses {
		a := &accesses[i]
		at := audit.Place{Source: a.Source, Seq: decisionOf(&a.Record)}
		waiting[at] = append(waiting[at], a)
	}
	for _, where := range []func([]*audit.Access) *filter{besideDecision, amongUnnamed, anywhere} {
		if err := s.joinWhere(ctx, waiting, where); err != nil {
			return err
		}
	}
	return nil
}

// joinWhere looks for the outcomes of the accesses that are still waiting and
// that where knows a place for.
func (s *Store) joinWhere(ctx context.Context, waiting map[audit.Place][]*audit.Access, where func([]*audit.Access) *filter) error {
	bySource := make(map[string][]*audit.Access)
	for at, list := range waiting {
		bySource[at.Source] = append(bySource[at.Source], list...)
	}
	for source, list := range bySource {
		f := where(list)
		if f == nil {
			continue
		}
		decisions := make([]uint64, len(list))
		first := list[0].Time
		for i, a := range list {
			decisions[i] = decisionOf(&a.Record)
			if a.Time.Before(first) {
				first = a.Time
			}
		}
		// A decision precedes its outcome, and a patient record follows its
		// decision by no more than the exchange takes.
		f.add("kind = 'outcome' AND source = ? AND decision IN (?) AND time >= fromUnixTimestamp64Micro(?, 'UTC')",
			source, decisions, first.Add(-clockStep).UnixMicro())
		found, err := s.outcomes(ctx, f)
		if err != nil {
			return err
		}
		for i := range found {
			at := audit.Place{Source: source, Seq: found[i].Decision}
			for _, a := range waiting[at] {
				*a = audit.Join(a.Record, &found[i])
			}
			delete(waiting, at)
		}
	}
	return nil
}

const (
	// clockStep is how far the gateway's clock may have been put back within
	// an exchange for its outcome to be found.
	clockStep = time.Hour
	// soon is when nearly every exchange has ended.
	soon = 5 * time.Minute
)

// besideDecision is where the outcome of a decision that names a patient
// stands: it names the same one, so that both are neighbours.
func besideDecision(list []*audit.Access) *filter {
	var patients []string
	for _, a := range list {
		if a.Kind == audit.KindDecision && a.Patient != "" {
			patients = append(patients, a.Patient)
		}
	}
	if patients == nil {
		return nil
	}
	slices.Sort(patients)
	f := new(filter)
	f.add("patient IN (?)", slices.Compact(patients))
	return f
}

// amongUnnamed is where the outcomes of decisions without a patient stand,
// such as searches, for exchanges that ended soon.
func amongUnnamed(list []*audit.Access) *filter {
	var windows []string
	var args []any
	for _, a := range list {
		if a.Kind != audit.KindDecision || a.Patient == "" {
			windows = append(windows, "time BETWEEN fromUnixTimestamp64Micro(?, 'UTC') AND fromUnixTimestamp64Micro(?, 'UTC')")
			args = append(args, a.Time.Add(-soon).UnixMicro(), a.Time.Add(soon).UnixMicro())
		}
	}
	if windows == nil {
		return nil
	}
	f := new(filter)
	f.add("patient = '' AND ("+strings.Join(windows, " OR ")+")", args...)
	return f
}

// anywhere is for what neither found: long exchanges, and patients beside the
// first that a request names. It is the slow way.
func anywhere(list []*audit.Access) *filter {
	for _, a := range list {
		if a.Kind != audit.KindDecision || a.Patient == "" {
			return new(filter)
		}
	}
	return nil
}

// decisionOf is the seq of the decision that a record belongs to.
func decisionOf(r *audit.Record) uint64 {
	if r.Kind == audit.KindDecision {
		return r.Seq
	}
	return r.Decision
}

func (s *Store) outcomes(ctx context.Context, f *filter) ([]audit.Record, error) {
	list := append(outcomeColumns(), field("decision", func(r *audit.Record) *uint64 { return &r.Decision }))
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+" LIMIT 1 BY decision", f.args...)
}

// People groups the accesses that q asks for by person, most accesses first:
// who viewed this record. Before does not apply; Limit is a number of people.
func (s *Store) People(ctx context.Context, q audit.Query) ([]audit.PersonSummary, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	f := accessFilter(q)
	rows, err := s.conn.Query(ctx, `SELECT person, argMax(user_name, time), arraySort(groupUniqArrayArray(roles)), argMax(org, time),
	min(time), max(time), count() AS accesses, countIf(effect IN ('challenge', 'deny')),
	arraySort(groupUniqArrayIf(basis, basis != '')), arraySort(groupUniqArrayIf(area, area != '')), arraySort(groupUniqArrayIf(purpose, purpose != ''))
FROM (SELECT person, user_name, roles, org, time, effect, basis, area, purpose FROM `+s.table("records")+f.where()+` LIMIT 1 BY source, seq)
GROUP BY person ORDER BY accesses DESC, person LIMIT ?`, append(f.args, q.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("query people: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	var people []audit.PersonSummary
	for rows.Next() {
		var p audit.PersonSummary
		err := rows.Scan(&p.Person, &p.Name, &p.Roles, &p.Org, &p.First, &p.Last, &p.Accesses, &p.Denied, &p.Bases, &p.Areas, &p.Purposes)
		if err != nil {
			return nil, fmt.Errorf("query people: %w", err)
		}
		p.First, p.Last = p.First.UTC(), p.Last.UTC()
		for _, list := range []*[]string{&p.Roles, &p.Bases, &p.Areas, &p.Purposes} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		people = append(people, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("query people: %w", err)
	}
	return people, nil
}
