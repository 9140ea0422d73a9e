package matron_test

import data.matron

# The same question with a register that has heard what it should.
caring(care) := {"care": object.union({"feed": "current", "kinds": [], "each": [], "as_of": "2026-11-22T02:59:00Z"}, care)}

kinds(list) := caring({"kinds": list})

several(each) := object.union({"certainty": "several", "patients": ["1001", "1002"]}, caring({"each": each}))

duties(change) := found if {
	found := matron.obligations with input as asked(change)
}

test_without_a_register_nobody_is_asked if matron.allow with input as question

test_register_unheard_of_is_not_the_same_as_none if {
	unheard := {reason.code | some reason in matron.decision.reasons} with input as object.remove(question, ["care"])
	unheard == {"no-relationship"}
	every feed in ["?", null, "CURRENT"] {
		codes({"care": {"feed": feed, "kinds": ["ward-stay"]}}) == {"no-relationship"}
	}
}

test_relationship_that_counts if {
	every kind in ["ward-stay", "named-clinician", "clinic-list", "referral", "team-handover", "device-in-ward"] {
		matron.allow with input as asked(kinds([kind]))
	}
}

test_relationship_that_does_not_count if {
	codes(kinds([])) == {"no-relationship"}
	codes(kinds(["", "friend"])) == {"no-relationship"}
	codes(object.union(kinds(["device-in-ward"]), {"area": "documents"})) == {"no-relationship"}
}

test_each_patient_must_be_cared_for if {
	matron.allow with input as asked(several([["ward-stay"], ["clinic-list", "referral"]]))
	codes(several([["ward-stay"], []])) == {"no-relationship"}
	codes(several([["ward-stay"], ["friend"]])) == {"no-relationship"}
	codes(several([])) == {"no-relationship"}
}

# hazard:GW-01 control:C-85
test_silence_locks_nobody_out if {
	every feed in ["silent", "loading"] {
		matron.allow with input as asked(caring({"feed": feed}))
		duties(caring({"feed": feed})) == {"notify-care-silent"}
	}
}

test_silence_gives_no_more_than_that if {
	codes(object.union(caring({"feed": "silent"}), in_role(["receptionist"]))) == {"role-not-permitted"}
	codes(object.union(caring({"feed": "silent"}), {"patients": []})) == {"patient-unknown"}
}

test_notice_only_where_nobody_could_tell if {
	duties(question) == set()
	duties(kinds(["ward-stay"])) == set()
	duties(caring({"feed": "silent", "kinds": ["ward-stay"]})) == set()
	duties(object.union(caring({"feed": "silent"}), {"area": "home", "certainty": "none", "patients": []})) == set()
	duties(caring({"feed": "loading", "kinds": ["ward-stay"]})) == {"notify-care-silent"}
}

test_nobodys_record_needs_no_relationship if {
	matron.allow with input as asked(object.union(kinds([]), {"certainty": "none", "patients": []}))
}

test_whoever_the_answer_names_is_asked_about_then if {
	matron.allow with input as asked(object.union(kinds([]), {"certainty": "unknown", "patients": [], "held": true}))
	codes(object.union(kinds([]), {"certainty": "unknown", "held": true})) == {"no-relationship"}
}

test_systems_are_nobodys_carers if {
	matron.allow with input as asked(object.union(kinds([]), {"subject": {"roles": ["api-client"], "machine": true}}))
}

# What each role does for patients whom it does not care for.
without := {
	"doctor": {"demographics": {"search", "list", "create"}},
	"nurse": {"demographics": {"search", "list", "create"}},
	"receptionist": {
		"demographics": {"read", "search", "list", "create", "update", "print"},
		"encounters": {"read", "search", "list", "create", "update", "print"},
	},
}

test_what_needs_no_relationship if {
	every role, areas in without {
		areas == {area: actions |
			some area, _ in data.relationships.counts
			actions := {action |
				some action, _ in data.actions
				matron.allow with input as asked(object.union_n([in_role([role]), kinds([]), {"area": area, "action": action}]))
			}
			actions != set()
		}
	}
}

test_coders_and_records_need_none if {
	every role in ["clinical-coder", "R6050", "health-records", "R6060", "R8013"] {
		matron.allow with input as asked(object.union_n([in_role([role]), kinds([]), {"area": "documents"}]))
	}
}

test_own_pages_need_none if {
	matron.allow with input as asked(object.union_n([in_role(["privacy-officer"]), kinds([]), {"area": "audit"}]))
}

# The table holds together: nobody does without a relationship what they may not do
# at all, every area has its line, and each line names kinds that there are.
test_unrelated_is_part_of_what_a_role_may if {
	every role in data.roles {
		every area, actions in object.get(role, "unrelated", {}) {
			every action in actions {
				action in role.may[area]
			}
		}
	}
}

test_every_area_has_a_line if {
	object.keys(data.relationships.counts) & {area | some area in data.relationships.unneeded} == set()
	object.keys(data.relationships.counts) | {area | some area in data.relationships.unneeded} == object.keys(data.areas)
}

test_kinds_that_count_exist if {
	known := {"ward-stay", "named-clinician", "clinic-list", "referral", "team-handover", "device-in-ward"}
	{kind | some line in data.relationships.counts; some kind in line} - known == set()
}
