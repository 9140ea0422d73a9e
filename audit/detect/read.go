package detect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// maxLine bounds one line of a context file.
const maxLine = 1 << 20

// Reject is one line that was left out. Reason names fields and never values.
type Reject struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// Report is what reading a file brought to light besides its content.
type Report struct {
	Rejects []Reject
	Unknown []string // fields that are not known, each once, sorted
}

// ReadStaff reads a staff file. Bad lines are left out and reported.
func (h Hasher) ReadStaff(r io.Reader) ([]Staff, Report, error) { return read(r, h.staff) }

// ReadPatients reads a patients file. Bad lines are left out and reported.
func (h Hasher) ReadPatients(r io.Reader) ([]Patient, Report, error) { return read(r, h.patient) }

// ReadCare reads a care file. Bad lines are left out and reported.
func (h Hasher) ReadCare(r io.Reader) ([]Care, Report, error) { return read(r, h.care) }

// read takes a file line by line. The result is never nil: an empty file is a
// feed that says nothing, not a feed that is missing.
func read[T any](r io.Reader, parse func([]byte) (T, []string, error)) ([]T, Report, error) {
	out, report := []T{}, Report{}
	in := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, long, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, report, fmt.Errorf("read line %d: %w", n, err)
		}
		switch {
		case long:
			report.Rejects = append(report.Rejects, Reject{n, "the line is longer than 1 MiB"})
		case len(bytes.TrimSpace(line)) > 0:
			row, unknown, bad := parse(line)
			report.unknown(unknown)
			if bad != nil {
				report.Rejects = append(report.Rejects, Reject{n, bad.Error()})
			} else {
				out = append(out, row)
			}
		}
		if err != nil {
			return out, report, nil
		}
	}
}

// readLine reads up to the next line break and no more than maxLine of it.
func readLine(in *bufio.Reader) (line []byte, long bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if !long {
			line = append(line, part...)
			long = len(line) > maxLine
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, long, err
		}
	}
}

func (r *Report) unknown(fields []string) {
	for _, f := range fields {
		if at, found := slices.BinarySearch(r.Unknown, f); !found {
			r.Unknown = slices.Insert(r.Unknown, at, f)
		}
	}
}

type nameFields struct {
	Family string `json:"family"`
}

type addressFields struct {
	Line     string `json:"line"`
	Postcode string `json:"postcode"`
}

var (
	errJSON    = errors.New("not one JSON object with fields of the right kind")
	errMissing = errors.New("required and not there")
	errTime    = errors.New("not a time of RFC 3339 with its offset")
	errDay     = errors.New("not a day written as YYYY-MM-DD")
	errNumber  = errors.New("not a valid NHS number")
	errKind    = errors.New("not one of the kinds")
	errOrder   = errors.New("ends before it starts")
)

// decode reads one object into v and lists its fields that are not in known.
func decode(line []byte, v any, known ...string) (unknown []string, err error) {
	var all map[string]json.RawMessage
	if json.Unmarshal(line, &all) != nil || all == nil || json.Unmarshal(line, v) != nil {
		return nil, errJSON
	}
	for f := range all {
		if !slices.Contains(known, f) {
			unknown = append(unknown, f)
		}
	}
	return unknown, nil
}

func (h Hasher) staff(line []byte) (Staff, []string, error) {
	var in struct {
		Person  string        `json:"person"`
		Kind    string        `json:"kind"`
		Roles   []string      `json:"roles"`
		Wards   []string      `json:"wards"`
		Name    nameFields    `json:"name"`
		Address addressFields `json:"address"`
		NHS     string        `json:"nhs_number"`
		From    string        `json:"valid_from"`
		To      string        `json:"valid_to"`
	}
	unknown, err := decode(line, &in, "person", "roles", "name", "profession", "grade", "team", "wards", "site", "cost_centre", "manager",
		"start", "end", "valid_from", "valid_to", "date_of_birth", "sex", "nhs_number", "address", "registration", "kind")
	if err != nil {
		return Staff{}, nil, err
	}
	from, errFrom := day("valid_from", in.From)
	to, errTo := day("valid_to", in.To)
	err = errors.Join(required("person", in.Person != ""), required("roles", len(in.Roles) > 0), errFrom, errTo, number(in.NHS),
		oneOf("kind", in.Kind, "", "staff", "bank", "student", "machine"), inOrder("valid_to", from, to))
	return Staff{
		Person: in.Person, Kind: in.Kind, Roles: in.Roles, Wards: in.Wards, From: from, To: to,
		Family: h.family(in.Name.Family), Address: h.address(in.Address.Line, in.Address.Postcode),
		Unit: h.unit(in.Address.Postcode), NHS: h.nhs(in.NHS),
	}, unknown, err
}

func (h Hasher) patient(line []byte) (Patient, []string, error) {
	var in struct {
		ID      string        `json:"patient"`
		NHS     string        `json:"nhs_number"`
		Name    nameFields    `json:"name"`
		Address addressFields `json:"address"`
		Merged  string        `json:"merged_into"`
	}
	unknown, err := decode(line, &in, "patient", "nhs_number", "name", "date_of_birth", "sex", "address", "phone", "next_of_kin",
		"flags", "died", "merged_into")
	if err != nil {
		return Patient{}, nil, err
	}
	return Patient{
		ID: in.ID, MergedInto: in.Merged, Family: h.family(in.Name.Family), NHS: h.nhs(in.NHS),
		Address: h.address(in.Address.Line, in.Address.Postcode), Unit: h.unit(in.Address.Postcode),
	}, unknown, errors.Join(required("patient", in.ID != ""), number(in.NHS))
}

func (Hasher) care(line []byte) (Care, []string, error) {
	var in struct {
		Patient  string `json:"patient"`
		Kind     string `json:"kind"`
		Start    string `json:"start"`
		End      string `json:"end"`
		Ward     string `json:"ward"`
		Visit    string `json:"visit"`
		Evidence string `json:"evidence"`
	}
	unknown, err := decode(line, &in, "patient", "kind", "start", "end", "ward", "bed", "specialty", "team", "people", "visit", "evidence")
	if err != nil {
		return Care{}, nil, err
	}
	start, errStart := moment("start", in.Start)
	end, errEnd := moment("end", in.End)
	if in.Evidence == "" {
		in.Evidence = in.Visit
	}
	err = errors.Join(required("patient", in.Patient != ""), required("start", in.Start != ""), errStart, errEnd, inOrder("end", start, end),
		oneOf("kind", in.Kind, "inpatient", "emergency", "outpatient", "referral", "order", "result", "theatre", "document", "team", "task"))
	return Care{Patient: in.Patient, Kind: in.Kind, Start: start, End: end, Ward: in.Ward, Evidence: in.Evidence}, unknown, err
}

func required(field string, there bool) error {
	if there {
		return nil
	}
	return fmt.Errorf("%s: %w", field, errMissing)
}

func oneOf(field, value string, kinds ...string) error {
	if slices.Contains(kinds, value) {
		return nil
	}
	return fmt.Errorf("%s: %w", field, errKind)
}

func inOrder(field string, start, end time.Time) error {
	if !end.IsZero() && end.Before(start) {
		return fmt.Errorf("%s: %w", field, errOrder)
	}
	return nil
}

func day(field, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", field, errDay)
	}
	return t, nil
}

func moment(field, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", field, errTime)
	}
	return t, nil
}

// number checks the length and the modulus 11 check digit; no number is fine.
func number(value string) error {
	if value == "" {
		return nil
	}
	digits := normal(value)
	bad := fmt.Errorf("nhs_number: %w", errNumber)
	if len(digits) != 10 {
		return bad
	}
	sum := 0
	for i := range 10 {
		d, err := strconv.Atoi(digits[i : i+1])
		if err != nil {
			return bad
		}
		sum += d * (10 - i)
	}
	// The last digit has weight 1 here, so that a valid number sums to 0 modulo 11.
	if sum%11 != 0 {
		return bad
	}
	return nil
}
