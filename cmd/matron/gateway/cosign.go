package gateway

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/audit/witness"
	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/dashboards"
)

const (
	// cosignEvery is how often witnesses are asked.
	cosignEvery = time.Second
	// cosignLate is for how long a quorum may be missing before that is a fault.
	cosignLate = time.Minute
)

// cosigning has outsiders cosign the checkpoints, so that the record cannot be
// rewritten unseen even by whoever holds the key. Care never waits for it: a
// witness that is away, or that objects, is logged and shown (GW-12, GW-13).
type cosigning struct {
	set     *witness.Set
	journal *journal.Journal
	file    string // the last checkpoint that a quorum has cosigned
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	covered uint64    // records that it covers
	since   time.Time // since when there are records that it does not; zero for none
	alarm   error     // what a witness objects to; nil while none does
}

// newCosigning returns nil when nobody is asked.
func newCosigning(c config.Config, j *journal.Journal, log *slog.Logger, now func() time.Time) (*cosigning, error) {
	set, err := openWitnesses(c.Witness, now)
	if err != nil || set == nil {
		return nil, err
	}
	w := &cosigning{set: set, journal: j, file: CosignedFile(JournalDir(c)), log: log, now: now}
	w.covered, err = w.resume(c)
	return w, err
}

// resume reads what was cosigned last. A file that says nothing is no reason not
// to start: the witnesses know.
func (w *cosigning) resume(c config.Config) (uint64, error) {
	text, err := os.ReadFile(w.file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	_, key, _, err := checkpointKeys(c)
	if err != nil {
		return 0, err
	}
	cp, err := merkle.OpenCheckpoint(text, key)
	if err != nil {
		w.log.LogAttrs(context.Background(), slog.LevelError, "the cosigned checkpoint says nothing", slog.String("file", w.file), slog.String("error", err.Error()))
	}
	return cp.Size, nil
}

// run asks each second in which there is something new until ctx ends.
func (w *cosigning) run(ctx context.Context) error {
	if w == nil {
		return nil
	}
	tick := time.NewTicker(cosignEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		c, note := w.journal.Checkpoint()
		if note != nil && c.Size > w.status().covered {
			w.cosign(ctx, c, note)
		}
	}
}

func (w *cosigning) cosign(ctx context.Context, c merkle.Checkpoint, note []byte) {
	result, err := w.set.Cosign(ctx, note, func(_ context.Context, old, _ int64) ([]tlog.Hash, error) {
		return w.journal.Tree().ProveGrowth(uint64(old), c) //nolint:gosec // not negative
	})
	if err == nil && result.Met {
		err = replaceFile(w.file, result.Note)
	}
	if ctx.Err() != nil {
		return
	}
	alarm := result.Alarm()
	w.mu.Lock()
	defer w.mu.Unlock()
	if alarm != nil && w.alarm == nil {
		w.log.LogAttrs(ctx, slog.LevelError, "a witness knows another history of this record", slog.String("error", alarm.Error()))
	}
	w.alarm = alarm
	switch {
	case err != nil:
		w.log.LogAttrs(ctx, slog.LevelWarn, "checkpoint not cosigned", slog.String("error", err.Error()))
	case result.Met:
		w.covered, w.since = c.Size, time.Time{}
		return
	}
	if w.since.IsZero() {
		w.since = w.now()
	}
}

// replaceFile puts text in the place of a file, durably, all or nothing.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

type cosigned struct {
	covered uint64
	since   time.Time
	alarm   error
}

func (w *cosigning) status() cosigned {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cosigned{w.covered, w.since, w.alarm}
}

// health is what pages and /readyz say of the witnesses.
func (w *cosigning) health() dashboards.Copy {
	if w == nil {
		return dashboards.Copy{}
	}
	s, signed := w.status(), w.journal.Stats().Signed
	h := dashboards.Copy{Set: true, State: dashboards.StateOK, Waiting: signed - min(s.covered, signed)}
	if !s.since.IsZero() {
		h.Behind = w.now().Sub(s.since)
	}
	if s.alarm != nil || h.Behind > cosignLate {
		h.State = dashboards.StateFailed
	}
	return h
}
