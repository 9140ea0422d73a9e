package table

import "encoding/binary"

// idsBlock is how many ids are read to find one: the first of them is whole.
const idsBlock = 64

// ids are texts in the order in which they came, each kept as how much it shares with
// the one before, and the rest. Numbers that count up take three bytes or so.
type ids struct {
	data   []byte
	blocks []uint64 // where each block begins
	last   []byte
	n      int
}

func (s *ids) add(id string) {
	shared := 0
	if s.n%idsBlock == 0 {
		s.blocks = append(s.blocks, uint64(len(s.data)))
	} else {
		for shared < min(len(id), len(s.last)) && id[shared] == s.last[shared] {
			shared++
		}
	}
	s.data = binary.AppendUvarint(s.data, uint64(shared))
	s.data = binary.AppendUvarint(s.data, uint64(len(id)-shared)) //nolint:gosec // shared is no more than the id
	s.data = append(s.data, id[shared:]...)
	s.last = append(s.last[:shared], id[shared:]...)
	s.n++
}

// drop takes the last one back.
func (s *ids) drop() {
	_, start := s.find(s.n - 1)
	s.data, s.n = s.data[:start], s.n-1
	if s.n%idsBlock == 0 {
		s.blocks = s.blocks[:len(s.blocks)-1]
	}
	if s.n > 0 {
		s.last, _ = s.find(s.n - 1)
	}
}

func (s *ids) at(i int) string {
	id, _ := s.find(i)
	return string(id)
}

// find is an id and where it begins in data.
func (s *ids) find(i int) (id []byte, start int) {
	next := int(s.blocks[i/idsBlock]) //nolint:gosec // it is in memory
	number := func() int {
		n, size := binary.Uvarint(s.data[next:])
		next += size
		return int(n) //nolint:gosec // the length of a text
	}
	for range i%idsBlock + 1 {
		start = next
		shared := number()
		more := number()
		id = append(id[:shared], s.data[next:next+more]...)
		next += more
	}
	return id, start
}
