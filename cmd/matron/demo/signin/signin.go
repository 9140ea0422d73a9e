// Package signin is the demonstration's sign-in service: an OpenID provider
// whose users are the made-up hospital's staff.
//
// It proves nobody's identity: whoever opens its page chooses whom to be. It
// belongs on a loopback address and refuses any other issuer. A Provider is safe
// for concurrent use.
package signin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

// Ids of the two clients, and the audience of the machine's access tokens, which
// is not a client id so that no access token passes for an ID token.
const (
	ClientID    = "matron"            // the gateway: code flow with PKCE
	APIClientID = "results-interface" // the machine: client credentials, JWT access token
	APIAudience = "matron-api"
)

// ErrIssuer says that the issuer would leave this machine.
var ErrIssuer = errors.New("the demonstration sign-in service runs on a loopback address only")

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
	// BackChannel is the gateway's back-channel logout address, told when somebody
	// signs out here; "" tells nobody. Client reaches it.
	BackChannel string
	Client      *http.Client
	Now         func() time.Time
	Log         *slog.Logger
}

// Provider is the running sign-in service.
type Provider struct {
	http.Handler
	issuer string
	keys   secrets
	store  *store
}

// New makes the provider; keys and secrets in Config.Dir are made the first time
// and kept, so that sessions survive a restart.
func New(cfg Config) (*Provider, error) {
	if err := checkIssuer(cfg.Issuer); err != nil {
		return nil, err
	}
	keys, err := openSecrets(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := newStore(cfg, keys)
	provider, err := op.NewProvider(&op.Config{
		CryptoKey: keys.cryptoKey, CryptoKeyId: "demo",
		DefaultLogoutRedirectURI: "/signed-out",
		CodeMethodS256:           true, AuthMethodPost: true,
		SupportedClaims:            claimNames(),
		SupportedScopes:            []string{"openid", "profile"},
		BackChannelLogoutSupported: cfg.BackChannel != "", BackChannelLogoutSessionSupported: cfg.BackChannel != "",
	}, s, op.StaticIssuer(cfg.Issuer), op.WithAllowInsecure(), op.WithCORSOptions(nil))
	if err != nil {
		return nil, fmt.Errorf("make OpenID provider: %w", err)
	}
	pages := &pages{hospital: cfg.Hospital, store: s, callback: op.AuthCallbackURL(provider), formAction: formAction(cfg.Redirects), log: cfg.Log}
	inContext := op.NewIssuerInterceptor(provider.IssuerFromRequest)
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET /{$}", pages.home)
	mux.HandleFunc("GET /sign-in", pages.form)
	mux.Handle("POST /sign-in", inContext.HandlerFunc(pages.submit))
	mux.HandleFunc("GET /signed-out", pages.signedOut)
	mux.HandleFunc("GET /style.css", pages.style)
	mux.HandleFunc("GET /icon.svg", pages.icon)
	return &Provider{Handler: guard(mux), issuer: cfg.Issuer, keys: keys, store: s}, nil
}

// guard bounds every request and refuses forms sent from other sites.
func guard(next http.Handler) http.Handler {
	sameSite := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		sameSite.ServeHTTP(w, r)
	})
}

// checkIssuer refuses an issuer that other machines could reach: this service
// lets anybody be anybody.
func checkIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	host := u.Hostname()
	if host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("issuer %q: %w", issuer, ErrIssuer)
	}
	return nil
}

// formAction lists where the sign-in form may end up: browsers hold the
// redirects that follow a form to the policy of its page.
func formAction(redirects []string) string {
	out := []string{"'self'"}
	for _, raw := range redirects {
		if u, err := url.Parse(raw); err == nil && u.Host != "" {
			out = append(out, u.Scheme+"://"+u.Host)
		}
	}
	return strings.Join(out, " ")
}

// ClientSecret is the secret of ClientID.
func (p *Provider) ClientSecret() string { return p.keys.ClientSecret }

// APIClientSecret is the secret of APIClientID.
func (p *Provider) APIClientSecret() string { return p.keys.APIClientSecret }

// TokenURL is where APIClientID gets its access tokens.
func (p *Provider) TokenURL() string { return p.issuer + "/oauth/token" }

// Close waits for back-channel notices under way, which are bounded in time.
func (p *Provider) Close() error { p.store.web.Wait(); return nil }
