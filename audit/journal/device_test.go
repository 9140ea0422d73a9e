//go:build linux

package journal

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit"
)

// device is an ext4 file system in a file, on a loop device.
type device struct {
	t          *testing.T
	image, dir string
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, 64<<20)); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", d.image)
	d.mount()
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func (d *device) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.CommandContext(d.t.Context(), name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s (this test needs root, loop devices and e2fsprogs)", name, args, err, out)
	}
}

func (d *device) mount() {
	d.t.Helper()
	d.run("mount", "-o", "loop", d.image, d.dir)
}

// dies makes every later write and sync fail with EIO, and drops what was not
// synced: FS_IOC_SHUTDOWN without a flush of the log.
func (d *device) dies() {
	d.t.Helper()
	const fsIocShutdown, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it was opened for the call only
	if err := unix.IoctlSetPointerInt(int(f.Fd()), fsIocShutdown, noLogFlush); err != nil {
		d.t.Fatal(err)
	}
}

// comesBack mounts it anew, as after an exchange of the cable.
func (d *device) comesBack() {
	d.t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Fatal(err)
	}
	d.mount()
}

// TestDeviceDies kills a real file system under the journal, again and again:
// nobody is refused, no record is lost, and in the end the primary alone is the
// whole record.
func TestDeviceDies(t *testing.T) {
	primary := newDevice(t)
	cfg := config(t)
	cfg.Dir, cfg.SegmentBytes, cfg.Emergency = filepath.Join(primary.dir, "journal"), 1<<18, 1<<20
	cfg.Second = []Place{NewDir(t.TempDir())}
	cfg.ProbeEvery = 2 * time.Millisecond
	mustCreate(t, cfg)
	var acked []audit.Record
	for round := range 4 {
		j := mustOpen(t, cfg)
		for i := range 60 {
			if i == 20+round*7 {
				primary.dies()
			}
			r := bulky()
			mustAppend(t, j, r)
			acked = append(acked, *r)
		}
		if s := j.Stats(); !s.Second || s.FailOvers != 1 || j.Healthy() != nil {
			t.Fatalf("round %d: %+v", round, s)
		}
		_ = j.Close() // its first file cannot be closed in order
		primary.comesBack()
		whole(t, cfg)
		j = mustOpen(t, cfg)
		sameRecords(t, mustRead(t, j, 1, 1<<20), acked)
		for len(names(t, cfg.Second[0].Name(), segmentSuffix)) > 0 {
			time.Sleep(time.Millisecond)
		}
		mustClose(t, j)
	}
	alone := cfg
	alone.Second = nil
	if report := whole(t, alone); report.Records != uint64(len(acked)) || report.Torn != 0 {
		t.Errorf("%+v", report)
	}
	mustClose(t, mustOpen(t, alone))
}

// TestDeviceIsDeadAtTheStart: the file system can be read and takes no write.
func TestDeviceIsDeadAtTheStart(t *testing.T) {
	primary := newDevice(t)
	cfg := config(t)
	cfg.Dir, cfg.SegmentBytes = filepath.Join(primary.dir, "journal"), 1<<18
	cfg.Second = []Place{NewDir(t.TempDir())}
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	mustClose(t, j)
	primary.run("mount", "-o", "remount,ro", primary.dir)
	j = mustOpen(t, cfg)
	mustAppend(t, j, sample("2"))
	mustClose(t, j)
	primary.run("mount", "-o", "remount,rw", primary.dir)
	j = mustOpen(t, cfg)
	if got := mustAppend(t, j, sample("3")).Seq; got != 3 || j.Stats().Second {
		t.Errorf("record %d, %+v", got, j.Stats())
	}
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != 3 {
		t.Errorf("%+v", report)
	}
}
