package main

import (
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/matron-epr/matron/hazardlog"
)

// sheet is a hazard with its controls as people edit it.
type sheet struct {
	ID         string         `yaml:"id"`
	Revision   int64          `yaml:"revision"` // of what was read: it shows whether somebody else was quicker
	Name       string         `yaml:"name"`
	Effect     string         `yaml:"effect"`
	Hazard     string         `yaml:"hazard"`
	Harm       string         `yaml:"harm"`
	Causes     []string       `yaml:"causes"`
	Conditions []string       `yaml:"conditions"`
	Types      []string       `yaml:"types"`
	Owner      string         `yaml:"owner"`
	Status     string         `yaml:"status"`
	Review     string         `yaml:"review"`
	Initial    ratingSheet    `yaml:"initial"`
	Residual   ratingSheet    `yaml:"residual"`
	Controls   []controlSheet `yaml:"controls"`
}

type ratingSheet struct {
	Consequence   string `yaml:"consequence,omitempty"`
	Patients      string `yaml:"patients,omitempty"`
	Severity      string `yaml:"severity"`
	Likelihood    string `yaml:"likelihood"`
	Justification string `yaml:"justification"`
	Lowered       string `yaml:"lowered,omitempty"`
}

type controlSheet struct {
	ID          string          `yaml:"id"` // "" for a new one
	Revision    int64           `yaml:"revision"`
	Type        string          `yaml:"type"`
	Timing      string          `yaml:"timing"`
	Status      string          `yaml:"status"`
	Text        string          `yaml:"text"`
	NewHazards  newHazardsSheet `yaml:"new_hazards"`
	CommonCause string          `yaml:"common_cause,omitempty"`
}

type newHazardsSheet struct {
	Answer  string   `yaml:"answer"`
	Reason  string   `yaml:"reason,omitempty"`
	Hazards []string `yaml:"hazards,omitempty"`
}

const sheetHead = `# Words: severity, likelihood and the rest as in docs/hazard-log.md. The risk is looked up.
# Leave id and revision as they are; a control without an id is new. Nothing is deleted.
# Whoever changes a rating proposes one: a clinician makes it theirs with "matron hazard assess".
`

// sheetOf writes a hazard of a log down.
func sheetOf(l hazardlog.Log, h hazardlog.Hazard) sheet {
	s := sheet{
		ID: h.ID, Revision: revision(l, h), Name: h.Name, Effect: h.Effect, Hazard: h.Hazard, Harm: h.Harm, Causes: h.Causes,
		Conditions: texts(h.Conditions), Types: h.Types, Owner: h.Owner, Status: string(h.Status), Review: string(h.Review),
		Initial: ratingSheetOf(h.Initial), Residual: ratingSheetOf(h.Residual),
	}
	for _, c := range l.ControlsOf(h.ID) {
		s.Controls = append(s.Controls, controlSheet{
			ID: c.ID, Revision: revision(l, c), Type: string(c.Type), Timing: string(c.Timing), Status: string(c.Status), Text: c.Text,
			NewHazards: newHazardsSheet{c.NewHazards.Answer, c.NewHazards.Reason, c.NewHazards.Hazards}, CommonCause: c.CommonCause,
		})
	}
	return s
}

func revision(l hazardlog.Log, v hazardlog.Value) int64 {
	return int64(l.Revision(v.Subject())) //nolint:gosec // a count of changes
}

func ratingSheetOf(r hazardlog.Rating) ratingSheet {
	return ratingSheet{r.Consequence, string(r.Patients), string(r.Severity), string(r.Likelihood), r.Justification, r.Lowered}
}

func texts[T ~string](list []T) []string {
	var out []string
	for _, v := range list {
		out = append(out, string(v))
	}
	return out
}

func (s sheet) encode() ([]byte, error) {
	text, err := yaml.MarshalWithOptions(s, yaml.IndentSequence(true), yaml.UseLiteralStyleIfMultiline(true))
	if err != nil {
		return nil, fmt.Errorf("write %s as YAML: %w", s.ID, err)
	}
	return append([]byte(sheetHead), text...), nil
}
