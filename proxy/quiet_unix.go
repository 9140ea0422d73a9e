//go:build unix

package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// rawConn is c below Go's own reading, nil where there is no such thing.
func rawConn(c net.Conn) syscall.RawConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// unread looks whether anything waits to be read, and takes a byte of it: such a
// connection is not used again.
func unread(raw syscall.RawConn) silence {
	if raw == nil {
		return gone
	}
	found := gone
	err := raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, err := syscall.Read(int(fd), b[:])
		switch {
		case n > 0:
			found = spoken
		case errors.Is(err, syscall.EAGAIN):
			found = silent
		}
		return true
	})
	if err != nil {
		return gone
	}
	return found
}
