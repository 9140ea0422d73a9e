package journal

import (
	"errors"
	"path/filepath"
)

// Segment is one segment of a journal, as its name and the next one's tell.
type Segment struct {
	First uint64
	Last  uint64   // 0 for the newest one
	Files []string // every copy
	// Packed says that every copy is compressed: Archive has been here.
	Packed bool
	// Stray is an attempt of which nothing was acknowledged; Last is not known.
	Stray bool
}

// Segments lists the segments in the folders of a journal from the oldest on. It
// neither locks nor changes anything.
func Segments(dirs ...string) (list []Segment, err error) {
	places, closeAll, err := viewAll(dirs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	all, misnamed, err := gather(places, false)
	if err != nil {
		return nil, err
	}
	if len(misnamed) > 0 {
		return nil, &misnamed[0]
	}
	if len(all) == 0 {
		return nil, ErrMissing
	}
	chain, strays, _ := chained(all) // what is missing shows when it is read
	for i, h := range chain {
		s := segment(h)
		if i+1 < len(chain) {
			s.Last = chain[i+1].id.first - 1
		}
		list = append(list, s)
	}
	for _, h := range strays {
		s := segment(h)
		s.Stray = true
		list = append(list, s)
	}
	return list, nil
}

func segment(h held) Segment {
	s := Segment{First: h.id.first, Packed: true}
	for _, l := range h.where {
		name := h.id.name()
		if l.packed {
			name = h.id.stem() + packedSuffix
		}
		s.Packed = s.Packed && l.packed
		s.Files = append(s.Files, filepath.Join(l.place.Name(), name))
	}
	return s
}

// Forget says that the records up to upTo were disposed of: their segments are
// not looked for any more. It removes nothing.
func (j *Journal) Forget(upTo uint64) {
	j.shelf.mu.Lock()
	defer j.shelf.mu.Unlock()
	s := &j.shelf
	s.gone = max(s.gone, upTo)
	for len(s.chain) > 1 && s.chain[1].id.first-1 <= upTo && s.chain[0].where[0].packed {
		delete(s.marks, s.chain[0].id)
		s.chain = s.chain[1:]
	}
}

// Oldest is the number of the first record that was not disposed of.
func (j *Journal) Oldest() uint64 {
	j.shelf.mu.Lock()
	defer j.shelf.mu.Unlock()
	return j.shelf.gone + 1
}
