package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/matron-epr/matron/audit/journal"
	"github.com/matron-epr/matron/cmd/matron/config"
)

// certificates makes an authority and a certificate of it for each name, as
// NAME.pem and NAME.key beside ca.pem.
func certificates(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var authority *x509.Certificate
	var signer *ecdsa.PrivateKey
	for i, name := range append([]string{"ca"}, names...) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: i == 0, BasicConstraintsValid: true,
		}
		if i == 0 {
			authority, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, authority, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write := func(ending, kind string, b []byte) {
			block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
			if err := os.WriteFile(filepath.Join(dir, name+ending), block, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(".pem", "CERTIFICATE", der)
		write(".key", "EC PRIVATE KEY", secret)
	}
	return dir
}

// TestGatewaysKeepRecordsForEachOther: what one's configuration serves is what
// the other's configuration uses.
func TestGatewaysKeepRecordsForEachOther(t *testing.T) {
	dir := certificates(t, "gw1", "gw2")
	file := func(name string) string { return filepath.Join(dir, name) }
	second := config.Config{Source: "gw2", DataDir: t.TempDir(), Peers: config.Peers{
		Listen: "127.0.0.1:0", CertificateFile: file("gw2.pem"), KeyFile: file("gw2.key"), CAFile: file("ca.pem"),
		Allow: []string{"gw1"}, MaxBytes: 1 << 30,
	}}
	peers, err := openPeers(t.Context(), second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first := config.Config{Source: "gw1", DataDir: t.TempDir(), Journal: config.Journal{AppendTimeout: time.Second, KeepPlain: 2}}
	first.Journal.Second.Peer = config.Peer{
		Name: "gw2", Address: peers.listener.Addr().String(),
		CertificateFile: file("gw1.pem"), KeyFile: file("gw1.key"), CAFile: file("ca.pem"),
	}
	jc, err := withPlaces(journal.Config{}, first)
	if err != nil || len(jc.Second) != 1 || jc.Second[0].Name() != "peer gw2" {
		t.Fatalf("%+v, %v", jc.Second, err)
	}
	if err := errors.Join(jc.Second[0].Open("gw1", false), jc.Second[0].Probe(1<<20)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(paths{second.DataDir}.peers(), "gw1")); err != nil {
		t.Error(err)
	}
	address := peers.listener.Addr().String()
	if err := errors.Join(jc.Second[0].Close(), peers.close()); err != nil {
		t.Error(err)
	}
	if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
	if err := (*peerService)(nil).close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ArchiveDir(first)); errors.Is(err, fs.ErrNotExist) {
		t.Error("no archive folder was made")
	}
}
