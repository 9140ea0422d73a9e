package hazardlog

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Format is the version of the file format.
const Format = "matron-hazard-log/1"

// ErrInvalid is what the error of a refused log wraps.
var ErrInvalid = errors.New("hazard log refused")

//go:embed starter.json
var starter []byte

// Starter returns the embedded log that a deployment starts from: proposed by
// engineers and approved by no clinical safety officer.
func Starter() (Log, error) { return Decode(starter) }

// logFile and hazardFile are a log as it is written. Ratings are read by
// themselves, so that a mistake in one can be named.
type logFile struct {
	Format   string            `json:"format"`
	Title    string            `json:"title"`
	Approval Approval          `json:"approval"`
	Hazards  []json.RawMessage `json:"hazards"`
}

type hazardFile struct {
	Hazard
	Initial  json.RawMessage `json:"initial"`
	Residual json.RawMessage `json:"residual"`
}

type ratingFile struct {
	Severity      Severity   `json:"severity"`
	Likelihood    Likelihood `json:"likelihood"`
	Risk          *Risk      `json:"risk"`
	Justification string     `json:"justification"`
}

// Decode reads a log strictly. Its error wraps ErrInvalid and names, for every
// mistake, the hazard and the field.
func Decode(data []byte) (Log, error) {
	var file logFile
	if err := strict(data, &file); err != nil {
		return Log{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	l := Log{Format: file.Format, Title: file.Title, Approval: file.Approval}
	found := checkHead(l)
	if len(file.Hazards) == 0 {
		found.add("hazards", "there is none")
	}
	seen := map[string]bool{}
	for i, raw := range file.Hazards {
		h, wrong := decodeHazard(raw)
		name := h.ID
		switch {
		case name == "":
			name = fmt.Sprintf("hazard %d", i+1)
		case seen[name]:
			wrong.add("id", "is taken by another hazard")
		}
		seen[h.ID] = true
		found.under(name, wrong)
		l.Hazards = append(l.Hazards, h)
	}
	if len(found) > 0 {
		return Log{}, fmt.Errorf("%w:\n%s", ErrInvalid, strings.Join(found, "\n"))
	}
	return l, nil
}

func decodeHazard(raw json.RawMessage) (Hazard, mistakes) {
	var file hazardFile
	var found mistakes
	if err := strict(raw, &file); err != nil {
		found = append(found, err.Error())
		return file.Hazard, found
	}
	h := file.Hazard
	h.Initial = decodeRating("initial", file.Initial, &found)
	h.Residual = decodeRating("residual", file.Residual, &found)
	found = append(found, checkHazard(h)...)
	return h, found
}

// decodeRating reads a rating. The risk that a file states must be the one that
// the matrix gives: nobody types a risk.
func decodeRating(field string, raw json.RawMessage, found *mistakes) Rating {
	if len(raw) == 0 {
		found.add(field, "is missing; an empty rating is not rated")
		return Rating{}
	}
	var file ratingFile
	if err := strict(raw, &file); err != nil {
		found.add(field, err.Error())
		return Rating{}
	}
	r := Rating{Severity: file.Severity, Likelihood: file.Likelihood, Justification: file.Justification}
	if file.Risk != nil && *file.Risk != r.Risk() {
		found.add(field+".risk", fmt.Sprintf("states %d, but the matrix gives %s", int(*file.Risk), r.Risk()))
	}
	return r
}

// MarshalJSON adds the risk that the matrix gives, null when not rated.
func (r Rating) MarshalJSON() ([]byte, error) {
	file := ratingFile{Severity: r.Severity, Likelihood: r.Likelihood, Justification: r.Justification}
	if risk := r.Risk(); risk.Rated() {
		file.Risk = &risk
	}
	return json.Marshal(file)
}

// strict decodes one JSON value without unknown names, names given twice or
// anything after it.
func strict(data []byte, into any) error {
	if err := refuseTwice(json.NewDecoder(bytes.NewReader(data))); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the end")
	}
	return nil
}

// refuseTwice refuses an object in which a name stands twice: the decoder would
// take the last one and keep quiet about the first.
func refuseTwice(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') && t != json.Delim('[') {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if t == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[name] {
				return fmt.Errorf("%q is given twice", name)
			}
			seen[name] = true
		}
		if err := refuseTwice(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
