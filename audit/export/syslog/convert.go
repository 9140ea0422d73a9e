package syslog

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// convert makes the message of one record. shortened names the fields of r that
// do not hold all that the record does.
func convert(r *audit.Record, shortened []string) message {
	e := eventOf(r)
	m := message{
		event: e.id, types: e.types, action: e.action, at: r.Time, outcome: indicator(r),
		description: describe(r), site: r.Site, source: r.Source,
	}
	m.participants = participants(r, e)
	if hasPatient(r) {
		m.objects = append(m.objects, patientObject(r))
	}
	switch {
	case e.alert:
		m.objects = append(m.objects, alertObject(r))
	case e.id == query():
		m.objects = append(m.objects, object{
			id: orElse(r.Target, r.App), idType: rfc3881("10", "Search Criteria"), kind: "2", role: "24", query: r.Query, isQuery: true,
		})
	case e.id == auditLogUsed():
		m.objects = append(m.objects, object{
			id: "matron:" + r.Source, idType: rfc3881("12", "URI"), kind: "2", role: "13", name: "Security Audit Log",
		})
	case r.Target != "" && e.id != userAuthentication():
		m.objects = append(m.objects, object{
			id: r.Target, idType: rfc3881("12", "URI"), kind: "2", role: "4", name: orElse(r.Resource, r.Screen, r.Area, r.App),
		})
	}
	m.objects = append(m.objects, recordObject(r, e, shortened))
	return m
}

// describe says why, in codes.
func describe(r *audit.Record) string {
	if r.Error != "" {
		return r.Error
	}
	if refused(r) {
		return strings.Join(r.Reasons, " ")
	}
	return ""
}

// participants lists who took part: the person, the client, the application
// and, where it reports or acts itself, the gateway. The requestor is the person
// or, of nobody known, the client; in an alert it is the gateway that reports
// (PS3.15 A.5.3.11: who performed is never the requestor).
func participants(r *audit.Record, e event) []participant {
	var ps []participant
	client, server := exchangeRoles(e)
	address, addressType := networkOf(r.ClientIP)
	if e.alert {
		ps = append(ps, participant{id: gatewayID(r), name: "Matron", requestor: true, roles: []code{application()}})
	}
	id := personID(r)
	if id != "" {
		p := participant{
			id: id, name: r.UserName, requestor: !e.alert, roles: []code{authorizingStaff()}, address: address, addressType: addressType,
		}
		if r.UserSub != id {
			p.alternative = r.UserSub
		}
		for _, role := range r.Roles {
			p.roles = append(p.roles, staffRole(role))
		}
		ps = append(ps, p)
	}
	if r.ClientIP != "" || r.Device != "" {
		ps = append(ps, participant{
			id: orElse(r.Device, r.ClientIP), requestor: id == "" && !e.alert, roles: []code{client}, address: address, addressType: addressType,
		})
	}
	if to := orElse(r.UpstreamTo, r.App); to != "" {
		ps = append(ps, participant{id: to, roles: []code{server}})
	}
	if len(ps) == 0 || e.id == applicationActivity() {
		ps = append(ps, participant{id: gatewayID(r), name: "Matron", roles: []code{application()}})
	}
	return ps
}

func personID(r *audit.Record) string { return orElse(r.Person, r.UserSub, r.UserName) }

func gatewayID(r *audit.Record) string { return "matron/" + r.Source }

// exchangeRoles are the roles of client and application as IHE BALP and DICOM
// give them: who reads is the destination, who asks or writes is the source.
func exchangeRoles(e event) (client, server code) {
	switch {
	case e.id == exported():
		return destinationMedia(), sourceRole()
	case e.action == "R":
		return destinationRole(), sourceRole()
	case e.action == "D" || e.id == userAuthentication() || e.alert:
		return application(), application()
	}
	return sourceRole(), destinationRole()
}

// networkOf tells an IP address from a name.
func networkOf(address string) (id, typeCode string) {
	if address == "" {
		return "", ""
	}
	if _, err := netip.ParseAddr(address); err == nil {
		return address, "2"
	}
	return address, "1"
}

// patientObject names the patient by the NHS number where it is known. No name
// is recorded, so that the object's name says which number it is.
func patientObject(r *audit.Record) object {
	o := object{id: r.NHSNumber, idType: rfc3881("2", "Patient Number"), kind: "1", role: "1", name: "NHS number"}
	if r.NHSNumber == "" {
		o.id, o.name = r.Patient, "Patient id of "+orElse(r.App, "the application")
	}
	o.details = pairs("nhs_number", r.NHSNumber, "patient", r.Patient, "patient_source", string(r.PatientSource), "certainty", string(r.Certainty))
	return o
}

func alertObject(r *audit.Record) object {
	text := string(r.Kind)
	if r.Kind == audit.KindDecision || r.Kind == audit.KindPatient {
		text = "access " + orElse(r.Effect, "deny")
	}
	if len(r.Reasons) > 0 {
		text += ": " + strings.Join(r.Reasons, " ")
	}
	return object{
		id: orElse(r.Target, gatewayID(r)), idType: rfc3881("12", "URI"), kind: "2", role: "13",
		name:    orElse(r.Resource, r.Screen, r.Area, r.App, "Matron"),
		details: []detail{{"Alert Description", text}},
	}
}

// recordObject is the record itself: its id and what the message has no place
// for, named as in the record.
func recordObject(r *audit.Record, e event, shortened []string) object {
	o := object{
		id: r.Source + "/" + strconv.FormatUint(r.Seq, 10), idType: own("record", "Matron record: source/seq"), kind: "4", name: "Matron record",
	}
	o.details = pairs(
		"shortened", strings.Join(shortened, " "),
		"kind", string(r.Kind), "request", r.Request, "decision", decimal(r.Decision),
		"app", r.App, "method", r.Method, "route", r.Route, "action", r.Action, "area", r.Area, "screen", r.Screen,
		"resource", r.Resource, "resource_id", r.ResourceID, "resource_version", r.ResourceVersion, "deliberate", r.Deliberate,
		"user_issuer", r.UserIssuer, "activities", strings.Join(r.Activities, " "), "org", r.Org, "role_id", r.RoleID,
		"acr", r.ACR, "amr", strings.Join(r.AMR, " "), "assurance", decimal(r.Assurance), "auth_time", moment(r.AuthTime),
		"session", r.Session, "token", r.Token, "purpose", r.Purpose, "basis", r.Basis,
		"user_agent", r.UserAgent, "client_cn", r.ClientCN,
		"effect", r.Effect, "reasons", strings.Join(r.Reasons, " "), "rules", strings.Join(r.Rules, " "),
		"policy_rev", r.PolicyRev, "mode", r.Mode, "outcome", string(r.Outcome), "status", decimal(r.Status),
		"bytes_in", decimal(r.BytesIn), "bytes_out", decimal(r.BytesOut), "duration_us", decimal(r.Duration),
		"upstream_us", decimal(r.Upstream), "results", decimal(r.Results), "error", r.Error,
	)
	if !hasPatient(r) {
		o.details = append(o.details, pairs("patient_source", string(r.PatientSource), "certainty", string(r.Certainty))...)
	}
	if personID(r) == "" {
		o.details = append(o.details, pairs("roles", strings.Join(r.Roles, " "))...)
	}
	if e.id == userAuthentication() { // has no object of its own (PS3.15 A.5.3.12)
		o.details = append(o.details, pairs("target", r.Target)...)
	}
	if e.id != query() {
		o.details = append(o.details, pairs("query", r.Query)...)
	}
	if r.WouldDeny {
		o.details = append(o.details, detail{"would_deny", "true"})
	}
	for _, d := range r.Detail {
		o.details = append(o.details, detail{"detail", d})
	}
	return o
}

// pairs makes details of names and values in turn, without the empty ones.
func pairs(namesAndValues ...string) []detail {
	var list []detail
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] != "" {
			list = append(list, detail{namesAndValues[i], namesAndValues[i+1]})
		}
	}
	return list
}

func decimal(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}

// orElse is the first of values that is not empty.
func orElse(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
