package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const good = `site: RBA
source: gw1
data_dir: data
external_url: https://epr.example.org
listen: {address: ":8443"}
tls: {mode: local}
sign_in:
  issuer: https://id.example.org
  client_id: matron
  client_secret_file: client.secret
applications:
- name: fhir
  prefix: /fhir
  upstream: http://127.0.0.1:8080/fhir
  map: fhir-r4
`

func TestMinimal(t *testing.T) {
	c, err := Parse("/etc/matron/matron.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{
		{c.DataDir, "/etc/matron/data"},
		{c.SignIn.ClientSecretFile, "/etc/matron/client.secret"},
		{c.TLS.Names[0], "epr.example.org"},
		{c.Applications[0].Mode, "enforce"},
		{c.Applications[0].Site, "RBA"},
		{c.Applications[0].Map, "fhir-r4"},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Error(diff)
		}
	}
	if !c.ClickHouse.Embedded {
		t.Error("without an address the engine is embedded")
	}
}

// hazard:GW-02 control:C-07
func TestEveryMistakeHasAPlaceAndARemedy(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"site", "site: RBA", "site: rba", `matron.yaml:1:1: site: "rba" must be an ODS code, for example RBA`},
		{"missing", "source: gw1\n", "", `matron.yaml:1:1: source: is missing: give a short lower-case name, for example gw1`},
		{"typing error", "data_dir:", "datadir:", `matron.yaml:3:1: datadir: unknown setting. Did you mean data_dir?`},
		{"plain http", "external_url: https://", "external_url: http://", `external_url: "http://epr.example.org" must be an address that begins with https://`},
		{"mode", "mode: local", "mode: locl", `matron.yaml:6:7: tls.mode: "locl" must be one of files, local, acme. Did you mean local?`},
		{"foreign issuer in clear", "issuer: https:", "issuer: http:", `sign_in.issuer: must be https, since it is not on this machine`},
		{"own prefix", "prefix: /fhir", "prefix: /.matron", `/.matron belongs to the gateway itself: choose another path`},
		{"prefix", "prefix: /fhir", "prefix: fhir/", `matron.yaml:13:3: applications[0].prefix: "fhir/" must be a path`},
		{"application mode", "map: fhir-r4", "map: fhir-r4\n  mode: bypas", `applications[0].mode: "bypas" must be one of enforce, observe.`},
		{"chosen role", "client_id: matron", "client_id: matron\n  claims: {roles: $role.role_code}", `sign_in.claims.roles: "$role.role_code" looks into the chosen role: say with selected how it is found`},
		{"half a chosen role", "client_id: matron", "client_id: matron\n  claims: {selected: {id: selected_roleid}}", `sign_in.claims.selected: id, list and key belong together`},
		{"protocol", "client_id: matron", "client_id: matron\n  parameters: {nonce: x}", `sign_in.parameters.nonce: belongs to the protocol`},
		{"assurance", "client_id: matron", "client_id: matron\n  min_assurance: 4", `sign_in.min_assurance: 4 must be between 0 and 3`},
		{"half a machine", "client_id: matron", "client_id: matron\n  bearer: {machine_claim: gty}", `sign_in.bearer: machine_claim and machine_value belong together`},
		{"no port for messages", "source: gw1", "source: gw1\ncare: {staff: staff.csv}", `care.listen: is missing: give host:port for HL7 messages`},
		{"nobody may send", "source: gw1", "source: gw1\ncare: {listen: \":2575\"}", `care.senders: is missing: name the systems that may send`},
		{"unknown sender", "source: gw1", "source: gw1\ncare: {listen: \":2575\", senders: [{sources: [{facility: X}]}]}", `care.senders[0].sources[0].application: is missing`},
		{"a source twice", "source: gw1", "source: gw1\ncare: {listen: \":2575\", senders: [{certificate: a, sources: [{application: X}]}, {certificate: b, sources: [{application: X}]}]}", `care.senders[1].sources[0]: X/ is that of care.senders[0].sources[0]`},
		{"FHIR in clear", "source: gw1", "source: gw1\ncare: {listen: \":2575\", fhir: {base: \"http://fhir.example.org/r4\"}}", `care.fhir.base: must be https, since it is not on this machine`},
		{"FHIR silent between rounds", "source: gw1", "source: gw1\ncare: {staff: staff.csv, fhir: {base: \"https://fhir.example.org/r4\", patients: RBA, every: 1m, silence: 1m}}", `care.fhir.every: must be shorter than the silence of 1m0s`},
		{"senders and nowhere to send to", "source: gw1", "source: gw1\ncare: {staff: staff.csv, senders: [{certificate: a, sources: [{application: X}]}], fhir: {base: \"https://fhir.example.org/r4\", patients: RBA}}", `care.listen: is missing: give host:port for HL7 messages`},
		{"FHIR and no staff", "source: gw1", "source: gw1\ncare: {fhir: {base: \"https://fhir.example.org/r4\", patients: RBA}}", `care.staff: is missing`},
		{"numbers without a register", "map: fhir-r4", "map: fhir-r4\n  patient_authority: RBA", `applications[0].patient_authority: needs a register of care relationships`},
		{"admin off loopback", "source: gw1", "source: gw1\nadmin: {address: \"0.0.0.0:9\"}", `must be on loopback`},
		{"clickhouse in clear", "source: gw1", "source: gw1\nclickhouse: {address: [\"10.0.0.1:9000\"], user: u, password_file: p}", `so that clickhouse.tls must be true`},
		{"cluster of one's own engine", "source: gw1", "source: gw1\nclickhouse: {cluster: {name: trust}}", `clickhouse.cluster: needs clickhouse.address`},
		{"limits of nothing", "source: gw1", "source: gw1\nlimits: {search: {burst: 0, per_second: 1}}", `limits.search: per_second must be above 0`},
		{"a longer wait than anybody waits", "source: gw1", "source: gw1\nlimits: {max_wait: 11s}", `limits.max_wait: 11s must be above nothing and at most 10s`},
		{"a pause beyond the wait", "source: gw1", "source: gw1\nlimits: {patients: {pause: 3s}}", `limits.patients.pause: 3s must be above nothing and at most limits.max_wait (2s)`},
		{"a shift of days", "source: gw1", "source: gw1\nlimits: {patients: {shift: 48h}}", `limits.patients.shift: 48h0m0s must be from 1h to 24h`},
		{"a budget of nobody", "source: gw1", "source: gw1\nlimits: {patients: {default: {hour: 0}}}", `matron.yaml:3:37: limits.patients.default.hour: "0" is not a number of patients: write one from 1 to 10000, or none`},
		{"more in an hour than in a shift", "source: gw1", "source: gw1\nlimits: {patients: {roles: {nurse: {shift: 50}}}}", `limits.patients.roles.nurse: hour must not allow more patients than shift, which is 50`},
		{"incident for days", "source: gw1", "source: gw1\nlimits: {incident: {longest: 48h}}", `limits.incident.longest: 48h0m0s must be from 1m to 24h`},
		{"incident without a key", "source: gw1", "source: gw1\nlimits: {incident: {people: [{name: ann}]}}", `limits.incident.people[0].key_file: is missing`},
		{"machine without anything", "source: gw1", "source: gw1\nmachines: [{client: board}]", `machines[0].owner: is missing`},
		{"machine without an end", "source: gw1", "source: gw1\nmachines: [{client: board}]", `machines[0].expires: is missing: give the last day`},
		{"machine everywhere", "source: gw1", "source: gw1\nmachines: [{client: board}]", `machines[0].networks: is missing: name where it asks from`},
		{"machine nowhere", "source: gw1", "source: gw1\nmachines: [{client: board, networks: [here]}]", `machines[0].networks[0]: "here" is not a network`},
		{"machine to no day", "source: gw1", "source: gw1\nmachines: [{client: board, expires: soon}]", `matron.yaml:3:37: machines[0].expires: "soon" is not a day: write for example 2027-03-31`},
		{"machine without tokens", "source: gw1", "source: gw1\nmachines: [{client: board}]", `machines: cannot ask, since no token is accepted`},
		{"machine twice", "source: gw1", "source: gw1\nmachines: [{client: board}, {client: board}]", `machines[1].client: "board" is taken by machines[0]`},
		{"home elsewhere", "source: gw1", "source: gw1\nhome: //evil.example/", `home: `},
		{"syslog in clear", "source: gw1", "source: gw1\nexport: {syslog: {address: \"udp://siem.example.org:514\"}}", `must be host:port of a collector that speaks TLS`},
		{"syslog without its key", "source: gw1", "source: gw1\nexport: {syslog: {address: siem.example.org, certificate_file: gw.pem}}", `export.syslog: certificate_file and key_file belong together`},
		{"syslog too short", "source: gw1", "source: gw1\nexport: {syslog: {max_message: 480}}", `export.syslog.max_message: 480 must be between 8192 and 1048576`},
		{"witness in clear", "source: gw1", "source: gw1\nwitness: {witnesses: [{url: \"http://10.0.0.1/\", key_file: w.pub}], quorum: 1}", `witness.witnesses[0].url: must be https, since it is not on this machine`},
		{"witness without key", "source: gw1", "source: gw1\nwitness: {witnesses: [{url: \"https://w.example.org/\"}], quorum: 1}", `witness.witnesses[0].key_file: is missing`},
		{"quorum of nobody", "source: gw1", "source: gw1\nwitness: {quorum: 1}", `witness.quorum: is of nobody`},
		{"quorum of none", "source: gw1", "source: gw1\nwitness: {witnesses: [{url: \"https://w.example.org/\", key_file: w.pub}]}", `witness.quorum: is missing: give how many of the 1 witnesses must cosign`},
		{"quorum above all", "source: gw1", "source: gw1\nwitness: {witnesses: [{url: \"https://w.example.org/\", key_file: w.pub}], quorum: 2}", `witness.quorum: 2 must be between 1 and 1`},
		{"one witness twice", "source: gw1", "source: gw1\nwitness: {witnesses: [{url: \"https://w.example.org/\", key_file: a}, {url: \"https://w.example.org/\", key_file: b}], quorum: 2}", `witness.witnesses[1].url: "https://w.example.org/" is that of witness.witnesses[0]`},
		{"policy and list", "source: gw1", "source: gw1\nwitness: {policy_file: p, quorum: 1}", `witness.policy_file: names witnesses and quorum itself`},
		{"witnessed twice", "source: gw1", "source: gw1\nwitnessing: {logs: [{key_file: a}, {key_file: a}]}", `witnessing.logs[1].key_file: "a" is that of witnessing.logs[0]`},
		{"watermarks", "source: gw1", "source: gw1\njournal: {watermarks: [80, 95, 90]}", `journal.watermarks: want three ascending percentages from 5 to 99`},
		{"two watermarks", "source: gw1", "source: gw1\njournal: {watermarks: [80, 95]}", `journal.watermarks: want three`},
		{"size", "source: gw1", "source: gw1\njournal: {emergency: 256MB}", `matron.yaml:3:22: journal.emergency: "256MB" is not a size: write for example 256MiB`},
		{"emergency", "source: gw1", "source: gw1\njournal: {emergency: 3GiB}", `journal.emergency: must be between 1MiB and 2GiB, or 0 for none`},
		{"long wait", "source: gw1", "source: gw1\njournal: {append_timeout: 1m}", `journal.append_timeout: 1m0s would keep a clinician waiting`},
		{"same device of nothing", "source: gw1", "source: gw1\njournal: {second: {same_device: true}}", `give journal.second.dir too`},
		{"itself as peer", "source: gw1", "source: gw1\njournal: {second: {peer: {name: gw1, address: \"gw1:9444\", certificate_file: a, key_file: b, ca_file: c}}}", `journal.second.peer.name: "gw1" is this gateway itself`},
		{"half a peer", "source: gw1", "source: gw1\njournal: {second: {peer: {name: gw2}}}", `journal.second.peer.address: is missing`},
		{"keeps for nobody", "source: gw1", "source: gw1\npeers: {listen: \":9444\", certificate_file: a, key_file: b, ca_file: c}", `peers.allow: is missing`},
		{"keeps nowhere", "source: gw1", "source: gw1\npeers: {allow: [gw2]}", `peers.listen: is missing`},
		{"bearer passed on", "map: fhir-r4", "map: fhir-r4\n  authorization: bearer", `applications[0].authorization: Bearer is how programs prove`},
		{"no scheme", "map: fhir-r4", "map: fhir-r4\n  authorization: 'a b'", `applications[0].authorization: `},
		{"bypass set", "map: fhir-r4", "map: fhir-r4\n  mode: bypass", `applications[0].mode: bypass is begun by two people`},
		{"bypass for days", "source: gw1", "source: gw1\nbypass: {longest: 48h}", `bypass.longest: 48h0m0s must be from 1m to 24h`},
		{"bypass alone", "source: gw1", "source: gw1\nbypass: {people: [{name: ann, key_file: a}]}", `bypass.people: one person alone cannot begin a bypass`},
		{"keeps for no year", "source: gw1", "source: gw1\nretention: {keep_years: 0}", `retention.keep_years: 0 must be at least 1`},
		{"approves alone", "source: gw1", "source: gw1\nretention: {approvers: [{name: ann, key_file: a}]}", `retention.approvers: one person alone`},
		{"approves twice", "source: gw1", "source: gw1\nretention: {approvers: [{name: ann, key_file: a}, {name: Ann, key_file: b}]}", `retention.approvers[1].name: "Ann" is taken by retention.approvers[0]`},
		{"approves without a key", "source: gw1", "source: gw1\nretention: {approvers: [{name: ann, key_file: a}, {name: bob}]}", `retention.approvers[1].key_file: is missing`},
		{"keeps for itself", "source: gw1", "source: gw1\npeers: {listen: \":9444\", certificate_file: a, key_file: b, ca_file: c, allow: [gw1]}", `peers.allow[0]: "gw1" is this gateway itself`},
		{"idle above absolute", "client_id: matron", "client_id: matron\n  idle: 13h", `sign_in.idle: must not be longer than sign_in.absolute (12h0m0s)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := strings.Replace(good, c.from, c.to, 1)
			if src == good {
				t.Fatal("the row changes nothing")
			}
			_, err := Parse("matron.yaml", []byte(src))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	src := strings.NewReplacer("site: RBA", "site: rba", "map: fhir-r4", "mapp: x", "mode: local", "mode: x").Replace(good)
	_, err := Parse("matron.yaml", []byte(src))
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d lines, want 4 (the missing map counts):\n%s", n, err)
	}
}

func TestSyslogHasAPort(t *testing.T) {
	for given, want := range map[string]string{
		"siem.example.org": "siem.example.org:6514", "siem.example.org:7000": "siem.example.org:7000", "10.1.2.3": "10.1.2.3:6514",
		"2001:db8::1": "[2001:db8::1]:6514", "[2001:db8::1]": "[2001:db8::1]:6514", "[2001:db8::1]:1": "[2001:db8::1]:1", "": "",
	} {
		c, err := Parse("matron.yaml", []byte(good+"export: {syslog: {address: \""+given+"\", ca_file: ca.pem}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Export.Syslog.Address; got != want {
			t.Errorf("%q becomes %q, want %q", given, got, want)
		}
	}
}

func TestAListReplacesItsDefault(t *testing.T) {
	src := strings.Replace(good, "client_id: matron", "client_id: matron\n  scopes: [profile, roles]", 1)
	c, err := Parse("matron.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.SignIn.Scopes, " "); got != "profile roles" {
		t.Errorf("scopes %q", got)
	}
}

// TestBudgetsOfRolesAndMachines: a role has the default where it says nothing, a
// machine none.
// hazard:GW-24 control:C-191
func TestBudgetsOfRolesAndMachines(t *testing.T) {
	src := strings.Replace(good, "client_id: matron", "client_id: matron\n  bearer: {audiences: [m]}", 1) + `limits: {patients: {default: {hour: 50}, roles: {clerk: {hour: 90, listed_shift: none}}}}
machines:
- client: board
  name: Board
  purpose: who is where
  owner: IT
  networks: [10.0.0.0/8]
  expires: 2027-03-31
  patients: {shift: 9000}
`
	c, err := Parse("matron.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	got := []PatientBudget{c.Limits.Patients.Default, c.Limits.Patients.Roles["clerk"], c.Machines[0].Patients}
	want := []PatientBudget{{50, 400, 2000, 6000}, {90, 400, 2000, NoBudget}, {NoBudget, 9000, NoBudget, NoBudget}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := c.Machines[0].Expires.String(); !strings.HasPrefix(got, "2027-03-31") {
		t.Error(got)
	}
}
