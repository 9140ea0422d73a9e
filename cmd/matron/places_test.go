package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// ownDevice moves a folder to a file system of its own on a loop device.
func ownDevice(t *testing.T, dir string) (dies, comesBack func()) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s (this test needs root, loop devices and e2fsprogs)", name, args, err, out)
		}
	}
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 1<<30), os.Rename(dir, dir+".was"), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	run("cp", "-a", dir+".was/.", dir)
	run("sync", "-f", dir) // as old files are
	dies = func() {
		t.Helper()
		const fsIocShutdown, noLogFlush = 0x8004587d, 2
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		if err := unix.IoctlSetPointerInt(int(f.Fd()), fsIocShutdown, noLogFlush); err != nil {
			t.Fatal(err)
		}
	}
	comesBack = func() {
		t.Helper()
		if err := unix.Unmount(dir, 0); err != nil {
			t.Fatal(err)
		}
		run("mount", "-o", "loop", image, dir)
	}
	return dies, comesBack
}

// TestRecordGoesOnInASecondPlace kills the journal's device under a running
// gateway: staff notice nothing, readiness and metrics say where the record is,
// and once the device is back everything comes home.
func TestRecordGoesOnInASecondPlace(t *testing.T) {
	t.Parallel()
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	s := newSite(t, fmt.Sprintf("- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml}\n", upstream))
	s.copyPagesMap()
	s.unlimited()
	s.edit("applications:", "journal: {second: {dir: second}}\napplications:")
	second := filepath.Join(s.dir, "second")
	if err := os.Mkdir(second, 0o700); err != nil {
		t.Fatal(err)
	}
	dies, comesBack := ownDevice(t, filepath.Join(s.dir, "data", "journal"))
	s.start()
	doctor := s.as("doctor")
	works := func(times int) {
		t.Helper()
		for range times {
			if got := s.ask(doctor, http.MethodGet, "/ui/patients/P1", asPerson, ""); got.body != "well" {
				t.Fatalf("%+v", got)
			}
		}
	}
	works(5)
	dies()
	works(20)
	if status, body := s.ready(); status != http.StatusOK || !strings.Contains(body, "records are in a second place") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if got := s.metric("matron_journal_second"); got != "1" {
		t.Errorf("matron_journal_second %s", got)
	}
	s.kill()
	comesBack()
	before := s.verify()
	s.start()
	works(5)
	s.eventually("everything is home", func() error {
		left, err := filepath.Glob(filepath.Join(second, "*.seg"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v are in the second place", left)
		}
		return err
	})
	s.stop()
	records := s.records()
	for i, r := range records {
		if r.Seq != uint64(i+1) {
			t.Fatalf("record %d stands at place %d", r.Seq, i+1)
		}
	}
	if uint64(len(records)) <= before.Last {
		t.Errorf("%d records, there were %d", len(records), before.Last)
	}
}
