package workbook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/hazardlog"
)

// Options say how a workbook is taken in.
type Options struct {
	Name   string // of the file, for the reasons of the changes
	Prefix string // of the ids of hazards that have only a number
	Update bool   // a workbook from elsewhere may change hazards that are in the log
	// Head begins a new log; nil where there is one.
	Head *hazardlog.Head
}

// Plan is what taking a workbook in would do. Nothing of it is done.
type Plan struct {
	SHA256   string             `json:"sha256"` // of the file
	Log      string             `json:"log"`
	Findings []Finding          `json:"findings"`
	New      []string           `json:"new"`     // subjects that the log does not have yet
	Changed  []string           `json:"changed"` // subjects of the log that would be other
	Words    []string           `json:"words"`   // what would be other, a line each
	Confirm  string             `json:"confirm"` // hash of all this: who gives it confirms exactly this; "" while something blocks
	Changes  []hazardlog.Change `json:"-"`
}

// Blocked reports whether something must be mended first.
func (p Plan) Blocked() bool {
	return slices.ContainsFunc(p.Findings, func(f Finding) bool { return f.Blocks })
}

// Read reads a workbook for a log and says what it would change, and what is wrong
// with it. The error wraps ErrRefused when the file cannot be read at all.
func Read(data []byte, l hazardlog.Log, o Options) (Plan, error) {
	book, err := open(data)
	if err != nil {
		return Plan{}, err
	}
	m := merge{reader: reader{book: book}, log: l, standard: l.Standard, options: o, where: map[hazardlog.Subject]source{}}
	m.why = fmt.Sprintf("from the workbook %s (SHA-256 %s)", o.Name, book.sum)
	if o.Head != nil {
		if m.standard, err = hazardlog.LoadStandard(o.Head.StandardID); err != nil {
			return Plan{}, err
		}
		m.changes = append(m.changes, hazardlog.Change{Act: hazardlog.OpenLog, Value: *o.Head, Why: m.why})
	}
	if m.standard == nil {
		return Plan{}, fmt.Errorf("%w: there is no log", hazardlog.ErrInvalid)
	}
	m.cover()
	m.sheets()
	return m.plan()
}

// cover says whether Write made the workbook, and from which log.
func (m *merge) cover() {
	for _, s := range m.book.sheets {
		if s.name != coverSheet {
			continue
		}
		of := map[string]string{}
		for _, row := range s.rows {
			of[s.cells[place{row, 1}].text] = s.cells[place{row, 2}].text
		}
		m.own = of[labelFormat] == Format
		m.same = m.own && of[labelLog] == m.log.ID && m.options.Head == nil
	}
	if m.book.links {
		m.say("", place{}, "links", "the workbook has links to other files: none is followed")
	}
	if m.book.macros {
		m.say("", place{}, "macros", "the workbook has macros: none is run")
	}
}

// sheets reads every sheet, or says that it is not read.
func (m *merge) sheets() {
	var entries []entry
	found := false
	for i := range m.book.sheets {
		s := &m.book.sheets[i]
		if m.own && s.name != hazardSheet {
			continue
		}
		if h, ok := findHeadings(s); ok {
			entries = append(entries, m.entries(s, h)...)
			found = true
			continue
		}
		if m.compareMatrix(s) {
			continue
		}
		if n := len(s.cells); n > 0 {
			m.say(s.name, place{}, "not-read", "%d filled cells are not read: the sheet is no hazard log", n)
		}
	}
	if !found {
		m.unknown()
		return
	}
	m.hazards(entries)
	if m.own {
		m.others()
	}
}

// unknown says of each sheet how near it comes to a hazard log.
func (m *merge) unknown() {
	for i := range m.book.sheets {
		s := &m.book.sheets[i]
		h, _ := findHeadings(s)
		if h.understood() == 0 {
			m.block(s.name, place{1, 1}, "no-headings", "no row has the headings of a hazard log")
			continue
		}
		var have []string
		for of := range h.at {
			have = append(have, string(of))
		}
		slices.Sort(have)
		m.block(s.name, place{h.row, 1}, "no-headings", "only these columns of a hazard log are here: %s. A hazard (or harm), a severity and a likelihood are needed", strings.Join(have, ", "))
	}
	if len(m.book.sheets) == 0 {
		m.block("", place{}, "no-headings", "the workbook has no sheet with cells")
	}
}

// plan rehearses the changes and says what they come to.
func (m *merge) plan() (Plan, error) {
	p := Plan{SHA256: m.book.sum, Log: m.log.ID, New: []string{}, Changed: []string{}, Words: []string{}}
	next := m.log
	n := 0
	for _, change := range m.changes {
		after, _, err := next.Record(time.Unix(0, 0), hazardlog.Actor{Issuer: "os", Account: "rehearsal"}, func() string { n++; return fmt.Sprint("rehearsal-", n) }, change)
		if err != nil {
			m.refused(change.Value.Subject(), err)
			continue
		}
		next = after
		p.Changes = append(p.Changes, change)
		switch s := change.Value.Subject(); {
		case change.Act == hazardlog.Raise:
			p.New = append(p.New, s.ID)
		case change.Act != hazardlog.OpenLog && !slices.Contains(p.Changed, s.ID):
			p.Changed = append(p.Changed, s.ID)
		}
	}
	for _, d := range hazardlog.Compare(m.log, next) {
		p.Words = append(p.Words, d.String())
	}
	p.Findings = m.found
	if p.Findings == nil {
		p.Findings = []Finding{}
	}
	if p.Blocked() || len(p.Changes) == 0 {
		return p, nil
	}
	var err error
	p.Confirm, err = m.confirm(p)
	return p, err
}

// confirm is the hash of the file, the log as it stands and what would be done.
func (m *merge) confirm(p Plan) (string, error) {
	before := ""
	if m.log.Standard != nil {
		content, err := m.log.Snapshot()
		if err != nil {
			return "", err
		}
		before = hazardlog.Hash(content)
	}
	text, err := json.Marshal([]any{p.SHA256, p.Log, m.log.Seq(), before, p.Changes, p.Findings})
	if err != nil {
		return "", fmt.Errorf("confirm: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// refused says at its cell why the log would not take a change.
func (m *merge) refused(s hazardlog.Subject, err error) {
	at := m.where[s]
	var refusal hazardlog.Refusal
	if !errors.As(err, &refusal) {
		m.block(at.sheet, at.place, "conflict", "%v", err)
		return
	}
	for _, mistake := range refusal.Mistakes {
		m.block(at.sheet, at.place, "refused", "%s %s", s, mistake)
	}
}
