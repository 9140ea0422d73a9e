# Who cares for the patient.
#
# What the gateway is told by a register of care relationships, where one is kept.
# The table of who needs which relationship is at the end of roles.yaml.
package matron

# No register is kept for this application: nobody is asked for a relationship.
related if input.care.feed == ""

# There is one of a kind that counts in this area, with every patient ...
related if {
	input.care.feed == "current"
	input.care.kinds[_] in data.relationships.counts[input.area]
}

# ... or one with each patient, of whatever kind ...
related if {
	input.care.feed == "current"
	input.care.each != []
	every kinds in input.care.each {
		kinds[_] in data.relationships.counts[input.area]
	}
}

# ... or nobody can tell, since what the register hears from may have fallen silent
# or it is still being read. That must not lock a ward out (GW-01): it is allowed,
# with notice ...
# hazard:GW-01 control:C-85
related if input.care.feed == "silent"

related if input.care.feed == "loading"

# ... or none is needed.
related if unasked

# Systems are nobody's carers.
unasked if input.subject.machine == true

# Nobody's record: a form, a list of wards.
unasked if input.certainty == "none"

# Whoever the answer names is asked about before it is released.
unasked if {
	input.certainty == "unknown"
	input.held == true
	input.patients == []
}

# Emergency access to this patient is in force.
unasked if input.grant != ""

# What is no patient's care.
unasked if input.area in data.relationships.unneeded

# A role that does this for patients whom it does not care for.
unasked if {
	some code in input.subject.roles
	row := data.roles[object.get(data.codes, code, code)]
	row.machine == input.subject.machine
	input.action in row.unrelated[input.area]
}

# Somebody hears of what was allowed because nobody could tell. What a register knew
# before it fell silent is still so; one that is half read may not know yet that
# something is over.
obligations contains "notify-care-silent" if {
	input.care.feed == "silent"
	not related with input.care.feed as "current"
}

obligations contains "notify-care-silent" if {
	input.care.feed == "loading"
	not unasked
}
