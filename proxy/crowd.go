package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// crowd is a listener that keeps no more than so many connections at once. One
// more is closed at once: waiting would look like a gateway that is down, and file
// descriptors that run out would stop the journal too (GW-02).
type crowd struct {
	net.Listener
	max    int64
	log    *slog.Logger
	open   atomic.Int64
	packed atomic.Bool // somebody was turned away, and nobody has left since
}

func newCrowd(ln net.Listener, limit int, log *slog.Logger) *crowd {
	return &crowd{Listener: ln, max: int64(limit), log: log}
}

// Accept is part of net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		raw, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.open.Add(1) <= c.max {
			return &oneOfMany{Conn: raw, crowd: c}, nil
		}
		c.open.Add(-1)
		_ = raw.Close()
		if !c.packed.Swap(true) {
			c.log.LogAttrs(context.Background(), slog.LevelWarn, "too many connections, one more was closed",
				slog.Int64("open", c.max))
		}
	}
}

// oneOfMany is a connection that makes room when it is closed.
type oneOfMany struct {
	net.Conn
	crowd *crowd
	once  sync.Once
}

// Close is part of net.Conn.
func (o *oneOfMany) Close() error {
	o.once.Do(func() {
		o.crowd.open.Add(-1)
		o.crowd.packed.Store(false)
	})
	return o.Conn.Close()
}

// CloseWrite ends one side of a connection without TLS.
func (o *oneOfMany) CloseWrite() error {
	if w, ok := o.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}
