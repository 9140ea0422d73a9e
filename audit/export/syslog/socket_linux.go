package syslog

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpOn ends a connection whose peer has not acknowledged anything for d.
func giveUpOn(c *net.TCPConn, d time.Duration) error {
	return control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// unacknowledged is how many octets the peer's TCP has not acknowledged.
func unacknowledged(c *net.TCPConn) (n int64, known bool, err error) {
	err = control(c, func(fd int) error {
		queued, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		n = int64(queued)
		return err
	})
	return n, true, err
}

// clockTick is as coarse as the kernel's own clock may be.
const clockTick = 10 * time.Millisecond

// quietFor is how long ago the peer's TCP last acknowledged anything, a
// keep-alive probe included; never less than it is.
func quietFor(c *net.TCPConn) (d time.Duration, known bool, err error) {
	err = control(c, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			d = time.Duration(info.Last_ack_recv)*time.Millisecond + clockTick
		}
		return err
	})
	return d, true, err
}

func control(c *net.TCPConn, do func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}
