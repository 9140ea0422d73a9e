package signin

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/matron-epr/matron/proxy"
)

const (
	// logoutAge is how old a logout token may be, and draftLogoutAge one that
	// does not say until when it is good.
	logoutAge      = 5 * time.Minute
	draftLogoutAge = 2 * time.Minute
	maxLogoutBody  = 64 << 10
	logoutEvent    = "http://schemas.openid.net/event/backchannel-logout"
)

// The reasons a logout token is refused for.
var (
	errLogoutToken  = errors.New("logout token refused")
	errLogoutReplay = errors.New("logout token used before")
)

// logout is what a verified logout token asks for.
type logout struct {
	jti, sub, sid string
	issued        time.Time
}

// backchannel serves POST /.matron/backchannel-logout: the provider says that
// a session is over, for example because a smartcard was taken out.
func (s *Service) backchannel(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutBody)
	noStore(w.Header())
	l, err := s.readLogout(r)
	if err == nil {
		err = s.endByProvider(r, l)
	}
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "back-channel logout refused", slog.String("error", shorten(err.Error())))
	status, code := http.StatusBadRequest, "invalid_request"
	if errors.Is(err, errStore) || errors.Is(err, proxy.ErrIdentityUnavailable) {
		status, code = http.StatusServiceUnavailable, "temporarily_unavailable"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code}) // the client went away: nothing is left to do
}

func (s *Service) readLogout(r *http.Request) (logout, error) {
	if err := r.ParseForm(); err != nil {
		return logout{}, fmt.Errorf("%w: %w", errLogoutToken, err)
	}
	raw := r.PostForm["logout_token"]
	if len(raw) != 1 || len(raw[0]) > maxToken {
		return logout{}, fmt.Errorf("%w: not one token", errLogoutToken)
	}
	p, err := s.discovery.provider(r.Context())
	if err != nil {
		return logout{}, err
	}
	if !s.logoutType(raw[0]) {
		return logout{}, fmt.Errorf("%w: type", errLogoutToken)
	}
	ctx, failed := watchKeys(r.Context())
	l, err := s.verifyLogout(ctx, p, raw[0])
	if *failed != nil {
		return logout{}, fmt.Errorf("verify logout token: %w: %w", proxy.ErrIdentityUnavailable, *failed)
	}
	return l, err
}

func (s *Service) logoutType(raw string) bool {
	is := typeIs(raw)
	return is("logout+jwt") || s.cfg.Logout.AcceptJWTType && (is("jwt") || is(""))
}

// verifyLogout verifies as the standard says and, where that is configured,
// tokens of the early draft that have no exp.
func (s *Service) verifyLogout(ctx context.Context, p *provider, raw string) (logout, error) {
	now := s.cfg.Now()
	t, err := p.verifier.VerifyLogout(ctx, raw)
	if err == nil {
		l := logout{jti: t.TokenID, sub: t.Subject, sid: t.SessionID, issued: t.IssuedAt}
		return l, l.recent(now, logoutAge)
	}
	if !s.cfg.Logout.AcceptWithoutExpiry {
		return logout{}, fmt.Errorf("%w: %w", errLogoutToken, err)
	}
	payload, sigErr := p.keys.VerifySignature(ctx, raw)
	if sigErr != nil {
		return logout{}, fmt.Errorf("%w: %w", errLogoutToken, err)
	}
	l, draftErr := s.draftLogout(payload)
	if draftErr != nil {
		return logout{}, fmt.Errorf("%w: %w", errLogoutToken, draftErr)
	}
	return l, l.recent(now, draftLogoutAge)
}

// draftLogout checks the claims of a token whose signature is good and that
// has no exp. A token with exp is not for it: that was refused for a reason.
func (s *Service) draftLogout(payload []byte) (logout, error) {
	c, err := parseClaims(payload)
	if err != nil {
		return logout{}, err
	}
	if _, there := c["exp"]; there {
		return logout{}, errors.New("it has exp and did not pass")
	}
	if _, there := c["nonce"]; there {
		return logout{}, errors.New("it has a nonce")
	}
	events, _ := c["events"].(map[string]any)
	if _, there := events[logoutEvent].(map[string]any); !there {
		return logout{}, errors.New("it is not about a logout")
	}
	r := reader{claims: c}
	l := logout{jti: r.one("jti"), sub: r.one("sub"), sid: r.one("sid"), issued: r.time("iat")}
	switch {
	case r.err != nil:
		return logout{}, r.err
	case r.one("iss") != s.cfg.Issuer:
		return logout{}, errors.New("another issuer")
	case !slices.Contains(r.all("aud"), s.cfg.ClientID):
		return logout{}, errors.New("another audience")
	case l.jti == "" || l.sub == "" && l.sid == "":
		return logout{}, errors.New("jti, or both sub and sid, are missing")
	}
	return l, nil
}

// recent refuses tokens from the future and old ones.
func (l logout) recent(now time.Time, age time.Duration) error {
	if l.issued.Before(now.Add(-age)) || l.issued.After(now.Add(skew)) {
		return fmt.Errorf("%w: not issued just now", errLogoutToken)
	}
	return nil
}

// endByProvider ends the sessions that the token speaks of, once per token. A
// session that began after the token was issued is not meant.
func (s *Service) endByProvider(r *http.Request, l logout) error {
	ended, err := s.store.logout(r.Context(), s.cfg.Issuer, l, s.cfg.Now())
	if err != nil {
		return err
	}
	s.recordEnds(r.Context(), r, "provider", ended)
	return nil
}

// logout uses up the token's jti and deletes its sessions: all or nothing, so
// that a provider may try again what failed.
func (st *store) logout(ctx context.Context, issuer string, l logout, now time.Time) ([]row, error) {
	var ended []row
	err := st.inTx(ctx, func(tx *sql.Tx) error {
		used, err := tx.ExecContext(ctx,
			`INSERT INTO signin_logout (jti, expires) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING`,
			hashed(issuer+"\x00"+l.jti), now.Add(2*logoutAge).UnixMicro())
		if err != nil {
			return err
		}
		if n, err := used.RowsAffected(); err != nil || n != 1 {
			return errors.Join(errLogoutReplay, err)
		}
		where, args := []string{`issuer = $1`, `created <= $2`}, []any{issuer, l.issued.Add(skew).UnixMicro()}
		for column, value := range map[string]string{"sub": l.sub, "sid": l.sid} {
			if value != "" {
				args = append(args, value)
				where = append(where, fmt.Sprintf(`%s = $%d`, column, len(args)))
			}
		}
		ended, err = deleteRows(ctx, tx, strings.Join(where, " AND "), args...)
		return err
	})
	switch {
	case errors.Is(err, errLogoutReplay):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: end sessions: %w", errStore, err)
	}
	st.bury(ended...)
	return ended, nil
}
