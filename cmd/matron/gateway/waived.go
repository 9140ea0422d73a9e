package gateway

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// Waived counts what went on although the rules would have refused it, for a
// command beside the gateway: in ClickHouse or, where that does not answer, in the
// journal. from says which.
func Waived(ctx context.Context, c config.Config, q audit.WaivedQuery) (w audit.Waived, from string, err error) {
	store, err := OpenIndex(ctx, c)
	if err == nil {
		w, err = store.Waived(ctx, q)
		if err = errors.Join(err, store.Close()); err == nil {
			return w, "ClickHouse", nil
		}
	}
	if ctx.Err() != nil {
		return audit.Waived{}, "", ctx.Err()
	}
	w, err = waivedInJournal(ctx, c, q)
	return w, "the journal", err
}

// waivedInJournal reads every record of the time in question.
func waivedInJournal(ctx context.Context, c config.Config, q audit.WaivedQuery) (audit.Waived, error) {
	tally := audit.NewWaivedTally(q)
	if err := Walk(ctx, c, q.From, q.To, nil, tally.Add); err != nil {
		return audit.Waived{}, err
	}
	return tally.Waived(), nil
}

// Waived is what pages and the daily report ask of ClickHouse.
func (i index) Waived(ctx context.Context, q audit.WaivedQuery) (audit.Waived, error) {
	store, err := i.office.open()
	if err != nil {
		return audit.Waived{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, pageQuery)
	defer cancel()
	return store.Waived(ctx, q)
}

const (
	// reportAfter is how long after midnight a day is reported: the index then has
	// all of it.
	reportAfter = 10 * time.Minute
	// reportRows bounds what one day writes into the log.
	reportRows = 50
)

// reportDaily logs each day what the day before would have refused, by route and
// role, and does so once after a start. It names nobody (GW-20).
func (g *Gateway) reportDaily(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var reported time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		day := dayBefore(g.now().Add(-reportAfter), g.detection.location)
		if day.Equal(reported) {
			continue
		}
		if err := g.reportDay(ctx, day); err != nil {
			g.log.LogAttrs(ctx, slog.LevelWarn, "what would have been refused cannot be counted, tried again each minute", slog.String("error", err.Error()))
			continue
		}
		reported = day
	}
}

// dayBefore is the beginning of the day before at, in the hospital's time.
func dayBefore(at time.Time, in *time.Location) time.Time {
	y, m, d := at.In(in).Date()
	return time.Date(y, m, d-1, 0, 0, 0, 0, in)
}

// reportDay logs one day. Days on which everything was enforced say nothing.
func (g *Gateway) reportDay(ctx context.Context, day time.Time) error {
	q := audit.WaivedQuery{Site: g.cfg.Site, From: day, To: day.AddDate(0, 0, 1)}
	w, err := index{g.office}.Waived(ctx, q)
	if err != nil {
		w, err = waivedInJournal(ctx, g.cfg, q)
	}
	if err != nil {
		return err
	}
	on := slog.String("day", day.Format(time.DateOnly))
	for _, a := range w.Apps {
		g.log.LogAttrs(ctx, slog.LevelInfo, "not enforced", on, slog.String("application", a.App),
			slog.Uint64("requests", a.Requests), slog.Uint64("would_have_been_refused", a.Refusals), slog.Uint64("people", a.People),
			slog.Uint64("unmapped", a.Unmapped), slog.Uint64("unmapped_routes", a.Routes))
	}
	for _, r := range w.Rows[:min(len(w.Rows), reportRows)] {
		g.log.LogAttrs(ctx, slog.LevelInfo, "would have been refused", on, slog.String("application", r.App), slog.String("mode", r.Mode),
			slog.String("route", r.Route), slog.String("role", r.Role), slog.String("reason", r.Reason),
			slog.Uint64("requests", r.Requests), slog.Uint64("people", r.People))
	}
	if more := len(w.Rows) - reportRows; more > 0 {
		g.log.LogAttrs(ctx, slog.LevelInfo, "more would have been refused: see \"matron observe report\"", on, slog.Int("rows", more))
	}
	return nil
}
