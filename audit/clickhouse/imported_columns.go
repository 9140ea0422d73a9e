package clickhouse

import (
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	chdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/matron-epr/matron/audit"
)

// importedRow is an imported access on its way out of ClickHouse.
type importedRow struct {
	audit.Imported
	content string
}

// importedColumn is one field of an imported access: how it is sent, how it is
// written and where it is read to.
type importedColumn struct {
	driver.ColumnNameAndType
	put  func(col chdriver.BatchColumn, rows []audit.Imported) error
	dest func(r *importedRow) any
}

// importedField sends every value in the plain type given. For texts that is
// String although most columns are LowCardinality: the server makes the
// dictionary, which costs a third of what the client would need for it.
func importedField[T any](name, as string, at func(*audit.Imported) *T) importedColumn {
	return importedColumn{
		ColumnNameAndType: driver.ColumnNameAndType{Name: name, Type: as},
		put: func(col chdriver.BatchColumn, rows []audit.Imported) error {
			values := make([]T, len(rows))
			for i := range rows {
				values[i] = *at(&rows[i])
			}
			return col.Append(values)
		},
		dest: func(r *importedRow) any { return at(&r.Imported) },
	}
}

func importedText(name string, at func(*audit.Imported) *string) importedColumn {
	return importedField(name, "String", at)
}

func importedNumber(name string, at func(*audit.Imported) *uint64) importedColumn {
	return importedField(name, "UInt64", at)
}

func importedTime(name string, at func(*audit.Imported) *time.Time) importedColumn {
	return importedField(name, "DateTime64(6, 'UTC')", at)
}

// importedColumns lists every field of an imported access, in the order of the
// table.
func importedColumns() []importedColumn {
	return append([]importedColumn{
		importedText("site", func(r *audit.Imported) *string { return &r.Site }),
		importedText("source", func(r *audit.Imported) *string { return &r.Source }),
		importedText("id", func(r *audit.Imported) *string { return &r.ID }),
		importedNumber("row_key", func(r *audit.Imported) *uint64 { return &r.Key }),
		importedContent(),
		importedNumber("line", func(r *audit.Imported) *uint64 { return &r.Line }),
		importedTime("time", func(r *audit.Imported) *time.Time { return &r.Time }),
		importedText("person", func(r *audit.Imported) *string { return &r.Person }),
		importedText("action", func(r *audit.Imported) *string { return &r.Action }),
		importedText("app", func(r *audit.Imported) *string { return &r.App }),
		importedText("role", func(r *audit.Imported) *string { return &r.Role }),
		importedText("session", func(r *audit.Imported) *string { return &r.Session }),
		importedText("device", func(r *audit.Imported) *string { return &r.Device }),
		importedText("ip", func(r *audit.Imported) *string { return &r.IP }),
		importedText("area", func(r *audit.Imported) *string { return &r.Area }),
		importedText("screen", func(r *audit.Imported) *string { return &r.Screen }),
		importedText("resource", func(r *audit.Imported) *string { return &r.Resource }),
		importedText("patient", func(r *audit.Imported) *string { return &r.Patient }),
		importedText("nhs_hash", func(r *audit.Imported) *string { return &r.NHS }),
		importedText("deliberate", func(r *audit.Imported) *string { return &r.Deliberate }),
		importedText("purpose", func(r *audit.Imported) *string { return &r.Purpose }),
		importedField("break_glass", "Bool", func(r *audit.Imported) *bool { return &r.BreakGlass }),
		importedText("reason", func(r *audit.Imported) *string { return &r.Reason }),
		importedText("outcome", func(r *audit.Imported) *string { return &r.Outcome }),
		importedNumber("bytes", func(r *audit.Imported) *uint64 { return &r.Bytes }),
		importedNumber("results", func(r *audit.Imported) *uint64 { return &r.Results }),
		importedText("extra", func(r *audit.Imported) *string { return &r.Extra }),
	}, importColumns()...)
}

// importColumns are the same for every row of one import.
func importColumns() []importedColumn {
	return []importedColumn{
		importedText("batch", func(r *audit.Imported) *string { return &r.Batch }),
		importedText("origin", func(r *audit.Imported) *string { return &r.Origin }),
		importedText("file", func(r *audit.Imported) *string { return &r.File }),
		importedTime("imported_at", func(r *audit.Imported) *time.Time { return &r.At }),
		importedText("imported_by", func(r *audit.Imported) *string { return &r.By }),
	}
}

func importedContent() importedColumn {
	return importedColumn{
		ColumnNameAndType: driver.ColumnNameAndType{Name: "content", Type: "FixedString(16)"},
		put: func(col chdriver.BatchColumn, rows []audit.Imported) error {
			values := make([]string, len(rows))
			for i := range rows {
				values[i] = string(rows[i].Content[:])
			}
			return col.Append(values)
		},
		dest: func(r *importedRow) any { return &r.content },
	}
}
