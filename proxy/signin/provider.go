package signin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/matron-epr/matron/proxy"
)

const (
	// retryDiscovery keeps a provider that is down from being asked by every
	// request.
	retryDiscovery   = 5 * time.Second
	discoveryTimeout = 5 * time.Second
	providerTimeout  = 10 * time.Second
	// maxProviderBody bounds every answer of the provider.
	maxProviderBody = 1 << 20
)

// provider is what discovery found out. It is immutable.
type provider struct {
	oidc       *oidc.Provider
	oauth      oauth2.Config
	keys       *keySet
	verifier   *oidc.IDTokenVerifier // of ID tokens and logout tokens
	bearer     *oidc.IDTokenVerifier // of access tokens: audience is checked apart
	endSession string
	sendsIss   bool // RFC 9207: the answer to an authorization request names the issuer
}

// discovery finds the provider when it is first needed and tries again until
// it answers.
type discovery struct {
	cfg    Config
	client *http.Client

	found atomic.Pointer[provider]

	mu      sync.Mutex // guards what follows and lets one request ask at a time
	tried   time.Time
	lastErr error
}

func newDiscovery(cfg Config) *discovery {
	return &discovery{cfg: cfg, client: providerClient(cfg.HTTPClient)}
}

// provider returns what discovery found. Its error wraps
// proxy.ErrIdentityUnavailable.
func (d *discovery) provider(ctx context.Context) (*provider, error) {
	if p := d.found.Load(); p != nil {
		return p, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.found.Load(); p != nil {
		return p, nil
	}
	now := d.cfg.Now()
	if d.lastErr != nil && now.Sub(d.tried) < retryDiscovery {
		return nil, d.lastErr
	}
	d.tried = now
	p, err := d.discover(ctx)
	if err != nil {
		d.lastErr = fmt.Errorf("discover %s: %w: %w", d.cfg.Issuer, proxy.ErrIdentityUnavailable, err)
		d.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "identity provider not reachable", slog.Any("error", d.lastErr))
		return nil, d.lastErr
	}
	d.found.Store(p)
	return p, nil
}

// discover asks once. It outlives the request that happened to need it.
func (d *discovery) discover(ctx context.Context) (*provider, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), discoveryTimeout)
	defer cancel()
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, d.client), d.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var m metadata
	if err := found.Claims(&m); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return d.assemble(found, m), nil
}

// metadata is what the discovery document says besides what go-oidc reads.
type metadata struct {
	Auth        string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	Keys        string   `json:"jwks_uri"`
	UserInfo    string   `json:"userinfo_endpoint"`
	EndSession  string   `json:"end_session_endpoint"`
	Algorithms  []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	SendsIss    bool     `json:"authorization_response_iss_parameter_supported"`
}

// check refuses endpoints that would carry a code or token in clear.
func (m metadata) check() error {
	for _, must := range []string{m.Auth, m.Token, m.Keys} {
		if !secureURL(must) {
			return fmt.Errorf("endpoint %q is not https", must)
		}
	}
	for _, may := range []string{m.UserInfo, m.EndSession} {
		if may != "" && !secureURL(may) {
			return fmt.Errorf("endpoint %q is not https", may)
		}
	}
	return nil
}

func (d *discovery) assemble(found *oidc.Provider, m metadata) *provider {
	algorithms := asymmetric(m.Algorithms)
	keys := newKeySet(m.Keys, algorithms, d.client, d.cfg.Now)
	endpoint := found.Endpoint()
	endpoint.AuthStyle = authStyle(m.AuthMethods, d.cfg.ClientSecret)
	p := &provider{
		oidc: found,
		keys: keys,
		oauth: oauth2.Config{
			ClientID:     d.cfg.ClientID,
			ClientSecret: d.cfg.ClientSecret,
			Endpoint:     endpoint,
			RedirectURL:  d.cfg.ExternalURL + "/.matron/callback",
			Scopes:       scopes(d.cfg.Scopes),
		},
		endSession: m.EndSession,
		sendsIss:   m.SendsIss,
	}
	p.verifier = oidc.NewVerifier(d.cfg.Issuer, keys, &oidc.Config{
		ClientID: d.cfg.ClientID, SupportedSigningAlgs: algorithms, Now: d.cfg.Now,
	})
	p.bearer = oidc.NewVerifier(d.cfg.Issuer, keys, &oidc.Config{
		SkipClientIDCheck: true, SupportedSigningAlgs: algorithms, Now: d.cfg.Now,
	})
	return p
}

// asymmetric keeps the algorithms whose keys the provider alone holds: never
// "none", never one that shares the client secret.
func asymmetric(offered []string) []string {
	safe := []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512,
		oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
	}
	kept := slices.DeleteFunc(slices.Clone(offered), func(a string) bool { return !slices.Contains(safe, a) })
	if len(kept) == 0 {
		return []string{oidc.RS256}
	}
	return kept
}

// authStyle says how the client proves itself. It is never found out by trying:
// a second try would present the same code twice.
func authStyle(methods []string, secret string) oauth2.AuthStyle {
	if secret == "" {
		return oauth2.AuthStyleInParams
	}
	if slices.Contains(methods, "client_secret_post") && !slices.Contains(methods, "client_secret_basic") {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func scopes(more []string) []string {
	if slices.Contains(more, oidc.ScopeOpenID) {
		return more
	}
	return append([]string{oidc.ScopeOpenID}, more...)
}

// context gives go-oidc and oauth2 the client that reaches the provider.
func (d *discovery) context(ctx context.Context) context.Context {
	return oidc.ClientContext(ctx, d.client)
}

// providerClient bounds what the provider may answer and follows no redirect:
// a code or secret goes to the address that discovery named or nowhere.
func providerClient(given *http.Client) *http.Client {
	client := &http.Client{Timeout: providerTimeout}
	if given != nil {
		*client = *given
		if client.Timeout == 0 {
			client.Timeout = providerTimeout
		}
	}
	if client.Transport == nil {
		client.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: discoveryTimeout,
			IdleConnTimeout:     time.Minute,
		}
	}
	client.Transport = boundedTransport{client.Transport}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client
}

// boundedTransport cuts answers off at maxProviderBody.
type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = boundedBody{http.MaxBytesReader(nil, res.Body, maxProviderBody), res.Body}
	return res, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}

// unavailable reports whether err of a call to the provider means that it does
// not answer, as opposed to answering no.
func unavailable(err error) bool {
	if answer, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return answer.Response != nil && answer.Response.StatusCode >= http.StatusInternalServerError
	}
	return true
}
