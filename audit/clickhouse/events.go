package clickhouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/matron-epr/matron/audit"
)

// ErrNoRecord says that there is no row of a record.
var ErrNoRecord = errors.New("no such record in ClickHouse")

// eventKinds are the records that stand for an event of their own: an outcome
// belongs to its decision, and a heartbeat only says that nothing was missed.
const eventKinds = "kind NOT IN ('outcome', 'heartbeat')"

func eventList() selection { return selection{eventKinds, "kind != 'heartbeat'", columns()} }

// Events lists what happened, newest first: accesses like Accesses, and with
// them sign-ins, break-glass, changes and every look at the record itself.
// Patient records have the query of their decision.
func (s *Store) Events(ctx context.Context, q audit.Query) ([]audit.Access, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	events, outcomes, err := s.newestOf(ctx, eventList(), q)
	if err != nil {
		return nil, err
	}
	return events, s.complete(ctx, events, outcomes)
}

// Event returns one record of those that Events lists, or ErrNoRecord.
func (s *Store) Event(ctx context.Context, source string, seq uint64) (audit.Access, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	list := columns()
	records, err := s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+
		" WHERE "+eventKinds+" AND source = ? AND seq = ? LIMIT 1", source, seq)
	if err != nil {
		return audit.Access{}, err
	}
	if len(records) == 0 {
		return audit.Access{}, fmt.Errorf("%w: %s/%d", ErrNoRecord, source, seq)
	}
	event := []audit.Access{{Record: records[0]}}
	if err := s.complete(ctx, event, nil); err != nil {
		return audit.Access{}, err
	}
	return event[0], nil
}

// complete joins what other records say of these: the outcome, and to a patient
// the query, which stands in the decision once.
func (s *Store) complete(ctx context.Context, events []audit.Access, outcomes []audit.Record) error {
	accesses := make([]audit.Access, 0, len(events))
	var places []int
	for i := range events {
		if k := events[i].Kind; k == audit.KindDecision || k == audit.KindPatient {
			accesses, places = append(accesses, events[i]), append(places, i)
		}
	}
	if len(accesses) == 0 {
		return nil
	}
	if err := s.join(ctx, outcomesOf(columns()), accesses, outcomes); err != nil {
		return err
	}
	for i, place := range places {
		events[place] = accesses[i]
	}
	return s.joinQueries(ctx, events)
}

func (s *Store) joinQueries(ctx context.Context, events []audit.Access) error {
	decisions := make(map[string][]uint64)
	for i := range events {
		if e := &events[i]; e.Kind == audit.KindPatient && e.Query == "" {
			decisions[e.Source] = append(decisions[e.Source], e.Decision)
		}
	}
	list := []column{
		field("seq", func(r *audit.Record) *uint64 { return &r.Seq }),
		field("query", func(r *audit.Record) *string { return &r.Query }),
	}
	queries := make(map[audit.Place]string)
	for source, seqs := range decisions {
		found, err := s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+
			" WHERE kind = 'decision' AND source = ? AND seq IN (?)", source, seqs)
		if err != nil {
			return err
		}
		for _, d := range found {
			queries[audit.Place{Source: source, Seq: d.Seq}] = d.Query
		}
	}
	for i := range events {
		if e := &events[i]; e.Kind == audit.KindPatient && e.Query == "" {
			e.Query = queries[audit.Place{Source: e.Source, Seq: e.Decision}]
		}
	}
	return nil
}
