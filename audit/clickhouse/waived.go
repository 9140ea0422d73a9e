package clickhouse

import (
	"context"
	"fmt"

	"github.com/matron-epr/matron/audit"
)

const (
	// personSQL is whom a row counts for.
	personSQL = "if(person != '', person, user_sub)"
	// exchangeSQL is the exchange that a row is of.
	exchangeSQL = "(source, if(kind = 'decision', seq, decision))"
)

// Waived counts what went on although it would have been refused: what
// audit.WaivedTally finds in the same records.
func (s *Store) Waived(ctx context.Context, q audit.WaivedQuery) (audit.Waived, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	w := audit.Waived{Apps: []audit.WaivedApp{}, Rows: []audit.WaivedRow{}}
	where, args := waivedFilter(q)
	// A part of the path with a digit in it counts as an identifier.
	err := s.scan(ctx, `SELECT app, countIf(kind = 'decision'), uniqExactIf(`+exchangeSQL+`, would_deny), uniqExactIf(`+personSQL+`, would_deny),
	uniqExactIf(`+exchangeSQL+`, would_deny AND has(reasons, ?)),
	uniqExactIf(concat(method, ' ', replaceRegexpAll(target, ?, '/{}')), would_deny AND has(reasons, ?))
FROM `+s.table("records")+where+` GROUP BY app ORDER BY app`, append([]any{audit.ReasonUnmapped, audit.IdentifierPattern, audit.ReasonUnmapped}, args...), func(scan func(...any) error) error {
		var a audit.WaivedApp
		err := scan(&a.App, &a.Requests, &a.Refusals, &a.People, &a.Unmapped, &a.Routes)
		w.Apps = append(w.Apps, a)
		return err
	})
	if err != nil {
		return audit.Waived{}, err
	}
	err = s.scan(ctx, `SELECT app, mode, route, arrayStringConcat(roles, ', ') AS role, arrayStringConcat(reasons, ', ') AS reason, uniqExact(`+exchangeSQL+`) AS requests,
	uniqExact(`+personSQL+`)
FROM `+s.table("records")+where+` AND would_deny GROUP BY app, mode, route, role, reason
ORDER BY requests DESC, app, mode, route, role, reason LIMIT ?`, append(args, audit.MaxWaivedRows), func(scan func(...any) error) error {
		var r audit.WaivedRow
		err := scan(&r.App, &r.Mode, &r.Route, &r.Role, &r.Reason, &r.Requests, &r.People)
		w.Rows = append(w.Rows, r)
		return err
	})
	if err != nil {
		return audit.Waived{}, err
	}
	return w, nil
}

// waivedFilter is audit.WaivedQuery.Holds as a condition.
func waivedFilter(q audit.WaivedQuery) (where string, args []any) {
	where = " WHERE kind IN ('decision', 'patient') AND mode IN ('observe', 'bypass')"
	add := func(is bool, condition string, arg any) {
		if is {
			where, args = where+" AND "+condition, append(args, arg)
		}
	}
	add(q.Site != "", "site = ?", q.Site)
	add(q.App != "", "app = ?", q.App)
	add(!q.From.IsZero(), "time >= fromUnixTimestamp64Micro(?, 'UTC')", q.From.UnixMicro())
	add(!q.To.IsZero(), "time < fromUnixTimestamp64Micro(?, 'UTC')", q.To.UnixMicro())
	return where, args
}

// scan asks and visits each row.
func (s *Store) scan(ctx context.Context, query string, args []any, visit func(scan func(...any) error) error) error {
	rows, err := s.conn.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("count waived refusals: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	for rows.Next() {
		if err := visit(rows.Scan); err != nil {
			return fmt.Errorf("count waived refusals: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("count waived refusals: %w", err)
	}
	return nil
}
