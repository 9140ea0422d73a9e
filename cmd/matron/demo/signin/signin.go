// Package signin is the demonstration's sign-in service: an OpenID provider
// whose users are the made-up hospital's staff.
//
// It proves nobody's identity: whoever opens its page chooses whom to be. It
// belongs on a loopback address and nowhere else, and refuses any other issuer.
// A Provider is safe for concurrent use.
package signin

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Ids of the two clients.
const (
	ClientID    = "matron"            // the gateway: code flow with PKCE
	APIClientID = "results-interface" // the machine: client credentials, JWT access token
)

// Config is what a Provider needs.
type Config struct {
	Hospital *hospital.Hospital
	Dir      string // keys and client secrets live here; must exist
	// Issuer is the provider's own address, e.g. http://localhost:8444; its host
	// must be a loopback name, and plain http is allowed for that reason alone.
	Issuer string
	// Redirects are the gateway's callback addresses, PostLogout the addresses
	// that sign-out may return to.
	Redirects  []string
	PostLogout []string
	Now        func() time.Time
	Log        *slog.Logger
}

// Provider is the running sign-in service.
type Provider struct {
	http.Handler
}

// New makes the provider; keys and secrets in Config.Dir are made the first time
// and kept, so that sessions survive a restart.
func New(Config) (*Provider, error) { return nil, errors.ErrUnsupported }

// ClientSecret is the secret of ClientID.
func (p *Provider) ClientSecret() string { return "" }

// APIClientSecret is the secret of APIClientID.
func (p *Provider) APIClientSecret() string { return "" }

// TokenURL is where APIClientID gets its access tokens.
func (p *Provider) TokenURL() string { return "" }

// Close ends the provider. It keeps no file open.
func (p *Provider) Close() error { return nil }
