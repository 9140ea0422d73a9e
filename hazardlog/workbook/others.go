package workbook

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/matron-epr/matron/hazardlog"
)

// tableRow is a row of one of the sheets that Write adds.
type tableRow struct {
	id       string
	revision uint64
	texts    map[string]string // by heading
	at       source
	places   map[string]place
}

// rowsOf reads such a sheet, by id. It names ids that stand twice.
func (m *merge) rowsOf(name string) map[string]tableRow {
	rows := map[string]tableRow{}
	for _, row := range m.list(name) {
		if row.id == "" {
			continue
		}
		if other, twice := rows[row.id]; twice {
			m.block(name, row.at.place, "same-number", "%s stands in %s too", row.id, other.at.place)
			continue
		}
		rows[row.id] = row
	}
	return rows
}

// list reads such a sheet, row by row.
func (m *merge) list(name string) []tableRow {
	var list []tableRow
	for i := range m.book.sheets {
		s := &m.book.sheets[i]
		if s.name != name {
			continue
		}
		for _, y := range s.rows {
			if y == 1 {
				continue
			}
			row := tableRow{texts: map[string]string{}, places: map[string]place{}, at: source{name, place{y, 1}}}
			for _, x := range s.filled[1] {
				head := s.cells[place{1, x}].text
				row.texts[head], row.places[head] = m.value(s, place{y, x}), place{y, x}
			}
			row.id = row.texts[idHead]
			row.revision, _ = strconv.ParseUint(row.texts[revisionHead], 10, 64)
			if strings.TrimSpace(strings.Join(valuesOf(row.texts), "")) != "" {
				list = append(list, row)
			}
		}
	}
	return list
}

func valuesOf(m map[string]string) []string {
	var list []string
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// value is what a cell of such a sheet says.
func (m *merge) value(s *sheet, p place) string {
	c := s.cells[p]
	switch {
	case c.failed:
		m.say(s.name, p, "formula-error", "shows the error %s: nothing is taken from it", c.text)
		return ""
	case c.formula:
		m.say(s.name, p, "formula", "is a formula: it is not evaluated, and the value that was stored with it is taken")
	}
	return clean(c.text)
}

// fill takes over what such a row says.
func fill[V hazardlog.Value](m *merge, row tableRow, t table[V], to *V) {
	for _, c := range t.columns {
		text, ok := row.texts[c.head]
		if !ok || c.set == nil {
			continue
		}
		if days := strings.HasPrefix(c.head, "Date") || c.head == "Due" || c.head == "Done" || c.head == "Review due"; days && text != "" && !hazardlog.Day(text).Valid() {
			text = m.dayOf(row, c.head, text)
		}
		c.set(to, text)
	}
}

// dayOf is a day that somebody typed over the text that was there.
func (m *merge) dayOf(row tableRow, head, text string) string {
	for i := range m.book.sheets {
		if s := &m.book.sheets[i]; s.name == row.at.sheet {
			return m.day(s, row.places[head], text)
		}
	}
	return text
}

// others merges incidents, decisions, transfers and reviews.
func (m *merge) others() {
	mergeTable(m, incidents(), "I", m.log.Incidents, func(i *hazardlog.Incident, id string) { i.ID = id })
	mergeTable(m, decisions(), "D", m.log.Decisions, func(d *hazardlog.Decision, id string) { d.ID = id })
	mergeTable(m, transfers(), "T", m.log.Transfers, func(t *hazardlog.Transfer, id string) {
		if t.ID = id; t.State == "" {
			t.State = hazardlog.Offered
		}
	})
	mergeTable(m, reviews(), "R", m.log.Reviews, func(r *hazardlog.Review, id string) { r.ID = id })
	for _, row := range m.list(transfers().sheet) {
		now := string(hazardlog.Offered)
		for _, t := range m.log.Transfers {
			if t.ID == row.id {
				now = string(t.State)
			}
		}
		if said := row.texts["Answer"]; said != "" && said != now {
			m.say(row.at.sheet, row.places["Answer"], "answer", "%s is %q in the workbook: only the recipient's officer answers, in the log, where it is %s", row.id, said, now)
		}
	}
}

func mergeTable[V hazardlog.Value](m *merge, t table[V], prefix string, have []V, name func(*V, string)) {
	fresh := m.nextNumber(prefix)
	rows := m.list(t.sheet)
	for _, row := range rows {
		if n, err := strconv.Atoi(strings.TrimPrefix(row.id, prefix+"-")); err == nil {
			fresh = max(fresh, n+1)
		}
	}
	seen := map[string]bool{}
	for _, row := range rows {
		id := row.id
		if id == "" {
			id = fmt.Sprintf("%s-%02d", prefix, fresh)
			fresh++
		}
		if seen[id] {
			m.block(row.at.sheet, row.at.place, "same-number", "%s stands twice", id)
			continue
		}
		seen[id] = true
		var old V
		known := false
		for _, v := range have {
			if v.Subject().ID == id {
				old, known = v, true
			}
		}
		if known && !m.same && !m.options.Update {
			m.block(row.at.sheet, row.at.place, "in-log", "%s is in the log already: import with --update to change it", id)
			continue
		}
		next := old
		name(&next, id)
		fill(m, row, t, &next)
		m.put(old, next, known, row.revision, row.at)
	}
}
