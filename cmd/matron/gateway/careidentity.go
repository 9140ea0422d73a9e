package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
)

// renewable is a certificate with its key and the authority of the other side, which
// a reload reads again. It is safe for concurrent use.
type renewable struct {
	certificate, key, authority string
	current                     atomic.Pointer[tls.Config]
}

func newRenewable(certificate, key, authority string) (*renewable, error) {
	r := &renewable{certificate: certificate, key: key, authority: authority}
	fresh, err := r.read()
	if err != nil {
		return nil, err
	}
	r.current.Store(fresh)
	return r, nil
}

// read reads the files and puts nothing into use.
func (r *renewable) read() (*tls.Config, error) {
	if _, err := readPrivate(r.key); err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(r.certificate, r.key)
	if err != nil {
		return nil, fmt.Errorf("%s with key %s: %w", r.certificate, r.key, err)
	}
	pem, err := os.ReadFile(r.authority)
	if err != nil {
		return nil, fmt.Errorf("read authority of senders: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", r.authority)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair},
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// server is what a listener needs: each connection gets what is in use then.
func (r *renewable) server() *tls.Config {
	c := r.current.Load().Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.current.Load(), nil }
	return c
}
