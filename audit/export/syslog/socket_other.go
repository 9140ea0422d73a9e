//go:build !linux

package syslog

import (
	"net"
	"time"
)

func giveUpOn(*net.TCPConn, time.Duration) error { return nil }

// unacknowledged is not known here: the exporter holds messages back instead.
func unacknowledged(*net.TCPConn) (n int64, known bool, err error) { return 0, false, nil }

func quietFor(*net.TCPConn) (d time.Duration, known bool, err error) { return 0, false, nil }
