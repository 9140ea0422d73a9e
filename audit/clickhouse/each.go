package clickhouse

import (
	"context"
	"fmt"

	"github.com/matron-epr/matron/audit"
)

// chunk is how many sequence numbers Each asks for at a time, so that neither
// side sorts or holds more than that.
const chunk = 50_000

// Bounds says what there is of a source.
type Bounds struct {
	Source      string
	First, Last uint64 // 0 when there is no row
	Count       uint64 // rows, duplicates included
}

// Sources returns what there is of each source that has a row, by name.
func (s *Store) Sources(ctx context.Context) ([]Bounds, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.conn.Query(ctx, "SELECT source, min(seq), max(seq), count() FROM "+s.table("records")+" GROUP BY source ORDER BY source")
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	var list []Bounds
	for rows.Next() {
		var b Bounds
		if err := rows.Scan(&b.Source, &b.First, &b.Last, &b.Count); err != nil {
			return nil, fmt.Errorf("list sources: %w", err)
		}
		list = append(list, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	return list, nil
}

// Bounds returns what there is of one source.
func (s *Store) Bounds(ctx context.Context, source string) (Bounds, error) {
	return s.boundsIn(ctx, "records", source)
}

func (s *Store) boundsIn(ctx context.Context, table, source string) (Bounds, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	b := Bounds{Source: source}
	err := s.conn.QueryRow(ctx, "SELECT min(seq), max(seq), count() FROM "+s.table(table)+" WHERE source = ?", source).
		Scan(&b.First, &b.Last, &b.Count)
	if err != nil {
		return Bounds{}, fmt.Errorf("count rows of %s: %w", source, err)
	}
	return b, nil
}

// Each visits every row of source from first to last in the order of seq, a
// row that is there twice both times: what is really there, for whoever checks
// it. Nothing tells of numbers without a row. It ends at the first error of
// visit, which must not keep the record. A row that is inserted behind the
// place that was reached is not visited.
func (s *Store) Each(ctx context.Context, source string, first, last uint64, visit func(*audit.Record) error) error {
	for from := first; from <= last; {
		to := min(last, from+min(chunk-1, last-from))
		n, err := s.eachOf(ctx, source, from, to, visit)
		if err != nil {
			return err
		}
		if to == last {
			return nil
		}
		from = to + 1
		if n > 0 {
			continue
		}
		// Somebody may have put a row far beyond all others.
		var ok bool
		if from, ok, err = s.nextSeq(ctx, source, from); err != nil || !ok {
			return err
		}
	}
	return nil
}

// eachOf visits the rows of one chunk and counts them.
func (s *Store) eachOf(ctx context.Context, source string, first, last uint64, visit func(*audit.Record) error) (n uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	list := columns()
	err = s.visit(ctx, fmt.Sprintf("query rows %d-%d of %s", first, last, source), list, func(r *audit.Record) error {
		n++
		return visit(r)
	}, "SELECT "+names(list)+" FROM "+s.table("records")+" WHERE source = ? AND seq BETWEEN ? AND ? ORDER BY seq", source, first, last)
	return n, err
}

// nextSeq finds the first number from from on that has a row.
func (s *Store) nextSeq(ctx context.Context, source string, from uint64) (seq uint64, ok bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var n uint64
	err = s.conn.QueryRow(ctx, "SELECT min(seq), count() FROM "+s.table("records")+" WHERE source = ? AND seq >= ?", source, from).Scan(&seq, &n)
	if err != nil {
		return 0, false, fmt.Errorf("find row of %s from %d on: %w", source, from, err)
	}
	return seq, n > 0, nil
}
