# Why a request was refused and what would make it right. Evaluated only when
# allow does not hold. Every reason is the absence of a condition of allow, so
# that there is a reason exactly when there is no permission.
package matron

default decision := {"allow": false, "effect": "deny", "offer": "", "emergency": false, "reasons": []}

decision := {"allow": allow, "effect": effect, "offer": offer, "emergency": emergency, "reasons": sentences}

# hazard:GW-01 control:C-05
sentences := [sentence |
	some entry in data.reasons
	entry.code in reasons
	sentence := {
		"code": entry.code,
		"text": filled(entry.text),
		"remedy": filled(entry.remedy),
	}
]

# METADATA
# labels:
#   id: no-identity
reasons contains "no-identity" if not identified

# METADATA
# labels:
#   id: unmapped
reasons contains "unmapped" if {
	identified
	not mapped
}

# METADATA
# labels:
#   id: unknown-action
reasons contains "unknown-action" if {
	considered
	not data.actions[input.action]
}

# METADATA
# labels:
#   id: unknown-area
reasons contains "unknown-area" if {
	considered
	not data.areas[input.area]
}

# METADATA
# labels:
#   id: patient-unknown
reasons contains "patient-unknown" if {
	considered
	not patients_known
}

# METADATA
# labels:
#   id: no-role
reasons contains "no-role" if {
	considered
	not basis
	count(titles) == 0
}

# METADATA
# labels:
#   id: role-not-permitted
reasons contains "role-not-permitted" if {
	considered
	data.actions[input.action]
	data.areas[input.area]
	not basis
	not probe
	count(titles) > 0
}

# METADATA
# labels:
#   id: no-relationship
reasons contains "no-relationship" if {
	considered
	patients_known
	not related
}

# METADATA
# labels:
#   id: sensitive-record
reasons contains "sensitive-record" if {
	entitled
	not cleared
	count(closed) > 0
	not shut
}

# METADATA
# labels:
#   id: closed-record
reasons contains "closed-record" if {
	entitled
	not cleared
	shut
}

# METADATA
# labels:
#   id: sensitivity-unknown
reasons contains "sensitivity-unknown" if {
	entitled
	not cleared
	count(closed) == 0
}

# METADATA
# labels:
#   id: assurance-too-low
reasons contains "assurance-too-low" if {
	entitled
	not assured
	not strong
}

# METADATA
# labels:
#   id: sign-in-too-old
reasons contains "sign-in-too-old" if {
	entitled
	not assured
	not fresh
}

# METADATA
# labels:
#   id: purpose-not-stated
reasons contains "purpose-not-stated" if {
	entitled
	not assured
	not purposed
}

# The classes of the record that this person is not cleared for.
closed contains class if {
	some class in counting
	class != "unknown"
	not clear(class)
}

# One of them is not opened by emergency access either.
shut if {
	some class in closed
	data.sensitivity.classes[class].cleared.emergency == false
}

# A role for it and a known patient: only who has these is told that the record is
# protected, and how to open it all the same.
entitled if {
	considered
	patients_known
	basis
}

# Somebody is there and the map knows the request, so that there is more to say.
considered if {
	identified
	mapped
}

# The roles that this subject holds here, as staff call them.
titles contains title if {
	some code in input.subject.roles
	role := object.get(data.codes, code, code)
	data.roles[role].machine == input.subject.machine
	title := data.roles[role].title
}

# The roles that may do what was asked.
able contains role.title if {
	some role in data.roles
	role.machine == input.subject.machine
	input.action in role.may[input.area]
}

able contains role.title if {
	some role in data.roles
	role.machine == input.subject.machine
	input.action in role.also[input.area][input.resource]
}

default who := ""

who := data.who.none if count(able) == 0

who := replace(data.who.some, "{titles}", concat(", ", sort(able))) if count(able) > 0

filled(text) := strings.replace_n(
	{
		"{roles}": concat(" and ", sort(titles)),
		"{action}": object.get(data.actions, input.action, "do this in"),
		"{area}": object.get(data.areas, input.area, "this part of the record"),
		"{who}": who,
	},
	text,
)

identified if input.subject.known == true

mapped if input.rule != ""
