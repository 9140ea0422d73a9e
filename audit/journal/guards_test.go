package journal

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAbandonedFileIsNeverTouchedAgain: a write that comes back after its file
// was given up is not followed by a sync, which might report success for data
// that the kernel has dropped.
func TestAbandonedFileIsNeverTouchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _, _ := pair(t)
		cfg.AppendTimeout, cfg.Now = 0, time.Now
		release, hung := make(chan struct{}), &atomic.Bool{}
		var after atomic.Int32
		cfg.wrap = func(name string, f file) file {
			if name != segmentName(1) {
				return volatile{f}
			}
			return &slowWrite{volatile{f}, hung, release, &after}
		}
		mustCreate(t, cfg)
		j := mustOpen(t, cfg)
		mustAppend(t, j, sample("1"))
		hung.Store(true)
		mustAppend(t, j, sample("2"))
		after.Store(0)
		close(release)
		synctest.Wait()
		if n := after.Load(); n != 0 {
			t.Errorf("%d calls on a file that was given up", n)
		}
		mustClose(t, j)
		if report := whole(t, cfg); report.Records != 2 {
			t.Errorf("%+v", report)
		}
	})
}

// slowWrite hangs in WriteAt once told to, and counts what comes afterwards.
type slowWrite struct {
	file
	hung    *atomic.Bool
	release chan struct{}
	after   *atomic.Int32
}

func (f *slowWrite) WriteAt(p []byte, off int64) (int, error) {
	if f.hung.Load() {
		<-f.release
	}
	return f.file.WriteAt(p, off)
}

func (f *slowWrite) Sync() error {
	f.after.Add(1)
	return f.file.Sync()
}

func (f *slowWrite) Truncate(size int64) error {
	f.after.Add(1)
	return f.file.Truncate(size)
}

// liar is a disk that writes something else than it is given when that is long.
type liar struct{ file }

func (f liar) WriteAt(p []byte, off int64) (int, error) {
	if len(p) > segmentHead {
		p = slices.Clone(p)
		p[len(p)/2] ^= 1
	}
	return f.file.WriteAt(p, off)
}

// TestComingHomeComparesBeforeItRemoves: what a copy does not hold stays where it
// is.
func TestComingHomeComparesBeforeItRemoves(t *testing.T) {
	cfg, first, _ := pair(t)
	var lies, calm atomic.Bool
	cfg.wrap = func(name string, f file) file {
		switch {
		case lies.Load():
			return liar{volatile{f}}
		case calm.Load():
			return volatile{f}
		}
		return first.wrap(name, f)
	}
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	first.breaks(fault{lost: true})
	for range 6 { // two segments, so that one of them is sealed
		mustAppend(t, j, sample("2"))
	}
	lies.Store(true)
	second := cfg.Second[0].Name()
	before := names(t, second, segmentSuffix)
	if err := j.bringHome(j.sites[1]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("bring home: %v", err)
	}
	if got := names(t, second, segmentSuffix); len(before) < 2 || !slices.Equal(got, before) {
		t.Errorf("%v are left of %v", got, before)
	}
	lies.Store(false)
	calm.Store(true)
	if err := j.bringHome(j.sites[1]); err != nil {
		t.Error(err)
	}
	if got := names(t, second, segmentSuffix); len(got) != 1 {
		t.Errorf("%v are left of %v", got, before)
	}
	if got := mustRead(t, j, 1, 100); len(got) != 7 {
		t.Errorf("read %d records", len(got))
	}
}

// TestArchiveComparesWhatItWrote: before the plain segment is removed.
func TestArchiveComparesWhatItWrote(t *testing.T) {
	cfg, j, acked := archived(t, t.TempDir())
	before := names(t, cfg.Dir, segmentSuffix)
	j.packs.d.wrap = func(_ string, f file) file { return liar{f} }
	if err := j.Archive(1 << 40); err == nil {
		t.Error("archived what cannot be read back")
	}
	if got := names(t, cfg.Dir, segmentSuffix); !slices.Equal(got, before) {
		t.Errorf("%v are left of %v", got, before)
	}
	sameRecords(t, mustRead(t, j, 1, 100), acked)
}

// unsteady is a place whose probes go as the script says.
type unsteady struct {
	Place
	script string // one letter a probe: + or -
	probes atomic.Int32
	broken atomic.Bool
}

func (p *unsteady) Probe(int64) error {
	n := p.probes.Add(1)
	if int(n) > len(p.script) || p.script[n-1] == '-' {
		return errInjected
	}
	return nil
}

func (p *unsteady) Create(name string, head []byte, size int64) (File, error) {
	if p.broken.Load() {
		return nil, errInjected
	}
	return p.Place.Create(name, head, size)
}

// TestAPlaceProvesItselfSeveralTimes: one probe that passes proves nothing.
func TestAPlaceProvesItselfSeveralTimes(t *testing.T) {
	cfg, first, _ := pair(t)
	cfg.ProbeEvery = time.Millisecond
	cfg.SegmentBytes = 1 << 26 // so that no segment ends by itself
	u := &unsteady{Place: cfg.Second[0], script: "+-++-+++"}
	u.broken.Store(true)
	cfg.Second = []Place{u, NewDir(t.TempDir())}
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	first.breaks(fault{lost: true})
	mustAppend(t, j, sample("1"))
	if s := j.Stats(); len(s.Unwell) != 2 || s.FailOvers != 2 {
		t.Fatalf("%+v", s)
	}
	u.broken.Store(false)
	for len(j.Stats().Unwell) != 1 {
		time.Sleep(time.Millisecond)
	}
	if n := u.probes.Load(); n != 8 {
		t.Errorf("usable after %d probes of %s", n, u.script)
	}
	for j.Stats().Place != u.Name() { // the better place again
		mustAppend(t, j, sample("2"))
		time.Sleep(time.Millisecond)
	}
	mustClose(t, j)
	if report := whole(t, cfg); len(report.Kinds) != 1 || strings.Contains(report.Source, "?") {
		t.Errorf("%+v", report)
	}
}

// TestStuckAtTheStart: a primary that hangs when the gateway starts does not keep
// it from starting on the second place.
func TestStuckAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, _, _ := pair(t)
		cfg.AppendTimeout, cfg.Now = 0, time.Now
		mustCreate(t, cfg)
		j := mustOpen(t, cfg)
		mustAppend(t, j, sample("1"))
		mustClose(t, j)
		release := make(chan struct{})
		cfg.wrap = func(name string, f file) file {
			if name == segmentName(1) {
				return hangs{f, release}
			}
			return volatile{f}
		}
		j = mustOpen(t, cfg)
		if s := j.Stats(); !s.Second || s.Committed != 1 {
			t.Errorf("%+v", s)
		}
		mustAppend(t, j, sample("2"))
		close(release)
		synctest.Wait()
		mustClose(t, j)
		if report := whole(t, cfg); report.Records != 2 {
			t.Errorf("%+v", report)
		}
	})
}
