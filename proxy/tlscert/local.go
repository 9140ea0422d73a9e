package tlscert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"
)

const (
	caLife   = 5 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
	// backdate lets clients whose clock is a little behind accept at once.
	backdate   = time.Hour
	checkEvery = time.Hour
	caName     = "ca.pem"
	caKeyName  = "ca.key"
)

// local is a certification authority that stays on this machine. Its key may
// sign for the configured names only, whoever gets hold of it.
type local struct {
	cfg     Config
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	current atomic.Pointer[tls.Certificate]
	stop    chan struct{}
	done    chan struct{}
}

func newLocal(cfg Config) (*local, error) {
	if len(cfg.Names) == 0 {
		return nil, errors.New("names are required")
	}
	if err := stateDir(cfg.Dir); err != nil {
		return nil, err
	}
	l := &local{cfg: cfg, stop: make(chan struct{}), done: make(chan struct{})}
	if err := l.authority(); err != nil {
		return nil, err
	}
	if err := l.renew(); err != nil {
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *local) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return l.current.Load(), nil
}

func (l *local) protocols() []string                      { return nil }
func (l *local) reload() error                            { return nil }
func (l *local) challenge(next http.Handler) http.Handler { return next }
func (l *local) caFile() string                           { return filepath.Join(l.cfg.Dir, caName) }

func (l *local) close() {
	close(l.stop)
	<-l.done
}

// run renews until close.
func (l *local) run() {
	defer close(l.done)
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
			if err := l.renew(); err != nil {
				l.cfg.Logger.Error("certificate not renewed", slog.Any("error", err)) //nolint:sloglint // no request is under way
			}
		}
	}
}

// authority loads the authority of an earlier start, or makes one when there is
// none, or none that will do for the names and the time to come.
func (l *local) authority() error {
	err := l.loadAuthority()
	if err == nil || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errOutgrown) {
		return err
	}
	return l.makeAuthority()
}

var errOutgrown = errors.New("authority does not cover the names, or ends soon")

func (l *local) loadAuthority() error {
	keyPath := filepath.Join(l.cfg.Dir, caKeyName)
	if err := private(keyPath, 0o077); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(l.caFile(), keyPath)
	if err != nil {
		return fmt.Errorf("%s with key %s: %w", l.caFile(), keyPath, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s: not an ECDSA key", keyPath)
	}
	names, addresses := split(l.cfg.Names)
	covers := slices.Equal(pair.Leaf.PermittedDNSDomains, names) && equalNets(pair.Leaf.PermittedIPRanges, addresses)
	if !covers || l.cfg.Now().Add(leafLife).After(pair.Leaf.NotAfter) {
		return errOutgrown
	}
	l.ca, l.key = pair.Leaf, key
	return nil
}

func (l *local) makeAuthority() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make authority: %w", err)
	}
	now := l.cfg.Now()
	names, addresses := split(l.cfg.Names)
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Matron local authority " + now.UTC().Format("2006-01-02 15:04:05")},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: names, PermittedIPRanges: hosts(addresses),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("make authority: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("make authority: %w", err)
	}
	if err := write(filepath.Join(l.cfg.Dir, caKeyName), "PRIVATE KEY", keyDER); err != nil {
		return err
	}
	if err := write(l.caFile(), "CERTIFICATE", der); err != nil {
		return err
	}
	l.key = key
	l.ca, err = x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("make authority: %w", err)
	}
	return nil
}

// renew makes a new leaf when a third of its life or less remains. The leaf's
// key stays in memory.
func (l *local) renew() error {
	now := l.cfg.Now()
	if c := l.current.Load(); c != nil && now.Before(c.Leaf.NotAfter.Add(-leafLife/3)) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	names, addresses := split(l.cfg.Names)
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: l.cfg.Names[0]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: names, IPAddresses: addresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, l.ca, &key.PublicKey, l.key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	l.current.Store(&tls.Certificate{Certificate: [][]byte{der, l.ca.Raw}, PrivateKey: key, Leaf: leaf})
	return nil
}

// write replaces a file that only its owner may read, whole or not at all.
func write(path, kind string, der []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails: it ends the program instead
	return new(big.Int).SetBytes(b[:])
}

// split sorts host names from addresses.
func split(all []string) (names []string, addresses []net.IP) {
	for _, name := range all {
		if ip := net.ParseIP(name); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, name)
		}
	}
	return names, addresses
}

// hosts are the networks that hold one address each.
func hosts(addresses []net.IP) []*net.IPNet {
	var nets []*net.IPNet
	for _, ip := range addresses {
		if v4 := ip.To4(); v4 != nil {
			ip = v4
		}
		nets = append(nets, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
	}
	return nets
}

func equalNets(have []*net.IPNet, want []net.IP) bool {
	var a, b []string
	for _, n := range have {
		a = append(a, n.String())
	}
	for _, n := range hosts(want) {
		b = append(b, n.String())
	}
	return slices.Equal(a, b)
}
