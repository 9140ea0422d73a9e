package history

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit"
)

var (
	errRecord   = errors.New("the record is longer than 1 MiB: is a closing quote missing? What follows is not read")
	errClock    = errors.New("time: does not fit the layout of the mapping")
	errNoMoment = errors.New("time: in the hour that the clocks left out")
	errYesNo    = errors.New("neither yes nor no")
	errCount    = errors.New("not a whole number from 0")
)

// capture remembers what was read since the last record, to show it and to
// bound it: a quote that is never closed would swallow the file.
type capture struct {
	r    io.Reader
	buf  []byte
	base int64 // offset of buf
}

func (c *capture) Read(b []byte) (int, error) {
	if len(c.buf) > maxLine {
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

// csvSource is a CSV file behind its heading.
type csvSource struct {
	in     *csv.Reader
	raw    *capture
	lines  int // that were read
	failed bool
}

func (s *csvSource) next() (item, error) {
	if s.failed {
		return item{}, io.EOF
	}
	record, err := s.in.Read()
	if errors.Is(err, errRecord) {
		s.failed = true // nobody can say where the next record begins
		return item{line: s.lines + 1, err: errRecord}, nil
	}
	text := s.raw.until(s.in.InputOffset())
	it := item{line: s.lines + 1, text: bytes.TrimSpace(text), record: record}
	s.lines += bytes.Count(text, []byte("\n"))
	var bad *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		it.line, _ = s.in.FieldPos(0)
		it.err = fmt.Errorf("%d fields where the heading has %d", len(record), s.in.FieldsPerRecord)
	case errors.As(err, &bad):
		it.line = bad.StartLine
		it.err = fmt.Errorf("not CSV: %w at byte %d of line %d", bad.Err, bad.Column, bad.Line)
	case err != nil:
		return item{}, err
	default:
		it.line, _ = s.in.FieldPos(0)
	}
	return it, nil
}

// table says what the columns of one file are.
type table struct {
	mapping *Mapping
	clock   clock
	columns []column
}

// column is what one column is: a field of an access, or something to keep.
type column struct {
	heading string
	field   string // "" means that it is kept under its heading
	ignored bool
}

// openCSV reads the heading and finds the columns that the mapping names.
func openCSV(in io.Reader, m *Mapping) (*csvSource, *table, error) {
	clock, err := m.Time.clock()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	s := &csvSource{raw: &capture{r: in}}
	s.in = csv.NewReader(s.raw)
	s.in.Comma = m.comma()
	heading, err := s.in.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the heading cannot be read: %w", ErrFile, err)
	}
	s.lines = bytes.Count(s.raw.until(s.in.InputOffset()), []byte("\n"))
	t := &table{mapping: m, clock: clock}
	for _, name := range heading {
		t.columns = append(t.columns, column{heading: name, ignored: slices.Contains(m.Ignore, name)})
	}
	for _, field := range fieldNames() {
		name, ok := m.Columns[field]
		if !ok {
			continue
		}
		at := slices.Index(heading, name)
		if at < 0 {
			return nil, nil, fmt.Errorf("%w: the mapping takes %s from column %q, which the file does not have: it has %s",
				ErrFile, field, name, strings.Join(heading, ", "))
		}
		t.columns[at].field = field
	}
	return s, t, nil
}

// parseRecord brings a record into the form of an access.
func (p *Parser) parseRecord(rows []audit.Imported, t *table, record []string) (_ []audit.Imported, unknown []string, err error) {
	var f fields
	for name, value := range t.mapping.Constants {
		if err := t.set(&f, name, value); err != nil {
			return rows, nil, err
		}
	}
	var kept bytes.Buffer
	enc := jsontext.NewEncoder(&kept, jsontext.AllowDuplicateNames(true))
	for i, c := range t.columns {
		value := strings.TrimSpace(record[i])
		switch {
		case value == "" || c.ignored:
		case c.field != "":
			if err := t.set(&f, c.field, value); err != nil {
				return rows, nil, err
			}
		default:
			if kept.Len() == 0 && enc.StackDepth() == 0 {
				_ = enc.WriteToken(jsontext.BeginObject) // into memory
			}
			if enc.WriteToken(jsontext.String(c.heading)) != nil || enc.WriteToken(jsontext.String(value)) != nil {
				return rows, nil, errors.New("not valid UTF-8")
			}
		}
	}
	if enc.StackDepth() > 0 {
		_ = enc.WriteToken(jsontext.EndObject)
		if f.Extra, unknown, err = p.clean(kept.Bytes()); err != nil {
			return rows, nil, err
		}
	}
	rows, err = p.append(rows, &f)
	return rows, unknown, err
}

// set puts a value into a field, in the words of the format.
func (t *table) set(f *fields, name, value string) (err error) {
	m := t.mapping
	switch name {
	case "time":
		f.Time, err = t.clock.read(value)
	case "action":
		f.Action = translated(m.Actions, value)
	case "outcome":
		f.Outcome = translated(m.Outcomes, value)
	case "deliberate":
		f.Deliberate, err = m.yesNo(name, value)
	case "break_glass":
		f.BreakGlass, err = m.yesNo(name, value)
	case "bytes":
		f.Bytes, err = count(name, value)
	case "results":
		f.Results, err = count(name, value)
	case "patients":
		for patient := range strings.SplitSeq(value, m.separator()) {
			f.Patients = append(f.Patients, strings.TrimSpace(patient))
		}
	default:
		*f.text(name) = value
	}
	return err
}

// translated looks a value up; what the mapping does not name stays as it is.
func translated(words map[string]string, value string) string {
	if word, ok := words[value]; ok {
		return word
	}
	return strings.ToLower(value)
}

func count(name, value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, errCount)
	}
	return n, nil
}

// clock reads times that are written in another way than RFC 3339.
type clock struct {
	layout string // as package time has it; "" is RFC 3339
	zone   *time.Location
}

// read returns the time in RFC 3339. In the hour that the clocks repeat, the
// first one is taken, since nobody can tell.
func (c clock) read(value string) (string, error) {
	if c.layout == "" {
		return value, nil
	}
	at, err := time.ParseInLocation(c.layout, value, c.zone)
	if err != nil {
		return "", errClock
	}
	if written, err := time.Parse(c.layout, value); err == nil && written.Minute()+60*written.Hour() != at.Minute()+60*at.Hour() {
		return "", errNoMoment
	}
	if first := at.Add(-time.Hour); first.Format(c.layout) == at.Format(c.layout) {
		at = first
	}
	return at.Format(time.RFC3339Nano), nil
}
