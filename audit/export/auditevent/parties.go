package auditevent

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// known reports whether the record says who asked.
func (b *builder) known() bool { return b.Person != "" || b.UserSub != "" }

// named reports whether the record names a patient.
func (b *builder) named() bool { return text(b.Patient) != "" || text(b.NHSNumber) != "" }

// participants are the client, the server, the person and the organisation
// that they act for. Persons are not network devices: the address is the
// client's.
func (b *builder) participants(client, server, user Coding) {
	b.e.Agent = append(b.e.Agent, b.client(client), b.server(server))
	if b.known() {
		b.e.Agent = append(b.e.Agent, b.user(user))
	}
	if org := text(b.Org); org != "" {
		b.e.Agent = append(b.e.Agent, Agent{
			Type: concept(provider()), Who: &Reference{Identifier: &Identifier{systemODS, org}},
		})
	}
}

func (b *builder) client(kind Coding) Agent {
	name := orUnknown(cmp.Or(text(b.Device), text(b.ClientCN), text(b.ClientIP)))
	return Agent{
		Type: concept(kind), Who: &Reference{Display: name}, Requestor: !b.known(), Network: network(b.ClientIP),
	}
}

// server is the application that answered, or the gateway where it is the
// gateway itself that decides or answers.
func (b *builder) server(kind Coding) Agent {
	if kind == authServer() || b.App != "" && b.App == b.cfg.Self {
		who := b.e.Source.Observer
		return Agent{Type: concept(kind), Who: &who}
	}
	host, _, err := net.SplitHostPort(b.UpstreamTo)
	if err != nil {
		host = b.UpstreamTo
	}
	name := text(strings.TrimSpace(b.App + " " + b.UpstreamTo))
	return Agent{Type: concept(kind), Who: &Reference{Display: orUnknown(name)}, Network: network(host)}
}

// network is an IP address or the name of a machine.
func network(address string) *Network {
	if address = text(address); address == "" {
		return nil
	}
	if _, err := netip.ParseAddr(address); err == nil {
		return &Network{address, "2"}
	}
	return &Network{address, "1"}
}

// user is the person, as the identity provider names them. A deletion may hold
// neither the other id nor a policy (BALP Delete); the details have them.
func (b *builder) user(kind Coding) Agent {
	a := Agent{
		Type: concept(kind), Requestor: true, Name: text(b.UserName),
		Who:          &Reference{Identifier: &Identifier{code(b.UserIssuer), cmp.Or(text(b.UserSub), text(b.Person))}, Display: text(b.UserName)},
		PurposeOfUse: b.e.PurposeOfEvent,
	}
	if b.UserSub == "" {
		a.Who.Identifier.System = ""
	}
	if *a.Who.Identifier == (Identifier{}) {
		a.Who = &Reference{Display: orUnknown(text(b.UserName))}
	}
	for _, r := range b.Roles {
		if r = text(r); r != "" {
			a.Role = append(a.Role, roleOf(r))
		}
	}
	if b.Action != "delete" {
		a.AltID = text(b.Person)
		a.Policy = b.token()
	}
	if b.Assurance != 0 {
		level := CodeableConcept{Text: "AAL" + strconv.FormatUint(b.Assurance, 10)}
		a.Extension = []Extension{{URL: extensionAssurance, Value: &level}}
	}
	return a
}

// roleOf is a national role code, or a role in the words of this hospital.
func roleOf(r string) CodeableConcept {
	if len(r) == 5 && r[0] == 'R' && only(r[1:], isDigit) {
		return *concept(Coding{System: systemJobRole, Code: r})
	}
	return CodeableConcept{Text: r}
}

// token names the token without revealing it: by its jti, or by the beginning
// of its hash, which is what the record has when a token has no jti.
func (b *builder) token() []string {
	name := code(b.Token)
	switch {
	case name == "":
		return nil
	case len(name) == 32 && only(name, func(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' }):
		return []string{"urn:matron:token:" + name}
	}
	return []string{"urn:ietf:params:oauth:jti:" + name}
}
