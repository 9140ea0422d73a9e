package matron_test

import data.matron

# A refusal for a reason that emergency access cures, of somebody who may have it.
offered(change, reasons) := what if {
	what := matron.offer with input as asked(object.union({"grant": ""}, change)) with matron.reasons as reasons with data.reasons as [
		{"code": "far", "offer": "break-glass"},
		{"code": "near", "offer": ["step-up", "break-glass"]},
		{"code": "why", "offer": "purpose"},
		{"code": "never"},
	]
}

test_offer_cures_every_reason if {
	offered({}, {"far"}) == "break-glass"
	offered({}, {"near"}) == "step-up"
	offered({}, {"why"}) == "purpose"
	offered({}, {"far", "near"}) == "break-glass"
	offered({}, {"near", "why"}) == "step-up"
	offered({"grant": "g"}, {"far"}) == ""
}

test_no_offer_in_vain if {
	every reasons in [set(), {"never"}, {"far", "never"}, {"far", "why"}, {"near", "why", "far"}, {"unheard-of"}] {
		offered({}, reasons) == ""
	}
	offered({"patients": ["1001", "1002"]}, {"near", "why"}) == "" # who is asked what for is asked about one
}

test_offer_makes_a_challenge if {
	matron.effect == "challenge" with input as question with matron.offer as "purpose"
	matron.effect == "deny" with input as question with matron.offer as ""
}

# hazard:GW-01 control:C-01
test_emergency_access_is_for_roles_that_may if {
	every role in ["doctor", "nurse", "R8001", "pharmacist"] {
		offered(in_role([role]), {"far"}) == "break-glass"
	}
	every role in ["receptionist", "ward-clerk", "system-administrator", "privacy-officer", "R9999", ""] {
		offered(in_role([role]), {"far"}) == ""
	}
}

test_systems_are_offered_nothing if {
	every reasons in [{"far"}, {"near"}, {"why"}, {"near", "why"}] {
		offered({"subject": {"roles": ["doctor"], "machine": true}}, reasons) == ""
		offered({"subject": {"roles": ["api-client"], "machine": true}}, reasons) == ""
	}
}

test_emergency_access_is_to_one_known_patient if {
	every change in [
		{"patients": []},
		{"patients": [""]},
		{"patients": ["1001", "1002"]},
		{"certainty": "several"},
		{"certainty": "unknown"},
		{"certainty": "none"},
		{"certainty": ""},
	] {
		offered(change, {"far"}) == ""
	}
	offered({"certainty": "learned"}, {"far"}) == "break-glass"
}

# The probe reads one made-up patient's record, and only by emergency access.
probing(change) := object.union(
	{
		"subject": {"issuer": "urn:matron:probe", "roles": ["break-glass-probe"], "machine": true},
		"area": "demographics",
	},
	change,
)

# hazard:GW-10 control:C-41
test_probe_is_challenged_and_then_reads if {
	codes(probing({})) == {"probe-without-grant"}
	matron.decision.offer == "break-glass" with input as asked(probing({"grant": ""}))
	matron.allow with input as asked(probing({"grant": "g"}))
}

test_probe_does_nothing_else if {
	every action in ["search", "list", "create", "update", "delete", "print", "export"] {
		codes(probing({"action": action, "grant": "g"})) == {"probe-without-grant"}
	}
	codes(probing({"action": "read", "grant": ""})) == {"probe-without-grant"}
}

test_nobody_else_is_the_probe if {
	every subject in [
		{"issuer": "https://id.example", "roles": ["break-glass-probe"], "machine": true},
		{"issuer": "urn:matron:probe", "roles": ["api-client"], "machine": true},
		{"issuer": "urn:matron:probe", "roles": ["break-glass-probe"], "machine": false},
	] {
		matron.decision.effect == "deny" with input as asked({"subject": subject, "area": "theatres", "grant": ""})
	}
}

test_offers_are_known if {
	every reason in data.reasons {
		offer := object.get(reason, "offer", [])
		words := {word | some word in [offer]; is_string(word)} | {word | some word in offer}
		words - {"break-glass", "step-up", "purpose"} == set()
	}
}

test_systems_never_break_glass if {
	every role in data.roles {
		object.get(role, "break-glass", false) in {false, role.machine == false}
	}
}
