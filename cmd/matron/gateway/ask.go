package gateway

import (
	"context"
	"time"

	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// JournalDir is the folder of the journal.
func JournalDir(c config.Config) string { return paths{c.DataDir}.journal() }

// CountAlerts counts every alert there is.
func CountAlerts(ctx context.Context, c config.Config) (int, error) {
	db, err := openDatabase(ctx, c, false)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	return cases.New(db).Count(ctx)
}

// Rows is what ClickHouse holds of one gateway's record.
type Rows struct {
	Count, Missing, Duplicates uint64
	Denials                    uint64 // decisions since a time that refused
}

// CountRows counts the rows of c's own records, for a command beside the
// gateway.
func CountRows(ctx context.Context, c config.Config, since, until time.Time) (Rows, error) {
	store, err := OpenIndex(ctx, c)
	if err != nil {
		return Rows{}, err
	}
	defer func() { _ = store.Close() }()
	gaps, err := store.Gaps(ctx, c.Source)
	if err != nil {
		return Rows{}, err
	}
	rows := Rows{Count: gaps.Count, Missing: gaps.Missing, Duplicates: gaps.Duplicates}
	rates, err := store.Rates(ctx, since, until, time.Minute)
	for _, r := range rates {
		rows.Denials += r.Denials
	}
	return rows, err
}
