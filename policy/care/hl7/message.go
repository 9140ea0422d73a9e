package hl7

import (
	"bytes"
	"iter"
	"strings"
)

// What a message may hold at most. Messages of admissions and appointments are
// a few kilobytes.
const (
	MaxBytes    = 1 << 20
	maxSegments = 2000
	maxFields   = 500
)

// Message is one message, split into segments.
type Message struct {
	segments []Segment
}

// Segment is one line of a message.
type Segment struct {
	Name   string
	fields []string // of MSH, fields[0] is MSH-2
	d      *delimiters
}

// delimiters are the five separators that MSH declares.
type delimiters struct{ field, component, repetition, escape, sub byte }

// Parse reads one message. Lines end in CR, LF or both; file and batch headers
// around the message are left out; a second MSH is an error (see Split).
func Parse(raw []byte) (*Message, error) {
	if len(raw) > MaxBytes {
		return nil, &Error{Code: DataType, What: "is too large"}
	}
	d, head, err := declared(raw)
	if err != nil {
		return nil, err
	}
	text, err := decode(raw, head.at(18))
	if err != nil {
		return nil, err
	}
	m := &Message{}
	for line := range lines(text) {
		s, err := d.segment(line)
		switch {
		case err != nil:
			return nil, err
		case envelope(s.Name):
			continue
		case s.Name == "MSH" && len(m.segments) > 0:
			return nil, &Error{Code: SegmentSequence, Segment: "MSH", Sequence: 2, What: "begins a second message"}
		case s.Name != "MSH" && len(m.segments) == 0:
			return nil, &Error{Code: SegmentSequence, Segment: "MSH", What: "is not the first segment"}
		case len(m.segments) == maxSegments:
			return nil, &Error{Code: SegmentSequence, What: "has too many segments"}
		}
		m.segments = append(m.segments, s)
	}
	return m, nil
}

// Split returns the messages of a frame or file, which are one unless it holds
// a batch. What cannot be split is returned whole, for Parse to refuse.
func Split(raw []byte) [][]byte {
	var starts []int
	for at := range lineStarts(raw) {
		if bytes.HasPrefix(raw[at:], []byte("MSH")) {
			starts = append(starts, at)
		}
	}
	if len(starts) < 2 {
		return [][]byte{raw}
	}
	out := make([][]byte, len(starts))
	for i, at := range starts {
		end := len(raw)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		out[i] = raw[at:end]
	}
	return out
}

// lineStarts yields the offset of each line of raw.
func lineStarts(raw []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		begin := true
		for i, c := range raw {
			end := c == '\r' || c == '\n'
			if begin && !end && !yield(i) {
				return
			}
			begin = end
		}
	}
}

// lines yields the lines of text that hold anything.
func lines(text string) iter.Seq[string] {
	return strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\r' || r == '\n' })
}

// envelope reports whether a segment belongs to a file or batch around messages.
func envelope(name string) bool {
	return name == "FHS" || name == "BHS" || name == "BTS" || name == "FTS"
}

// declared reads the separators from the first MSH of raw, and the segment
// itself as bytes, before the character set is known.
func declared(raw []byte) (*delimiters, Segment, error) {
	for at := range lineStarts(raw) {
		line := raw[at:]
		if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
			line = line[:end]
		}
		if len(line) >= 3 && envelope(string(line[:3])) {
			continue
		}
		if !bytes.HasPrefix(line, []byte("MSH")) {
			break
		}
		d, err := separators(line)
		if err != nil {
			return nil, Segment{}, err
		}
		s, err := d.segment(string(line))
		return d, s, err
	}
	return nil, Segment{}, &Error{Code: SegmentSequence, Segment: "MSH", What: "is not the first segment"}
}

// separators reads MSH-1 and MSH-2. Those left out have their usual value.
func separators(line []byte) (*delimiters, error) {
	if len(line) < 4 {
		return nil, &Error{Code: FieldMissing, Segment: "MSH", Field: 1, What: "is missing"}
	}
	d := &delimiters{field: line[3], component: '^', repetition: '~', escape: '\\', sub: '&'}
	declared, _, _ := bytes.Cut(line[4:], line[3:4])
	if len(declared) < 1 || len(declared) > 5 {
		return nil, &Error{Code: DataType, Segment: "MSH", Field: 2, What: "does not declare the separators"}
	}
	places := []*byte{&d.component, &d.repetition, &d.escape, &d.sub}
	for i, c := range declared[:min(len(declared), 4)] { // v2.7 adds a fifth, for truncation
		*places[i] = c
	}
	all := []byte{d.field, d.component, d.repetition, d.escape, d.sub}
	for i, c := range all {
		if !punctuation(c) || bytes.IndexByte(all[:i], c) >= 0 {
			return nil, &Error{Code: DataType, Segment: "MSH", Field: 2, What: "declares a separator twice or one that cannot separate"}
		}
	}
	return d, nil
}

func punctuation(c byte) bool {
	return c > ' ' && c < 0x7f && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}

// segment splits one line.
func (d *delimiters) segment(line string) (Segment, error) {
	name, rest, _ := strings.Cut(line, string(d.field))
	if !segmentName(name) {
		return Segment{}, &Error{Code: SegmentSequence, What: "has a line that is no segment"}
	}
	s := Segment{Name: name, d: d}
	if strings.Count(rest, string(d.field)) >= maxFields {
		return Segment{}, &Error{Code: DataType, Segment: name, What: "has too many fields"}
	}
	s.fields = strings.Split(rest, string(d.field))
	return s, nil
}

func segmentName(s string) bool {
	if len(s) != 3 || s[0] < 'A' || s[0] > 'Z' {
		return false
	}
	for _, c := range []byte(s[1:]) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// All yields the segments in order.
func (m *Message) All() iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		for _, s := range m.segments {
			if !yield(s) {
				return
			}
		}
	}
}

// Segment returns the first segment of a name, or an empty one.
func (m *Message) Segment(name string) Segment {
	for _, s := range m.segments {
		if s.Name == name {
			return s
		}
	}
	return Segment{Name: name, d: m.segments[0].d}
}

// Group is what belongs to one patient in a message: a PID segment and those
// that follow it up to the next.
type Group struct{ Message }

// Groups splits the message at each PID. A message without PID has none.
func (m *Message) Groups() []Group {
	var out []Group
	for _, s := range m.segments {
		if s.Name == "PID" {
			out = append(out, Group{})
		}
		if n := len(out); n > 0 {
			out[n-1].segments = append(out[n-1].segments, s)
		}
	}
	return out
}

// Field returns a field by its number, an empty one where there is none.
func (s Segment) Field(n int) Value {
	if s.d == nil {
		return Value{}
	}
	if s.Name == "MSH" && n == 1 {
		return Value{raw: string(s.d.field), d: &delimiters{}}
	}
	if s.Name == "MSH" && n == 2 {
		return Value{raw: s.at(n), d: &delimiters{}} // it is no text with separators, it declares them
	}
	return Value{raw: s.at(n), d: s.d}
}

// at returns the bytes of field n.
func (s Segment) at(n int) string {
	i := n - 1
	if s.Name == "MSH" {
		i--
	}
	if i < 0 || i >= len(s.fields) {
		return ""
	}
	return s.fields[i]
}

// Present reports whether the message holds the segment.
func (s Segment) Present() bool { return s.fields != nil }
