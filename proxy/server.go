package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// ServerConfig bounds what a client may take of the gateway. The zero value has
// sensible bounds.
type ServerConfig struct {
	HeaderTimeout time.Duration // until the request header has been read; default 10 s
	ReadTimeout   time.Duration // until the request body has been read; default 10 min
	WriteTimeout  time.Duration // until the response has been written; default 30 min
	IdleTimeout   time.Duration // between requests; default 120 s

	MaxConnections int // at once; what comes on top is closed; default 10,000
}

// Of one HTTP/2 connection. net/http bounds the rest: headers by MaxHeaderBytes,
// however many frames they come in, and streams that are begun and given up, and
// answers to pings and settings that are not taken, by ending the connection.
const (
	maxStreams   = 100             // requests at once
	pingAfter    = time.Minute     // without a frame; a client that is gone does not answer
	nothingTaken = 2 * time.Minute // until a client that reads nothing is given up
)

// readHeader is how many times the accepted length of a header is read before
// the connection is given up: what is read can be refused with a page.
const readHeader = 4

// Server serves a Gateway to clients, over TLS or in the clear.
type Server struct {
	gateway *Gateway
	http    *http.Server
	max     int // connections at once
}

// Serve answers connections of ln until Shutdown or Close. With a nil tlsConfig
// it serves cleartext. It returns http.ErrServerClosed after Shutdown.
func (s *Server) Serve(ln net.Listener, tlsConfig *tls.Config) error {
	ln = newCrowd(ln, s.max, s.gateway.cfg.Logger)
	l := listen(ln, tlsConfig, s.http.ReadHeaderTimeout, s.gateway.recordMalformed)
	defer func() { _ = l.Close() }()
	return s.http.Serve(l)
}

// Shutdown stops accepting and waits until the requests in flight have been
// answered or ctx ends (hazard GW-05: a write in flight is finished). What has no
// end of its own is ended first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.gateway.streams.stop()
	return errors.Join(s.http.Shutdown(ctx), s.gateway.streams.wait(ctx))
}

// Close ends every connection at once.
func (s *Server) Close() error { return s.http.Close() }

// NewServer makes a Server for g with every time-out and size bounded.
func NewServer(g *Gateway, cfg ServerConfig) *Server {
	or := func(d, fallback time.Duration) time.Duration {
		if d > 0 {
			return d
		}
		return fallback
	}
	s := &Server{gateway: g, max: cmp.Or(max(cfg.MaxConnections, 0), 10_000)}
	s.http = &http.Server{
		Handler:           g,
		ReadHeaderTimeout: or(cfg.HeaderTimeout, 10*time.Second),
		ReadTimeout:       or(cfg.ReadTimeout, 10*time.Minute),
		WriteTimeout:      or(cfg.WriteTimeout, 30*time.Minute),
		IdleTimeout:       or(cfg.IdleTimeout, 2*time.Minute),
		MaxHeaderBytes:    readHeader * g.cfg.MaxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, WriteByteTimeout: nothingTaken},
		ConnContext:       withConn,
		ConnState:         connState,
		ErrorLog:          slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelDebug),
	}
	return s
}
