package openmaxims

import (
	"slices"
	"strconv"
)

// gridControl is the control id of every screen's grid.
const gridControl = "a1022"

// screen is one form: what it shows and what its buttons do.
type screen struct {
	form         int // number under which the form is registered
	nav          int // number of its node in the menu
	area         string
	caption      string
	needsPatient bool
	dialog       bool
	system       bool // asks for the system password
	search       bool // its fields can always be filled in
	timer        int  // seconds after which the client asks again; 0 is never
	fields       []field
	buttons      []button
	menu         []button
	grid         *grid
	fill         func(*turn) // what its fields hold at first; may be nil
}

func (sc *screen) node() string { return strconv.Itoa(sc.nav) }

// field is something to fill in.
type field struct {
	id    string
	kind  string
	label string
}

// button is something to press. When is "view" or "edit" if it shows only then.
type button struct {
	id    string
	label string
	image bool
	when  string
	do    func(*turn)
}

func (b button) element() string {
	if b.image {
		return "imagebutton"
	}
	return "button"
}

func (b button) shown(editing bool) bool {
	return b.when == "" || (b.when == "edit") == editing
}

// grid is a table; opens is the form that a selected row leads to, 0 for none.
type grid struct {
	columns []string
	rows    func(*turn) []row
	opens   int
}

// row is one line of a grid and what it stands for.
type row struct {
	cells   []string
	patient int
	entry   int
	key     string // of what is neither: a user, a session, a template
}

func (r role) may(area string) bool { return slices.Contains(r.areas, area) }

func (s *Server) screen(form int) *screen {
	for i := range s.screens {
		if s.screens[i].form == form {
			return &s.screens[i]
		}
	}
	return nil
}

// Forms that the program itself refers to.
const (
	formSearch       = 102100
	formDemographics = 102101
	formPrint        = 102180
	formSummary      = 123118
	formOrders       = 116112
)

// screens are the registered forms of the emulator, a few of each area.
func screens() []screen {
	out := []screen{
		patientSearch(), demographics(), printDialog(),
		list(102230, areaPAS, "Outpatient list", "appointment"),
		chart(134103, areaPAS, "Referral Details", "Referral", "referral"),
		clock(132110, "Patient Journey"),
		chart(102371, areaPAS, "Case Note Tracking", "Sent to", "case notes"),

		withMenu(refreshed(list(129100, areaED, "Tracking", "attendance")), moves("attendance", "Being seen", "Referred", "Discharged")),
		chart(129103, areaED, "Triage", "Presenting complaint and category", "attendance", "triage"),
		chart(129177, areaED, "Emergency Attendance Details", "Detail", "attendance", "attendance detail"),

		withMenu(list(102261, areaWards, "Ward View", "stay"), moves("stay", "In", "Discharged")),
		list(102200, areaWards, "Inpatient List", "stay"),
		chart(102109, areaWards, "Pulse", "Pulse", "pulse"),

		withMenu(list(123303, areaTheatres, "Theatre List", "operation"), moves("operation", "In theatre", "In recovery", "Done", "Cancelled")),
		chart(134153, areaTheatres, "Book Theatre", "Procedure", "operation"),
		list(134219, areaTheatres, "Elective List Management", "elective"),

		withMenu(list(123319, areaOutpatients, "Outpatient Clinic List", "appointment"), moves("appointment", "Arrived", "Seen", "Did not attend")),
		chart(114149, areaOutpatients, "Appointment Booking", "Clinic and time", "appointment"),

		chart(formSummary, areaClinical, "Patient Summary", "", "note", "pathology", "radiology", "prescription", "allergy", "stay", "attendance", "appointment", "operation", "referral"),
		chart(123124, areaClinical, "Clinical Notes", "Note", "note"),
		chart(123239, areaClinical, "Allergies", "Allergen", "allergy"),
		chart(102297, areaClinical, "e-Discharge", "Summary", "discharge summary"),

		chart(formOrders, areaOrders, "Select and Order", "Investigation", "order"),
		checked(chart(116129, areaOrders, "Pathology - Orders/Results", "", "pathology")),
		checked(chart(116126, areaOrders, "Radiology - Orders/Results", "", "radiology")),
		list(116127, areaOrders, "New Results", "pathology", "radiology"),

		stopped(chart(123274, areaMedicines, "In-Patient Electronic Prescribing", "Medicine, dose and frequency", "prescription")),
		stopped(chart(123234, areaMedicines, "Outpatient Electronic Prescribing", "Medicine, dose and frequency", "prescription")),
		chart(122126, areaMedicines, "Medication On Admission", "Medicine", "admission medicine"),

		applicationUsers(), configFlags(), sessionAdmin(), auditList(),
		{form: 103138, area: areaAdmin, caption: "Cache Configuration", system: true},
		{form: 102332, area: areaAdmin, caption: "Patient Merge Manager", system: true, grid: everybody()},
	}
	for i := range out {
		out[i].nav = 18 + i
	}
	return out
}

// list is a screen of many patients, who are shown while what is recorded of
// them still goes on.
func list(form int, area, caption string, kinds ...string) screen {
	return screen{form: form, area: area, caption: caption, grid: &grid{
		columns: []string{"Surname", "Forename", "Hospital No.", "Age", "Time", "Details", "Status"},
		rows: func(t *turn) []row {
			var out []row
			for _, e := range t.srv.store.list(0, kinds...) {
				p, ok := t.srv.store.patient(e.patient)
				if !ok || e.status == "Discharged" || e.status == "Done" || e.status == "Checked" {
					continue
				}
				out = append(out, row{patient: p.id, entry: e.id, cells: []string{
					p.surname, p.forename, p.hospitalNo, strconv.Itoa(p.age(t.srv.cfg.Now())), t.srv.when(e.when), e.text, e.status,
				}})
			}
			return out
		},
	}}
}

func refreshed(sc screen) screen {
	sc.timer = 60
	return sc
}

func withMenu(sc screen, items []button) screen {
	sc.menu = items
	return sc
}

// moves are the steps that the selected patient can be put through. The last
// ones are asked about first.
func moves(kind string, steps ...string) []button {
	var out []button
	for i, step := range steps {
		move := func(t *turn) {
			if t.sess.chosen.entry != 0 {
				t.srv.store.mark(t.sess.chosen.entry, step)
				t.audit("UPDATE " + kind)
			}
		}
		do := move
		if i == len(steps)-1 {
			do = func(t *turn) { t.sess.question = &question{text: "Set the patient to '" + step + "'?", yes: move} }
		}
		label := step
		if step == "Discharged" {
			label = "Discharge Patient"
		}
		out = append(out, button{id: strconv.Itoa(1 + i), label: label, do: do})
	}
	return out
}

// chart is a screen of one patient: what is recorded of the kinds and, unless
// label is "", a way to record more of the last.
func chart(form int, area, caption, label string, kinds ...string) screen {
	sc := screen{form: form, area: area, caption: caption, needsPatient: true, grid: &grid{
		columns: []string{"Date", "Details", "Status", "By"},
		rows: func(t *turn) []row {
			var out []row
			for _, e := range t.srv.store.list(t.sess.patient, kinds...) {
				out = append(out, row{entry: e.id, cells: []string{t.srv.when(e.when), e.text, e.status, e.by}})
			}
			return out
		},
	}}
	if label == "" {
		return sc
	}
	sc.fields = []field{{"1030", "textbox", label}}
	sc.buttons = editing("New", func(t *turn) bool {
		text := t.sess.fields["1030"]
		if text == "" {
			t.say("Please enter: " + label)
			return false
		}
		t.srv.store.record(entry{patient: t.sess.patient, kind: kinds[len(kinds)-1], text: text, status: "Active", by: t.sess.account.name})
		t.audit("INSERT " + kinds[len(kinds)-1])
		t.sess.fields = map[string]string{}
		return true
	})
	return sc
}

// editing are the buttons of a screen that is saved; save says whether it was.
func editing(begin string, save func(*turn) bool) []button {
	return []button{
		{id: "1040", label: begin, when: "view", do: func(t *turn) { t.sess.editing = true }},
		{id: "1041", label: "Save", when: "edit", do: func(t *turn) { t.sess.editing = !save(t) }},
		{id: "1042", label: "Cancel", when: "edit", do: func(t *turn) { t.sess.editing = false }},
	}
}

// checked lets the selected result be marked as checked.
func checked(sc screen) screen { return marking(sc, "Mark as Checked", "Checked") }

// stopped lets the selected prescription be stopped.
func stopped(sc screen) screen { return marking(sc, "Discontinue", "Stopped") }

func marking(sc screen, label, status string) screen {
	sc.buttons = append(sc.buttons, button{id: "1043", label: label, when: "view", do: func(t *turn) {
		if t.sess.chosen.entry != 0 {
			t.srv.store.mark(t.sess.chosen.entry, status)
			t.audit("UPDATE " + sc.caption)
		}
	}})
	return sc
}

// clock is referral to treatment: whether the patient's clock runs.
func clock(form int, caption string) screen {
	sc := chart(form, areaPAS, caption, "", "referral")
	sc = marking(sc, "Stop Clock", "Clock stopped")
	return sc
}
