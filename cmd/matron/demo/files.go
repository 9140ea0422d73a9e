package demo

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/matron-epr/matron/cmd/matron/demo/openmaxims"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// pagesMap tells the gateway what the record's own pages do.
//
//go:embed pages-map.yaml
var pagesMap string

// configuration is matron.yaml of the demonstration: what an operator would
// write, with addresses on this machine.
//
//go:embed matron.yaml.tmpl
var configuration string

// settings are what configuration leaves open.
type settings struct {
	Site, Issuer, EPR string
	Port              int
	// Messages is where the register of care relationships listens, "" for none: a
	// day that is played again goes without, since the register would refuse most of
	// the misuse that detection is to find.
	Messages, Sender, SenderApp string
	Mail                        string // host:port that notices go to, where the register is
	Devices                     bool   // there is a list of devices
}

func (s settings) write(path string) error {
	var b bytes.Buffer
	if err := template.Must(template.New("matron.yaml").Parse(configuration)).Execute(&b, s); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
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
