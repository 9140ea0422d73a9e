package gateway

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// clockSlack is how far records may be out of the order of their times, since
// clocks step: a search by time reads that much more on both sides.
const clockSlack = 24 * time.Hour

// Walk visits every record of the journal from about from to about to: visit says
// which it means. A zero from is the beginning, a zero to the end. progress, if not
// nil, is told how far it is.
func Walk(ctx context.Context, c config.Config, from, to time.Time, progress func(done, total int64), visit func(*audit.Record)) (err error) {
	reader, err := journal.OpenReader(JournalDirs(c)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	at := reader.First()
	if !from.IsZero() {
		if at, err = firstSince(reader, from.Add(-clockSlack)); err != nil {
			return fmt.Errorf("find the first record since %s: %w", from.UTC().Format(time.RFC3339), err)
		}
	}
	const page = 10_000
	begin, end := at, to.Add(clockSlack)
	for last := reader.Last(); at <= last; at += page {
		if err := ctx.Err(); err != nil {
			return err
		}
		if progress != nil {
			progress(int64(at-begin), int64(last-begin+1)) //nolint:gosec // a journal has fewer records than that
		}
		beyond := false
		err := reader.Walk(at, page, func(r *audit.Record, _ []byte) bool {
			visit(r)
			beyond = !to.IsZero() && r.Time.After(end)
			return !beyond
		})
		if err != nil || beyond {
			return err
		}
	}
	return nil
}

// firstSince finds the first record that is not older than a time, as far as
// times ascend.
func firstSince(reader *journal.Reader, at time.Time) (uint64, error) {
	first, last := reader.First(), reader.Last()
	var failed error
	n := sort.Search(int(last-first+1), func(i int) bool { //nolint:gosec // a journal has fewer records than that
		found, err := reader.Read(first+uint64(i), 1) //nolint:gosec // not negative
		if err != nil || len(found) == 0 {
			failed = errors.Join(failed, err)
			return true
		}
		return !found[0].Time.Before(at)
	})
	return first + uint64(n), failed //nolint:gosec // not negative
}
