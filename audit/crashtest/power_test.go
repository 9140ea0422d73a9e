package crashtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/matron-epr/matron/audit/journal"
)

// disk is an ext4 file system on a loop device. Everything on it that was not
// synced is lost when its power is cut.
type disk struct {
	t     *testing.T
	image string
	dir   string
}

// newDisk makes one of so many MiB and mounts it. It goes with the test or, at
// the latest, with the process: see runApart.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	if os.Getenv(apart) == "" {
		t.Fatal("power cuts need root, loop devices and mkfs.ext4: run \"sudo make powercut\"")
	}
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), dir: filepath.Join(t.TempDir(), "mount")}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size<<20), f.Close(), os.Mkdir(d.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	d.command("mkfs.ext4", "-q", "-F", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *disk) command(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.CommandContext(d.t.Context(), name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("power cuts need root, loop devices and mkfs.ext4: %s %v: %v: %s", name, args, err, out)
	}
}

func (d *disk) mount() { d.t.Helper(); d.command("mount", "-o", "loop", d.image, d.dir) }

// unmount waits for whoever still has a file open.
func (d *disk) unmount() {
	for range 500 {
		if err := unix.Unmount(d.dir, 0); err == nil || errors.Is(err, unix.EINVAL) {
			return // EINVAL: it is not mounted
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Errorf("cannot unmount %s", d.dir)
}

// cutPower makes the file system forget, without writing anything more, what is
// not on the disk: FS_IOC_SHUTDOWN with the flag NOLOGFLUSH.
func (d *disk) cutPower() {
	d.t.Helper()
	const shutdown, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush), f.Close()); err != nil {
		d.t.Fatalf("cut power: %v", err)
	}
}

// powerOn mounts what is left.
func (d *disk) powerOn() {
	d.t.Helper()
	d.unmount()
	d.mount()
}

// powerTrials is how many power cuts this run makes.
func powerTrials(short int) int {
	if *full {
		return *trials
	}
	return short
}

// TestPowerCutLosesNothing cuts the power of a disk to which a journal is being
// written: nothing that was acknowledged is lost.
func TestPowerCutLosesNothing(t *testing.T) {
	t.Run("Matron as it is", func(t *testing.T) {
		begin(t, "power cut: journal", "").each(powerTrials(4), func(int) error { return powerCut(t, plant{}) })
	})
	for _, bug := range []plant{
		{name: "no fsync", inject: "fdatasync:retval=0", most: 3},
		{name: "acknowledged before the fsync, on a slow disk", inject: "fdatasync:delay_enter=20000", variant: "early", most: 6},
	} {
		t.Run(bug.name, func(t *testing.T) {
			begin(t, "power cut: journal", bug.name).until(bug.most, func(int) error { return powerCut(t, bug) })
		})
	}
	if !*full {
		return
	}
	// Those that a power cut of ext4 finds seldom or never. TestNothingIsAcknowledgedBeforeItIsSynced does.
	for _, bug := range []plant{
		{name: "acknowledged before the fsync", variant: "early", most: 12},
		{name: "no fsync of the folder", inject: "fdatasync:retval=0", folder: true, most: 12},
	} {
		t.Run(bug.name, func(t *testing.T) {
			r := begin(t, "power cut: journal", bug.name)
			for range bug.most {
				r.trial(powerCut(t, bug))
			}
		})
	}
}

// plant is a bug put into a driver from outside, and in how many trials it must
// be caught.
type plant struct {
	name    string
	inject  string // what strace does to its calls
	folder  bool   // only to those on the journal's folder
	variant string // of the driver
	most    int
}

// strace is how the driver in dir is run.
func (p plant) strace(dir string) []string {
	if p.inject == "" {
		return nil
	}
	args := []string{"-e", "trace=fdatasync", "-e", "inject=" + p.inject}
	if p.folder {
		args = append(args, "-P", journalConfig(dir, 0).Dir)
	}
	return args
}

// powerCut is one trial on a disk of its own.
//
// Only what was heard before the cut began counts. While FS_IOC_SHUTDOWN is at
// work, which takes milliseconds, ext4 lets an fdatasync return without an error
// whose data it then drops: about one cut in a hundred shows it. After a real
// power cut there is nobody left to be told.
func powerCut(t *testing.T, bug plant) error {
	t.Helper()
	d := newDisk(t, 64)
	defer d.unmount()
	if err := journal.Create(journalConfig(d.dir, 1<<16)); err != nil {
		t.Fatal(err)
	}
	said := newTold()
	for session := range 2 { // the second goes on where the first was cut off
		said.cut.Store(false)
		c := start(t, said, bug.strace(d.dir), loadDriver, d.dir, fmt.Sprint(session), bug.variant)
		c.until(50, 150*time.Millisecond)
		said.cut.Store(true)
		d.cutPower()
		c.kill()
		d.powerOn()
		if err := said.check(d.dir); err != nil {
			return fmt.Errorf("after %d acknowledgements: %w", len(said.acked), err)
		}
	}
	return nil
}
