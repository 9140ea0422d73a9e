package auditevent

import (
	"strconv"
	"strings"

	"github.com/matron-epr/matron/audit"
)

// patient is the one patient whom the record names.
func (b *builder) patient() {
	if !b.named() {
		return
	}
	what := &Reference{}
	if nhs := text(b.NHSNumber); nhs != "" {
		what.Identifier = &Identifier{SystemNHSNumber, nhs}
	}
	switch id := text(b.Patient); {
	case isID(id):
		what.Reference = "Patient/" + id
	case what.Identifier == nil:
		what.Type, what.Identifier = "Patient", &Identifier{Value: id}
	default:
		what.Type = "Patient" // the details have the other number
	}
	b.e.Entity = append(b.e.Entity, Entity{What: what, Type: person(), Role: rolePatient()})
}

// data is the resource, or the part of the record for anything but FHIR. Read
// and Delete of BALP allow it neither name nor detail.
func (b *builder) data(lifecycle *Coding) {
	e := Entity{Type: systemObject(), Role: roleResource(), Lifecycle: lifecycle}
	switch name := strings.TrimSpace(text(b.Screen) + " " + text(b.Resource)); {
	case isType(b.Resource) && isID(b.ResourceID):
		e.What = &Reference{Reference: b.Resource + "/" + b.ResourceID}
		if isID(b.ResourceVersion) {
			e.What.Reference += "/_history/" + b.ResourceVersion
		}
		b.haveData = true
	case name != "" || b.ResourceID != "":
		e.What = &Reference{Display: text(strings.TrimSpace(name + " " + text(b.ResourceID)))}
	default:
		return
	}
	if e.What.Reference == "" && e.What.Display == "" {
		return
	}
	b.e.Entity = append(b.e.Entity, e)
}

// query is the request as received, whatever it holds, and cleaned for readers.
// The record of a patient whom the answer named leaves the query to its
// decision: without it nothing is shown rather than half of the request.
func (b *builder) query() {
	if b.Target == "" || b.Kind == audit.KindPatient && b.Query == "" {
		return
	}
	b.haveRaw = true
	b.e.Entity = append(b.e.Entity, Entity{
		Type: systemObject(), Role: roleQuery(), Query: encode(b.raw()), Description: text(b.raw()),
	})
}

// traces are the entities that lead from the event to its proof: the place in
// the journal, the decision and the number of the exchange.
func (b *builder) traces() {
	b.e.Entity = append(b.e.Entity, Entity{
		Type: other(), What: &Reference{Identifier: &Identifier{SystemReceipt, text(b.Source + "/" + strconv.FormatUint(b.Seq, 10))}},
		Name: "Record in Matron's journal", Detail: b.recordFacts(),
	})
	if f := b.decisionFacts(); len(f) > 0 {
		e := Entity{Type: other(), Role: roleSecurity(), Name: "Decision of Matron's policy", Detail: f}
		if rev := text(b.PolicyRev); rev != "" {
			e.What = &Reference{Identifier: &Identifier{systemPolicy, rev}}
		}
		b.e.Entity = append(b.e.Entity, e)
	}
	if id := text(b.Request); id != "" {
		b.e.Entity = append(b.e.Entity, Entity{
			Type: &Coding{System: systemBALPEntity, Code: "XrequestId"}, What: &Reference{Identifier: &Identifier{Value: id}},
		})
	}
}

// recordFacts is what the record says and AuditEvent has no element for. The
// number of results is left out, as BALP asks.
func (b *builder) recordFacts() facts {
	var f facts
	f.add("source", b.Source)
	f.add("seq", strconv.FormatUint(b.Seq, 10))
	f.add("kind", string(b.Kind))
	if b.Decision != 0 {
		f.add("decision", b.Source+"/"+strconv.FormatUint(b.Decision, 10))
	}
	f.add("app", b.App)
	f.add("action", b.Action)
	f.add("area", b.Area)
	f.add("screen", b.Screen)
	f.add("resource", b.Resource)
	f.add("route", b.Route)
	if !b.haveRaw {
		f.add("method", b.Method)
		f.add("target", b.Target)
	}
	f.add("deliberate", b.Deliberate)
	f.add("patient", b.Patient)
	f.add("patient-certainty", string(b.Certainty))
	f.add("patient-source", string(b.PatientSource))
	f.add("person", b.Person)
	f.add("role-id", b.RoleID)
	f.list("activities", b.Activities)
	f.add("acr", b.ACR)
	f.list("amr", b.AMR)
	f.add("auth-time", instant(b.AuthTime))
	f.add("session", b.Session)
	f.add("device", b.Device)
	f.add("client-cn", b.ClientCN)
	f.add("user-agent", b.UserAgent)
	f.number("status", b.Status)
	f.number("bytes-in", b.BytesIn)
	f.number("bytes-out", b.BytesOut)
	f.number("duration-us", b.Duration)
	f.add("error", b.Error)
	f.pairs(b.Detail)
	return f
}

// decisionFacts is how the policy decided.
func (b *builder) decisionFacts() facts {
	var f facts
	f.add("effect", b.Effect)
	f.add("mode", b.Mode)
	if b.WouldDeny {
		f.add("would-deny", "true")
	}
	f.list("reasons", b.Reasons)
	f.list("rules", b.Rules)
	f.add("basis", b.Basis)
	return f
}
