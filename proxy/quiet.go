package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// silence is what a connection says of itself on which nothing should have come.
type silence uint8

const (
	gone   silence = iota // closed, broken, or nobody can tell
	spoken                // something has come
	silent
)

// quiet looks at a connection that waits for a request, without waiting itself. raw is
// its rawConn.
func quiet(c net.Conn, raw syscall.RawConn) silence {
	t, ok := c.(*tls.Conn)
	if !ok {
		return unread(raw)
	}
	if s := unread(raw); s != silent {
		return s
	}
	// What has been read and not yet been decrypted: a deadline that has passed does
	// not end a TLS connection, and lets nothing be waited for.
	if err := t.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return gone
	}
	n, err := t.Read(make([]byte, 1))
	switch {
	case n > 0:
		return spoken
	case errors.Is(err, os.ErrDeadlineExceeded) && t.SetReadDeadline(time.Time{}) == nil:
		return silent
	}
	return gone
}
