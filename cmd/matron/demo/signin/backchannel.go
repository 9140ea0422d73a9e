package signin

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// notify tells the gateway through the back channel that a session has ended,
// without keeping the browser waiting.
func (s *store) notify(ctx context.Context, sub, sid string) {
	if s.cfg.BackChannel == "" || s.cfg.Client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	s.web.Add(1)
	go func() {
		defer s.web.Done()
		defer cancel()
		if err := s.sendLogout(ctx, sub, sid); err != nil {
			s.warn(ctx, err)
		}
	}()
}

func (s *store) sendLogout(ctx context.Context, sub, sid string) error {
	token, err := s.logoutToken(sub, sid)
	if err != nil {
		return err
	}
	body := strings.NewReader(url.Values{"logout_token": {token}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.BackChannel, body)
	if err != nil {
		return fmt.Errorf("make logout request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.cfg.Client.Do(req)
	if err != nil {
		return fmt.Errorf("send logout token: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // nothing was written to it
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("send logout token: %w: %s", errNotSupplied, res.Status)
	}
	return nil
}

// logoutToken is a token of OpenID Connect Back-Channel Logout 1.0.
func (s *store) logoutToken(sub, sid string) (string, error) {
	now := s.cfg.Now()
	claims := oidc.NewLogoutTokenClaims(s.cfg.Issuer, sub, oidc.Audience{ClientID}, now.Add(2*time.Minute), rand.Text(), sid, 0)
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode logout token: %w", err)
	}
	k := s.signingKey()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: &jose.JSONWebKey{Key: k.Key(), KeyID: k.ID()}},
		(&jose.SignerOptions{}).WithType("logout+jwt"),
	)
	if err != nil {
		return "", fmt.Errorf("make signer: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign logout token: %w", err)
	}
	return jws.CompactSerialize()
}
