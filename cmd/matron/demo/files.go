package demo

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// pagesMap tells the gateway what the record's own pages do.
//
//go:embed pages-map.yaml
var pagesMap string

// configuration is matron.yaml of the demonstration: what an operator would
// write, with addresses on this machine.
func configuration(port int, issuer, epr, messages string) string {
	return fmt.Sprintf(`# Demonstration data only. Written anew at each start.
site: %s
source: demo
data_dir: .
external_url: https://localhost:%d
home: /ui/patients
listen:
  address: 127.0.0.1:%d
admin:
  address: 127.0.0.1:0
tls:
  mode: local
  names: [localhost, 127.0.0.1]
sign_in:
  issuer: %s
  client_id: matron
  client_secret_file: client.secret
  scopes: [profile]
  userinfo: true
  claims:
    person: person
    assurance: assurance
  bearer:
    audiences: [matron-api]
    types: [JWT]
limits:
  interactive: {per_second: 20, burst: 200}
  search: {per_second: 5, burst: 60}
machines:
- client: results-interface
  name: Laboratory results
  purpose: finds patients by NHS number and files their results
  owner: pathology systems manager
  networks: [127.0.0.0/8, "::1/128"]
  expires: 2099-12-31
care:
  listen: %s
  certificate_file: hl7.pem
  key_file: hl7.key
  ca_file: hl7-ca.pem
  staff: staff.csv
  senders:
  - certificate: `+admissionsName+`
    sources: [{application: `+admissionsApp+`, facility: `+hospital.Site+`}]
applications:
- name: fhir
  prefix: /fhir
  upstream: http://%s/fhir
  map: fhir-r4
  patient_authority: `+hospital.Site+`
- name: epr
  prefix: /ui
  upstream: http://%s/ui
  map: pages-map.yaml
  patient_authority: `+hospital.Site+`
- name: openmaxims
  prefix: /MAXIMS
  upstream: http://%s/MAXIMS
  map: openmaxims
clickhouse:
  embedded: true
detection:
  staff: staff.ndjson
  patients: patients.ndjson
  care: care.ndjson
  every: 15s
branding:
  organisation: Demonstration Hospital
`, hospital.Site, port, port, issuer, messages, epr, epr, epr)
}

// Addresses is what somebody who wants to try the demonstration must know.
type Addresses struct {
	Record     string // the record's pages, through the gateway
	FHIR       string
	MAXIMS     string // the emulator of openMAXIMS
	Password   string // of everybody's account in it
	Dashboards string
	Admin      string
	CAFile     string
	People     []Person
}

// Person is one name to sign in with.
type Person struct {
	Name, Role, Try string
}

// String is what the terminal shows.
func (a Addresses) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMatron demonstration: everybody in it is invented.\n\n")
	for _, line := range [][2]string{
		{"Patient record", a.Record}, {"Dashboards", a.Dashboards}, {"FHIR", a.FHIR}, {"openMAXIMS", a.MAXIMS}, {"Metrics", a.Admin + "/metrics"},
	} {
		fmt.Fprintf(&b, "  %-16s %s\n", line[0], line[1])
	}
	fmt.Fprintf(&b, "\nThe certificate is made on this machine: go past your browser's warning, or trust\n%s\n", a.CAFile)
	fmt.Fprintf(&b, "\nSign in as (no password: choose the name)\n")
	for _, p := range a.People {
		fmt.Fprintf(&b, "  %-24s %-26s %s\n", p.Name, p.Role, p.Try)
	}
	fmt.Fprintf(&b, "\nopenMAXIMS is an emulator written from its published protocol. The pages of the original\nneed Internet Explorer; programs talk to it at /MAXIMS/CNHost, after signing in as above.\nEverybody's password in it: %s\n", a.Password)
	b.WriteString("\nStaff are at work now. Ctrl-C stops everything.\n")
	return b.String()
}

// addresses names one person for each role that sees something of its own.
func (w *world) addresses(a gateway.Addresses) Addresses {
	out := Addresses{
		Record: w.gatewayURL + "/ui/", FHIR: w.gatewayURL + "/fhir/metadata", MAXIMS: w.gatewayURL + openmaxims.Base + "/", Password: w.password, Dashboards: w.gatewayURL + "/.matron/",
		Admin: "http://" + a.Admin, CAFile: a.CAFile,
	}
	for _, role := range []struct{ id, title, try string }{
		{"nurse", "nurse", "the patient record"},
		{"doctor", "doctor", "the patient record"},
		{"receptionist", "receptionist", "prescriptions: refused, with the reason"},
		{"privacy-officer", "information governance", "who viewed this record"},
		{"security-analyst", "security", "live"},
		{"clinical-safety-officer", "clinical safety officer", "hazard log"},
	} {
		if people := w.hospital.WithRole(role.id); len(people) > 0 {
			out.People = append(out.People, Person{people[0].Name.Full(), role.title, role.try})
		}
	}
	return out
}
