package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// RecordedDecision reads one record of the journal.
func RecordedDecision(c config.Config, seq uint64) (r audit.Record, err error) {
	reader, err := journal.OpenReader(JournalDirs(c)...)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	found, err := reader.Read(seq, 1)
	switch {
	case err != nil:
		return r, fmt.Errorf("read record %d: %w", seq, err)
	case len(found) == 0:
		return r, fmt.Errorf("the journal has no record %d: it holds %d to %d", seq, reader.First(), reader.Last())
	}
	return found[0], nil
}

// Decisions is what was decided from from to to, for a command beside the gateway:
// in ClickHouse or, where that does not answer, in the journal. name says which.
func Decisions(ctx context.Context, c config.Config, from, to time.Time) (visitAll func(context.Context, func(*audit.Record) error) error, name string) {
	store, err := OpenIndex(ctx, c)
	if err == nil {
		if err = store.Ping(ctx); err != nil {
			_ = store.Close() // nothing was asked of it
		}
	}
	if err != nil {
		return func(ctx context.Context, visit func(*audit.Record) error) error {
			return decisionsInJournal(ctx, c, from, to, visit)
		}, "the journal"
	}
	return func(ctx context.Context, visit func(*audit.Record) error) error {
		return errors.Join(store.Decisions(ctx, audit.Query{Site: c.Site, From: from, To: to}, visit), store.Close())
	}, "ClickHouse"
}

func decisionsInJournal(ctx context.Context, c config.Config, from, to time.Time, visit func(*audit.Record) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	err := Walk(ctx, c, from, to, nil, func(r *audit.Record) {
		decided := r.Kind == audit.KindDecision || r.Kind == audit.KindPatient
		if !decided || r.PolicyRev == "" || r.Site != c.Site || r.Time.Before(from) || !r.Time.Before(to) || ctx.Err() != nil {
			return
		}
		if err := visit(r); err != nil {
			stop(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
