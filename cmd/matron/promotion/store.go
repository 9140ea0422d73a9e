package promotion

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/matron-epr/matron/policy/rego"
)

// Store keeps whole bundles below a folder, each under its revision. Nothing in it is
// ever changed or removed.
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
		return revision, nil
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

// Holds reports whether the bundle of a revision is there, unchanged.
func (s Store) Holds(revision string) bool {
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(revision) {
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
