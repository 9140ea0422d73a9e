package clickhouse

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// asked is the seq of the decision that a row belongs to.
const asked = "if(kind = 'decision', seq, decision)"

// Witnessed visits the accesses of people at one site within [from, to), oldest
// first, each once; machines are left out. Outcome is set where an exchange failed.
// Of the other fields those are filled that detection looks at. It ends at the first
// error of visit.
func (s *Store) Witnessed(ctx context.Context, site string, from, to time.Time, visit func(*audit.Record) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout) // as many rows as there are
	defer cancel()
	looked := strings.Fields("source seq time kind gap app action area screen deliberate patient patient_source person roles session basis device client_ip effect")
	list := slices.DeleteFunc(columns(), func(c column) bool { return !slices.Contains(looked, c.name) })
	failed := "SELECT source, decision FROM " + s.table("records") + ` WHERE kind = 'outcome' AND outcome NOT IN ('', '0')
		AND time >= fromUnixTimestamp64Micro(?, 'UTC') AND time < fromUnixTimestamp64Micro(?, 'UTC')`
	list = append(list, column{
		"if((source, " + asked + ") GLOBAL IN (" + failed + "), '8', '')",
		func(r *row) any { return (*string)(&r.Outcome) },
	})
	f := accessFilter(audit.Query{Site: site, From: from, To: to})
	f.add("person != '' AND NOT has(detail, ?)", audit.DetailMachine)
	args := append([]any{from.Add(-clockStep).UnixMicro(), to.Add(clockStep).UnixMicro()}, f.args...)
	return s.visit(ctx, "query witnessed accesses", list, visit, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+
		" ORDER BY time, source, seq LIMIT 1 BY source, seq", args...)
}
