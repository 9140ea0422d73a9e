package tlscert_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matron-epr/matron/proxy/tlscert"
)

func newManager(t *testing.T, cfg tlscert.Config) (*tlscert.Manager, error) {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m, err := tlscert.New(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { _ = m.Close() })
	}
	return m, err
}

// serve listens with the manager's certificate and answers 204.
func serve(t *testing.T, m *tlscert.Manager, listener net.Listener) string {
	t.Helper()
	server := &http.Server{
		TLSConfig: m.TLSConfig(), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return listener.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// shake connects as a client that trusts roots and returns what it was shown.
func shake(t *testing.T, address, name string, roots *x509.CertPool) (tls.ConnectionState, error) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState(), nil
}

// pair writes a certificate and its key.
type pair struct {
	cert, key string
	roots     *x509.CertPool
	serial    *big.Int
}

func newPair(t *testing.T, dir, name string, from, until time.Time) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{cert: filepath.Join(dir, rand.Text()+".pem"), key: filepath.Join(dir, rand.Text()+".key"), roots: x509.NewCertPool(), serial: serial}
	p.roots.AddCert(leaf)
	writeFile(t, p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	writeFile(t, p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	return p
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, data)
}

func TestFiles(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	p := newPair(t, dir, "epr.example", now.Add(-time.Hour), now.Add(time.Hour))
	m, err := newManager(t, tlscert.Config{Mode: tlscert.Files, CertFile: p.cert, KeyFile: p.key, Names: []string{"epr.example"}})
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, m, listen(t))
	state, err := shake(t, address, "epr.example", p.roots)
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Fatalf("%v, protocol %q", err, state.NegotiatedProtocol)
	}
	old := tls.Dialer{Config: &tls.Config{RootCAs: p.roots, ServerName: "epr.example", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}
	if conn, err := old.DialContext(t.Context(), "tcp", address); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

// Bad files are refused with the file and the reason, at the start and on
// reload; on reload the old certificate stays in use.
func TestBadFiles(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name  string
		spoil func(t *testing.T, p pair)
		want  []string // in the error; CERT and KEY stand for the files
	}{
		{"another key", func(t *testing.T, p pair) {
			copyFile(t, p.key, newPair(t, t.TempDir(), "epr.example", now, now.Add(time.Hour)).key)
		}, []string{"CERT", "KEY", "does not match"}},
		{"expired", func(t *testing.T, p pair) {
			q := newPair(t, t.TempDir(), "epr.example", now.Add(-2*time.Hour), now.Add(-time.Hour))
			copyFile(t, p.key, q.key)
			copyFile(t, p.cert, q.cert)
		}, []string{"CERT", "expired on"}},
		{"not valid yet", func(t *testing.T, p pair) {
			q := newPair(t, t.TempDir(), "epr.example", now.Add(time.Hour), now.Add(2*time.Hour))
			copyFile(t, p.key, q.key)
			copyFile(t, p.cert, q.cert)
		}, []string{"CERT", "not valid before"}},
		{"another name", func(t *testing.T, p pair) {
			q := newPair(t, t.TempDir(), "evil.example", now, now.Add(time.Hour))
			copyFile(t, p.key, q.key)
			copyFile(t, p.cert, q.cert)
		}, []string{"CERT", "epr.example"}},
		{"key for all to read", func(t *testing.T, p pair) {
			if err := os.Chmod(p.key, 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"KEY", "chmod 0640"}},
		{"half a certificate", func(t *testing.T, p pair) {
			if err := os.Truncate(p.cert, 200); err != nil {
				t.Fatal(err)
			}
		}, []string{"CERT"}},
		{"no key", func(t *testing.T, p pair) {
			if err := os.Remove(p.key); err != nil {
				t.Fatal(err)
			}
		}, []string{"KEY", "no such file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPair(t, t.TempDir(), "epr.example", now.Add(-time.Hour), now.Add(time.Hour))
			cfg := tlscert.Config{Mode: tlscert.Files, CertFile: p.cert, KeyFile: p.key, Names: []string{"epr.example"}}
			m, err := newManager(t, cfg)
			if err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, p)
			_, startErr := newManager(t, cfg)
			for _, err := range []error{m.Reload(), startErr} {
				if err == nil {
					t.Fatal("accepted")
				}
				for _, want := range tt.want {
					want = strings.NewReplacer("CERT", p.cert, "KEY", p.key).Replace(want)
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%q does not say %q", err, want)
					}
				}
			}
			if c, err := m.Current("epr.example"); err != nil || c.Leaf.SerialNumber.Cmp(p.serial) != 0 {
				t.Error("the old certificate is no longer served")
			}
		})
	}
}

func TestReload(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	p := newPair(t, dir, "epr.example", now, now.Add(time.Hour))
	next := newPair(t, dir, "epr.example", now, now.Add(2*time.Hour))
	m, err := newManager(t, tlscert.Config{Mode: tlscert.Files, CertFile: p.cert, KeyFile: p.key})
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, m, listen(t))
	copyFile(t, p.cert, next.cert)
	copyFile(t, p.key, next.key)
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	state, err := shake(t, address, "epr.example", next.roots)
	if err != nil || state.PeerCertificates[0].SerialNumber.Cmp(next.serial) != 0 {
		t.Errorf("%v", err)
	}
}

func rootsOf(t *testing.T, path string) *x509.CertPool {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		t.Fatalf("no certificate in %s", path)
	}
	return pool
}

func TestLocal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	var offset atomic.Int64
	cfg := tlscert.Config{
		Mode: tlscert.Local, Dir: dir, Names: []string{"localhost", "127.0.0.1", "::1"},
		Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) },
	}
	m, err := newManager(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	roots := rootsOf(t, m.CAFile())
	address := serve(t, m, listen(t))
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if state, err := shake(t, address, name, roots); err != nil || state.NegotiatedProtocol != "h2" {
			t.Errorf("%s: %v, protocol %q", name, err, state.NegotiatedProtocol)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}

	t.Run("a restart keeps the authority", func(t *testing.T) {
		again, err := newManager(t, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shake(t, serve(t, again, listen(t)), "localhost", roots); err != nil {
			t.Error(err)
		}
	})
	t.Run("the leaf is renewed in time", func(t *testing.T) {
		before, _ := m.Current("localhost")
		offset.Store(int64(59 * 24 * time.Hour))
		if err := m.Renew(); err != nil {
			t.Fatal(err)
		}
		if same, _ := m.Current("localhost"); same != before {
			t.Error("renewed too early")
		}
		offset.Store(int64(61 * 24 * time.Hour))
		if err := m.Renew(); err != nil {
			t.Fatal(err)
		}
		after, _ := m.Current("localhost")
		if after == before || after.Leaf.NotAfter.Before(cfg.Now().Add(80*24*time.Hour)) {
			t.Error("not renewed")
		}
		if _, err := after.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", CurrentTime: cfg.Now()}); err != nil {
			t.Error(err)
		}
		offset.Store(0)
	})
	t.Run("other names need another authority", func(t *testing.T) {
		other := cfg
		other.Names = []string{"epr.example"}
		m, err := newManager(t, other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := shake(t, serve(t, m, listen(t)), "epr.example", roots); err == nil {
			t.Error("the old authority signed for a name it was not made for")
		}
		if _, err := shake(t, serve(t, m, listen(t)), "epr.example", rootsOf(t, m.CAFile())); err != nil {
			t.Error(err)
		}
	})
}

func TestLocalRefusesOpenDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := newManager(t, tlscert.Config{Mode: tlscert.Local, Dir: dir, Names: []string{"localhost"}})
	if err == nil || !strings.Contains(err.Error(), "chmod 0700") {
		t.Errorf("%v", err)
	}
}

func TestLocalRefusesOpenKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	cfg := tlscert.Config{Mode: tlscert.Local, Dir: dir, Names: []string{"localhost"}}
	if _, err := newManager(t, cfg); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := newManager(t, cfg); err == nil || !strings.Contains(err.Error(), "ca.key") {
		t.Errorf("%v", err)
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]tlscert.Config{
		"no mode":        {},
		"no files":       {Mode: tlscert.Files},
		"no names":       {Mode: tlscert.Local, Dir: t.TempDir()},
		"no directory":   {Mode: tlscert.Local, Names: []string{"localhost"}},
		"http":           {Mode: tlscert.ACME, Dir: t.TempDir(), Names: []string{"localhost"}, ACME: tlscert.ACMEConfig{Directory: "http://acme.example/dir"}},
		"half a binding": {Mode: tlscert.ACME, Dir: t.TempDir(), Names: []string{"localhost"}, ACME: tlscert.ACMEConfig{Directory: "https://acme.example/dir", EABKeyID: "k"}},
	} {
		if _, err := newManager(t, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
