package syslog

import "github.com/matron-epr/matron/audit"

// dcm is a code of DICOM PS3.16 annex D: events (CID 400), their types (CID 401,
// 403) and roles (CID 402).
func dcm(value, text string) code { return code{value, "DCM", text} }

// rfc3881 is an identifier type of PS3.15 A.5.1.2.4.
func rfc3881(value, text string) code { return code{value, "RFC-3881", text} }

// own is a code that only Matron defines, where the standard has none.
func own(value, text string) code { return code{value, "Matron", text} }

// verb is the interaction as FHIR names it.
func verb(value string) code {
	return code{value, "http://hl7.org/fhir/restful-interaction", value}
}

// The events.
func applicationActivity() code { return dcm("110100", "Application Activity") }
func auditLogUsed() code        { return dcm("110101", "Audit Log Used") }
func exported() code            { return dcm("110106", "Export") }
func imported() code            { return dcm("110107", "Import") }
func patientRecord() code       { return dcm("110110", "Patient Record") }
func query() code               { return dcm("110112", "Query") }
func securityAlert() code       { return dcm("110113", "Security Alert") }
func userAuthentication() code  { return dcm("110114", "User Authentication") }
func exchangeOutcome() code     { return own("outcome", "Outcome of an exchange") }

// restful is an access that is about no one patient's record.
func restful() code {
	return code{"rest", "http://terminology.hl7.org/CodeSystem/audit-event-type", "RESTful Operation"}
}

// The roles of participants.
func application() code          { return dcm("110150", "Application") }
func destinationRole() code      { return dcm("110152", "Destination Role ID") }
func sourceRole() code           { return dcm("110153", "Source Role ID") }
func destinationMedia() code     { return dcm("110154", "Destination Media") }
func accessDecision() code       { return dcm("110147", "Access Control Decision") }
func authorizingStaff() code     { return own("user", "Person who asked") }
func staffRole(role string) code { return code{role, "Matron role", role} }

// event is what a kind of record is in the standard's terms.
type event struct {
	id     code
	types  []code
	action string
	alert  bool // a Security Alert: reported by the gateway, severity warning
}

// eventOf never guesses: what the standard has no code for gets one of our own.
func eventOf(r *audit.Record) event {
	switch r.Kind {
	case audit.KindDecision, audit.KindPatient:
		return accessEvent(r)
	case audit.KindOutcome:
		return event{id: exchangeOutcome(), action: "E"}
	case audit.KindSignIn:
		return event{id: userAuthentication(), types: []code{dcm("110122", "Login")}, action: "E"}
	case audit.KindStepUp:
		return event{id: userAuthentication(), types: []code{dcm("110122", "Login"), own("step-up", "Stronger sign-in")}, action: "E"}
	case audit.KindSignOut:
		return event{id: userAuthentication(), types: []code{dcm("110123", "Logout")}, action: "E"}
	case audit.KindBreakGlassStart:
		return alertOf(dcm("110127", "Emergency Override Started"))
	case audit.KindBreakGlassEnd:
		return alertOf(dcm("110138", "Emergency Override Stopped"))
	case audit.KindLimit:
		return alertOf(dcm("110132", "Use of Restricted Function"), own("limit", "Limit exceeded"))
	case audit.KindPolicyChange:
		return alertOf(dcm("110129", "Security Configuration"))
	case audit.KindConfigChange:
		return alertOf(dcm("110131", "Software Configuration"))
	case audit.KindStart:
		return event{id: applicationActivity(), types: []code{dcm("110120", "Application Start")}, action: "E"}
	case audit.KindStop:
		return event{id: applicationActivity(), types: []code{dcm("110121", "Application Stop")}, action: "E"}
	case audit.KindHeartbeat:
		return event{id: applicationActivity(), types: []code{own("heartbeat", "Heartbeat")}, action: "E"}
	case audit.KindClock:
		return alertOf(own("clock", "Clock stepped"))
	case audit.KindFeed:
		return alertOf(own("feed", "Messages about patients refused, or their source silent"))
	case audit.KindImport:
		return event{id: imported(), action: "C"}
	case audit.KindAuditViewed:
		return event{id: auditLogUsed(), action: "R"}
	case audit.KindCheckpointGap:
		return alertOf(own("checkpoint-gap", "Checkpoint missing"))
	case audit.KindBypass:
		return bypassEvent(r.Action)
	case audit.KindDetection:
		return event{id: applicationActivity(), types: []code{own("detection", "Detection begun, or told something new")}, action: "E"}
	case audit.KindIncident:
		return alertOf(own("incident", "Limits lifted for a major incident, or in force again"))
	case audit.KindHold:
		return alertOf(own("hold", "Legal hold placed or released"))
	case audit.KindHazard:
		return event{id: own("hazard", "Clinical hazard log changed or approved"), action: "U"}
	case audit.KindDisposal:
		return alertOf(own("disposal", "Old records disposed of"))
	}
	return event{id: own("record", "Record of a kind that has no mapping"), action: "E"}
}

// bypassEvent is one step of putting the decisions of the gateway aside for a
// time.
func bypassEvent(action string) event {
	types := []code{own("bypass", "Decisions of the gateway put aside for a time")}
	switch action {
	case "begin":
		types = append(types, dcm("110127", "Emergency Override Started"))
	case "end":
		types = append(types, dcm("110138", "Emergency Override Stopped"))
	}
	return alertOf(types...)
}

func alertOf(types ...code) event {
	return event{id: securityAlert(), types: types, action: "E", alert: true}
}

// accessEvent tells apart what was refused, what left the system, what was
// searched for and what was done to one patient's record. An access that names
// no patient is not a Patient Record event: that one demands the patient.
func accessEvent(r *audit.Record) event {
	if refused(r) {
		return alertOf(dcm("110132", "Use of Restricted Function"), accessDecision())
	}
	switch r.Action {
	case "search", "list":
		return event{id: query(), types: []code{verb("search")}, action: "E"}
	case "print", "export":
		return event{id: exported(), types: []code{own(r.Action, r.Action)}, action: "R"}
	}
	e := event{id: restful(), types: []code{accessDecision()}, action: "E"}
	switch r.Action {
	case "read":
		e.action, e.types = "R", []code{verb("read")}
	case "create":
		e.action, e.types = "C", []code{verb("create")}
	case "update":
		e.action, e.types = "U", []code{verb("update")}
	case "delete":
		e.action, e.types = "D", []code{verb("delete")}
	}
	if hasPatient(r) && e.action != "E" {
		e.id = patientRecord()
	}
	return e
}

// refused reports whether the decision let nothing through.
func refused(r *audit.Record) bool { return r.Effect != "allow" }

func hasPatient(r *audit.Record) bool { return r.Patient != "" || r.NHSNumber != "" }

// indicator is the EventOutcomeIndicator. A decision has no outcome of its own:
// what it refused counts as a serious failure, what it wants more proof for as a
// minor one. An exchange that was let through has an Outcome record.
func indicator(r *audit.Record) string {
	switch r.Outcome {
	case audit.Success, audit.MinorFailure, audit.SeriousFailure, audit.MajorFailure:
		return string(r.Outcome)
	}
	switch r.Kind {
	case audit.KindDecision, audit.KindPatient, audit.KindLimit:
		switch {
		case r.Effect == "challenge":
			return string(audit.MinorFailure)
		case refused(r):
			return string(audit.SeriousFailure)
		}
	case audit.KindCheckpointGap, audit.KindOutcome:
		return string(audit.SeriousFailure) // an outcome that says nothing is no success
	default:
	}
	return string(audit.Success)
}
