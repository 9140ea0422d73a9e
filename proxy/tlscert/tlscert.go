// Package tlscert supplies the certificate of the gateway's listener: from
// files, from a certification authority of its own for demonstrations and
// trials, or from any ACME service.
//
// It never replaces a certificate that works by one that does not, never reads
// a key that others may read, and shares no state between Managers. A Manager
// is safe for concurrent use.
package tlscert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"
)

// The modes.
const (
	Files = "files"
	Local = "local"
	ACME  = "acme"
)

// Config says where the certificate comes from. Logger and Now are required.
type Config struct {
	Mode string // Files, Local or ACME
	// CertFile and KeyFile hold PEM, for Files. The key may be readable by its
	// group (0640), as Debian's ssl-cert group has it, and by nobody else.
	CertFile string
	KeyFile  string
	// Dir keeps what Local and ACME make, mode 0700.
	Dir string
	// Names are the host names and addresses the certificate is for. Files
	// checks them when there are any.
	Names  []string
	ACME   ACMEConfig
	Logger *slog.Logger
	Now    func() time.Time
}

// ACMEConfig says which ACME service issues, and who asks. Choosing the mode
// agrees to the service's terms.
type ACMEConfig struct {
	Directory string // directory URL
	Email     string
	CAFile    string // PEM roots that the directory's own certificate is checked against; "" means the system's
	// EABKeyID and EABKeyFile bind the account to one that the service knows
	// already (RFC 8555 §7.3.4). The file holds the base64url MAC key and is
	// readable by its owner alone.
	EABKeyID   string
	EABKeyFile string
	// HTTPChallenge answers HTTP-01 as well: ChallengeHandler must then be
	// served on port 80.
	HTTPChallenge bool
	// TLSPort and HTTPPort are where this machine receives what the service
	// sends to ports 443 and 80. Zero means those ports themselves.
	TLSPort  int
	HTTPPort int
	// CheckEvery is how often the certificate's age is looked at; zero means
	// every ten minutes.
	CheckEvery time.Duration
}

// source is where certificates come from.
type source interface {
	certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	protocols() []string // besides those of HTTP
	reload() error
	challenge(next http.Handler) http.Handler
	caFile() string
	close()
}

// Manager holds the certificate in use.
type Manager struct {
	source source
}

// New makes a Manager whose certificate is ready to serve. Its error says what
// is wrong with which file, or what the ACME service answered.
func New(ctx context.Context, cfg Config) (*Manager, error) {
	if cfg.Logger == nil || cfg.Now == nil {
		return nil, errors.New("certificate: logger and clock are required")
	}
	var made source
	var err error
	switch cfg.Mode {
	case Files:
		made, err = newFiles(cfg)
	case Local:
		made, err = newLocal(cfg)
	case ACME:
		made, err = newACME(ctx, cfg)
	default:
		err = fmt.Errorf("mode %q is none of %s, %s, %s", cfg.Mode, Files, Local, ACME)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &Manager{source: made}, nil
}

// TLSConfig returns the configuration of the listener: TLS 1.2 or later, with
// Go's choice of ciphers, and HTTP/2.
func (m *Manager) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     append([]string{"h2", "http/1.1"}, m.source.protocols()...),
		GetCertificate: m.source.certificate,
	}
}

// Reload reads the files anew. Files that are no good leave the old
// certificate in use; the error names the file and the reason. The other modes
// renew by themselves: Reload does nothing.
func (m *Manager) Reload() error { return m.source.reload() }

// CAFile names the file with the root that clients must trust, for Local; ""
// otherwise.
func (m *Manager) CAFile() string { return m.source.caFile() }

// ChallengeHandler answers HTTP-01 challenges and hands everything else to
// next.
func (m *Manager) ChallengeHandler(next http.Handler) http.Handler { return m.source.challenge(next) }

// Close stops renewing and waits until that is done.
func (m *Manager) Close() error {
	m.source.close()
	return nil
}

// stateDir makes dir if it is not there, and refuses one that others may enter:
// it holds private keys (GW-18).
func stateDir(dir string) error {
	if dir == "" {
		return errors.New("a directory for keys is required")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("directory for keys: %w", err)
	}
	return private(dir, 0o077)
}

// private refuses a file or directory whose mode has any of the forbidden bits.
func private(path string, forbidden os.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("%s: others may use it (mode %04o): run chmod %04o on it", path, mode, mode&^forbidden)
	}
	return nil
}
