package feeds

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/matron-epr/matron/audit/intake"
)

// Mapping says which column of a CSV file is which field of a feed. Its comments
// are the manual of the mapping file.
type Mapping struct {
	// Delimiter is one character, or tab. Default: a comma.
	Delimiter string `yaml:"delimiter"`
	// Columns names the column of each field, for example person: USER_ID. Parts
	// have a dot: name.family, address.postcode, registration.number; next_of_kin
	// is one person with next_of_kin.name, .phone and .relationship. A column that
	// stands nowhere is kept.
	Columns map[string]string `yaml:"columns"`
	// Constants are the same in every line, for example kind: shift. A column
	// that has a value wins.
	Constants map[string]string `yaml:"constants"`
	// Ignore names columns that are not kept.
	Ignore []string     `yaml:"ignore"`
	Time   intake.Clock `yaml:"time"`
	// Day is how days are written, made of YYYY, MM and DD. Default: YYYY-MM-DD.
	Day string `yaml:"day"`
	// Words translates what the file says, field by field, for example
	// kind: {IP: inpatient}. What is not listed is taken as it is.
	Words map[string]map[string]string `yaml:"words"`
	// Separator stands between the values of a list. Default: a semicolon.
	Separator string `yaml:"separator"`
}

// Problem is one mistake in a mapping.
type Problem struct{ Path, Text string }

// form is how a field is written in a file of objects.
type form int

const (
	asText form = iota
	asList
	asTime
	asDay
)

// fields lists what a feed has, required fields first.
func fields(k Kind) (all map[string]form, required []string) {
	switch k {
	case StaffFeed:
		return map[string]form{
			"person": asText, "roles": asList, "name.family": asText, "name.given": asText, "profession": asText, "grade": asText,
			"team": asText, "wards": asList, "site": asText, "cost_centre": asText, "manager": asText, "start": asDay, "end": asDay,
			"valid_from": asDay, "valid_to": asDay, "date_of_birth": asDay, "sex": asText, "nhs_number": asText, "address.line": asText,
			"address.postcode": asText, "registration.body": asText, "registration.number": asText, "kind": asText,
		}, []string{"person", "roles"}
	case RotaFeed:
		return map[string]form{"person": asText, "start": asTime, "end": asTime, "kind": asText, "ward": asText}, []string{"person", "start", "end"}
	case PatientsFeed:
		return map[string]form{
			"patient": asText, "nhs_number": asText, "name.family": asText, "name.given": asText, "date_of_birth": asDay, "sex": asText,
			"address.line": asText, "address.postcode": asText, "phone": asText, "next_of_kin.name": asText, "next_of_kin.phone": asText,
			"next_of_kin.relationship": asText, "flags": asList, "died": asDay, "merged_into": asText,
		}, []string{"patient"}
	case CareFeed:
		return map[string]form{
			"patient": asText, "kind": asText, "start": asTime, "end": asTime, "ward": asText, "bed": asText, "specialty": asText,
			"team": asText, "people": asList, "visit": asText, "evidence": asText,
		}, []string{"patient", "kind", "start"}
	case DevicesFeed:
		return map[string]form{"device": asText, "ward": asText, "kind": asText, "from": asTime, "to": asTime}, []string{"device"}
	case LabelsFeed:
		return map[string]form{"person": asText, "day": asDay, "kind": asText, "patient": asText}, []string{"person", "day", "kind"}
	}
	return nil, nil
}

// Validate reports every mistake of a mapping for one feed.
func (m *Mapping) Validate(k Kind) []Problem {
	var ps []Problem
	add := func(path, format string, args ...any) { ps = append(ps, Problem{path, fmt.Sprintf(format, args...)}) }
	all, required := fields(k)
	if m.Delimiter != "" && m.Delimiter != "tab" && utf8.RuneCountInString(m.Delimiter) != 1 || strings.ContainsAny(m.Delimiter, "\"\r\n") {
		add("delimiter", "must be one character, or tab")
	}
	check := func(path string, names []string) {
		for _, f := range names {
			if _, ok := all[f]; !ok {
				add(path+"."+f, "is no field of the %s feed: the fields are %s", k, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
			}
		}
	}
	check("columns", slices.Sorted(maps.Keys(m.Columns)))
	check("constants", slices.Sorted(maps.Keys(m.Constants)))
	check("words", slices.Sorted(maps.Keys(m.Words)))
	for _, f := range required {
		if m.Columns[f] == "" && m.Constants[f] == "" {
			add("columns", "%s is missing: name the column that holds it", f)
		}
	}
	if _, err := m.Time.Moments(); err != nil {
		add("time", "%s", err)
	}
	if layout := m.dayLayout(); !strings.Contains(layout, "2006") || !strings.Contains(layout, "01") || !strings.Contains(layout, "02") {
		add("day", "%q must have YYYY, MM and DD", m.Day)
	}
	return ps
}

func (m *Mapping) dayLayout() string {
	if m.Day == "" {
		return time.DateOnly
	}
	return strings.NewReplacer("YYYY", "2006", "MM", "01", "DD", "02").Replace(m.Day)
}

// columns says what each column of one file is.
type columns struct {
	*Mapping
	clock  intake.Moments
	forms  map[string]form
	fields []string // of each column; "" is kept under its heading, "-" is not
	names  []string
}

// open reads the heading; what follows comes as lines of JSON.
func (m *Mapping) open(in io.Reader, kind Kind) (nextLine, error) {
	clock, err := m.Time.Moments()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", intake.ErrFile, err)
	}
	sheet, heading, err := intake.NewSheet(in, intake.Comma(m.Delimiter))
	if err != nil {
		return nil, err
	}
	c := columns{Mapping: m, clock: clock, names: heading, fields: make([]string, len(heading))}
	c.forms, _ = fields(kind)
	for i, h := range heading {
		if slices.Contains(m.Ignore, h) {
			c.fields[i] = "-"
		}
	}
	for _, field := range slices.Sorted(maps.Keys(m.Columns)) {
		at := slices.Index(heading, m.Columns[field])
		if at < 0 {
			return nil, fmt.Errorf("%w: the mapping takes %s from column %q, which the file does not have: it has %s",
				intake.ErrFile, field, m.Columns[field], strings.Join(heading, ", "))
		}
		c.fields[at] = field
	}
	return func() ([]byte, int, error, error) {
		r, err := sheet.Next()
		if err != nil || r.Bad != nil {
			return nil, r.Line, r.Bad, err
		}
		line, bad := c.line(r.Fields)
		return line, r.Line, bad, nil
	}, nil
}

// line brings a record into the form of a line of JSON.
func (c *columns) line(record []string) ([]byte, error) {
	values, kept := maps.Clone(c.Constants), map[string]string{}
	if values == nil {
		values = map[string]string{}
	}
	for i, f := range c.fields {
		switch v := strings.TrimSpace(record[i]); {
		case v == "" || f == "-":
		case f == "":
			kept[c.names[i]] = v
		default:
			values[f] = v
		}
	}
	var out bytes.Buffer
	w := writer{enc: jsontext.NewEncoder(&out)}
	w.token(jsontext.BeginObject)
	parent := ""
	for _, f := range slices.Sorted(maps.Keys(values)) { // parts of one field come together
		whole, part, _ := strings.Cut(f, ".")
		if part == "" {
			whole = ""
		}
		if whole != parent {
			w.leave(parent)
			w.enter(whole)
			parent = whole
		}
		if part == "" {
			part = f
		}
		if err := c.value(&w, f, part, values[f]); err != nil {
			return nil, err
		}
	}
	w.leave(parent)
	for _, h := range slices.Sorted(maps.Keys(kept)) {
		w.token(jsontext.String(h))
		w.token(jsontext.String(kept[h]))
	}
	w.token(jsontext.EndObject)
	if w.err != nil {
		return nil, errors.New("not valid UTF-8, or a column with the name of a field")
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func (c *columns) value(w *writer, field, name, value string) error {
	word := func(v string) string {
		if t, ok := c.Words[field][v]; ok {
			return t
		}
		return v
	}
	w.token(jsontext.String(name))
	switch c.forms[field] {
	case asList:
		separator := c.Separator
		if separator == "" {
			separator = ";"
		}
		w.token(jsontext.BeginArray)
		for v := range strings.SplitSeq(value, separator) {
			if v = strings.TrimSpace(v); v != "" {
				w.token(jsontext.String(word(v)))
			}
		}
		w.token(jsontext.EndArray)
	case asTime:
		at, err := c.clock.Read(value)
		if err != nil {
			return err
		}
		w.token(jsontext.String(at))
	case asDay:
		day, err := time.Parse(c.dayLayout(), value)
		if err != nil {
			return fmt.Errorf("%s: does not fit the layout of the mapping", field)
		}
		w.token(jsontext.String(day.Format(time.DateOnly)))
	case asText:
		w.token(jsontext.String(word(value)))
	}
	return nil
}

// writer keeps the first error.
type writer struct {
	enc *jsontext.Encoder
	err error
}

func (w *writer) token(t jsontext.Token) {
	if w.err == nil {
		w.err = w.enc.WriteToken(t)
	}
}

// enter and leave open and close a field with parts; next of kin is a list.
func (w *writer) enter(whole string) {
	if whole == "" {
		return
	}
	w.token(jsontext.String(whole))
	if whole == "next_of_kin" {
		w.token(jsontext.BeginArray)
	}
	w.token(jsontext.BeginObject)
}

func (w *writer) leave(whole string) {
	if whole == "" {
		return
	}
	w.token(jsontext.EndObject)
	if whole == "next_of_kin" {
		w.token(jsontext.EndArray)
	}
}
