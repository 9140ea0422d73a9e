package signin

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"

	"github.com/matron-epr/matron/proxy"
)

//go:embed pages/page.html
var pageFiles embed.FS

// page is what the one template shows.
type page struct {
	Title     string
	Text      []string
	Reference string
	SignIn    bool // offer a link to sign in
	SignOut   bool // offer the button to sign out

	Service, Organisation string
}

// csp allows the style sheet and nothing else. It names no form-action: after
// the sign-out form the browser follows redirects to the provider, which
// form-action 'self' would block.
const csp = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; base-uri 'none'; frame-ancestors 'none'"

func parsePage() (*template.Template, error) {
	return template.ParseFS(pageFiles, "pages/page.html")
}

// noStore keeps every answer of this package out of caches.
func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
}

func (s *Service) show(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.Service, p.Organisation = cmp.Or(s.cfg.Service, "Matron"), s.cfg.Organisation
	var buf bytes.Buffer
	if err := s.page.Execute(&buf, p); err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "page not made", slog.Any("error", err))
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	noStore(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", csp)
	w.WriteHeader(status)
	_, _ = buf.WriteTo(w) // the client went away: nothing is left to do
}

// The reasons a sign-in is refused for, besides those of package proxy.
var (
	errState      = errors.New("attempt unknown, used or too old")
	errRefused    = errors.New("provider refused the sign-in")
	errIssuer     = errors.New("answer of another issuer")
	errCode       = errors.New("provider refused the code")
	errIDToken    = errors.New("id token refused")
	errIDExpired  = errors.New("id token expired")
	errNonce      = errors.New("nonce of another attempt")
	errUserInfo   = errors.New("userinfo refused")
	errClaims     = errors.New("claims missing or garbled")
	errAssurance  = errors.New("assurance level too low")
	errAuthTime   = errors.New("identity proved too long ago")
	errNotDurable = errors.New("sign-in not recorded")
	errStore      = errors.New("session store unavailable")
)

// refusal is how one reason is recorded and told. The provider's own words and
// the error's text are never shown.
type refusal struct {
	is     error
	code   string
	status int
	title  string
	text   []string
	signIn bool
}

// refusals maps reasons to answers, first match first.
func refusals() []refusal {
	const (
		again   = "Start again. If it happens once more, tell the service desk the reference below."
		notIn   = "You are not signed in"
		waiting = "People who are signed in already can go on working. Try again in a minute. If you need a record for urgent care, use the downtime procedure of your ward."
	)
	bad := func(is error, code, why string) refusal {
		return refusal{is, code, http.StatusForbidden, notIn, []string{why, again}, true}
	}
	down := func(is error, code, why string) refusal {
		return refusal{is, code, http.StatusServiceUnavailable, "Sign-in is not working at the moment", []string{why, waiting}, true}
	}
	return []refusal{
		down(proxy.ErrIdentityUnavailable, "identity-unavailable", "The sign-in service does not answer."),
		down(errNotDurable, "record-not-durable", "Your sign-in could not be recorded, so it was not completed."),
		down(errStore, "session-store", "Your session could not be stored, so the sign-in was not completed."),
		{
			errState, "state-unknown", http.StatusBadRequest, notIn,
			[]string{"This sign-in has been used already or took longer than ten minutes.", "If you signed in in another tab or window, close this one. Otherwise start again."},
			true,
		},
		bad(errRefused, "provider-refused", "The sign-in service did not sign you in."),
		bad(errIssuer, "issuer-mismatch", "The answer did not come from the sign-in service of this hospital."),
		bad(errCode, "code-refused", "The sign-in service did not accept the sign-in."),
		bad(errIDExpired, "id-token-expired", "The answer of the sign-in service was too old."),
		bad(errNonce, "nonce-mismatch", "The answer of the sign-in service belongs to another sign-in."),
		bad(errIDToken, "id-token-refused", "The answer of the sign-in service could not be verified."),
		bad(errUserInfo, "userinfo-refused", "The sign-in service gave no reliable answer about who you are."),
		bad(errClaims, "claims-refused", "The sign-in service did not say clearly who you are."),
		bad(errAssurance, "assurance-too-low", "This system needs a stronger way of signing in, such as your smartcard."),
		bad(errAuthTime, "auth-time-too-old", "You proved who you are too long ago."),
	}
}

// refusalOf finds the answer to err. What it does not know is refused as well.
func refusalOf(err error) refusal {
	for _, f := range refusals() {
		if errors.Is(err, f.is) {
			return f
		}
	}
	return refusal{err, "internal", http.StatusInternalServerError, "You are not signed in", []string{"Something went wrong in the gateway.", "Tell the service desk the reference below."}, true}
}
