package auditevent

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Limits of one page.
const (
	DefaultCount = 50
	MaxCount     = 1000
)

// What the errors of ParseSearch wrap. Their text names the parameter and never
// its value, which may be a patient's number.
var (
	ErrParameter   = errors.New("search parameter not understood")
	ErrUnsupported = errors.New("search parameter not supported")
)

// Search is a search for AuditEvents, by the parameters of FHIR R4.
type Search struct {
	Patient   string // id as the application knows it
	NHSNumber string // ten digits
	Person    string
	From, To  time.Time // From inclusive, To exclusive
	Count     int
}

// Query is the question to the index of the record.
func (s Search) Query(site string) audit.Query {
	return audit.Query{
		Site: site, Patient: s.Patient, NHSNumber: s.NHSNumber, Person: s.Person, From: s.From, To: s.To, Limit: s.Count,
	}
}

// Values is the search as the server understood it.
func (s Search) Values() url.Values {
	v := url.Values{"_count": {strconv.Itoa(s.Count)}}
	switch {
	case s.NHSNumber != "":
		v.Set("patient", SystemNHSNumber+"|"+s.NHSNumber)
	case s.Patient != "":
		v.Set("patient", "Patient/"+s.Patient)
	}
	if s.Person != "" {
		v.Set("agent", s.Person)
	}
	if !s.From.IsZero() {
		v.Add("date", "ge"+instant(s.From))
	}
	if !s.To.IsZero() {
		v.Add("date", "lt"+instant(s.To))
	}
	return v
}

// ParseSearch reads the parameters of a search. Days and months without a time
// zone are those of in.
func ParseSearch(v url.Values, in *time.Location) (Search, error) {
	s := Search{Count: DefaultCount}
	for _, name := range slices.Sorted(maps.Keys(v)) { // sorted: the first mistake is always the same
		if err := s.set(name, v[name], in); err != nil {
			return Search{}, err
		}
	}
	if !s.To.IsZero() && !s.From.Before(s.To) {
		return Search{}, wrong("date", "the end is not after the beginning")
	}
	return s, nil
}

func wrong(name, what string) error {
	return fmt.Errorf("%w: %s: %s", ErrParameter, name, what)
}

// set takes one parameter in.
func (s *Search) set(name string, values []string, in *time.Location) error {
	if name == "date" {
		for _, value := range values {
			if err := s.setDate(value, in); err != nil {
				return err
			}
		}
		return nil
	}
	if !slices.Contains(supported(), name) {
		return fmt.Errorf("%w: %s: use %s", ErrUnsupported, shorten(text(name), 64), strings.Join(supported(), ", "))
	}
	if len(values) != 1 {
		return wrong(name, "give it once")
	}
	switch value := values[0]; name {
	case "patient":
		return s.setPatient(value)
	case "agent":
		if text(value) != value || value == "" || strings.ContainsAny(value, ",|") {
			return wrong(name, "give the id of one member of staff, as the record has it")
		}
		s.Person = strings.TrimPrefix(value, "Practitioner/")
	case "_count":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return wrong(name, "give a number from 1")
		}
		s.Count = min(n, MaxCount)
	case "_sort":
		if value != "-date" {
			return wrong(name, "only -date is supported, newest first")
		}
	case "_format":
		switch value {
		case "json", "application/json", "application/fhir+json", "application/fhir json": // a + that was not encoded
		default:
			return wrong(name, "only json is supported")
		}
	}
	return nil
}

func supported() []string { return []string{"patient", "agent", "date", "_count", "_sort", "_format"} }

// setPatient reads Patient/ID, ID, or an NHS number as system|value.
func (s *Search) setPatient(value string) error {
	const form = "give one patient as Patient/ID, ID, or " + SystemNHSNumber + "|number"
	system, number, found := strings.Cut(value, "|")
	if found {
		if system != SystemNHSNumber {
			return wrong("patient", "the only identifier system is "+SystemNHSNumber)
		}
		if s.NHSNumber = strings.ReplaceAll(number, " ", ""); !isNHSNumber(s.NHSNumber) {
			return wrong("patient", "not an NHS number: it has 10 digits, the last of which is a check digit")
		}
		return nil
	}
	s.Patient = strings.TrimPrefix(value, "Patient/")
	if s.Patient == "" || text(s.Patient) != s.Patient || strings.ContainsAny(s.Patient, ",/") {
		return wrong("patient", form)
	}
	return nil
}

// isNHSNumber checks the modulus 11 digit of the NHS Data Dictionary.
func isNHSNumber(s string) bool {
	if len(s) != 10 || !only(s, isDigit) {
		return false
	}
	sum := 0
	for i := range 9 {
		sum += int(s[i]-'0') * (10 - i)
	}
	return (11-sum%11)%11 == int(s[9]-'0')
}

// setDate narrows the time by one date with its prefix.
func (s *Search) setDate(value string, in *time.Location) error {
	prefix, rest := "eq", value
	if len(value) > 2 && isLetter(value[0]) {
		prefix, rest = value[:2], value[2:]
	}
	from, to, err := ParseTime(rest, in)
	if err != nil {
		return wrong("date", err.Error())
	}
	switch prefix {
	case "eq":
	case "ge":
		to = time.Time{}
	case "gt":
		from, to = to, time.Time{}
	case "lt":
		from, to = time.Time{}, from
	case "le":
		from = time.Time{}
	default:
		return wrong("date", "the prefix must be eq, ge, gt, le or lt")
	}
	if from.After(s.From) {
		s.From = from
	}
	if !to.IsZero() && (s.To.IsZero() || to.Before(s.To)) {
		s.To = to
	}
	return nil
}

// errTime says how a time is written.
var errTime = errors.New("write it like 2026-11-25, or like 2026-11-25T14:30:00Z with a time zone (+ in an address is %2B)")

// ParseTime reads a year, month, day or instant and returns the stretch of time
// that it covers, the end exclusive. What has no time zone is in in.
func ParseTime(s string, in *time.Location) (from, to time.Time, err error) {
	for _, l := range []struct {
		layout              string
		years, months, days int
		d                   time.Duration
	}{
		{"2006", 1, 0, 0, 0},
		{"2006-01", 0, 1, 0, 0},
		{"2006-01-02", 0, 0, 1, 0},
		{"2006-01-02T15:04Z07:00", 0, 0, 0, time.Minute},
		{"2006-01-02T15:04:05Z07:00", 0, 0, 0, time.Second},
	} {
		from, err = time.ParseInLocation(l.layout, s, in)
		if err != nil {
			continue
		}
		if strings.Contains(s, ".") { // a part of a second: the finest there is
			l.d = time.Microsecond
		}
		to = from.AddDate(l.years, l.months, l.days).Add(l.d)
		if instant(from) == "" || instant(to) == "" {
			break
		}
		return from, to, nil
	}
	return time.Time{}, time.Time{}, errTime
}
