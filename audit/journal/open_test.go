package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matron-epr/matron/audit"
)

func TestCreateRefusesAnExistingJournal(t *testing.T) {
	cfg := config(t)
	mustCreate(t, cfg)
	if err := Create(cfg); !errors.Is(err, ErrExists) {
		t.Errorf("create again: %v", err)
	}
	mustOpen(t, cfg)
	if err := Create(cfg); !errors.Is(err, ErrLocked) {
		t.Errorf("create under a running gateway: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	made := func(t *testing.T, cfg Config) { mustCreate(t, cfg) }
	tests := []struct {
		name    string
		prepare func(*testing.T, Config)
		change  func(*Config)
		want    error
	}{
		{"a missing folder", nil, func(c *Config) { c.Dir = filepath.Join(c.Dir, "none") }, ErrMissing},
		{"an empty folder", nil, nil, ErrMissing},
		{"another source", made, func(c *Config) { c.Source = "gw2" }, ErrSource},
		{"a second opener", func(t *testing.T, c Config) { made(t, c); mustOpen(t, c) }, nil, ErrLocked},
		{"a missing segment", func(t *testing.T, c Config) {
			fill(t, c, 40)
			remove(t, c, 1)
		}, nil, ErrCorrupt},
		{"a renamed segment", func(t *testing.T, c Config) {
			made(t, c)
			rename(t, c, segmentName(1), segmentName(2))
		}, nil, ErrCorrupt},
		{"a name that is no segment's", func(t *testing.T, c Config) {
			made(t, c)
			rename(t, c, segmentName(1), "1.seg")
		}, nil, ErrCorrupt},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg := small(t)
			if test.prepare != nil {
				test.prepare(t, cfg)
			}
			if test.change != nil {
				test.change(&cfg)
			}
			if _, err := Open(cfg); !errors.Is(err, test.want) {
				t.Errorf("open: %v, want %v", err, test.want)
			}
			if entries, err := os.ReadDir(cfg.Dir); errors.Is(test.want, ErrMissing) && err == nil && len(entries) > 0 {
				t.Errorf("open left %v", entries)
			}
		})
	}
}

// fill appends n records, each in a commit of its own, and closes.
func fill(t *testing.T, cfg Config, n int) {
	t.Helper()
	mustCreate(t, cfg)
	j := mustOpen(t, cfg)
	for range n {
		mustAppend(t, j, &audit.Record{Kind: audit.KindDecision, UserAgent: strings.Repeat("x", 200)})
	}
	mustClose(t, j)
}

// remove deletes the nth segment, counted from 0.
func remove(t *testing.T, cfg Config, n int) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+segmentSuffix))
	if err != nil || len(segments) < n+2 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	if err := os.Remove(segments[n]); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, cfg Config, from, to string) {
	t.Helper()
	if err := os.Rename(filepath.Join(cfg.Dir, from), filepath.Join(cfg.Dir, to)); err != nil {
		t.Fatal(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no folder":     func(c *Config) { c.Dir = "" },
		"no clock":      func(c *Config) { c.Now = nil },
		"no source":     func(c *Config) { c.Source = "" },
		"slash":         func(c *Config) { c.Source = "gw/1" },
		"long source":   func(c *Config) { c.Source = strings.Repeat("g", 65) },
		"huge segment":  func(c *Config) { c.SegmentBytes = 4 << 30 },
		"negative time": func(c *Config) { c.AppendTimeout = -1 },
	} {
		cfg := config(t)
		change(&cfg)
		if err := Create(cfg); err == nil {
			t.Errorf("%s: create succeeded", name)
		}
		if _, err := Open(cfg); err == nil || errors.Is(err, ErrMissing) {
			t.Errorf("%s: open: %v", name, err)
		}
	}
}

// hazard:GW-18 control:C-73
func TestFilesAreTheOwnersOnly(t *testing.T) {
	cfg := small(t)
	cfg.Dir = filepath.Join(cfg.Dir, "journal")
	fill(t, cfg, 20)
	if err := filepath.WalkDir(cfg.Dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
