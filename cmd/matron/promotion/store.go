package promotion

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/matron-epr/matron/policy/rego"
)

// Store keeps whole bundles below a folder, each under its revision. Nothing in it is
// ever changed, and only Prune removes something.
type Store struct{ Dir string }

// Keep copies the bundle in dir ("" means the built-in one) into the store, durably,
// and returns its revision. Files that change meanwhile are taken one way or the
// other, and the revision is that of what was taken.
func (s Store) Keep(dir string) (string, error) {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", fmt.Errorf("keep bundle: %w", err)
	}
	partial, err := os.MkdirTemp(s.Dir, ".partial-*")
	if err != nil {
		return "", fmt.Errorf("keep bundle: %w", err)
	}
	revision, err := s.keep(partial, dir)
	return revision, errors.Join(err, os.RemoveAll(partial))
}

func (s Store) keep(partial, dir string) (string, error) {
	if err := rego.Copy(partial, dir); err != nil {
		return "", err
	}
	revision, err := rego.Revision(partial)
	if err != nil {
		return "", err
	}
	if s.Holds(revision) {
		now := time.Now() // as if it had come now: Prune goes by it
		return revision, os.Chtimes(s.Path(revision), now, now)
	}
	// What is there under this name is something else: it was tampered with.
	if err := os.RemoveAll(s.Path(revision)); err != nil {
		return "", fmt.Errorf("keep bundle: %w", err)
	}
	if err := os.Rename(partial, s.Path(revision)); err != nil {
		return "", fmt.Errorf("keep bundle: %w", err)
	}
	return revision, syncDir(s.Dir)
}

// Path is where the bundle of a revision is, or would be.
func (s Store) Path(revision string) string { return filepath.Join(s.Dir, revision) }

// Prune removes bundles but for the newest few and those that are needed whatever their
// age: by revision, "" for none.
func (s Store) Prune(few int, needed ...string) error {
	kept, err := os.ReadDir(s.Dir)
	if err != nil {
		return fmt.Errorf("prune bundles: %w", err)
	}
	type bundle struct {
		revision string
		came     time.Time
	}
	var old []bundle
	for _, d := range kept {
		if !isRevision(d.Name()) || slices.Contains(needed, d.Name()) {
			continue
		}
		info, err := d.Info()
		if err != nil {
			return fmt.Errorf("prune bundles: %w", err)
		}
		old = append(old, bundle{d.Name(), info.ModTime()})
	}
	slices.SortFunc(old, func(a, b bundle) int { return b.came.Compare(a.came) })
	for _, b := range old[min(few, len(old)):] {
		if err := os.RemoveAll(s.Path(b.revision)); err != nil {
			return fmt.Errorf("prune bundles: %w", err)
		}
	}
	return nil
}

func isRevision(name string) bool { return regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(name) }

// Holds reports whether the bundle of a revision is there, unchanged.
func (s Store) Holds(revision string) bool {
	if !isRevision(revision) {
		return false
	}
	is, err := rego.Revision(s.Path(revision))
	return err == nil && is == revision
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // below the data folder
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
