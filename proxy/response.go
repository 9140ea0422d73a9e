package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// cleanResponse makes the header of a response the gateway's own where it must
// be: no headers that only the gateway may set, nothing cached, addresses that
// lead back through the gateway. Bodies are never touched (GW-15).
func (f *forwarder) cleanResponse(x *exchange, h http.Header) {
	delete(h, requestHeader)
	delete(h, receiptHeader)
	delete(h, slowedHeader)
	delete(h, identityHeader)
	if !x.access.Static {
		h["Cache-Control"] = []string{"no-store"}
		delete(h, "Expires")
		delete(h, "Pragma")
	}
	keepOwnCookie(h, f.g.cfg.SessionCookie)
	for _, name := range [...]string{"Location", "Content-Location"} {
		if v := h.Get(name); v != "" {
			h.Set(name, f.route.outward(v, x))
		}
	}
	for i, v := range h["Link"] {
		h["Link"][i] = f.route.outwardLinks(v, x)
	}
}

// cleanTrailer lets go on what the application announced to send behind the body,
// such as the status of gRPC, but for what belongs before it or is the gateway's to
// say. What it did not announce is known once the body has been read.
func cleanTrailer(res *http.Response) {
	if res.Body == nil || res.Body == http.NoBody || res.ContentLength >= 0 {
		return // nothing comes behind a body of a known length
	}
	announced := http.Header{}
	for name := range res.Trailer {
		if trails(name) {
			announced[name] = nil
		}
	}
	res.Trailer = announced.Clone()
	res.Body = &trailedBody{res.Body, res, announced}
}

// trails reports whether a response may have a header of that name behind its body.
func trails(name string) bool {
	switch name {
	case "Set-Cookie", "Location", "Content-Location", "Link", "Cache-Control", "Expires", "Pragma",
		"Content-Encoding", "Content-Type", "Content-Range", strictHeader:
		return false
	}
	return !claimsIdentity(name) // as those of the gateway do
}

// trailedBody is a response body behind which a trailer may come.
type trailedBody struct {
	io.ReadCloser
	res       *http.Response
	announced http.Header
}

// Read is part of io.Reader.
func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		for name := range b.res.Trailer {
			if _, known := b.announced[name]; !known {
				delete(b.res.Trailer, name)
			}
		}
	}
	return n, err
}

// keepOwnCookie refuses to let an application set the gateway's session, nor a
// cookie without a name, whose value browsers send back as if it were one.
func keepOwnCookie(h http.Header, name string) {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := lines[:0]
	for _, line := range lines {
		if !strings.HasPrefix(strings.TrimLeft(line, " \t="), name) {
			kept = append(kept, line)
		}
	}
	h["Set-Cookie"] = kept
}

// outward turns an address of the application into one of the gateway. Addresses
// of anybody else, and relative ones, stay as they are.
func (r *route) outward(ref string, x *exchange) string {
	u, err := url.Parse(ref)
	if err != nil {
		return ref
	}
	absolute := u.Host != ""
	if absolute && !strings.EqualFold(u.Host, r.Upstream.Host) || !strings.HasPrefix(u.Path, "/") {
		return ref
	}
	if absolute {
		u.Scheme, u.Host = x.scheme, x.r.Host
	}
	rest, ok := strings.CutPrefix(u.Path, r.base)
	if !ok || rest != "" && rest[0] != '/' {
		return ref
	}
	u.Path, u.RawPath = rest, ""
	if r.StripPrefix {
		u.Path = r.trimmed + rest
	}
	return u.String()
}

// outwardLinks rewrites every target of a Link header (RFC 8288).
func (r *route) outwardLinks(value string, x *exchange) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(value, "<")
		target, after, closed := strings.Cut(rest, ">")
		if !ok || !closed {
			b.WriteString(value)
			return b.String()
		}
		b.WriteString(before + "<" + r.outward(target, x) + ">")
		value = after
	}
}

// watchedBody is a response body that is closed when the application stops
// sending for too long, so that nothing hangs on it.
type watchedBody struct {
	io.ReadCloser
	x     *exchange
	limit time.Duration
	timer *time.Timer // closes the body when it fires
	late  atomic.Bool
}

// watch bounds the time that one read of the response may take.
func (x *exchange) watch(res *http.Response) {
	if res.Body == nil || res.Body == http.NoBody {
		return
	}
	if b, ok := res.Body.(*lineBody); ok && b.arrived(res.ContentLength) {
		return
	}
	b := &watchedBody{ReadCloser: res.Body, x: x, limit: x.route.Timeout}
	b.timer = time.AfterFunc(b.limit, func() {
		b.late.Store(true)
		_ = b.ReadCloser.Close()
	})
	res.Body = b
}

// Read is part of io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && b.late.Load() {
		b.x.fail(errTimeout)
	}
	return n, err
}

// Close is part of io.Closer.
func (b *watchedBody) Close() error {
	b.timer.Stop()
	return b.ReadCloser.Close()
}
