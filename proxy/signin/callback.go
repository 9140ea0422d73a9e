package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// skew is how far the provider's clock may be ahead of ours (GW-14).
const skew = time.Minute

// identity is what one sign-in proved.
type identity struct {
	subject policy.Subject
	sid     string // the provider's session id
	idToken string // kept for the sign-out at the provider
	email   string // where messages to the person go, "" where that is not known
}

// callback serves GET /.matron/callback, where the provider sends browsers
// back to.
func (s *Service) callback(w http.ResponseWriter, r *http.Request) {
	a, err := s.consume(r)
	if err != nil {
		s.refuse(w, r, err, identity{})
		return
	}
	dropCookie(w, a.cookie())
	who, err := s.prove(r, a)
	if err != nil {
		s.refuse(w, r, err, who)
		return
	}
	id, err := s.begin(r, who, a.demand)
	if err != nil {
		s.refuse(w, r, err, who)
		return
	}
	setCookie(w, sessionCookie, id, 0)
	noStore(w.Header())
	w.Header().Set("Location", a.returnTo)
	w.WriteHeader(http.StatusSeeOther)
}

// prove turns the answer of the provider into an identity. On error: nobody is
// signed in; what is known of the person is returned for the record.
func (s *Service) prove(r *http.Request, a attempt) (identity, error) {
	p, err := s.discovery.provider(r.Context())
	if err != nil {
		return identity{}, err
	}
	code, err := p.answer(r, s.cfg.Issuer)
	if err != nil {
		return identity{}, err
	}
	ctx := s.discovery.context(r.Context())
	tokens, err := p.redeem(ctx, code, a)
	if err != nil {
		return identity{}, err
	}
	raw, verified, err := p.idToken(ctx, tokens, a, s.cfg.Now())
	if err != nil {
		return identity{}, err
	}
	facts, err := s.facts(ctx, p, verified, tokens)
	if err != nil {
		return identity{}, err
	}
	s.noteAuthTime(r.Context(), facts)
	who, err := s.identity(raw, facts)
	if err == nil && a.demand == justNow && who.subject.AuthTime.Before(a.made.Add(-skew)) {
		// max_age=0 asks the provider; only auth_time tells that it complied.
		err = fmt.Errorf("%w: it was to be proved again", errAuthTime)
	}
	return who, err
}

// answer reads the code, or the provider's refusal, from the callback.
func (p *provider) answer(r *http.Request, issuer string) (string, error) {
	q := r.URL.Query()
	if iss, given := q["iss"]; given || p.sendsIss {
		if len(iss) != 1 || iss[0] != issuer {
			return "", errIssuer
		}
	}
	if q.Has("error") || len(q["code"]) != 1 || q.Get("code") == "" {
		return "", errRefused
	}
	return q.Get("code"), nil
}

// redeem trades the code for tokens. One attempt: a code is good for one use.
func (p *provider) redeem(ctx context.Context, code string, a attempt) (*oauth2.Token, error) {
	tokens, err := p.oauth.Exchange(ctx, code, oauth2.VerifierOption(a.verifier()))
	switch {
	case err == nil:
		return tokens, nil
	case unavailable(err):
		return nil, fmt.Errorf("redeem code: %w: %w", proxy.ErrIdentityUnavailable, err)
	}
	return nil, fmt.Errorf("%w: %w", errCode, err)
}

// idToken verifies signature, issuer, audience, expiry, nonce and, where the
// provider sends it, the hash of the access token.
func (p *provider) idToken(ctx context.Context, tokens *oauth2.Token, a attempt, now time.Time) (string, *oidc.IDToken, error) {
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return "", nil, fmt.Errorf("%w: there is none", errIDToken)
	}
	watched, failed := watchKeys(ctx)
	verified, err := p.verifier.Verify(watched, raw)
	if err != nil {
		return "", nil, idTokenError(err, *failed)
	}
	if subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(a.nonce())) != 1 {
		return "", nil, errNonce
	}
	if err := issuedFor(verified, p.oauth.ClientID, now); err != nil {
		return "", nil, err
	}
	if verified.AccessTokenHash != "" {
		if err := verified.VerifyAccessToken(tokens.AccessToken); err != nil {
			return "", nil, fmt.Errorf("%w: %w", errIDToken, err)
		}
	}
	return raw, verified, nil
}

// idTokenError says why an ID token was not accepted. Unknown reasons refuse.
func idTokenError(err, keysFailed error) error {
	if keysFailed != nil {
		return fmt.Errorf("verify id token: %w: %w", proxy.ErrIdentityUnavailable, keysFailed)
	}
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return fmt.Errorf("%w: %w", errIDExpired, expired)
	}
	return fmt.Errorf("%w: %w", errIDToken, err)
}

// issuedFor checks what go-oidc leaves to its caller: that the token is not
// from the future, and that among several audiences the client is the one it
// was issued to (OpenID Connect Core §3.1.3.7).
func issuedFor(t *oidc.IDToken, clientID string, now time.Time) error {
	if t.IssuedAt.IsZero() || t.IssuedAt.After(now.Add(skew)) {
		return fmt.Errorf("%w: issued in the future", errIDToken)
	}
	var party struct {
		AZP string `json:"azp"`
	}
	if err := t.Claims(&party); err != nil {
		return fmt.Errorf("%w: azp: %w", errIDToken, err)
	}
	if party.AZP != "" && party.AZP != clientID || party.AZP == "" && len(t.Audience) > 1 {
		return fmt.Errorf("%w: issued to another party", errIDToken)
	}
	return nil
}

// facts are the claims of the ID token, with those of userinfo below them when
// that is asked for. Another sub there is another person: refused (GW-07).
func (s *Service) facts(ctx context.Context, p *provider, t *oidc.IDToken, tokens *oauth2.Token) (claims, error) {
	signed, err := claimsOf(t.Claims)
	if err != nil || !s.cfg.UserInfo {
		return signed, err
	}
	info, err := p.oidc.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUserInfo, err)
	}
	if info.Subject != t.Subject {
		return nil, fmt.Errorf("%w: it speaks of another person", errUserInfo)
	}
	more, err := claimsOf(info.Claims)
	if err != nil {
		return nil, err
	}
	return signed.over(more), nil
}

// identity reads the claims and holds them against what the hospital demands.
func (s *Service) identity(raw string, facts claims) (identity, error) {
	subject, err := s.cfg.Claims.subject(s.cfg.Issuer, facts)
	if err != nil {
		return identity{}, err
	}
	sid := reader{claims: facts}
	who := identity{subject: subject, sid: sid.one("sid"), idToken: raw, email: emailOf(facts)}
	switch {
	case sid.err != nil:
		return who, sid.err
	case subject.Person == "":
		return who, fmt.Errorf("%w: %s is missing", errClaims, s.cfg.Claims.Person)
	case subject.Assurance < s.cfg.MinAssurance:
		return who, errAssurance
	}
	return who, s.fresh(subject.AuthTime)
}

// emailOf is the person's address, "" where the provider does not say or says that
// nobody has checked it.
func emailOf(facts claims) string {
	if checked, given := facts["email_verified"].(bool); given && !checked {
		return ""
	}
	text, _ := facts["email"].(string)
	if parsed, err := mail.ParseAddress(text); err == nil && parsed.Name == "" {
		return parsed.Address
	}
	return ""
}

// fresh refuses an identity proved in the future, or too long ago where that
// is limited. A provider that does not say when counts as too long ago.
func (s *Service) fresh(proved time.Time) error {
	now := s.cfg.Now()
	if proved.After(now.Add(skew)) {
		return fmt.Errorf("%w: auth_time is in the future", errAuthTime)
	}
	if s.cfg.MaxAuthAge > 0 && now.Sub(proved) > s.cfg.MaxAuthAge {
		return errAuthTime
	}
	return nil
}
