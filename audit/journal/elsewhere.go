package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The file elsewhere in the primary names the other places that hold records
// which the primary does not. A start without one of them is refused, instead of
// going on where the primary ends and using numbers a second time (GW-13). The
// file has a block of its own from the beginning, so that it can be written when
// the disk is full. A primary that takes no write at all cannot be told; should
// it come back when the second place is gone, the fork is found when that one is
// back (BUG: not before).
const (
	elsewhereName = "elsewhere"
	elsewhereSize = 4096
)

// elsewhere reads the names; none when the file is not there.
func (d folder) elsewhere() ([]string, error) {
	b, err := d.root.ReadFile(elsewhereName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' || r == 0 }), nil
}

// setElsewhere writes the names, durably.
func (d folder) setElsewhere(names []string) error {
	b := make([]byte, elsewhereSize)
	if text := strings.Join(names, "\n"); copy(b, text) < len(text) {
		return errors.New("names of second places are too long")
	}
	if _, err := d.root.Stat(elsewhereName); errors.Is(err, fs.ErrNotExist) {
		return d.put(elsewhereName, b)
	}
	f, _, err := d.open(elsewhereName, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// mark notes that a place holds records.
func (j *Journal) mark(s *site) error {
	j.marking.Lock()
	defer j.marking.Unlock()
	if slices.Contains(j.marked, s.Name()) {
		return nil
	}
	names := append(slices.Clone(j.marked), s.Name())
	if err := j.dir.setElsewhere(names); err != nil {
		return fmt.Errorf("note in the primary that %s holds records: %w", s.Name(), err)
	}
	j.marked = names
	return nil
}

// unmark notes that a place holds no records any more, when that is so.
func (j *Journal) unmark(s *site) error {
	j.marking.Lock()
	defer j.marking.Unlock()
	at := slices.Index(j.marked, s.Name())
	j.mu.Lock()
	inUse, bad := j.w.site == s, s.bad
	j.mu.Unlock()
	if at < 0 || inUse || bad != nil {
		return nil
	}
	names, err := s.List()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, _, isSegment, _ := parseName(name); isSegment {
			return nil
		}
	}
	left := slices.Delete(slices.Clone(j.marked), at, at+1)
	if err := j.dir.setElsewhere(left); err != nil {
		return fmt.Errorf("note in the primary that %s holds nothing: %w", s.Name(), err)
	}
	j.marked = left
	return nil
}
