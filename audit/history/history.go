// Package history takes in accesses of the past, as other systems have written
// them down: the accesses file of our own format, FHIR R4 AuditEvents, and CSV
// with a mapping of columns.
//
// It never takes a line in twice and never takes in half a line. NHS numbers,
// and whatever else is named as a name, an address or a number of a person, are
// kept as keyed hashes only. It reads no clock. Values are not safe for
// concurrent use; Import runs goroutines of its own and waits for them.
package history

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/intake"
	"github.com/matron-epr/matron/audit/pseudonym"
)

// Schema is the JSON Schema of one line of an accesses file.
//
//go:embed accesses.schema.json
var Schema string

const (
	maxShort    = 256    // characters of an id
	maxLong     = 1024   // of any other text
	maxReason   = 4096   // of a reason that somebody typed
	maxPatients = 10_000 // of one list
)

// fields is one access as a file has it, before it is checked. Every format is
// brought into this form.
type fields struct {
	ID         string   `json:"id"`
	Time       string   `json:"time"`
	Person     string   `json:"person"`
	Action     string   `json:"action"`
	Source     string   `json:"source"`
	App        string   `json:"app"`
	Role       string   `json:"role"`
	Session    string   `json:"session"`
	Device     string   `json:"device"`
	IP         string   `json:"ip"`
	Area       string   `json:"area"`
	Screen     string   `json:"screen"`
	Resource   string   `json:"resource"`
	Patient    string   `json:"patient"`
	NHSNumber  string   `json:"nhs_number"`
	Patients   []string `json:"patients"`
	Deliberate *bool    `json:"deliberate"`
	Purpose    string   `json:"purpose"`
	BreakGlass *bool    `json:"break_glass"`
	Reason     string   `json:"reason"`
	Outcome    string   `json:"outcome"`
	Bytes      uint64   `json:"bytes"`
	Results    uint64   `json:"results"`
	Extra      rawJSON  `json:",embed"`
}

// text is one of the texts of an access, with its name and greatest length.
type text struct {
	name  string
	value string
	limit int
}

// texts lists what is text, required ones first.
func (f *fields) texts() [17]text {
	return [...]text{
		{"id", f.ID, maxShort},
		{"person", f.Person, maxShort},
		{"action", f.Action, maxShort},
		{"source", f.Source, maxShort},
		{"patient", f.Patient, maxShort},
		{"app", f.App, maxLong},
		{"role", f.Role, maxLong},
		{"session", f.Session, maxLong},
		{"device", f.Device, maxLong},
		{"ip", f.IP, maxLong},
		{"area", f.Area, maxLong},
		{"screen", f.Screen, maxLong},
		{"resource", f.Resource, maxLong},
		{"purpose", f.Purpose, maxLong},
		{"outcome", f.Outcome, maxLong},
		{"nhs_number", f.NHSNumber, maxLong},
		{"reason", f.Reason, maxReason},
	}
}

var (
	errBoth     = errors.New("patient and patients: one of the two")
	errListNHS  = errors.New("nhs_number: belongs to patient and not to a list of patients")
	errControl  = errors.New("holds a control character")
	errFuture   = errors.New("time: lies in the future")
	errAncient  = errors.New("time: lies before 1980")
	errPatients = fmt.Errorf("patients: more than %d", maxPatients)
)

// actions and outcomes are the words of the format.
func actions() []string {
	return []string{"read", "search", "list", "create", "update", "delete", "print", "export", "sign-in", "sign-out", "break-glass"}
}

func outcomes() []string { return []string{"success", "denied", "failed"} }

// Parser checks accesses and brings them into the form in which they are kept.
// Each goroutine has its own.
type Parser struct {
	site   string
	source string // of lines that name none
	hasher pseudonym.Hasher
	latest time.Time
	nhs    map[string]string // hashes made lately
}

// ParserConfig is what a Parser needs to know.
type ParserConfig struct {
	Site   string // ODS code of the organisation that the accesses belong to
	Source string // of accesses that name none
	Hasher pseudonym.Hasher
	Now    time.Time // nothing may have happened more than a day later
}

// NewParser makes a Parser.
func NewParser(c ParserConfig) *Parser {
	return &Parser{
		site: c.Site, source: c.Source, hasher: c.Hasher, latest: c.Now.Add(24 * time.Hour),
		nhs: make(map[string]string),
	}
}

// check says what is wrong with f.
func (p *Parser) check(f *fields) error {
	texts := f.texts()
	for _, t := range texts[:3] {
		if t.value == "" {
			return intake.Required(t.name, false)
		}
	}
	for _, t := range texts {
		if err := checkText(t.name, t.value, t.limit); err != nil {
			return err
		}
	}
	if !slices.Contains(actions(), f.Action) {
		return fmt.Errorf("action: not one of %s", strings.Join(actions(), ", "))
	}
	if f.Outcome != "" && !slices.Contains(outcomes(), f.Outcome) {
		return fmt.Errorf("outcome: not one of %s", strings.Join(outcomes(), ", "))
	}
	switch {
	case f.Patient != "" && len(f.Patients) > 0:
		return errBoth
	case f.NHSNumber != "" && len(f.Patients) > 0:
		return errListNHS
	case len(f.Patients) > maxPatients:
		return errPatients
	}
	for _, patient := range f.Patients {
		if patient == "" {
			return intake.Required("patients", false)
		}
		if err := checkText("patients", patient, maxShort); err != nil {
			return err
		}
	}
	return intake.NHSNumber("nhs_number", f.NHSNumber)
}

// checkText bounds a text and refuses what could play tricks on a terminal; a
// reason is what somebody typed and may have several lines.
func checkText(name, value string, limit int) error {
	if len(value) > limit && utf8.RuneCountInString(value) > limit {
		return fmt.Errorf("%s: longer than %d characters", name, limit)
	}
	for i := range len(value) {
		if c := value[i]; (c < ' ' || c == 0x7f) && (name != "reason" || c != '\n' && c != '\r' && c != '\t') {
			return fmt.Errorf("%s: %w", name, errControl)
		}
	}
	return nil
}

// moment reads the time of an access. The zero year of a system that did not
// know the time is no time.
func (p *Parser) moment(value string) (time.Time, error) {
	at, err := intake.Moment("time", value)
	switch {
	case err != nil:
		return at, err
	case value == "":
		return at, intake.Required("time", false)
	case at.After(p.latest):
		return at, errFuture
	case at.Year() < 1980:
		return at, errAncient
	}
	return at.UTC().Truncate(time.Microsecond), nil
}

// append checks f and appends one row for each of its patients to rows.
func (p *Parser) append(rows []audit.Imported, f *fields) ([]audit.Imported, error) {
	if err := p.check(f); err != nil {
		return rows, err
	}
	at, err := p.moment(f.Time)
	if err != nil {
		return rows, err
	}
	if f.Source == "" {
		f.Source = p.source
	}
	row := audit.Imported{
		Site: p.site, Source: f.Source, ID: f.ID, Patient: f.Patient, Time: at, Person: f.Person, Action: f.Action,
		App: f.App, Role: f.Role, Session: f.Session, Device: f.Device, IP: f.IP, Area: f.Area, Screen: f.Screen,
		Resource: f.Resource, NHS: p.hashNHS(f.NHSNumber), Deliberate: tri(f.Deliberate), Purpose: f.Purpose,
		BreakGlass: f.BreakGlass != nil && *f.BreakGlass || f.Action == "break-glass", Reason: f.Reason, Outcome: f.Outcome,
		Bytes: f.Bytes, Results: f.Results, Extra: string(f.Extra),
	}
	row.Content = content(&row, f.Patients)
	if len(f.Patients) == 0 {
		row.Key = key(&row)
		return append(rows, row), nil
	}
	seen := make(map[string]bool, len(f.Patients))
	for _, patient := range f.Patients {
		if !seen[patient] { // a patient who is listed twice was seen once
			seen[patient] = true
			row.Patient = patient
			row.Key = key(&row)
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// tri spells yes, no and not known as records do.
func tri(b *bool) string {
	switch {
	case b == nil:
		return ""
	case *b:
		return "true"
	}
	return "false"
}

// hashNHS remembers some hashes: the accesses to one patient come in runs.
func (p *Parser) hashNHS(number string) string {
	if number == "" {
		return ""
	}
	hash, ok := p.nhs[number]
	if !ok {
		if len(p.nhs) >= 10_000 {
			clear(p.nhs)
		}
		hash = string(p.hasher.NHS(number))
		p.nhs[number] = hash
	}
	return hash
}
