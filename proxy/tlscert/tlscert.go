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
	"log/slog"
	"net/http"
	"time"
)

// The modes.
const (
	Files = "files"
	Local = "local"
	ACME  = "acme"
)

// Config says where the certificate comes from.
type Config struct {
	Mode string // Files, Local or ACME
	// CertFile and KeyFile hold PEM, for Files.
	CertFile string
	KeyFile  string
	// Dir keeps what Local and ACME make, mode 0700.
	Dir string
	// Names are the host names and addresses the certificate is for.
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
	// already (RFC 8555 §7.3.4). The file holds the base64url MAC key.
	EABKeyID   string
	EABKeyFile string
	// HTTPChallenge answers HTTP-01 as well: ChallengeHandler must then be
	// served on port 80.
	HTTPChallenge bool
	// ChallengePort is where the service's TLS-ALPN-01 and HTTP-01 requests
	// arrive when that is not 443 or 80; only for tests and odd networks.
	TLSPort  int
	HTTPPort int
}

// Manager holds the certificate in use.
type Manager struct {
	cfg Config
}

// New makes a Manager whose certificate is ready to serve.
func New(_ context.Context, cfg Config) (*Manager, error) {
	return nil, errors.New(cfg.Mode)
}

// TLSConfig returns the configuration of the listener: TLS 1.2 or later, h2.
func (m *Manager) TLSConfig() *tls.Config { return nil }

// Reload reads the files anew. Files that are no good leave the old
// certificate in use; the error names the file and the reason. The other modes
// renew by themselves: Reload does nothing.
func (m *Manager) Reload() error { return nil }

// CAFile names the file with the root that clients must trust, for Local; ""
// otherwise.
func (m *Manager) CAFile() string { return "" }

// ChallengeHandler answers HTTP-01 challenges and hands everything else to
// next.
func (m *Manager) ChallengeHandler(next http.Handler) http.Handler { return next }

// Close stops renewing and waits until that is done.
func (m *Manager) Close() error { return nil }
