package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/matron-epr/matron/hazardlog"
	"github.com/matron-epr/matron/proxy/strictyaml"
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
	Notes      []string       `yaml:"notes,omitempty"`
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
	Documents   []documentSheet `yaml:"documents,omitempty"`
}

type documentSheet struct {
	Slot   string `yaml:"slot"`
	Title  string `yaml:"title"`
	Link   string `yaml:"link"`
	On     string `yaml:"on"`
	Review string `yaml:"review"`
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
		Conditions: texts(h.Conditions), Types: h.Types, Owner: h.Owner, Status: string(h.Status), Review: string(h.Review), Notes: h.Notes,
		Initial: ratingSheetOf(h.Initial), Residual: ratingSheetOf(h.Residual),
	}
	for _, c := range l.ControlsOf(h.ID) {
		one := controlSheet{
			ID: c.ID, Revision: revision(l, c), Type: string(c.Type), Timing: string(c.Timing), Status: string(c.Status), Text: c.Text,
			NewHazards: newHazardsSheet{c.NewHazards.Answer, c.NewHazards.Reason, c.NewHazards.Hazards}, CommonCause: c.CommonCause,
		}
		for _, d := range c.Documents {
			one.Documents = append(one.Documents, documentSheet{string(d.Slot), d.Title, d.Link, string(d.On), string(d.Review)})
		}
		s.Controls = append(s.Controls, one)
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

// readSheet reads a sheet strictly, and what it wants changed in the log. Mistakes
// are named by file, line and column, those against the standard too.
func readSheet(file string, text []byte, l hazardlog.Log, by hazardlog.Actor, why string) ([]hazardlog.Change, error) {
	var s sheet
	doc := strictyaml.Decode(file, text, &s)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	known := l.Revision(hazardlog.Hazard{ID: s.ID}.Subject()) > 0
	if s.Revision < 0 || known != (s.Revision > 0) {
		doc.Report("revision", "must be what \"matron hazard show --yaml\" said, and 0 for a new hazard")
		return nil, doc.Err()
	}
	if err := s.stale(l); err != nil {
		return nil, err
	}
	changes := s.changes(l, why)
	_, _, err := l.Record(time.Now(), by, func() string { return "rehearsal" }, changes...)
	var refusal hazardlog.Refusal
	if !errors.As(err, &refusal) {
		return changes, nil // a conflict is for the store to tell
	}
	at := ""
	if i := slices.IndexFunc(s.Controls, func(c controlSheet) bool { return c.ID == refusal.Subject.ID }); i >= 0 {
		at = fmt.Sprintf("controls[%d].", i)
	} else if refusal.Subject.Kind == hazardlog.OfControl {
		at = fmt.Sprintf("controls[%d].", slices.IndexFunc(s.Controls, func(c controlSheet) bool { return c.ID == "" }))
	}
	for _, m := range refusal.Mistakes {
		doc.Report(at+m.Field, m.Text)
	}
	return nil, doc.Err()
}

// stale says what others changed since the sheet was written down.
func (s sheet) stale(l hazardlog.Log) error {
	errs := []error{l.Conflict(hazardlog.Hazard{ID: s.ID}.Subject(), uint64(s.Revision))} //nolint:gosec // checked by the caller
	for _, c := range s.Controls {
		if c.ID != "" {
			errs = append(errs, l.Conflict(hazardlog.Control{ID: c.ID}.Subject(), uint64(max(c.Revision, 0))))
		}
	}
	return errors.Join(errs...)
}

// changes are what a sheet wants changed in the log: words, ratings and status
// apart, each an event of its own.
func (s sheet) changes(l hazardlog.Log, why string) []hazardlog.Change {
	var list []hazardlog.Change
	old, known := l.Find(s.ID)
	next := hazardlog.Hazard{
		ID: s.ID, Name: s.Name, Effect: s.Effect, Hazard: s.Hazard, Harm: s.Harm, Causes: s.Causes, Types: s.Types, Owner: s.Owner,
		Status: hazardlog.Status(s.Status), Review: hazardlog.Day(s.Review), Notes: s.Notes, Acceptance: old.Acceptance, Origin: old.Origin,
		Initial: s.Initial.rating(l, old.Initial), Residual: s.Residual.rating(l, old.Residual),
	}
	for _, c := range s.Conditions {
		next.Conditions = append(next.Conditions, hazardlog.Condition(c))
	}
	if known {
		list = hazardlog.Steps(old, next, uint64(s.Revision), why) //nolint:gosec // checked by the caller
	} else {
		list = append(list, hazardlog.Change{Act: hazardlog.Raise, Value: next, Why: why})
	}
	for i, c := range s.Controls {
		list = append(list, c.changes(l, s, i, why)...)
	}
	return list
}

// rating is what a sheet says of a rating: the old one where it says the same,
// else a proposal.
func (r ratingSheet) rating(l hazardlog.Log, old hazardlog.Rating) hazardlog.Rating {
	if r == ratingSheetOf(old) || r == (ratingSheet{}) && old == (hazardlog.Rating{}) {
		return old
	}
	if r == (ratingSheet{}) {
		return hazardlog.Rating{}
	}
	return l.Standard.Rate(hazardlog.Rating{
		Consequence: r.Consequence, Patients: hazardlog.Patients(r.Patients), Severity: hazardlog.Severity(r.Severity),
		Likelihood: hazardlog.Likelihood(r.Likelihood), Justification: r.Justification, Lowered: r.Lowered, State: hazardlog.RatingProposed,
	})
}

func (c controlSheet) changes(l hazardlog.Log, s sheet, i int, why string) []hazardlog.Change {
	old, known := l.Control(c.ID)
	next := hazardlog.Control{
		ID: c.ID, Hazards: []string{s.ID}, Type: hazardlog.ControlType(c.Type), Timing: hazardlog.ControlTiming(c.Timing),
		Status: hazardlog.ControlStatus(c.Status), Text: c.Text, CommonCause: c.CommonCause, Origin: old.Origin,
		NewHazards: hazardlog.NewHazards{Answer: c.NewHazards.Answer, Reason: c.NewHazards.Reason, Hazards: c.NewHazards.Hazards},
	}
	for _, d := range c.Documents {
		next.Documents = append(next.Documents, hazardlog.Document{
			Slot: hazardlog.EvidenceSlot(d.Slot), Title: d.Title, Link: d.Link, On: hazardlog.Day(d.On), Review: hazardlog.Day(d.Review),
		})
	}
	if !known {
		if c.ID == "" {
			next.ID = nth(l.NextID("C"), s.newBefore(i))
		}
		return []hazardlog.Change{{Act: hazardlog.Raise, Value: next, Why: why}}
	}
	next.Hazards = old.Hazards
	if !slices.Contains(old.Hazards, s.ID) {
		next.Hazards = append(slices.Clip(old.Hazards), s.ID)
	}
	return hazardlog.Steps(old, next, uint64(c.Revision), why) //nolint:gosec // checked by the caller
}

// newBefore counts the new controls before the one at i.
func (s sheet) newBefore(i int) int {
	n := 0
	for _, c := range s.Controls[:i] {
		if c.ID == "" {
			n++
		}
	}
	return n
}

// nth is the id that comes n after one like C-85.
func nth(id string, n int) string {
	var number int
	_, _ = fmt.Sscanf(id, "C-%d", &number) // as NextID makes them
	return fmt.Sprintf("C-%02d", number+n)
}
