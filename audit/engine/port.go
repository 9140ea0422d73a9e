package engine

import (
	"fmt"
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// reservation holds a loopback port without listening on it. The engine listens
// with SO_REUSEPORT, which the kernel allows only to the same user: no other
// user of the machine can take the port while the engine is down, and with it
// the password and the records.
type reservation struct {
	fd   int
	port int
}

func reserve() (*reservation, error) {
	syscall.ForkLock.RLock() // no child may inherit the descriptor
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	r := &reservation{fd: fd}
	if err := r.bind(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *reservation) bind() error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fmt.Errorf("share the port with the child: %w", err)
	}
	if err := unix.Bind(r.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	name, err := unix.Getsockname(r.fd)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	in4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("getsockname: %T is not an IPv4 address", name)
	}
	r.port = in4.Port
	return nil
}

func (r *reservation) addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
}

func (r *reservation) close() { _ = unix.Close(r.fd) } // nothing was written to it
