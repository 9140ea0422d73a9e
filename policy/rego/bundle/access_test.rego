package matron_test

import data.matron

# A question that is allowed; each test changes what it is about.
question := {
	"subject": {
		"known": true,
		"roles": ["nurse"],
		"machine": false,
	},
	"rule": "fhir-read",
	"action": "read",
	"area": "notes",
	"resource": "Condition",
	"patients": ["1001"],
	"certainty": "authoritative",
	"held": false,
	"sensitivity": {"known": true, "classes": []},
	"care": {"feed": "", "kinds": [], "each": [], "as_of": ""},
}

asked(change) := object.union(question, change)

in_role(roles) := {"subject": {"roles": roles}}

codes(change) := found if {
	found := {reason.code | some reason in matron.decision.reasons} with input as asked(change)
}

test_nurse_reads_notes if matron.allow with input as question

test_national_code_counts_as_its_role if matron.allow with input as asked(in_role(["R8001"]))

test_second_role_counts if matron.allow with input as asked(in_role(["receptionist", "nurse"]))

test_nurse_may_not_prescribe if codes({"action": "create", "area": "prescribing", "resource": "MedicationRequest"}) == {"role-not-permitted"}

test_nurse_charts_what_was_given if {
	matron.allow with input as asked({"action": "create", "area": "prescribing", "resource": "MedicationAdministration"})
}

test_doctor_and_pharmacist_prescribe if {
	every role in ["doctor", "pharmacist", "R8000"] {
		matron.allow with input as asked(object.union(in_role([role]), {"action": "create", "area": "prescribing"}))
	}
}

test_receptionist_sees_no_clinical_record if {
	every area in ["notes", "results", "prescribing", "theatres", "documents"] {
		codes(object.union(in_role(["receptionist"]), {"area": area})) == {"role-not-permitted"}
	}
}

test_administrator_sees_no_patient if {
	every area in ["demographics", "encounters", "notes", "results", "prescribing", "theatres", "documents"] {
		codes(object.union(in_role(["system-administrator"]), {"area": area})) == {"role-not-permitted"}
	}
}

# Matron's own pages: which roles may read each.
own_pages := {
	"audit": {"privacy-officer"},
	"live": {"privacy-officer", "security-analyst"},
	"safety": {"clinical-safety-officer"},
	"rules": {"privacy-officer", "security-analyst", "clinical-safety-officer", "system-administrator"},
}

test_own_pages if {
	every area, roles in own_pages {
		roles == {role |
			some role, _ in data.roles
			matron.allow with input as asked(object.union(in_role([role]), {"area": area, "patients": [], "certainty": "none"}))
		}
	}
}

# Rules: who may propose, approve and mark others.
test_rules_change_by_few if {
	every entry in [
		["rules", "create", {"privacy-officer", "system-administrator"}],
		["rules", "update", {"privacy-officer"}],
		["safety", "update", {"clinical-safety-officer"}],
	] {
		entry[2] == {role |
			some role, _ in data.roles
			matron.allow with input as asked(object.union(
				in_role([role]),
				{"area": entry[0], "action": entry[1], "patients": [], "certainty": "none"},
			))
		}
	}
}

test_home_is_for_everyone_signed_in if {
	matron.allow with input as asked({"subject": {"roles": []}, "area": "home", "patients": [], "certainty": "none"})
}

test_own_pages_are_not_for_systems if {
	every area in ["audit", "live", "safety", "rules"] {
		codes({"subject": {"roles": ["api-client"], "machine": true}, "area": area}) == {"role-not-permitted"}
	}
}

# hazard:GW-16 control:C-64
test_person_never_gets_what_is_for_systems if codes(in_role(["api-client"])) == {"no-role"}

# hazard:GW-16 control:C-64
test_system_never_gets_what_is_for_people if {
	codes({"subject": {"roles": ["doctor"], "machine": true}}) == {"no-role"}
}

test_system_reads if matron.allow with input as asked({"subject": {"roles": ["api-client"], "machine": true}})

test_nobody if codes({"subject": {"known": false}}) == {"no-identity"}

test_unmapped if codes({"rule": ""}) == {"unmapped"}

test_unknown_words if {
	codes({"action": ""}) == {"unknown-action"}
	codes({"action": "fly"}) == {"unknown-action"}
	codes({"area": ""}) == {"unknown-area"}
	codes({"area": "kitchen"}) == {"unknown-area"}
}

test_patient_unknown if {
	every certainty in ["", "unknown", "sure"] {
		codes({"certainty": certainty}) == {"patient-unknown"}
	}
	codes({"patients": []}) == {"patient-unknown"}
	codes({"certainty": "none"}) == {"patient-unknown"}
	codes({"patients": ["1001", "1002"]}) == {"patient-unknown"}
	codes({"patients": [""]}) == {"patient-unknown"}
	codes({"certainty": "several", "patients": ["1001", ""]}) == {"patient-unknown"}
	codes({"certainty": "several", "patients": []}) == {"patient-unknown"}
}

test_several_patients if {
	matron.allow with input as asked({"certainty": "several", "patients": ["1001", "1002"]})
}

test_held_answer_may_name_the_patient if {
	matron.allow with input as asked({"certainty": "unknown", "patients": [], "held": true})
}

test_deletion_must_name_the_patient_beforehand if {
	codes(object.union(in_role(["doctor"]), {"action": "delete", "certainty": "unknown", "patients": [], "held": true})) == {"patient-unknown"}
}

# hazard:GW-01 control:C-05
test_refusal_names_who_may if {
	some reason in matron.decision.reasons with input as asked({"action": "create", "area": "prescribing", "resource": "MedicationRequest"})
	reason.text == "Your role (nurse) may not add to prescriptions."
	startswith(reason.remedy, "Ask somebody who may: doctor, pharmacist.")
}

# The tables hold together: every word in them is one that the rules know.
rows contains [area, actions] if {
	some role in data.roles
	some area, actions in role.may
}

rows contains [area, actions] if some area, actions in data.everyone

test_tables_use_known_areas if {
	besides := {area | some role in data.roles; some area, _ in role.also}
	unknown := ({area | some [area, _] in rows} | besides) - object.keys(data.areas)
	unknown == set()
}

test_tables_use_known_actions if {
	granted := {action | some [_, actions] in rows; some action in actions}
	besides := {action |
		some role in data.roles
		some kinds in role.also
		some actions in kinds
		some action in actions
	}
	unknown := (granted | besides) - object.keys(data.actions)
	unknown == set()
}

test_codes_stand_for_roles if {
	unknown := {role | some _, role in data.codes} - object.keys(data.roles)
	unknown == set()
}

test_codes_are_not_names if object.keys(data.codes) & object.keys(data.roles) == set()

test_roles_are_complete if {
	every role in data.roles {
		is_string(role.title)
		is_boolean(role.machine)
		is_object(role.may)
	}
}

# hazard:GW-30 control:C-224
test_reasons_are_complete if {
	every reason in data.reasons {
		is_string(reason.text)
		is_string(reason.remedy)
	}
}

# National activities: what a person was granted besides their role.
with_activity(code, change) := object.union({"subject": {"roles": ["receptionist"], "activities": [code]}}, change)

test_granted_activity_counts if {
	matron.allow with input as asked(with_activity("B0360", {}))
	matron.allow with input as asked(with_activity("B0825", {"area": "demographics", "action": "update"}))
}

test_activity_includes_others if {
	matron.allow with input as asked(object.union(
		{"subject": {"roles": ["security-analyst"], "activities": ["B0825"]}},
		{"area": "demographics", "action": "read"},
	))
}

test_activity_gives_no_more_than_its_rights if {
	codes(with_activity("B0360", {"action": "update"})) == {"role-not-permitted"}
	codes(with_activity("B9999", {})) == {"role-not-permitted"}
	codes(with_activity("", {})) == {"role-not-permitted"}
}

test_activity_comes_with_a_post if codes({"subject": {"roles": [], "activities": ["B0360"]}}) == {"no-role"}

test_system_is_granted_no_activity if {
	codes({"subject": {"roles": ["api-client"], "machine": true, "activities": ["B0420"]}, "action": "update", "area": "prescribing"}) == {"role-not-permitted"}
}

test_baseline_of_a_role_counts if {
	matron.allow with input as asked(in_role(["R8009"])) with data.baseline as {"R8009": ["B0360"]}
	codes(in_role(["R8009"])) == {"role-not-permitted"}
}

test_rights_hold_together if {
	object.keys(data.rights) - object.keys(data.activities) == set()
	{area | some right in data.rights; some area, _ in right} - object.keys(data.areas) == set()
	{action | some right in data.rights; some actions in right; some action in actions} - object.keys(data.actions) == set()
}
