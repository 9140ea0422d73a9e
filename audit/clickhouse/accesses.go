package clickhouse

import (
	"context"
	"fmt"
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

func (s *Store) page(ctx context.Context, kinds string, q audit.Query) ([]audit.Record, error) {
	f := kindFilter(kinds, q)
	if !q.Before.Time.IsZero() {
		at := q.Before.Time.UnixMicro()
		f.add("time <= fromUnixTimestamp64Micro(?, 'UTC')", at)
		f.add("(time, source, seq) < (fromUnixTimestamp64Micro(?, 'UTC'), ?, ?)", at, q.Before.Source, q.Before.Seq)
	}
	list := columns()
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+
		" ORDER BY time DESC, source DESC, seq DESC LIMIT 1 BY source, seq LIMIT ?", append(f.args, q.Limit)...)
}

// join adds to each access what its exchange's outcome record says.
func (s *Store) join(ctx context.Context, accesses []audit.Access) error {
	decisions := make(map[string][]uint64)
	for i := range accesses {
		a := &accesses[i]
		decisions[a.Source] = append(decisions[a.Source], decisionOf(&a.Record))
	}
	outcomes := make(map[audit.Place]audit.Record)
	for source, seqs := range decisions {
		found, err := s.outcomes(ctx, source, seqs)
		if err != nil {
			return err
		}
		for _, o := range found {
			outcomes[audit.Place{Source: source, Seq: o.Decision}] = o
		}
	}
	for i := range accesses {
		a := &accesses[i]
		if o, ok := outcomes[audit.Place{Source: a.Source, Seq: decisionOf(&a.Record)}]; ok {
			settle(a, &o)
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

func settle(a *audit.Access, o *audit.Record) {
	a.Settled = true
	a.Outcome, a.Status, a.Error = o.Outcome, o.Status, o.Error
	a.BytesIn, a.BytesOut, a.Results = o.BytesIn, o.BytesOut, o.Results
	a.Duration, a.Upstream, a.UpstreamTo = o.Duration, o.Upstream, o.UpstreamTo
}

func (s *Store) outcomes(ctx context.Context, source string, decisions []uint64) ([]audit.Record, error) {
	list := append(outcomeColumns(), field("decision", func(r *audit.Record) *uint64 { return &r.Decision }))
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+
		" WHERE kind = 'outcome' AND source = ? AND decision IN (?) LIMIT 1 BY decision", source, decisions)
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
