package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/cases"
	"github.com/matron-epr/matron/audit/detect"
	"github.com/matron-epr/matron/audit/feeds"
	"github.com/matron-epr/matron/cmd/matron/config"
)

const (
	// lookBack is how much of the record each run looks at.
	lookBack = 24 * time.Hour
	// pageRows is how many accesses are read at a time.
	pageRows = 5000
	// maxRows bounds one run.
	maxRows = 500_000
)

// detection runs the detectors over the newest accesses. It never holds up an
// exchange: it reads what has become searchable.
type detection struct {
	cfg      config.Config
	office   *backOffice
	store    *cases.Store
	raised   prometheus.Counter
	log      *slog.Logger
	now      func() time.Time
	location *time.Location
	context  feeds.Context
	wards    map[string]string // where each person works first of all
	hash     feeds.Hasher
	explains *detect.Explainer
	names    *names
	done     atomic.Int64 // unix microseconds of the last run that ended well
}

func newDetection(c config.Config, o *backOffice, s *cases.Store, raised prometheus.Counter, log *slog.Logger, now func() time.Time) (*detection, error) {
	location, err := time.LoadLocation("Europe/London")
	if err != nil {
		return nil, fmt.Errorf("time zone: %w", err)
	}
	d := &detection{cfg: c, office: o, store: s, raised: raised, log: log, now: now, location: location}
	key, err := readKey(paths{c.DataDir}.matchKey())
	if err != nil {
		return nil, err
	}
	if d.context, err = d.read(key); err != nil {
		return nil, err
	}
	d.wards = firstWards(d.context.Staff)
	d.explains = detect.NewExplainer(detect.Config{Location: location}, d.context)
	d.names = newNames(index{o})
	return d, nil
}

// run detects at each interval until ctx ends.
func (d *detection) run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Detection.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := d.detect(ctx); err != nil && ctx.Err() == nil {
			d.log.LogAttrs(ctx, slog.LevelWarn, "detection did not run", slog.String("error", err.Error()))
		}
	}
}

// finished is when detection last ended well.
func (d *detection) finished() time.Time {
	if at := d.done.Load(); at > 0 {
		return time.UnixMicro(at)
	}
	return time.Time{}
}

func (d *detection) detect(ctx context.Context) error {
	began := d.now()
	records, err := d.accesses(ctx, began.Add(-lookBack))
	if err != nil {
		return err
	}
	result := detect.Run(detect.Config{Location: d.location}, d.context, records)
	added, err := d.store.Put(ctx, result.Alerts)
	if err != nil {
		return err
	}
	d.raised.Add(float64(added))
	d.done.Store(began.UnixMicro())
	return nil
}

func (d *detection) accesses(ctx context.Context, since time.Time) ([]audit.Record, error) {
	store, err := d.office.open()
	if err != nil {
		return nil, err
	}
	var records []audit.Record
	q := audit.Query{From: since, Limit: pageRows}
	for len(records) < maxRows {
		page, err := store.Accesses(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, a := range page {
			records = append(records, a.Record)
		}
		if len(page) < pageRows {
			return records, nil
		}
		oldest := page[len(page)-1]
		q.Before = audit.Place{Time: oldest.Time, Source: oldest.Source, Seq: oldest.Seq}
	}
	d.log.LogAttrs(ctx, slog.LevelWarn, "detection looked at the newest accesses only", slog.Int("accesses", maxRows))
	return records, nil
}

// explain says in sentences what could explain an access.
func (d *detection) explain(person, patient string, at time.Time) []string {
	var out []string
	for _, e := range d.explains.Explain(person, patient, at) {
		out = append(out, e.Sentence)
	}
	return out
}

// hospitalNumber finds a patient of the patient list by NHS number.
func (d *detection) hospitalNumber(nhsNumber string) string {
	return d.hash.Find(d.context.Patients, nhsNumber)
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
