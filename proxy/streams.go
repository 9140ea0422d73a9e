package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/matron-epr/matron/policy"
)

const (
	// reviewEach is how often every stream is asked about again: rules may look at
	// the clock, and facts change that nobody announces.
	reviewEach = time.Minute
	// reviewWithin bounds one review of one stream.
	reviewWithin = 10 * time.Second
	// linger bounds how long a stream that has been ended takes to end.
	linger = time.Second
)

// streams are the exchanges under way whose answer has no end of its own:
// WebSockets, events that a server sends, and what goes on for long without saying
// how long. One stays open exactly as long as its request would be let through if
// it came now (GW-07, GW-19). The zero value has none; it is safe for concurrent
// use.
type streams struct {
	changes atomic.Uint64 // counts what may have ended some of them
	mu      sync.Mutex
	open    map[*stream]struct{} // guarded by mu
	closing bool                 // guarded by mu
}

// stream is one of them.
type stream struct {
	x        *exchange // only what does not change any more is read of it
	followed bool      // its request was read in a followed session of the application
	endless  bool      // certainly without an end; others count once they have lasted
	since    time.Time
	client   *time.Timer   // fires when the client takes nothing, or does not go
	body     io.Closer     // of the application's answer
	gone     chan struct{} // closed when its outcome is recorded
	in, out  atomic.Int64  // bytes of an upgraded connection

	mu    sync.Mutex
	force func()          // makes a write to the client return; guarded by mu
	over  bool            // the exchange is ending; guarded by mu
	why   error           // sentinel of why the gateway ended it; guarded by mu
	now   policy.Decision // that ended it; guarded by mu
}

// lasts notes an exchange whose answer may have no end. endless says that it has
// none: then no time-out of the connection ends it, and nobody in its session of
// the application waits for it. An error means that it may not begin, since what
// allowed it has changed meanwhile.
func (x *exchange) lasts(res *http.Response, endless bool) error {
	s := &stream{
		x: x, followed: x.turn != nil, endless: endless, since: x.g.cfg.Now(), body: res.Body, gone: make(chan struct{}),
	}
	rc := http.NewResponseController(x.w)
	s.force = func() { _ = rc.SetWriteDeadline(time.Unix(1, 0)) }
	s.client = time.AfterFunc(linger, s.clientSlow)
	s.client.Stop()
	x.stream = s
	if endless {
		x.endTurn()
		_ = rc.SetReadDeadline(time.Time{}) // of the request, which has been read
		_ = rc.SetWriteDeadline(time.Time{})
	}
	if !x.g.streams.add(s) {
		return errGoingAway
	}
	if x.g.streams.changes.Load() == x.changes {
		return nil
	}
	y, err := x.anew()
	if err != nil && y != nil {
		x.ending = &y.answer
	}
	return err
}

// lastingType reports whether answers of a media type go on until somebody ends
// them.
func lastingType(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "text/event-stream" || kind == "multipart/x-mixed-replace"
}

// anew asks about the request of a stream as if it came now: is the person still
// signed in, does the application still answer there, what do its map and the
// rules say? It returns the exchange that it would be. Nothing is recorded: as long
// as it is allowed, the decision that was recorded stands. On error: the stream
// ends, as the request would be refused (GW-12).
func (x *exchange) anew() (*exchange, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), reviewWithin)
	defer cancel()
	r := x.r.WithContext(ctx)
	address, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return nil, errTarget
	}
	r.URL, r.Body = address, http.NoBody
	y := &exchange{
		g: x.g, w: nowhere{}, r: r, id: x.id, start: x.g.cfg.Now(), ip: x.ip, scheme: x.scheme, target: x.target, query: x.query,
	}
	for _, step := range [...]func(*exchange) error{(*exchange).identify, (*exchange).locate, x.reread, (*exchange).decide} {
		if err := step(y); err != nil {
			return y, x.withdrawn(y, err)
		}
	}
	return y, nil
}

// reread classifies the request of x anew for y. One that was read in a session of
// the application, or by its body, is no longer there to be read: what it was
// decided as stays.
func (x *exchange) reread(y *exchange) error {
	if x.stream.followed || x.r.ContentLength != 0 {
		y.access = x.access
		return nil
	}
	if err := y.classify(); err != nil {
		return err
	}
	if y.access.Hold {
		return errHeldUnreadable
	}
	for _, p := range y.access.Patients {
		if !slices.ContainsFunc(x.access.Patients, p.Same) {
			return errRenamed // the record does not name that patient (GW-08)
		}
	}
	return nil
}

// withdrawn is why a stream ends whose request would be refused for err.
func (x *exchange) withdrawn(y *exchange, err error) error {
	switch {
	case !errors.Is(err, errDenied) && !errors.Is(err, errChallenged):
		return err
	case x.mode == Bypass && y.mode != Bypass:
		return errBypassEnded
	}
	return errWithdrawn
}

// add notes s; false means that the gateway is stopping.
func (b *streams) add(s *stream) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing && s.endless {
		return false
	}
	if b.open == nil {
		b.open = map[*stream]struct{}{}
	}
	b.open[s] = struct{}{}
	return true
}

// all are the streams that are open now.
func (b *streams) all() []*stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*stream, 0, len(b.open))
	for s := range b.open {
		list = append(list, s)
	}
	return list
}

// review ends those of the streams that are meant and would not be let through
// now. One that is being opened meanwhile reviews itself.
func (b *streams) review(meant func(*exchange) bool) {
	b.changes.Add(1)
	for _, s := range b.all() {
		if meant(s.x) && (s.endless || s.x.g.cfg.Now().Sub(s.since) >= reviewEach) {
			s.review()
		}
	}
}

func (s *stream) review() {
	y, err := s.x.anew()
	if err == nil {
		return
	}
	var d policy.Decision
	if y != nil {
		d = y.answer
	}
	s.end(err, d)
}

// end closes the stream for a reason that its outcome will say. It does not wait.
func (s *stream) end(why error, d policy.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil || s.over {
		return
	}
	s.why, s.now = why, d
	s.client.Reset(linger)
	_ = s.body.Close()
}

// ended is why the gateway has ended the stream, nil while it goes on.
func (s *stream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// sending begins a write to the client, which must take it within the time that
// the application is given for an answer. It returns false when the stream has
// been ended.
func (s *stream) sending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return false
	}
	s.client.Reset(s.x.route.Timeout)
	return true
}

// sent ends a write to the client.
func (s *stream) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.client.Stop()
	}
}

// clientSlow ends a stream whose client does not take what it is sent, so that
// nothing hangs on it, or does not go although the stream has been ended.
func (s *stream) clientSlow() {
	s.end(errClientSlow, policy.Decision{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.force()
	}
}

// endStream notes why the gateway ended the exchange, if it did. Nothing touches
// the connection any more.
func (x *exchange) endStream() {
	s := x.stream
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.client.Stop()
	x.bytesOut += s.out.Load()
	if s.why != nil {
		x.failure, x.ended, x.ending = s.why, true, &s.now
	}
}

// leaveStreams takes the exchange off the list once its outcome is recorded.
func (x *exchange) leaveStreams() {
	if x.stream == nil {
		return
	}
	b := &x.g.streams
	b.mu.Lock()
	delete(b.open, x.stream)
	b.mu.Unlock()
	close(x.stream.gone)
}

// stop ends every stream, and every one that would begin, since the gateway stops.
// What may end by itself is left to do so.
func (b *streams) stop() {
	b.mu.Lock()
	b.closing = true
	b.mu.Unlock()
	for _, s := range b.all() {
		if s.endless {
			s.end(errGoingAway, policy.Decision{})
		}
	}
}

// wait waits until the outcomes of all streams are recorded or ctx ends.
func (b *streams) wait(ctx context.Context) error {
	for _, s := range b.all() {
		select {
		case <-s.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Review asks about every open stream again and ends those whose request would be
// refused now. It is called when rules, modes or facts have changed; Swap does so
// by itself. Requests that end by themselves stay as they were decided.
func (g *Gateway) Review() { g.streams.review(func(*exchange) bool { return true }) }

// SessionEnded ends the open streams of a session, as Subject.Session names it,
// unless the session turns out to go on.
func (g *Gateway) SessionEnded(session string) {
	g.streams.review(func(x *exchange) bool { return x.subject.Session == session })
}

// Run reviews the open streams each minute until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	tick := time.NewTicker(reviewEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			g.Review()
		}
	}
}
