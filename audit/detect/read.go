package detect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

// Hash is the keyed hash of something that names a person.
type Hash = pseudonym.Hash

// Hasher reads files and keeps what names a person as keyed hashes.
type Hasher struct{ pseudonym.Hasher }

// NewHasher makes a Hasher.
func NewHasher(key []byte) (Hasher, error) {
	h, err := pseudonym.New(key)
	return Hasher{h}, err
}

// ReadStaff reads a staff file. Bad lines are left out and reported.
func (h Hasher) ReadStaff(r io.Reader) ([]Staff, intake.Report, error) { return read(r, h.staff) }

// ReadPatients reads a patients file. Bad lines are left out and reported.
func (h Hasher) ReadPatients(r io.Reader) ([]Patient, intake.Report, error) {
	return read(r, h.patient)
}

// ReadCare reads a care file. Bad lines are left out and reported.
func (h Hasher) ReadCare(r io.Reader) ([]Care, intake.Report, error) { return read(r, h.care) }

// read takes a file line by line. The result is never nil: an empty file is a
// feed that says nothing, not a feed that is missing.
func read[T any](r io.Reader, parse func([]byte) (T, []string, error)) ([]T, intake.Report, error) {
	out, report := []T{}, intake.Report{}
	lines := intake.NewLines(r, maxLine)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return out, report, nil
		case errors.Is(err, intake.ErrTooLong):
			report.Reject(lines.Number(), err)
			continue
		case err != nil:
			return nil, report, err
		}
		row, unknown, bad := parse(line)
		report.AddUnknown(unknown...)
		if bad != nil {
			report.Reject(lines.Number(), bad)
		} else {
			out = append(out, row)
		}
	}
}

// maxLine bounds one line of a context file.
const maxLine = 1 << 20

type nameFields struct {
	Family string `json:"family"`
}

type addressFields struct {
	Line     string `json:"line"`
	Postcode string `json:"postcode"`
}

var (
	errJSON  = errors.New("not one JSON object with fields of the right kind")
	errDay   = errors.New("not a day written as YYYY-MM-DD")
	errOrder = errors.New("ends before it starts")
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
	err = errors.Join(intake.Required("person", in.Person != ""), intake.Required("roles", len(in.Roles) > 0), errFrom, errTo, intake.NHSNumber("nhs_number", in.NHS),
		intake.OneOf("kind", in.Kind, "", "staff", "bank", "student", "machine"), inOrder("valid_to", from, to))
	return Staff{
		Person: in.Person, Kind: in.Kind, Roles: in.Roles, Wards: in.Wards, From: from, To: to,
		Family: h.Family(in.Name.Family), Address: h.Address(in.Address.Line, in.Address.Postcode),
		Unit: h.Unit(in.Address.Postcode), NHS: h.NHS(in.NHS),
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
		ID: in.ID, MergedInto: in.Merged, Family: h.Family(in.Name.Family), NHS: h.NHS(in.NHS),
		Address: h.Address(in.Address.Line, in.Address.Postcode), Unit: h.Unit(in.Address.Postcode),
	}, unknown, errors.Join(intake.Required("patient", in.ID != ""), intake.NHSNumber("nhs_number", in.NHS))
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
	start, errStart := intake.Moment("start", in.Start)
	end, errEnd := intake.Moment("end", in.End)
	if in.Evidence == "" {
		in.Evidence = in.Visit
	}
	err = errors.Join(intake.Required("patient", in.Patient != ""), intake.Required("start", in.Start != ""), errStart, errEnd, inOrder("end", start, end),
		intake.OneOf("kind", in.Kind, "inpatient", "emergency", "outpatient", "referral", "order", "result", "theatre", "document", "team", "task"))
	return Care{Patient: in.Patient, Kind: in.Kind, Start: start, End: end, Ward: in.Ward, Evidence: in.Evidence}, unknown, err
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

// Find returns the application's number of the patient with an NHS number, ""
// when the list holds nobody with it. Numbers that were merged away lead to the
// one in use.
func (h Hasher) Find(patients []Patient, nhsNumber string) string {
	wanted, found := h.NHS(nhsNumber), ""
	for _, p := range patients {
		switch {
		case !p.NHS.Same(wanted):
		case p.MergedInto == "":
			return p.ID
		default:
			found = p.MergedInto
		}
	}
	return found
}
