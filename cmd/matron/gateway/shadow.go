package gateway

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/replay"
	"github.com/matron-epr/matron/policy/rego"
)

// shadow asks each decision again of a candidate for the rules, from the index and
// so never on the way of a request, and counts what the candidate would change. It
// decides nothing (GW-11).
type shadow struct {
	candidate atomic.Pointer[candidate] // nil without one; replaced by try
	timeout   time.Duration
	decisions func(ctx context.Context, q audit.Query, visit func(*audit.Record) error) error
	wards     replay.Wards
	site      string
	metrics   *metrics
	log       *slog.Logger
	now       func() time.Time
	of        *candidate // whom asked is about
	asked     time.Time  // decisions before have been asked about
	known     map[string]bool
}

// candidate is what is asked about decisions since a time.
type candidate struct {
	rules *rego.Engine
	since time.Time
}

const (
	// shadowEvery is how often the candidate is asked.
	shadowEvery = time.Minute
	// shadowAfter is when a decision can surely be found in the index.
	shadowAfter = 30 * time.Second
	// shadowNews bounds what one candidate writes into the log.
	shadowNews = 200
)

// openShadow compiles the candidate. One that is at fault does not hinder the start:
// what is in force does not depend on it.
func (g *Gateway) openShadow(ctx context.Context) error {
	g.shadow = &shadow{
		decisions: index{g.office}.Decisions, wards: wardsOf(g.detection.told.Load().context.Staff), site: g.cfg.Site, timeout: g.cfg.Policy.Timeout, metrics: g.metrics, log: g.log, now: g.now,
		known: map[string]bool{},
	}
	if g.cfg.Policy.Candidate == "" {
		return nil
	}
	if err := g.shadow.try(ctx, g.cfg.Policy.Candidate); err != nil {
		g.log.LogAttrs(ctx, slog.LevelError, "the candidate policy is not tried", slog.String("error", err.Error()))
	}
	return nil
}

// try makes the rules in dir the candidate from now on.
func (s *shadow) try(ctx context.Context, dir string) error {
	rules, err := rego.New(ctx, rego.Config{Dir: dir, Timeout: s.timeout, Now: s.now})
	if err != nil {
		return err
	}
	s.candidate.Store(&candidate{rules, s.now()})
	s.log.LogAttrs(ctx, slog.LevelInfo, "the candidate policy is tried on what is decided from now on", slog.String("candidate", rules.Revision()))
	return nil
}

// run asks the candidate each minute until ctx ends.
func (s *shadow) run(ctx context.Context) error {
	tick := time.NewTicker(shadowEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.ask(ctx); err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "the candidate policy waits for ClickHouse, and goes on where it stopped", slog.String("error", err.Error()))
		}
	}
}

// ask asks about what was decided since it last did. After an error the same time is
// asked about again, so that nothing is left out.
func (s *shadow) ask(ctx context.Context) error {
	c := s.candidate.Load()
	if c == nil {
		return nil
	}
	if c != s.of { // it is asked about what comes after it
		s.of, s.asked = c, c.since
	}
	to := s.now().Add(-shadowAfter)
	if !s.asked.Before(to) {
		return nil
	}
	q := audit.Query{Site: s.site, From: s.asked, To: to}
	r, err := replay.Run(ctx, func(ctx context.Context, visit func(*audit.Record) error) error { return s.decisions(ctx, q, visit) }, c.rules, s.wards)
	if err != nil {
		return err
	}
	s.asked = to
	s.metrics.candidate.WithLabelValues("asked").Add(float64(r.Decisions))
	s.metrics.candidate.WithLabelValues("newly_denied").Add(float64(r.NewlyDenied))
	s.metrics.candidate.WithLabelValues("newly_allowed").Add(float64(r.NewlyAllowed))
	for _, g := range r.Groups {
		s.tell(ctx, g)
	}
	return nil
}

// tell logs each kind of change once.
func (s *shadow) tell(ctx context.Context, g replay.Group) {
	key := g.Was + "|" + g.Now + "|" + g.Roles + "|" + g.Ward + "|" + g.App + "|" + g.Route + "|" + g.Action + "|" + g.Area + "|" + g.Because
	if s.known[key] || len(s.known) >= shadowNews {
		return
	}
	s.known[key] = true
	s.log.LogAttrs(ctx, slog.LevelWarn, "the candidate policy would decide otherwise: see \"matron policy replay\"",
		slog.String("before", g.Was), slog.String("candidate", g.Now), slog.String("roles", g.Roles), slog.String("ward", g.Ward), slog.String("application", g.App),
		slog.String("route", g.Route), slog.String("action", g.Action), slog.String("area", g.Area), slog.String("because", g.Because))
}

// Decisions asks ClickHouse.
func (i index) Decisions(ctx context.Context, q audit.Query, visit func(*audit.Record) error) error {
	store, err := i.office.open()
	if err != nil {
		return err
	}
	return store.Decisions(ctx, q, visit)
}
