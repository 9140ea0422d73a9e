package matron_test

import data.matron

protected(classes, change) := object.union(asked({"sensitivity": {"known": true, "classes": classes}}), change)

refused(classes, change) := found if {
	found := {reason.code | some reason in matron.decision.reasons} with input as protected(classes, change)
}

test_relationship_opens_a_colleagues_record if {
	refused(["staff"], {}) == {"sensitive-record"}
	refused(["staff"], {"care": {"kinds": []}}) == {"sensitive-record"}
	refused(["staff"], {"care": {"kinds": ["device-in-ward"]}}) == {"sensitive-record"}
	matron.allow with input as protected(["staff"], {"care": {"kinds": ["ward-stay"]}})
}

test_each_class_counts if {
	refused(["staff", "sexual-health"], {"care": {"kinds": ["ward-stay"]}, "subject": {"assurance": 2}}) == {"sensitive-record"}
	matron.allow with input as protected(["staff", "sexual-health"], {"care": {"kinds": ["clinic-list"]}, "subject": {"assurance": 2}})
}

each(kinds) := {"certainty": "several", "patients": ["1001", "1002"], "care": {"kinds": [], "each": kinds}}

test_relationship_with_each_patient_opens if {
	matron.allow with input as protected(["staff"], each([["ward-stay"], ["clinic-list", "device-in-ward"]]))
	refused(["staff"], each([["ward-stay"], ["device-in-ward"]])) == {"sensitive-record"}
	refused(["staff"], each([["ward-stay"], []])) == {"sensitive-record"}
}

test_emergency_access_opens if {
	refused(["vip"], {"grant": ""}) == {"sensitive-record"}
	matron.allow with input as protected(["vip"], {"grant": "g-1"})
}

test_emergency_access_is_offered_where_it_opens if {
	matron.decision.offer == "break-glass" with input as protected(["vip"], {"grant": ""})
	matron.decision.offer == "break-glass" with input as protected(["sealed"], {"grant": ""})
	matron.allow with input as protected(["sealed"], {"grant": "g-1"})
	matron.decision.offer == "step-up" with input as protected(["sealed"], object.union(treating, {"subject": {"assurance": 1}, "grant": ""}))
	matron.decision.offer == "purpose" with input as protected(["sealed"], object.union(treating, {"purpose": "", "grant": ""}))
	every grant in ["", "g-1"] {
		refused(["vip"], {"grant": grant}) == {"closed-record"}
			with data.sensitivity.classes.vip.cleared.emergency as false
		matron.decision.effect == "deny" with input as protected(["vip"], {"grant": grant})
			with data.sensitivity.classes.vip.cleared.emergency as false
	}
}

# hazard:GW-11 control:C-47
test_class_that_no_table_knows_is_closed if {
	every class in ["royal", ""] {
		refused([class], {"care": {"kinds": ["named-clinician"]}}) == {"sensitive-record"}
		refused([class], {"area": "demographics"}) == {"sensitive-record"}
		refused([class, "staff"], {"care": {"kinds": ["ward-stay"]}}) == {"sensitive-record"}
		matron.allow with input as protected([class], {"grant": "g-1"})
		matron.allow with input as protected([class], {"action": "update"})
	}
}

test_class_counts_only_where_it_says if {
	matron.allow with input as protected(["staff"], {"area": "demographics"})
	matron.allow with input as protected(["staff"], {"action": "update"})
	matron.allow with input as protected(["s-flag"], {})
	refused(["s-flag"], {"area": "demographics"}) == {"sensitive-record"}
}

# hazard:GW-11 control:C-47
test_every_class_counts_beside_other_patients if {
	every class in object.keys(data.sensitivity.classes) - {"unknown"} {
		some area in data.sensitivity.classes[class].areas
		"sensitive-record" in refused([class], {
			"certainty": "several",
			"patients": ["1001", "1002"],
			"action": "search",
			"area": area,
			"subject": {"roles": ["health-records"]},
		})
	}
}

test_list_of_a_ward_is_open if {
	matron.allow with input as protected(["s-flag"], {"area": "demographics", "action": "list", "certainty": "several", "patients": ["1001", "1002"]})
}

test_activity_clears if {
	matron.allow with input as protected(["s-flag"], {"area": "demographics", "subject": {"activities": ["B1611"]}})
	refused(["s-flag"], {"area": "demographics", "subject": {"activities": ["B0820"]}}) == {"sensitive-record"}
}

test_baseline_clears if {
	matron.allow with input as protected(["s-flag"], {"area": "demographics", "subject": {"roles": ["R8001"]}})
		with data.baseline as {"R8001": ["B1611"]}
}

test_role_clears if {
	matron.allow with input as protected(["deceased"], {})
	matron.allow with input as protected(["staff"], {"subject": {"roles": ["api-client"], "machine": true}})
	refused(["deceased"], {"area": "demographics", "subject": {"roles": ["receptionist"]}}) == set()
}

by_nature(kinds) := {"notes": {"nature": kinds}}

test_parts_of_the_record_are_protected_by_nature if {
	codes({}) == {"sensitive-record"} with data.sensitivity.areas as by_nature({"Condition": ["safeguarding"]})
	codes({}) == {"sensitive-record"} with data.sensitivity.areas as by_nature({"*": ["safeguarding"]})
	codes({}) == set() with data.sensitivity.areas as by_nature({"Letter": ["safeguarding"]})
}

# hazard:GW-11 control:C-47
test_nobody_knows if {
	every unknown in [{"known": false, "classes": []}, {"known": false, "classes": ["deceased"]}] {
		codes({"sensitivity": unknown}) == {"sensitivity-unknown"}
		matron.allow with input as asked({"sensitivity": unknown, "care": {"kinds": ["ward-stay"]}})
		matron.allow with input as asked({"sensitivity": unknown, "grant": "g-1"})
		matron.allow with input as asked({"sensitivity": unknown, "area": "demographics"})
		matron.allow with input as asked({"sensitivity": unknown, "action": "update"})
	}
	codes({"sensitivity": {"known": "no", "classes": []}}) == {"sensitivity-unknown"}
	codes({"sensitivity": {"known": true, "classes": "vip"}}) == {"sensitivity-unknown"}
}

test_without_a_role_nobody_hears_of_the_protection if {
	refused(["staff", "sealed"], {"subject": {"roles": ["receptionist"]}}) == {"role-not-permitted"}
	refused(["sealed"], {"patients": []}) == {"patient-unknown"}
}

# What opening a sealed record demands: every row lacks one thing.
treating := {
	"care": {"kinds": ["named-clinician"]},
	"subject": {"assurance": 2, "signed_in_within": 60},
	"purpose": "TREAT",
}

test_sealed_record_opens_for_who_is_named if matron.allow with input as protected(["sealed"], treating)

# hazard:GW-22 control:C-178
test_sealed_record_demands if {
	every row in [
		[{"subject": {"assurance": 1}}, {"assurance-too-low"}],
		[{"subject": {"assurance": 0}}, {"assurance-too-low"}],
		[{"subject": {"signed_in_within": 120}}, {"sign-in-too-old"}],
		[{"subject": {"signed_in_within": 0}}, {"sign-in-too-old"}],
		[{"purpose": ""}, {"purpose-not-stated"}],
		[{"purpose": "CURIOSITY"}, {"purpose-not-stated"}],
		[{"subject": {"assurance": 1}, "purpose": ""}, {"assurance-too-low", "purpose-not-stated"}],
	] {
		refused(["sealed"], object.union(treating, row[0])) == row[1]
	}
}

# hazard:GW-06 control:C-26
test_saving_demands_nothing if {
	every action in ["create", "update"] {
		matron.allow with input as protected(["sealed"], {"action": action, "subject": {"assurance": 0, "signed_in_within": 0}})
	}
}

test_area_may_demand_more if {
	high := {"notes": {"demands": {"assurance": 3, "signed_in_within": 15, "purpose": false}}}
	codes({"subject": {"assurance": 2, "signed_in_within": 15}}) == {"assurance-too-low"} with data.sensitivity.areas as high
	codes({"subject": {"assurance": 3, "signed_in_within": 15}}) == set() with data.sensitivity.areas as high
	codes({"subject": {"assurance": 3, "signed_in_within": 30}}) == {"sign-in-too-old"} with data.sensitivity.areas as high
}

test_system_is_asked_for_no_sign_in if {
	matron.allow with input as asked({"subject": {"roles": ["api-client"], "machine": true, "assurance": 0}})
		with data.sensitivity.areas as {"notes": {"demands": {"assurance": 3, "signed_in_within": 15, "purpose": true}}}
}

# The table holds together.
test_classes_are_complete if {
	every row in data.sensitivity.classes {
		is_string(row.title)
		is_boolean(row.cleared.emergency)
		{area | some area in row.areas} - object.keys(data.areas) == set()
		{action | some action in row.actions} - object.keys(data.actions) == set()
		{role | some role in row.cleared.roles} - object.keys(data.roles) == set()
		{code | some code in row.cleared.activities} - object.keys(data.activities) == set()
		{kind | some kind in row.cleared.care} - kinds_of_care == set()
		possible(row.demands)
	}
}

kinds_of_care := {"ward-stay", "named-clinician", "clinic-list", "referral", "team-handover", "device-in-ward"}

test_every_area_is_there if object.keys(data.areas) - object.keys(data.sensitivity.areas) == set()

test_areas_use_known_words if {
	every area in data.sensitivity.areas {
		object.keys(area) - {"nature", "demands"} == set()
		possible(object.get(area, "demands", {"assurance": 0, "signed_in_within": 0, "purpose": false}))
		{class | some classes in area.nature; some class in classes} - object.keys(data.sensitivity.classes) == set()
	}
}

possible(demand) if {
	demand.assurance in {0, 1, 2, 3}
	demand.signed_in_within in {0, 5, 15, 30, 60, 120, 240, 480, 720}
	is_boolean(demand.purpose)
}
