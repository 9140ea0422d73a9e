package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/audit/merkle"
	"github.com/matron-epr/matron/cmd/matron/gateway"
)

// certify makes an authority and puts its ca.pem, and gateway.crt and gateway.key
// that it has signed for each site's source, into the folders of the sites.
func certify(t *testing.T, sites ...*site) {
	t.Helper()
	secret := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	valid := x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	authority, signer := valid, secret()
	authority.SerialNumber, authority.IsCA = big.NewInt(1), true
	sign := func(template x509.Certificate, key *ecdsa.PrivateKey) string {
		der, err := x509.CreateCertificate(rand.Reader, &template, &authority, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	root := sign(authority, signer)
	for i, s := range sites {
		own, key := valid, secret()
		own.SerialNumber, own.DNSNames = big.NewInt(int64(i)+2), []string{s.settings().Source, "localhost"}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		s.write("ca.pem", root)
		s.write("data/tls/ca.pem", root) // where the kit looks for what clients trust
		s.write("gateway.crt", sign(own, key))
		s.write("gateway.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
}

// newPair is two gateways, each of which is the other's witness and keeps records
// for it.
func newPair(t *testing.T) (first, second *site) {
	t.Helper()
	upstream := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	application := fmt.Sprintf("- {name: epr, prefix: /ui, upstream: %q, map: pages-map.yaml}\n", upstream)
	first, second = newSiteOf(t, "gw1", application), newSiteOf(t, "gw2", application)
	certify(t, first, second)
	peers := map[*site]int{first: freePort(t), second: freePort(t)}
	const files = "certificate_file: gateway.crt, key_file: gateway.key, ca_file: ca.pem"
	other := map[*site]*site{first: second, second: first}
	for s, o := range other {
		s.copyPagesMap()
		s.unlimited()
		s.edit("tls: {mode: local, names: [localhost]}", "tls: {mode: files, certificate_file: gateway.crt, key_file: gateway.key, names: [localhost]}")
		s.edit("applications:", fmt.Sprintf(`journal: {append_timeout: 5s, second: {peer: {name: %s, address: "127.0.0.1:%d", %s}}}
peers: {listen: "127.0.0.1:%d", allow: [%[1]s], %[3]s}
witnessing: {logs: [{key_file: %[5]q}]}
applications:`, o.settings().Source, peers[o], files, peers[s], filepath.Join(o.dir, "data/journal/checkpoint.pub")))
		s.run("init", "-c", s.config)
	}
	for s, o := range other {
		s.edit("applications:", fmt.Sprintf("witness: {quorum: 1, witnesses: [{url: %q, key_file: %q, ca_file: ca.pem}]}\napplications:",
			o.url+"/.matron/witness/", filepath.Join(o.dir, "data/witness/witness.key.pub")))
	}
	return first, second
}

// cosignedUpTo waits until a witness has cosigned that many records of a site.
func (s *site) cosignedUpTo(n uint64) {
	s.t.Helper()
	key, err := merkle.ParseVerifier([]byte(s.read("data/journal/checkpoint.pub")))
	if err != nil {
		s.t.Fatal(err)
	}
	s.eventually("the witness has cosigned", func() error {
		text, err := os.ReadFile(gateway.CosignedFile(gateway.JournalDir(s.settings())))
		if err != nil {
			return err
		}
		c, err := merkle.OpenCheckpoint(text, key)
		if err == nil && (c.Size < n || strings.Count(string(text), "\n— ") != 2) {
			err = fmt.Errorf("%d of %d: %s", c.Size, n, text)
		}
		return err
	})
}

// readyCheck is one line of /readyz.
func (s *site) readyCheck(name string) (c struct {
	Name, Note string
	OK         bool
},
) {
	s.t.Helper()
	status, body := s.ready()
	var all struct {
		Checks []struct {
			Name, Note string
			OK         bool
		}
	}
	if err := json.Unmarshal([]byte(body), &all); err != nil || status != http.StatusOK {
		s.t.Fatalf("/readyz: %d %v %s", status, err, body)
	}
	for _, found := range all.Checks {
		if strings.HasPrefix(found.Name, name) {
			return found
		}
	}
	s.t.Fatalf("/readyz has no %q: %s", name, body)
	return c
}

// TestTwoGateways: each is the other's witness and keeps records for it. The
// first one's disk dies: care goes on, and afterwards its record is whole at home.
// Somebody puts an old state of it back: its witness says no, and everybody sees.
// hazard:GW-02 control:C-06
// hazard:GW-12 control:C-48
func TestTwoGateways(t *testing.T) {
	t.Parallel()
	first, second := newPair(t)
	dir := gateway.JournalDir(first.settings())
	dies, comesBack := ownDevice(t, dir)
	second.start()
	first.start()
	var kept []asked
	doctor := client{first, "", first.as("doctor"), &kept}
	works := func(times int) (last uint64) {
		t.Helper()
		for range times {
			a := doctor.ask(http.MethodGet, "/ui/patients/P1", "")
			if a.status != http.StatusOK {
				t.Fatalf("%+v", a)
			}
			last = a.seq(t)
		}
		return last
	}
	first.cosignedUpTo(works(5))
	second.cosignedUpTo(1)
	first.cosignatureCounts(t, second)

	dies()
	works(20)
	if c := first.readyCheck("record"); !c.OK || !strings.Contains(c.Note, "records are in a second place") {
		t.Errorf("/readyz while the disk is dead: %+v", c)
	}
	if a := first.ask(first.as("security-analyst"), http.MethodGet, "/.matron/health", asPerson, ""); !strings.Contains(a.body, "second place, peer gw2") {
		t.Errorf("health page while the disk is dead: %d %s", a.status, a.body)
	}
	first.kill()
	comesBack()
	first.start()
	last := works(5)
	first.eventually("all records are home", func() error {
		left, err := filepath.Glob(filepath.Join(second.dir, "data/peers/gw1/*.seg"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%v are at the peer", left)
		}
		return err
	})
	first.cosignedUpTo(last)
	first.stop()
	first.wholeAtHome(t, dir, kept)

	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	first.start()
	first.cosignedUpTo(works(10))
	first.stop()
	seen := last + 20 // of what the witness has cosigned since
	putBack(t, old, dir)
	before := first.read("data/journal/checkpoint.cosigned")
	first.start()
	works(3)
	first.eventually("the alarm", func() error {
		if c := first.readyCheck("witness"); c.OK {
			return errors.New("/readyz says that all is well")
		}
		if got := first.metric("matron_witness_healthy"); got != "0" {
			return fmt.Errorf("matron_witness_healthy %s", got)
		}
		if len(first.log.with("a witness knows another history of this record")) == 0 {
			return errors.New("the log says nothing")
		}
		return nil
	})
	for at := uint64(0); at < seen+10; { // care goes on, past the size that the witness has seen
		at = works(3)
	}
	first.stop()
	second.stop()
	if got := first.read("data/journal/checkpoint.cosigned"); got != before {
		t.Errorf("the witness has cosigned another history:\n%s", got)
	}
}

// cosignatureCounts checks that "matron audit verify" asks for the witness's own
// signature: a checkpoint that the gateway alone has signed is not enough.
func (s *site) cosignatureCounts(t *testing.T, witness *site) {
	t.Helper()
	key := filepath.Join(witness.dir, "data/witness/witness.key.pub")
	if r, code := verifies(t, "-c", s.config); code != exitOK || r.Cosigned == 0 {
		t.Errorf("with the witness of the configuration: exit code %d, %d records cosigned, %v", code, r.Cosigned, r.Findings)
	}
	alone := alterFew(t, gateway.JournalDir(s.settings()))
	if err := os.WriteFile(gateway.CosignedFile(alone), []byte(s.read("data/journal/checkpoint")), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, code := verifies(t, alone, "--witness", key); code != exitIntegrity || len(r.Findings) != 1 || r.Findings[0].Place != "checkpoint.cosigned" {
		t.Errorf("not cosigned at all: exit code %d, %v", code, r.Findings)
	}
	if err := os.Remove(gateway.CosignedFile(alone)); err != nil {
		t.Fatal(err)
	}
	if r, code := verifies(t, alone, "--witness", key); code != exitIntegrity || !strings.Contains(r.Findings[0].What, "no checkpoint that witnesses have cosigned") {
		t.Errorf("without the cosigned checkpoint: exit code %d, %v", code, r.Findings)
	}
}

// alterFew copies the journal in dir beside the running gateway.
func alterFew(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "journal")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// wholeAtHome checks that the primary folder alone holds every record that was
// acknowledged, each once.
func (s *site) wholeAtHome(t *testing.T, dir string, kept []asked) {
	t.Helper()
	r, code := verifies(t, dir, "--key", filepath.Join(dir, gateway.PublicKeyName))
	if code != exitOK || r.Journal.First != 1 || r.Journal.Records != r.Journal.Last {
		t.Errorf("exit code %d, %d records, %d to %d, %v", code, r.Journal.Records, r.Journal.First, r.Journal.Last, r.Findings)
	}
	leaves := map[uint64]string{}
	if _, err := journal.Verify(journal.VerifyOptions{Dirs: []string{dir}, Visit: func(seq uint64, canonical []byte, _ *audit.Record) error {
		leaf := audit.Leaf(canonical)
		leaves[seq] = hex.EncodeToString(leaf[:])
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	for _, a := range kept {
		got, err := parseReceipt(a.receipt)
		if err != nil || leaves[got.seq] != got.leaf {
			t.Errorf("receipt %s: %v: the record is not at home", a.receipt, err)
		}
	}
}

// putBack replaces the journal in dir by an older one.
func putBack(t *testing.T, old, dir string) {
	t.Helper()
	now, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range now { // the folder itself is a mount
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
}
