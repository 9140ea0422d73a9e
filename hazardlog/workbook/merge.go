package workbook

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// merge brings what a workbook says together with what the log says.
type merge struct {
	reader
	log      hazardlog.Log
	standard *hazardlog.Standard
	options  Options
	why      string
	where    map[hazardlog.Subject]source
	changes  []hazardlog.Change
	controls []*drafted
	rows     map[string]tableRow // of Hazard Details, by id
}

// source is where a subject stands in the workbook.
type source struct {
	sheet string
	place place
}

// put adds what takes a subject from what the log says to next. revision is the one
// that the workbook was written from, 0 where it is not known.
func (m *merge) put(old, next hazardlog.Value, known bool, revision uint64, at source) {
	s := next.Subject()
	m.where[s] = at
	if !known {
		m.changes = append(m.changes, hazardlog.Change{Act: hazardlog.Raise, Value: next, Why: m.why})
		return
	}
	if hazardlog.Same(old, next) {
		return
	}
	if m.same && revision != m.log.Revision(s) {
		if err := m.log.Conflict(s, revision); err != nil {
			m.block(at.sheet, at.place, "conflict", "the log has moved on since the workbook was written: %v", err)
			return
		}
	}
	m.changes = append(m.changes, hazardlog.Steps(old, next, m.log.Revision(s), m.why)...)
}

// hazards merges the hazards and their controls.
func (m *merge) hazards(entries []entry) {
	if m.own {
		m.rows = m.rowsOf(details().sheet)
	}
	first := map[string]source{}
	for i := range entries {
		e := &entries[i]
		at := source{e.sheet, e.where(roleID)}
		said := e.text(roleID)
		id := hazardID(said, m.prefix())
		if id == "" {
			m.block(at.sheet, at.place, "bad-number", "%q is no number of a hazard: write for example GW-03, or 3", said)
			continue
		}
		if other, twice := first[id]; twice {
			m.block(at.sheet, at.place, "same-number", "%s is the number of the hazard in %s!%s too: give one of them another", id, other.sheet, other.place)
			continue
		}
		first[id] = at
		if id != said {
			m.say(at.sheet, at.place, "number", "%q becomes %s", said, id)
		}
		m.hazard(e, id)
	}
	m.putControls()
}

func (m *merge) prefix() string {
	if m.options.Prefix == "" {
		return "HZ"
	}
	return m.options.Prefix
}

func (m *merge) hazard(e *entry, id string) {
	old, known := m.log.Find(id)
	at := source{e.sheet, e.where(roleID)}
	if known && !m.same && !m.options.Update {
		m.block(at.sheet, at.place, "in-log", "%s is in the log already: import with --update to change it, or with another --prefix", id)
		return
	}
	next := old
	next.ID = id
	row, detailed := m.rows[id]
	if detailed {
		fill(m, row, details(), &next)
	}
	m.words(e, &next)
	m.status(e, old, &next)
	next.Initial = m.rated(e, old.Initial, next.Initial, initialSeverity, initialLikelihood, initialRisk, initialJustification)
	next.Residual = m.rated(e, old.Residual, next.Residual, residualSeverity, residualLikelihood, residualRisk, residualJustification)
	m.cells(e, id)
	if known || detailed {
		next.Acceptance = old.Acceptance
	}
	if a := row.texts["Residual risk accepted"]; !known && strings.HasPrefix(a, "by ") {
		m.say(at.sheet, at.place, "accepted", "%s: the residual risk was accepted %s. That is not taken over: here, an officer accepts it anew", id, a)
	}
	for _, note := range e.notes {
		if !slices.Contains(next.Notes, note) {
			next.Notes = append(slices.Clip(next.Notes), note)
		}
	}
	m.put(old, next, known, row.revision, at)
}

// words takes over what is said in words.
func (m *merge) words(e *entry, h *hazardlog.Hazard) {
	set := func(r role, to *string) {
		if _, ok := e.heads.at[r]; ok && (m.own || e.text(r) != "") {
			*to = kept(*to, e.text(r))
		}
	}
	set(roleEffect, &h.Effect)
	set(roleHazard, &h.Hazard)
	set(roleImpact, &h.Harm)
	set(roleHarm, &h.Harm)
	set(roleName, &h.Name)
	set(roleOwner, &h.Owner)
	if m.own {
		h.Causes = keptList(h.Causes, joined(ofLines(e.text(roleCauses))))
	} else if texts := e.texts[roleCauses]; len(texts) > 0 {
		var causes []string
		for _, text := range texts {
			causes = append(causes, items(text)...)
		}
		h.Causes = keptList(h.Causes, causes)
	}
	if h.Name == "" {
		h.Name = firstSentence(h.Hazard, h.Effect, h.Harm)
		if _, ok := e.heads.at[roleName]; ok {
			m.say(e.sheet, e.where(roleName), "name", "%s has no name: %q is taken", h.ID, h.Name)
		}
	}
	if h.Owner == "" {
		h.Owner = "not named in the workbook"
		m.say(e.sheet, e.where(roleOwner), "no-owner", "%s has no owner", h.ID)
	}
	if text := e.text(roleAdded); text != "" && !m.own {
		if !hazardlog.Day(text).Valid() {
			m.say(e.sheet, e.where(roleAdded), "date-text", "%q is text, not a date: it is kept as it is written", text)
		}
		e.note(roleAdded, text)
	}
	e.note(roleTest, e.text(roleTest))
}

func firstSentence(texts ...string) string {
	for _, text := range texts {
		text = strings.Join(strings.Fields(text), " ")
		sentence, _, _ := strings.Cut(text, ". ")
		if sentence == "" {
			continue
		}
		if runes := []rune(sentence); len(runes) > 160 {
			sentence = string(runes[:160]) + " …"
		}
		return sentence
	}
	return "Hazard without words"
}

// status takes a status over. Nothing closes a hazard but an accepted risk.
func (m *merge) status(e *entry, old hazardlog.Hazard, h *hazardlog.Hazard) {
	if h.Status == "" {
		h.Status = hazardlog.Open
	}
	said := strings.Join(distinct(e.texts[roleStatus]), " / ")
	if said == "" {
		if _, ok := e.heads.at[roleStatus]; ok && old.ID == "" {
			m.say(e.sheet, e.where(roleStatus), "no-status", "%s has no status: it is open", h.ID)
		}
		return
	}
	i := slices.IndexFunc(m.standard.Statuses, func(s hazardlog.Status) bool { return folded(string(s)) == folded(said) })
	switch {
	case i < 0:
		m.say(e.sheet, e.where(roleStatus), "unknown-word", "%q is no status: %s stays %s", said, h.ID, h.Status)
		e.note(roleStatus, said)
	case m.standard.Statuses[i] == hazardlog.Closed && old.Status != hazardlog.Closed && !old.Acceptance.Accepted:
		m.say(e.sheet, e.where(roleStatus), "closed", "%s is closed in the workbook, but nobody has accepted its risk in the log: it stays %s", h.ID, h.Status)
		if !m.own {
			e.note(roleStatus, said)
		}
	default:
		h.Status = m.standard.Statuses[i]
	}
}

// rated takes a rating over: the one of the log where the workbook says the same,
// else a proposal. detailed is what Hazard Details say of it.
func (m *merge) rated(e *entry, old, detailed hazardlog.Rating, severity, likelihood, risk, justification role) hazardlog.Rating {
	read := m.rating(e, m.standard, severity, likelihood, risk, justification)
	if read == (hazardlog.Rating{}) {
		e.note(justification+" of a lower severity", strings.TrimSpace(detailed.Lowered+" "+detailed.Consequence))
		if !m.own && old != (hazardlog.Rating{}) {
			return old
		}
		return read
	}
	read.Consequence, read.Patients, read.Lowered = detailed.Consequence, detailed.Patients, detailed.Lowered
	if gives := m.standard.Severity(read.Consequence, read.Patients); gives != "" && gives != read.Severity {
		m.say(e.sheet, e.where(severity), "consequence", "%s is not what the consequence %s for %s patient(s) gives (%s): the consequence is left out", read.Severity, read.Consequence, read.Patients, gives)
		read.Consequence, read.Patients = "", ""
	}
	read.Justification = kept(old.Justification, read.Justification)
	same := old
	same.State, same.By = read.State, read.By
	if same == read {
		return old
	}
	return read
}

// drafted is a control as the workbook has it.
type drafted struct {
	hazardlog.Control
	at source
}

var generated = regexp.MustCompile(`^(C-[0-9]{2,5}: |Missing: evidence for C-[0-9]{2,5})`)

// cells takes the controls of a hazard out of their cells, and their evidence for
// notes.
func (m *merge) cells(e *entry, hazard string) {
	all := kinds()
	all[existingControls] = kind{hazardlog.BusinessProcess, hazardlog.Existing}
	all[additionalControls] = kind{hazardlog.BusinessProcess, hazardlog.Additional}
	for _, of := range []role{
		existingControls, existingDesign, existingTraining, existingProcess, additionalControls, additionalDesign, additionalTrain, additionalProcess,
	} {
		for _, line := range m.controlLines(e, of) {
			m.draft(hazard, all[of], line, source{e.sheet, e.where(of)})
		}
		for _, line := range ofLines(e.text(of.evidence())) {
			if line = clean(strings.ReplaceAll(line, "\x00", "\n")); !m.own || !generated.MatchString(line) {
				e.note(of.evidence(), line)
			}
		}
	}
}

func (m *merge) controlLines(e *entry, of role) []string {
	if !m.own {
		var list []string
		for _, text := range e.texts[of] {
			list = append(list, items(text)...)
		}
		return list
	}
	return joined(ofLines(e.text(of)))
}

// draft notes that a control stands in a cell of a hazard.
func (m *merge) draft(hazard string, k kind, text string, at source) {
	id := ""
	if named := ofLine.FindStringSubmatch(text); m.own && named != nil {
		id, text = named[1], clean(text[len(named[0]):])
	}
	for _, d := range m.controls {
		if id == "" || d.ID != id {
			continue
		}
		old, _ := m.log.Control(id)
		switch {
		case d.Type == k.of && d.Timing == k.timing && (d.Text == text || m.same && clean(old.Text) == text): // said before, or changed there
		case d.Type == k.of && d.Timing == k.timing && m.same && clean(old.Text) == d.Text: // changed here
			d.Text, d.at = text, at
		default:
			m.block(at.sheet, at.place, "same-control", "%s says something else than in %s!%s: one control, one text, one kind", id, d.at.sheet, d.at.place)
			return
		}
		d.Hazards = append(d.Hazards, hazard)
		return
	}
	c := hazardlog.Control{ID: id, Hazards: []string{hazard}, Type: k.of, Timing: k.timing, Text: text}
	m.controls = append(m.controls, &drafted{Control: c, at: at})
}

// putControls merges the controls with those of the log.
func (m *merge) putControls() {
	rows := map[string]tableRow{}
	if m.own {
		rows = m.rowsOf(controls().sheet)
	}
	fresh := m.nextNumber("C")
	for _, d := range m.controls {
		old, known := m.twin(d.Control)
		next := old
		if d.ID = old.ID; !known {
			next.Status = hazardlog.Proposed
			if d.Timing == hazardlog.Existing {
				next.Status = hazardlog.InPlace
			}
		}
		row := rows[d.ID]
		if next.ID == "" {
			next.ID = fmt.Sprintf("C-%02d", fresh)
			fresh++
		}
		fill(m, row, controls(), &next)
		next.Type, next.Timing, next.Text = d.Type, d.Timing, kept(old.Text, d.Text)
		for _, hazard := range d.Hazards {
			if !slices.Contains(next.Hazards, hazard) {
				next.Hazards = append(slices.Clip(next.Hazards), hazard)
			}
		}
		m.put(old, next, known, row.revision, d.at)
	}
	m.gone()
}

// twin is the control of the log that a drafted one is: the one with its id, or with
// its words under the same hazard.
func (m *merge) twin(c hazardlog.Control) (hazardlog.Control, bool) {
	if c.ID != "" {
		old, known := m.log.Control(c.ID)
		old.ID = c.ID
		return old, known
	}
	for _, old := range m.log.ControlsOf(c.Hazards[0]) {
		if folded(old.Text) == folded(c.Text) && old.Type == c.Type && old.Timing == c.Timing {
			return old, true
		}
	}
	return hazardlog.Control{}, false
}

// nextNumber is the first number that neither the log nor the workbook has used.
func (m *merge) nextNumber(prefix string) int {
	next, _ := strconv.Atoi(strings.TrimPrefix(m.log.NextID(prefix), prefix+"-"))
	for _, d := range m.controls {
		if n, err := strconv.Atoi(strings.TrimPrefix(d.ID, prefix+"-")); err == nil {
			next = max(next, n+1)
		}
	}
	return max(next, 1)
}

// gone says which hazards and controls of the log the workbook has no longer: they
// stay, since nothing is ever deleted.
func (m *merge) gone() {
	if !m.same {
		return
	}
	for _, h := range m.log.Hazards {
		if _, ok := m.where[h.Subject()]; !ok {
			m.say(hazardSheet, place{}, "gone", "%s is in the log and no longer in the workbook: it stays as it is", h.ID)
		}
	}
	for _, c := range m.log.Controls {
		i := slices.IndexFunc(m.controls, func(d *drafted) bool { return d.ID == c.ID })
		if i < 0 {
			m.say(hazardSheet, place{}, "gone", "%s is in the log and no longer in the workbook: it stays as it is", c.ID)
			continue
		}
		for _, hazard := range c.Hazards {
			if !slices.Contains(m.controls[i].Hazards, hazard) {
				m.say(hazardSheet, m.controls[i].at.place, "gone", "%s no longer stands under %s: in the log it stays there", c.ID, hazard)
			}
		}
	}
}
