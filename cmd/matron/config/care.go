package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Care is the register of who cares for whom (docs/care-relationships.md), which
// hospital systems tell the gateway about. Applications that name their
// patient_authority are decided by it.
type Care struct {
	// Listen is host:port where HL7 v2 messages come in over MLLP with TLS, for
	// example ":2575". Default: none come in; with no FHIR server either, no register
	// is kept.
	Listen string `yaml:"listen"`
	// CertificateFile and KeyFile are what the gateway shows to senders, CAFile the
	// authority that their certificates must be of. Required with listen. A reload
	// takes in new ones.
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
	CAFile          string `yaml:"ca_file"`
	// Senders are the systems that may send. Required with listen.
	Senders []CareSender `yaml:"senders"`
	// Silence is how long each of them may send nothing before its feed counts as
	// silent: nobody is refused for want of a relationship then. Default 30m.
	// hazard:GW-01 control:C-85
	// hazard:GW-11 control:C-45
	Silence time.Duration `yaml:"silence"`
	// Staff, Rota and Devices are lists in CSV; a reload reads them again. A device is
	// named by the network address that the gateway sees. Staff is required.
	Staff   string `yaml:"staff"`
	Rota    string `yaml:"rota"`
	Devices string `yaml:"devices"`
	// Wards are the codes of wards and clinics. Lists that name another one are
	// refused. Default: any.
	Wards []string `yaml:"wards"`
	// LongRoles are roles of the staff list that need records for longer after a
	// stay, for example clinical-coder. Default: none.
	LongRoles []string `yaml:"long_roles"`
	// WardComponent is the component of PV1-3 that names the ward. Default 1.
	WardComponent int `yaml:"ward_component"`
	// NHSAuthorities are the assigning authorities and types that mark NHS numbers,
	// besides NHS and NH.
	NHSAuthorities []string `yaml:"nhs_authorities"`
	FHIR           CareFHIR `yaml:"fhir"`
}

// CareFHIR is a FHIR R4 server that is asked for Encounter, Appointment, CareTeam and
// the identifiers of Patient, besides HL7 messages or instead of them. Default: none.
type CareFHIR struct {
	// Base is its address, for example https://fhir.example.org/r4. https, unless on
	// this machine.
	Base string `yaml:"base"`
	// CAFile holds the root of its certificate. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
	// TokenFile holds the bearer token that is shown to it, mode 0600. It is read again
	// each time. Default: none.
	TokenFile string `yaml:"token_file"`
	// Patients is the authority of the ids of its Patient resources, as
	// patient_authority of an application. Required with base.
	Patients string `yaml:"patients"`
	// Practitioners is the authority of the ids of its Practitioner resources. Default:
	// none, they are those of the staff list.
	Practitioners string `yaml:"practitioners"`
	// Systems are authorities by identifier system, as patient_authority of an
	// application and PID-3-4 of messages, for example
	// {https://rba.example.org/mrn: RBA}. That of NHS numbers is known.
	Systems map[string]string `yaml:"systems"`
	// Every is how often it is asked what has changed. Default 1m.
	Every time.Duration `yaml:"every"`
	// Silence overrides that of the register: how long it may fail to tell all that has
	// changed. 0s means for ever.
	Silence *time.Duration `yaml:"silence"`
}

// CareSender is one system that sends messages.
type CareSender struct {
	// Certificate is the name in its certificate: the first DNS name, or the common
	// name where there is none. Required.
	Certificate string `yaml:"certificate"`
	// Sources are the names in which it sends. Required.
	Sources []CareSource `yaml:"sources"`
}

// CareSource is a sender as its messages name it.
type CareSource struct {
	// Application is MSH-3, Facility MSH-4. Application is required.
	Application string `yaml:"application"`
	Facility    string `yaml:"facility"`
	// Silence overrides that of the register, for a source that says little. 0s
	// means that it may be silent for ever.
	Silence *time.Duration `yaml:"silence"`
}

// On reports whether a register is kept.
func (c Care) On() bool { return c.Listen != "" || c.FHIR.Base != "" }

func (c Care) validate(ps *problems) {
	if c.Listen == "" && (c.Staff != "" && !c.On() || len(c.Senders) > 0 || c.CertificateFile != "" || c.KeyFile != "" || c.CAFile != "") {
		ps.add("care.listen", "is missing: give host:port for HL7 messages, for example \":2575\"")
	}
	if !c.On() {
		return
	}
	ps.required("care.staff", c.Staff)
	ps.positive("care.silence", c.Silence)
	ps.within("care.ward_component", c.WardComponent, 1, 9)
	for i, ward := range c.Wards {
		if ward == "" || slices.Index(c.Wards, ward) != i {
			ps.add(fmt.Sprintf("care.wards[%d]", i), "%q is empty or there twice", ward)
		}
	}
	if c.Listen != "" {
		c.validateMessages(ps)
	}
	c.FHIR.validate(ps, c.Silence)
}

// validateMessages is about HL7 messages.
func (c Care) validateMessages(ps *problems) {
	ps.listener("care.listen", c.Listen)
	ps.required("care.certificate_file", c.CertificateFile)
	ps.required("care.key_file", c.KeyFile)
	ps.required("care.ca_file", c.CAFile)
	if len(c.Senders) == 0 {
		ps.add("care.senders", "is missing: name the systems that may send, with certificate and sources")
	}
	named := map[string]int{}
	sources := map[string]string{}
	for i, s := range c.Senders {
		at := fmt.Sprintf("care.senders[%d]", i)
		ps.required(at+".certificate", s.Certificate)
		if first, ok := named[s.Certificate]; ok && s.Certificate != "" {
			ps.add(at+".certificate", "%q is that of care.senders[%d]", s.Certificate, first)
		}
		named[s.Certificate] = i
		if len(s.Sources) == 0 {
			ps.add(at+".sources", "is missing: give application (MSH-3) and facility (MSH-4)")
		}
		for j, source := range s.Sources {
			source.validate(ps, fmt.Sprintf("%s.sources[%d]", at, j), sources)
		}
	}
}

func (f CareFHIR) validate(ps *problems, silence time.Duration) {
	if f.Base == "" {
		return
	}
	const at = "care.fhir"
	ps.address(at+".base", f.Base, "https", "http")
	if u, err := url.Parse(f.Base); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		ps.add(at+".base", "must be https, since it is not on this machine")
	}
	if strings.HasSuffix(f.Base, "/") {
		ps.add(at+".base", "must not end in a slash")
	}
	ps.required(at+".patients", f.Patients)
	ps.positive(at+".every", f.Every)
	if f.Silence != nil {
		silence = *f.Silence
	}
	if silence < 0 {
		ps.add(at+".silence", "must not be negative")
	} else if silence > 0 && silence <= f.Every {
		ps.add(at+".every", "must be shorter than the silence of %s, or the server counts as silent between two rounds", silence)
	}
}

func (s CareSource) validate(ps *problems, at string, seen map[string]string) {
	ps.required(at+".application", s.Application)
	name := s.Application + "/" + s.Facility
	if first, ok := seen[name]; ok && s.Application != "" {
		ps.add(at, "%s is that of %s: a source has one sender", name, first)
		return
	}
	seen[name] = at
	if s.Silence != nil && *s.Silence < 0 {
		ps.add(at+".silence", "must not be negative")
	}
}
