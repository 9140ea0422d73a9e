package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// location is where a segment can be read.
type location struct {
	place  Place
	packed bool // compressed
}

// open opens the segment id there.
func (l location) open(id segmentID) (View, int64, error) {
	if l.packed {
		return openPacked(l.place, id.stem()+packedSuffix)
	}
	return l.place.View(id.name())
}

// held is a segment and where its copies are, the best one first.
type held struct {
	header
	where []location
	bad   error // why the header cannot be read; nil when it was, or need not be
}

func (h held) name() string { return h.id.name() }

// open opens the first copy that is there.
func (h held) open() (View, int64, error) {
	err := fmt.Errorf("%s: %w", h.name(), fs.ErrNotExist)
	for _, l := range h.where {
		v, size, openErr := l.open(h.id)
		if openErr == nil {
			return v, size, nil
		}
		err = fmt.Errorf("%s in %s: %w", h.name(), l.place.Name(), openErr)
	}
	return nil, 0, err
}

// gather lists the segments of several places, ascending. Headers of compressed
// segments are read only when deep is set: a start does not depend on them.
func gather(places []Place, deep bool) (all []held, misnamed []Damage, err error) {
	byID := map[segmentID]*held{}
	for _, p := range places {
		names, err := p.List()
		if err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", p.Name(), err)
		}
		for _, name := range names {
			id, packed, isSegment, err := parseName(name)
			var bad *Damage
			switch {
			case errors.As(err, &bad):
				misnamed = append(misnamed, *bad)
			case isSegment:
				if byID[id] == nil {
					byID[id] = &held{header: header{id: id}}
				}
				if l := (location{p, packed}); !slices.Contains(byID[id].where, l) {
					byID[id].where = append(byID[id].where, l)
				}
			}
		}
	}
	for _, h := range byID {
		slices.SortStableFunc(h.where, func(a, b location) int { return order(a.packed) - order(b.packed) })
		if !h.where[0].packed || deep {
			h.readHeader()
		}
		all = append(all, *h)
	}
	slices.SortFunc(all, func(a, b held) int { return a.id.compare(b.id) })
	for i := range all {
		if i > 0 && (all[i].source == "" || all[i].bad != nil) {
			all[i].prev = all[i-1].id // what the name says, since the header does not
		}
	}
	return all, misnamed, nil
}

func order(last bool) int {
	if last {
		return 1
	}
	return 0
}

func (h *held) readHeader() {
	v, _, err := h.open()
	if err != nil {
		h.bad = err
		return
	}
	read, err := readHeader(v, h.name())
	if err = errors.Join(err, v.Close()); err != nil {
		h.bad = err
		return
	}
	if read.id != h.id {
		h.bad = &Damage{File: h.name(), Offset: 8, What: "segment out of place"}
		return
	}
	h.header = read
}

// hole is a run of records whose segments are not there.
type hole struct {
	first, last uint64
	before      segmentID // the segment that names the missing one
}

// chained follows the segments from the newest back to the oldest, each to the
// one it names. strays are the others: attempts of which nothing was
// acknowledged, when all is well. The oldest segment may follow one that was
// taken away; a missing one in between is a hole.
func chained(all []held) (chain, strays []held, holes []hole) {
	for i := len(all) - 1; i >= 0; {
		h := all[i]
		chain = append(chain, h)
		if h.prev.first == 0 {
			strays = append(strays, all[:i]...)
			break
		}
		n, ok := slices.BinarySearchFunc(all[:i], h.prev, func(h held, id segmentID) int { return h.id.compare(id) })
		if !ok {
			if n = i - 1; n >= 0 {
				holes = append(holes, hole{first: h.prev.first, last: h.id.first - 1, before: h.id})
			}
		}
		if n >= 0 {
			strays = append(strays, all[n+1:i]...)
		}
		i = n
	}
	slices.Reverse(chain)
	return chain, strays, holes
}

// shelf finds records in segments. It remembers where some of them are, so that
// reading on from where the last call ended costs no search.
type shelf struct {
	mu      sync.Mutex
	chain   []held // ascending
	gone    uint64 // records up to here were disposed of
	marks   map[segmentID][]mark
	segment segmentID // where the last call ended
	cursor  mark
}

// add makes the segment known that follows the others.
func (s *shelf) add(h held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chain = append(s.chain, h)
}

// move says where the copies of a segment are now.
func (s *shelf) move(id segmentID, where ...location) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.chain {
		if s.chain[i].id == id {
			s.chain[i].where = where
		}
	}
}

// segments returns the chain as it is now.
func (s *shelf) segments() []held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.chain)
}

// find returns the segment that holds record seq, the last record in it that
// counts (0: no other segment follows) and the place from which to look for seq.
func (s *shelf) find(seq uint64) (h held, last uint64, from mark, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := slices.BinarySearchFunc(s.chain, seq, func(h held, seq uint64) int { return h.id.compare(segmentID{first: seq}) })
	if !found && (i == len(s.chain) || s.chain[i].id.first != seq) {
		i--
	}
	if i < 0 {
		return held{}, 0, mark{}, false
	}
	h = s.chain[i]
	if i+1 < len(s.chain) {
		last = s.chain[i+1].id.first - 1
	}
	from = mark{seq: h.id.first, off: segmentHead}
	marks := s.marks[h.id]
	if n, found := slices.BinarySearchFunc(marks, seq, bySeq); found {
		from = marks[n]
	} else if n > 0 {
		from = marks[n-1]
	}
	if s.segment == h.id && s.cursor.seq <= seq && s.cursor.seq > from.seq {
		from = s.cursor
	}
	return h, last, from, true
}

// note remembers a place.
func (s *shelf) note(segment segmentID, m mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	marks := s.marks[segment]
	if i, found := slices.BinarySearchFunc(marks, m.seq, bySeq); !found {
		s.marks[segment] = slices.Insert(marks, i, m)
	}
}

// rest remembers where a call ended.
func (s *shelf) rest(segment segmentID, m mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segment, s.cursor = segment, m
}

// walk hands the records from number from on to visit, in order, until it
// returns errEnough, or up to durable.
func (s *shelf) walk(from uint64, durable position, visit func(seq uint64, f frame) error) error {
	for from <= durable.seq {
		next, err := s.walkSegment(from, durable, visit)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// walkSegment walks to the end of one segment and returns the number that
// follows.
func (s *shelf) walkSegment(from uint64, durable position, visit func(uint64, frame) error) (next uint64, err error) {
	h, last, at, ok := s.find(from)
	if !ok {
		return 0, errors.New("older than the oldest segment")
	}
	f, end, err := h.open()
	if errors.Is(err, fs.ErrNotExist) { // it was brought home or compressed in between
		h, last, at, _ = s.find(from)
		f, end, err = h.open()
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if h.id == durable.segment {
		end = durable.end
	}
	if last == 0 || last > durable.seq {
		last = durable.seq
	}
	in := readFrames(f, at.off, end)
	for seq := at.seq; seq <= last; seq++ {
		off := in.off
		fr, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errNoFrame) {
			return 0, &Damage{File: h.name(), Offset: off, What: err.Error()}
		}
		if err != nil {
			return 0, fmt.Errorf("%s at offset %d: %w", h.name(), off, err)
		}
		if seq%markEvery == 0 {
			s.note(h.id, mark{seq: seq, off: off})
		}
		if seq < from {
			continue
		}
		if err := visit(seq, fr); err != nil {
			if errors.Is(err, errEnough) {
				s.rest(h.id, mark{seq: seq + 1, off: in.off})
				return 0, err
			}
			return 0, &Damage{File: h.name(), Offset: off, What: err.Error()}
		}
	}
	s.rest(h.id, mark{seq: last + 1, off: in.off})
	return last + 1, nil
}
