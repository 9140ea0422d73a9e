package host

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hazard:GW-12 control:C-50
func TestLevelsAreReachedAtTheirMarkAndLeftBelowIt(t *testing.T) {
	marks := [3]int{80, 90, 95}
	level := Ample
	for _, row := range []struct {
		used float64
		want Level
	}{
		{.50, Ample},
		{.799, Ample},
		{.80, NoBulk},
		{.79, NoBulk},
		{.78, NoBulk},
		{.77, Ample},
		{.79, Ample},
		{.96, CareOnly}, // at once, past the others
		{.94, CareOnly},
		{.92, NoSearch},
		{.89, NoSearch},
		{.87, NoBulk},
		{1, CareOnly},
		{.10, Ample},
	} {
		level = levelAt(row.used, marks, level)
		if level != row.want {
			t.Errorf("at %v: %v, want %v", row.used, level, row.want)
		}
	}
}

// disk is a file system that tests fill.
type disk struct {
	mu        sync.Mutex
	usage     Usage // guarded by mu
	err       error // guarded by mu
	emergency bool  // guarded by mu
}

func (d *disk) set(used float64, err error, emergency bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.usage, d.err, d.emergency = Usage{Used: used, Free: 7}, err, emergency
}

func (d *disk) measure(string) (Usage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.usage, d.err
}

func (d *disk) reserve() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.emergency
}

// A disk that cannot be measured refuses nothing more than it did, and nothing
// at all when it never was; the emergency segment leaves care alone.
func TestDiskThatCannotBeMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fs disk
		var log strings.Builder
		broken := errors.New("input/output error")
		fs.set(0, broken, false)
		d := NewDisk(DiskConfig{
			Dir: "/journal", Watermarks: [3]int{80, 90, 95}, Emergency: fs.reserve, Measure: fs.measure,
			Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now,
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = d.Run(ctx) })
		for _, row := range []struct {
			used      float64
			err       error
			emergency bool
			level     Level
			known     bool
		}{
			{0, broken, false, Ample, false},
			{.85, nil, false, NoBulk, true},
			{0, broken, false, NoBulk, false},
			{0, broken, true, CareOnly, false},
			{0, broken, false, NoBulk, false},
			{.85, nil, true, CareOnly, true},
			{.79, nil, false, NoBulk, true},
			{.20, nil, false, Ample, true},
		} {
			fs.set(row.used, row.err, row.emergency)
			time.Sleep(1001 * time.Millisecond)
			synctest.Wait()
			if s := d.State(); s.Level != row.level || s.Known != row.known || d.Level() != row.level || s.Emergency != row.emergency {
				t.Errorf("%+v: %+v", row, s)
			}
		}
		cancel()
		done.Wait()
		if got := strings.Count(log.String(), "cannot be measured"); got != 2 {
			t.Errorf("it was said %d times that the disk cannot be measured: %s", got, log.String())
		}
		if got := strings.Count(log.String(), `msg="disk of the journal" level=`); got != 6 {
			t.Errorf("%d changes of level were logged, want 6: %s", got, log.String())
		}
		time.Sleep(time.Minute)
		if d.State().Known {
			t.Error("a disk that has not answered for a minute counts as known")
		}
	})
}

// clocks is a pair of clocks that tests set.
type clocks struct {
	mu sync.Mutex
	r  Reading // guarded by mu
}

func (c *clocks) read() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r
}

func (c *clocks) pass(mono, wall time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r = Reading{Wall: c.r.Wall.Add(wall), Mono: c.r.Mono + mono}
}

func TestStepsOfTheClockAreNoticedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)
		hands := &clocks{r: Reading{Wall: began}}
		var got []time.Duration
		c := NewClock(ClockConfig{Read: hands.read, Stepped: func(_ context.Context, s Step) { got = append(got, s.By()) }})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = c.Run(ctx) })
		for _, move := range [][2]time.Duration{
			{time.Second, time.Second},
			{time.Second, 2*time.Second + 999*time.Millisecond}, // 1.999 s ahead: not yet
			{time.Second, time.Second + time.Millisecond},       // 2 s ahead
			{time.Hour, time.Hour},                              // a slow look is no step
			{time.Second, time.Hour + time.Second},              // a virtual machine that rested
			{time.Second, time.Second},                          // not twice
			{time.Second, -time.Hour},                           // put back
		} {
			hands.pass(move[0], move[1])
			time.Sleep(1001 * time.Millisecond)
			synctest.Wait()
		}
		cancel()
		done.Wait()
		if diff := cmp.Diff([]time.Duration{2 * time.Second, time.Hour, -time.Hour - time.Second}, got); diff != "" {
			t.Error(diff)
		}
		want := Step{At: hands.read().Wall, Before: time.Hour + 2*time.Second, After: time.Second}
		if diff := cmp.Diff(want, c.Last()); diff != "" || c.Steps() != 3 {
			t.Errorf("%d steps: %s", c.Steps(), diff)
		}
	})
}

func TestReaderReadsBothClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := NewReader(time.Now)
		before := read()
		time.Sleep(time.Minute)
		if got := read(); got.Mono-before.Mono != time.Minute || got.Wall.Sub(before.Wall) != time.Minute || offset(before, got) != 0 {
			t.Errorf("%+v after %+v", got, before)
		}
	})
}

func TestLevelsHaveWords(t *testing.T) {
	for level, want := range map[Level]string{Ample: "ok", NoBulk: "no-bulk-export", NoSearch: "no-other-search", CareOnly: "care-only", 9: "care-only"} {
		if got := level.String(); got != want {
			t.Errorf("%d: %q, want %q", level, got, want)
		}
	}
}
