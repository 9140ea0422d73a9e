package hospital

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Load reads the hospital that WriteFiles wrote into dir. A person or patient of
// several lines is found by the last one.
func Load(dir string) (*Hospital, error) {
	h := &Hospital{Households: map[string][]string{}}
	var care []careLine
	var rota []shiftLine
	err := errors.Join(
		readLines(filepath.Join(dir, "staff.ndjson"), &h.Staff), readLines(filepath.Join(dir, "patients.ndjson"), &h.Patients),
		readLines(filepath.Join(dir, "care.ndjson"), &care), readLines(filepath.Join(dir, "rota.ndjson"), &rota),
	)
	if err != nil {
		return nil, err
	}
	h.index()
	for _, l := range care {
		c := Care{
			Patient: l.Patient, Kind: l.Kind, Ward: l.Ward, Bed: l.Bed, Specialty: l.Specialty, Team: l.Team,
			People: l.People, Visit: l.Visit, Evidence: l.Evidence,
		}
		if c.Start, c.End, err = span(l.Start, l.End); err != nil {
			return nil, fmt.Errorf("care of %s: %w", l.Evidence, err)
		}
		h.Care = append(h.Care, c)
		if _, known := h.Ward(c.Ward); !known && c.Ward != "" {
			h.Wards = append(h.Wards, Ward{ID: c.Ward, Name: c.Ward, Specialty: c.Specialty, Kind: c.Kind})
		}
	}
	for _, l := range rota {
		s := Shift{Person: l.Person, Kind: l.Kind, Ward: l.Ward}
		if s.Start, s.End, err = span(l.Start, l.End); err != nil {
			return nil, fmt.Errorf("rota of %s: %w", l.Person, err)
		}
		h.Rota = append(h.Rota, s)
	}
	slices.SortFunc(h.Wards, func(a, b Ward) int { return cmp.Compare(a.ID, b.ID) })
	return h, nil
}

func readLines[T any](path string, rows *[]T) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	for dec := json.NewDecoder(f); ; {
		var row T
		switch err := dec.Decode(&row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: line %d: %w", path, len(*rows)+1, err)
		}
		*rows = append(*rows, row)
	}
}

// span reads two times; one that is not given stays zero.
func span(from, to string) (start, end time.Time, err error) {
	for _, t := range []struct {
		text string
		at   *time.Time
	}{{from, &start}, {to, &end}} {
		if t.text == "" {
			continue
		}
		if *t.at, err = time.Parse(time.RFC3339, t.text); err != nil {
			return start, end, err
		}
	}
	return start, end, nil
}
