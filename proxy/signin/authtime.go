package signin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
)

// A provider that never says when people signed in (auth_time) keeps everything shut
// that asks for a fresh sign-in: signing in again cannot be proved.

// What the ID tokens of the provider have said of it so far.
const (
	authTimeUnseen  int32 = iota
	authTimeMissing       // none has said it
	authTimeSent          // one has, so that the provider can
)

// noteAuthTime looks whether an ID token says when its person signed in.
func (s *Service) noteAuthTime(ctx context.Context, facts claims) {
	if _, given := facts["auth_time"]; given {
		s.authTime.Store(authTimeSent)
		return
	}
	if s.authTime.CompareAndSwap(authTimeUnseen, authTimeMissing) {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn,
			"the sign-in service sends no auth_time: sign-in again for protected records cannot be proved", slog.String("provider", s.cfg.Issuer))
	}
}

// SaysWhen reports whether ID tokens say when people signed in, as far as any were
// seen since the start.
func (s *Service) SaysWhen() bool { return s.authTime.Load() != authTimeMissing }

// OffersAuthTime asks a provider's discovery document whether its tokens say when
// people signed in. A document that lists no claims promises and denies nothing.
func OffersAuthTime(ctx context.Context, client *http.Client, issuer string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, providerClient(client)), issuer)
	if err != nil {
		return false, fmt.Errorf("discover %s: %w", issuer, err)
	}
	var m struct {
		Claims []string `json:"claims_supported"`
	}
	if err := found.Claims(&m); err != nil {
		return false, fmt.Errorf("discover %s: %w", issuer, err)
	}
	return len(m.Claims) == 0 || slices.Contains(m.Claims, "auth_time"), nil
}
