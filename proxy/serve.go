package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
)

// ServeHTTP takes one request through its life. An OUTCOME record follows
// whatever happens on the way, a panic included.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := g.begin(w, r)
	defer x.end()
	x.serve()
}

// begin makes the exchange of a request.
func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *exchange {
	now := g.cfg.Now()
	x := &exchange{g: g, w: w, start: now, changes: g.streams.changes.Load()}
	x.mint(now)
	x.target, x.query, _ = strings.Cut(r.RequestURI, "?")
	x.ip, x.scheme = origin(r, g.cfg.TrustedProxies)
	x.r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	x.nameAnswer()
	return x
}

// serve runs the steps in order. The first one that fails ends the exchange
// with a refusal; nothing is forwarded before all of them have passed.
func (x *exchange) serve() {
	if err := x.accept(); err != nil {
		x.turnAway(err)
		return
	}
	if x.servedPublic() {
		return
	}
	if err := x.identify(); err != nil {
		x.turnAway(err)
		return
	}
	for _, step := range [...]func(*exchange) error{
		(*exchange).sameOrigin,
		(*exchange).locate,
		(*exchange).admit,
		(*exchange).follow,
		(*exchange).classify,
		(*exchange).space,
		(*exchange).limit,
		(*exchange).decide,
		(*exchange).meetNamed,
		(*exchange).record,
		(*exchange).forward,
	} {
		if err := step(x); err != nil {
			x.refuse(err)
			return
		}
	}
}

// accept refuses malformed requests and takes off what the client says about
// where it is.
func (x *exchange) accept() error {
	if err := framingError(x.r); err != nil {
		return err
	}
	if !emptyAsSaid(x.r) {
		return errFraming
	}
	if headerLength(x.r) > x.g.cfg.MaxHeader {
		return errHeaderTooLarge
	}
	if len(x.target) > audit.MaxTarget || len(x.query) > audit.MaxQuery {
		return errAddressTooLong
	}
	if err := accept(x.r); err != nil {
		return err
	}
	stripOrigin(x.r.Header)
	x.r.RemoteAddr = net.JoinHostPort(x.ip, "0")
	return nil
}

// servedPublic answers the paths that need no identity: sign-in and assets.
// They never reach an application, and no record is made of them here.
func (x *exchange) servedPublic() bool {
	path := x.r.URL.Path
	switch {
	case path == stylesheetPath:
		x.g.serveStylesheet(x, x.r)
	case x.unclaimed(path):
		x.answerUnclaimed(path)
	case x.g.public(path):
		if err := x.g.origins.Check(x.r); err != nil {
			x.turnAway(errCrossOrigin)
			return true
		}
		if err := x.mayBeginSignIn(path); err != nil {
			x.turnAway(err)
			return true
		}
		x.r.Body = http.MaxBytesReader(x.w, x.r.Body, 1<<20)
		x.g.cfg.Public.ServeHTTP(x, x.r)
	default:
		return false
	}
	return true
}

// unclaimed reports whether path is one that browsers and people ask for by
// themselves while no application answers there. Answering it here keeps it out
// of the record, where it would look like somebody who was refused.
func (x *exchange) unclaimed(path string) bool {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return false
	}
	return (path == "/" && x.g.cfg.Home != "" || path == "/favicon.ico") && x.g.find(path) == nil
}

// answerUnclaimed leads home, and says that there is no icon.
func (x *exchange) answerUnclaimed(path string) {
	if path != "/" {
		x.w.Header().Set("Cache-Control", "public, max-age=3600")
		x.WriteHeader(http.StatusNoContent)
		return
	}
	x.w.Header().Set("Cache-Control", "no-store")
	x.w.Header().Set("Location", x.g.cfg.Home)
	x.WriteHeader(http.StatusSeeOther)
}

// mayBeginSignIn refuses more sign-ins from one address than a whole hospital
// begins (GW-02).
func (x *exchange) mayBeginSignIn(path string) error {
	if path != x.g.cfg.SignInPath {
		return nil
	}
	if wait, ok := x.g.cfg.Limiter.Take(policy.Subject{Sub: x.ip}, SignInKind, 1); !ok {
		return limitedError{wait, errLimited}
	}
	return nil
}

// identify finds out who asks. On error: nobody (GW-07).
func (x *exchange) identify() error {
	s, err := x.g.cfg.Identifier.Identify(x.r)
	if err == nil && !s.Known() {
		err = ErrNoSession
	}
	if err != nil {
		return err
	}
	x.subject = s
	return nil
}

// sameOrigin refuses requests that another site made the browser send with the
// session cookie: writes, and upgrades, which browsers send across origins too.
func (x *exchange) sameOrigin() error {
	if x.subject.Session == "" {
		return nil
	}
	if upgrades(x.r) && !x.ownOrigin() {
		return errCrossOrigin
	}
	if err := x.g.origins.Check(x.r); err != nil {
		return errCrossOrigin
	}
	return nil
}

// locate finds the application that answers.
func (x *exchange) locate() error {
	x.route = x.g.find(x.r.URL.Path)
	if x.route == nil {
		return errNoApplication
	}
	x.mode = x.g.modeOf(x.route)
	if x.route.StripPrefix { // map and application see the application's own path
		u := *x.r.URL
		u.Path, u.RawPath = x.route.strip(u.Path), ""
		x.r.URL = &u
	}
	return nil
}

// end closes the exchange: a panic becomes a page or a broken connection, never a
// response that looks whole, and the outcome is recorded.
func (x *exchange) end() {
	p := recover()
	x.endStream()
	x.letGo()
	abort := p != nil && x.recovered(p)
	x.endTurn()
	x.recordOutcome()
	x.leaveStreams()
	x.closeEntries()
	x.observe()
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// recovered turns a panic into a page if nothing has been sent yet. It returns
// true if the connection must be broken off instead.
func (x *exchange) recovered(p any) (abort bool) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		x.fail(errTruncated)
		if x.status == 0 {
			x.status = statusClientGone
		}
		return true
	}
	// The value of the panic may quote a request: it is not logged.
	x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelError, "panic while serving",
		slog.String("request", x.id), slog.String("stack", string(debug.Stack())))
	x.fail(errInternal)
	if x.status != 0 {
		return true
	}
	defer func() {
		if recover() != nil { // not even the page can be made
			x.status, abort = http.StatusInternalServerError, true
		}
	}()
	x.refuse(errInternal)
	return false
}
