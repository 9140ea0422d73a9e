package signin

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
)

// Config is what a Service is made of. Issuer, ClientID, ExternalURL, DB, Log,
// Logger and Now are required.
type Config struct {
	// Issuer is the provider's issuer, compared byte for byte with every token:
	// a port such as ":443" is part of it.
	Issuer       string
	ClientID     string
	ClientSecret string
	// ExternalURL is the gateway as browsers see it, e.g. https://epr.example.
	ExternalURL string
	// Scopes are asked for besides openid.
	Scopes []string
	// Parameters are added to the authorization request, e.g. acr_values.
	Parameters map[string]string
	// UserInfo fetches claims from the userinfo endpoint at sign-in. Its sub
	// must be that of the ID token.
	UserInfo bool
	// HTTPClient reaches the provider: its Transport carries the trusted roots.
	// nil takes a client with the system's roots.
	HTTPClient *http.Client
	// DB holds sessions and pending attempts; Migrations made its tables.
	DB     *sql.DB
	Log    audit.Log
	Logger *slog.Logger
	Now    func() time.Time
	// Idle and Absolute end a session. Zero means 15 minutes and 12 hours.
	Idle     time.Duration
	Absolute time.Duration
	// SingleSession ends a person's other sessions when they sign in.
	SingleSession bool
	// Ended is told of each session that ends, as Subject.Session names it, by the
	// time that it is worth nothing any more; of one that reaches a limit within
	// seconds. It must return quickly. nil tells nobody.
	Ended func(session string)
	// Renewed is told of a session that the same person's next one takes the place of,
	// before Ended is told of the old one. nil tells nobody.
	Renewed func(ctx context.Context, old, fresh string)
	// StepUp is asked of the provider where the rules demand more of somebody who is
	// signed in.
	StepUp StepUp
	// MinAssurance refuses sign-ins below this authentication assurance level.
	MinAssurance int
	// MaxAuthAge refuses sign-ins whose auth_time is older; zero does not look.
	MaxAuthAge time.Duration
	Claims     ClaimMap
	Bearer     BearerConfig
	Logout     LogoutConfig
	// Service and Organisation stand at the head of pages; default "Matron" and
	// nothing.
	Service, Organisation string
	// Site is the ODS code put into records; "" leaves it to the Log.
	Site string
	// ClientIP names the client of a request; nil takes r.RemoteAddr.
	ClientIP func(r *http.Request) string
}

// StepUp is a stronger or later proof of identity (RFC 9470).
type StepUp struct {
	ACR    []string      // values of acr, any of which will do; none leaves it to the provider
	MaxAge time.Duration // how long ago the identity may have been proved; 0 means just now
}

// BearerConfig says which access tokens API clients may present. Without
// Audiences no bearer token is looked at.
type BearerConfig struct {
	// Audiences are accepted in the token's aud claim.
	Audiences []string
	// Types are accepted in the token's typ header, compared without case.
	// Empty means at+jwt alone (RFC 9068). Add "JWT" for providers that do not
	// type their access tokens.
	Types []string
	// Roles is the path of the role claim; "" means Claims.Roles.
	Roles string
	// Person is the path of the claim that names a person; "" means
	// Claims.Person. A token without it belongs to a machine.
	Person string
	// MachineClaim and MachineValue mark the token of a machine besides, e.g.
	// "gty" and "client-credentials". A token without a person is a machine's
	// anyway, and so is one whose sub is its client_id.
	MachineClaim string
	MachineValue string
}

// LogoutConfig relaxes the checks of back-channel logout tokens for providers
// that follow an early draft.
type LogoutConfig struct {
	// AcceptJWTType accepts a typ header of "JWT" or none, not only logout+jwt.
	AcceptJWTType bool
	// AcceptWithoutExpiry accepts a token without exp whose iat is at most two
	// minutes old.
	AcceptWithoutExpiry bool
}

const (
	defaultIdle     = 15 * time.Minute
	defaultAbsolute = 12 * time.Hour
)

// errConfig collects what is wrong with a Config.
var errConfig = errors.New("sign-in configuration")

// validate reports every mistake of the configuration at once.
func (c Config) validate() error {
	var problems []error
	add := func(ok bool, problem string) {
		if !ok {
			problems = append(problems, errors.New(problem))
		}
	}
	add(secureURL(c.Issuer), "issuer must be an https address (http only on this machine)")
	add(secureURL(c.ExternalURL), "external address must be an https address (http only on this machine)")
	add(rootURL(c.ExternalURL), "external address must not have a path or query")
	add(!slices.ContainsFunc(Reserved(), func(name string) bool { _, set := c.Parameters[name]; return set }),
		"parameters must not replace those of the protocol: "+strings.Join(Reserved(), ", "))
	add(c.ClientID != "", "client id is missing")
	add(c.DB != nil && c.Log != nil && c.Logger != nil && c.Now != nil, "database, log, logger and clock are required")
	add(c.Idle >= 0 && c.Absolute >= 0, "session limits must not be negative")
	add(!slices.Contains(c.Bearer.Audiences, ""), "an accepted audience is empty")
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errConfig, errors.Join(problems...))
}

// secureURL reports whether raw is an absolute https address, or an http one
// that does not leave this machine.
func secureURL(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	switch u.Scheme {
	case "https":
		return true
	case "http":
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() == "localhost" || ip.IsLoopback()
	}
	return false
}

// rootURL reports whether raw is an address without path and query, as the
// cookies need: they belong to the whole host.
func rootURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == ""
}

// Reserved are the parameters that protect a sign-in: Config.Parameters may hold none
// of them.
func Reserved() []string {
	return []string{
		"client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri",
		"response_mode", "response_type", "scope", "state",
	}
}

// withDefaults fills what may be left out.
func (c Config) withDefaults() Config {
	c.ExternalURL = strings.TrimSuffix(c.ExternalURL, "/")
	if c.Idle == 0 {
		c.Idle = defaultIdle
	}
	if c.Absolute == 0 {
		c.Absolute = defaultAbsolute
	}
	if c.Ended == nil {
		c.Ended = func(string) {}
	}
	if c.Renewed == nil {
		c.Renewed = func(context.Context, string, string) {}
	}
	if c.ClientIP == nil {
		c.ClientIP = remoteHost
	}
	if len(c.Bearer.Types) == 0 {
		c.Bearer.Types = []string{"at+jwt"}
	}
	c.Claims = c.Claims.withDefaults()
	return c
}

func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
