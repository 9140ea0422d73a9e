package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFiles says that a certificate, key or authority file cannot be used.
var ErrFiles = errors.New("certificate files")

// errClosed says that the collector closed the connection.
var errClosed = errors.New("the collector closed the connection")

// Peer is the collector and what we show it.
type Peer struct {
	Address         string // host:port
	ServerName      string // name in its certificate; default the host of Address
	CAFile          string // roots that sign it; default the system's
	CertificateFile string // our certificate and key, for mutual TLS; "" for none
	KeyFile         string
}

// TLS reads the files and returns how to connect. There is no way to switch the
// verification off.
func (p Peer) TLS() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		return nil, fmt.Errorf("collector address: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: orElse(p.ServerName, host)}
	if p.CAFile != "" {
		pem, err := os.ReadFile(p.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s holds no certificate in PEM form", ErrFiles, p.CAFile)
		}
	}
	if p.CertificateFile != "" || p.KeyFile != "" {
		if info, err := os.Stat(p.KeyFile); err == nil && info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%w: %s can be read by others: run chmod 600 on it", ErrFiles, p.KeyFile)
		}
		pair, err := tls.LoadX509KeyPair(p.CertificateFile, p.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%w: %s with %s: %w", ErrFiles, p.CertificateFile, p.KeyFile, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// conn is one connection to a collector. close waits for its goroutine.
type conn struct {
	tls *tls.Conn
	raw *counted
	// gone is done once the peer has closed or broken the connection, with the
	// reason as its cause.
	gone   context.Context
	reader sync.WaitGroup
}

// counted counts what goes into a TCP connection.
type counted struct {
	*net.TCPConn
	written atomic.Int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.TCPConn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

// dial connects. A peer that says nothing any more is noticed within timeout.
func dial(ctx context.Context, p Peer, probe, timeout time.Duration) (*conn, error) {
	config, err := p.TLS()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probe, Interval: probe, Count: 3}}
	plain, err := d.DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to collector: %w", err)
	}
	raw := &counted{TCPConn: plain.(*net.TCPConn)} // the network is tcp
	if err := giveUpOn(raw.TCPConn, timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to collector: %w", err), raw.Close())
	}
	c := &conn{tls: tls.Client(raw, config), raw: raw}
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS with collector: %w", err), raw.Close())
	}
	gone, lost := context.WithCancelCause(context.WithoutCancel(ctx))
	c.gone = gone
	c.reader.Go(func() { lost(c.drain()) })
	return c, nil
}

// drain reads what nobody expects, a collector says nothing, until the
// connection ends: that is how the end is noticed.
func (c *conn) drain() error {
	_, err := io.Copy(io.Discard, c.tls)
	if err == nil {
		return errClosed
	}
	return fmt.Errorf("read from collector: %w", err)
}

// write hands b to TCP and returns how many octets it has been given in all.
func (c *conn) write(b []byte, until time.Time) (int64, error) {
	if err := c.tls.SetWriteDeadline(until); err != nil {
		return 0, fmt.Errorf("write to collector: %w", err)
	}
	if _, err := c.tls.Write(b); err != nil {
		return 0, fmt.Errorf("write to collector: %w", errors.Join(err, context.Cause(c.gone)))
	}
	return c.raw.written.Load(), nil
}

// acknowledged is how many octets the peer's TCP has acknowledged; known is false
// where the system cannot tell.
func (c *conn) acknowledged() (n int64, known bool, err error) {
	written := c.raw.written.Load() // before the queue: a write between the two only makes n smaller
	queued, known, err := unacknowledged(c.raw.TCPConn)
	if err != nil {
		return 0, known, fmt.Errorf("ask for acknowledgements: %w", err)
	}
	return written - queued, known, nil
}

// alive is when the peer's TCP was last heard of. Had its process died before,
// the connection would have ended instead.
func (c *conn) alive(now time.Time) (time.Time, error) {
	quiet, known, err := quietFor(c.raw.TCPConn)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for acknowledgements: %w", err)
	}
	if !known {
		return now, nil
	}
	return now.Add(-quiet), nil
}

// close says goodbye where it can and waits for the reader.
func (c *conn) close() {
	_ = c.tls.Close()
	c.reader.Wait()
}
