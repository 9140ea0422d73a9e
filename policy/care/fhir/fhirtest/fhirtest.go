// Package fhirtest gives tests a FHIR R4 server that others wrote: Medplum's, in
// memory, in a process of its own behind HTTPS. It is not for production code, and it
// never skips: without Node.js and the npm packages a test fails and says what to do.
// A Server is used by one goroutine.
package fhirtest

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// Token is the bearer token that a Server asks for.
const Token = "sesame"

// Server is a FHIR server. It forgets everything when it stops.
type Server struct {
	Base   string // its address, without a slash at the end
	CAFile string // the root of its certificate, as is its certificate

	t       testing.TB
	key     string
	port    int
	client  *http.Client
	process *exec.Cmd
	stdin   io.Closer
}

// Start starts a server that runs until the test ends or Stop.
func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{t: t, CAFile: filepath.Join(dir, "server.pem"), key: filepath.Join(dir, "server.key"), port: freePort(t)}
	s.Base = "https://127.0.0.1:" + strconv.Itoa(s.port) + "/fhir/R4"
	s.certify()
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts it again, empty, at the same address.
func (s *Server) Start() {
	s.t.Helper()
	// The script stands beside this file: it finds the packages from there.
	script := filepath.Join(module(s.t), "policy", "care", "fhir", "fhirtest", "server.mjs")
	s.process = exec.CommandContext(s.t.Context(), "node", script, strconv.Itoa(s.port), s.CAFile, s.key, Token) //nolint:gosec // of this package
	var complaints bytes.Buffer
	s.process.Stderr = &complaints
	stdin, err := s.process.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	s.stdin = stdin
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("start a FHIR server (package nodejs): %v", err)
	}
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		_ = s.process.Wait()
		text := complaints.String()
		s.t.Fatalf("the FHIR server does not start; run \"npm ci\"? %s", text[max(0, len(text)-600):])
	}
}

// Stop ends it and returns when it is gone.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.process.Wait()
	s.process = nil
}

// Put creates a resource, or replaces it where it has an id, and returns it as the
// server keeps it.
func (s *Server) Put(resource map[string]any) map[string]any {
	s.t.Helper()
	method, address := http.MethodPost, s.Base+"/"+resource["resourceType"].(string)
	if id, ok := resource["id"].(string); ok {
		method, address = http.MethodPut, address+"/"+id
	}
	body, err := json.Marshal(resource)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+Token)
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var kept map[string]any
	if err := json.NewDecoder(res.Body).Decode(&kept); err != nil || res.StatusCode >= http.StatusBadRequest {
		s.t.Fatalf("%s %s: %d %v %v", method, address, res.StatusCode, kept, err)
	}
	return kept
}

// certify makes a certificate that is its own root, and a client that trusts it.
func (s *Server) certify() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "FHIR server"}, NotAfter: time.Now().Add(time.Hour), //nolint:forbidigo // a server of a test
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{s.CAFile: {Type: "CERTIFICATE", Bytes: der}, s.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	pool.AddCert(cert)
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}}
}

// module is the folder of go.mod, above the test's.
func module(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
	}
}

// freePort is one that nobody else is given: not by this function, and not by the
// kernel to a connection while a server is down.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		port := 10_000 + os.Getpid()%90*100 + int(ports.Add(1))%100
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			_ = ln.Close()
			return port
		}
	}
}

// ports counts those that were given.
var ports atomic.Int32 //nolint:gochecknoglobals // one count for all servers of a test binary
