# Who may do what in the record.
#
# allow holds only when every condition is met by a fact that is there. Nothing
# here allows because a check found nothing wrong: a missing, empty or garbled
# fact fails its condition. The table of roles is roles.yaml, the words that
# staff read are reasons.yaml.
package matron

default allow := false

# Somebody, by a known route, about a known patient, with a role for it, who cares for
# the patient (care.rego), and is cleared for what is protected (sensitivity.rego).
allow if {
	input.subject.known == true
	input.rule != ""
	patients_known
	basis
	related
	safeguarded
}

# One patient, read from where the application itself keeps it.
patients_known if {
	input.certainty == "authoritative"
	[patient] = input.patients
	patient != ""
}

# One patient, learned from what the application showed before.
patients_known if {
	input.certainty == "learned"
	[patient] = input.patients
	patient != ""
}

# Several patients, each of them named.
patients_known if {
	input.certainty == "several"
	input.patients != []
	every patient in input.patients {
		patient != ""
	}
}

# Whoever the answer names is recorded before it is released. A deletion has no
# answer that names anybody: it must say beforehand whose record it is.
patients_known if {
	input.certainty == "unknown"
	input.held == true
	input.action in {"read", "search", "list", "create", "update", "print", "export"}
	every patient in input.patients {
		patient != ""
	}
}

# Nobody's record: a form, a list of wards.
patients_known if {
	input.certainty == "none"
	input.patients == []
}

# What the permission rests on. Its value names the rule in the record.
#
# A role, by its name here, has this action in this area ...
basis := "role-table" if {
	some role in input.subject.roles
	row := data.roles[role]
	row.machine == input.subject.machine
	input.action in row.may[input.area]
}

# ... or a national role code stands for a role that has it ...
else := "role-code" if {
	some code in input.subject.roles
	row := data.roles[data.codes[code]]
	row.machine == input.subject.machine
	input.action in row.may[input.area]
}

# ... or a role has it for this kind of entry ...
else := "role-resource" if {
	some code in input.subject.roles
	row := data.roles[object.get(data.codes, code, code)]
	row.machine == input.subject.machine
	input.action in row.also[input.area][input.resource]
}

# ... or an activity that this person was granted, or one that it includes, has it
# for somebody with a role here ...
else := "activity" if {
	placed
	some granted in input.subject.activities
	some code in data.activities[granted].implies
	input.action in data.rights[code][input.area]
}

# ... or an activity in the baseline of a national role of theirs has it ...
else := "baseline" if {
	placed
	some role in input.subject.roles
	some code in data.baseline[role]
	input.action in data.rights[code][input.area]
}

# ... or every person who is signed in has it.
else := "everyone" if {
	input.subject.machine == false
	input.action in data.everyone[input.area]
}

# ... or it is the probe of emergency access, while that is in force for it. Who may
# have it is said where it is offered.
# hazard:GW-10 control:C-41
else := "probe" if {
	input.subject.machine == true
	"break-glass-probe" in input.subject.roles
	input.action == "read"
	input.grant != ""
}

# A person with a role that is known here: activities come with a post.
placed if {
	input.subject.machine == false
	some role in input.subject.roles
	data.roles[object.get(data.codes, role, role)].machine == false
}
