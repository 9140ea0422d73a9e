package appmap

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
	"github.com/matron-epr/matron/proxy/appmap/openmaxims"
)

const (
	maxSessions = 20_000 // followed at once; those unused for longest are forgotten
	maxWaiting  = 32     // exchanges that may wait for the turn of one session
)

// errWaiting is the error of a session in which too many exchanges wait.
var errWaiting = errors.New("too many exchanges wait for their turn in one session")

// following says how a map follows the sessions of its application.
type following struct {
	cookie  string
	inOrder []pattern // exchanges that go one after the other
	tables  *openmaxims.Tables
	live    *registry
}

// registry holds the sessions of an application by the value of their cookie. It
// outlives the Map that made it: a reload hands it on.
type registry struct {
	mu    sync.Mutex
	live  map[string]*list.Element // of *followed
	order *list.List               // the one used last is in front
}

// followed is one session of the application and whose it is.
type followed struct {
	owner  string
	cookie string              // guarded by registry.mu
	turns  chan struct{}       // holds one token: whoever has it has the turn
	wait   chan struct{}       // places of those that wait
	state  *openmaxims.Session // of whoever has the turn
}

func newRegistry() *registry { return &registry{live: map[string]*list.Element{}, order: list.New()} }

// begun is a session that the application has not made yet.
func begun(owner string) *followed {
	f := &followed{owner: owner, turns: make(chan struct{}, 1), wait: make(chan struct{}, maxWaiting), state: openmaxims.Begin()}
	f.turns <- struct{}{}
	return f
}

// find is the session of a cookie, if it was given to owner.
func (g *registry) find(cookie, owner string) *followed {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.live[cookie]
	if !ok {
		return nil
	}
	f, is := e.Value.(*followed)
	if !is || f.owner != owner {
		return nil
	}
	g.order.MoveToFront(e)
	return f
}

// bind notes that the application gave f a cookie. moves says that f has the turn,
// so that the cookie takes the place of the one before; otherwise it is that of
// another session. It returns false when the cookie is somebody else's.
func (g *registry) bind(f *followed, cookie string, moves bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e, ok := g.live[cookie]; ok {
		was, is := e.Value.(*followed)
		return is && was.owner == f.owner
	}
	if !moves && f.cookie != "" {
		f = begun(f.owner)
	}
	if e, ok := g.live[f.cookie]; ok && e.Value == f {
		g.order.Remove(e)
		delete(g.live, f.cookie)
	}
	f.cookie = cookie
	g.live[cookie] = g.order.PushFront(f)
	for g.order.Len() > maxSessions {
		oldest := g.order.Back()
		if was, ok := oldest.Value.(*followed); ok {
			delete(g.live, was.cookie)
		}
		g.order.Remove(oldest)
	}
	return true
}

// ownerOf is whom a session of the application belongs to: one signed-in session
// of a person, so that it is not carried over to the next at the same computer
// (GW-07), or one API client.
func ownerOf(s policy.Subject) string { return s.Issuer + "\x00" + s.Sub + "\x00" + s.Session }

// Follow implements proxy.Follower.
func (m *Map) Follow(who policy.Subject, r *http.Request) (proxy.Turn, error) {
	if m.follow == nil {
		return nil, nil
	}
	t, err := m.take(who, r)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// take takes the turn of a request.
func (m *Map) take(who policy.Subject, r *http.Request) (*turn, error) {
	t := &turn{m: m, r: r, subject: who}
	owner := ownerOf(t.subject)
	mine := m.follow.take(r, owner)
	f := mine
	if f == nil {
		f = begun(owner)
	}
	path, _ := m.below(r.URL.Path)
	if m.follow.ordered(path) {
		if err := f.queue(r.Context()); err != nil {
			return nil, err
		}
		t.ordered = true
		if mine != nil && m.follow.live.find(t.cookieOf(r), owner) != mine { // it ended, or moved, while this one waited
			f.turns <- struct{}{}
			f = begun(owner)
			<-f.turns
			dropCookies(r.Header, m.follow.cookie, "")
		}
	}
	t.f = f
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		r.Header.Set("Proxy-Ip", host) // what the application's own audit believes
	}
	return t, nil
}

// queue waits for the turn.
func (f *followed) queue(ctx context.Context) error {
	select {
	case f.wait <- struct{}{}:
		defer func() { <-f.wait }()
	default:
		return errWaiting
	}
	select {
	case <-f.turns:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // the gateway looks at the context itself
	}
}

// ordered reports whether exchanges of a path go one after the other.
func (f *following) ordered(path string) bool {
	segments := splitPath(path, nil)
	for i := range f.inOrder {
		if f.inOrder[i].match(segments) {
			return true
		}
	}
	return false
}

// take finds the session that a request belongs to and takes every other cookie of
// that name off it: one that the application did not give to this subject
// through this gateway may have been planted (weak spot S7), or left behind by
// whoever sat here before (GW-07).
func (f *following) take(r *http.Request, owner string) *followed {
	var mine *followed
	kept := ""
	for _, c := range r.Cookies() {
		if c.Name != f.cookie || mine != nil {
			continue
		}
		if mine = f.live.find(c.Value, owner); mine != nil {
			kept = c.Value
		}
	}
	dropCookies(r.Header, f.cookie, kept)
	return mine
}

// dropCookies takes the cookies of a name off a header, but one with the value kept.
func dropCookies(h http.Header, name, kept string) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	var pairs []string
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.TrimSpace(pair)
			n, value, _ := strings.Cut(pair, "=")
			if n = strings.TrimSpace(n); strings.EqualFold(n, name) {
				if kept == "" || strings.Trim(value, `"`) != kept {
					continue
				}
				kept = "" // once
			}
			if pair != "" {
				pairs = append(pairs, pair)
			}
		}
	}
	delete(h, "Cookie")
	if len(pairs) > 0 {
		h["Cookie"] = []string{strings.Join(pairs, "; ")}
	}
}

// DenyForm implements proxy.Follower.
func (m *Map) DenyForm(path string) proxy.DenyForm {
	rest, ok := m.below(path)
	if !ok || m.follow == nil {
		return proxy.DenyAuto
	}
	segments := splitPath(rest, nil)
	for _, r := range m.rules {
		if r.deny != proxy.DenyAuto && r.pattern.match(segments) {
			return r.deny
		}
	}
	return proxy.DenyAuto
}

// Inherit implements proxy.Follower.
func (m *Map) Inherit(older proxy.Map) {
	if old, ok := older.(*Map); ok && m.follow != nil && old.follow != nil && old.follow.cookie == m.follow.cookie {
		m.follow.live = old.follow.live
	}
}

// turn is one exchange of a followed session.
type turn struct {
	m       *Map
	f       *followed
	r       *http.Request
	subject policy.Subject
	ordered bool // it has the turn of the session

	changes bool // the exchange may move the session
	settled bool // what it did was read from the response
	ends    bool // it ends the session
	before  openmaxims.Place
	step    int // of leaving
}

var _ proxy.Turn = (*turn)(nil)

func (t *turn) cookieOf(r *http.Request) string {
	if c, err := r.Cookie(t.m.follow.cookie); err == nil {
		return c.Value
	}
	return ""
}

// Classify implements proxy.Map.
func (t *turn) Classify(r *http.Request, body func() ([]byte, error)) (proxy.Access, error) {
	a, err := t.m.classifyIn(t, r, body)
	if errors.Is(err, errUnmapped) {
		return t.m.unmapped(), nil
	}
	if err != nil {
		a = proxy.Access{Deny: t.m.DenyForm(r.URL.Path)}
	}
	return a, err
}

// Settle implements proxy.Map.
func (t *turn) Settle(a proxy.Access, res *http.Response, body proxy.Body) (proxy.Settlement, error) {
	return t.m.settleIn(t, a, res, body)
}

// Received implements proxy.Turn. A cookie that the application hands out belongs
// to the subject who asked, and no script or other site gets at it. What the
// application is shown in must be of the same site.
func (t *turn) Received(res *http.Response) {
	kept := res.Header["Set-Cookie"][:0]
	for _, line := range res.Header["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if err != nil || !strings.EqualFold(c.Name, t.m.follow.cookie) {
			kept = append(kept, line)
			continue
		}
		if c.Value != "" && !t.m.follow.live.bind(t.f, c.Value, t.ordered) {
			continue // somebody else's session (GW-07)
		}
		c.HttpOnly, c.SameSite = true, http.SameSiteLaxMode
		c.Secure = c.Secure || t.r.TLS != nil
		kept = append(kept, c.String())
	}
	if len(kept) > 0 {
		res.Header["Set-Cookie"] = kept
	}
	if res.Header.Get("X-Frame-Options") == "" {
		res.Header.Set("X-Frame-Options", "SAMEORIGIN")
	}
}

// Leave implements proxy.Turn. It goes home first, then has the application begin
// a new session of the same user, and then signs the user out.
func (t *turn) Leave(ctx context.Context) *http.Request {
	if !t.changes {
		return nil
	}
	t.f.state.Withheld()
	body := t.m.follow.tables.Away(t.step)
	if body == nil {
		return nil
	}
	t.step++
	if _, err := t.f.state.Request(body, t.m.follow.tables, nil); err != nil {
		return nil
	}
	u := *t.r.URL
	u.RawQuery = ""
	r := &http.Request{
		Method: http.MethodPost, URL: &u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/xml; charset=UTF-8"}, "Proxy-Ip": t.r.Header["Proxy-Ip"]},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	if t.f.cookie != "" {
		r.AddCookie(&http.Cookie{Name: t.m.follow.cookie, Value: t.f.cookie}) //nolint:gosec // a request has no attributes of cookies
	}
	return r.WithContext(ctx)
}

// Left implements proxy.Turn.
func (t *turn) Left(res *http.Response, body []byte) bool {
	denied := t.f.state.Place()
	if _, err := t.f.state.Answer(res.StatusCode, body, t.m.follow.tables, t.m.mounts()); err != nil {
		t.f.state.Lose()
		t.f.state.Withheld()
		return false
	}
	t.f.state.Withheld()
	return t.f.state.Place().Away(t.before, denied)
}

// End implements proxy.Turn. Where the application may have moved and nobody has
// seen whereto, the session is unknown from now on.
func (t *turn) End(forwarded bool) {
	if !t.ordered {
		return
	}
	switch {
	case forwarded && t.ends:
		t.f.state.Leave()
	case forwarded && t.changes && !t.settled:
		t.f.state.Lose()
	}
	t.f.turns <- struct{}{}
}

// mounts are the paths under which the application is mounted: the addresses that
// it hands out begin with one.
func (m *Map) mounts() []string {
	out := []string{m.base}
	for _, o := range m.origins {
		if _, rest, ok := strings.Cut(o, "://"); ok {
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				out = append(out, strings.TrimSuffix(rest[i:], "/"))
			}
		}
	}
	return out
}
