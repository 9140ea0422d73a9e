package hospital

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// careLine and shiftLine are Care and Shift as the files hold them: a time that
// is not known is left out.
type careLine struct {
	Patient   string   `json:"patient"`
	Kind      string   `json:"kind"`
	Start     string   `json:"start"`
	End       string   `json:"end,omitempty"`
	Ward      string   `json:"ward,omitempty"`
	Bed       string   `json:"bed,omitempty"`
	Specialty string   `json:"specialty,omitempty"`
	Team      string   `json:"team,omitempty"`
	People    []string `json:"people,omitempty"`
	Visit     string   `json:"visit,omitempty"`
	Evidence  string   `json:"evidence,omitempty"`
}

type shiftLine struct {
	Person string `json:"person"`
	Start  string `json:"start"`
	End    string `json:"end"`
	Kind   string `json:"kind"`
	Ward   string `json:"ward,omitempty"`
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// WriteStaff writes the staff file, one object a line.
func (h *Hospital) WriteStaff(w io.Writer) error { return lines(w, h.Staff) }

// WritePatients writes the patients file, one object a line.
func (h *Hospital) WritePatients(w io.Writer) error { return lines(w, h.Patients) }

// WriteCare writes the care file, one object a line.
func (h *Hospital) WriteCare(w io.Writer) error {
	out := make([]careLine, len(h.Care))
	for i, c := range h.Care {
		out[i] = careLine{
			Patient: c.Patient, Kind: c.Kind, Start: stamp(c.Start), End: stamp(c.End), Ward: c.Ward, Bed: c.Bed,
			Specialty: c.Specialty, Team: c.Team, People: c.People, Visit: c.Visit, Evidence: c.Evidence,
		}
	}
	return lines(w, out)
}

// WriteRota writes the rota file, one object a line.
func (h *Hospital) WriteRota(w io.Writer) error {
	out := make([]shiftLine, len(h.Rota))
	for i, s := range h.Rota {
		out[i] = shiftLine{Person: s.Person, Start: stamp(s.Start), End: stamp(s.End), Kind: s.Kind, Ward: s.Ward}
	}
	return lines(w, out)
}

func lines[T any](w io.Writer, rows []T) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	for _, row := range rows {
		if err := enc.Encode(row); err != nil {
			return fmt.Errorf("write line: %w", err)
		}
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write lines: %w", err)
	}
	return nil
}

// WriteFiles writes staff.ndjson, patients.ndjson, care.ndjson and rota.ndjson
// into dir, which must exist.
func (h *Hospital) WriteFiles(dir string) error {
	for name, write := range map[string]func(io.Writer) error{
		"staff.ndjson": h.WriteStaff, "patients.ndjson": h.WritePatients,
		"care.ndjson": h.WriteCare, "rota.ndjson": h.WriteRota,
	} {
		if err := writeFile(filepath.Join(dir, name), write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the path is the demonstration's own folder
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close %s: %w", path, cerr)
		}
	}()
	if err := write(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
