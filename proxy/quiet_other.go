//go:build !unix

package proxy

import (
	"net"
	"syscall"
)

func rawConn(net.Conn) syscall.RawConn { return nil }

// unread cannot be told here: no connection is used twice.
func unread(syscall.RawConn) silence { return gone }
