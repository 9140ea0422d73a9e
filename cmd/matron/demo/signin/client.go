package signin

import (
	"context"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// GetClientByClientID finds one of the two clients.
func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	switch id {
	case ClientID:
		return client{
			id: id, redirects: s.cfg.Redirects, logouts: s.cfg.PostLogout, token: op.AccessTokenTypeBearer,
			grants: []oidc.GrantType{oidc.GrantTypeCode},
		}, nil
	case APIClientID:
		return client{id: id, token: op.AccessTokenTypeJWT, grants: []oidc.GrantType{oidc.GrantTypeClientCredentials}}, nil
	}
	return nil, errNoClient
}

// client is op.Client.
type client struct {
	id        string
	redirects []string
	logouts   []string
	grants    []oidc.GrantType
	token     op.AccessTokenType
}

func (c client) GetID() string                       { return c.id }
func (c client) RedirectURIs() []string              { return c.redirects }
func (c client) PostLogoutRedirectURIs() []string    { return c.logouts }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c client) GrantTypes() []oidc.GrantType        { return c.grants }
func (c client) AccessTokenType() op.AccessTokenType { return c.token }
func (c client) IDTokenLifetime() time.Duration      { return time.Hour }
func (c client) DevMode() bool                       { return false }
func (c client) IsScopeAllowed(string) bool          { return false }
func (c client) ClockSkew() time.Duration            { return 0 }

// IDTokenUserinfoClaimsAssertion puts the name into the ID token too.
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }

func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}

// LoginURL is the page where somebody chooses whom to be.
func (c client) LoginURL(id string) string { return "/sign-in?id=" + url.QueryEscape(id) }

// RestrictAdditionalIdTokenScopes is spelled as the library spells it.
//
//nolint:revive // the name is the library's
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}
