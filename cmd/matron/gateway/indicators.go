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
	"time"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/hazardlog/evidence"
)

const (
	keptFormat = "matron-measurements/1"
	// looksFor is for how long looks are kept: as long as the longest window of an
	// indicator that is made of them.
	looksFor = 31 * 24 * time.Hour
	// measureAgain is how soon it is tried again after a start, until the searchable
	// copy of the record answers.
	measureAgain = 5 * time.Second
)

func (p paths) measurements() string { return filepath.Join(p.dir, "measurements.json") }

// kept is what was measured last, in a file: a restart knows it.
type kept struct {
	Format   string                          `json:"format"`
	Measured map[string]evidence.Measurement `json:"measured"` // by indicator
	Looks    []look                          `json:"looks"`    // the oldest first
	// Running is what ran then: it costs nothing to look up, as the journal does.
	Running hazardlog.Baseline `json:"running"`
	// Contradicted are the controls that were when it was last looked, so that
	// each contradiction asks for a review once.
	Contradicted []string `json:"contradicted,omitempty"`
}

// look is what the gateway knew of itself at one moment; what is counted is since
// the look before.
type look struct {
	At          time.Time `json:"at"`
	DiskUsed    float64   `json:"disk_used"` // 0 to 1
	DiskKnown   bool      `json:"disk_known"`
	Reserve     bool      `json:"reserve"` // records went to the reserve or the second place
	Exchanges   float64   `json:"exchanges"`
	NotRecorded float64   `json:"not_recorded"` // exchanges refused since their record was not durable
	Compared    bool      `json:"compared"`     // the rows had been counted since the start
	RowFaults   float64   `json:"row_faults"`   // missing, double or beyond the journal
}

// readKept reads what was measured last. A file that says nothing is as none: what
// is in it is measured again.
func readKept(path string) (kept, error) {
	empty := kept{Format: keptFormat, Measured: map[string]evidence.Measurement{}}
	text, err := os.ReadFile(path) //nolint:gosec // below the data folder
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	var k kept
	if err := json.Unmarshal(text, &k); err != nil || k.Format != keptFormat || k.Measured == nil {
		return empty, fmt.Errorf("%s says nothing that can be read: what is in it is measured again", path)
	}
	return k, nil
}

func (k *kept) write(path string) error {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(text, '\n'))
}

// indicators measures the safety performance indicators of the hazard log.
type indicators struct {
	g    *Gateway
	kept kept
	// The counters at the last look, of this run.
	exchanges, notRecorded, rowFaults float64
}

// measureIndicators measures at each interval until ctx ends, and once more then, so
// that what was counted since is not lost.
func (g *Gateway) measureIndicators(ctx context.Context) error {
	m := indicators{g: g}
	var err error
	if m.kept, err = readKept(paths{g.cfg.DataDir}.measurements()); err != nil {
		g.log.LogAttrs(ctx, slog.LevelWarn, "indicators begin anew", slog.String("error", err.Error()))
	}
	m.publish()
	m.save(ctx)
	for {
		wait := g.cfg.HazardLog.MeasureEvery
		if !m.measure(ctx) {
			wait = min(wait, measureAgain)
		}
		select {
		case <-ctx.Done():
			m.look()
			m.save(context.WithoutCancel(ctx))
			return nil
		case <-time.After(wait):
		}
	}
}

// measure measures all of them, and reports whether the searchable copy answered.
func (m *indicators) measure(ctx context.Context) bool {
	store, err := m.g.office.open()
	if err != nil || m.g.office.status().Lag > 0 && m.g.office.indexedTo().IsZero() {
		return false
	}
	definitions, err := evidence.Definitions()
	if err != nil {
		m.g.log.LogAttrs(ctx, slog.LevelError, "indicators are not measured", slog.String("error", err.Error()))
		return true
	}
	m.look()
	now := m.g.now()
	for _, d := range definitions {
		var got evidence.Measurement
		switch read := m.readings()[d.Reading]; {
		case d.Query != "":
			var sample uint64
			if got.Value, sample, err = store.Measure(ctx, d.Query, now.Add(-d.Window()), now); err != nil {
				m.failed(ctx, d, err)
				continue
			}
			got.Sample = int(min(sample, 1<<53))
		case read != nil:
			if got, err = read(ctx, d); err != nil {
				m.failed(ctx, d, err)
				continue
			}
		default:
			continue
		}
		got.At = now.UTC().Truncate(time.Second)
		m.kept.Measured[d.ID] = got
	}
	if ctx.Err() == nil {
		m.askForReviews(ctx)
		m.publish()
		m.save(ctx)
	}
	return true
}

// publish shows what was measured to pages.
func (m *indicators) publish() {
	shown := kept{Measured: m.kept.measured()}
	m.g.measured.Store(&shown)
}

// failed leaves what was measured last in its place, which goes stale.
func (m *indicators) failed(ctx context.Context, d evidence.Definition, err error) {
	if ctx.Err() == nil {
		m.g.log.LogAttrs(ctx, slog.LevelWarn, "indicator is not measured", slog.String("indicator", d.ID), slog.String("error", err.Error()))
	}
}

func (m *indicators) save(ctx context.Context) {
	m.kept.Running = m.g.running()
	if err := m.kept.write(paths{m.g.cfg.DataDir}.measurements()); err != nil {
		m.g.log.LogAttrs(ctx, slog.LevelError, "measured indicators are not kept", slog.String("error", err.Error()))
	}
}

// look adds a look.
func (m *indicators) look() {
	now := m.g.now()
	disk, stats, status := m.g.disk.State(), m.g.journal.Stats(), m.g.office.status()
	exchanges, notRecorded, err := m.g.metrics.sums("not-recorded")
	if err != nil { // nothing is counted now, all of it the next time
		m.g.log.LogAttrs(context.Background(), slog.LevelWarn, "metrics cannot be read", slog.String("error", err.Error()))
		exchanges, notRecorded = m.exchanges, m.notRecorded
	}
	faults := float64(status.Missing + status.Duplicates)
	if status.Beyond > 0 {
		faults++
	}
	l := look{
		At: now.UTC().Truncate(time.Second), DiskUsed: disk.Used, DiskKnown: disk.Known, Reserve: stats.Second || stats.Emergency,
		Exchanges: exchanges - m.exchanges, NotRecorded: notRecorded - m.notRecorded,
		Compared: !status.LastReconcile.IsZero(), RowFaults: max(0, faults-m.rowFaults),
	}
	m.exchanges, m.notRecorded, m.rowFaults = exchanges, notRecorded, faults
	var recent []look
	for _, old := range m.kept.Looks {
		if now.Sub(old.At) < looksFor {
			recent = append(recent, old)
		}
	}
	m.kept.Looks = append(recent, l)
}

// measured is a copy of what was measured last.
func (k kept) measured() map[string]evidence.Measurement { return maps.Clone(k.Measured) }
