package syslog

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

// code is a coded value: csd-code, codeSystemName and originalText, all of
// which the schema demands.
type code struct{ value, system, text string }

// message is an AuditMessage of DICOM PS3.15 A.5.1.
type message struct {
	event        code
	types        []code
	action       string // C, R, U, D or E
	at           time.Time
	outcome      string // 0, 4, 8 or 12
	description  string // what went wrong, as a code
	participants []participant
	site, source string
	objects      []object
}

// participant is an ActiveParticipant.
type participant struct {
	id, alternative, name string
	requestor             bool
	roles                 []code
	address, addressType  string // NetworkAccessPointID and its type code
}

// object is a ParticipantObjectIdentification. It has a name or, when isQuery is
// set, a query: the schema demands exactly one of them.
type object struct {
	id         string
	idType     code
	kind, role string // ParticipantObjectTypeCode and ParticipantObjectTypeCodeRole
	name       string
	query      string
	isQuery    bool
	details    []detail
}

// detail is a ParticipantObjectDetail. Its value is sent in Base64, as the
// schema demands: audit data may hold what an attacker wrote.
type detail struct{ name, value string }

// appendXML appends m as XML without line breaks.
func (m *message) appendXML(b []byte) []byte {
	b = append(b, `<?xml version="1.0" encoding="UTF-8"?><AuditMessage><EventIdentification`...)
	b = attribute(b, "EventActionCode", m.action)
	b = attribute(b, "EventDateTime", stamp(m.at))
	b = attribute(b, "EventOutcomeIndicator", m.outcome)
	b = append(b, '>')
	b = coded(b, "EventID", m.event)
	for _, t := range m.types {
		b = coded(b, "EventTypeCode", t)
	}
	if m.description != "" {
		b = append(b, "<EventOutcomeDescription>"...)
		b = escape(b, m.description)
		b = append(b, "</EventOutcomeDescription>"...)
	}
	b = append(b, "</EventIdentification>"...)
	for i := range m.participants {
		b = m.participants[i].appendXML(b)
	}
	b = append(b, "<AuditSourceIdentification"...)
	b = optional(b, "AuditEnterpriseSiteID", m.site)
	b = attribute(b, "AuditSourceID", m.source)
	b = append(b, `><AuditSourceTypeCode csd-code="3"/></AuditSourceIdentification>`...) // 3: web server process
	for i := range m.objects {
		b = m.objects[i].appendXML(b)
	}
	return append(b, "</AuditMessage>"...)
}

func (p *participant) appendXML(b []byte) []byte {
	b = append(b, "<ActiveParticipant"...)
	b = attribute(b, "UserID", p.id)
	b = optional(b, "AlternativeUserID", p.alternative)
	b = optional(b, "UserName", p.name)
	requestor := "false"
	if p.requestor {
		requestor = "true"
	}
	b = attribute(b, "UserIsRequestor", requestor)
	if p.address != "" {
		b = attribute(b, "NetworkAccessPointID", p.address)
		b = attribute(b, "NetworkAccessPointTypeCode", p.addressType)
	}
	b = append(b, '>')
	for _, r := range p.roles {
		b = coded(b, "RoleIDCode", r)
	}
	return append(b, "</ActiveParticipant>"...)
}

func (o *object) appendXML(b []byte) []byte {
	b = append(b, "<ParticipantObjectIdentification"...)
	b = attribute(b, "ParticipantObjectID", o.id)
	b = attribute(b, "ParticipantObjectTypeCode", o.kind)
	b = optional(b, "ParticipantObjectTypeCodeRole", o.role)
	b = append(b, '>')
	b = coded(b, "ParticipantObjectIDTypeCode", o.idType)
	if o.isQuery {
		b = append(b, "<ParticipantObjectQuery>"...)
		b = base64.StdEncoding.AppendEncode(b, []byte(o.query))
		b = append(b, "</ParticipantObjectQuery>"...)
	} else {
		b = append(b, "<ParticipantObjectName>"...)
		b = escape(b, o.name)
		b = append(b, "</ParticipantObjectName>"...)
	}
	for _, d := range o.details {
		b = append(b, "<ParticipantObjectDetail"...)
		b = attribute(b, "type", d.name)
		b = append(b, ` value="`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(d.value))
		b = append(b, `"/>`...)
	}
	return append(b, "</ParticipantObjectIdentification>"...)
}

func coded(b []byte, name string, c code) []byte {
	b = append(append(b, '<'), name...)
	b = attribute(b, "csd-code", c.value)
	b = attribute(b, "codeSystemName", c.system)
	b = attribute(b, "originalText", c.text)
	return append(b, "/>"...)
}

func optional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return attribute(b, name, value)
}

func attribute(b []byte, name, value string) []byte {
	b = append(append(b, ' '), name...)
	b = append(b, `="`...)
	return append(escape(b, value), '"')
}

// escape appends s as XML text or attribute value. What XML 1.0 cannot carry,
// and bytes that are not UTF-8, become U+FFFD.
func escape(b []byte, s string) []byte {
	for _, r := range s { // yields U+FFFD for bytes that are not UTF-8
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&#34;"...)
		case r == '\t':
			b = append(b, "&#9;"...)
		case r == '\n':
			b = append(b, "&#10;"...)
		case r == '\r':
			b = append(b, "&#13;"...)
		case r < 0x20 || r == 0xFFFE || r == 0xFFFF:
			b = append(b, "\uFFFD"...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// stamp is t in UTC with microseconds, which RFC 5424 and xsd:dateTime share.
// What neither can carry becomes the zero time.
func stamp(t time.Time) string {
	t = t.UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		t = time.Time{}
	}
	return t.Format("2006-01-02T15:04:05.000000Z")
}
