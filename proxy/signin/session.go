package signin

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// maxIDToken bounds what is kept for the sign-out at the provider; without it
// the provider asks the person to confirm.
const maxIDToken = 16 << 10

// Identify implements proxy.Identifier. A bearer token, where those are
// accepted, is the credential that was meant: if it is refused, a cookie beside
// it does not count (GW-07).
func (s *Service) Identify(r *http.Request) (policy.Subject, error) {
	if len(s.cfg.Bearer.Audiences) > 0 {
		if token, ok, err := bearerToken(r); ok || err != nil {
			if err != nil {
				return policy.Subject{}, err
			}
			return s.identifyBearer(r.Context(), token)
		}
	}
	e, err := s.current(r)
	if err != nil {
		return policy.Subject{}, err
	}
	return e.subject, nil
}

// current returns the session whose cookie r carries, if it is within its
// limits.
func (s *Service) current(r *http.Request) (*entry, error) {
	raw, ok := presented(r)
	if !ok {
		return nil, proxy.ErrNoSession
	}
	e, err := s.store.session(r.Context(), hashed(raw))
	if err != nil {
		return nil, err
	}
	if s.over(e, s.cfg.Now()) != "" {
		return nil, proxy.ErrSessionExpired
	}
	return e, nil
}

// over says which limit ended the session: "idle", "absolute" or "" for none.
// At the limit it is over.
func (s *Service) over(e *entry, now time.Time) string {
	switch {
	case !now.Before(e.expires) || now.Sub(e.created) >= s.cfg.Absolute:
		return "absolute"
	case now.UnixMicro()-e.seen.Load() >= s.cfg.Idle.Microseconds():
		return "idle"
	}
	return ""
}

// Touch implements proxy.Identifier. It writes nothing itself: Run does.
func (s *Service) Touch(_ context.Context, who policy.Subject) {
	if who.Session != "" {
		s.store.touched(who.Session, s.cfg.Now())
	}
}

// begin records the sign-in durably and then makes the session, in that order:
// a session whose beginning is on no record does not exist. It returns the id
// for the cookie, new at each sign-in.
func (s *Service) begin(r *http.Request, who identity, d demand) (string, error) {
	id := secret()
	now := s.cfg.Now()
	fresh := row{
		id: hashed(id), issuer: who.subject.Issuer, sub: who.subject.Sub, sid: who.sid, subject: who.subject,
		created: now, seen: now, expires: now.Add(s.cfg.Absolute), email: who.email,
	}
	fresh.subject.Session = label(fresh.id)
	if len(who.idToken) <= maxIDToken {
		fresh.idToken = seal(id, who.idToken)
	}
	kind := audit.KindSignIn
	if d != usual {
		kind = audit.KindStepUp
	}
	rec := s.record(r, kind)
	describe(rec, fresh.subject)
	rec.Outcome = audit.Success
	if _, err := s.cfg.Log.Append(r.Context(), rec); err != nil {
		return "", fmt.Errorf("%w: %w", errNotDurable, err)
	}
	ended, err := s.store.replace(r.Context(), fresh, s.previous(r), s.cfg.SingleSession)
	if err != nil {
		return "", err
	}
	for _, old := range ended {
		if old.issuer == fresh.issuer && old.sub == fresh.sub {
			s.cfg.Renewed(r.Context(), label(old.id), label(fresh.id))
		}
	}
	s.store.bury(ended...)
	s.recordEnds(r.Context(), r, "replaced", ended)
	return id, nil
}

// previous is the hash of the session id that the browser presents, whether it
// is worth anything or not: it ends when a new one begins.
func (s *Service) previous(r *http.Request) string {
	raw, ok := presented(r)
	if !ok {
		return ""
	}
	return hashed(raw)
}

// Email is where messages to somebody who is signed in go, "" where the provider did
// not say.
func (s *Service) Email(who policy.Subject) string {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	if e := s.store.live[who.Session]; e != nil {
		return e.email
	}
	return ""
}

// Began is when somebody's session did, which may be long after they proved who they
// are; zero for no session.
func (s *Service) Began(who policy.Subject) time.Time {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	if e := s.store.live[who.Session]; e != nil {
		return e.created
	}
	return time.Time{}
}

// Run writes down what Touch noticed and clears out what has ended, until ctx
// is done; then it writes once more and returns nil. Without it sessions still
// end on time; only their rows stay.
func (s *Service) Run(ctx context.Context) error {
	const flushEvery, sweepEach = 10 * time.Second, 6
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for turn := 1; ; turn++ {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
			defer cancel()
			s.tidy(last, false)
			return nil
		case <-ticker.C:
			s.tidy(ctx, turn%sweepEach == 0)
		}
	}
}

// tidy does one turn of Run. A database that fails is tried again next turn.
func (s *Service) tidy(ctx context.Context, sweep bool) {
	now := s.cfg.Now()
	s.store.tellOver(func(e *entry) bool { return s.over(e, now) != "" })
	if err := s.store.flush(ctx); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "activity not written", slog.Any("error", err))
		return
	}
	if !sweep {
		return
	}
	rows, err := s.store.sweep(ctx, s.cfg.Idle)
	if err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "ended sessions not cleared", slog.Any("error", err))
	}
	s.recordEnds(ctx, nil, "limit", rows)
}

// seal encrypts the ID token with a key made of the session id, which the
// database does not hold: whoever reads the database alone learns nothing.
func seal(id, token string) string {
	box := sealer(id)
	nonce := make([]byte, box.NonceSize())
	_, _ = rand.Read(nonce) // crypto/rand.Read never fails: it ends the program instead
	return base64.RawStdEncoding.EncodeToString(box.Seal(nonce, nonce, []byte(token), nil))
}

// unseal undoes seal.
func unseal(id, sealed string) (string, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return "", fmt.Errorf("sealed id token: %w", err)
	}
	box := sealer(id)
	if len(raw) < box.NonceSize() {
		return "", errors.New("sealed id token: too short")
	}
	token, err := box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], nil)
	if err != nil {
		return "", fmt.Errorf("sealed id token: %w", err)
	}
	return string(token), nil
}

func sealer(id string) cipher.AEAD {
	key := sha256.Sum256([]byte("matron id token\x00" + id))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes always make a cipher
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES always makes a GCM
	}
	return box
}

// bearerToken returns the token of an Authorization header of that scheme. ok
// is false when there is none; several headers are refused.
func bearerToken(r *http.Request) (token string, ok bool, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", false, nil
	}
	if len(headers) > 1 {
		return "", false, fmt.Errorf("%w: several Authorization headers", proxy.ErrToken)
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false, nil
	}
	return strings.TrimSpace(token), true, nil
}
