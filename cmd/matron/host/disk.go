package host

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Level is how many watermarks the disk has reached. The zero Level is none.
type Level uint8

// The levels.
const (
	Ample    Level = iota
	NoBulk         // exports and other bulk work wait
	NoSearch       // searches that are not part of care wait as well
	CareOnly       // everything but direct care waits
)

// String returns the word that logs and /readyz carry.
func (l Level) String() string {
	switch l {
	case Ample:
		return "ok"
	case NoBulk:
		return "no-bulk-export"
	case NoSearch:
		return "no-other-search"
	case CareOnly:
	}
	return "care-only"
}

const (
	// hysteresis is by how many percentage points the disk must be emptier than a
	// watermark before that is lifted, so that it does not come and go with each
	// file.
	hysteresis = 2
	// stale is after how many intervals without an answer the disk counts as
	// unknown.
	stale = 10
)

// Usage is how full a file system is for somebody without privileges.
type Usage struct {
	Used     float64 // 0 to 1, of bytes or of files, whichever is fuller
	Free     uint64  // bytes
	ReadOnly bool
}

// DiskConfig is what a Disk needs. Fields without a stated default are required.
type DiskConfig struct {
	Dir string
	// Watermarks are ascending percentages, those of NoBulk, NoSearch, CareOnly.
	Watermarks [3]int
	// Emergency reports whether the journal writes to what it keeps in reserve;
	// nil for never.
	Emergency func() bool
	Every     time.Duration // default 1 s
	Measure   func(dir string) (Usage, error)
	Log       *slog.Logger
	Now       func() time.Time
}

// DiskState is what is known of the disk. The zero DiskState knows nothing.
type DiskState struct {
	Usage
	At        time.Time // when it was last measured, zero if never
	Known     bool      // it was measured just now
	Emergency bool      // the journal writes to its reserve
	Level     Level
	Since     time.Time // when Level was reached

	measured Level // without regard to Emergency
	failed   bool  // the last attempt to measure it did not succeed
}

// Disk knows how full the file system of a folder is.
type Disk struct {
	cfg   DiskConfig
	state atomic.Pointer[DiskState]
}

// NewDisk measures once, so that the first request meets the right level.
func NewDisk(cfg DiskConfig) *Disk {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	d := &Disk{cfg: cfg}
	d.state.Store(&DiskState{Since: cfg.Now()})
	d.look(context.Background())
	return d
}

// Run measures until ctx ends.
func (d *Disk) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			d.look(ctx)
		}
	}
}

// State answers from memory.
func (d *Disk) State() DiskState {
	s := *d.state.Load()
	// A file system that does not answer at all leaves an old state behind.
	s.Known = s.Known && d.cfg.Now().Sub(s.At) < stale*d.cfg.Every
	return s
}

// Level answers from memory.
func (d *Disk) Level() Level { return d.state.Load().Level }

// look measures once and says so when something has changed.
func (d *Disk) look(ctx context.Context) {
	before := d.state.Load()
	now := *before
	at := d.cfg.Now()
	usage, err := d.cfg.Measure(d.cfg.Dir)
	now.failed = err != nil
	if err == nil {
		now.Usage, now.At, now.Known = usage, at, true
		now.measured = levelAt(usage.Used, d.cfg.Watermarks, before.measured)
	} else {
		now.Known, now.measured = false, unmeasured(before.measured)
	}
	now.Level = now.measured
	now.Emergency = d.cfg.Emergency != nil && d.cfg.Emergency()
	if now.Emergency {
		now.Level = CareOnly
	}
	if now.Level != before.Level {
		now.Since = at
	}
	d.state.Store(&now)
	d.tell(ctx, *before, now, err)
}

// unmeasured is the level while the disk cannot be measured: the last one that
// was, none at the start. Care is refused at no level; but nothing more must be
// refused because a number cannot be read (GW-01), nor may exports begin anew on
// a disk that was full a second ago (GW-12). What cannot be recorded is held
// back by the append, whatever this says.
func unmeasured(last Level) Level { return last }

// levelAt is the level of a disk that is used so far. A level is reached at its
// watermark and left only well below it.
func levelAt(used float64, watermarks [3]int, last Level) Level {
	percent := used * 100
	level := Ample
	for i, mark := range watermarks {
		this := Level(i + 1)
		if percent >= float64(mark) || this <= last && percent >= float64(mark-hysteresis) {
			level = this
		}
	}
	return level
}

// tell logs what has changed, once.
func (d *Disk) tell(ctx context.Context, before, now DiskState, err error) {
	if now.Level != before.Level {
		level := slog.LevelWarn
		if now.Level < before.Level {
			level = slog.LevelInfo
		}
		d.cfg.Log.LogAttrs(ctx, level, "disk of the journal", slog.String("level", now.Level.String()),
			slog.Int("used_percent", int(now.Used*100)), slog.Uint64("free_bytes", now.Free), slog.Bool("emergency", now.Emergency))
	}
	if now.ReadOnly && !before.ReadOnly {
		d.cfg.Log.LogAttrs(ctx, slog.LevelError, "disk of the journal is read-only")
	}
	if now.failed && !before.failed {
		d.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "disk of the journal cannot be measured", slog.Any("error", err))
	}
}
