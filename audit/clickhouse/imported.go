package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"

	"github.com/matron-epr/matron/audit"
)

// InsertImported sends imported accesses in one synchronous insert. A second
// insert under the same token is dropped in every month that the first has
// reached. Whether rows were stored is unknown when it fails.
func (s *Store) InsertImported(ctx context.Context, token string, rows []audit.Imported) error {
	list := importedColumns()
	types := make([]driver.ColumnNameAndType, len(list))
	for i, c := range list {
		types[i] = c.ColumnNameAndType
	}
	ctx = driver.Context(ctx, driver.WithColumnNamesAndTypes(types), driver.WithSettings(driver.Settings{
		"insert_deduplication_token":      "imported/" + token,
		"insert_deduplicate":              1,
		"async_insert":                    0,
		"max_partitions_per_insert_block": 0, // a file may hold the months of many years
	}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+s.table("imported")+" ("+importedNames(list)+")")
	if err != nil {
		return fmt.Errorf("prepare import: %w", err)
	}
	for i, c := range list {
		if err := c.put(batch.Column(i), rows); err != nil {
			_ = batch.Abort() // the first error counts
			return fmt.Errorf("import column %s: %w", c.Name, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("import %d rows: %w", len(rows), err)
	}
	return nil
}

// FindImported returns, of rows of one site, those that were imported before,
// with what identifies them and their content. It may return others as well
// whose key is the same.
func (s *Store) FindImported(ctx context.Context, rows []audit.Imported) ([]audit.Imported, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	wanted, sources, first, last, err := wantedImports(rows)
	if err != nil {
		return nil, err
	}
	// The conditions besides row_key change nothing of the answer but let the
	// server skip what cannot be it.
	answer, err := s.conn.Query(driver.Context(ctx, driver.WithExternalTable(wanted)),
		"SELECT source, id, patient, content FROM "+s.table("imported")+
			" WHERE site = ? AND source IN (?) AND id >= ? AND id <= ? AND row_key IN wanted", rows[0].Site, sources, first, last)
	if err != nil {
		return nil, fmt.Errorf("look for imported rows: %w", err)
	}
	defer answer.Close() //nolint:errcheck // Err below tells
	var found []audit.Imported
	for answer.Next() {
		r := importedRow{Imported: audit.Imported{Site: rows[0].Site}}
		if err := answer.Scan(&r.Source, &r.ID, &r.Patient, &r.content); err != nil {
			return nil, fmt.Errorf("look for imported rows: %w", err)
		}
		copy(r.Content[:], r.content)
		found = append(found, r.Imported)
	}
	if err := answer.Err(); err != nil {
		return nil, fmt.Errorf("look for imported rows: %w", err)
	}
	return found, nil
}

// wantedImports is what FindImported looks for.
func wantedImports(rows []audit.Imported) (wanted *ext.Table, sources []string, first, last string, err error) {
	first, last = rows[0].ID, rows[0].ID
	keys := make([]uint64, len(rows))
	for i := range rows {
		keys[i] = rows[i].Key
		first, last = min(first, rows[i].ID), max(last, rows[i].ID)
		if n := len(sources); n == 0 || sources[n-1] != rows[i].Source {
			sources = append(sources, rows[i].Source)
		}
	}
	slices.Sort(sources)
	if wanted, err = ext.NewTable("wanted", ext.Column("row_key", "UInt64")); err == nil {
		_, err = wanted.Block().Columns[0].Append(keys)
	}
	if err != nil {
		return nil, nil, "", "", fmt.Errorf("look for imported rows: %w", err)
	}
	return wanted, slices.Compact(sources), first, last, nil
}

// Imported lists imported accesses, newest first, each once. In q, NHSNumber is
// the keyed hash of the number, Effect and Identified do not apply, and Before
// takes the Key of a row as its Seq.
func (s *Store) Imported(ctx context.Context, q audit.Query) ([]audit.Imported, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	list, f := importedColumns(), importedFilter(q)
	answer, err := s.conn.Query(ctx, "SELECT "+importedNames(list)+" FROM "+s.table("imported")+f.where()+
		" ORDER BY time DESC, source DESC, row_key DESC LIMIT 1 BY site, source, id, patient LIMIT ?", append(f.args, q.Limit)...)
	if err != nil {
		return nil, fmt.Errorf("query imported accesses: %w", err)
	}
	defer answer.Close() //nolint:errcheck // Err below tells
	var rows []audit.Imported
	for answer.Next() {
		var r importedRow
		dest := make([]any, len(list))
		for i, c := range list {
			dest[i] = c.dest(&r)
		}
		if err := answer.Scan(dest...); err != nil {
			return nil, fmt.Errorf("read imported access: %w", err)
		}
		copy(r.Content[:], r.content)
		r.Time, r.At = r.Time.UTC(), r.At.UTC()
		rows = append(rows, r.Imported)
	}
	if err := answer.Err(); err != nil {
		return nil, fmt.Errorf("query imported accesses: %w", err)
	}
	return rows, nil
}

// CountImported counts the imported rows, and how many of them are different
// accesses: the two are equal.
func (s *Store) CountImported(ctx context.Context) (rows, different uint64, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err = s.conn.QueryRow(ctx, "SELECT count(), uniqExact(site, source, id, patient) FROM "+s.table("imported")).Scan(&rows, &different)
	if err != nil {
		return 0, 0, fmt.Errorf("count imported rows: %w", err)
	}
	return rows, different, nil
}

func importedFilter(q audit.Query) *filter {
	f := new(filter)
	f.add("1")
	if q.Site != "" {
		f.add("site = ?", q.Site)
	}
	if q.Person != "" {
		f.add("person = ?", q.Person)
	}
	switch {
	case q.Patient != "" && q.NHSNumber != "":
		f.add("(patient = ? OR nhs_hash = ?)", q.Patient, q.NHSNumber)
	case q.Patient != "":
		f.add("patient = ?", q.Patient)
	case q.NHSNumber != "":
		f.add("nhs_hash = ?", q.NHSNumber)
	}
	if !q.From.IsZero() {
		f.add("time >= fromUnixTimestamp64Micro(?, 'UTC')", q.From.UnixMicro())
	}
	if !q.To.IsZero() {
		f.add("time < fromUnixTimestamp64Micro(?, 'UTC')", q.To.UnixMicro())
	}
	if b := q.Before; !b.Time.IsZero() {
		f.add("(time, source, row_key) < (fromUnixTimestamp64Micro(?, 'UTC'), ?, ?)", b.Time.UnixMicro(), b.Source, b.Seq)
		f.add("time <= fromUnixTimestamp64Micro(?, 'UTC')", b.Time.UnixMicro())
	}
	return f
}

func importedNames(list []importedColumn) string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = c.Name
	}
	return strings.Join(out, ", ")
}
