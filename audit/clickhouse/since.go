package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Stretch is records of one source: those above After, up to UpTo.
type Stretch struct{ After, UpTo uint64 }

// Ahead says which records there are behind a place: of the sources in after those
// with a higher seq, of all others those that are not older than from.
func (s *Store) Ahead(ctx context.Context, after map[string]uint64, from time.Time) (map[string]Stretch, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	others := "time >= fromUnixTimestamp64Micro(?, 'UTC')"
	condition, args, rest := "", []any{}, []any{from.UnixMicro()}
	for source, seq := range after {
		condition += "source = ? AND seq > ? OR "
		args = append(args, source, seq)
		others += " AND source != ?"
		rest = append(rest, source)
	}
	rows, err := s.conn.Query(ctx, "SELECT source, min(seq), max(seq) FROM "+s.table("records")+" WHERE "+condition+others+" GROUP BY source", append(args, rest...)...)
	if err != nil {
		return nil, fmt.Errorf("query what is new: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	out := map[string]Stretch{}
	for rows.Next() {
		var source string
		var one Stretch
		if err := rows.Scan(&source, &one.After, &one.UpTo); err != nil {
			return nil, fmt.Errorf("query what is new: %w", err)
		}
		one.After = max(one.After, 1) - 1
		out[source] = one
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("query what is new: %w", err)
	}
	return out, nil
}

// mostOfOne is how many accesses of one person in one stretch are told: more than
// detection follows on a day.
const mostOfOne = 2500

// mostAlike is how many accesses of one stretch that say the same are told: whoever
// opens one record a thousand times in a minute is not read a thousand times.
const mostAlike = 20

// Follow visits the accesses of people at one site in some stretches, for whoever
// follows the record: by source and seq, with the outcomes of those that failed. Of
// what one person does to one patient in the same way no more than some is visited, and of one person no more than is followed.
// Machines are left out. A row that is there twice is visited twice.
func (s *Store) Follow(ctx context.Context, site string, stretches map[string]Stretch, visit func(*audit.Record)) error {
	if len(stretches) == 0 {
		return nil
	}
	var conditions []string
	var args []any
	for source, one := range stretches {
		conditions = append(conditions, "source = ? AND seq > ? AND seq <= ?")
		args = append(args, source, one.After, one.UpTo)
	}
	f := new(filter)
	f.add("("+strings.Join(conditions, " OR ")+")", args...)
	return s.follow(ctx, site, f, "source, seq", visit)
}

// Recall visits the accesses of people at one site within [from, to), oldest first,
// as Follow does; of the sources in upTo only records up to a place.
func (s *Store) Recall(ctx context.Context, site string, from, to time.Time, upTo map[string]uint64, visit func(*audit.Record)) error {
	f := new(filter)
	f.add("time >= fromUnixTimestamp64Micro(?, 'UTC') AND time < fromUnixTimestamp64Micro(?, 'UTC')", from.UnixMicro(), to.UnixMicro())
	for source, seq := range upTo {
		f.add("(source != ? OR seq <= ?)", source, seq)
	}
	return s.follow(ctx, site, f, "time, source, seq", visit)
}

func (s *Store) follow(ctx context.Context, site string, f *filter, order string, visit func(*audit.Record)) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout) // as many rows as there are
	defer cancel()
	looked := strings.Fields("site source seq time kind gap action area screen deliberate patient patient_source person roles session basis device client_ip effect")
	list := slices.DeleteFunc(columns(), func(c column) bool { return !slices.Contains(looked, c.name) })
	f.add("("+accessKinds+" AND site = ? AND person != '' AND NOT has(detail, ?) OR kind = 'outcome' AND outcome NOT IN ('', '0'))", site, audit.DetailMachine)
	alike := "SELECT " + names(list) + " FROM " + s.table("records") + f.where() + " ORDER BY " + order +
		fmt.Sprintf(" LIMIT %d BY source, kind, person, patient, action, area, screen, device, client_ip, effect, deliberate, if(kind = 'outcome', seq, 0)", mostAlike)
	return s.visit(ctx, "query accesses that follow", list, func(r *audit.Record) error { visit(r); return nil },
		"SELECT "+names(list)+" FROM ("+alike+") ORDER BY "+order+
			fmt.Sprintf(" LIMIT %d BY person, if(kind = 'outcome', seq, 0)", mostOfOne), f.args...)
}

// LastSeen says when each person at a site was seen last before a time, and since
// when there are records of the site.
func (s *Store) LastSeen(ctx context.Context, site string, before time.Time) (last map[string]time.Time, since time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	f := accessFilter(audit.Query{Site: site, To: before})
	f.add("person != ''")
	rows, err := s.conn.Query(ctx, "SELECT person, max(time), min(time) FROM "+s.table("records")+f.where()+" GROUP BY person", f.args...)
	if err != nil {
		return nil, since, fmt.Errorf("query who was seen: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	last, since = map[string]time.Time{}, before
	for rows.Next() {
		var person string
		var newest, oldest time.Time
		if err := rows.Scan(&person, &newest, &oldest); err != nil {
			return nil, since, fmt.Errorf("query who was seen: %w", err)
		}
		last[person] = newest
		if oldest.Before(since) {
			since = oldest
		}
	}
	if err := rows.Err(); err != nil {
		return nil, since, fmt.Errorf("query who was seen: %w", err)
	}
	return last, since, nil
}
