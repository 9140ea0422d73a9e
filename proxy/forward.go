package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/matron-epr/matron/policy"
)

// forward sends the request to the application, once. What it returns is an
// error from before anything was sent; later ones are answered by failed.
func (x *exchange) forward() error {
	if !x.access.KeepAlive && x.subject.Session != "" {
		x.g.cfg.Identifier.Touch(x.r.Context(), x.subject)
	}
	if err := x.vouch(); err != nil {
		return err
	}
	x.sentAt = x.g.cfg.Now()
	if len(x.entries) > 0 && !x.cut() {
		return x.answerRefused()
	}
	x.forwarded = true
	x.route.handler.ServeHTTP(x, x.r)
	if x.status == 0 {
		x.status = http.StatusOK // an empty in-process answer
	}
	return nil
}

// sent is the request as the application will see it: what a token is bound to.
func (x *exchange) sent() *http.Request {
	u := *x.r.URL
	u.Path, u.RawPath = x.route.base+u.Path, ""
	out := *x.asked(x.r)
	out.URL = &u
	return &out
}

// vouch makes the token that tells the application who is asking. On error:
// nothing is forwarded, since the application would not know whom it serves
// (GW-07).
func (x *exchange) vouch() error {
	voucher := x.g.voucher(x.route)
	if voucher == nil || x.route.Upstream == nil {
		return nil
	}
	token, err := x.voucherOf(voucher)
	if err != nil {
		x.g.cfg.Logger.LogAttrs(x.r.Context(), slog.LevelError, "identity token not made",
			slog.String("request", x.id), slog.Any("error", err))
		return errVoucher
	}
	x.token = token
	return nil
}

// voucherOf makes a token that is good for this request alone, except where a GET or
// HEAD reads and the application does not ask for more: one signature a request costs
// as much as all of the decision.
func (x *exchange) voucherOf(v Voucher) (string, error) {
	method := x.asked(x.r).Method
	if x.route.BindReads || x.writes() || method != http.MethodGet && method != http.MethodHead {
		return v.Vouch(x.subject, x.id, x.sent())
	}
	return v.VouchReads(x.subject, method)
}

// voucher is the Voucher for one application, nil for none.
func (g *Gateway) voucher(r *route) Voucher {
	if r.Voucher != nil {
		return r.Voucher
	}
	return g.cfg.Voucher
}

// forwarder sends exchanges to one application over HTTP.
type forwarder struct {
	g     *Gateway
	route *route
	proxy httputil.ReverseProxy
	// once never uses a connection a second time, so that net/http never sends
	// a request again whose connection broke (GW-05).
	once *http.Transport
	pool *http.Transport
	// direct sends what has no body and is no write.
	direct *direct
}

func newForwarder(g *Gateway, r *route) *forwarder {
	f := &forwarder{g: g, route: r, pool: harden(r, false), once: harden(r, true)}
	surplus := sync.OnceFunc(func() {
		g.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, "application sends more than its answer, which is dropped",
			slog.String("app", r.Name))
	})
	f.direct = &direct{dial: dialler(f.once, r.Upstream), timeout: r.Timeout, surplus: surplus}
	followAnswers(f.pool, surplus)
	followAnswers(f.once, surplus)
	f.proxy = httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      f,
		ModifyResponse: f.received,
		ErrorHandler:   f.failed,
		BufferPool:     &buffers{},
		ErrorLog:       slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelWarn),
	}
	return f
}

// harden makes a transport for r: bounded waits, no compression of its own, no
// proxy from the environment, HTTP/1.1, enough idle connections.
func harden(r *route, single bool) *http.Transport {
	t := r.Transport
	if t == nil {
		t = &http.Transport{}
	}
	t = t.Clone()
	if t.DialContext == nil {
		t.DialContext = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	t.Proxy = nil
	t.DisableCompression = true
	t.DisableKeepAlives = single
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 4*maxIdle, maxIdle
	t.IdleConnTimeout = idleFor
	t.ResponseHeaderTimeout = r.Timeout
	t.MaxResponseHeaderBytes = maxHeading
	return t
}

// ServeHTTP is part of http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.proxy.ServeHTTP(w, r) }

// RoundTrip sends a request once. net/http repeats a request by itself when a
// kept connection breaks and the request has no body; a write must not be
// repeated, so it never travels over a kept connection in that case (GW-05).
// A body is enough of a guard: it cannot be read twice, for GetBody is nil.
func (f *forwarder) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeFrom(r.Context())
	r.GetBody = nil
	switch {
	case r.Body != nil && r.Body != http.NoBody, upgrades(r):
		return f.pool.RoundTrip(r)
	case x == nil || x.writes():
		return f.once.RoundTrip(r)
	}
	return f.direct.RoundTrip(r)
}

// rewrite makes the request that the application gets.
func (f *forwarder) rewrite(p *httputil.ProxyRequest) {
	x, out, up := exchangeFrom(p.In.Context()), p.Out, f.route.Upstream
	out.URL.Scheme, out.URL.Host = up.Scheme, up.Host
	out.URL.Path = f.route.base + p.In.URL.Path
	out.URL.RawPath = "" // the canonical encoding of what the map has seen
	if !f.route.KeepHost {
		out.Host = up.Host
	}
	out.Trailer = nil // nobody has looked at them
	h := out.Header
	delete(h, "Expect") // reading the body answers it
	if !ownSession(h, f.route.Authorization) {
		h.Del("Authorization")
	}
	dropCookie(h, f.g.cfg.SessionCookie)
	values := [...]string{x.ip, x.scheme, p.In.Host, x.id, x.token} // in one piece of memory
	h["X-Forwarded-For"] = values[0:1:1]
	h["X-Forwarded-Proto"] = values[1:2:2]
	h["X-Forwarded-Host"] = values[2:3:3]
	if f.route.StripPrefix && f.route.trimmed != "" {
		h["X-Forwarded-Prefix"] = []string{f.route.trimmed}
	}
	h[requestHeader] = values[3:4:4]
	if x.token != "" {
		h[identityHeader] = values[4:5:5]
	}
	if x.access.Hold {
		out.Method = x.asked(out).Method
		askWhole(out.Method, h)
	}
}

// ownSession reports whether the one Authorization is of the scheme of the
// application's own sessions. What proves to the gateway who is asking never is.
func ownSession(h http.Header, scheme string) bool {
	given := h["Authorization"]
	if scheme == "" || len(given) != 1 {
		return false
	}
	got, _, _ := strings.Cut(given[0], " ")
	return strings.EqualFold(got, scheme) && !strings.EqualFold(got, "Bearer")
}

// askWhole asks for a response that can be read: not compressed, not partial,
// not "unchanged". The conditions of a change are its own: without If-None-Match it
// would overwrite what it was not to (GW-05).
func askWhole(method string, h http.Header) {
	h["Accept-Encoding"] = []string{"identity"}
	if method != http.MethodGet {
		return
	}
	for _, name := range [...]string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		delete(h, name)
	}
}

// dropCookie takes the gateway's own cookies out of a Cookie header: those that
// begin with name.
func dropCookie(h http.Header, name string) {
	for i, line := range h["Cookie"] {
		if !strings.Contains(line, name) {
			continue
		}
		var kept []string
		for pair := range strings.SplitSeq(line, ";") {
			if pair = strings.TrimSpace(pair); pair != "" && !strings.HasPrefix(pair, name) {
				kept = append(kept, pair)
			}
		}
		h["Cookie"][i] = strings.Join(kept, "; ")
	}
	if len(h["Cookie"]) == 1 && h["Cookie"][0] == "" {
		delete(h, "Cookie")
	}
}

// received looks at the application's response before any of it is sent on.
func (f *forwarder) received(res *http.Response) error {
	x := exchangeFrom(res.Request.Context())
	x.upstream = f.g.cfg.Now().Sub(x.sentAt)
	if x.w.Header()[requestHeader] == nil {
		x.nameAnswer()
	}
	f.cleanResponse(x, res.Header)
	if x.turn != nil {
		x.turn.Received(res)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if err := x.upgraded(res); err != nil {
			return err
		}
	}
	if err := x.showBack(res); err != nil {
		return err
	}
	switch {
	case x.access.Hold:
		x.watch(res)
		err := x.settle(res)
		if err != nil {
			f.leave(x)
		}
		return err
	case res.StatusCode == http.StatusSwitchingProtocols:
		err := x.lasts(res, true)
		x.boundBackend(res)
		return err
	case lastingType(res.Header.Get("Content-Type")):
		return x.lasts(res, true)
	case res.ContentLength < 0 && !x.writes():
		err := x.lasts(res, false)
		x.watch(res)
		cleanTrailer(res)
		return err
	}
	x.watch(res)
	cleanTrailer(res)
	return nil
}

// failed answers an exchange for which the application gave no usable response.
func (f *forwarder) failed(_ http.ResponseWriter, r *http.Request, err error) {
	x := exchangeFrom(r.Context())
	cause := x.cause(err)
	x.nameAnswer()
	f.g.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "application failed",
		slog.String("request", x.id), slog.String("app", f.route.Name),
		slog.String("code", explain(cause).code), slog.String("network", networkError(err)))
	x.refuse(cause)
}

// cause finds the sentinel behind an error of the transport.
func (x *exchange) cause(err error) error {
	if explain(err).code != explain(errInternal).code {
		return err
	}
	if cause := x.bodyError(); cause != nil {
		return cause
	}
	if errors.Is(err, context.Canceled) && x.r.Context().Err() != nil {
		return errClientGone
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		x.forwarded = false // nothing was sent: the write has certainly not happened
		return errUnreachable
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	return errBadResponse
}

// networkError is the text of a network error. Other errors may quote what the
// application sent, which belongs in no log.
func networkError(err error) string {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Error()
	}
	return ""
}

// buffers is a pool of copy buffers.
type buffers struct{ pool sync.Pool }

// Get is part of httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[32 << 10]byte); ok {
		return p[:]
	}
	return new([32 << 10]byte)[:]
}

// Put is part of httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }

// inProcess serves an application that lives in this process. It learns who is
// asking from its context.
func inProcess(r *route) http.Handler {
	h := r.Handler
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		x := exchangeFrom(req.Context())
		req = req.WithContext(policy.WithSubject(req.Context(), x.subject))
		if !x.access.Static {
			w.Header().Set("Cache-Control", "no-store")
		}
		if !x.access.Hold {
			h.ServeHTTP(w, req)
			return
		}
		x.capture(h, x.asked(req))
	})
}
