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
	settings   string
}

// Settings of lists. The columns of a row are read once it is known to be on
// the list. When that is a few rows, handing them from thread to thread takes
// longer than reading them, and a buffer as large as the smallest block of a
// column is enough. When the primary key says where they stand, so does finding
// them first, and looking into other indexes.
const (
	longList   = " SETTINGS query_plan_max_limit_for_lazy_materialization = 10000"
	oneByOne   = "max_threads = 1, local_filesystem_read_method = 'pread', max_read_buffer_size_local_fs = 4096"
	fewRows    = longList + ", " + oneByOne
	neighbours = " SETTINGS query_plan_optimize_lazy_materialization = 0, use_skip_indexes = 0, " + oneByOne
)

func (f *filter) add(condition string, args ...any) {
	f.conditions = append(f.conditions, condition)
	f.args = append(f.args, args...)
}

func (f *filter) where() string { return " WHERE " + strings.Join(f.conditions, " AND ") }

// accessKinds are the kinds of record that are accesses.
const accessKinds = "kind IN ('decision', 'patient')"

// selection says which records a list holds and which of their columns it reads.
type selection struct {
	kinds        string
	withOutcomes string // the same kinds and the outcomes
	columns      []column
}

func accessList() selection {
	return selection{accessKinds, "kind IN ('decision', 'patient', 'outcome')", listed()}
}

// found is part of a list and the outcomes that stood between its records.
type found struct{ records, outcomes []audit.Record }

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
// once. Only the fields that "listed" names are filled, the others are empty:
// Events and Records give whole records.
func (s *Store) Accesses(ctx context.Context, q audit.Query) ([]audit.Access, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	sel := accessList()
	accesses, outcomes, err := s.newestOf(ctx, sel, q)
	if err != nil {
		return nil, err
	}
	return accesses, s.join(ctx, outcomesOf(sel.columns), accesses, outcomes)
}

// newestOf lists records, not yet joined with anything, and the outcomes that
// were read beside them.
func (s *Store) newestOf(ctx context.Context, sel selection, q audit.Query) ([]audit.Access, []audit.Record, error) {
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	list, err := s.recordsOf(ctx, sel, q)
	if err != nil {
		return nil, nil, err
	}
	accesses := make([]audit.Access, len(list.records))
	for i := range list.records {
		accesses[i].Record = list.records[i]
	}
	return accesses, list.outcomes, nil
}

// recordsOf looks back ever further when only time narrows the list, so that
// the newest rows are found without reading all of them.
func (s *Store) recordsOf(ctx context.Context, sel selection, q audit.Query) (found, error) {
	if q.Patient == "" && q.NHSNumber == "" && q.Person == "" {
		for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 31 * 24 * time.Hour} {
			from := s.newest(q).Add(-back)
			if !from.After(q.From) {
				break
			}
			near := q
			near.From = from
			list, err := s.page(ctx, sel, near)
			if err != nil || len(list.records) >= q.Limit {
				return list, err
			}
		}
	}
	return s.page(ctx, sel, q)
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
func (s *Store) page(ctx context.Context, sel selection, q audit.Query) (found, error) {
	var list found
	kinds, limit := sel.kinds, q.Limit
	if outcomesBeside(q) {
		kinds, limit = sel.withOutcomes, 2*q.Limit
	}
	var last *audit.Record
	for {
		rows, err := s.rows(ctx, sel.columns, kinds, q, limit)
		if err != nil {
			return found{}, err
		}
		for i := range rows {
			r := &rows[i]
			switch {
			case last != nil && last.Source == r.Source && last.Seq == r.Seq:
			case r.Kind == audit.KindOutcome:
				list.outcomes = append(list.outcomes, *r)
			default:
				list.records = append(list.records, *r)
			}
			last = r
		}
		if len(list.records) >= q.Limit || len(rows) < limit {
			list.records = list.records[:min(len(list.records), q.Limit)]
			return list, nil
		}
		q.Before = audit.Place{Time: last.Time, Source: last.Source, Seq: last.Seq}
	}
}

// outcomesBeside reports whether the outcomes are read together with the list,
// since they stand between its rows: a question of its own costs the server as
// much again. It does not when something narrows the list that outcomes do not
// say: most of what is read would be outcomes of others.
func outcomesBeside(q audit.Query) bool {
	return (q.Patient != "" || q.Person != "") && q.Effect == "" && !q.Identified
}

func (s *Store) rows(ctx context.Context, list []column, kinds string, q audit.Query, limit int) ([]audit.Record, error) {
	f := kindFilter(kinds, q)
	if !q.Before.Time.IsZero() {
		at := q.Before.Time.UnixMicro()
		f.add("time <= fromUnixTimestamp64Micro(?, 'UTC')", at)
		f.add("(time, source, seq) < (fromUnixTimestamp64Micro(?, 'UTC'), ?, ?)", at, q.Before.Source, q.Before.Seq)
	}
	switch {
	case q.Patient != "" && q.NHSNumber == "":
		f.settings = neighbours
	case q.Patient != "" || q.Person != "" || q.NHSNumber != "":
		f.settings = fewRows
	default:
		f.settings = longList
	}
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+
		" ORDER BY time DESC, source DESC, seq DESC LIMIT ?"+f.settings, append(f.args, limit)...)
}

// join adds to each access what its exchange's outcome record says, which may
// be among those that are known already. Of the others, columns are read.
func (s *Store) join(ctx context.Context, columns []column, accesses []audit.Access, known []audit.Record) error {
	waiting := make(waiting)
	for i := range accesses {
		a := &accesses[i]
		at := audit.Place{Source: a.Source, Seq: decisionOf(&a.Record)}
		waiting[at] = append(waiting[at], a)
	}
	waiting.settle(known)
	for _, where := range []func([]*audit.Access) *filter{besideDecision, amongUnnamed, anywhere} {
		if err := s.joinWhere(ctx, columns, waiting, where); err != nil {
			return err
		}
	}
	return nil
}

// waiting are accesses whose outcome is not known yet, by decision.
type waiting map[audit.Place][]*audit.Access

func (w waiting) settle(outcomes []audit.Record) {
	for i := range outcomes {
		at := audit.Place{Source: outcomes[i].Source, Seq: outcomes[i].Decision}
		for _, a := range w[at] {
			*a = audit.Join(a.Record, &outcomes[i])
		}
		delete(w, at)
	}
}

// joinWhere looks for the outcomes of the accesses that are still waiting and
// that where knows a place for.
func (s *Store) joinWhere(ctx context.Context, columns []column, waiting waiting, where func([]*audit.Access) *filter) error {
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
		outcomes, err := s.collect(ctx, columns, "SELECT "+names(columns)+" FROM "+s.table("records")+f.where()+f.settings, f.args...)
		if err != nil {
			return err
		}
		waiting.settle(outcomes)
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
	f := &filter{settings: neighbours}
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
