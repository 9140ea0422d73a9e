// Package auditevent turns records into FHIR R4 AuditEvent resources as the IHE
// profile Basic Audit Log Patterns (BALP) wants them, one event a record and at
// most one patient an event.
//
// It does no I/O, never invents what a record does not say, never fails, and
// claims a profile only where every rule of it holds. Values are safe for
// concurrent use.
package auditevent

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Config says what records do not.
type Config struct {
	// Self is the name among the applications of the gateway's own pages, whose
	// server is the gateway; "" for none.
	Self string
}

// Converter makes events of records.
type Converter struct{ cfg Config }

// New makes a converter.
func New(cfg Config) Converter { return Converter{cfg} }

// ID is the id of the event of a record. It follows from the record's place in
// the journal, so that the same record always has the same event.
func ID(source string, seq uint64) string {
	number := "-" + strconv.FormatUint(seq, 10)
	if isID(source + number) {
		return source + number
	}
	sum := sha256.Sum256([]byte(source)) // no gateway has such a name, but a garbled record may
	return hex.EncodeToString(sum[:16]) + number
}

// ParseID finds the place of a record from the id of its event.
func ParseID(id string) (source string, seq uint64, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i <= 0 || !isID(id) {
		return "", 0, false
	}
	seq, err := strconv.ParseUint(id[i+1:], 10, 64)
	if err != nil || seq == 0 || ID(id[:i], seq) != id {
		return "", 0, false
	}
	return id[:i], seq, true
}

// Event makes the event of an access, or of a record of any other kind.
func (c Converter) Event(a audit.Access) Event {
	b := builder{Access: a, cfg: c.cfg, e: Event{
		ResourceType: "AuditEvent", ID: ID(a.Source, a.Seq), Action: "E", Recorded: instant(a.Time),
		Source: Source{
			Site:     text(a.Site),
			Observer: Reference{Identifier: &Identifier{SystemSource, text(a.Source)}, Display: text("matron/" + a.Source)},
			Type:     []Coding{securityServer()},
		},
	}}
	if b.e.Recorded == "" {
		b.e.RecordedAbsent = &Absent{[]Extension{{URL: extensionAbsent, ValueCode: "unknown"}}}
	}
	b.purposes()
	b.kind()
	b.traces()
	b.profile()
	return b.e
}

// builder makes one event. It belongs to one call of Event.
type builder struct {
	audit.Access
	cfg      Config
	e        Event
	fhir     string // BALP pattern that a FHIR interaction follows, "" for anything else
	haveData bool   // an entity names the resource
	haveRaw  bool   // an entity holds the request as received
}

// kind fills in what differs by kind of record.
func (b *builder) kind() {
	switch b.Kind {
	case audit.KindDecision, audit.KindPatient:
		b.exchange()
	case audit.KindSignIn:
		b.staff(dcm("110114", "User Authentication"), b.recordedOutcome(""), dcm("110122", "Login"))
	case audit.KindSignOut:
		b.staff(dcm("110114", "User Authentication"), b.recordedOutcome(""), dcm("110123", "Logout"))
	case audit.KindStepUp:
		b.staff(dcm("110114", "User Authentication"), b.recordedOutcome(""), dcm("110122", "Login"), own(string(b.Kind)))
	case audit.KindBreakGlassStart:
		b.breakGlass(dcm("110127", "Emergency Override Started"), Coding{systemAlertReason, "4", "Self-Claim Emergency Access"})
	case audit.KindBreakGlassEnd:
		b.breakGlass(dcm("110138", "Emergency Override Stopped"))
	case audit.KindLimit:
		b.staff(securityAlert(), b.recordedOutcome(audit.MinorFailure), own(string(b.Kind)))
		b.describe(limitWords(b.Reasons, b.Effect), codes("reason", b.Reasons))
	case audit.KindStart:
		b.gateway(dcm("110100", "Application Activity"), audit.Success, dcm("110120", "Application Start"))
	case audit.KindStop:
		b.gateway(dcm("110100", "Application Activity"), audit.Success, dcm("110121", "Application Stop"))
	case audit.KindHeartbeat, audit.KindDetection:
		b.gateway(dcm("110100", "Application Activity"), audit.Success, own(string(b.Kind)))
	case audit.KindConfigChange:
		b.gateway(securityAlert(), audit.Success, dcm("110131", "Software Configuration"))
	case audit.KindPolicyChange:
		b.gateway(securityAlert(), audit.Success, dcm("110129", "Security Configuration"))
	case audit.KindCheckpointGap:
		b.gateway(securityAlert(), audit.MinorFailure, own(string(b.Kind)))
	case audit.KindFeed:
		b.gateway(securityAlert(), b.Outcome, own(string(b.Kind)))
	case audit.KindBypass:
		b.bypass()
	case audit.KindIncident:
		b.incident()
	case audit.KindAuditViewed:
		b.auditViewed()
	default: // an outcome alone, or a kind that came after this program
		b.staff(own(orUnknown(code(string(b.Kind)))), b.recordedOutcome(""))
	}
}

// exchange is a request to an application: done, or refused. Nothing but the
// word allow is an allow.
func (b *builder) exchange() {
	switch {
	case b.Effect != "allow":
		b.refusal()
	case b.Action == "print" || b.Action == "export":
		b.export()
	default:
		b.rest()
	}
}

// rest is a request that went on to the application.
func (b *builder) rest() {
	p := patternOf(b.Action)
	b.e.Type, b.e.Action = restType(), p.action
	b.e.Source.Type = []Coding{webServer()}
	name, fhir := b.interaction()
	b.e.Subtype = []Coding{interaction(name)}
	if p.name == "" {
		b.e.Subtype = []Coding{own(orUnknown(code(b.Action)))}
	}
	if fhir {
		b.fhir = p.name
	}
	b.participants(p.client, p.server, p.user)
	b.patient()
	if p.query {
		b.query()
	} else {
		b.data(nil)
	}
	b.settlement()
}

// export is a record that left on paper or as a file.
func (b *builder) export() {
	b.e.Type, b.e.Action, b.e.Subtype = dcm("110106", "Export"), "R", []Coding{own(b.Action)}
	b.e.Source.Type = []Coding{webServer()}
	b.participants(destination(), sourceRole(), recipient())
	b.patient()
	b.data(&Coding{systemLifecycle, "10", "Export / Copy to target"})
	b.settlement()
}

// refusal is a request that was not let through. Who is not signed in was only
// sent to sign in, and a challenge offers a way on: both are minor.
func (b *builder) refusal() {
	decided := Coding{systemAuthZ, "AuthZ-Role", "Authorization Decision using only Roles"}
	switch {
	case b.Effect == "challenge":
		b.staff(securityAlert(), audit.MinorFailure, decided, own("challenge"))
		b.describe("Held back until the person confirms.", codes("reason", b.Reasons))
	case !b.known():
		b.staff(securityAlert(), audit.MinorFailure, own("unauthenticated"))
		b.describe("Refused: nobody known was signed in.", codes("reason", b.Reasons))
	default:
		b.staff(securityAlert(), audit.SeriousFailure, decided)
		b.describe("Refused.", codes("reason", b.Reasons), codes("rule", b.Rules))
	}
}

// breakGlass is an emergency override; its end is the one that was granted.
func (b *builder) breakGlass(subtype ...Coding) {
	b.staff(securityAlert(), b.recordedOutcome(audit.Success), subtype...)
	b.describe(detail(b.Detail, "reason"), detail(b.Detail, "note"))
	if expires, err := time.Parse(time.RFC3339Nano, detail(b.Detail, "expires")); err == nil && b.Kind == audit.KindBreakGlassStart {
		b.e.Period = &Period{Start: b.e.Recorded, End: instant(expires)}
	}
}

// auditViewed is somebody who looked at the record of accesses.
func (b *builder) auditViewed() {
	b.staff(dcm("110101", "Audit Log Used"), b.recordedOutcome(""))
	b.e.Action = "R"
	b.e.Entity = append(b.e.Entity, Entity{Type: systemObject(), Role: roleSecurity(), Name: "Security Audit Log"})
}

// staff is an event of somebody, or of nobody known, at the gateway itself.
func (b *builder) staff(kind Coding, outcome audit.Outcome, subtype ...Coding) {
	b.e.Type, b.e.Subtype, b.e.Outcome = kind, subtype, string(outcome)
	b.participants(application(), authServer(), recipient())
	b.patient()
	if b.Target != "" {
		b.query()
	}
}

// gateway is an event of the gateway by itself, whose outcome follows from its
// kind: that there is a record of it says that it took place.
func (b *builder) gateway(kind Coding, implied audit.Outcome, subtype ...Coding) {
	b.e.Type, b.e.Subtype, b.e.Outcome = kind, subtype, string(b.recordedOutcome(implied))
	who := b.e.Source.Observer
	b.e.Agent = []Agent{{Type: concept(application()), Who: &who}}
}

// bypass is one step of putting the decisions of the gateway aside for a time:
// asked for, approved, begun, ended.
func (b *builder) bypass() {
	subtype := []Coding{own(string(b.Kind) + "-" + orUnknown(code(b.Action)))}
	switch b.Action {
	case "begin":
		subtype = append(subtype, dcm("110127", "Emergency Override Started"))
	case "end":
		subtype = append(subtype, dcm("110138", "Emergency Override Stopped"))
	}
	if b.UserSub == "" {
		b.gateway(securityAlert(), audit.Success, subtype...)
	} else {
		b.staff(securityAlert(), b.recordedOutcome(audit.Success), subtype...)
	}
	for _, key := range []string{"bypass", "reason", "until", "approved_by", "end_reason"} {
		if value := detail(b.Detail, key); value != "" {
			b.describe(key + "=" + value + ".")
		}
	}
}

// limitWords say what a limit did.
func limitWords(reasons []string, effect string) string {
	switch {
	case effect == "allow" && slices.Contains(reasons, audit.ReasonBudget):
		return "More patients than the budget of the role; care goes on."
	case slices.Contains(reasons, audit.ReasonBudget):
		return "Refused: more patients than the budget of the role."
	case slices.ContainsFunc(reasons, func(code string) bool { return strings.HasPrefix(code, "machine-") }):
		return "Refused: a machine client that is not registered for this."
	}
	return "Refused: too many requests."
}

// incident says that limits are lifted for a major incident, or in force again.
func (b *builder) incident() {
	b.gateway(securityAlert(), audit.Success, own(string(b.Kind)+"-"+orUnknown(code(b.Action))))
	for _, key := range []string{"incident", "reason", "until", "declared_by", "end_reason"} {
		if value := detail(b.Detail, key); value != "" {
			b.describe(key + "=" + value + ".")
		}
	}
}

// recordedOutcome is the outcome in the record, or what the kind implies.
func (b *builder) recordedOutcome(implied audit.Outcome) audit.Outcome {
	switch b.Outcome {
	case audit.Success, audit.MinorFailure, audit.SeriousFailure, audit.MajorFailure:
		if b.Outcome != audit.Success {
			b.describe("Failed.", b.Error)
		}
		return b.Outcome
	}
	return implied
}

// settlement says what became of a request that went on. Without an outcome
// record nobody knows, and none is made up.
func (b *builder) settlement() {
	if b.WouldDeny {
		b.describe("Let through in "+orUnknown(code(b.Mode))+" mode: the rules would have refused it.", codes("reason", b.Reasons))
	}
	if !b.Settled {
		b.describe("Outcome unknown: no record says how the request ended.")
		return
	}
	b.e.Outcome = string(b.recordedOutcome(""))
	switch {
	case b.e.Outcome == "":
		b.describe("Outcome unknown: the record of it does not say.")
	case b.e.Outcome != string(audit.Success) && b.Status != 0:
		b.describe("Status " + strconv.FormatUint(b.Status, 10) + ".")
	}
}

// describe adds to what is said of the outcome.
func (b *builder) describe(parts ...string) {
	said := slices.DeleteFunc(append([]string{b.e.OutcomeDesc}, parts...), func(s string) bool { return s == "" })
	b.e.OutcomeDesc = text(strings.Join(said, " "))
}

// purposes says why, by code and in the words of the relationship.
func (b *builder) purposes() {
	purpose := b.Purpose
	if purpose == "" && (b.Kind == audit.KindBreakGlassStart || b.Kind == audit.KindBreakGlassEnd || strings.HasPrefix(b.Basis, "break-glass")) {
		purpose = "BTG"
	}
	if purpose = code(purpose); purpose != "" {
		b.e.PurposeOfEvent = append(b.e.PurposeOfEvent, *concept(Coding{System: systemReason, Code: purpose}))
	}
	if basis := text(b.Basis); basis != "" {
		b.e.PurposeOfEvent = append(b.e.PurposeOfEvent, CodeableConcept{Text: basis})
	}
}

// profile claims a BALP profile where every rule of it holds: a successful FHIR
// interaction whose parties, addresses and objects are all known, and of which
// it is known whether a patient was concerned.
func (b *builder) profile() {
	complete := b.fhir != "" && b.e.Outcome == string(audit.Success) && b.e.Recorded != "" &&
		b.networked(2) && (b.haveData || b.haveRaw)
	if !complete {
		return
	}
	name := profileBase + b.fhir
	switch {
	case b.named():
		name = profileBase + "Patient" + b.fhir
	case b.Certainty != audit.None:
		return
	}
	b.e.Meta = &Meta{[]string{name}}
}

// networked reports whether n agents have an address.
func (b *builder) networked(n int) bool {
	for _, a := range b.e.Agent {
		if a.Network != nil {
			n--
		}
	}
	return n <= 0
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// codes lists codes in words.
func codes(what string, values []string) string {
	if len(values) == 0 {
		return ""
	}
	return "(" + what + ": " + strings.Join(values, ", ") + ")"
}

// raw is the request as received, as far as the record has it.
func (b *builder) raw() string {
	s := b.Method + " " + b.Target
	if b.Query != "" {
		s += "?" + b.Query
	}
	return s
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
