package learn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNone says that there is no such version.
var ErrNone = errors.New("no such version of the weights")

const (
	versionEnd = ".json"
	turnsFile  = "active.ndjson"
)

// Folder keeps versions, a file each that is made once and never changed, and a list
// of which was made active when and by whom. Processes may use it at once.
type Folder string

// Turn is one change of which version is active.
type Turn struct {
	Version int       `json:"version"`
	Revert  bool      `json:"revert,omitempty"` // back to the one before
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// Add gives a version a number and keeps it, unless one that says the same is there
// already, which is returned.
func (f Folder) Add(v Version) (kept Version, isNew bool, err error) {
	if v.Digest, err = v.digest(); err != nil {
		return Version{}, false, err
	}
	all, err := f.List()
	if err != nil {
		return Version{}, false, err
	}
	v.Number = First + 1
	for _, old := range all {
		if old.Digest == v.Digest {
			return old, false, nil
		}
		v.Number = max(v.Number, old.Number+1)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return Version{}, false, fmt.Errorf("keep version: %w", err)
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return Version{}, false, fmt.Errorf("keep version: %w", err)
	}
	return v, true, f.create(v.Number, append(text, '\n'))
}

// create makes the file of a version whole, or none; an existing one stays.
func (f Folder) create(number int, text []byte) error {
	part, err := os.CreateTemp(string(f), ".version-*")
	if err != nil {
		return fmt.Errorf("keep version: %w", err)
	}
	_, err = part.Write(text)
	err = errors.Join(err, part.Chmod(0o400), part.Sync(), part.Close())
	if err == nil {
		err = os.Link(part.Name(), f.path(number)) // fails when somebody else was faster
	}
	if err = errors.Join(err, os.Remove(part.Name())); err != nil {
		return fmt.Errorf("keep version %d: %w", number, err)
	}
	return nil
}

func (f Folder) path(number int) string {
	return filepath.Join(string(f), strconv.Itoa(number)+versionEnd)
}

// List returns all versions in their order. A file that is not as it was made is an
// error.
func (f Folder) List() ([]Version, error) {
	files, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read versions: %w", err)
	}
	var out []Version
	for _, file := range files {
		n, err := strconv.Atoi(strings.TrimSuffix(file.Name(), versionEnd))
		if err != nil || !strings.HasSuffix(file.Name(), versionEnd) {
			continue
		}
		v, err := f.Get(n)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Version) int { return a.Number - b.Number })
	return out, nil
}

// Get returns one version. First is always there.
func (f Folder) Get(number int) (Version, error) {
	if number == First {
		return Version{Number: First}, nil
	}
	v, err := ReadVersion(f.path(number))
	if errors.Is(err, fs.ErrNotExist) {
		return v, fmt.Errorf("%w: %d", ErrNone, number)
	}
	if err == nil && v.Number != number {
		err = fmt.Errorf("%s holds version %d: it was renamed", f.path(number), v.Number)
	}
	return v, err
}

// ReadVersion reads the file of a version and holds it against its digest.
func ReadVersion(path string) (Version, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return Version{}, fmt.Errorf("read version: %w", err)
	}
	var v Version
	if err := json.Unmarshal(text, &v); err != nil {
		return Version{}, fmt.Errorf("read version: %s: %w", path, err)
	}
	sum, err := v.digest()
	if err != nil {
		return Version{}, err
	}
	if sum != v.Digest || v.Number <= First {
		return Version{}, fmt.Errorf("%s is not as it was made: its digest is another", path)
	}
	return v, nil
}

// Active is the version that counts: the one that was activated last and not
// reverted.
func (f Folder) Active() (Version, error) {
	stack, err := f.stack()
	if err != nil {
		return Version{}, err
	}
	return f.Get(stack[len(stack)-1])
}

// stack is which versions were active one after the other, without those that were
// reverted.
func (f Folder) stack() ([]int, error) {
	turns, err := f.Turns()
	if err != nil {
		return nil, err
	}
	stack := []int{First}
	for _, t := range turns {
		switch {
		case !t.Revert:
			stack = append(stack, t.Version)
		case len(stack) > 1:
			stack = stack[:len(stack)-1]
		}
	}
	return stack, nil
}

// Turns lists what was made active, oldest first.
func (f Folder) Turns() ([]Turn, error) {
	path := filepath.Join(string(f), turnsFile)
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is active: %w", err)
	}
	var out []Turn
	for i, line := range bytes.Split(text, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var t Turn
		if err := json.Unmarshal(line, &t); err != nil {
			return nil, fmt.Errorf("read what is active: %s line %d: %w", path, i+1, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// Activate makes a version count.
func (f Folder) Activate(number int, by string, at time.Time) error {
	if _, err := f.Get(number); err != nil {
		return err
	}
	return f.turn(Turn{Version: number, By: by, At: at})
}

// Revert makes the version before count again and returns it.
func (f Folder) Revert(by string, at time.Time) (Version, error) {
	stack, err := f.stack()
	if err != nil {
		return Version{}, err
	}
	if len(stack) == 1 {
		return Version{}, fmt.Errorf("%w: version %d is active, and none was before it", ErrNone, First)
	}
	v, err := f.Get(stack[len(stack)-2])
	if err != nil {
		return Version{}, err
	}
	return v, f.turn(Turn{Version: v.Number, Revert: true, By: by, At: at})
}

func (f Folder) turn(t Turn) error {
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("make a version active: %w", err)
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fmt.Errorf("make a version active: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(string(f), turnsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make a version active: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("make a version active: %w", err)
	}
	return nil
}
