//go:build unix

package proxy

import (
	"errors"
	"net"
	"syscall"
)

// unread looks whether anything waits to be read, and takes a byte of it: such a
// connection is not used again.
func unread(c net.Conn) silence {
	s, ok := c.(syscall.Conn)
	if !ok {
		return gone
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return gone
	}
	found := gone
	err = raw.Read(func(fd uintptr) bool {
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
