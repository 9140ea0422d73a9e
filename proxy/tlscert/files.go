package tlscert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// files serves a certificate that somebody else renews.
type files struct {
	cfg     Config
	current atomic.Pointer[tls.Certificate]
}

func newFiles(cfg Config) (*files, error) {
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, errors.New("certificate file and key file are required")
	}
	f := &files{cfg: cfg}
	if err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *files) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current.Load(), nil
}

// reload puts the new certificate into use once everything about it is right.
// On error: the old one stays (GW-02).
func (f *files) reload() error {
	loaded, err := load(f.cfg)
	if err != nil {
		return err
	}
	f.current.Store(loaded)
	return nil
}

func (f *files) protocols() []string                      { return nil }
func (f *files) challenge(next http.Handler) http.Handler { return next }
func (f *files) caFile() string                           { return "" }
func (f *files) close()                                   {}

func load(cfg Config) (*tls.Certificate, error) {
	if err := private(cfg.KeyFile, 0o027); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("%s with key %s: %w", cfg.CertFile, cfg.KeyFile, err)
	}
	if err := good(pair.Leaf, cfg.Names, cfg.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.CertFile, err)
	}
	return &pair, nil
}

// good refuses a certificate that browsers would refuse.
func good(leaf *x509.Certificate, names []string, now time.Time) error {
	switch {
	case leaf == nil:
		return errors.New("no certificate")
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("expired on %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	for _, name := range names {
		if err := leaf.VerifyHostname(name); err != nil {
			return fmt.Errorf("not for this name: %w", err)
		}
	}
	return nil
}
