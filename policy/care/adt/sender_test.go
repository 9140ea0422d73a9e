package adt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/policy/care"
	"github.com/matron-epr/matron/policy/care/adt"
	"github.com/matron-epr/matron/policy/care/mllp"
	"github.com/matron-epr/matron/policy/care/store"
)

// A sender that we did not write (mllp_send of Debian's python3-hl7) sends other
// people's messages over MLLP and TLS, in the wrong order, with garbled ones,
// duplicates and messages in a stranger's name between them: the good ones are all
// taken, and known after a restart.
func TestMessagesOfAnIndependentSender(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	sent := messages(t, "simhospital.hl7")
	slices.Reverse(sent)
	mixed := []string{"no message at all", "MSH|^~\\&|SIMHOSP|SFAC\rgarbage\r"}
	duplicates, strangers := 0, 0
	for i, m := range sent {
		mixed = append(mixed, m)
		switch i % 3 {
		case 0:
			mixed = append(mixed, m[:len(m)/2]+"\xff\xfe\r???")
		case 1:
			mixed, duplicates = append(mixed, m), duplicates+1
		case 2:
			mixed, strangers = append(mixed, strings.Replace(m, "SIMHOSP", "STRANGER", 1)), strangers+1
		}
	}
	answers := h.send(t, mixed)
	if n := strings.Count(answers, "MSA|"); n != len(mixed) {
		t.Errorf("%d messages are answered %d times", len(mixed), n)
	}
	// simhospital asks for commit acknowledgements
	if n, want := strings.Count(answers, "MSA|CA|"), len(sent)+duplicates; n != want {
		t.Errorf("%d messages are taken, want %d:\n%s", n, want, strings.ReplaceAll(answers, "\r", "\n"))
	}
	recorded := 0
	for _, r := range h.refused.all() {
		if errors.Is(r.Reason, mllp.ErrSender) {
			recorded++
		}
	}
	if recorded != strangers {
		t.Errorf("%d messages in a stranger's name are recorded, want %d", recorded, strangers)
	}
	h.close(t)
	h = open(t, dir)
	check(t, h.register, "SIMULATOR MRN", pathway)
	if diff := cmp.Diff([]string{"SIMHOSP/SFAC"}, sources(h.register)); diff != "" {
		t.Error(diff)
	}
	h.close(t)
}

func sources(r *care.Register) []string {
	var out []string
	for _, f := range r.Feeds() {
		out = append(out, f.Source)
	}
	return out
}

// refusals keeps what a listener refused.
type refusals struct {
	mu   sync.Mutex
	list []mllp.Refusal
}

func (r *refusals) Refused(one mllp.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, one)
}

func (r *refusals) all() []mllp.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// hospital is a listener with everything behind it.
type hospital struct {
	register *care.Register
	store    *store.Store
	listener *mllp.Listener
	refused  *refusals
	client   *tls.Config
}

func open(t *testing.T, dir string) *hospital {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 11, 3, 15, 0, 0, 0, time.UTC) }
	h := &hospital{register: care.New(care.Windows{}), refused: &refusals{}}
	h.register.Use(staff)
	var err error
	h.store, err = store.Open(t.Context(), store.Config{Dir: dir, Register: h.register, Now: now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := certificate(t)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.listener, err = mllp.Listen(ln, mllp.Config{
		TLS:      &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		Peers:    []mllp.Peer{{Name: "feed.test", Senders: []mllp.Sender{{Application: "SIMHOSP", Facility: "SFAC"}}}},
		Handler:  &adt.Feed{Reader: reader(t, 1), Keeper: h.store, Register: h.register, Now: now},
		Observer: h.refused, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.client = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "feed.test", Certificates: []tls.Certificate{cert}}
	return h
}

func (h *hospital) close(t *testing.T) {
	t.Helper()
	if err := errors.Join(h.listener.Close(), h.store.Close()); err != nil {
		t.Fatal(err)
	}
}

// send lets mllp_send send messages and returns what it prints: the answers.
func (h *hospital) send(t *testing.T, messages []string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "messages")
	if err := os.WriteFile(file, []byte("\x0b"+strings.Join(messages, "\x1c\r\x0b")+"\x1c\r"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(h.pipe(t))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "mllp_send", "--file", file, "--port", port, "127.0.0.1").CombinedOutput()
	if err != nil {
		t.Fatalf("mllp_send (package python3-hl7): %v\n%s", err, out)
	}
	return string(out)
}

// pipe puts TLS around one connection, for a sender that has none, and returns
// where it waits for it.
func (h *hospital) pipe(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		plain, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = plain.Close() }()
		secret, err := (&tls.Dialer{Config: h.client}).DialContext(t.Context(), "tcp", h.listener.Addr().String())
		if err != nil {
			return
		}
		defer func() { _ = secret.Close() }()
		go func() { _, _ = io.Copy(plain, secret); _ = plain.Close() }()
		_, _ = io.Copy(secret, plain)
	}()
	return ln.Addr().String()
}

// certificate issues one that both sides show and trust.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "feed.test"}, DNSNames: []string{"feed.test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
