package care

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Person is one person of the staff list.
type Person struct {
	Person     string // as the sign-in service calls them
	Roles      []string
	Wards      []string // wards and clinics where they work
	Teams      []string
	Numbers    []ID // by which messages name them, e.g. GMC C3456789
	Start, End time.Time
	Long       bool // one of the roles needs records for longer after a stay
}

// Shift is a stretch of the rota in a ward.
type Shift struct {
	Person, Ward string
	Start, End   time.Time
}

// Device is where a workstation stands.
type Device struct {
	Device, Ward string
	From, To     time.Time
}

// Lists are what a hospital says about its people and devices.
type Lists struct {
	Staff   []Person
	Rota    []Shift
	Devices []Device
}

// Codes are the codes that lists may use; a nil list allows any.
type Codes struct {
	Roles, Wards, Teams []string
	LongRoles           []string       // roles for which Windows.LongWard holds
	Where               *time.Location // of days and of times without offset
}

// Problem is one thing that is wrong with a list.
type Problem struct {
	Line int
	What string
}

// Problems is everything that is wrong with a list. A list with a problem is not
// loaded, not even in part.
type Problems []Problem

// Error names every line, up to ten.
func (p Problems) Error() string {
	lines := make([]string, 0, min(len(p), 11))
	for i, one := range p {
		if i == 10 {
			lines = append(lines, fmt.Sprintf("and %d more", len(p)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("line %d: %s", one.Line, one.What))
	}
	return strings.Join(lines, "\n")
}

// What a list may hold at most.
const (
	maxLines    = 2_000_000
	maxProblems = 1000
)

// sheet reads a CSV file with a line of names at its top.
type sheet struct {
	r        *csv.Reader
	c        *Codes
	columns  map[string]int
	row      []string
	line     int
	problems Problems
}

// read calls each for every line of a file. The columns named must be there;
// others are left alone.
func read(in io.Reader, c *Codes, each func(*sheet), columns ...string) error {
	s := &sheet{r: csv.NewReader(in), c: c, columns: map[string]int{}, line: 1}
	s.r.ReuseRecord = true
	head, err := s.r.Read()
	if err != nil {
		return Problems{{1, "holds no names of columns"}}
	}
	for i, name := range head {
		s.columns[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range columns {
		if _, ok := s.columns[name]; !ok {
			s.wrong("has no column " + name)
		}
	}
	if len(s.problems) > 0 {
		return s.problems
	}
	for range maxLines {
		if s.row, err = s.r.Read(); errors.Is(err, io.EOF) {
			return s.result()
		}
		if syntax, ok := errors.AsType[*csv.ParseError](err); ok {
			s.line = syntax.Line
			s.wrong(syntax.Err.Error())
			if errors.Is(syntax.Err, csv.ErrFieldCount) {
				continue
			}
			return s.problems
		}
		if err != nil {
			return fmt.Errorf("read list: %w", err)
		}
		s.line, _ = s.r.FieldPos(0)
		if each(s); len(s.problems) >= maxProblems {
			return s.problems
		}
	}
	s.wrong("is one too many")
	return s.problems
}

func (s *sheet) result() error {
	if len(s.problems) > 0 {
		return s.problems
	}
	return nil
}

func (s *sheet) wrong(what string) { s.problems = append(s.problems, Problem{s.line, what}) }

// text returns a field, "" where the file has no such column.
func (s *sheet) text(column string) string {
	i, ok := s.columns[column]
	if !ok {
		return ""
	}
	return strings.Clone(strings.TrimSpace(s.row[i]))
}

// need returns a field that must not be empty.
func (s *sheet) need(column string) string {
	v := s.text(column)
	if v == "" || len(v) > maxText {
		s.wrong(column + " is empty or too long")
	}
	return v
}

// code returns a field that must be one of known, unless known is nil.
func (s *sheet) code(column, v string, known []string) {
	if known != nil && v != "" && !slices.Contains(known, v) {
		s.wrong(fmt.Sprintf("%s: code %.40q is unknown", column, v))
	}
}

// codes returns a field that holds several, with semicolons between them.
func (s *sheet) codes(column string, known []string) []string {
	var out []string
	for v := range strings.SplitSeq(s.text(column), ";") {
		if v = strings.TrimSpace(v); v != "" {
			s.code(column, v, known)
			out = append(out, v)
		}
	}
	return out
}

// time returns a time or day, zero for an empty field.
func (s *sheet) time(column string) time.Time {
	v := s.text(column)
	if v == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, v, s.c.Where); err == nil {
			return t
		}
	}
	s.wrong(column + " is no time")
	return time.Time{}
}

// stretch returns two times in order.
func (s *sheet) stretch(from, to string) (time.Time, time.Time) {
	start, end := s.time(from), s.time(to)
	if !end.IsZero() && end.Before(start) {
		s.wrong(to + " is before " + from)
	}
	return start, end
}

// ReadStaff reads a staff list: person, roles, and where known team, wards,
// registration_body, registration_number, ids (AUTHORITY|NUMBER), start, end.
// Several of a kind have semicolons between them.
func ReadStaff(in io.Reader, c Codes) ([]Person, error) {
	var out []Person
	lines := map[string]int{}
	err := read(in, &c, func(s *sheet) {
		p := Person{Person: s.need("person"), Roles: s.codes("roles", c.Roles), Wards: s.codes("wards", c.Wards), Teams: s.codes("team", c.Teams)}
		if len(p.Roles) == 0 {
			s.wrong("roles is empty")
		}
		if first, ok := lines[p.Person]; ok {
			s.wrong(fmt.Sprintf("person is on line %d already", first))
		}
		lines[p.Person] = s.line
		p.Start, p.End = s.stretch("start", "end")
		if n := s.text("registration_number"); n != "" {
			p.Numbers = append(p.Numbers, ID{s.need("registration_body"), n})
		}
		for _, id := range s.codes("ids", nil) {
			authority, value, ok := strings.Cut(id, "|")
			if !ok {
				authority, value = "", id
			}
			p.Numbers = append(p.Numbers, ID{authority, value})
		}
		p.Long = slices.ContainsFunc(p.Roles, func(r string) bool { return slices.Contains(c.LongRoles, r) })
		out = append(out, p)
	}, "person", "roles")
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ReadRota reads a rota: person, start, end, and where known kind and ward. Leave
// and sickness are left out: they take nothing away here.
func ReadRota(in io.Reader, staff []Person, c Codes) ([]Shift, error) {
	people := make(map[string]bool, len(staff))
	for _, p := range staff {
		people[p.Person] = true
	}
	var out []Shift
	err := read(in, &c, func(s *sheet) {
		v := Shift{Person: s.need("person"), Ward: s.text("ward")}
		if !people[v.Person] {
			s.wrong("person is not in the staff list")
		}
		s.code("ward", v.Ward, c.Wards)
		kind := s.text("kind")
		s.code("kind", kind, []string{"shift", "on-call", "leave", "sick"})
		v.Start, v.End = s.stretch("start", "end")
		if v.Start.IsZero() || v.End.IsZero() {
			s.wrong("start or end is missing")
		}
		if kind != "leave" && kind != "sick" {
			out = append(out, v)
		}
	}, "person", "start", "end")
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ReadDevices reads where devices stand: device, ward, and where known from, to.
func ReadDevices(in io.Reader, c Codes) ([]Device, error) {
	var out []Device
	err := read(in, &c, func(s *sheet) {
		d := Device{Device: s.need("device"), Ward: s.need("ward")}
		s.code("ward", d.Ward, c.Wards)
		d.From, d.To = s.stretch("from", "to")
		out = append(out, d)
	}, "device", "ward")
	if err != nil {
		return nil, err
	}
	return out, nil
}
