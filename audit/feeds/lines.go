package feeds

import (
	"encoding/binary"
	"iter"
	"time"
)

// CareLines are the lines of the care feed, packed: a large hospital has tens of
// millions a year. Words that come again are numbers, times are seconds. A nil
// CareLines is a feed that is missing. Times come back as UTC.
type CareLines struct {
	data    []byte
	starts  []uint64 // where each line begins in data
	numbers map[string]uint64
	words   []string
}

// CareOf packs lines.
func CareOf(lines ...Care) *CareLines {
	l := &CareLines{numbers: map[string]uint64{}}
	l.Add(lines...)
	return l
}

// Len is how many there are.
func (l *CareLines) Len() int {
	if l == nil {
		return 0
	}
	return len(l.starts)
}

// What a line has besides its words.
const (
	hasEnd    = 1 << iota
	ownProof  // the evidence is another text than the visit
	hasExtra  // fields that the format does not have
	hasPeople // it names people
)

func (c *Care) has() byte {
	flags := byte(0)
	if !c.End.IsZero() {
		flags |= hasEnd
	}
	if c.Evidence != c.Visit {
		flags |= ownProof
	}
	if c.Extra != "" {
		flags |= hasExtra
	}
	if len(c.People) > 0 {
		flags |= hasPeople
	}
	return flags
}

// Add takes more lines in.
func (l *CareLines) Add(lines ...Care) {
	for i := range lines {
		l.add(&lines[i])
	}
}

func (l *CareLines) add(c *Care) {
	l.starts = append(l.starts, uint64(len(l.data)))
	flags := c.has()
	b := append(l.data, flags)
	for _, word := range c.repeating() {
		b = binary.AppendUvarint(b, l.number(*word))
	}
	b = appendTime(b, c.Start)
	b = appendText(b, c.Visit)
	if flags&hasEnd != 0 {
		b = appendTime(b, c.End)
	}
	if flags&ownProof != 0 {
		b = appendText(b, c.Evidence)
	}
	if flags&hasExtra != 0 {
		b = appendText(b, c.Extra)
	}
	if flags&hasPeople != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.People)))
		for _, p := range c.People {
			b = binary.AppendUvarint(b, l.number(p))
		}
	}
	l.data = b
}

// repeating are the texts that many lines share.
func (c *Care) repeating() [6]*string {
	return [...]*string{&c.Patient, &c.Kind, &c.Ward, &c.Bed, &c.Specialty, &c.Team}
}

func (l *CareLines) number(word string) uint64 {
	n, ok := l.numbers[word]
	if !ok {
		n = uint64(len(l.words))
		l.numbers[word] = n
		l.words = append(l.words, word)
	}
	return n
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(b, t.Unix()), uint64(t.Nanosecond())) //nolint:gosec // never negative
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// At is one line.
func (l *CareLines) At(i int) Care {
	var c Care
	l.read(i, &c, packed.text)
	return c
}

// All goes over the lines in their order, without what is to look up (visit,
// evidence, extra). Each is valid until the next.
func (l *CareLines) All() iter.Seq2[int, *Care] {
	return func(yield func(int, *Care) bool) {
		var c Care
		for i := range l.Len() {
			l.read(i, &c, packed.skip)
			if !yield(i, &c) {
				return
			}
		}
	}
}

// read unpacks one line and uses the room that c has.
func (l *CareLines) read(i int, c *Care, text func(packed) (string, packed)) {
	p := packed(l.data[l.starts[i]:])
	flags := p[0]
	p = p[1:]
	people := c.People[:0]
	*c = Care{}
	for _, word := range c.repeating() {
		*word = l.words[p.number()]
	}
	c.Start = p.time()
	c.Visit, p = text(p)
	c.Evidence = c.Visit
	if flags&hasEnd != 0 {
		c.End = p.time()
	}
	if flags&ownProof != 0 {
		c.Evidence, p = text(p)
	}
	if flags&hasExtra != 0 {
		c.Extra, p = text(p)
	}
	if flags&hasPeople != 0 {
		for range p.number() {
			people = append(people, l.words[p.number()])
		}
		c.People = people
	}
}

// packed is what is left to read of a line.
type packed []byte

func (p *packed) number() uint64 {
	n, size := binary.Uvarint(*p)
	*p = (*p)[size:]
	return n
}

func (p *packed) time() time.Time {
	seconds, size := binary.Varint(*p)
	*p = (*p)[size:]
	return time.Unix(seconds, int64(p.number())).UTC() //nolint:gosec // it was packed from a time
}

func (p packed) text() (string, packed) {
	n := p.number()
	return string(p[:n]), p[n:]
}

func (p packed) skip() (string, packed) {
	n := p.number()
	return "", p[n:]
}
