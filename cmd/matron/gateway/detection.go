package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
)

const (
	// lookBack is how much of the record counts when nothing says what was seen.
	lookBack = 24 * time.Hour
	// pageRows is how many accesses are read at a time.
	pageRows = 5000
	// overlap is how many records before the last one are read again: rows that
	// were missing are put in later.
	overlap = 500
	// markEvery is how often it is kept what was seen. A restart goes on from the
	// mark before the last, so that what goes together is seen together.
	markEvery = 30 * time.Minute
)

// detection looks at accesses as they become searchable. It never holds up an
// exchange.
type detection struct {
	cfg      config.Config
	office   *backOffice
	store    *cases.Store
	metrics  *metrics
	record   func(...*audit.Record) error
	log      *slog.Logger
	now      func() time.Time
	location *time.Location
	hash     feeds.Hasher
	names    *names
	told     atomic.Pointer[told]
	done     atomic.Int64 // unix microseconds of the last run that ended well
	missing  missing

	// Of the one goroutine that looks:
	live   *detect.Live
	marks  map[string]uint64 // last sequence number of each source
	before map[string]uint64 // marks when they were kept last
	kept   time.Time
	files  string // size and age of the files of the feeds
}

// told is what the hospital has told, and what it explains.
type told struct {
	context feeds.Context
	wards   map[string]string // where each person works first of all
	engine  *explain.Engine
}

func newDetection(c config.Config, o *backOffice, s *cases.Store, m *metrics, record func(...*audit.Record) error, log *slog.Logger, now func() time.Time) (*detection, error) {
	location, err := time.LoadLocation("Europe/London")
	if err != nil {
		return nil, fmt.Errorf("time zone: %w", err)
	}
	d := &detection{
		cfg: c, office: o, store: s, metrics: m, record: record, log: log, now: now, location: location,
		files: feedFilesState(c.Detection), names: newNames(index{o}),
	}
	key, err := readKey(paths{c.DataDir}.matchKey())
	if err != nil {
		return nil, err
	}
	if d.hash, err = feeds.NewHasher(key); err != nil {
		return nil, err
	}
	known, err := d.read()
	if err != nil {
		return nil, err
	}
	site, err := SiteTemplates(c.Detection)
	if err != nil {
		return nil, err
	}
	d.live = detect.NewLive(detect.Config{Location: location, Site: site}, known)
	d.told.Store(&told{known, firstWards(known.Staff), d.live.Engine()})
	d.marks = d.readMarks()
	d.before, d.kept = maps.Clone(d.marks), now()
	return d, nil
}

// run detects at each interval until ctx ends.
func (d *detection) run(ctx context.Context) error {
	d.note("started")
	tick := time.NewTicker(d.cfg.Detection.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		d.reread(ctx)
		if err := d.detect(ctx); err != nil && ctx.Err() == nil {
			d.log.LogAttrs(ctx, slog.LevelWarn, "detection did not run", slog.String("error", err.Error()))
		}
	}
}

// note records that detection runs, with what, and over whom: everybody. On error
// it runs all the same, since a journal that takes no record lets no request
// through either.
func (d *detection) note(what string) {
	detail := []string{"detection=live", "state=" + what, "detectors=" + strings.Join(detect.Versions(), ","), "by=gateway"}
	if err := d.record(&audit.Record{Time: d.now(), Kind: audit.KindDetection, Detail: detail}); err != nil {
		d.log.LogAttrs(context.Background(), slog.LevelError, "detection is not recorded", slog.String("error", err.Error()))
	}
}

// reread takes in feeds that have changed. When one cannot be read, what was told
// before stays.
func (d *detection) reread(ctx context.Context) {
	state := feedFilesState(d.cfg.Detection)
	if state == d.files {
		return
	}
	d.files = state
	fresh, err := d.read()
	if err != nil {
		d.log.LogAttrs(ctx, slog.LevelError, "feeds have changed and cannot be read: the ones before stay", slog.String("error", err.Error()))
		return
	}
	d.live.Tell(fresh)
	d.told.Store(&told{fresh, firstWards(fresh.Staff), d.live.Engine()})
	d.note("feeds-read")
}

// feedFilesState changes when a file of the feeds does.
func feedFilesState(c config.Detection) string {
	var b strings.Builder
	for _, path := range []string{c.Staff, c.Rota, c.Patients, c.Care, c.Devices} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%d %d\n", info.Size(), info.ModTime().UnixNano())
		} else {
			b.WriteString("none\n")
		}
	}
	return b.String()
}

// finished is when detection last ended well.
func (d *detection) finished() time.Time {
	if at := d.done.Load(); at > 0 {
		return time.UnixMicro(at)
	}
	return time.Time{}
}

// detect looks at what is new.
func (d *detection) detect(ctx context.Context) error {
	began := d.now()
	store, err := d.office.open()
	if err != nil {
		return err
	}
	for {
		limit, after := pageRows+overlap*len(d.marks), map[string]uint64{}
		for source, seq := range d.marks {
			after[source] = seq - min(seq, overlap)
		}
		records, err := store.Since(ctx, after, began.Add(-lookBack), limit)
		if err != nil {
			return err
		}
		advanced, err := d.look(ctx, records)
		if err != nil {
			return err
		}
		if !advanced || len(records) < limit {
			break
		}
	}
	d.done.Store(began.UnixMicro())
	return d.keepMarks(began)
}

// look asks about what records say and says whether any was new.
func (d *detection) look(ctx context.Context, records []audit.Record) (advanced bool, err error) {
	result := d.live.Look(records)
	fresh, err := d.store.Put(ctx, result.Alerts)
	if err != nil {
		return false, err
	}
	now := d.now()
	for _, a := range fresh {
		d.metrics.asked.Observe(now.Sub(a.Made).Seconds())
	}
	d.metrics.alerts.Add(float64(len(fresh)))
	d.notEvaluated(ctx, result.NotEvaluated)
	for i := range records {
		if r := &records[i]; r.Seq > d.marks[r.Source] {
			d.marks[r.Source], advanced = r.Seq, true
		}
	}
	return advanced, nil
}

// notEvaluated says once which detectors cannot be evaluated, and since when.
func (d *detection) notEvaluated(ctx context.Context, now []detect.Missing) {
	begun, ended := d.missing.are(now, d.now())
	for _, u := range begun {
		d.metrics.unjudged.WithLabelValues(u.Detector).Set(float64(u.Since.Unix()))
		d.log.LogAttrs(ctx, slog.LevelWarn, "detector is not evaluated", slog.String("detector", u.Detector), slog.String("reason", u.Reason))
	}
	for _, id := range ended {
		d.metrics.unjudged.DeleteLabelValues(id)
		d.log.LogAttrs(ctx, slog.LevelInfo, "detector is evaluated again", slog.String("detector", id))
	}
}

// readMarks says what was seen before a restart. Without it the last day counts as
// new, which leads to no question twice.
func (d *detection) readMarks() map[string]uint64 {
	marks := map[string]uint64{}
	b, err := os.ReadFile(paths{d.cfg.DataDir}.detectionMarks())
	if err == nil {
		err = json.Unmarshal(b, &marks)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.LogAttrs(context.Background(), slog.LevelWarn, "what detection has seen is not known: it looks at the last day again", slog.String("error", err.Error()))
	}
	if err != nil || marks == nil {
		return map[string]uint64{}
	}
	return marks
}

// keepMarks keeps what was seen when the marks were kept last.
func (d *detection) keepMarks(now time.Time) error {
	if now.Sub(d.kept) < markEvery && now.After(d.kept) {
		return nil
	}
	b, err := json.Marshal(d.before)
	if err != nil {
		return fmt.Errorf("keep what detection has seen: %w", err)
	}
	path := paths{d.cfg.DataDir}.detectionMarks()
	if len(d.before) > 0 {
		if err := errors.Join(os.WriteFile(path+".new", b, 0o600), os.Rename(path+".new", path)); err != nil {
			return fmt.Errorf("keep what detection has seen: %w", err)
		}
	}
	d.before, d.kept = maps.Clone(d.marks), now
	return nil
}

// explain says in sentences what explains a look at a record.
func (d *detection) explain(l dashboards.Look) []dashboards.Ground {
	var out []dashboards.Ground
	a := explain.Access{Person: l.Person, Patient: l.Patient, Device: l.Device, At: l.At, Wrote: l.Wrote}
	for _, e := range d.told.Load().engine.Explain(a) {
		if e.Strength == explain.Strong {
			out = append(out, dashboards.Ground{Reviewer: e.Sentence, Patient: e.ForPatient})
		}
	}
	return out
}

// hospitalNumber finds a patient of the patient list by NHS number.
func (d *detection) hospitalNumber(nhsNumber string) string {
	return d.hash.Find(d.told.Load().context.Patients, nhsNumber)
}

// firstWards are where people work first of all.
func firstWards(staff []feeds.Staff) map[string]string {
	wards := map[string]string{}
	for _, s := range staff {
		if len(s.Wards) > 0 && wards[s.Person] == "" {
			wards[s.Person] = s.Wards[0]
		}
	}
	return wards
}
