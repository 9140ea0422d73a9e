package intake

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxRecord bounds one record of a CSV file.
const maxRecord = 1 << 20

var errRecord = errors.New("the record is longer than 1 MiB: is a closing quote missing? What follows is not read")

// capture remembers what was read since the last record, to show it and to
// bound it: a quote that is never closed would swallow the file.
type capture struct {
	r    io.Reader
	buf  []byte
	base int64 // offset of buf
}

func (c *capture) Read(b []byte) (int, error) {
	if len(c.buf) > maxRecord {
		return 0, errRecord
	}
	n, err := c.r.Read(b)
	c.buf = append(c.buf, b[:n]...)
	return n, err
}

// until takes what was read up to offset.
func (c *capture) until(offset int64) []byte {
	n := offset - c.base
	text := c.buf[:n:n]
	c.buf, c.base = c.buf[n:], offset
	return text
}

// Record is one record of a CSV file. Bad says why it cannot be taken.
type Record struct {
	Line   int
	Text   []byte
	Fields []string
	Bad    error
}

// Sheet is a CSV file behind its heading.
type Sheet struct {
	in     *csv.Reader
	raw    *capture
	lines  int // that were read
	failed bool
}

// NewSheet reads the heading.
func NewSheet(in io.Reader, comma rune) (s *Sheet, heading []string, err error) {
	s = &Sheet{raw: &capture{r: in}}
	s.in = csv.NewReader(s.raw)
	s.in.Comma = comma
	if heading, err = s.in.Read(); err != nil {
		return nil, nil, fmt.Errorf("%w: the heading cannot be read: %w", ErrFile, err)
	}
	s.lines = bytes.Count(s.raw.until(s.in.InputOffset()), []byte("\n"))
	return s, heading, nil
}

// Comma is the delimiter that a mapping names: one character, or tab. Default: a
// comma.
func Comma(name string) rune {
	switch name {
	case "":
		return ','
	case "tab":
		return '\t'
	}
	r, _ := utf8.DecodeRuneInString(name)
	return r
}

// Next returns the next record; it ends with io.EOF.
func (s *Sheet) Next() (Record, error) {
	if s.failed {
		return Record{}, io.EOF
	}
	record, err := s.in.Read()
	if errors.Is(err, errRecord) {
		s.failed = true // nobody can say where the next record begins
		return Record{Line: s.lines + 1, Bad: errRecord}, nil
	}
	text := s.raw.until(s.in.InputOffset())
	it := Record{Line: s.lines + 1, Text: bytes.TrimSpace(text), Fields: record}
	s.lines += bytes.Count(text, []byte("\n"))
	var bad *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		it.Line, _ = s.in.FieldPos(0)
		it.Bad = fmt.Errorf("%d fields where the heading has %d", len(record), s.in.FieldsPerRecord)
	case errors.As(err, &bad):
		it.Line = bad.StartLine
		it.Bad = fmt.Errorf("not CSV: %w at byte %d of line %d", bad.Err, bad.Column, bad.Line)
	case err != nil:
		return Record{}, err
	default:
		it.Line, _ = s.in.FieldPos(0)
	}
	return it, nil
}
