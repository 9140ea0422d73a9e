package signin

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/proxy"
)

// askSignOut serves GET /.matron/sign-out: a link must not end a session, a
// button may.
func (s *Service) askSignOut(w http.ResponseWriter, r *http.Request) {
	p := page{Title: "Sign out", Text: []string{"You are not signed in."}, SignIn: true}
	if e, err := s.current(r); err == nil {
		p = page{Title: "Sign out", Text: []string{
			"You are signed in as " + e.subject.Name + ".",
			"Save your work first. Signing out also signs you out of the hospital's sign-in service.",
		}, SignOut: true}
	}
	s.show(w, r, http.StatusOK, p)
}

// signOut serves POST /.matron/sign-out. The session here ends first and
// whatever else happens; then the browser goes to the provider to end it there.
func (s *Service) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.crossOrigin.Check(r); err != nil {
		s.show(w, r, http.StatusForbidden, page{Title: "You are still signed in", Text: []string{"Another website asked to sign you out. If it was you, use the button."}, SignOut: true})
		return
	}
	hint := ""
	if raw, ok := presented(r); ok {
		var err error
		if hint, err = s.endPresented(r, raw); err != nil {
			s.signOutFailed(w, r, err)
			return
		}
	}
	dropCookie(w, sessionCookie)
	noStore(w.Header())
	w.Header().Set("Location", s.afterSignOut(r, hint))
	w.WriteHeader(http.StatusSeeOther)
}

// endPresented ends the session whose id is raw and returns its ID token, ""
// when there is none.
func (s *Service) endPresented(r *http.Request, raw string) (string, error) {
	e, err := s.store.session(r.Context(), hashed(raw))
	if err != nil {
		return "", s.endUnknown(r, raw, err)
	}
	err = s.store.end(r.Context(), e.row)
	rec := s.record(r, audit.KindSignOut)
	describe(rec, e.subject)
	rec.Outcome, rec.Detail = audit.Success, []string{"cause=user"}
	if err != nil {
		rec.Outcome, rec.Error = audit.SeriousFailure, refusalOf(err).code
	}
	s.add(r.Context(), rec)
	if err != nil {
		return "", err
	}
	if e.idToken == "" {
		return "", nil
	}
	hint, err := unseal(raw, e.idToken)
	if err != nil {
		s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "id token not readable", slog.Any("error", err))
		return "", nil
	}
	return hint, nil
}

// endUnknown ends a session of which nothing can be read. One that is over
// already is no error.
func (s *Service) endUnknown(r *http.Request, raw string, err error) error {
	if !errors.Is(err, proxy.ErrIdentityUnavailable) {
		return nil
	}
	return s.store.end(r.Context(), row{id: hashed(raw), expires: s.cfg.Now().Add(s.cfg.Absolute)})
}

// signOutFailed tells that the session may outlive a restart. The cookie goes
// all the same: this browser cannot use it again.
func (s *Service) signOutFailed(w http.ResponseWriter, r *http.Request, err error) {
	s.cfg.Logger.LogAttrs(r.Context(), slog.LevelError, "sign-out not stored", slog.Any("error", err))
	dropCookie(w, sessionCookie)
	s.show(w, r, http.StatusServiceUnavailable, page{
		Title: "You are signed out of this browser only",
		Text:  []string{"The gateway could not store that you signed out. It will try again by itself.", "Close all windows of the browser, and tell the service desk."},
	})
}

// afterSignOut is the provider's address for ending its session, or our own
// page where there is none to be had.
func (s *Service) afterSignOut(r *http.Request, hint string) string {
	const ownPage = "/.matron/signed-out"
	p, err := s.discovery.provider(r.Context())
	if err != nil || p.endSession == "" {
		return ownPage
	}
	u, err := url.Parse(p.endSession)
	if err != nil {
		return ownPage
	}
	q := u.Query()
	q.Set("client_id", s.cfg.ClientID)
	q.Set("post_logout_redirect_uri", s.cfg.ExternalURL+ownPage)
	if hint != "" {
		q.Set("id_token_hint", hint)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// signedOut serves GET /.matron/signed-out, where the browser ends up. It asks
// the browser to forget what the applications left behind, their cookies too:
// the next person at this workstation must not meet them (GW-07, GW-08).
func (s *Service) signedOut(w http.ResponseWriter, r *http.Request) {
	if _, err := s.current(r); err == nil {
		s.askSignOut(w, r)
		return
	}
	if mayForget(r) {
		w.Header().Set("Clear-Site-Data", `"cache", "cookies", "storage"`)
	}
	s.show(w, r, http.StatusOK, page{
		Title: "You are signed out",
		Text:  []string{"Close the browser if you are leaving this computer."}, SignIn: true,
	})
}

// mayForget reports whether a person opened the page. Another website can make
// a browser fetch it as a picture or in a frame, without our cookie: that must
// not cost anybody their session (GW-06).
func mayForget(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Dest") == "document" }
