package clickhouse

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/matron-epr/matron/audit"
)

// row is a record on its way out of ClickHouse, with room for the fields that
// are stored in another form.
type row struct {
	audit.Record
	authTime   int64
	gap        uint64
	requestID  string
	requestLag int64
}

func (r *row) record() audit.Record {
	r.Decision = decisionAt(r.Seq, r.gap)
	r.Request = r.request()
	r.Time = r.Time.UTC()
	r.AuthTime = time.UnixMicro(r.authTime).UTC()
	for _, list := range []*[]string{&r.Roles, &r.Activities, &r.AMR, &r.Reasons, &r.Rules, &r.Detail} {
		if len(*list) == 0 {
			*list = nil
		}
	}
	return r.Record
}

// decisionAt is the inverse of gapOf, as the column decision has it.
func decisionAt(seq, gap uint64) uint64 {
	switch gap {
	case 0:
		return 0
	case seq:
		return seq
	}
	return seq - gap
}

// request puts the request id together as the column request does, which costs
// the server more than reading the row when a list has a hundred of them.
func (r *row) request() string {
	if r.requestID == "" || r.requestID == string(make([]byte, randomBytes)) {
		return r.Request
	}
	ms := uint64(r.Time.UnixMicro()/1000-r.requestLag) << (8 * (8 - timeBytes)) //nolint:gosec // only these bits count
	id := append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+randomBytes), ms)[:timeBytes], r.requestID...)
	text := make([]byte, 0, 36)
	for i, b := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, b)
	}
	return string(text)
}

// column is one column of the table and where it is read to.
type column struct {
	name string
	dest func(r *row) any
}

func field[T any](name string, at func(*audit.Record) *T) column {
	return column{name: name, dest: func(r *row) any { return at(&r.Record) }}
}

// columns lists every field of a record but the nonce, which only the journal has.
func columns() []column {
	list := append(exchangeColumns(), userColumns()...)
	return append(list, answerColumns()...)
}

// listed are the columns that a list of accesses shows, searches or is judged
// by. Each column costs a look-up a granule, and a list touches many granules.
func listed() []column {
	shown := strings.Fields(`site source seq time kind request_id request_lag request_text gap app action area screen resource
		deliberate patient nhs_number patient_source certainty person user_name roles purpose basis client_ip device
		effect reasons would_deny outcome status`)
	return slices.DeleteFunc(columns(), func(c column) bool { return !slices.Contains(shown, c.name) })
}

// outcomesOf are the columns of list that say what became of an exchange, and
// those that name it.
func outcomesOf(list []column) []column {
	wanted := []string{"source", "seq", "gap"}
	for _, c := range outcomeColumns() {
		wanted = append(wanted, c.name)
	}
	return slices.DeleteFunc(slices.Clone(list), func(c column) bool { return !slices.Contains(wanted, c.name) })
}

func exchangeColumns() []column {
	return []column{
		field("site", func(r *audit.Record) *string { return &r.Site }),
		field("source", func(r *audit.Record) *string { return &r.Source }),
		field("seq", func(r *audit.Record) *uint64 { return &r.Seq }),
		field("time", func(r *audit.Record) *time.Time { return &r.Time }),
		field("kind", func(r *audit.Record) *string { return (*string)(&r.Kind) }),
		{"request_id", func(r *row) any { return &r.requestID }},
		{"request_lag", func(r *row) any { return &r.requestLag }},
		field("request_text", func(r *audit.Record) *string { return &r.Request }),
		{"gap", func(r *row) any { return &r.gap }},
		field("app", func(r *audit.Record) *string { return &r.App }),
		field("method", func(r *audit.Record) *string { return &r.Method }),
		field("target", func(r *audit.Record) *string { return &r.Target }),
		field("query", func(r *audit.Record) *string { return &r.Query }),
		field("route", func(r *audit.Record) *string { return &r.Route }),
		field("action", func(r *audit.Record) *string { return &r.Action }),
		field("area", func(r *audit.Record) *string { return &r.Area }),
		field("screen", func(r *audit.Record) *string { return &r.Screen }),
		field("resource", func(r *audit.Record) *string { return &r.Resource }),
		field("resource_id", func(r *audit.Record) *string { return &r.ResourceID }),
		field("resource_version", func(r *audit.Record) *string { return &r.ResourceVersion }),
		field("deliberate", func(r *audit.Record) *string { return &r.Deliberate }),
		field("patient", func(r *audit.Record) *string { return &r.Patient }),
		field("nhs_number", func(r *audit.Record) *string { return &r.NHSNumber }),
		field("patient_source", func(r *audit.Record) *string { return (*string)(&r.PatientSource) }),
		field("certainty", func(r *audit.Record) *string { return (*string)(&r.Certainty) }),
	}
}

func userColumns() []column {
	return []column{
		field("user_issuer", func(r *audit.Record) *string { return &r.UserIssuer }),
		field("user_sub", func(r *audit.Record) *string { return &r.UserSub }),
		field("person", func(r *audit.Record) *string { return &r.Person }),
		field("user_name", func(r *audit.Record) *string { return &r.UserName }),
		field("roles", func(r *audit.Record) *[]string { return &r.Roles }),
		field("activities", func(r *audit.Record) *[]string { return &r.Activities }),
		field("org", func(r *audit.Record) *string { return &r.Org }),
		field("role_id", func(r *audit.Record) *string { return &r.RoleID }),
		field("acr", func(r *audit.Record) *string { return &r.ACR }),
		field("amr", func(r *audit.Record) *[]string { return &r.AMR }),
		field("assurance", func(r *audit.Record) *uint64 { return &r.Assurance }),
		authTimeColumn(),
		field("session", func(r *audit.Record) *string { return &r.Session }),
		field("token", func(r *audit.Record) *string { return &r.Token }),
		field("purpose", func(r *audit.Record) *string { return &r.Purpose }),
		field("basis", func(r *audit.Record) *string { return &r.Basis }),
		field("client_ip", func(r *audit.Record) *string { return &r.ClientIP }),
		field("device", func(r *audit.Record) *string { return &r.Device }),
		field("user_agent", func(r *audit.Record) *string { return &r.UserAgent }),
		field("client_cn", func(r *audit.Record) *string { return &r.ClientCN }),
	}
}

func answerColumns() []column {
	list := []column{
		field("effect", func(r *audit.Record) *string { return &r.Effect }),
		field("reasons", func(r *audit.Record) *[]string { return &r.Reasons }),
		field("rules", func(r *audit.Record) *[]string { return &r.Rules }),
		field("policy_rev", func(r *audit.Record) *string { return &r.PolicyRev }),
		field("mode", func(r *audit.Record) *string { return &r.Mode }),
		field("would_deny", func(r *audit.Record) *bool { return &r.WouldDeny }),
	}
	list = append(list, outcomeColumns()...)
	return append(list, field("detail", func(r *audit.Record) *[]string { return &r.Detail }))
}

// outcomeColumns are the fields that an outcome record adds to its decision.
func outcomeColumns() []column {
	return []column{
		field("outcome", func(r *audit.Record) *string { return (*string)(&r.Outcome) }),
		field("status", func(r *audit.Record) *uint64 { return &r.Status }),
		field("bytes_in", func(r *audit.Record) *uint64 { return &r.BytesIn }),
		field("bytes_out", func(r *audit.Record) *uint64 { return &r.BytesOut }),
		field("duration", func(r *audit.Record) *uint64 { return &r.Duration }),
		field("upstream", func(r *audit.Record) *uint64 { return &r.Upstream }),
		field("results", func(r *audit.Record) *uint64 { return &r.Results }),
		field("error", func(r *audit.Record) *string { return &r.Error }),
		field("upstream_to", func(r *audit.Record) *string { return &r.UpstreamTo }),
	}
}

func authTimeColumn() column {
	return column{name: "auth_time", dest: func(r *row) any { return &r.authTime }}
}

// names joins the columns' names for a statement.
func names(list []column) string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = c.name
	}
	return strings.Join(out, ", ")
}

// scanner reads rows whose columns are those of a list, in room for one.
type scanner struct {
	row  row
	dest []any // of row
}

func newScanner(list []column) *scanner {
	s := &scanner{dest: make([]any, len(list))}
	for i, c := range list {
		s.dest[i] = c.dest(&s.row)
	}
	return s
}

// scan reads one row.
func (s *scanner) scan(rows driver.Rows) (audit.Record, error) {
	s.row = row{authTime: time.Time{}.UnixMicro()} // what was not asked for stays unknown
	if err := rows.Scan(s.dest...); err != nil {
		return audit.Record{}, fmt.Errorf("read row: %w", err)
	}
	return s.row.record(), nil
}

// visit shows one by one what a question answers whose columns are those of list. what
// says in errors what was done. Whoever keeps a record copies it.
func (s *Store) visit(ctx context.Context, what string, list []column, visit func(*audit.Record) error, query string, args ...any) error {
	rows, err := s.conn.Query(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer rows.Close() //nolint:errcheck // Err below tells
	in := newScanner(list)
	for rows.Next() {
		r, err := in.scan(rows)
		if err != nil {
			return err
		}
		if err := visit(&r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
