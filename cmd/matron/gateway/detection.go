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
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/clickhouse"
	"github.com/matron-epr/matron/audit/detect"
	scoring "github.com/matron-epr/matron/audit/detect/cases"
	"github.com/matron-epr/matron/audit/detect/explain"
	"github.com/matron-epr/matron/audit/detect/learn"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
)

// WeightsFolder is where the versions of the weights are kept, in the data folder and
// beside the cases of a run.
const WeightsFolder = "weights"

const (
	// lookBack is how much of the record is asked about when nothing says what was seen.
	lookBack = 24 * time.Hour
	// learnBack is over how long the record is measured when detection begins.
	learnBack = 7 * 24 * time.Hour
	// pageRows is how many accesses are taken in at a time.
	pageRows = 20_000
	// tickRecords bounds how many records of each source one look goes over, and
	// learnRows how many accesses of one day are measured.
	tickRecords, learnRows = 400_000, 2_000_000
	// markEvery is how often it is kept what was seen. A restart goes on from the
	// mark before the last, so that what goes together is seen together.
	markEvery = 30 * time.Minute
	// anewAt is the hour of the night at which everything is measured anew, so that
	// nothing is kept that the record does not say.
	anewAt = 3
	// askedBefore is how many alerts are remembered over a restart.
	askedBefore = 10_000
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
	behind   atomic.Int64 // unix microseconds up to which it has come while it is behind, else 0
	missing  missing

	// Of the one goroutine that looks:
	context feeds.Context
	scoring scoring.Scoring
	site    []explain.SiteTemplate
	live    *detect.Live // nil until the record was measured
	begun   time.Time    // when it was
	unsaved []detect.Alert
	marks   map[string]uint64 // last sequence number of each source
	before  map[string]uint64 // marks when they were kept last
	kept    time.Time
	files   string // size and age of the files of the feeds
	changed string // the same, as they were found changed
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
	if d.site, err = SiteTemplates(c.Detection); err != nil {
		return nil, err
	}
	if d.context, err = d.read(); err != nil {
		return nil, err
	}
	d.tell(explain.New(explain.Config{Location: location, Site: d.site}, d.context))
	d.scoring = scoring.DefaultScoring()
	d.marks = d.readMarks()
	d.before, d.kept = maps.Clone(d.marks), now()
	return d, nil
}

// tell puts what the feeds say where pages ask for it.
func (d *detection) tell(engine *explain.Engine) {
	d.told.Store(&told{d.context, firstWards(d.context.Staff), engine})
}

// run detects at each interval until ctx ends.
func (d *detection) run(ctx context.Context) error {
	d.weigh(ctx)
	d.note("started")
	wait := d.cfg.Detection.Every
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		d.reread(ctx)
		d.weigh(ctx)
		more, err := d.detect(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.LogAttrs(ctx, slog.LevelWarn, "detection did not run", slog.String("error", err.Error()))
		}
		if wait = d.cfg.Detection.Every; more {
			wait = min(wait, time.Second) // it is behind
		}
	}
}

// note records that detection runs, with what, and over whom: everybody. On error
// it runs all the same, since a journal that takes no record lets no request
// through either.
func (d *detection) note(what string) {
	detail := []string{"detection=live", "state=" + what, "detectors=" + strings.Join(detect.Versions(), ","), "by=gateway"}
	detail = append(detail, "weights="+strconv.Itoa(d.scoring.Version))
	detail = append(detail, FeedsUsed(d.context)...)
	if err := d.record(&audit.Record{Time: d.now(), Kind: audit.KindDetection, Detail: detail}); err != nil {
		d.log.LogAttrs(context.Background(), slog.LevelError, "detection is not recorded", slog.String("error", err.Error()))
	}
}

// reread takes in feeds that have changed and that nobody is writing any more. When
// one cannot be read, what was told before stays.
func (d *detection) reread(ctx context.Context) {
	state := feedFilesState(d.cfg.Detection)
	if state == d.files {
		return
	}
	if state != d.changed {
		d.changed = state
		return
	}
	d.files = state
	fresh, err := d.read()
	if err != nil {
		d.log.LogAttrs(ctx, slog.LevelError, "feeds have changed and cannot be read: the ones before stay", slog.String("error", err.Error()))
		return
	}
	d.context = fresh
	if d.live == nil {
		d.tell(explain.New(explain.Config{Location: d.location, Site: d.site}, fresh))
	} else {
		d.live.Tell(fresh)
		d.tell(d.live.Engine())
	}
	d.note("feeds-read")
}

// weights are those that somebody has turned on.
func (d *detection) weights() (scoring.Scoring, error) {
	active, err := learn.Folder(filepath.Join(d.cfg.DataDir, WeightsFolder)).Active()
	return active.Apply(scoring.DefaultScoring()), err
}

// weigh takes in other weights. When they cannot be read, those before stay.
func (d *detection) weigh(ctx context.Context) {
	fresh, err := d.weights()
	switch {
	case err != nil:
		d.log.LogAttrs(ctx, slog.LevelError, "weights cannot be read: the ones before stay", slog.String("error", err.Error()))
	case fresh.Version != d.scoring.Version:
		d.scoring = fresh
		if d.live != nil {
			d.live.Weigh(fresh)
			d.note("weights-read")
		}
	}
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

// caughtUpTo is up to when accesses were looked at while detection is behind, else
// zero.
func (d *detection) caughtUpTo() time.Time {
	if at := d.behind.Load(); at > 0 {
		return time.UnixMicro(at)
	}
	return time.Time{}
}

// detect looks at what is new. more says that there is more than one look takes in.
func (d *detection) detect(ctx context.Context) (more bool, err error) {
	began := d.now()
	store, err := d.office.open()
	if err != nil {
		return false, err
	}
	if d.live == nil || began.After(d.anew()) {
		if err := d.measure(ctx, store, began); err != nil {
			return false, err
		}
	}
	ahead, err := store.Ahead(ctx, d.marks, began.Add(-lookBack))
	if err != nil {
		return false, err
	}
	read, upTo, more := stretches(ahead, d.marks)
	var newest time.Time
	page := d.pages(func(records []audit.Record) {
		for i := range records {
			if at := records[i].Time; at.After(newest) {
				newest = at
			}
		}
		d.count(d.live.Take(records, began))
	})
	if err := store.Follow(ctx, d.cfg.Site, read, page.add); err != nil {
		d.live = nil // what was taken in of the page is measured anew
		return false, err
	}
	page.end()
	d.marks = upTo
	if err := d.ask(ctx, d.live.Look(began)); err != nil {
		return false, err
	}
	d.tellBehind(more, newest)
	if !more {
		d.done.Store(began.UnixMicro())
	}
	return more, d.keepMarks(began)
}

// stretches says which records one look reads, so that it is bounded whatever has
// come: of each source those behind its mark, with an overlap, up to upTo. more says
// that others stay for the next look.
func stretches(ahead map[string]clickhouse.Stretch, marks map[string]uint64) (read map[string]clickhouse.Stretch, upTo map[string]uint64, more bool) {
	read, upTo = map[string]clickhouse.Stretch{}, maps.Clone(marks)
	for source, one := range ahead {
		mark, known := marks[source]
		if !known {
			mark = one.After
		}
		upTo[source] = min(one.UpTo, mark+tickRecords)
		more = more || upTo[source] < one.UpTo
		read[source] = clickhouse.Stretch{After: mark - min(mark, detect.Overlap), UpTo: upTo[source]}
	}
	return read, upTo, more
}

// tellBehind says up to when accesses were looked at, while there are more.
func (d *detection) tellBehind(more bool, newest time.Time) {
	at := int64(0)
	if more && !newest.IsZero() {
		at = newest.UnixMicro()
	}
	d.behind.Store(at)
	d.metrics.detectedTo.Set(float64(at) / 1e6)
}

// pages gathers accesses into pages.
type pages struct {
	rows []audit.Record
	take func([]audit.Record)
}

func (*detection) pages(take func([]audit.Record)) *pages { return &pages{take: take} }

func (p *pages) add(r *audit.Record) {
	if p.rows = append(p.rows, *r); len(p.rows) == pageRows {
		p.end()
	}
}

func (p *pages) end() {
	p.take(p.rows)
	p.rows = p.rows[:0]
}

// anew is when everything is measured anew.
func (d *detection) anew() time.Time {
	y, m, day := d.begun.In(d.location).Date()
	at := time.Date(y, m, day, anewAt, 0, 0, 0, d.location)
	if !at.After(d.begun) {
		at = time.Date(y, m, day+1, anewAt, 0, 0, 0, d.location)
	}
	return at
}

// measure goes over the last days of the record, up to where it was asked about, so
// that what is new is set against it. It asks nothing.
func (d *detection) measure(ctx context.Context, store *clickhouse.Store, now time.Time) error {
	live := detect.NewLive(detect.Config{Site: d.cfg.Site, Location: d.location, Explain: d.site, Budget: d.cfg.Detection.Budget}, d.context)
	y, m, day := now.Add(-learnBack).In(d.location).Date()
	from := time.Date(y, m, day, 0, 0, 0, 0, d.location)
	live.Weigh(d.scoring)
	if last, since, err := store.LastSeen(ctx, d.cfg.Site, from); err == nil {
		live.Seen(since, last)
	} else {
		d.log.LogAttrs(ctx, slog.LevelWarn, "who was seen before this week is not known: accounts that were silent for long are not asked about", slog.String("error", err.Error()))
	}
	for ; from.Before(now); from = from.AddDate(0, 0, 1) {
		end := from.AddDate(0, 0, 1)
		if end.After(now) {
			end = now
		}
		rows := 0
		page := d.pages(func(records []audit.Record) { live.Remember(records, end) })
		err := store.Recall(ctx, d.cfg.Site, from, end, d.marks, func(r *audit.Record) {
			_, known := d.marks[r.Source]
			if rows++; rows <= learnRows && (known || r.Time.Before(now.Add(-lookBack))) {
				page.add(r)
			}
		})
		if err != nil {
			return err
		}
		page.end()
		live.Learn(end)
		if rows > learnRows {
			d.log.LogAttrs(ctx, slog.LevelWarn, "a day has more accesses than are measured", slog.Int("accesses", rows))
		}
	}
	alerts, err := d.store.List(ctx, askedBefore, "")
	if err != nil {
		return err
	}
	live.Asked(alerts)
	d.live, d.begun = live, now
	d.tell(live.Engine())
	return nil
}

// count keeps count of what became of accesses.
func (d *detection) count(t detect.Taken) {
	d.metrics.looked.WithLabelValues("looked-at").Add(float64(t.Accesses))
	d.metrics.looked.WithLabelValues("out-of-time").Add(float64(t.OutOfTime))
	d.metrics.looked.WithLabelValues("too-many").Add(float64(t.TooMany))
}

// ask stores the alerts of one look, with those that could not be stored before.
func (d *detection) ask(ctx context.Context, r detect.Result) error {
	d.metrics.held.Add(float64(r.Held))
	d.notEvaluated(ctx, r.NotEvaluated)
	now := d.now().UTC()
	for i := range r.Alerts {
		r.Alerts[i].Raised = now
	}
	d.unsaved = append(d.unsaved, r.Alerts...)
	fresh, err := d.store.Put(ctx, d.unsaved)
	if err != nil {
		return err
	}
	d.unsaved = nil
	for i := range fresh {
		d.metrics.asked.Observe(d.now().Sub(fresh[i].Made).Seconds())
	}
	d.metrics.alerts.Add(float64(len(fresh)))
	return nil
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
