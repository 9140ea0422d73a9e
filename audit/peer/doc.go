// Package peer lets one gateway keep journal segments for another: a small
// service over HTTPS with certificates on both sides, and the client that is a
// place of the other's journal.
//
// The service answers only when what it was given is on stable storage. It never
// changes or overwrites bytes, never reads what they mean, and never keeps more
// for a gateway than it may. Both sides are safe for concurrent use.
package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
)

const (
	root      = "/journal/v1"
	maxBody   = 4 << 20 // of one append or read
	maxHead   = 4 << 10 // of one create
	sizeField = "Matron-Size"
)

// isName says whether a gateway's name can be the name of a folder.
func isName(s string) bool { return regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`).MatchString(s) }

// isSegment says whether a file may be kept under this name.
func isSegment(s string) bool {
	return regexp.MustCompile(`^[0-9]{20}(-[0-9]{1,5})?\.seg$`).MatchString(s)
}

// Files are the certificate of this gateway, and the authority that signs those
// of the others.
type Files struct {
	Certificate, Key, CA string
}

// TLS loads the files for either side. The other side must show a certificate of
// the authority; which names it may have is for Server and Place to say.
func (f Files) TLS() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate for peers: %w", err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read authority of peers: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("read authority of peers: " + f.CA + " holds no certificate in PEM form")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}
