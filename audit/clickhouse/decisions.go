package clickhouse

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// questioned are the columns that hold what the rules were asked and answered.
func questioned() []column {
	wanted := strings.Fields(`site source seq time kind app method route action area resource patient nhs_number certainty
		user_issuer user_sub person user_name roles activities org role_id acr amr assurance auth_time session token purpose
		effect reasons rules policy_rev would_deny mode detail`)
	return slices.DeleteFunc(columns(), func(c column) bool { return !slices.Contains(wanted, c.name) })
}

// Decisions visits what the rules decided between two times, some hours at a time so
// that no answer is large, each record once: the fields that they were asked about
// and what came of it, the others empty. An error of visit ends it.
func (s *Store) Decisions(ctx context.Context, q audit.Query, visit func(*audit.Record) error) error {
	const step = 4 * time.Hour
	for from := q.From; from.Before(q.To); from = from.Add(step) {
		part := q
		part.From = from
		if end := from.Add(step); end.Before(q.To) {
			part.To = end
		}
		if err := s.decisionsOf(ctx, part, visit); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) decisionsOf(ctx context.Context, q audit.Query, visit func(*audit.Record) error) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	f := accessFilter(q)
	f.add("policy_rev != ''")
	list := questioned()
	return s.visit(ctx, "read decisions", list, visit, "SELECT "+names(list)+" FROM "+s.table("records")+f.where()+" LIMIT 1 BY source, seq", f.args...)
}
