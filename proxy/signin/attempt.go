package signin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	attemptLife = 10 * time.Minute
	// maxAttempts bounds what strangers can make the gateway remember. When it
	// is reached the oldest go: refusing new ones would let a stranger keep
	// everybody from signing in (GW-02).
	maxAttempts = 10_000
	dropAtOnce  = maxAttempts / 10
	// attemptsPerBrowser bounds the cookies of one browser.
	attemptsPerBrowser = 12
	tagLength          = 22
)

// attempt is one sign-in under way. Each has a state, a secret in a cookie of
// its own and a row of its own, so that several tabs do not disturb each other.
// Nonce and PKCE verifier are derived from the secret: the database holds
// nothing that completes a sign-in, and no other browser can.
type attempt struct {
	state    string
	secret   string
	returnTo string
	demand   demand
	made     time.Time
}

// demand is what a sign-in must prove beyond who it is.
type demand string

// The demands. Whoever asks for one by an address only asks more of themselves.
const (
	usual    demand = ""
	justNow  demand = "now"      // that it is proved now, whatever session the provider has
	stronger demand = "stronger" // more than a session of the usual kind
)

func newAttempt(now time.Time, returnTo string, d demand) attempt {
	tag := fmt.Sprintf("%014x", now.UnixMicro()) + strings.ToLower(rand.Text()[:tagLength-14])
	return attempt{state: tag + "." + secret(), secret: secret(), returnTo: returnTo, demand: d, made: now}
}

// cookie is the name of the attempt's cookie; it begins with the time, so that
// names sort by age.
func (a attempt) cookie() string { return attemptCookie + a.state[:tagLength] }

func (a attempt) nonce() string    { return a.derive("nonce") }
func (a attempt) verifier() string { return a.derive("pkce") }

func (a attempt) derive(purpose string) string {
	mac := hmac.New(sha256.New, []byte(a.secret))
	mac.Write([]byte(purpose))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// start serves GET /.matron/sign-in.
func (s *Service) start(w http.ResponseWriter, r *http.Request) {
	p, err := s.discovery.provider(r.Context())
	if err != nil {
		s.refuse(w, r, err, identity{})
		return
	}
	d := demand(r.URL.Query().Get("again"))
	if d != justNow && d != stronger {
		d = usual
	}
	a := newAttempt(s.cfg.Now(), localPath(r.URL.Query().Get("return")), d)
	if err := s.store.remember(r.Context(), a, s.cfg.Now()); err != nil {
		s.refuse(w, r, err, identity{})
		return
	}
	dropOldAttempts(w, r, attemptsPerBrowser-1)
	setCookie(w, a.cookie(), a.secret, int(attemptLife/time.Second))
	noStore(w.Header())
	http.Redirect(w, r, p.authorization(a, s.parameters(d)), http.StatusFound) //nolint:gosec // the address is the provider's, from discovery
}

// parameters are added to the authorization request (OpenID Connect Core 3.1.2.1).
func (s *Service) parameters(d demand) map[string]string {
	if d == usual {
		return s.cfg.Parameters
	}
	all := maps.Clone(s.cfg.Parameters)
	if all == nil {
		all = map[string]string{}
	}
	switch d {
	case justNow:
		all["prompt"], all["max_age"] = "login", "0"
	case stronger:
		all["max_age"] = strconv.FormatInt(int64(s.cfg.StepUp.MaxAge/time.Second), 10)
		if len(s.cfg.StepUp.ACR) > 0 {
			all["acr_values"] = strings.Join(s.cfg.StepUp.ACR, " ")
		}
	case usual:
	}
	return all
}

// authorization is where the browser goes to sign in.
func (p *provider) authorization(a attempt, more map[string]string) string {
	options := []oauth2.AuthCodeOption{oidc.Nonce(a.nonce()), oauth2.S256ChallengeOption(a.verifier())}
	for name, value := range more {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	return p.oauth.AuthCodeURL(a.state, options...)
}

// consume takes the attempt that the callback names out of the store. It
// succeeds once, for the browser that began it, and within attemptLife.
func (s *Service) consume(r *http.Request) (attempt, error) {
	states := r.URL.Query()["state"]
	if len(states) != 1 || len(states[0]) != tagLength+1+43 {
		return attempt{}, fmt.Errorf("%w: no state", errState)
	}
	a := attempt{state: states[0]}
	cookies := r.CookiesNamed(a.cookie())
	if len(cookies) != 1 || !wellFormed(cookies[0].Value) {
		return attempt{}, fmt.Errorf("%w: another browser", errState)
	}
	a.secret = cookies[0].Value
	return s.store.take(r.Context(), a, s.cfg.Now())
}

// remember stores a new attempt and forgets old ones.
func (st *store) remember(ctx context.Context, a attempt, now time.Time) error {
	if err := st.makeRoom(ctx, now); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	_, err := st.db.ExecContext(ctx,
		`INSERT INTO signin_attempt (state, binding, return_to, demand, created) VALUES ($1, $2, $3, $4, $5)`,
		hashed(a.state), hashed(a.secret), a.returnTo, string(a.demand), now.UnixMicro())
	if err != nil {
		return fmt.Errorf("%w: remember attempt: %w", errStore, err)
	}
	return nil
}

func (st *store) makeRoom(ctx context.Context, now time.Time) error {
	_, err := st.db.ExecContext(ctx, `DELETE FROM signin_attempt WHERE created < $1`, now.Add(-attemptLife).UnixMicro())
	if err != nil {
		return fmt.Errorf("forget old attempts: %w", err)
	}
	var pending int
	if err := st.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM signin_attempt`).Scan(&pending); err != nil {
		return fmt.Errorf("count attempts: %w", err)
	}
	if pending < st.maxAttempts {
		return nil
	}
	_, err = st.db.ExecContext(ctx,
		`DELETE FROM signin_attempt WHERE state IN (SELECT state FROM signin_attempt ORDER BY created LIMIT $1)`,
		max(pending-st.maxAttempts+1, min(dropAtOnce, st.maxAttempts/10)))
	if err != nil {
		return fmt.Errorf("drop oldest attempts: %w", err)
	}
	return nil
}

// take deletes the attempt and fills in where it was going and what it must prove.
// Deleting is what makes a state good for one use only.
func (st *store) take(ctx context.Context, a attempt, now time.Time) (attempt, error) {
	var made int64
	err := st.db.QueryRowContext(ctx,
		`DELETE FROM signin_attempt WHERE state = $1 AND binding = $2 AND created >= $3 RETURNING return_to, demand, created`,
		hashed(a.state), hashed(a.secret), now.Add(-attemptLife).UnixMicro()).Scan(&a.returnTo, &a.demand, &made)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return a, errState
	case err != nil:
		return a, fmt.Errorf("%w: take attempt: %w", errStore, err)
	}
	a.made = time.UnixMicro(made).UTC()
	return a, nil
}

// localPath returns raw if it is a path on this gateway, and "/" otherwise: an
// address that a stranger chose must not be where a sign-in ends. Printable
// ASCII only, which is how browsers send paths; no backslash, which browsers
// take for a slash.
func localPath(raw string) string {
	const maxReturn = 2048
	if len(raw) > maxReturn || !strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "//") {
		return "/"
	}
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || ownPath(u.Path) {
		return "/"
	}
	return raw
}

// ownPath reports whether path is one of this package's, where a sign-in would
// go round in circles.
func ownPath(path string) bool {
	switch path {
	case "/.matron/sign-in", "/.matron/callback", "/.matron/sign-out", "/.matron/signed-out":
		return true
	}
	return false
}
