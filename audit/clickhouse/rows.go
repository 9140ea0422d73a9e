package clickhouse

import (
	"context"
	"fmt"
	"math/bits"
	"slices"

	"github.com/matron-epr/matron/audit"
)

// Records returns up to limit records of source from sequence number from on,
// in order, rebuilt from the columns.
func (s *Store) Records(ctx context.Context, source string, from uint64, limit int) ([]audit.Record, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	list := columns()
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+
		" WHERE source = ? AND seq >= ? AND seq < ? ORDER BY seq", source, from, from+uint64(max(limit, 0)))
}

// collect runs a question whose answer has the columns of list.
func (s *Store) collect(ctx context.Context, list []column, query string, args ...any) ([]audit.Record, error) {
	var records []audit.Record
	err := s.visit(ctx, "query records", list, func(r *audit.Record) error {
		if len(records) == cap(records) { // append would grow by a quarter at a time, and a record is large
			records = slices.Grow(records, len(records)+8)
		}
		records = append(records, *r)
		return nil
	}, query, args...)
	if err != nil {
		return nil, err
	}
	return records, nil
}

// tally is what can be said of a range of sequence numbers without listing it.
// A range is whole when count, sum and xor are those of each number once.
type tally struct{ count, sum, xor uint64 }

// wholeTally is the tally of first..last, each number once.
func wholeTally(first, last uint64) tally {
	n := last - first + 1
	hi, lo := bits.Mul64(first+last, n)
	return tally{count: n, sum: lo>>1 | hi<<63, xor: xorUpTo(last) ^ xorUpTo(first-1)}
}

// xorUpTo is 0 ^ 1 ^ … ^ n.
func xorUpTo(n uint64) uint64 {
	switch n % 4 {
	case 0:
		return n
	case 1:
		return 1
	case 2:
		return n + 1
	}
	return 0
}

// tallies counts first..last in buckets of size numbers, the first bucket from
// first on. Buckets without a row are absent.
func (s *Store) tallies(ctx context.Context, source string, first, last, size uint64) (map[uint64]tally, error) {
	return s.talliesIn(ctx, "records", source, first, last, size)
}

func (s *Store) talliesIn(ctx context.Context, table, source string, first, last, size uint64) (map[uint64]tally, error) {
	if err := s.catchUp(ctx); err != nil {
		return nil, err
	}
	rows, err := s.conn.Query(ctx, "SELECT toUInt64(intDiv(seq - ?, ?)) AS bucket, count(), sum(seq), groupBitXor(seq) FROM "+s.table(table)+
		" WHERE source = ? AND seq BETWEEN ? AND ? GROUP BY bucket", first, size, source, first, last)
	if err != nil {
		return nil, fmt.Errorf("tally rows: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	found := make(map[uint64]tally)
	for rows.Next() {
		var bucket uint64
		var t tally
		if err := rows.Scan(&bucket, &t.count, &t.sum, &t.xor); err != nil {
			return nil, fmt.Errorf("tally rows: %w", err)
		}
		found[bucket] = t
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("tally rows: %w", err)
	}
	return found, nil
}

// catchUp waits until the replica that answers has what any replica of its
// shard has acknowledged. Rows that it merely has not fetched yet would look
// lost, and would be inserted a second time.
func (s *Store) catchUp(ctx context.Context) error {
	if !s.cfg.Cluster.Replicated {
		return nil
	}
	if err := s.conn.Exec(ctx, "SYSTEM SYNC REPLICA "+s.table(s.local())+" LIGHTWEIGHT"); err != nil {
		return fmt.Errorf("wait for replica: %w", err)
	}
	return nil
}

// census says which numbers of first..last are missing and how many rows are
// there more than once.
func (s *Store) census(ctx context.Context, source string, first, last uint64) (missing []uint64, surplus uint64, err error) {
	return s.censusIn(ctx, "records", source, first, last)
}

func (s *Store) censusIn(ctx context.Context, table, source string, first, last uint64) (missing []uint64, surplus uint64, err error) {
	if err := s.catchUp(ctx); err != nil {
		return nil, 0, err
	}
	rows, err := s.conn.Query(ctx, "SELECT seq, count() FROM "+s.table(table)+
		" WHERE source = ? AND seq BETWEEN ? AND ? GROUP BY seq ORDER BY seq", source, first, last)
	if err != nil {
		return nil, 0, fmt.Errorf("list rows: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	next := first
	for rows.Next() {
		var seq, count uint64
		if err := rows.Scan(&seq, &count); err != nil {
			return nil, 0, fmt.Errorf("list rows: %w", err)
		}
		for ; next < seq; next++ {
			missing = append(missing, next)
		}
		next = seq + 1
		surplus += count - 1
	}
	if err := rows.Err(); err != nil {
		return nil, 0, fmt.Errorf("list rows: %w", err)
	}
	for ; next <= last; next++ {
		missing = append(missing, next)
	}
	return missing, surplus, nil
}

// highest is the highest sequence number of source, 0 when it has no row.
func (s *Store) highest(ctx context.Context, source string) (uint64, error) {
	var seq uint64
	err := s.conn.QueryRow(ctx, "SELECT max(seq) FROM "+s.table("records")+" WHERE source = ?", source).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("find highest row: %w", err)
	}
	return seq, nil
}

// life tells one run of a server from another: its id, when it started, and
// the id of the table, which is another once that was rebuilt.
type life struct {
	server  string
	started uint32
	table   string
}

// sameAs allows for the second that the two clocks may round apart.
func (l life) sameAs(o life) bool {
	apart := int64(l.started) - int64(o.started)
	return l.server == o.server && l.table == o.table && apart >= -2 && apart <= 2
}

func (s *Store) life(ctx context.Context) (life, error) {
	var l life
	err := s.conn.QueryRow(ctx, "SELECT toString(serverUUID()), toUInt32(toUnixTimestamp(now()) - uptime()),"+
		" (SELECT toString(any(uuid)) FROM system.tables WHERE database = ? AND name = ?)", s.cfg.Database, s.local()).Scan(&l.server, &l.started, &l.table)
	if err != nil {
		return life{}, fmt.Errorf("ask server for its start: %w", err)
	}
	return l, nil
}
