package tlscert

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// issued is a certificate that an ACME service issues and renews. Its cache,
// configuration and storage are its own: certmagic's defaults are not used.
type issued struct {
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
	stop   context.CancelFunc
}

// newACME takes the certificate out of the directory, or has it issued. A
// certificate in the directory that is still good needs no service.
func newACME(ctx context.Context, cfg Config) (*issued, error) {
	template, err := cfg.issuer()
	if err != nil {
		return nil, err
	}
	if err := stateDir(cfg.Dir); err != nil {
		return nil, err
	}
	logger := zap.New(core{logger: cfg.Logger})
	template.Logger = logger
	a := &issued{}
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return a.magic, nil },
		RenewCheckInterval: cfg.ACME.CheckEvery,
		Logger:             logger,
	})
	a.magic = certmagic.New(a.cache, certmagic.Config{
		Storage:           &certmagic.FileStorage{Path: cfg.Dir},
		DefaultServerName: cfg.Names[0],
		Logger:            logger,
	})
	a.issuer = certmagic.NewACMEIssuer(a.magic, template)
	a.magic.Issuers = []certmagic.Issuer{a.issuer}
	life, stop := context.WithCancel(ctx)
	a.stop = stop
	if err := a.magic.ManageSync(life, cfg.Names); err != nil {
		a.close()
		return nil, fmt.Errorf("issue by %s: %w", cfg.ACME.service(), err)
	}
	return a, nil
}

// service names whom an error is about.
func (c ACMEConfig) service() string {
	if c.EABKeyID == "" {
		return c.Directory
	}
	return fmt.Sprintf("%s for external account %s (key in %s)", c.Directory, c.EABKeyID, c.EABKeyFile)
}

// issuer checks the configuration of the service.
func (cfg Config) issuer() (certmagic.ACMEIssuer, error) {
	c := cfg.ACME
	if len(cfg.Names) == 0 {
		return certmagic.ACMEIssuer{}, errors.New("names are required")
	}
	if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return certmagic.ACMEIssuer{}, fmt.Errorf("directory %q is not an https address", c.Directory)
	}
	roots, err := readRoots(c.CAFile)
	if err != nil {
		return certmagic.ACMEIssuer{}, err
	}
	binding, err := readBinding(c)
	if err != nil {
		return certmagic.ACMEIssuer{}, err
	}
	return certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true,
		TrustedRoots: roots, ExternalAccount: binding,
		DisableHTTPChallenge: !c.HTTPChallenge, AltTLSALPNPort: c.TLSPort, AltHTTPPort: c.HTTPPort,
	}, nil
}

func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the path is the operator's
	if err != nil {
		return nil, fmt.Errorf("roots of the directory: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("roots of the directory: %s holds no PEM certificate", path)
	}
	return roots, nil
}

// readBinding reads the external account; nil when there is none.
func readBinding(c ACMEConfig) (*acme.EAB, error) {
	if c.EABKeyID == "" && c.EABKeyFile == "" {
		return nil, nil
	}
	if c.EABKeyID == "" || c.EABKeyFile == "" {
		return nil, errors.New("external account: key id and key file belong together")
	}
	if err := private(c.EABKeyFile, 0o077); err != nil {
		return nil, fmt.Errorf("external account key: %w", err)
	}
	raw, err := os.ReadFile(c.EABKeyFile)
	if err != nil {
		return nil, fmt.Errorf("external account key: %w", err)
	}
	key := strings.TrimRight(strings.TrimSpace(string(raw)), "=")
	if decoded, err := base64.RawURLEncoding.DecodeString(key); err != nil || len(decoded) == 0 {
		return nil, fmt.Errorf("external account key: %s does not hold base64url text", c.EABKeyFile)
	}
	return &acme.EAB{KeyID: c.EABKeyID, MACKey: key}, nil
}

func (a *issued) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.magic.GetCertificate(hello)
}

func (a *issued) protocols() []string { return []string{acmez.ACMETLS1Protocol} }
func (a *issued) reload() error       { return nil }
func (a *issued) caFile() string      { return "" }

func (a *issued) challenge(next http.Handler) http.Handler {
	return a.issuer.HTTPChallengeHandler(next)
}

func (a *issued) close() {
	a.stop()
	a.cache.Stop()
}
