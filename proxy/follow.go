package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
)

// follow takes the exchange's turn in its session of the application, where the
// map follows sessions. Two exchanges of one session at a time would be read
// against a state that neither of them finds (GW-08).
func (x *exchange) follow() error {
	f, ok := x.route.Map.(Follower)
	if !ok || x.route.Upstream == nil {
		return nil
	}
	turn, err := f.Follow(x.subject, x.r)
	switch {
	case err == nil:
		x.turn = turn
		return nil
	case x.r.Context().Err() != nil:
		return errClientGone
	}
	return errBusy
}

// reader is the Map that reads this exchange.
func (x *exchange) reader() Map {
	if x.turn != nil {
		return x.turn
	}
	return x.route.Map
}

// endTurn lets the next exchange of the session go on.
func (x *exchange) endTurn() {
	if x.turn != nil {
		x.turn.End(x.forwarded)
		x.turn = nil
	}
}

// inherit hands what is known of the application's sessions on to a Map that
// replaces another in a reload.
func (r *route) inherit(from []*route) {
	heir, ok := r.Map.(Follower)
	if !ok {
		return
	}
	for _, old := range from {
		if old.Name == r.Name {
			heir.Inherit(old.Map)
		}
	}
}

// maxLeave bounds the requests that one refusal sends to the application.
const maxLeave = 4

// leave takes the application's session away from what its answer showed and may
// not be shown: later requests would act on it (GW-08). The outcome says whether
// that worked. Where it did not, the map goes on reading the session as it is, so
// that whatever is done in it is decided as what it is.
func (f *forwarder) leave(x *exchange) {
	if x.turn == nil || x.mode != Enforce {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), x.route.Timeout)
	defer cancel()
	for range maxLeave {
		req := x.turn.Leave(ctx)
		if req == nil {
			break
		}
		x.left = "session-moved=no"
		moved, err := f.sendLeave(x, req)
		if err != nil {
			f.g.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "session of the application not moved",
				slog.String("request", x.id), slog.String("app", f.route.Name), slog.String("network", networkError(err)))
			break
		}
		if moved {
			x.left = "session-moved=yes"
			break
		}
	}
}

// sendLeave sends one request of the gateway's own for the same subject, over a
// connection of its own.
func (f *forwarder) sendLeave(x *exchange, req *http.Request) (moved bool, err error) {
	up := f.route.Upstream
	if voucher := f.g.voucher(f.route); voucher != nil {
		asked := req.Clone(req.Context())
		asked.URL.Path = f.route.base + req.URL.Path
		token, err := voucher.Vouch(x.subject, x.id, asked)
		if err != nil {
			return false, fmt.Errorf("identity token: %w", err)
		}
		req.Header[identityHeader] = []string{token}
	}
	req.URL.Scheme, req.URL.Host, req.URL.Path = up.Scheme, up.Host, f.route.base+req.URL.Path
	req.Header["Accept-Encoding"] = []string{"identity"}
	req.Header["X-Forwarded-For"] = []string{x.ip}
	req.Header[requestHeader] = []string{x.id}
	res, err := f.once.RoundTrip(req)
	if err != nil {
		return false, fmt.Errorf("send: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, f.route.MaxHeld))
	if err != nil {
		return false, fmt.Errorf("read: %w", err)
	}
	keepOwnCookie(res.Header, f.g.cfg.SessionCookie)
	x.turn.Received(res)
	if lines := res.Header["Set-Cookie"]; len(lines) > 0 {
		x.cookies = lines
	}
	return x.turn.Left(res, body), nil
}
