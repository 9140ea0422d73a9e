package fhirepr

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// identityHeader is where the gateway says who is asking.
const identityHeader = "Matron-Identity"

var (
	errNoIdentity = errors.New("no identity, or more than one")
	errIdentity   = errors.New("identity not signed by the gateway, or not valid now")
)

// caller is who the gateway says is asking.
type caller struct {
	Sub    string `json:"sub"`
	Name   string `json:"name"`
	Person string `json:"person"`
}

type callerKey struct{}

func withCaller(ctx context.Context, c caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerFrom(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// identify checks the gateway's token. Anything but exactly one valid token is
// refused: that is what keeps requests from getting round the gateway.
func (e *EPR) identify(r *http.Request) (caller, error) {
	values := r.Header.Values(identityHeader)
	if len(values) != 1 {
		return caller{}, errNoIdentity
	}
	token, err := jwt.ParseSigned(values[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return caller{}, fmt.Errorf("read identity: %w", err)
	}
	var std jwt.Claims
	var who caller
	for _, key := range e.cfg.Keys {
		if token.Claims(key, &std, &who) == nil {
			return who, e.checkClaims(std)
		}
	}
	return caller{}, errIdentity
}

func (e *EPR) checkClaims(c jwt.Claims) error {
	const leeway = 5 * time.Second
	now := e.cfg.Now()
	switch {
	case c.Subject == "", c.Expiry == nil, c.IssuedAt == nil:
		return errIdentity
	case now.After(c.Expiry.Time().Add(leeway)), now.Before(c.IssuedAt.Time().Add(-leeway)):
		return errIdentity
	case e.cfg.Issuer != "" && c.Issuer != e.cfg.Issuer:
		return errIdentity
	case e.cfg.Audience != "" && !slices.Contains(c.Audience, e.cfg.Audience):
		return errIdentity
	}
	return nil
}

// FromGateway lets nobody but the gateway reach another part of the record, which
// checks nothing by itself.
func (e *EPR) FromGateway(part http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := e.identify(r); err != nil {
			http.Error(w, "Only through the gateway.", http.StatusForbidden)
			return
		}
		part.ServeHTTP(w, r)
	})
}
