package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMissingSecondPlaceIsNamed: a start without a place that holds records is
// refused and says which they are; one without a place that holds none is not.
func TestMissingSecondPlaceIsNamed(t *testing.T) {
	cfg, first, _ := pair(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"), sample("2"))
	first.failsOnce(2, fault{lost: true})
	mustAppend(t, j, sample("3"), sample("4"), sample("5"))
	mustClose(t, j)
	second := cfg.Second[0].Name()
	away := second + ".away"
	refused := func(c Config, words string) {
		t.Helper()
		_, err := Open(c)
		if !errors.Is(err, ErrElsewhere) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), second) {
			t.Errorf("open: %v, want %q", err, words)
		}
	}
	alone := cfg
	alone.Second = nil
	refused(alone, "records from 3 on are on ")
	if err := os.Rename(second, away); err != nil {
		t.Fatal(err)
	}
	refused(cfg, "records from 3 on are on ")
	if err := os.Mkdir(second, 0o700); err != nil { // a mount point without its device
		t.Fatal(err)
	}
	refused(cfg, "is its device mounted?")
	if err := errors.Join(os.Remove(second), os.Rename(away, second)); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, cfg) // goes on in the primary, in a segment that begins with 3
	mustAppend(t, j, sample("6"))
	mustClose(t, j)
	if report := whole(t, cfg); report.Records != 6 {
		t.Errorf("%+v", report)
	}
}

// TestMissingMiddleIsNamed: the primary went on after the second place, whose
// records are then missed by number.
// hazard:GW-13 control:C-55
func TestMissingMiddleIsNamed(t *testing.T) {
	cfg, first, _ := pair(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"), sample("2"))
	first.failsOnce(1, fault{half: true})
	mustAppend(t, j, sample("3"))
	mustAppend(t, j, sample("4"))
	mustClose(t, j)
	j = mustOpen(t, cfg)
	mustAppend(t, j, sample("5"))
	mustClose(t, j)
	alone := cfg
	alone.Second = nil
	if _, err := Open(alone); !errors.Is(err, ErrElsewhere) || !strings.Contains(err.Error(), "records 3 to 3 are on "+cfg.Second[0].Name()) {
		t.Errorf("open: %v", err)
	}
	report, err := Verify(VerifyOptions{Dirs: []string{cfg.Dir}})
	if err != nil || !slices.Equal(report.Gaps, []Gap{{3, 3}}) {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestAbsentSecondPlaceIsNoReasonToStop: one that never held anything.
func TestAbsentSecondPlaceIsNoReasonToStop(t *testing.T) {
	cfg, _, _ := pair(t)
	cfg.ProbeEvery = time.Millisecond
	mustCreate(t, cfg)
	second := cfg.Second[0].Name()
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	if s := j.Stats(); len(s.Unwell) != 1 || s.Unwell[0].Place != second {
		t.Errorf("stats %+v", s)
	}
	if err := os.Mkdir(second, 0o700); err != nil {
		t.Fatal(err)
	}
	for len(j.Stats().Unwell) > 0 {
		time.Sleep(time.Millisecond)
	}
	mustClose(t, j)
}

// TestLossOfASecondPlaceCanBeAccepted: by hand, by removing the file that names
// it.
func TestLossOfASecondPlaceCanBeAccepted(t *testing.T) {
	cfg, first, _ := pair(t)
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	mustAppend(t, j, sample("1"))
	first.failsOnce(2, fault{lost: true})
	mustAppend(t, j, sample("2"))
	mustClose(t, j)
	alone := cfg
	alone.Second = nil
	if _, err := Open(alone); !errors.Is(err, ErrElsewhere) {
		t.Fatalf("open: %v", err)
	}
	if err := os.Remove(filepath.Join(cfg.Dir, elsewhereName)); err != nil {
		t.Fatal(err)
	}
	j = mustOpen(t, alone)
	mustAppend(t, j, sample("another 2"))
	mustClose(t, j)
}

func TestSecondFolderOnTheSameDeviceIsRefused(t *testing.T) {
	cfg, _, _ := pair(t)
	cfg.SameDevice = false
	mustCreate(t, cfg)
	if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "same device") {
		t.Errorf("open: %v", err)
	}
}

func TestSecondFolderOfAnotherSourceIsRefused(t *testing.T) {
	cfg, _, _ := pair(t)
	mustCreate(t, cfg)
	if err := os.WriteFile(filepath.Join(cfg.Second[0].Name(), placeName), []byte("journal of gw2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cfg); !errors.Is(err, ErrSource) {
		t.Errorf("open: %v", err)
	}
}
