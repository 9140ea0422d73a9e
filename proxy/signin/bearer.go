package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// maxToken bounds what a client may have us verify.
const maxToken = 16 << 10

// identifyBearer proves an API client by its access token (RFC 9068). The
// error wraps proxy.ErrToken, or proxy.ErrIdentityUnavailable when the
// provider's keys cannot be had.
func (s *Service) identifyBearer(ctx context.Context, raw string) (policy.Subject, error) {
	p, err := s.discovery.provider(ctx)
	if err != nil {
		return policy.Subject{}, err
	}
	if len(raw) > maxToken || !slices.ContainsFunc(s.cfg.Bearer.Types, typeIs(raw)) {
		return policy.Subject{}, fmt.Errorf("%w: not an access token", proxy.ErrToken)
	}
	watched, failed := watchKeys(ctx)
	token, err := p.bearer.Verify(watched, raw)
	switch {
	case *failed != nil:
		return policy.Subject{}, fmt.Errorf("verify token: %w: %w", proxy.ErrIdentityUnavailable, *failed)
	case err != nil:
		return policy.Subject{}, fmt.Errorf("%w: %w", proxy.ErrToken, err)
	}
	facts, err := claimsOf(token.Claims)
	if err != nil {
		return policy.Subject{}, fmt.Errorf("%w: %w", proxy.ErrToken, err)
	}
	if err := s.acceptable(token, facts); err != nil {
		return policy.Subject{}, fmt.Errorf("%w: %w", proxy.ErrToken, err)
	}
	who, err := s.bearerSubject(facts)
	if err != nil {
		return policy.Subject{}, fmt.Errorf("%w: %w", proxy.ErrToken, err)
	}
	who.Token = tokenName(raw, facts)
	return who, nil
}

// typeIs returns a test whether the token's typ header is a wanted one. The
// header is signed, and checked before the signature only to refuse early.
func typeIs(raw string) func(want string) bool {
	got := header(raw)
	return func(want string) bool {
		return strings.EqualFold(strings.TrimPrefix(strings.ToLower(got), "application/"), want)
	}
}

// header returns the typ of a token, "" when it has none.
func header(raw string) string {
	head, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return ""
	}
	var h struct {
		Typ string `json:"typ"`
	}
	if json.Unmarshal(decoded, &h) != nil {
		return ""
	}
	return h.Typ
}

// acceptable checks that a verified token is an access token for this gateway,
// good now. ID tokens and logout tokens of the same provider are not.
func (s *Service) acceptable(t *oidc.IDToken, facts claims) error {
	for _, foreign := range []string{"nonce", "at_hash", "c_hash", "events"} {
		if _, there := facts[foreign]; there {
			return fmt.Errorf("%s does not belong into an access token", foreign)
		}
	}
	if !slices.ContainsFunc(t.Audience, func(aud string) bool { return slices.Contains(s.cfg.Bearer.Audiences, aud) }) {
		return errors.New("not for this audience")
	}
	latest := s.cfg.Now().Add(skew)
	begins := reader{claims: facts}
	if t.IssuedAt.After(latest) || begins.time("nbf").After(latest) || begins.err != nil {
		return errors.New("not valid yet")
	}
	return nil
}

// bearerSubject reads whom the token speaks for: a machine unless it names a
// person. A token whose sub is the client itself names nobody else.
func (s *Service) bearerSubject(facts claims) (policy.Subject, error) {
	mapped := s.cfg.Claims
	if s.cfg.Bearer.Roles != "" {
		mapped.Roles = s.cfg.Bearer.Roles
	}
	if s.cfg.Bearer.Person != "" {
		mapped.Person = s.cfg.Bearer.Person
	}
	who, err := mapped.subject(s.cfg.Issuer, facts)
	if err != nil {
		return policy.Subject{}, err
	}
	if s.machine(who, facts) {
		who.Machine, who.Person = true, ""
		return who, nil
	}
	if who.Assurance < s.cfg.MinAssurance {
		return policy.Subject{}, errAssurance
	}
	return who, nil
}

func (s *Service) machine(who policy.Subject, facts claims) bool {
	r := reader{claims: facts}
	if who.Person == "" || who.Sub == r.one("client_id") || who.Sub == r.one("azp") {
		return true
	}
	return s.cfg.Bearer.MachineClaim != "" && slices.Contains(r.all(s.cfg.Bearer.MachineClaim), s.cfg.Bearer.MachineValue)
}

// tokenName names a token in records without revealing it: its jti, or else
// the beginning of its hash.
func tokenName(raw string, facts claims) string {
	r := reader{claims: facts}
	if jti := r.one("jti"); jti != "" && len(jti) <= 64 && r.err == nil {
		return jti
	}
	return hashed(raw)[:labelLength]
}
