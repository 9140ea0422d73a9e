# What opening something demands of a person: how well and how lately they proved who
# they are, and what for. The table is sensitivity.yaml.
package matron

# A save is never held up by any of it: what somebody has written would be lost.
# hazard:GW-06 control:C-26
assured if input.action in {"create", "update", "delete"}

# Emergency access asked for all of it when it began.
assured if input.grant != ""

# A connected system does not sign in.
# hazard:GW-22 control:C-178
assured if input.subject.machine == true

assured if {
	strong
	fresh
	purposed
}

demands contains data.sensitivity.classes[class].demands if some class in counting

demands contains data.sensitivity.areas[input.area].demands

strong if {
	every demand in demands {
		reached(demand.assurance)
	}
}

reached(0)

reached(level) if input.subject.assurance >= level

fresh if {
	every demand in demands {
		within(demand.signed_in_within)
	}
}

within(0)

# hazard:GW-22 control:C-178
within(minutes) if {
	input.subject.signed_in_within > 0
	input.subject.signed_in_within <= minutes
}

purposed if {
	every demand in demands {
		stated(demand.purpose)
	}
}

stated(false)

stated(true) if data.sensitivity.purposes[input.purpose]
