package openmaxims

import (
	"strings"
)

// patientSearch has the control ids of the original, which gateways know.
func patientSearch() screen {
	return screen{
		form: formSearch, area: areaPAS, caption: "Patient Search", search: true,
		fields: []field{
			{"1011", "textbox", "NHS Number"},
			{"1014", "textbox", "Hospital No."},
			{"1015", "textbox", "Surname"},
			{"1016", "textbox", "Forename"},
			{"1017", "partialdatebox", "Date of Birth"},
			{"1020", "combobox", "Sex"},
		},
		buttons: []button{
			{id: "1025", label: "Search", image: true, do: func(t *turn) { t.sess.fields["searched"] = "true" }},
			{id: "1024", label: "Clear", image: true, do: func(t *turn) { t.sess.fields = map[string]string{} }},
			{id: "1023", label: "New Patient", image: true, do: func(t *turn) {
				t.sess.patient = 0
				t.show(t.srv.screen(formDemographics))
				t.sess.editing = true
			}},
		},
		grid: &grid{columns: patientColumns(), rows: found, opens: formDemographics},
	}
}

// found are the patients who match what was typed, once Search was pressed.
func found(t *turn) []row {
	f := t.sess.fields
	if f["searched"] == "" {
		return nil
	}
	typed := false
	for _, id := range []string{"1011", "1014", "1015", "1016", "1017", "1020"} {
		typed = typed || f[id] != ""
	}
	if !typed {
		t.say("Please enter search criteria.")
		return nil
	}
	starts := func(value, typed string) bool {
		return strings.HasPrefix(strings.ToLower(value), strings.ToLower(strings.TrimSpace(typed)))
	}
	return patientRows(t, t.srv.store.find(func(p patient) bool {
		return starts(p.nhs, strings.ReplaceAll(f["1011"], " ", "")) && starts(p.hospitalNo, f["1014"]) && starts(p.surname, f["1015"]) &&
			starts(p.forename, f["1016"]) && (f["1017"] == "" || p.dob() == f["1017"]) && starts(p.sex, f["1020"])
	}))
}

func patientRows(t *turn, patients []patient) []row {
	var out []row
	for _, p := range patients {
		out = append(out, row{patient: p.id, cells: p.cells(t.srv.cfg.Now())})
	}
	return out
}

func everybody() *grid {
	return &grid{columns: patientColumns(), rows: func(t *turn) []row {
		return patientRows(t, t.srv.store.find(func(patient) bool { return true }))
	}}
}

// demographics shows and registers a patient.
func demographics() screen {
	sc := screen{
		form: formDemographics, area: areaPAS, caption: "Demographics",
		fields: []field{
			{"1031", "textbox", "Surname"},
			{"1032", "textbox", "Forename"},
			{"1033", "textbox", "Date of Birth"},
			{"1034", "combobox", "Sex"},
			{"1035", "textbox", "Address"},
			{"1036", "textbox", "Phone"},
			{"1037", "textbox", "NHS Number"},
			{"1038", "textbox", "Hospital No."},
		},
		fill: func(t *turn) {
			if p, ok := t.srv.store.patient(t.sess.patient); ok {
				t.sess.fields = map[string]string{
					"1031": p.surname, "1032": p.forename, "1033": p.born, "1034": p.sex,
					"1035": p.address, "1036": p.phone, "1037": p.nhs, "1038": p.hospitalNo,
				}
			}
		},
	}
	sc.buttons = editing("Edit", func(t *turn) bool {
		f := t.sess.fields
		if f["1031"] == "" || f["1033"] == "" {
			t.say("Please enter: Surname, Date of Birth")
			return false
		}
		p, _ := t.srv.store.patient(t.sess.patient)
		p.surname, p.forename, p.born, p.sex = f["1031"], f["1032"], f["1033"], f["1034"]
		p.address, p.phone = f["1035"], f["1036"]
		t.pick(t.srv.store.keep(p))
		t.audit("UPDATE Patient")
		sc.fill(t)
		return true
	})
	return sc
}

// printDialog is the window of the Print button: templates, for the current patient.
func printDialog() screen {
	return screen{
		form: formPrint, area: areaPAS, caption: "Print Report", dialog: true,
		grid: &grid{columns: []string{"Report"}, rows: func(t *turn) []row {
			var out []row
			for _, name := range t.srv.store.templates() {
				out = append(out, row{key: name, cells: []string{name}})
			}
			return out
		}},
		buttons: []button{
			{id: "1001", label: "Print", do: func(t *turn) {
				if t.sess.chosen.key == "" {
					t.say("Please select a report.")
					return
				}
				t.out.openURL = t.srv.reportURL(t.sess.id, t.srv.build(t.sess.chosen.key, t.sess.patient))
				t.audit("PRINT " + t.sess.chosen.key)
			}},
			{id: "1002", label: "Close", do: (*turn).closeDialog},
		},
	}
}

// applicationUsers lets passwords be set and accounts be closed.
func applicationUsers() screen {
	sc := screen{
		form: 103105, area: areaAdmin, caption: "Application Users",
		fields: []field{{"1030", "textbox", "New password"}},
		grid: &grid{columns: []string{"User", "Name", "Roles", "Active"}, rows: func(t *turn) []row {
			var out []row
			for _, a := range t.srv.store.users() {
				var names []string
				for _, r := range a.roles {
					names = append(names, r.name)
				}
				active := "Yes"
				if !a.active {
					active = "No"
				}
				out = append(out, row{key: a.user, cells: []string{a.user, a.name, strings.Join(names, ", "), active}})
			}
			return out
		}},
	}
	sc.buttons = append(editing("Edit", func(t *turn) bool {
		user, pass := t.sess.chosen.key, t.sess.fields["1030"]
		if pass == "" {
			t.say("Please enter: New password")
			return false
		}
		t.audit("UPDATE AppUser")
		return t.srv.store.change(user, func(a *account) { a.password = pass })
	}), button{id: "1044", label: "Deactivate", when: "view", do: func(t *turn) {
		t.srv.store.change(t.sess.chosen.key, func(a *account) { a.active = false })
		t.audit("UPDATE AppUser")
	}})
	return sc
}

func configFlags() screen {
	sc := screen{
		form: 103104, area: areaAdmin, caption: "Configuration Flags",
		fields: []field{{"1030", "textbox", "Value"}},
		grid: &grid{columns: []string{"Flag", "Value"}, rows: func(t *turn) []row {
			var out []row
			for _, f := range t.srv.store.settings() {
				out = append(out, row{key: f[0], cells: f[:]})
			}
			return out
		}},
	}
	sc.buttons = editing("Edit", func(t *turn) bool {
		if t.sess.chosen.key == "" {
			return false
		}
		t.srv.store.setFlag(t.sess.chosen.key, t.sess.fields["1030"])
		t.audit("UPDATE ConfigFlag")
		return true
	})
	return sc
}

// sessionAdmin shows the ids of everybody's sessions (S7).
func sessionAdmin() screen {
	return screen{
		form: 103107, area: areaAdmin, caption: "Session Admin",
		grid: &grid{columns: []string{"Session", "User", "Role", "Host", "Last used"}, rows: func(t *turn) []row {
			var out []row
			for _, s := range t.srv.sessions.list() {
				out = append(out, row{key: s.ID, cells: []string{s.ID, s.User, s.Role, s.Host, t.srv.when(s.Last)}})
			}
			return out
		}},
		buttons: []button{{id: "1045", label: "Terminate", do: func(t *turn) {
			if t.sess.chosen.key != t.sess.id {
				t.srv.sessions.end(t.sess.chosen.key)
			}
		}}},
	}
}

func auditList() screen {
	return screen{
		form: 103111, area: areaAdmin, caption: "Audit List",
		grid: &grid{columns: []string{"Date", "User", "Role", "Host", "Action", "Hospital No."}, rows: func(t *turn) []row {
			var out []row
			for _, a := range t.srv.store.audited() {
				p, _ := t.srv.store.patient(a.patient)
				out = append(out, row{cells: []string{t.srv.when(a.when), a.user, a.role, a.host, a.action, p.hospitalNo}})
			}
			return out
		}},
	}
}
