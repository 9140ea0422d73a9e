package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/adt"
	"github.com/matron-epr/matron/policy/care/hl7"
	"github.com/matron-epr/matron/policy/care/mllp"
	"github.com/matron-epr/matron/policy/care/store"
)

func (p paths) care() string { return filepath.Join(p.dir, "care") }

const (
	// careLook is how often the state of the feeds is worked out anew.
	careLook = time.Second
	// careCount is after how many of these looks it is counted what the register holds
	// and told what was refused again and again.
	careCount = 60
	// careAgain is how long a store that cannot be opened is left alone.
	careAgain = 30 * time.Second
)

// careService is the register of who cares for whom and what fills it. nil where none
// is configured.
type careService struct {
	cfg      config.Care
	dir      string
	where    *time.Location
	register *care.Register
	feed     *adt.Feed
	identity *renewable // nil without a listener
	kinds    [sets][]string
	listener net.Listener // bound at the start; messages wait until the store is open. nil where none are to come in
	refusals *careRefusals
	fhir     *fhirFeed // nil where no FHIR server is asked
	metrics  *metrics
	log      *slog.Logger
	now      func() time.Time

	loaded atomic.Bool
	listed atomic.Bool // the lists could be read
	state  atomic.Pointer[careState]
	counts atomic.Pointer[care.Counts] // as of late
	mu     sync.Mutex
	store  *store.Store // guarded by mu; nil until it is open
}

// careState is how far the register can be relied on, as of late.
type careState struct {
	feed   policy.Feed
	asOf   time.Time // when a source was last heard of
	silent []string  // sources that have been silent for too long
	quiet  time.Time // when the one that has been silent longest was last heard of; asOf where none is
	failed bool      // the store cannot be opened
}

// openCare prepares the register where the configuration asks for one, and takes the
// port. What is on disk is read later, in the background: the gateway serves
// meanwhile.
func (g *Gateway) openCare(ctx context.Context) error {
	c := g.cfg.Care
	if !c.On() {
		return nil
	}
	reader, err := adt.New(adt.Config{Where: g.detection.location, Ward: c.WardComponent, NHS: c.NHSAuthorities})
	if err != nil {
		return err
	}
	s := &careService{
		kinds: kindsOf(), where: g.detection.location, cfg: c, dir: paths{g.cfg.DataDir}.care(), register: care.New(care.Windows{}),
		metrics: g.metrics, log: g.log, now: g.now,
	}
	s.refusals = newCareRefusals(g)
	s.feed = &adt.Feed{Reader: reader, Keeper: s, Register: s.register, Now: g.now}
	if s.fhir, err = newFHIRFeed(c.FHIR, s); err != nil {
		return err
	}
	s.useLists(ctx)
	s.state.Store(&careState{feed: policy.LoadingFeed})
	s.counts.Store(&care.Counts{})
	if err := s.listen(ctx); err != nil {
		return err
	}
	g.care = s
	return nil
}

// listen takes the port for HL7 messages, where they are to come in.
func (s *careService) listen(ctx context.Context) (err error) {
	if s.cfg.Listen == "" {
		return nil
	}
	if s.identity, err = newRenewable(s.cfg.CertificateFile, s.cfg.KeyFile, s.cfg.CAFile); err != nil {
		return err
	}
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", s.cfg.Listen); err != nil {
		return fmt.Errorf("listen for HL7 messages: %w", err)
	}
	return nil
}

// useLists reads the lists at the start. On error: the gateway starts all the same,
// since no list must keep a hospital from its records (GW-02); that nobody is known to
// work anywhere refuses nobody (GW-01).
func (s *careService) useLists(ctx context.Context) {
	lists, err := readCareLists(s.cfg, s.where)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "nobody knows who works where, and nobody is refused for want of a care relationship: mend the list and reload", slog.String("error", err.Error()))
		return
	}
	s.register.Use(lists)
	s.listed.Store(true)
}

// close gives back the port, where run has not begun.
func (s *careService) close() error {
	if s == nil || s.listener == nil {
		return nil
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// run reads the store, receives messages until ctx ends, and closes both. Care does
// not wait for it: what fails here is logged and shown, and nobody is refused for
// want of a relationship meanwhile (GW-01).
func (s *careService) run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	kept := s.open(ctx)
	if kept == nil {
		return nil
	}
	receiving, err := s.receive()
	if err != nil {
		return errors.Join(err, kept.Close())
	}
	var fetching sync.WaitGroup
	fetching.Go(func() { s.fhir.run(ctx) })
	tick := time.NewTicker(careLook)
	defer tick.Stop()
	for turn := 0; ctx.Err() == nil; turn++ {
		s.look()
		if turn%careCount == 0 {
			counts := s.register.Counts()
			s.counts.Store(&counts)
			s.refusals.tell(ctx)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	fetching.Wait()
	err = errors.Join(receiving.Close(), kept.Close())
	s.refusals.tell(context.WithoutCancel(ctx))
	return err
}

// receive takes in messages until it is closed.
func (s *careService) receive() (io.Closer, error) {
	if s.listener == nil {
		return io.NopCloser(nil), nil
	}
	listener, err := mllp.Listen(s.listener, s.mllp())
	if err != nil {
		return nil, fmt.Errorf("receive HL7 messages: %w", err)
	}
	return listener, nil
}

// open reads what is on disk, again and again until it can be read; nil once ctx has
// ended.
func (s *careService) open(ctx context.Context) *store.Store {
	for {
		began := s.now()
		kept, err := store.Open(ctx, store.Config{Dir: s.dir, Register: s.register, Now: s.now, Log: s.log})
		if err == nil {
			s.mu.Lock()
			s.store = kept
			s.mu.Unlock()
			s.fhir.recall(ctx)
			s.loaded.Store(true)
			s.look()
			s.log.LogAttrs(ctx, slog.LevelInfo, "register of care relationships is read",
				slog.Int("patients", s.register.Counts().Patients), slog.Duration("after", s.now().Sub(began)))
			return kept
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.LogAttrs(ctx, slog.LevelError, "the register of care relationships cannot be read; nobody is refused for want of one", slog.Any("error", err))
		s.state.Store(&careState{feed: policy.SilentFeed, failed: true})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(careAgain):
		}
	}
}

// mllp is what the listener needs.
func (s *careService) mllp() mllp.Config {
	c := mllp.Config{TLS: s.identity.server(), Handler: s, Observer: s.refusals, Now: s.now}
	for _, sender := range s.cfg.Senders {
		p := mllp.Peer{Name: sender.Certificate}
		for _, source := range sender.Sources {
			p.Senders = append(p.Senders, mllp.Sender{Application: source.Application, Facility: source.Facility})
		}
		c.Peers = append(c.Peers, p)
	}
	return c
}

// Handle implements mllp.Handler: a message counts at once.
func (s *careService) Handle(m *hl7.Message) error {
	if err := s.feed.Handle(m); err != nil {
		return err // counted where it is refused
	}
	s.metrics.care.WithLabelValues("accepted").Inc()
	if s.state.Load().feed != policy.CurrentFeed {
		s.look()
	}
	return nil
}

// Accept implements adt.Keeper.
func (s *careService) Accept(m care.Message) error {
	s.mu.Lock()
	kept := s.store
	s.mu.Unlock()
	return kept.Accept(m) // messages come in only once it is open
}

// look works out how far the register can be relied on.
func (s *careService) look() {
	if !s.loaded.Load() {
		return
	}
	now, state := s.now(), careState{feed: policy.CurrentFeed}
	if !s.listed.Load() {
		state.feed, state.silent = policy.SilentFeed, append(state.silent, "the lists of staff")
	}
	for _, f := range s.register.Feeds() {
		if f.Last.After(state.asOf) {
			state.asOf = f.Last
		}
	}
	state.quiet = state.asOf
	for _, f := range s.limited() {
		if now.Sub(f.last) > f.limit {
			state.feed, state.silent = policy.SilentFeed, append(state.silent, f.name)
			if f.last.Before(state.quiet) {
				state.quiet = f.last
			}
		}
	}
	if old := s.state.Swap(&state); old.feed != state.feed {
		s.changed(&state)
	}
}

// limitedSource is one that must not be silent for longer than limit.
type limitedSource struct {
	name  string
	last  time.Time // when it was last heard of, zero if never
	limit time.Duration
}

// limited are the sources that have a limit. Messages of any kind count for those that
// send; of a server that is asked only an answer that was whole.
func (s *careService) limited() []limitedSource {
	heard := map[string]time.Time{}
	for _, f := range s.register.Feeds() {
		heard[f.Source] = f.Last
	}
	var all []limitedSource
	add := func(name string, last time.Time, own *time.Duration) {
		limit := s.cfg.Silence
		if own != nil {
			limit = *own
		}
		if limit > 0 {
			all = append(all, limitedSource{name, last, limit})
		}
	}
	for _, sender := range s.cfg.Senders {
		for _, source := range sender.Sources {
			name := source.Application + "/" + source.Facility
			add(name, heard[name], source.Silence)
		}
	}
	if s.fhir != nil {
		add(s.cfg.FHIR.Base, s.fhir.heard(), s.cfg.FHIR.Silence)
	}
	return all
}

// changed records that what is decided rests on the register from now on, or no
// longer. On error: the log says that the record is missing; each decision tells the
// state as well.
func (s *careService) changed(state *careState) {
	ctx := context.Background()
	level := slog.LevelInfo
	if state.feed != policy.CurrentFeed {
		level = slog.LevelWarn
	}
	s.log.LogAttrs(ctx, level, "feed of care relationships", slog.String("state", string(state.feed)), slog.Any("silent", state.silent))
	rec := &audit.Record{
		Kind: audit.KindFeed, Time: s.now().UTC().Truncate(time.Microsecond), Outcome: audit.Success,
		Detail: []string{"feed=" + string(state.feed)},
	}
	if len(state.silent) > 0 {
		rec.Outcome, rec.Error = audit.MinorFailure, "feed-silent"
		rec.Detail = append(rec.Detail, "silent="+strings.Join(state.silent, ","))
	}
	rec.Bound()
	if err := s.refusals.journal.Add(rec); err != nil {
		s.log.LogAttrs(ctx, slog.LevelError, "state of a feed is not recorded", slog.Any("error", err))
	}
}

// reread reads the lists and certificates again and returns what puts them into use,
// so that nothing is half taken in.
func (s *careService) reread() (use func(), err error) {
	if s == nil {
		return func() {}, nil
	}
	lists, err := readCareLists(s.cfg, s.where)
	if err != nil {
		return nil, err
	}
	useLists := func() {
		s.register.Use(lists)
		s.listed.Store(true)
	}
	if s.identity == nil {
		return useLists, nil
	}
	identity, err := s.identity.read()
	if err != nil {
		return nil, err
	}
	return func() {
		useLists()
		s.identity.current.Store(identity)
	}, nil
}

// watchCare shows the register on /metrics.
func (g *Gateway) watchCare() {
	if g.care == nil {
		return
	}
	s := g.care
	for _, m := range []struct {
		name, help string
		value      func() float64
	}{
		{"matron_care_feed_current", "1 while decisions rest on the register of care relationships; 0 while it is read or a source is silent.", func() float64 { return truth(s.state.Load().feed == policy.CurrentFeed) }},
		{"matron_care_last_message_timestamp_seconds", "When a source was last heard of; 0 if never.", func() float64 { return stampOf(s.state.Load().asOf) }},
		{"matron_care_patients", "Patients in the register, as of the last minute.", func() float64 { return float64(s.counts.Load().Patients) }},
		{"matron_care_events", "Events of their visits, likewise.", func() float64 { return float64(s.counts.Load().Events) }},
		{"matron_care_conflicts_total", "Numbers of the hospital that came with somebody else's, likewise.", func() float64 { return float64(s.counts.Load().Conflicts) }},
	} {
		g.metrics.watch(m.name, m.help, m.value)
	}
	if s.fhir != nil {
		g.metrics.watch("matron_care_fhir_timestamp_seconds", "When the FHIR server was last asked for what has changed and told all of it; 0 if never.",
			func() float64 { return stampOf(s.fhir.heard()) })
	}
}

// stampOf is a time in seconds, 0 for none.
func stampOf(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// health tells the pages how the register is.
func (s *careService) health() dashboards.Care {
	if s == nil {
		return dashboards.Care{}
	}
	state := s.state.Load()
	return dashboards.Care{
		Set: true, Loading: state.feed == policy.LoadingFeed, Failed: state.failed, Silent: state.silent, AsOf: state.quiet,
		Patients: s.counts.Load().Patients,
	}
}

// check is the register's line of /readyz, which does not depend on it.
func (s *careService) check() check {
	c := check{Name: "care relationships (not required)", OK: true, Note: "not set up"}
	if s == nil {
		return c
	}
	state := s.state.Load()
	c.OK, c.Note = state.feed == policy.CurrentFeed, string(state.feed)
	return c
}
