package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy/rego"
)

// TestReloadUnderLoad changes everything that a reload takes in, while staff
// are at work: what is broken is refused with its place and the old stays, what
// is right takes effect and is recorded, and no request is dropped.
// hazard:GW-02 control:C-07
// hazard:GW-20 control:C-82
func TestReloadUnderLoad(t *testing.T) {
	s := newRecordSite(t)
	s.unlimited()
	s.edit("tls: {mode: local, names: [localhost]}", "tls: {mode: files, certificate_file: gateway.crt, key_file: gateway.key, names: [localhost]}")
	s.edit("applications:", "policy: {dir: rules}\napplications:")
	s.copyRules()
	s.certificate(1)
	s.start()
	w := s.work(4)
	w.until(20)

	for _, broken := range []struct {
		what, file, text string
		want             string // in the log
	}{
		{"configuration", "matron.yaml", s.read("matron.yaml") + "listening: nowhere\n", `matron\.yaml:\d+:\d+: .*listening`},
		{"half-written configuration", "matron.yaml", s.read("matron.yaml")[:200], `matron\.yaml:\d+:\d+: `},
		{"map", "pages-map.yaml", strings.Replace(s.read("pages-map.yaml"), "action: read", "action: raed", 1), `pages-map\.yaml:\d+:\d+: `},
		{"policy", "rules/broken.rego", "package matron\n\nallow if {\n", `broken\.rego:\d+:\d+: `},
		{"policy table", "rules/roles.yaml", s.read("rules/roles.yaml") + "roles: {}\n", `roles\.yaml:\d+:\d+: `},
		{"certificate", "gateway.crt", "not a certificate", `gateway\.crt`},
	} {
		t.Run("broken "+broken.what, func(t *testing.T) {
			s := s.within(t)
			before, err := os.ReadFile(filepath.Join(s.dir, broken.file))
			s.write(broken.file, broken.text)
			line := s.reload()
			if !strings.Contains(line, "reload refused, the old configuration stays in force") || !regexp.MustCompile(broken.want).MatchString(line) {
				t.Errorf("%s is not in the log: %s", broken.want, line)
			}
			if got := s.metric("matron_config_last_reload_successful"); got != "0" {
				t.Errorf("matron_config_last_reload_successful %s", got)
			}
			w.until(5)
			if errors.Is(err, fs.ErrNotExist) {
				s.remove(broken.file)
				return
			}
			s.write(broken.file, string(before))
		})
	}

	s.good(w)
	s.enforceAgain(w)
	s.needRestart()
	w.stop()
	w.undisturbed()
	s.stop()
	s.recorded()
}

// good takes in a changed mode, map, policy and certificate at once.
func (s *site) good(w *shift) {
	s.t.Helper()
	doctor := s.as("doctor")
	const unmapped, notes = "/fhir/Nothing", "/ui/patients/P1/notes/print"
	for _, path := range []string{unmapped, notes} {
		if status, _ := s.send(doctor, http.MethodGet, path, "", nil); status != http.StatusForbidden {
			s.t.Errorf("before: GET %s: %d", path, status)
		}
	}
	s.edit("map: fhir-r4}", "map: fhir-r4, mode: observe}")
	s.write("pages-map.yaml", s.read("pages-map.yaml")+`- id: print-notes
  match: {method: [GET], path: "/patients/{id}/notes/print"}
  action: print
  area: notes
  patient: [{value: "path:id"}]
`)
	s.write("rules/roles.yaml", s.read("rules/roles.yaml")+"# changed\n")
	s.certificate(2)
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		s.t.Fatalf("the reload is refused: %s", line)
	}
	if got := s.metric("matron_config_last_reload_successful"); got != "1" {
		s.t.Errorf("matron_config_last_reload_successful %s", got)
	}
	w.until(10)
	for _, path := range []string{unmapped, notes} {
		if status, _ := s.send(doctor, http.MethodGet, path, "", nil); status != http.StatusNotFound { // the record's own answer
			s.t.Errorf("after: GET %s: %d", path, status)
		}
	}
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12}}).DialContext(s.t.Context(), "tcp", strings.TrimPrefix(s.url, "https://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber; got.Int64() != 2 {
		s.t.Errorf("certificate %v is served, want the new one", got)
	}
}

// enforceAgain takes the mode back.
func (s *site) enforceAgain(w *shift) {
	s.t.Helper()
	s.edit("map: fhir-r4, mode: observe}", "map: fhir-r4}")
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		s.t.Fatalf("the reload is refused: %s", line)
	}
	w.until(5)
	if status, _ := s.send(s.as("doctor"), http.MethodGet, "/fhir/Nothing", "", nil); status != http.StatusForbidden {
		s.t.Errorf("enforced again: GET /fhir/Nothing: %d", status)
	}
}

// needRestart changes what a reload cannot take in.
func (s *site) needRestart() {
	s.t.Helper()
	before := s.read("matron.yaml")
	s.edit("site: RZZ", "site: RZY")
	s.edit("drain_timeout: 10s", "drain_timeout: 11s")
	line := s.reload()
	for _, name := range []string{"listen", "site"} {
		if !strings.Contains(line, name+" has changed: that needs a restart") {
			s.t.Errorf("%s is not named: %s", name, line)
		}
	}
	s.write("matron.yaml", before)
}

// recorded looks for what the good reloads must have left in the journal: which
// configuration, policy and modes were in force from when, and who may have
// changed them.
func (s *site) recorded() {
	s.t.Helper()
	type change struct {
		kind   audit.Kind
		app    string
		mode   string
		detail string // the last one of lifecycle and configuration, the first one of the rest
	}
	var got []change
	var config, policy []string
	for _, r := range s.records() {
		switch {
		case r.Kind == audit.KindStart || r.Kind == audit.KindStop || r.Kind == audit.KindConfigChange && r.App == "":
			config, policy = append(config, r.Detail[len(r.Detail)-1]), append(policy, r.PolicyRev)
			got = append(got, change{kind: r.Kind})
		case r.Kind == audit.KindConfigChange:
			got = append(got, change{r.Kind, r.App, r.Mode, r.Detail[0]})
			if d := strings.Join(r.Detail, " "); !strings.Contains(d, " config_changed=") || !strings.Contains(d, " config_owner=") || !strings.HasSuffix(d, config[len(config)-1]) {
				s.t.Errorf("change of mode: %s", d)
			}
		case r.Kind == audit.KindPolicyChange:
			got = append(got, change{r.Kind, "", "", r.Detail[0]})
		}
	}
	want := []change{
		{kind: audit.KindStart},
		{kind: audit.KindConfigChange},
		{audit.KindPolicyChange, "", "", "policy_before=" + policy[0]},
		{audit.KindConfigChange, "fhir", "observe", "mode_before=enforce"},
		{kind: audit.KindConfigChange},
		{audit.KindConfigChange, "fhir", "enforce", "mode_before=observe"},
		{kind: audit.KindStop},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(change{})); diff != "" {
		s.t.Fatalf("records of change (-want +got):\n%s", diff)
	}
	if config[0] == config[1] || config[1] == config[2] || config[2] != config[3] || !strings.HasPrefix(config[3], "config_sha256=") {
		s.t.Errorf("the configuration is recorded as %s", config)
	}
	if policy[0] == policy[1] || policy[1] != policy[3] {
		s.t.Errorf("policy revisions %v", policy)
	}
}

// within is the site for a test within the test.
func (s *site) within(t *testing.T) *site {
	inner := &site{
		t: t, dir: s.dir, config: s.config, url: s.url, hospital: s.hospital, provider: s.provider,
		process: s.process, admin: s.admin, roots: s.roots, log: s.log,
	}
	return inner
}

// reload sends SIGHUP and returns what the gateway says about it.
func (s *site) reload() (line string) {
	s.t.Helper()
	said := func() []string { return s.log.with("msg=reloaded", "reload refused") }
	before := len(said())
	if err := s.process.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the reload has ended", func() error {
		now := said()
		if len(now) == before {
			return errors.New("nothing is said")
		}
		line = now[len(now)-1]
		return nil
	})
	return line
}

func (s *site) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func (s *site) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

// copyRules puts the default bundle beside the configuration.
func (s *site) copyRules() {
	s.t.Helper()
	if err := os.CopyFS(filepath.Join(s.dir, "rules"), rego.Default()); err != nil {
		s.t.Fatal(err)
	}
}

// certificate writes a certificate that is its own root, with this serial
// number, and has the kit trust it.
func (s *site) certificate(serial int64) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}, &x509.Certificate{SerialNumber: big.NewInt(serial)}, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.write("gateway.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})))
	s.write("gateway.crt", root)
	s.write("data/tls/ca.pem", root)
	if s.roots != nil { // those in use are left alone: a pool must not change
		s.roots = s.roots.Clone()
		s.roots.AppendCertsFromPEM([]byte(root))
	}
}
