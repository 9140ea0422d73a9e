package tlscert_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"

	"github.com/matron-epr/matron/proxy/tlscert"
)

// pebble is a real ACME service. It validates by connecting to the port that
// the gateway listens on.
type pebble struct {
	directory string
	caFile    string // root of the service's own certificate
	roots     *x509.CertPool
	requests  atomic.Int64
}

type ports struct{ tls, http int }

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func startPebble(t *testing.T, p ports, life time.Duration, bindings map[string]string) *pebble {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	t.Setenv("PEBBLE_AUTHZREUSE", "0") // every certificate is validated for
	logger := log.New(t.Output(), "pebble ", 0)
	store := db.NewMemoryStore()
	authority := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{
		"default": {Description: "default", ValidityPeriod: uint64(life / time.Second)},
	})
	for id, key := range bindings {
		if err := store.AddExternalAccountKeyByID(id, key); err != nil {
			t.Fatal(err)
		}
	}
	validator := va.New(logger, p.http, p.tls, true, "", store)
	front := wfe.New(logger, store, validator, authority, []string{"pebble.example"}, true, len(bindings) > 0, 1, 1)
	served := &pebble{roots: x509.NewCertPool()}
	handler := front.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	served.directory = server.URL + wfe.DirectoryPath
	served.caFile = filepath.Join(t.TempDir(), "pebble.pem")
	writeFile(t, served.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	root, err := x509.ParseCertificate(authority.GetRootCert(0).DER)
	if err != nil {
		t.Fatal(err)
	}
	served.roots.AddCert(root)
	return served
}

// free returns a port that nobody listens on just now.
func free(t *testing.T) int {
	t.Helper()
	l := listen(t)
	defer func() { _ = l.Close() }()
	return port(l)
}

func (p *pebble) config(dir string, listen ports) tlscert.Config {
	return tlscert.Config{
		Mode: tlscert.ACME, Dir: dir, Names: []string{"localhost"},
		ACME: tlscert.ACMEConfig{Directory: p.directory, Email: "it@epr.example", CAFile: p.caFile, TLSPort: listen.tls, HTTPPort: listen.http},
	}
}

func TestACME(t *testing.T) {
	p := ports{tls: free(t), http: free(t)}
	service := startPebble(t, p, 24*time.Hour, nil)
	dir := filepath.Join(t.TempDir(), "acme")
	m, err := newManager(t, service.config(dir, p))
	if err != nil {
		t.Fatal(err)
	}
	address := serveAt(t, m, p.tls)
	first, err := shake(t, address, "localhost", service.roots)
	if err != nil || first.NegotiatedProtocol != "h2" {
		t.Fatalf("%v, protocol %q", err, first.NegotiatedProtocol)
	}
	mustBePrivate(t, dir)

	t.Run("a restart takes the certificate from the directory", func(t *testing.T) {
		before := service.requests.Load()
		again, err := newManager(t, service.config(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		c, err := again.Current("localhost")
		if err != nil || c.Leaf.SerialNumber.Cmp(first.PeerCertificates[0].SerialNumber) != 0 {
			t.Errorf("another certificate, %v", err)
		}
		if n := service.requests.Load() - before; n != 0 {
			t.Errorf("%d requests to the service", n)
		}
	})
	t.Run("a client without a name is served", func(t *testing.T) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	})
}

func serveAt(t *testing.T, m *tlscert.Manager, port int) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", (&net.TCPAddr{IP: net.IPv4zero, Port: port}).String())
	if err != nil {
		t.Fatal(err)
	}
	serve(t, m, l)
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
}

func mustBePrivate(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A certificate that lives for seconds is replaced before it ends, without
// anybody asking; the challenge is answered by the gateway's own listener.
func TestACMERenews(t *testing.T) {
	p := ports{tls: free(t), http: free(t)}
	service := startPebble(t, p, 20*time.Second, nil)
	cfg := service.config(filepath.Join(t.TempDir(), "acme"), p)
	cfg.ACME.CheckEvery = 500 * time.Millisecond
	m, err := newManager(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	address := serveAt(t, m, p.tls)
	first, err := shake(t, address, "localhost", service.roots)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			t.Fatal("never renewed")
		case <-ticker.C:
		}
		next, err := shake(t, address, "localhost", service.roots)
		if err == nil && next.PeerCertificates[0].SerialNumber.Cmp(first.PeerCertificates[0].SerialNumber) != 0 {
			return
		}
	}
}

func TestACMEOverHTTP(t *testing.T) {
	p := ports{tls: free(t), http: free(t)}
	// The service cannot reach the TLS port: HTTP-01 is what remains.
	service := startPebble(t, ports{tls: free(t), http: p.http}, 24*time.Hour, nil)
	cfg := service.config(filepath.Join(t.TempDir(), "acme"), p)
	cfg.ACME.HTTPChallenge = true
	m, err := newManager(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, serveAt(t, m, p.tls), "localhost", service.roots); err != nil {
		t.Error(err)
	}
	rec := httptest.NewRecorder()
	m.ChallengeHandler(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if rec.Code != http.StatusNotFound {
		t.Errorf("not a challenge: %d", rec.Code)
	}
}

func TestExternalAccount(t *testing.T) {
	right := base64.RawURLEncoding.EncodeToString([]byte("the key that the service knows..."))
	wrong := base64.RawURLEncoding.EncodeToString([]byte("another key that it does not know"))
	p := ports{tls: free(t), http: free(t)}
	service := startPebble(t, p, 24*time.Hour, map[string]string{"hospital-1": right})
	tests := []struct {
		name, id, key string
		mode          os.FileMode
		want          string // in the error; "" for success
	}{
		{"right key", "hospital-1", right + "\n", 0o600, ""},
		{"wrong key", "hospital-1", wrong, 0o600, "external account"},
		{"unknown id", "hospital-2", right, 0o600, "external account"},
		{"none", "", "", 0, "externalAccountBinding"},
		{"key for all to read", "hospital-1", right, 0o644, "chmod 0600"},
		{"not a key", "hospital-1", "???", 0o600, "base64url"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := service.config(filepath.Join(dir, "acme"), p)
			if tt.id != "" {
				cfg.ACME.EABKeyID, cfg.ACME.EABKeyFile = tt.id, filepath.Join(dir, "eab")
				writeFile(t, cfg.ACME.EABKeyFile, []byte(tt.key))
				if err := os.Chmod(cfg.ACME.EABKeyFile, tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			m, err := newManager(t, cfg)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want == "":
				if c, err := m.Current("localhost"); err != nil || len(c.Certificate) < 2 {
					t.Errorf("%v", err)
				}
			case err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) || strings.Contains(err.Error(), wrong):
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
