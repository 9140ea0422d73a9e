package signin_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	clientID     = "matron"
	clientSecret = "a secret: with / signs + that need escaping"
	machineID    = "lab-feed"
	audience     = "https://epr.example/api"
)

// provider is a real OpenID provider on a port of its own, whose answers a
// test may tamper with.
type provider struct {
	server *httptest.Server
	key    *rsa.PrivateKey

	mu       sync.Mutex
	down     bool
	base     string // where browsers reach the gateway
	user     map[string]any
	requests map[string]*authRequest
	codes    map[string]string
	ended    []string // users whose session was ended here
	// tamper changes an ID token before it is sent: its claims, and the token
	// itself once signed.
	tamper      func(claims map[string]any)
	tamperToken func(token string) string
	userInfo    map[string]any
	metadata    map[string]any
	keyRequests int
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{
		key: key, requests: map[string]*authRequest{}, codes: map[string]string{},
		user: map[string]any{
			"sub": "sub-1", "name": "Ada Nurse", "person": "p1", "roles": []string{"nurse"}, "org": "RBA", "level": 3,
		},
	}
	p.server = httptest.NewUnstartedServer(nil)
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	standard, err := op.NewProvider(&op.Config{CryptoKey: [32]byte{1}, CodeMethodS256: true, AuthMethodPost: true},
		p, op.StaticIssuer(p.issuer()))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", p.tampering(standard))
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		p.mu.Lock()
		if a := p.requests[id]; a != nil {
			a.done, a.user, a.proved = true, p.user, time.Now()
		}
		p.mu.Unlock()
		ctx := op.ContextWithIssuer(r.Context(), p.issuer())
		http.Redirect(w, r, op.AuthCallbackURL(standard)(ctx, id), http.StatusFound)
	})
	p.server.Config.Handler = mux
	return p
}

func (p *provider) issuer() string { return p.server.URL }

// set changes the provider while it runs.
func (p *provider) set(change func(*provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// tampering puts a test's changes into the provider's answers.
func (p *provider) tampering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		down, tampers := p.down, p.tamper != nil || p.tamperToken != nil
		userInfo, metadata := p.userInfo, p.metadata
		if r.URL.Path == "/keys" {
			p.keyRequests++
		}
		p.mu.Unlock()
		switch {
		case down:
			http.Error(w, "down", http.StatusBadGateway)
		case r.URL.Path == "/userinfo" && userInfo != nil:
			writeJSON(w, userInfo)
		case r.URL.Path == "/.well-known/openid-configuration" && metadata != nil:
			changeJSON(w, r, next, func(m map[string]any) { maps.Copy(m, metadata) })
		case strings.HasSuffix(r.URL.Path, "/token") && tampers:
			changeJSON(w, r, next, p.change)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func changeJSON(w http.ResponseWriter, r *http.Request, next http.Handler, change func(map[string]any)) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	var body map[string]any
	if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &body) != nil {
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		return
	}
	change(body)
	writeJSON(w, body)
}

func (p *provider) change(body map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	raw, ok := body["id_token"].(string)
	if !ok {
		return
	}
	if p.tamper != nil {
		claims := decodePart(raw)
		p.tamper(claims)
		raw = p.sign(claims, "JWT")
	}
	if p.tamperToken != nil {
		raw = p.tamperToken(raw)
	}
	body["id_token"] = raw
}

func decodePart(token string) map[string]any {
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		panic(err)
	}
	var m map[string]any
	if err := json.Unmarshal(parsed.UnsafePayloadWithoutVerification(), &m); err != nil {
		panic(err)
	}
	return m
}

// sign makes a token with the provider's key.
func (p *provider) sign(claims map[string]any, typ string) string {
	return signWith(p.key, "key-1", jose.RS256, claims, typ)
}

func signWith(key any, kid string, alg jose.SignatureAlgorithm, claims map[string]any, typ string) string {
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, options)
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// accessToken asks the provider for a token as an API client would.
func (p *provider) accessToken(t *testing.T) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.issuer()+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(machineID, url.QueryEscape(clientSecret))
	res, err := p.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var body bytes.Buffer
	_, _ = body.ReadFrom(res.Body)
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(body.Bytes(), &answer); err != nil || answer.Token == "" {
		t.Fatalf("no token: %s", body.String())
	}
	return answer.Token
}

// What follows is the storage of the provider.

type authRequest struct {
	*oidc.AuthRequest
	id     string
	done   bool
	user   map[string]any
	proved time.Time
}

func (a *authRequest) GetID() string          { return a.id }
func (a *authRequest) GetACR() string         { return "AAL3_ANY" }
func (a *authRequest) GetAMR() []string       { return []string{"smartcard"} }
func (a *authRequest) GetAudience() []string  { return []string{clientID} }
func (a *authRequest) GetAuthTime() time.Time { return a.proved }
func (a *authRequest) GetClientID() string    { return a.ClientID }
func (a *authRequest) GetSubject() string     { s, _ := a.user["sub"].(string); return s }
func (a *authRequest) Done() bool             { return a.done }
func (a *authRequest) GetNonce() string       { return a.Nonce }
func (a *authRequest) GetState() string       { return a.State }
func (a *authRequest) GetRedirectURI() string { return a.RedirectURI }
func (a *authRequest) GetScopes() []string    { return a.Scopes }

func (a *authRequest) GetResponseType() oidc.ResponseType { return a.ResponseType }
func (a *authRequest) GetResponseMode() oidc.ResponseMode { return a.ResponseMode }

func (a *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: a.CodeChallenge, Method: a.CodeChallengeMethod}
}

var errNotFound = errors.New("not found")

func (p *provider) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 || r.Nonce == "" || r.State == "" {
		return nil, errors.New("this provider insists on PKCE, nonce and state")
	}
	a := &authRequest{AuthRequest: r, id: rand.Text()}
	p.requests[a.id] = a
	return a, nil
}

func (p *provider) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, ok := p.requests[id]; ok {
		return a, nil
	}
	return nil, errNotFound
}

func (p *provider) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	p.mu.Lock()
	id := p.codes[code]
	p.mu.Unlock()
	return p.AuthRequestByID(ctx, id)
}

func (p *provider) SaveAuthCode(_ context.Context, id, code string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = id
	return nil
}

func (p *provider) DeleteAuthRequest(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.requests, id)
	return nil
}

func (p *provider) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	return rand.Text(), time.Now().Add(5 * time.Minute), nil
}

func (p *provider) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNotFound
}

func (p *provider) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNotFound
}

func (p *provider) TerminateSession(_ context.Context, user, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, user)
	return nil
}

func (p *provider) RevokeToken(context.Context, string, string, string) *oidc.Error { return nil }

func (p *provider) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

type signingKey struct{ p *provider }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (k signingKey) ID() string                                  { return "key-1" }
func (k signingKey) Use() string                                 { return "sig" }
func (k signingKey) Key() any                                    { return k.p.key }

type publicKey struct{ signingKey }

func (k publicKey) Key() any { return &k.p.key.PublicKey }

func (p *provider) SigningKey(context.Context) (op.SigningKey, error) { return signingKey{p}, nil }

func (p *provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

func (p *provider) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{publicKey{signingKey{p}}}, nil
}

func (p *provider) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != clientID && id != machineID {
		return nil, errNotFound
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return client{id: id, base: p.base}, nil
}

func (p *provider) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != clientID && id != machineID || secret != clientSecret {
		return errNotFound
	}
	return nil
}

func (p *provider) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (p *provider) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, ok := r.(*authRequest); ok {
		p.fill(info, a.user)
	}
	return nil
}

func (p *provider) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, _, _, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(info, p.user)
	return nil
}

func (p *provider) fill(info *oidc.UserInfo, user map[string]any) {
	info.Subject, _ = user["sub"].(string)
	for _, name := range slices.Sorted(maps.Keys(user)) {
		if name != "sub" {
			info.AppendClaims(name, user[name])
		}
	}
}

func (p *provider) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotFound
}

func (p *provider) GetPrivateClaimsFromScopes(_ context.Context, _, id string, _ []string) (map[string]any, error) {
	return map[string]any{"roles": []string{"machine"}, "client_id": id}, nil
}

func (p *provider) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotFound
}

func (p *provider) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotFound
}

func (p *provider) Health(context.Context) error { return nil }

func (p *provider) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := p.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return p.GetClientByClientID(ctx, id)
}

type machineRequest struct{ scopes []string }

func (m machineRequest) GetSubject() string    { return machineID }
func (m machineRequest) GetAudience() []string { return []string{audience} }
func (m machineRequest) GetScopes() []string   { return m.scopes }

func (p *provider) ClientCredentialsTokenRequest(_ context.Context, _ string, scopes []string) (op.TokenRequest, error) {
	return machineRequest{scopes}, nil
}

type client struct{ id, base string }

func (c client) GetID() string          { return c.id }
func (c client) RedirectURIs() []string { return []string{c.base + "/.matron/callback"} }

func (c client) PostLogoutRedirectURIs() []string    { return []string{c.base + "/.matron/signed-out"} }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

func (c client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeClientCredentials}
}

func (c client) LoginURL(id string) string           { return fmt.Sprintf("/login?id=%s", url.QueryEscape(id)) }
func (c client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration      { return 5 * time.Minute }
func (c client) DevMode() bool                       { return false }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { //nolint:revive // the interface names it so
	return func(s []string) []string { return s }
}

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c client) IsScopeAllowed(string) bool           { return true }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c client) ClockSkew() time.Duration             { return 0 }
