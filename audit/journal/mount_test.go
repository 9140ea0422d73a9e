//go:build linux

package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
)

// mounted is a file system of its own of 8 MiB.
func mounted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size=8m"); err != nil {
		t.Fatalf("mount a small file system: %v (this test needs root, or a user namespace with mounts)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// remount makes the file system read-only, or writable again.
func remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, "mode=0700"); err != nil {
		t.Fatal(err)
	}
}

// fillUp leaves room for a small file alone, and returns what gives it back.
func fillUp(t *testing.T, dir string) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(f, neverEnding{})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	info, statErr := f.Stat()
	if err := errors.Join(statErr, f.Truncate(info.Size()-1<<16), f.Close()); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

// small segments on a small disk with an emergency segment.
func onSmallDisk(t *testing.T) Config {
	t.Helper()
	cfg := config(t)
	cfg.Dir = mounted(t)
	cfg.SegmentBytes, cfg.Emergency, cfg.ProbeEvery = 1<<18, 1<<20, 2*time.Millisecond
	return cfg
}

func bulky() *audit.Record { return &audit.Record{Query: strings.Repeat("q", 10_000)} }

// TestFullDiskUsesTheEmergencySegment: no record is refused when the disk is
// full; Stats says that the reserve is being used up, and it is made anew when
// there is room.
// hazard:GW-12 control:C-48
func TestFullDiskUsesTheEmergencySegment(t *testing.T) {
	cfg := onSmallDisk(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	if s := j.Stats(); !s.Reserve || s.Emergency {
		t.Fatalf("at the start: %+v", s)
	}
	empty := fillUp(t, cfg.Dir)
	n := uint64(0)
	for ; !j.Stats().Emergency; n++ { // up to the end of the segment
		mustAppend(t, j, bulky())
	}
	for range 60 { // many probes long: the place is not well before there is room
		mustAppend(t, j, bulky())
		n++
		time.Sleep(time.Millisecond)
	}
	if s := j.Stats(); !s.Emergency || s.Reserve || s.FailOvers != 1 || j.Healthy() != nil {
		t.Errorf("on a full disk: %+v", s)
	}
	empty()
	for s := j.Stats(); s.Emergency || !s.Reserve; s = j.Stats() {
		mustAppend(t, j, bulky())
		n++
		time.Sleep(time.Millisecond)
	}
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != n {
		t.Errorf("%d records, want %d", report.Records, n)
	}
}

// TestEmergencySegmentRunsOut: then records are refused, and taken again when
// there is room.
func TestEmergencySegmentRunsOut(t *testing.T) {
	cfg := onSmallDisk(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	empty := fillUp(t, cfg.Dir)
	n := uint64(0)
	var err error
	for ; err == nil; n++ {
		_, err = j.Append(t.Context(), bulky())
	}
	if !errors.Is(err, audit.ErrNotDurable) || !errors.Is(err, syscall.ENOSPC) || n*10_000 < 1<<20 {
		t.Fatalf("record %d: %v", n, err)
	}
	empty()
	if err := j.Wait(t.Context(), n-1); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, j, bulky())
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != n+1 {
		t.Errorf("%d records, want %d", report.Records, n+1)
	}
}

// TestRestartOnAFullDisk: the gateway starts and says that it lives on the
// emergency segment.
func TestRestartOnAFullDisk(t *testing.T) {
	cfg := onSmallDisk(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	fillUp(t, cfg.Dir)
	n := uint64(0)
	for ; !j.Stats().Emergency; n++ {
		mustAppend(t, j, bulky())
	}
	for range 3 {
		if err := j.lock.Close(); err != nil { // as a crash leaves it
			t.Fatal(err)
		}
		j = mustOpen(t, cfg)
		if s := j.Stats(); !s.Emergency || s.Reserve || s.Committed != n {
			t.Errorf("after a restart: %+v", s)
		}
		mustAppend(t, j, bulky())
		n++
	}
	mustClose(t, j)
	whole(t, cfg)
}

// TestFullDiskPrefersTheSecondPlace: as long as there is room elsewhere nobody
// has to be held back.
// hazard:GW-12 control:C-48
func TestFullDiskPrefersTheSecondPlace(t *testing.T) {
	cfg := onSmallDisk(t)
	cfg.Second = []Place{NewDir(mounted(t))}
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	fillUp(t, cfg.Dir)
	for range 100 {
		mustAppend(t, j, bulky())
	}
	if s := j.Stats(); s.Emergency || !s.Second || !s.Reserve {
		t.Errorf("%+v", s)
	}
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != 100 {
		t.Errorf("%+v", report)
	}
}

// TestReadOnlyPrimary: the gateway starts in the second place, and refuses to
// start where there is none.
// hazard:GW-12 control:C-52
func TestReadOnlyPrimary(t *testing.T) {
	cfg := onSmallDisk(t)
	cfg.ProbeEvery = 0
	cfg.Second = []Place{NewDir(mounted(t))}
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	mustClose(t, j)
	remount(t, cfg.Dir, unix.MS_RDONLY)
	alone := cfg
	alone.Second = nil
	if _, err := Open(alone); err == nil {
		t.Error("started although nothing can be written")
	}
	j, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); !s.Second || len(s.Unwell) != 1 || !errors.Is(s.Unwell[0].Cause, syscall.EROFS) {
		t.Errorf("%+v", s)
	}
	mustAppend(t, j, sample("2"))
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != 2 {
		t.Errorf("%+v", report)
	}
	remount(t, cfg.Dir, 0)
	cfg.ProbeEvery = time.Millisecond
	j = mustOpen(t, cfg)
	mustAppend(t, j, sample("3"))
	if s := j.Stats(); s.Second {
		t.Errorf("%+v", s)
	}
	for len(names(t, cfg.Second[0].Name(), segmentSuffix)) > 0 {
		time.Sleep(time.Millisecond)
	}
	mustClose(t, j)
	alone.ProbeEvery = 0
	if report := whole(t, alone); report.Records != 3 {
		t.Errorf("%+v", report)
	}
}

// TestNothingWritable: both places read-only is no start.
func TestNothingWritable(t *testing.T) {
	cfg := onSmallDisk(t)
	cfg.Second = []Place{NewDir(mounted(t))}
	mustCreate(t, cfg)
	mustClose(t, mustOpen(t, cfg))
	remount(t, cfg.Dir, unix.MS_RDONLY)
	remount(t, cfg.Second[0].Name(), unix.MS_RDONLY)
	if _, err := Open(cfg); !errors.Is(err, audit.ErrNotDurable) || !errors.Is(err, syscall.EROFS) {
		t.Errorf("open: %v", err)
	}
}

// TestUnreadablePrimary: where the record ends is unknown, so that a usable
// second place does not help.
func TestUnreadablePrimary(t *testing.T) {
	cfg := onSmallDisk(t)
	cfg.Second = []Place{NewDir(mounted(t))}
	mustCreate(t, cfg)
	mustClose(t, mustOpen(t, cfg))
	if err := os.Rename(filepath.Join(cfg.Dir, segmentName(1)), filepath.Join(cfg.Dir, "was.seg.bak")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(cfg.Dir, segmentName(1)), 0o700); err != nil { // reads fail with an error
		t.Fatal(err)
	}
	if _, err := Open(cfg); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("open: %v", err)
	}
}
