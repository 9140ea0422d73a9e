package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/matron-epr/matron/cmd/matron/demo/hospital"
)

const (
	attemptLifetime = 10 * time.Minute
	tokenLifetime   = 10 * time.Minute
	maxAttempts     = 10_000
)

var (
	errNoAttempt   = errors.New("this sign-in has expired or does not exist")
	errNoClient    = errors.New("no such client")
	errNoPerson    = errors.New("no such person")
	errTokenEnded  = errors.New("token has ended")
	errNotSupplied = errors.New("not supported by the demonstration sign-in service")
)

// store is op.Storage. Attempts live in memory and end with the process; tokens
// carry their own expiry, so that nothing else need be kept.
type store struct {
	cfg  Config
	keys secrets
	web  sync.WaitGroup // back-channel notices under way

	mu       sync.Mutex // guards what follows
	attempts map[string]*attempt
	codes    map[string]string // code → attempt id
	revoked  map[string]bool   // token ids
}

var (
	_ op.Storage                        = (*store)(nil)
	_ op.ClientCredentialsStorage       = (*store)(nil)
	_ op.CanSetUserinfoFromRequest      = (*store)(nil)
	_ op.CanTerminateSessionFromRequest = (*store)(nil)
)

func newStore(cfg Config, keys secrets) *store {
	return &store{cfg: cfg, keys: keys, attempts: map[string]*attempt{}, codes: map[string]string{}, revoked: map[string]bool{}}
}

// CreateAuthRequest begins a sign-in. Nobody is ever signed in silently.
func (s *store) CreateAuthRequest(_ context.Context, req *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if slices.Contains(req.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired()
	}
	a := newAttempt(req, s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if len(s.attempts) >= maxAttempts {
		return nil, oidc.ErrServerError().WithDescription("too many sign-ins under way")
	}
	s.attempts[a.id] = a
	return *a, nil
}

// sweep forgets attempts that nobody finished. s.mu is held.
func (s *store) sweep() {
	limit := s.cfg.Now().Add(-attemptLifetime)
	for id, a := range s.attempts {
		if a.created.Before(limit) {
			delete(s.attempts, id)
			delete(s.codes, a.code)
		}
	}
}

// AuthRequestByID finds an attempt that has not expired.
func (s *store) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	a, ok := s.attempts[id]
	if !ok {
		return nil, errNoAttempt
	}
	return *a, nil
}

// choose finishes the attempt as person.
func (s *store) choose(id, person string) error {
	p, ok := s.cfg.Hospital.Person(person)
	if !ok || p.Machine() {
		return errNoPerson
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	a, ok := s.attempts[id]
	if !ok || a.person != "" {
		return errNoAttempt
	}
	a.person, a.authTime = p.Person, s.cfg.Now()
	return nil
}

// SaveAuthCode ties a code to its attempt.
func (s *store) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.attempts[id]
	if !ok {
		return errNoAttempt
	}
	delete(s.codes, a.code)
	a.code = code
	s.codes[code] = id
	return nil
}

// AuthRequestByCode redeems a code: it works once, whatever becomes of the
// exchange after that.
func (s *store) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	a, ok := s.attempts[s.codes[code]]
	if !ok {
		return nil, errNoAttempt
	}
	delete(s.codes, code)
	delete(s.attempts, a.id)
	return *a, nil
}

// DeleteAuthRequest forgets an attempt.
func (s *store) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.attempts, id)
	return nil
}

// CreateAccessToken makes a token id that carries its own expiry.
func (s *store) CreateAccessToken(context.Context, op.TokenRequest) (string, time.Time, error) {
	expires := s.cfg.Now().Add(tokenLifetime)
	return strconv.FormatInt(expires.Unix(), 10) + "." + rand.Text(), expires, nil
}

// CreateAccessAndRefreshTokens refuses: there are no refresh tokens here.
func (s *store) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNotSupplied
}

// TokenRequestByRefreshToken refuses: there are no refresh tokens here.
func (s *store) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, op.ErrInvalidRefreshToken
}

// GetRefreshTokenInfo knows no refresh token.
func (s *store) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// RevokeToken ends an access token before its time, until the next restart.
func (s *store) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old := range s.revoked {
		if s.tokenTime(old).Before(s.cfg.Now()) {
			delete(s.revoked, old)
		}
	}
	s.revoked[id] = true
	return nil
}

func (s *store) tokenTime(id string) time.Time {
	sec, _, _ := strings.Cut(id, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return time.Time{} // a token without a readable expiry has ended
	}
	return time.Unix(n, 0)
}

// SetUserinfoFromToken answers the userinfo endpoint.
func (s *store) SetUserinfoFromToken(_ context.Context, u *oidc.UserInfo, id, sub, _ string) error {
	s.mu.Lock()
	ended := s.revoked[id] || s.tokenTime(id).Before(s.cfg.Now())
	s.mu.Unlock()
	if ended {
		return errTokenEnded
	}
	p, ok := s.person(sub)
	if !ok {
		return errNoPerson
	}
	setUserInfo(u, p, assuranceUsual)
	return nil
}

func (s *store) person(sub string) (hospital.Staff, bool) {
	id, ok := strings.CutPrefix(sub, subject(""))
	if !ok {
		return hospital.Staff{}, false
	}
	return s.cfg.Hospital.Person(id)
}

// SetUserinfoFromScopes does nothing: SetUserinfoFromRequest does it.
func (s *store) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest puts the claims into the ID token.
func (s *store) SetUserinfoFromRequest(_ context.Context, u *oidc.UserInfo, req op.IDTokenRequest, _ []string) error {
	a, ok := req.(attempt)
	if !ok {
		return errNotSupplied
	}
	p, ok := s.cfg.Hospital.Person(a.person)
	if !ok {
		return errNoPerson
	}
	setUserInfo(u, p, a.assurance())
	u.AppendClaims("sid", a.sid)
	return nil
}

// SetIntrospectionFromToken refuses: tokens are opaque to everybody else, or
// JWTs that need no introspection.
func (s *store) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotSupplied
}

// GetPrivateClaimsFromScopes puts the machine's claims into its access token.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, _, client string, _ []string) (map[string]any, error) {
	if client != APIClientID {
		return nil, errNoClient
	}
	p, ok := s.machine()
	if !ok {
		return nil, errNoPerson
	}
	claims := describe(p, assuranceUsual)
	claims["name"] = p.Name.Full()
	return claims, nil
}

func (s *store) machine() (hospital.Staff, bool) {
	i := slices.IndexFunc(s.cfg.Hospital.Staff, hospital.Staff.Machine)
	if i < 0 {
		return hospital.Staff{}, false
	}
	return s.cfg.Hospital.Staff[i], true
}

// GetKeyByIDAndClientID knows no client keys.
func (s *store) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotSupplied
}

// ValidateJWTProfileScopes refuses the JWT profile grant.
func (s *store) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotSupplied
}

// Health always succeeds: there is nothing outside this process.
func (s *store) Health(context.Context) error { return nil }

// AuthorizeClientIDSecret checks a client's secret.
func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	want, ok := map[string]string{ClientID: s.keys.ClientSecret, APIClientID: s.keys.APIClientSecret}[id]
	if !ok || subtle.ConstantTimeCompare([]byte(want), []byte(secret)) != 1 {
		return errNoClient
	}
	return nil
}

// ClientCredentials finds the client of a client credentials grant.
func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	if err := s.AuthorizeClientIDSecret(ctx, id, secret); err != nil {
		return nil, err
	}
	return s.GetClientByClientID(ctx, id)
}

// ClientCredentialsTokenRequest describes the machine's token.
func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return machineRequest{id: id, scopes: scopes}, nil
}

// machineRequest is op.TokenRequest: a machine is its own subject.
type machineRequest struct {
	id     string
	scopes []string
}

func (m machineRequest) GetSubject() string    { return m.id }
func (m machineRequest) GetAudience() []string { return []string{APIAudience} }
func (m machineRequest) GetScopes() []string   { return m.scopes }

// SigningKey is the provider's key.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) { return s.signingKey(), nil }

func (s *store) signingKey() key { return key{k: s.keys.signing} }

// KeySet is what the keys endpoint publishes.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	return []op.Key{key{k: s.keys.signing, public: true}}, nil
}

// SignatureAlgorithms is what discovery announces.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// TerminateSession is called where TerminateSessionFromRequest is not.
func (s *store) TerminateSession(context.Context, string, string) error { return nil }

// TerminateSessionFromRequest ends a session: the gateway is told through the
// back channel, and the browser goes where the request asked.
func (s *store) TerminateSessionFromRequest(ctx context.Context, req *op.EndSessionRequest) (string, error) {
	if req.IDTokenHintClaims != nil {
		sid, _ := req.IDTokenHintClaims.Claims["sid"].(string)
		if req.IDTokenHintClaims.SessionID != "" {
			sid = req.IDTokenHintClaims.SessionID
		}
		s.notify(ctx, req.UserID, sid)
	}
	return req.RedirectURI, nil
}

func (s *store) warn(ctx context.Context, err error) {
	s.cfg.Log.WarnContext(ctx, "back-channel logout not delivered", slog.String("error", err.Error()))
}
