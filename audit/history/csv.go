package history

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
)

var (
	errYesNo = errors.New("neither yes nor no")
	errCount = errors.New("not a whole number from 0")
)

// csvSource is a CSV file behind its heading.
type csvSource struct{ sheet *intake.Sheet }

func (s csvSource) next() (item, error) {
	r, err := s.sheet.Next()
	return item{line: r.Line, text: r.Text, record: r.Fields, err: r.Bad}, err
}

// table says what the columns of one file are.
type table struct {
	mapping *Mapping
	clock   intake.Moments
	columns []column
}

// column is what one column is: a field of an access, or something to keep.
type column struct {
	heading string
	field   string // "" means that it is kept under its heading
	ignored bool
}

// openCSV reads the heading and finds the columns that the mapping names.
func openCSV(in io.Reader, m *Mapping) (csvSource, *table, error) {
	clock, err := m.Time.Moments()
	if err != nil {
		return csvSource{}, nil, fmt.Errorf("%w: %w", intake.ErrFile, err)
	}
	sheet, heading, err := intake.NewSheet(in, intake.Comma(m.Delimiter))
	if err != nil {
		return csvSource{}, nil, err
	}
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
			return csvSource{}, nil, fmt.Errorf("%w: the mapping takes %s from column %q, which the file does not have: it has %s",
				intake.ErrFile, field, name, strings.Join(heading, ", "))
		}
		t.columns[at].field = field
	}
	return csvSource{sheet}, t, nil
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
		if f.Extra, unknown, err = intake.Clean(kept.Bytes(), p.hasher); err != nil {
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
		f.Time, err = t.clock.Read(value)
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
