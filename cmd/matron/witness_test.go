package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/matron-epr/matron/audit/witness"
)

// grownLog is a log with a key and a tree, for witnesses to follow.
type grownLog struct {
	signer note.Signer
	key    witness.Verifier
	pub    string // file of the key
	hashes []tlog.Hash
	size   int64
}

func newGrownLog(t *testing.T, name string) *grownLog {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.key")
	if _, err := witness.CreateKey(path, name, witness.LogKey); err != nil {
		t.Fatal(err)
	}
	l := &grownLog{pub: path + ".pub"}
	var err error
	if l.signer, err = witness.ReadLogSigner(path); err != nil {
		t.Fatal(err)
	}
	if l.key, err = witness.ReadVerifier(l.pub, witness.LogKey); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *grownLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *grownLog) prove(_ context.Context, old, size int64) ([]tlog.Hash, error) {
	return tlog.ProveTree(size, old, l)
}

// grow adds n leaves and returns the signed checkpoint.
func (l *grownLog) grow(t *testing.T, n int) []byte {
	t.Helper()
	for range n {
		hs, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "leaf %d", l.size), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, hs...)
		l.size++
	}
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		t.Fatal(err)
	}
	b, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", l.key.Name(), l.size, root)}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// askWitness returns a set of one witness.
func askWitness(t *testing.T, address, keyFile, caFile string) *witness.Set {
	t.Helper()
	key, err := witness.ReadVerifier(keyFile, witness.WitnessKey)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := witness.Quorum(nil, []witness.Verifier{key}, 1)
	if err != nil {
		t.Fatal(err)
	}
	policy.Witnesses[0].URL = address
	hc, err := witness.NewHTTPClient(caFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hc.CloseIdleConnections)
	set, err := witness.NewSet(witness.SetConfig{Policy: policy, HTTP: []*http.Client{hc}, Timeout: time.Minute, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func mustCosign(t *testing.T, set *witness.Set, l *grownLog, signed []byte) {
	t.Helper()
	got, err := set.Cosign(t.Context(), signed, l.prove)
	if err != nil || !got.Met {
		t.Fatalf("%v: %+v", err, got.Outcomes)
	}
}

// TestWitnessServe runs the program as an outsider does: TLS, kill -9 and start
// again, SIGTERM.
func TestWitnessServe(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "w")
	l := newGrownLog(t, "matron/RZZ/gw1")
	for _, args := range [][]string{{"init", "--name", "example.org/w"}, {"add-log", l.pub}} {
		if out, err := command(t, append([]string{"witness", "--dir", dir}, args...)...).Output(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	cert, key := selfSigned(t)
	start := func() (*exec.Cmd, *witness.Set) {
		c := exec.Command(binary(t), "witness", "serve", "--dir", dir, "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key) //nolint:noctx // the test ends it by signals
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill() })
		line, err := bufio.NewReader(out).ReadString('\n')
		_, address, ok := strings.Cut(strings.TrimSpace(line), " cosigns on ")
		if err != nil || !ok || !strings.HasPrefix(address, "https://") {
			t.Fatalf("%q, %v", line, err)
		}
		return c, askWitness(t, address, filepath.Join(dir, "witness.key.pub"), cert)
	}
	c, set := start()
	mustCosign(t, set, l, l.grow(t, 5))
	mustCosign(t, set, l, l.grow(t, 3))
	var second bytes.Buffer
	rival := command(t, "witness", "serve", "--dir", dir, "--listen", "127.0.0.1:0")
	rival.Stderr = &second
	if err := rival.Run(); err == nil || !strings.Contains(second.String(), "in use by another process") {
		t.Errorf("a second process: %v %s", err, &second)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	c, set = start()
	mustCosign(t, set, l, l.grow(t, 2))
	var shown struct {
		Logs []witness.Status `json:"logs"`
	}
	out, err := command(t, "witness", "show", "--dir", dir, "--json").Output() // while it serves
	if err != nil || json.Unmarshal(out, &shown) != nil || len(shown.Logs) != 1 || shown.Logs[0].Size != 10 || time.Since(shown.Logs[0].At) > time.Hour {
		t.Errorf("%v: %s", err, out)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
}

// TestGatewayCosignsForItsPeer: a gateway is a witness of another gateway's log,
// on its own address, without a session and for no other log.
func TestGatewayCosignsForItsPeer(t *testing.T) {
	t.Parallel()
	l, other := newGrownLog(t, "matron/RZZ/gw2"), newGrownLog(t, "matron/RZZ/gw3")
	s := newSite(t, fmt.Sprintf("- {name: fhir, prefix: /fhir, upstream: %q, map: fhir-r4}\nwitnessing: {logs: [{key_file: %q}]}\n", "http://127.0.0.1:1", l.pub))
	s.start()
	address := s.url + "/.matron/witness"
	keyFile := filepath.Join(s.dir, "data/witness/witness.key.pub")
	set := askWitness(t, address, keyFile, filepath.Join(s.dir, "data/tls/ca.pem"))
	mustCosign(t, set, l, l.grow(t, 5))
	s.stop()
	s.run("init", "-c", s.config) // changes nothing
	s.start()
	mustCosign(t, set, l, l.grow(t, 4))
	got, err := set.Cosign(t.Context(), other.grow(t, 1), other.prove)
	if err != nil || got.Met || !strings.Contains(got.Outcomes[0].Err.Error(), "404") {
		t.Errorf("a log that it does not follow: %v, %+v", err, got.Outcomes)
	}
	if status, text := s.send(s.stranger(), http.MethodPost, "/.matron/witness/add-checkpoint", "", []byte("old x\n")); status != http.StatusBadRequest {
		t.Errorf("status %d: %s", status, text)
	}
	s.stop()
}

// selfSigned makes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: raw}, key: {Type: "PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
