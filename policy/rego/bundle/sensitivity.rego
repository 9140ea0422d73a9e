# Whether somebody may open what is protected beyond the usual. The table is
# sensitivity.yaml.
package matron

# What protects a record is met: nothing does, which is the usual case and quickly
# told ...
safeguarded if {
	input.sensitivity.known == true
	input.sensitivity.classes == []
	data.sensitivity.areas[input.area] == {}
}

# ... or this person may open it and did what that demands (assurance.rego).
safeguarded if {
	cleared
	assured
}

# Every class that counts here is one that this person is cleared for.
cleared if {
	is_boolean(input.sensitivity.known)
	is_array(input.sensitivity.classes)
	every class in counting {
		clear(class)
	}
}

# The classes that count for this action, here, of every patient who is named or shown:
# a protected record is not opened by asking for somebody else's beside it ...
counting contains class if {
	some class in input.sensitivity.classes
	counts(data.sensitivity.classes[class])
}

# ... those that this part of the record is of by nature ...
counting contains class if {
	some entry in [input.resource, "*"]
	some class in data.sensitivity.areas[input.area].nature[entry]
}

# ... one that the table does not know, which is as closed as can be ...
counting contains "unlisted" if {
	some class in input.sensitivity.classes
	object.get(data.sensitivity.classes, class, "nothing") == "nothing"
	counts(data.sensitivity.classes.unlisted)
}

# ... and that nobody knows which there are.
# hazard:GW-11 control:C-47
counting contains "unknown" if {
	input.sensitivity.known == false
	counts(data.sensitivity.classes.unknown)
}

counts(row) if {
	input.area in row.areas
	input.action in row.actions
}

clear(class) if {
	some role in input.subject.roles
	object.get(data.codes, role, role) in data.sensitivity.classes[class].cleared.roles
	data.roles[object.get(data.codes, role, role)].machine == input.subject.machine
}

clear(class) if {
	some kind in input.care.kinds
	kind in data.sensitivity.classes[class].cleared.care
}

clear(class) if {
	input.care.each != []
	every kinds in input.care.each {
		kinds[_] in data.sensitivity.classes[class].cleared.care
	}
}

clear(class) if {
	placed
	some granted in input.subject.activities
	some code in data.activities[granted].implies
	code in data.sensitivity.classes[class].cleared.activities
}

clear(class) if {
	placed
	some role in input.subject.roles
	some code in data.baseline[role]
	code in data.sensitivity.classes[class].cleared.activities
}

clear(class) if {
	input.grant != ""
	data.sensitivity.classes[class].cleared.emergency == true
}
