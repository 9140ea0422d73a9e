package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

func listen(ln net.Listener, t *tls.Config, _ time.Duration, _ *Gateway) net.Listener {
	if t == nil {
		return ln
	}
	return tls.NewListener(ln, t)
}

func framingError(context.Context) error { return nil }
