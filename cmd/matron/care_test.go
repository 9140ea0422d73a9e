package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// careSite is a gateway with a register of care relationships, and an admission
// system that sends it messages with a tool that we did not write.
type careSite struct {
	*site
	authority *testAuthority
	address   string // of the listener for messages
	sent      int
}

// newCareSite sets up a register that takes messages of PAS at RZZ, sent by
// pas.test, and lets people open only whom they care for.
func newCareSite(t *testing.T) *careSite {
	t.Helper()
	s := &careSite{site: newRecordSite(t), authority: newTestAuthority(t)}
	s.address = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s.authority.write(s.site, "hl7", "gateway.test")
	s.write("hl7-ca.pem", string(s.authority.root()))
	s.write("staff.csv", s.staffList())
	s.edit("map: fhir-r4}", "map: fhir-r4, patient_authority: RZZ}")
	s.edit("applications:\n", fmt.Sprintf(`care:
  listen: %q
  certificate_file: hl7.pem
  key_file: hl7.key
  ca_file: hl7-ca.pem
  staff: staff.csv
  silence: 1h
  senders:
  - certificate: pas.test
    sources: [{application: PAS, facility: RZZ}]
applications:
`, s.address))
	return s
}

// staffList is the hospital's staff as the personnel system exports it.
func (s *careSite) staffList() string {
	var b strings.Builder
	b.WriteString("person,roles,wards\n")
	for _, p := range s.hospital.Staff {
		fmt.Fprintf(&b, "%s,%s,%s\n", p.Person, strings.Join(p.Roles, ";"), strings.Join(p.Wards, ";"))
	}
	return b.String()
}

// nurse is one of a ward.
func (s *careSite) nurse(ward string) string {
	s.t.Helper()
	for _, p := range s.hospital.WithRole(hospital.Nurse) {
		if slices.Equal(p.Wards, []string{ward}) {
			return p.Person
		}
	}
	s.t.Fatalf("no nurse works in %s alone", ward)
	return ""
}

// event sends one event about a patient, in a ward or with what else it says.
func (s *careSite) event(trigger, patient, rest string) string {
	s.t.Helper()
	return s.message("PAS", trigger, "PID|1||"+patient+"^^^RZZ^MR||X\r"+rest, "pas.test")
}

func inWard(ward string) string { return "PV1|1|I|" + ward + strings.Repeat("|", 16) + "V1\r" }

// message sends one message in the name of an application, with the certificate of a
// system, and returns what is answered.
func (s *careSite) message(application, trigger, segments, system string) string {
	s.t.Helper()
	s.sent++
	now := time.Now().Format("20060102150405-0700")
	text := fmt.Sprintf("MSH|^~\\&|%s|RZZ|MATRON|RZZ|%s||ADT^%s|c%d|P|2.4\rEVN||%s\r%s", application, now, trigger, s.sent, now, segments)
	return s.send(text, system)
}

// send lets mllp_send send a text and returns what it prints: the answer.
func (s *careSite) send(text, system string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "message")
	if err := os.WriteFile(file, []byte("\x0b"+text+"\x1c\r"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.pipe(system))
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := exec.CommandContext(s.t.Context(), "mllp_send", "--file", file, "--port", port, "127.0.0.1").CombinedOutput()
	if err != nil && strings.Contains(err.Error(), "not found") {
		s.t.Fatalf("mllp_send (package python3-hl7): %v", err)
	}
	return string(out)
}

// pipe puts TLS with the certificate of a system around one connection, for a sender
// that has none, and returns where it waits for it.
func (s *careSite) pipe(system string) string {
	s.t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(s.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = ln.Close() })
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: s.authority.pool, ServerName: "gateway.test", Certificates: []tls.Certificate{s.authority.issue(system)},
	}
	go func() {
		plain, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = plain.Close() }()
		secret, err := (&tls.Dialer{Config: config}).DialContext(s.t.Context(), "tcp", s.address)
		if err != nil {
			return
		}
		defer func() { _ = secret.Close() }()
		go func() { _, _ = io.Copy(plain, secret); _ = plain.Close() }()
		_, _ = io.Copy(secret, plain)
	}()
	return ln.Addr().String()
}

// sees wants a patient's results to be shown, or refused for want of a relationship.
func (s *careSite) sees(c *http.Client, patient string, want bool) {
	s.t.Helper()
	status, body := s.site.send(c, http.MethodGet, "/fhir/Observation?patient="+patient, "", nil)
	if want && status != http.StatusOK || !want && (status != http.StatusForbidden || !strings.Contains(string(body), "no-relationship")) {
		s.t.Errorf("results of %s, seen %t: %d %.300s", patient, want, status, body)
	}
}

// feed waits until the register is in a state.
func (s *careSite) feed(current string) {
	s.t.Helper()
	s.eventually("the feed", func() error {
		if got := s.metric("matron_care_feed_current"); got != current {
			return fmt.Errorf("current %s", got)
		}
		return nil
	})
}

// TestOnlyThoseWhoCareSee admits, transfers and merges patients by messages, through
// restarts and silence: whoever cares for a patient sees them and nobody else of the
// ward staff does, a silent feed locks nobody out, and the record says all of it.
// hazard:GW-01 control:C-85
// hazard:GW-01 control:C-86
// hazard:GW-11 control:C-45
func TestOnlyThoseWhoCareSee(t *testing.T) {
	t.Parallel()
	s := newCareSite(t)
	s.start()
	patient, other := s.hospital.Patients[0].ID, s.hospital.Patients[1].ID
	ash, beech := s.enter(s.nurse("ASH")), s.enter(s.nurse("BEECH"))

	s.sees(ash, patient, true) // nothing was ever heard: nobody is locked out
	if answer := s.event("A01", patient, inWard("ASH")); !strings.Contains(answer, "MSA|AA|") {
		t.Fatalf("an admission is answered %q", answer)
	}
	s.feed("1")
	s.sees(ash, patient, true)
	s.sees(beech, patient, false)
	s.sees(ash, other, false)
	if status, body := s.site.send(beech, http.MethodGet, "/fhir/Patient?_id="+patient, "", nil); status != http.StatusOK {
		t.Errorf("whoever looks for a patient finds them: %d %.200s", status, body)
	}
	s.answersAreAskedAbout(ash, beech, patient)

	s.event("A02", patient, inWard("BEECH"))
	s.sees(beech, patient, true)
	s.event("A40", patient, "MRG|"+other+"^^^RZZ^MR\r")
	s.sees(beech, other, true) // the number of somebody else is now hers
	s.sees(s.enter(s.nurse("CEDAR")), other, false)

	s.strangersAreRefused()
	s.listsAreReread(patient)

	s.stop()
	s.start()
	cedar := s.enter(s.nurse("CEDAR"))
	s.feed("1")
	s.sees(s.enter(s.nurse("BEECH")), other, true)
	s.sees(cedar, patient, false)
	s.stop()
	s.startsWithoutLists(patient)
	s.stop()
	s.edit("silence: 1h", "silence: 1ms")
	s.start()
	s.feed("0")
	s.sees(s.enter(s.nurse("CEDAR")), patient, true)
	s.stop()
	s.careIsRecorded(patient)
}

// TestStoppedWhileTheRegisterIsRead stops a gateway whose register would take days to
// read: it serves meanwhile and refuses nobody, ends at once and well, and leaves on disk
// what was there.
func TestStoppedWhileTheRegisterIsRead(t *testing.T) {
	t.Parallel()
	s := newCareSite(t)
	patient := s.hospital.Patients[0].ID
	s.start()
	s.eventually("the register is read", func() error {
		if answer := s.event("A01", patient, inWard("ASH")); !strings.Contains(answer, "MSA|AA|") {
			return fmt.Errorf("answered %q", answer)
		}
		return nil
	})
	s.stop()
	log := filepath.Join(s.dir, "data/care/log-00000002")
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 40 // of zeros, none of them on disk
	if err := os.Truncate(log, size); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.feed("0")
	s.sees(s.enter(s.nurse("BEECH")), patient, true)
	late := time.AfterFunc(time.Minute, func() { _ = s.process.Process.Kill() })
	s.stop() // wants exit code 0
	late.Stop()
	entries, err := os.ReadDir(filepath.Join(s.dir, "data/care"))
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if info, err := os.Stat(log); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.feed("1")
	s.sees(s.enter(s.nurse("BEECH")), patient, false)
	s.stop()
}

// answersAreAskedAbout reads an entry whose patient only the answer names.
func (s *careSite) answersAreAskedAbout(may, mayNot *http.Client, patient string) {
	s.t.Helper()
	_, body := s.site.send(may, http.MethodGet, "/fhir/Observation?patient="+patient, "", nil)
	m := regexp.MustCompile(`/Observation/(obs-\d+)"`).FindSubmatch(body)
	if m == nil {
		s.t.Fatalf("no observation in %.500s", body)
	}
	path := "/fhir/Observation/" + string(m[1])
	for client, want := range map[*http.Client]int{may: http.StatusOK, mayNot: http.StatusForbidden} {
		if status, text := s.site.send(client, http.MethodGet, path, "", nil); status != want {
			s.t.Errorf("%s: %d %.300s", path, status, text)
		}
	}
}

// strangersAreRefused sends in other names, with a certificate of nobody, and
// garbage. None of it stops the feed.
func (s *careSite) strangersAreRefused() {
	s.t.Helper()
	segments := "PID|1||P9^^^RZZ||X\r" + inWard("ASH")
	if answer := s.message("STRANGER", "A01", segments, "pas.test"); !strings.Contains(answer, "MSA|AR|") {
		s.t.Errorf("a stranger's name is answered %q", answer)
	}
	if answer := s.message("PAS", "A01", segments, "stranger.test"); strings.Contains(answer, "MSA|AA|") {
		s.t.Errorf("a stranger's certificate is answered %q", answer)
	}
	if answer := s.send("MSH|^~\\&|PAS|RZZ\rgarbage", "pas.test"); !strings.Contains(answer, "MSA|AR") {
		s.t.Errorf("garbage is answered %q", answer)
	}
	if answer := s.event("A08", s.hospital.Patients[2].ID, inWard("ASH")); !strings.Contains(answer, "MSA|AA|") {
		s.t.Errorf("after garbage a message is answered %q", answer)
	}
	for code, want := range map[string]string{"feed-unknown-sender": "1", "feed-unknown-system": "1", "feed-garbled": "1"} {
		if got := s.metric(`matron_care_messages_total{result="` + code + `"}`); got != want {
			s.t.Errorf("%s is counted %s times", code, got)
		}
	}
}

// listsAreReread takes in a changed staff list, and none with a mistake.
func (s *careSite) listsAreReread(patient string) {
	s.t.Helper()
	good, elder := s.read("staff.csv"), s.enter(s.nurse("ELDER"))
	s.sees(elder, patient, false)
	s.write("staff.csv", good+"X1,nurse\n")
	if line := s.reload(); !strings.Contains(line, fmt.Sprintf("staff.csv:%d: ", strings.Count(good, "\n")+1)) {
		s.t.Errorf("a bad list: %s", line)
	}
	s.write("staff.csv", strings.Replace(good, s.nurse("ELDER")+",nurse,ELDER", s.nurse("ELDER")+",nurse,ELDER;BEECH", 1))
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		s.t.Errorf("a good list: %s", line)
	}
	s.sees(elder, patient, true)
	s.write("staff.csv", good)
}

// startsWithoutLists starts with a staff list that cannot be read: the gateway serves,
// nobody is locked out, and once the list is mended it counts.
func (s *careSite) startsWithoutLists(patient string) {
	s.t.Helper()
	good := s.read("staff.csv")
	s.write("staff.csv", good+"X1,nurse\n")
	s.start()
	cedar := s.enter(s.nurse("CEDAR"))
	s.feed("0")
	s.sees(cedar, patient, true)
	s.write("staff.csv", good)
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		s.t.Errorf("a mended list: %s", line)
	}
	s.feed("1")
	s.sees(cedar, patient, false)
}

// careIsRecorded reads the journal: what the register said of each decision, who was
// let in while nobody could tell, and what was refused. The same questions have the
// same answers again.
func (s *careSite) careIsRecorded(patient string) {
	s.t.Helper()
	var refused *audit.Record
	noticed, wards := map[string]bool{}, map[string]bool{}
	errs := map[string]int{}
	for _, r := range s.records() {
		switch {
		case r.Kind == audit.KindFeed:
			errs[r.Error]++
			if strings.Contains(fmt.Sprint(r), "garbage") {
				s.t.Errorf("a record repeats what was sent: %+v", r)
			}
		case r.Kind == audit.KindDecision && slices.Contains(r.Reasons, "no-relationship") && r.Patient == patient:
			refused = &r
			for _, d := range r.Detail {
				if ward, ok := strings.CutPrefix(d, audit.DetailWard); ok {
					wards[ward] = true
				}
			}
		case slices.Contains(r.Detail, "obligation=notify-care-silent"):
			noticed[r.Person] = true
		}
	}
	for _, code := range []string{"feed-unknown-sender", "feed-unknown-system", "feed-garbled", "feed-silent"} {
		if errs[code] == 0 {
			s.t.Errorf("%s is not recorded: %v", code, errs)
		}
	}
	if !noticed[s.nurse("ASH")] || !noticed[s.nurse("CEDAR")] || noticed[s.nurse("BEECH")] {
		s.t.Errorf("let in with notice: %v", noticed)
	}
	if !wards["ASH"] || !wards["BEECH"] || len(wards) != 2 {
		s.t.Errorf("the patient was in %v", wards)
	}
	if refused == nil {
		s.t.Fatal("no refusal for want of a relationship is recorded")
	}
	text := s.run("policy", "explain", fmt.Sprintf("%s/%d", refused.Source, refused.Seq), "-c", s.config)
	for _, want := range []string{`by no-relationship@explain\.rego:`, `care\.feed +"current"`, `care\.kinds +\[\]`, `care\.as_of +"20\S+" `, `a care relationship with the patient \(ward-stay`} {
		if !regexp.MustCompile(want).MatchString(text) {
			s.t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// testAuthority issues certificates of systems.
type testAuthority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newTestAuthority(t *testing.T) *testAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &testAuthority{t: t, key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func (a *testAuthority) root() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *testAuthority) issue(name string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write puts a certificate and its key beside the configuration.
func (a *testAuthority) write(s *site, file, name string) {
	a.t.Helper()
	pair := a.issue(name)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	s.write(file+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	s.write(file+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}
