package proxy

import (
	"context"
	"errors"
	"sync"
)

// bypassed are the exchanges under way that go on only since their application is
// bypassed. What lasts, a WebSocket or a stream of events, must not outlive the
// bypass (GW-19). The zero value has none; it is safe for concurrent use.
type bypassed struct {
	mu   sync.Mutex
	open map[*exchange]*passage // guarded by mu
}

// passage is one of them.
type passage struct {
	end   context.CancelCauseFunc
	lasts bool // guarded by bypassed.mu
}

// pass notes an exchange that the rules would have refused, and returns what must
// be called once it has ended. An exchange that is nothing special is not noted.
func (x *exchange) pass() (ended func()) {
	if x.mode != Bypass || !x.would {
		return func() {}
	}
	ctx, cancel := context.WithCancelCause(x.r.Context())
	x.r = x.r.WithContext(ctx)
	b := &x.g.bypassed
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = map[*exchange]*passage{}
	}
	b.open[x] = &passage{end: cancel}
	return func() {
		if errors.Is(context.Cause(ctx), errBypassEnded) {
			x.fail(errBypassEnded)
		}
		b.mu.Lock()
		delete(b.open, x)
		b.mu.Unlock()
		cancel(nil)
	}
}

// lasts says that the response of an exchange has no end of its own. One whose
// bypass has ended meanwhile ends at once.
func (x *exchange) lasts() {
	b := &x.g.bypassed
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.open[x]
	if p == nil {
		return
	}
	p.lasts = true
	if x.g.modeOf(x.route) != Bypass {
		p.end(errBypassEnded)
	}
}

// BypassEnded ends the WebSockets and streams of events that were let through only
// since the application was bypassed. Requests that end by themselves keep the mode
// that they began with. Config.Bypassed must say by then that it is over.
func (g *Gateway) BypassEnded(app string) {
	b := &g.bypassed
	b.mu.Lock()
	defer b.mu.Unlock()
	for x, p := range b.open {
		if p.lasts && x.route.Name == app {
			p.end(errBypassEnded)
		}
	}
}
