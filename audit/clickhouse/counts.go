package clickhouse

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/matron-epr/matron/audit"
)

// maxIntervals bounds the answer of Rates.
const maxIntervals = 10_000

// Rates returns what happened in each interval of length step within
// [from, to), intervals without a record included. Denials are decisions other
// than allow, Nobody those of them without an identity, Limited limit records.
func (s *Store) Rates(ctx context.Context, from, to time.Time, step time.Duration) ([]audit.Rate, error) {
	if step < time.Millisecond || !from.Before(to) || to.Sub(from)/step >= maxIntervals {
		return nil, fmt.Errorf("%w: rates from %s to %s by %s", ErrConfig, from.UTC(), to.UTC(), step)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	n := int((to.Sub(from) + step - 1) / step)
	rates := make([]audit.Rate, n)
	for i := range rates {
		rates[i].Start = from.Add(time.Duration(i) * step).UTC()
	}
	rows, err := s.conn.Query(ctx, `SELECT toInt64(intDiv(toUnixTimestamp64Micro(time) - ?, ?)) AS slot, countIf(kind = 'decision'),
	countIf(kind = 'decision' AND effect != 'allow'), countIf(kind = 'decision' AND effect != 'allow' AND person = '' AND user_sub = ''),
	countIf(kind = 'limit'), countIf(kind = 'outcome' AND outcome IN ('8', '12')),
	quantileIf(0.5)(duration, kind = 'outcome'), quantileIf(0.99)(duration, kind = 'outcome')
FROM `+s.table("records")+`
WHERE time >= fromUnixTimestamp64Micro(?, 'UTC') AND time < fromUnixTimestamp64Micro(?, 'UTC') AND kind IN ('decision', 'limit', 'outcome')
GROUP BY slot`, from.UnixMicro(), step.Microseconds(), from.UnixMicro(), to.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("query rates: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	for rows.Next() {
		var slot int64
		var r audit.Rate
		var p50, p99 float64
		if err := rows.Scan(&slot, &r.Requests, &r.Denials, &r.Nobody, &r.Limited, &r.Failures, &p50, &p99); err != nil {
			return nil, fmt.Errorf("query rates: %w", err)
		}
		if slot < 0 || slot >= int64(n) {
			continue
		}
		r.Start, r.P50, r.P99 = rates[slot].Start, microseconds(p50), microseconds(p99)
		rates[slot] = r
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("query rates: %w", err)
	}
	return rates, nil
}

// microseconds converts a quantile, which is NaN when there was nothing.
func microseconds(v float64) time.Duration {
	if math.IsNaN(v) {
		return 0
	}
	return time.Duration(v * float64(time.Microsecond))
}

// Counts returns how many rows there are of each kind.
func (s *Store) Counts(ctx context.Context) (map[audit.Kind]uint64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.conn.Query(ctx, "SELECT kind, count() FROM "+s.table("records")+" GROUP BY kind")
	if err != nil {
		return nil, fmt.Errorf("count rows: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	counts := make(map[audit.Kind]uint64)
	for rows.Next() {
		var kind string
		var n uint64
		if err := rows.Scan(&kind, &n); err != nil {
			return nil, fmt.Errorf("count rows: %w", err)
		}
		counts[audit.Kind(kind)] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count rows: %w", err)
	}
	return counts, nil
}

// Gaps says whether the rows of a source are complete between the first and the
// last of them.
type Gaps struct {
	Source      string
	First, Last uint64 // 0 when there is no row
	Count       uint64 // rows, duplicates included
	Missing     uint64 // sequence numbers between First and Last without a row
	Duplicates  uint64 // rows beyond the first of each sequence number
}

// Gaps counts the rows of source. Numbers are listed only where a count does
// not come out even, so that years of rows need little memory.
func (s *Store) Gaps(ctx context.Context, source string) (Gaps, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	b, err := s.Bounds(ctx, source)
	if err != nil {
		return Gaps{}, err
	}
	g := Gaps{Source: source, First: b.First, Last: b.Last, Count: b.Count}
	if g.Count == 0 {
		return g, nil
	}
	found, err := s.tallies(ctx, source, g.First, g.Last, bucket)
	if err != nil {
		return Gaps{}, err
	}
	for from := g.First; from <= g.Last; from += bucket {
		to := min(from+bucket-1, g.Last)
		if found[(from-g.First)/bucket] == wholeTally(from, to) {
			continue
		}
		missing, surplus, err := s.census(ctx, source, from, to)
		if err != nil {
			return Gaps{}, err
		}
		g.Missing += uint64(len(missing))
		g.Duplicates += surplus
	}
	return g, nil
}
