package clickhouse

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Measure asks a question of the program's own over [from, to) whose answer is one
// number and how many things it was made of; value is nil when there is none.
// In query, {{records}} stands for the table of records, {{from}} and {{to}} for
// the times, and {{before}} for the begin of the window of that length before. It
// must be part of the program: what it says is not checked.
func (s *Store) Measure(ctx context.Context, query string, from, to time.Time) (value *float64, sample uint64, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	moment := func(t time.Time) string {
		return "fromUnixTimestamp64Micro(" + strconv.FormatInt(t.UnixMicro(), 10) + ", 'UTC')"
	}
	query = strings.NewReplacer("{{records}}", s.table("records"), "{{before}}", moment(from.Add(from.Sub(to))), "{{from}}", moment(from), "{{to}}", moment(to)).Replace(query)
	row := s.conn.QueryRow(ctx, "SELECT toNullable(toFloat64(value)), toUInt64(sample) FROM ("+query+")")
	if err := row.Scan(&value, &sample); err != nil {
		return nil, 0, fmt.Errorf("measure: %w", err)
	}
	if value != nil && math.IsNaN(*value) {
		value = nil
	}
	return value, sample, nil
}
