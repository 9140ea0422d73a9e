package clickhouse

import (
	"context"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Since lists up to limit accesses that stand behind a place, in the order of source
// and seq, for whoever follows the record: of the sources in after those with a
// higher seq, of all others those that are not older than from. Only the fields
// that lists have are filled. A row that is there twice is listed twice.
func (s *Store) Since(ctx context.Context, after map[string]uint64, from time.Time, limit int) ([]audit.Record, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	f := new(filter)
	f.add(accessKinds)
	others := "time >= fromUnixTimestamp64Micro(?, 'UTC')"
	condition, args, rest := "", []any{}, []any{from.UnixMicro()}
	for source, seq := range after {
		condition += "source = ? AND seq > ? OR "
		args = append(args, source, seq)
		others += " AND source != ?"
		rest = append(rest, source)
	}
	f.add("("+condition+others+")", append(args, rest...)...)
	list := listed()
	return s.collect(ctx, list, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+" ORDER BY source, seq LIMIT ?"+longList, append(f.args, limit)...)
}
