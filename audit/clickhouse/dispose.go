package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/matron-epr/matron/audit"
)

// keptAtOnce bounds how many numbers one statement names.
const keptAtOnce = 20_000

// ErrRowsLeft says that rows which were to be deleted are still there.
var ErrRowsLeft = errors.New("rows that were to be deleted are still there")

// Dispose deletes the rows first..last of source but those kept, which are
// ascending numbers, and returns when they are gone. It needs an account that
// may ALTER DELETE, which the shipper's is not. Calling it again is no harm.
func (s *Store) Dispose(ctx context.Context, source string, first, last uint64, kept []uint64) error {
	ctx = driver.Context(ctx, driver.WithSettings(driver.Settings{"mutations_sync": 2, "max_query_size": 4 << 20}))
	for from, rest := first, kept; from <= last; {
		n := min(len(rest), keptAtOnce)
		to := last
		if n < len(rest) {
			to = rest[n-1]
		}
		if err := s.deleteBut(ctx, source, from, to, rest[:n]); err != nil {
			return fmt.Errorf("delete rows %d-%d of %s: %w", from, to, source, err)
		}
		from, rest = to+1, rest[n:]
	}
	var numbers uint64
	err := s.conn.QueryRow(ctx, "SELECT uniqExact(seq) FROM "+s.table("records")+" WHERE source = ? AND seq BETWEEN ? AND ?", source, first, last).Scan(&numbers)
	if err == nil && numbers > uint64(len(kept)) {
		err = fmt.Errorf("%w: of %d records, %d are kept", ErrRowsLeft, numbers, len(kept))
	}
	return err
}

func (s *Store) deleteBut(ctx context.Context, source string, first, last uint64, kept []uint64) error {
	if uint64(len(kept)) == last-first+1 {
		return nil
	}
	// Counted first: a mutation that finds nothing is written down all the same.
	var rows uint64
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM "+s.table("records")+but(kept), source, first, last).Scan(&rows); err != nil || rows == 0 {
		return err
	}
	return s.conn.Exec(ctx, "ALTER TABLE "+s.table(s.local())+" DELETE"+but(kept), source, first, last)
}

// but is the condition of a stretch without the numbers that stay.
func but(kept []uint64) string {
	condition := " WHERE source = ? AND seq BETWEEN ? AND ?"
	if len(kept) == 0 {
		return condition
	}
	list := make([]string, len(kept))
	for i, seq := range kept {
		list[i] = strconv.FormatUint(seq, 10)
	}
	return condition + " AND seq NOT IN (" + strings.Join(list, ",") + ")"
}

// HoldRecords is how many placings and releases of legal holds the log of source
// tells of.
func (s *Store) HoldRecords(ctx context.Context, source string) (n uint64, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err = s.conn.QueryRow(ctx, "SELECT uniqExact(request) FROM "+s.table("records")+" WHERE source = ? AND kind = ?", source, string(audit.KindHold)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count records of legal holds: %w", err)
	}
	return n, nil
}
